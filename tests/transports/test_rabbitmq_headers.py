"""Properties in AMQP's bytes, read back by pika, which encodes them in its own way."""

from __future__ import annotations

from typing import Any

import pytest

from commute import cloudevents
from commute.errors import UsageError
from commute.transports.base import Message
from commute.transports.rabbitmq_headers import PREFIX, SHORT_BYTES_MAX, encoded

pika: Any = pytest.importorskip("pika")
LONG = "ü" * 128  # 256 bytes

MESSAGES = [
    Message("1", "/s", "order_created", 1.75e9 + 0.5, b"{}"),
    Message("1", "/s", "t", -1.5, b"", {"correlationid": "c", "größe": "ü", "leer": ""}),
    Message(LONG, "/s", LONG, 0.0, b"1", {"n" * (SHORT_BYTES_MAX - len(PREFIX)): "x" * 100_000}),
]


def short(text: str) -> str | None:
    return text if len(text.encode()) <= SHORT_BYTES_MAX else None


@pytest.mark.parametrize("message", MESSAGES)
def test_pika_would_write_the_same_bytes_and_reads_them(message: Message) -> None:
    expected = pika.BasicProperties(
        content_type=cloudevents.JSON, headers=cloudevents.headers_of(message, PREFIX), delivery_mode=2,
        message_id=short(message.id), type=short(message.type), timestamp=max(0, int(message.time_s)),
    )  # fmt: skip
    made = encoded(message)

    assert b"".join(made.encode()) == b"".join(expected.encode())
    assert made.size_bytes == len(b"".join(expected.encode()))
    assert expected.INDEX == made.INDEX
    assert pika.BasicProperties().decode(b"".join(made.encode())) == expected


@pytest.mark.parametrize(
    ("message", "slug"),
    [
        (Message("\ud800", "/s", "t", 1.0, b""), "invalid-text"),
        (Message("1", "/s", "t", 1.0, b"", {"\ud800": "v"}), "invalid-text"),
        (Message("1", "/s", "t", 1.0, b"", {"n" * (SHORT_BYTES_MAX - len(PREFIX) + 1): "v"}), "invalid-text"),
        (Message("1", "/s", "t", 1.0, b"", {"n": "v" * 131_072}), "too-large"),
    ],
)
def test_what_no_header_can_hold_is_refused(message: Message, slug: str) -> None:
    with pytest.raises(UsageError) as refused:
        encoded(message)
    assert refused.value.slug == slug
