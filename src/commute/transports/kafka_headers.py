"""Messages as Kafka has them, and back: what is done for each, so in as few steps as can be.

Invariants: `row_of` writes what `cloudevents.headers_of` says, and `whole` reads what `cloudevents.read` would, or
leaves it to that.

Source: CloudEvents 1.0.2, Kafka protocol binding, binary mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from commute import cloudevents
from commute.errors import UsageError
from commute.transports.base import Message

PREFIX = "ce_"
_VERSION = cloudevents.SPEC_VERSION.encode()
_CONTENT_TYPE = cloudevents.JSON.encode()
_STRUCTURED = cloudevents.STRUCTURED.encode()
_TIME_S_MAX = 253_402_300_799  # the last second that has a date of four digits

Row: TypeAlias = tuple[bytes | None, bytes, dict[str, str | bytes | None]]


def check(message: Message) -> None:
    """Raise what `row_of` would: it is made when its turn comes, and is gone again while it is in the cache."""
    plain = message.id.isascii() and message.source.isascii() and message.type.isascii()
    for name, value in (message.attributes or {}).items():
        plain = plain and name.isascii() and value.isascii()
    if not plain or not 0 <= message.time_s < _TIME_S_MAX:
        row_of(message)


def row_of(message: Message) -> Row:
    """Key, value and headers: those of `cloudevents.headers_of`, in Kafka's form at once. Raises UsageError
    (``invalid-text``)."""
    try:
        key = None
        # A dict of texts is nothing for the garbage collector, and a list of pairs is much.
        headers: dict[str, str | bytes | None] = {
            "ce_specversion": _VERSION,
            "ce_id": message.id.encode(),
            "ce_source": message.source.encode(),
            "ce_type": message.type.encode(),
            "ce_time": cloudevents.time_text(message.time_s).encode(),
            "content-type": _CONTENT_TYPE,
        }
        if message.attributes:
            for name, value in message.attributes.items():
                if not name.isascii():
                    name.encode()
                headers[PREFIX + name] = value.encode()
            if (partition_key := message.attributes.get("partitionkey")) is not None:
                key = partition_key.encode()
        return key, message.data, headers
    except UnicodeEncodeError as error:
        raise UsageError(f"the event {message.id!r} cannot be sent to Kafka: {error!r}; repair its text",
                         slug="invalid-text") from None  # fmt: skip


def document_of(message: Message) -> Row:
    """The same in structured mode: the value is one JSON document. Raises as `row_of`."""
    key = row_of(message)[0]
    return key, cloudevents.structured(message), {"content-type": _STRUCTURED}


def whole(value: bytes, pairs: Sequence[tuple[str, bytes | None]]) -> Message | None:
    """What `cloudevents.read` would make of an event with all attributes that ours have, in half the time; None for any
    other."""
    headers: dict[str, Any] = dict(pairs)
    try:
        del headers["ce_specversion"]
        event_id, type_ = headers.pop("ce_id").decode(), headers.pop("ce_type").decode()
        source, time_s = headers.pop("ce_source").decode(), cloudevents.seconds_of(headers.pop("ce_time").decode())
        headers.pop("ce_datacontenttype", None)
        attributes = {name[3:]: text.decode() for name, text in headers.items() if name.startswith("ce_")}
    except (KeyError, AttributeError, UnicodeDecodeError):  # missing, no value, or no text
        return None
    if not source or time_s is None:
        return None
    return Message(event_id, source, type_, time_s, value, attributes or None)
