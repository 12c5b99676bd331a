"""What reading a column gives of the value that its row was found by: 42 of "042" in a column of numbers.

Invariant: where it is not known what is read, there is no value; one that turns out for one event only makes its key
coarse.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from uuid import UUID

from commute.derive.evaluation import NoValueError
from commute.derive.values import Computed, Const, Field, Value, either, is_known, options

if TYPE_CHECKING:
    from commute.derive.run import TableAccess
    from commute.sql.schema import Column

_READ = "read"  # the name of the conversion


def as_read(value: Value, access: TableAccess, column: str) -> Value | None:
    """The value of a column as it is read from a row of `access`, which was found by `value`; None: not known."""
    table = access.schema.table(access.touch.table)
    known = None if table is None else table.columns.get(column)
    found = [_as_read(option, known, access.schema.dialect) for option in options(value)]
    return either([one for one in found if one is not None]) if all(one is not None for one in found) else None


def _as_read(value: Value, column: Column | None, dialect: str) -> Value | None:
    if not is_known(value):
        return value
    kind: str = "other" if column is None else column.kind
    if column is not None and kind == "text" and column.collation != "binary":
        return None  # A finds a
    if kind == "numeric":
        kind = f"{kind} of {dialect}"
    convert = _CONVERTED.get(kind)
    if convert is None or (isinstance(value, Const) and value.value is None):
        return None
    hint = value.hint if isinstance(value, Field) else type(value.value) if isinstance(value, Const) else None
    if hint is not None and hint is _AS_IT_IS.get(kind):
        return value
    if isinstance(value, Computed) and value.function is convert:
        return value
    if isinstance(value, Const):
        try:
            return Const(convert(value.value))
        except (NoValueError, ValueError):
            return None
    return Computed(_READ, convert, (value,))


def _number(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            raise NoValueError("a text in a column of numbers") from None
    if isinstance(value, int | float | Decimal) and value == int(value):
        return int(value)
    raise NoValueError("a fraction")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # of a member of an enumeration its value
    if isinstance(value, int):
        return str(int(value))
    raise NoValueError("no text")


def _uuid(value: Any) -> UUID | str:
    return value if isinstance(value, UUID) else str(UUID(value))


def _day(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise NoValueError("no date")


def _loose(value: Any) -> str | int:
    """A column of SQLite's that makes a number of a text that looks like one."""
    if type(value) is int:
        return value
    text = _text(value)
    try:
        Decimal(text.strip())
    except InvalidOperation:
        return text
    raise NoValueError("a text that is a number")


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    raise NoValueError("a column of which nothing is known")


_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "int": _number, "text": _text, "uuid": _uuid, "date": _day, "numeric of sqlite": _loose, "other": _integer,
}  # fmt: skip
_AS_IT_IS: dict[str, type] = {
    "int": int, "text": str, "uuid": UUID, "date": date, "numeric of sqlite": int, "other": int,
}  # fmt: skip
