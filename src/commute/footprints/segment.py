"""Values as segments of a key: one text per value, in which nothing can act as a separator or a wildcard.

Keys from different handlers, producers and languages meet in one tree, so equal values must give equal text
(42 and "42", one instant in two time zones, one word in two Unicode forms) and a value must never leave its
segment: an id ``a/b`` would hide below ``a``, an id ``*`` would lock all. Hence: canonical forms, NFC,
percent-encoding of ``/ * % { }`` and control characters, a bare ``%`` for the empty text.

Invariant: a segment is 1 to `SEGMENT_BYTES_MAX` bytes of UTF-8 and decodes to exactly one text. Source: RFC
3986 (encoding), Unicode Standard Annex 15 (NFC).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

from commute.errors import RejectedError

SEGMENT_BYTES_MAX = 256
DEPTH_MAX = 16
EMPTY = "%"

_ENCODED = re.compile(r"%([0-9A-F]{2})")
_UNSAFE = re.compile(r"[/*%{}\x00-\x1f\x7f-\x9f]")


def segment(value: object, *, at: str = "") -> str:
    """The segment that stands for `value`; `at` is the field that messages name.

    Integers in decimal, booleans and UUIDs in lower case, dates and UTC datetimes in ISO form, enum values,
    Decimals without needless digits, text in NFC. About 0.3 µs. Raises RejectedError: ``key-type`` for any
    other value, ``key-value`` for a datetime without a time zone or a Decimal that is no number,
    ``key-too-long``.
    """
    kind = type(value)
    if kind is str:
        return text_segment(value, at=at)  # type: ignore[arg-type]  # exact type tested above
    if kind is int:
        return _integer(value, at)  # type: ignore[arg-type]
    if kind is bool:
        return "true" if value else "false"
    return _uncommon(value, at)


def text_segment(text: str, *, at: str = "") -> str:
    """The segment of a text: NFC, encoded, ``%`` if empty. Raises RejectedError (``key-too-long``)."""
    if not text:
        return EMPTY
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if _UNSAFE.search(text) is not None:
        text = _UNSAFE.sub(_percent, text)
    check_length(text, at=at)
    return text


def plain_text(encoded: str) -> str:
    """The text that a segment stands for, for people: the inverse of `text_segment` up to NFC."""
    return "" if encoded == EMPTY else _ENCODED.sub(lambda found: chr(int(found[1], 16)), encoded)


def check_length(text: str, *, at: str = "") -> None:
    """Returns if `text` is short enough for a segment, else raises RejectedError (``key-too-long``)."""
    if len(text) <= SEGMENT_BYTES_MAX and text.isascii():
        return
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise RejectedError(f"{_named(at)}text that is not UTF-8 cannot be a key", slug="key-value") from error
    if size_bytes > SEGMENT_BYTES_MAX:
        raise _too_long(at, size_bytes)


def _uncommon(value: object, at: str) -> str:
    if isinstance(value, Enum):  # before str and int: a member may be both
        return segment(value.value, at=at)
    if isinstance(value, str):
        return text_segment(str.__str__(value), at=at)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _integer(value, at)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return _instant(value, at)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _decimal(value, at)
    raise RejectedError(
        f"{_named(at)}a {type(value).__name__} cannot be part of a key: use an int, a str, a bool, a UUID, a "
        "date, a UTC datetime, an enum or a Decimal",
        slug="key-type",
    )


def _integer(value: int, at: str) -> str:
    # Bits first: Python refuses to write out a very long integer, and doing so would take quadratic time.
    if value.bit_length() > SEGMENT_BYTES_MAX * 4:
        raise _too_long(at, value.bit_length() // 4)
    text = int.__repr__(value)
    if len(text) > SEGMENT_BYTES_MAX:
        raise _too_long(at, len(text))
    return text


def _instant(value: datetime, at: str) -> str:
    if value.utcoffset() is None:
        raise RejectedError(f"{_named(at)}a datetime without a time zone names no instant: use UTC", slug="key-value")
    try:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError as error:
        raise RejectedError(f"{_named(at)}{value} lies outside of the calendar in UTC", slug="key-value") from error


def _decimal(value: Decimal, at: str) -> str:
    if not value.is_finite():
        raise RejectedError(f"{_named(at)}{value} is no number: it cannot be a key", slug="key-value")
    if not value:
        return "0"
    # Before writing it out: 1E+999999 would be a million digits.
    size_bytes = max(abs(value.adjusted()), len(value.as_tuple().digits))
    if size_bytes > SEGMENT_BYTES_MAX:
        raise _too_long(at, size_bytes)
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    check_length(text, at=at)
    return text


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _named(at: str) -> str:
    return f"{{{at}}}: " if at else ""


def _too_long(at: str, size_bytes: int) -> RejectedError:
    return RejectedError(
        f"{_named(at)}a segment of {size_bytes} bytes is too long for a key, {SEGMENT_BYTES_MAX} allowed: "
        "use an id or a digest",
        slug="key-too-long",
    )
