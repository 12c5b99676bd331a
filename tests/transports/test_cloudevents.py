"""CloudEvents in both modes and plain JSON: what goes out comes back, and nothing that comes in is refused."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.cloudevents import STRUCTURED, PlainJson, headers_of, read, structured
from commute.transports.base import Message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MESSAGES = st.builds(
    Message,
    id=TEXT,
    source=TEXT,
    type=TEXT,
    time_s=st.integers(0, 4_000_000_000).map(float),
    data=st.binary(max_size=50),
    attributes=st.none()
    | st.dictionaries(st.sampled_from(["correlationid", "causationid", "subject"]), TEXT, min_size=1),
)


def arrived(
    body: bytes, headers: Mapping[str, str] | None = None, content_type: str = "", plain: PlainJson | None = None,
    identity: str | None = None,
) -> Message:  # fmt: skip
    return read(
        body, headers or {}, ("ce_", "cloudEvents_"), content_type, name="queue", source="broker", now_s=7.0,
        new_id=lambda: "made", plain=plain, identity=identity,
    )  # fmt: skip


@given(MESSAGES)
def test_binary_mode_gives_the_message_back(message: Message) -> None:
    assert arrived(message.data, headers_of(message, "ce_")) == message
    assert arrived(message.data, headers_of(message, "cloudEvents_")) == message


@given(
    MESSAGES, st.sampled_from([b"{}", b'{"a": 1.0}', b"[1]", b"not JSON", b"\xff", b"", b"[" * 9_999 + b"]" * 9_999])
)
def test_structured_mode_gives_the_message_back(message: Message, data: bytes) -> None:
    sent = Message(message.id, message.source, message.type, message.time_s, data, message.attributes)
    assert arrived(structured(sent), content_type=f"{STRUCTURED}; charset=utf-8") == sent


def test_plain_json_is_read_by_the_names_of_its_fields() -> None:
    body = b'{"name": "paid", "data": {"n": 1}, "key": 42}'
    assert arrived(body, plain=PlainJson()) == Message("made", "broker", "paid", 7.0, b'{"n": 1}')
    assert arrived(body, plain=PlainJson(id="key")).id == "42"
    assert arrived(body, plain=PlainJson(), identity="topic/0/5").id == "topic/0/5"
    whole = arrived(body, plain=PlainJson(type=None, data=None))
    assert (whole.type, whole.data) == ("queue", body)


def test_a_header_may_hold_the_type_of_plain_json() -> None:
    body, by_header = b'{"name": "inner", "data": 1}', PlainJson(data=None, header="event-type")
    assert arrived(body, {"event-type": "paid"}, plain=by_header) == Message("made", "broker", "paid", 7.0, body)
    assert arrived(body, plain=by_header).type == "inner", "no such header: the field"
    assert (
        arrived(b"{}", {"event-type": "paid"}, plain=PlainJson(type=None, data=None, header="event-type")).type
        == "paid"
    )
    broken = arrived(b"[", {"event-type": "paid"}, plain=by_header)
    assert (broken.type, broken.data) == ("paid", b"["), "the dead letter says what it was to be"


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[1]", b'{"name": 3, "data": 1}', b'{"data": 1}', b"\xff", b"[" * 100_000]
)
@pytest.mark.parametrize("content_type", ["", STRUCTURED])
@pytest.mark.parametrize("plain", [None, PlainJson()])
def test_what_cannot_be_read_is_kept_as_it_came(body: bytes, content_type: str, plain: PlainJson | None) -> None:
    found = arrived(body, content_type=content_type, plain=plain)
    assert (found.id, found.type, found.data) == ("made", "queue", body)
