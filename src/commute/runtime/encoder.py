"""From an event object to its type and bytes, checked: what `publish` and `ctx.publish` send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from commute.codec import Codec, codec_for
from commute.errors import RejectedError


class NamedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event without a class: a type name and its data. Checked by the class that a handler registered, if any."""

    type: str
    data: Mapping[str, object]


def named(event: object) -> object:
    """The event as `Encoder` takes it: ``(type name, data)`` as `NamedEvent`, everything else as it is."""
    if isinstance(event, tuple) and len(event) == 2 and isinstance(event[0], str):
        return NamedEvent(type=event[0], data=event[1])
    return event


class Encoder:
    """Knows the codecs of an app's handlers, `codecs`; others are made at first use."""

    __slots__ = ("_by_class", "_by_type", "_event_bytes_max", "_plain")

    def __init__(self, codecs: Iterable[Codec], event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._by_class: dict[type, Codec] = {}
        self._by_type: dict[str, Codec] = {}
        self._plain = msgspec.json.Encoder()
        for codec in codecs:
            known = self._by_type.get(codec.event_type)
            if known is None or known.cls is None:
                self._by_type[codec.event_type] = codec
            if codec.cls is not None:
                self._by_class[codec.cls] = codec

    def encode(self, event: object) -> tuple[str, bytes]:
        """(type, data). Raises RejectedError (``invalid-data``, ``too-large``), UsageError for what is no event."""
        if isinstance(event, NamedEvent):
            return self.encode_named(event.type, self._plain_bytes(event))
        codec = self._by_class.get(type(event))
        if codec is None:
            codec = self._by_class[type(event)] = codec_for(type(event))
        try:
            data = codec.encode(event)
        except RejectedError as error:
            raise RejectedError(f"{codec.event_type} was not sent: {error}", slug=error.slug) from error
        self.check_size(codec.event_type, data)
        return codec.event_type, data

    def encode_named(self, type_: str, data: bytes) -> tuple[str, bytes]:
        """`encode` for JSON bytes of an event that is known by its type name."""
        self.check_size(type_, data)
        codec = self._by_type.get(type_)
        if codec is None:
            codec = self._by_type[type_] = codec_for(type_)
        try:
            codec.decode(data)
        except RejectedError as error:
            raise RejectedError(f"{type_} was not sent: {error}", slug=error.slug) from error
        return type_, data

    def decode(self, type_: str, data: bytes) -> object:
        """The event of encoded bytes. Raises RejectedError."""
        codec = self._by_type.get(type_)
        if codec is None:
            codec = self._by_type[type_] = codec_for(type_)
        return codec.decode(data)

    def check_size(self, type_: str, data: bytes) -> None:
        """Raise RejectedError (``too-large``) before anything is sent."""
        if len(data) > self._event_bytes_max:
            raise RejectedError(
                f"{type_} was not sent: its data has {len(data):,} bytes, more than "
                f"event_bytes_max={self._event_bytes_max:,}. Send a reference to it instead",
                slug="too-large",
            )

    def _plain_bytes(self, event: NamedEvent) -> bytes:
        try:
            return self._plain.encode(event.data)
        except (TypeError, ValueError, OverflowError) as error:
            raise RejectedError(f"{event.type} was not sent: {error}", slug="invalid-data") from error

    def handlers_known(self, type_: str) -> bool:
        """Whether a handler of this app takes the type."""
        return type_ in self._by_type
