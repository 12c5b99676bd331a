"""Deliveries out of AMQP's bytes, held to what pika's own decoder makes of the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from commute.transports.rabbitmq import RabbitmqOptions
from commute.transports.rabbitmq_channels import texts
from commute.transports.rabbitmq_connection import connection_class
from commute.transports.rabbitmq_frames import WHOLE_BYTES_MAX, Delivered, deliveries

pika: Any = pytest.importorskip("pika")
from pika import channel as pika_channel  # noqa: E402
from pika import frame, spec  # noqa: E402

CHANNEL, OTHER = 3, 4
FRAME_BYTES_MAX = 300  # of the bodies here: most are in one frame, some in several
Seen = list[tuple[object, ...]]


def row(delivered: Delivered) -> tuple[object, ...]:
    properties = delivered.properties
    return (
        CHANNEL, delivered.tag, delivered.routing_key, properties.content_type or "", texts(properties.headers or {}),
        properties.message_id or "", properties.timestamp, properties.type or "", delivered.body,
    )  # fmt: skip


def connection(taking: bool) -> tuple[Any, Seen]:
    """A connection without a socket, and what it makes of the bytes that it is given: ours, or pika's."""
    seen: Seen = []
    made = connection_class(RabbitmqOptions(host="h", port=1)) if taking else pika.SelectConnection

    class Connection(made):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self._frame_buffer = b""
            self.bytes_received = self.frames_received = 0
            self._contents = {number: pika_channel.ContentFrameAssembler() for number in (CHANNEL, OTHER)}

        def __del__(self) -> None:
            """Nothing was opened."""

        def _process_frame(self, value: Any) -> None:
            self.frames_received += 1
            if isinstance(value, frame.Heartbeat) or value.channel_number == 0:
                seen.append((value.frame_type,))
                return
            content = self._contents[value.channel_number].process(value)
            if content is None:
                return
            method, header, body = content
            found = Delivered(method.method.delivery_tag, method.method.routing_key, header.properties, body)
            seen.append((value.channel_number, *row(found)[1:]))

    opened = Connection()
    if taking:
        opened.take_deliveries(CHANNEL, lambda found: seen.extend(map(row, found)))
    return opened, seen


def content(channel: int, tag: int, key: str, properties: Any, body: bytes, consumer: str = "commute g 1") -> bytes:
    method = frame.Method(channel, spec.Basic.Deliver(consumer, tag, False, "exchange", key))
    parts = [body[begin : begin + FRAME_BYTES_MAX] for begin in range(0, len(body), FRAME_BYTES_MAX)]
    header = frame.Header(channel, len(body), properties)
    return b"".join(each.marshal() for each in (method, header, *(frame.Body(channel, part) for part in parts)))


SHORT = st.none() | st.text(max_size=20)
VALUES = st.text(max_size=40) | st.sampled_from(
    (1, -1, True, None, b"\xff", Decimal("1.5"), datetime(2026, 1, 2, tzinfo=UTC), ["a", 1], {"a": "b"}, 1 << 40)
)
PROPERTIES = st.builds(
    pika.BasicProperties,
    content_type=SHORT, content_encoding=SHORT, correlation_id=SHORT, reply_to=SHORT, expiration=SHORT,
    message_id=SHORT, type=SHORT, user_id=SHORT, app_id=SHORT, cluster_id=SHORT,
    delivery_mode=st.none() | st.sampled_from((1, 2)), priority=st.none() | st.integers(0, 255),
    timestamp=st.none() | st.integers(0, 2**40),
    headers=st.none()
    | st.dictionaries(st.text(max_size=12), st.text(max_size=40), max_size=6)
    | st.dictionaries(st.text(max_size=12), VALUES, max_size=4),
)  # fmt: skip
BODIES = st.binary(max_size=60) | st.integers(0, 3 * FRAME_BYTES_MAX).map(bytes)
CONTENTS = st.builds(
    content, st.sampled_from((CHANNEL, CHANNEL, CHANNEL, OTHER)), st.integers(1, 2**50), st.text(max_size=20),
    PROPERTIES, BODIES, st.text(max_size=20),
)  # fmt: skip
OTHERS = st.sampled_from((
    frame.Heartbeat().marshal(),
    frame.Method(0, spec.Connection.Blocked("no memory")).marshal(),
    frame.Method(0, spec.Connection.Unblocked()).marshal(),
))  # fmt: skip
PLAIN = content(CHANNEL, 1, "k", pika.BasicProperties(headers={"a": "b"}), b"{}")


@settings(max_examples=300)
@given(st.lists(CONTENTS | OTHERS, max_size=8), st.lists(st.integers(1, 400), max_size=30))
@example([PLAIN] * 3, [1] * len(PLAIN))
@example([PLAIN, content(CHANNEL, 2, "k", pika.BasicProperties(), b"")], [len(PLAIN) + 5])
def test_whatever_arrives_in_whatever_pieces_is_what_pika_makes_of_it(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    ours, seen = connection(taking=True)
    theirs, expected = connection(taking=False)
    theirs._on_data_available(stream)
    at = 0
    for cut in [*cuts, len(stream)]:
        if stream[at : at + cut]:
            ours._on_data_available(stream[at : at + cut])
        at += cut

    assert seen == expected
    assert ours._frame_buffer == b""
    assert ours.bytes_received == theirs.bytes_received == len(stream)


def test_two_channels_in_turn_within_one_delivery_are_left_to_pika() -> None:
    def parts(channel: int, body: bytes) -> tuple[bytes, bytes, bytes]:
        return (
            frame.Method(channel, spec.Basic.Deliver("c", 1, False, "", "k")).marshal(),
            frame.Header(channel, len(body), pika.BasicProperties(headers={"a": "b"})).marshal(),
            frame.Body(channel, body).marshal(),
        )

    ours, seen = connection(taking=True)
    ours._on_data_available(b"".join(part for pair in zip(parts(CHANNEL, b"1"), parts(OTHER, b"2"), strict=True)
                                     for part in pair))  # fmt: skip
    assert [(each[0], each[-1]) for each in seen] == [(CHANNEL, b"1"), (OTHER, b"2")]


def found_in(stream: bytes) -> Sequence[Delivered]:
    found, end, waits = deliveries(stream, CHANNEL)
    assert end == len(stream)
    assert not waits
    return found


def test_plain_deliveries_are_all_read_at_once() -> None:
    """Else pika would do it all, and nothing but the time would show it."""
    properties = pika.BasicProperties(
        "application/json", "utf-8", {"ä": "ö", "": ""}, 2, 3, "c", "r", "e", "m", 4, "t", "u", "a", "i"
    )
    stream = b"".join(content(CHANNEL, tag, "key", properties, b"x" * tag) for tag in range(5))

    assert [row(each) for each in found_in(stream)] == [
        (CHANNEL, tag, "key", "application/json", {"ä": "ö", "": ""}, "m", 4, "t", b"x" * tag) for tag in range(5)
    ]


def test_tables_that_are_alike_in_size_only_are_told_apart() -> None:
    """The third of a kind is cut up as the two before it were."""
    alike: list[dict[str, str]] = [{"a": "bc"}, {"ab": "c"}, {"b": "bc"}, {"a": "xy"}, {"a": "ü"}]
    headers = [each for table in alike for each in (table, table, table, {"a": "bc"})]
    stream = b"".join(content(CHANNEL, 1, "k", pika.BasicProperties(headers=each), b"") for each in headers)

    assert [each.properties.headers for each in found_in(stream)] == headers


def test_bytes_that_are_no_text_are_left_to_pika_in_a_table_that_is_known_too() -> None:
    texts_only = content(CHANNEL, 1, "k", pika.BasicProperties(headers={"a": "bc"}), b"") * 3
    found, end, _ = deliveries(texts_only + texts_only.replace(b"bc", b"\xff\xff"), CHANNEL)
    assert (len(found), end) == (3, len(texts_only))


@pytest.mark.parametrize("size_bytes", [0, 1, WHOLE_BYTES_MAX])
def test_a_part_of_a_delivery_is_waited_for(size_bytes: int) -> None:
    head = frame.Method(CHANNEL, spec.Basic.Deliver("c", 7, False, "", "k")).marshal()
    head_and_header = head + frame.Header(CHANNEL, size_bytes, pika.BasicProperties()).marshal()
    whole = head_and_header + (frame.Body(CHANNEL, b"x" * size_bytes).marshal() if size_bytes else b"")

    for end in {len(head), len(head) + 9, len(head_and_header) - 1, len(whole) - 1}:
        assert deliveries(PLAIN + whole[:end], CHANNEL)[1:] == (len(PLAIN), True)
    assert len(found_in(PLAIN + whole)) == 2


def test_a_huge_body_is_not_waited_for() -> None:
    head = frame.Method(CHANNEL, spec.Basic.Deliver("c", 7, False, "", "k")).marshal()
    header = frame.Header(CHANNEL, WHOLE_BYTES_MAX + 1, pika.BasicProperties()).marshal()
    assert deliveries(head + header, CHANNEL) == ([], 0, False)


@pytest.mark.parametrize("at", range(len(PLAIN)))
def test_bytes_that_are_not_amqp_are_left_to_pika_or_read_as_what_they_say(at: int) -> None:
    """No byte makes us fail where pika would tell what is wrong, nor read beyond a frame."""
    broken = PLAIN[:at] + bytes((PLAIN[at] ^ 0xFF,)) + PLAIN[at + 1 :]
    found, end, waits = deliveries(broken + PLAIN, CHANNEL)
    if found and not waits:
        assert end == 2 * len(PLAIN)
