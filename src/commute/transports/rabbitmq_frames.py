"""Deliveries out of AMQP's bytes, all of a buffer at once: pika makes four objects of each, and takes thrice as long.

    method frame: consumer, tag, routing key │ header frame: size of the body, properties │ body frame

Only what nearly every message is is read here: these three frames one behind the other on the consumer's channel, and
headers that are texts. Everything else (a number or a time among the headers, a body of several frames, frames of two
channels in turn, other frames) is left where it lies, for pika. Properties that nobody asks for are passed over.

Source: AMQP 0-9-1, 2.3.5 (frames), 4.2.5 (tables, strings), 4.2.6 (content).
"""

from __future__ import annotations

import struct

import msgspec

WHOLE_BYTES_MAX = 131_072  # of a body that is waited for; a larger one may come in many frames, which pika collects

_KIND_METHOD, _KIND_HEADER, _KIND_BODY = 1, 2, 3
_KIND_TEXT = ord("S")  # of a header's value
_DELIVER = 60 << 16 | 60  # the method: deliver, of the class "basic"
_METHOD = struct.Struct(">BHLLB")  # kind, channel, size; class and method, bytes of the consumer's tag
_HEADER = struct.Struct(">BHLLQH")  # kind, channel, size; class and weight, bytes of the body, flags
_BODY = struct.Struct(">BHL")  # kind, channel, size
_VALUE = struct.Struct(">BL")  # kind, bytes
_NUMBER = struct.Struct(">Q")
_LENGTH = struct.Struct(">L")
_FRAME_BYTES, _END_BYTES = 7, 1  # around what a frame carries
_END = 0xCE
_TAG_BYTES = 9  # a delivery's, and whether it is not the first
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE, _PRIORITY, _CORRELATION_ID, _REPLY_TO, _EXPIRATION = (
    1 << n for n in range(15, 7, -1)
)  # fmt: skip
_MESSAGE_ID, _TIMESTAMP, _TYPE, _MORE_FLAGS = 1 << 7, 1 << 6, 1 << 5, 1
_OCTETS = _DELIVERY_MODE | _PRIORITY
_TEXTS = _CORRELATION_ID | _REPLY_TO | _EXPIRATION


class Properties(msgspec.Struct, frozen=True, gc=False):
    """Those that we read, under pika's names; empty where there is none."""

    content_type: str
    headers: dict[str, str]
    message_id: str
    timestamp: int | None
    type: str


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """One message, as it was delivered."""

    tag: int
    routing_key: str
    properties: Properties
    body: bytes


def deliveries(buffer: bytes, channel: int) -> tuple[list[Delivered], int, bool]:
    """The deliveries on `channel` with which `buffer` begins, one after the other; where what follows them begins; and
    whether that is a part of one more, whose rest has to be waited for."""
    found: list[Delivered] = []
    at, size = 0, len(buffer)
    while at + _METHOD.size <= size:
        kind, on, method_bytes, which, consumer_bytes = _METHOD.unpack_from(buffer, at)
        if kind != _KIND_METHOD or on != channel or which != _DELIVER:
            break
        header = at + _FRAME_BYTES + method_bytes + _END_BYTES
        if header + _HEADER.size > size:
            return found, at, True
        kind, on, header_bytes, _, body_bytes, flags = _HEADER.unpack_from(buffer, header)
        if kind != _KIND_HEADER or on != channel or body_bytes > WHOLE_BYTES_MAX:
            break
        end = body = header + _FRAME_BYTES + header_bytes + _END_BYTES
        if body_bytes:
            end += _FRAME_BYTES + body_bytes + _END_BYTES
        if end > size:
            return found, at, True
        if body_bytes and _BODY.unpack_from(buffer, body) != (_KIND_BODY, channel, body_bytes):
            break
        if not buffer[header - 1] == buffer[body - 1] == buffer[end - 1] == _END:
            break
        tag_at = at + _METHOD.size + consumer_bytes
        try:
            key = _last_text(buffer, tag_at + _TAG_BYTES + buffer[tag_at + _TAG_BYTES] + 1, header - 1)
            properties = _properties(buffer, header + _HEADER.size, body - 1, flags)
        except (ValueError, IndexError, struct.error):
            break
        body += _FRAME_BYTES
        found.append(
            Delivered(_NUMBER.unpack_from(buffer, tag_at)[0], key, properties, buffer[body : body + body_bytes])
        )
        at = end
    return found, at, False


def _last_text(buffer: bytes, at: int, end: int) -> str:
    if at + 1 + buffer[at] != end:
        raise ValueError("something lies between this text and the end")
    return str(buffer[at + 1 : end], "utf-8")


def _properties(buffer: bytes, at: int, end: int, flags: int) -> Properties:
    """What lies from `at` to `end`. Raises ValueError, IndexError or struct.error where only pika can tell."""
    content_type = message_id = type_ = ""
    headers: dict[str, str] = {}
    timestamp = None
    if flags & _MORE_FLAGS:
        raise ValueError("flags in more than one word")
    if flags & _CONTENT_TYPE:
        start, at = at + 1, at + 1 + buffer[at]
        content_type = str(buffer[start:at], "utf-8")
    if flags & _CONTENT_ENCODING:
        at += 1 + buffer[at]
    if flags & _HEADERS:
        table_end = at + _LENGTH.size + _LENGTH.unpack_from(buffer, at)[0]
        headers = _texts(buffer, at + _LENGTH.size, table_end)
        at = table_end
    if flags & _OCTETS:
        at += (flags & _DELIVERY_MODE > 0) + (flags & _PRIORITY > 0)
    if flags & _TEXTS:
        for each in (_CORRELATION_ID, _REPLY_TO, _EXPIRATION):
            if flags & each:
                at += 1 + buffer[at]
    if flags & _MESSAGE_ID:
        start, at = at + 1, at + 1 + buffer[at]
        message_id = str(buffer[start:at], "utf-8")
    if flags & _TIMESTAMP:
        timestamp = _NUMBER.unpack_from(buffer, at)[0]
        at += _NUMBER.size
    if flags & _TYPE:
        start, at = at + 1, at + 1 + buffer[at]
        type_ = str(buffer[start:at], "utf-8")
    if at > end:
        raise ValueError("the properties go beyond their frame")
    return Properties(content_type, headers, message_id, timestamp, type_)


def _texts(buffer: bytes, at: int, end: int) -> dict[str, str]:
    """The table from `at` to `end`. Raises as `_properties` does."""
    size = end - at
    layout = _LAYOUTS.get(size)
    if layout is not None and (known := layout.texts(buffer, at)) is not None:
        return known
    heads: list[bytes] = []
    texts: dict[str, str] = {}
    while at < end:
        name_end = at + 1 + buffer[at]
        kind, length = _VALUE.unpack_from(buffer, name_end)
        if kind != _KIND_TEXT:
            raise ValueError("a header that is no text")
        value = name_end + _VALUE.size
        heads.append(buffer[at:value])
        texts[str(buffer[at + 1 : name_end], "utf-8")] = str(buffer[value : value + length], "utf-8")
        at = value + length
    if at != end:
        raise ValueError("a header goes beyond their table")
    if layout is not None and layout.heads == heads:
        layout.came_again()
    else:
        if len(_LAYOUTS) >= _LAYOUTS_MAX:
            _LAYOUTS.clear()
        _LAYOUTS[size] = _Layout(heads)
    return texts


class _Layout:
    """Where the texts of a table lie. Messages with the same names, and values as long, have the same; where one has
    come again, a single call cuts such tables up from then on, in a third of the time."""

    __slots__ = ("_cut", "_names", "heads")

    def __init__(self, heads: list[bytes]) -> None:
        self.heads = heads  # of each entry, what lies before its text: length and name, kind and length
        self._names: list[str] = []
        self._cut: struct.Struct | None = None

    def came_again(self) -> None:
        self._names = [str(head[1 : -_VALUE.size], "utf-8") for head in self.heads]
        sizes = [(len(head), _VALUE.unpack(head[-_VALUE.size :])[1]) for head in self.heads]
        self._cut = struct.Struct("".join(f"{head}s{text}s" for head, text in sizes))

    def texts(self, buffer: bytes, at: int) -> dict[str, str] | None:
        """The texts by name; None where the table there has another layout, or nobody knows yet."""
        if self._cut is None:
            return None
        parts = self._cut.unpack_from(buffer, at)
        if list(parts[::2]) != self.heads:
            return None
        return dict(zip(self._names, map(bytes.decode, parts[1::2]), strict=True))


_LAYOUTS_MAX = 256
_LAYOUTS: dict[int, _Layout] = {}  # the last one of each size
