"""Kafka's own short ways between messages and headers, against those that all transports share."""

from __future__ import annotations

from typing import cast

import pytest

from commute import cloudevents
from commute.errors import UsageError
from commute.transports.base import Message
from commute.transports.kafka_headers import PREFIX, check, row_of, whole

MESSAGES = [
    Message("1", "/s", "order_created", 1.5, b"{}"),
    Message("1", "/s", "t", 1.75e9 + 0.000001, b"null", {}),
    Message("ä", "/ö", "日", 0.0, b"1", {"partitionkey": "k", "größe": "ü", "correlationid": "c"}),
    Message("", "/s", "", 253_402_300_798.0, b"", {"a": ""}),
    Message("old", "/s", "t", -86_400.25, b"1"),
]
PAIRS: list[tuple[str, bytes | None]] = [
    ("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_type", b"t"), ("ce_source", b"/s"),
    ("ce_time", b"2026-01-02T03:04:05.000006Z"), ("ce_datacontenttype", b"application/json"), ("ce_a", b"x"),
    ("content-type", b"application/json"), ("trace", b"mine"), ("cex", b"mine"),
]  # fmt: skip


def read(pairs: list[tuple[str, bytes | None]]) -> Message:
    """By the way that all transports share; what it would have to make up has marks."""
    return cloudevents.read(
        b"1", {name: (value or b"").decode("utf-8", "backslashreplace") for name, value in pairs}, (PREFIX,), "",
        name="MADE", source="MADE", now_s=7.0, new_id=lambda: "MADE", plain=None,
    )  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_a_row_has_the_headers_of_all_transports_and_comes_back(message: Message) -> None:
    check(message)
    key, value, headers = row_of(message)

    shared = {**cloudevents.headers_of(message, PREFIX), "content-type": cloudevents.JSON}
    assert headers == {name: text.encode() for name, text in shared.items()}
    assert value == message.data
    assert key == (b"k" if "partitionkey" in (message.attributes or {}) else None)
    assert whole(value, cast("list[tuple[str, bytes | None]]", list(headers.items()))) == Message(
        message.id, message.source, message.type, message.time_s, message.data, message.attributes or None
    )


@pytest.mark.parametrize(
    "message",
    [
        Message("\ud800", "/s", "t", 1.0, b""),
        Message("1", "\ud800", "t", 1.0, b""),
        Message("1", "/s", "\ud800", 1.0, b""),
        Message("1", "/s", "t", 1.0, b"", {"\ud800": "v"}),
        Message("1", "/s", "t", 1.0, b"", {"k": "v", "n": "\ud800"}),
    ],
)
def test_text_that_cannot_be_sent_is_refused_before_anything_is(message: Message) -> None:
    with pytest.raises(UsageError) as refused:
        check(message)
    assert refused.value.slug == "invalid-text"


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), 1e18, -1e18])
def test_a_time_without_a_date_is_refused_before_anything_is_sent(time_s: float) -> None:
    with pytest.raises((ValueError, OverflowError, OSError)):
        check(Message("1", "/s", "t", time_s, b""))


def test_an_event_with_all_attributes_is_read_like_any_other() -> None:
    assert whole(b"1", PAIRS) == read(PAIRS) == Message("1", "/s", "t", 1767323045.000006, b"1", {"a": "x"})


@pytest.mark.parametrize("missing", ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"])
def test_what_lacks_one_is_left_to_the_longer_way(missing: str) -> None:
    assert whole(b"1", [pair for pair in PAIRS if pair[0] != missing]) is None


@pytest.mark.parametrize("odd", [("ce_source", b""), ("ce_time", b"noon"), ("ce_a", None), ("ce_id", b"\xff")])
def test_values_that_are_none_are_left_to_the_longer_way(odd: tuple[str, bytes | None]) -> None:
    assert whole(b"1", [odd if pair[0] == odd[0] else pair for pair in PAIRS]) is None
