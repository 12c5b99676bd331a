"""The segment of a key for a value of a column: equal for all values that the column holds to be one.

Invariant: where it is not known how a column compares, there is no segment, and the access is to the whole table.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from uuid import UUID

from commute.footprints.segment import segment
from commute.sql.schema import Column


def normal(value: object, column: Column | None) -> str | None:
    """The segment, or None where none is known. `column` None: nothing is known of it, and only an int is one value.

    An INTEGER takes "042" for 42, NOCASE takes A for a, RTRIM leaves out blanks at the end. About 1 µs. Raises
    RejectedError for a text that is too long.
    """
    if isinstance(value, Enum):
        if not isinstance(value, str | int):  # what a driver sends for it, its name or its value, is not known
            return None
        value = value.value
    if value is None or (isinstance(value, float) and (column is None or column.kind not in ("int", "numeric"))):
        return None
    if column is None or column.kind == "other":
        return segment(value) if type(value) is int else None
    if column.kind in ("int", "numeric"):
        return _number(value)
    if column.kind == "text":
        return _text(value, column)
    if column.kind == "uuid":
        return _uuid(value)
    if column.kind == "bool":
        return segment(int(value)) if isinstance(value, bool | int) else None
    if column.kind == "date":
        return _date(value)
    return None


def _number(value: object) -> str | None:
    if isinstance(value, bool | int):
        return segment(int(value))
    if isinstance(value, float):
        return segment(int(value)) if value.is_integer() else None
    if isinstance(value, str):
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            return segment(value)  # a text in a column of numbers: it equals no number
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return segment(value)
    return None  # a fraction may be rounded when it is stored


def _text(value: object, column: Column) -> str | None:
    if isinstance(value, bool | int):
        value = str(int(value))
    elif isinstance(value, UUID):
        value = str(value)
    if not isinstance(value, str) or column.collation == "unknown":
        return None
    text = str.__str__(value)
    if column.collation == "nocase":
        text = text.lower()
    elif column.collation == "rtrim":
        text = text.rstrip(" ")
    return segment(text)


def _date(value: object) -> str | None:
    if isinstance(value, str):  # as SQLite has it
        try:
            return value if date.fromisoformat(value).isoformat() == value else None
        except ValueError:
            return None
    return segment(value) if isinstance(value, date) and not isinstance(value, datetime) else None


def _uuid(value: object) -> str | None:
    if isinstance(value, str):
        try:
            value = UUID(value)
        except ValueError:
            return None
    return segment(value) if isinstance(value, UUID) else None
