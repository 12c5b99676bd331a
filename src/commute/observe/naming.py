"""From the rows that a statement touches, with the values of its parameters, to keys spelled as footprints spell them.

Invariant: the same steps as `derive.routing` takes with values that are not known yet; where a value is not known,
or not how its column compares, the key ends before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from commute.core.footprint import EVERYTHING, Access
from commute.derive.routing import KEYS_MAX, NEW, Route
from commute.errors import RejectedError
from commute.footprints.segment import text_segment
from commute.sql.compare import normal
from commute.sql.schema import Column, Schema, Table
from commute.sql.statement import Const, Many, Operand, Param, Statement, Touch

Row = Mapping[str, Sequence[object]]
Alternative = Mapping[str, Sequence[Operand]]
Layout = Sequence[tuple[int, ...]]


class Unknown(Exception):
    """The value of an operand cannot be told."""


class Spelling:
    """A statement's accesses with its parameters still open: made once for a text, and asked for each execution."""

    __slots__ = ("_layout", "_parts", "_quick", "_schema", "place")

    def __init__(self, statement: Statement, layout: Layout, routes: Mapping[str, Route], schema: Schema) -> None:
        self.place: Any = None  # the line of the application that runs it, once that was looked for
        self._layout = layout
        self._schema = schema
        self._parts: list[tuple[Touch, Alternative, Route]] | None = None
        self._quick: list[tuple[str, str, int, Column] | None] = []
        if statement.unknown is None:
            self._parts = [
                (touch, one, routes[touch.table]) for touch in statement.touches for one in touch.rows or ({},)
            ]
            self._quick = [_quick(*part, layout, schema) for part in self._parts]

    def accesses(self, given: Any) -> Iterator[tuple[Access, Touch | None, Row]]:
        """What one execution touches: each access, and where it comes from. An unknown statement is EVERYTHING."""
        if self._parts is None:
            yield EVERYTHING[0], None, {}
            return
        for quick, (touch, alternative, route) in zip(self._quick, self._parts, strict=True):
            if quick is not None and type(given) is not dict:
                name, mode, at, column = quick
                value = given[at]
                if type(value) is int and value.bit_length() < 64:
                    yield Access(f"{name}/{value}", mode), touch, {column.name: (value,)}
                    continue
            row = {
                column: values
                for column, operands in alternative.items()
                if (values := _values(operands, self._layout, given)) is not None
            }
            for access in _keys(touch, alternative, row, route, self._schema):
                yield access, touch, row


def _quick(
    touch: Touch, alternative: Alternative, route: Route, layout: Layout, schema: Schema
) -> tuple[str, str, int, Column] | None:
    """The name, the mode, and the place of the one parameter that is the key, where it is of an INTEGER and there is
    nothing else to think of: most statements."""
    table = schema.table(touch.table)
    if route.parent is not None or len(route.columns) != 1 or table is None or touch.kind == "insert":
        return None
    column = table.columns.get(route.columns[0])
    operands = alternative.get(route.columns[0], ())
    if column is None or column.kind != "int" or len(operands) != 1 or len(alternative) != 1:
        return None
    operand = operands[0]
    if not isinstance(operand, Param) or isinstance(operand.name, str) or len(layout[operand.name]) != 1:
        return None
    return path(route.name), touch.mode, layout[operand.name][0], column


def _values(operands: Sequence[Operand], layout: Layout, given: Any) -> list[object] | None:
    """One of which the column has; None where that is not known."""
    found: list[object] = []
    try:
        for operand in operands:
            found += _of(operand, layout, given)
    except (Unknown, LookupError, TypeError):
        return None
    return found


def _of(operand: Operand, layout: Layout, given: Any) -> list[object]:
    if isinstance(operand, Param):
        if isinstance(operand.name, str):
            return [given[operand.name]]
        return [given[at] for at in layout[operand.name]]
    if isinstance(operand, Const):
        return [operand.value]
    if isinstance(operand, Many):
        return [value for several in _of(operand.param, layout, given) for value in _each(several)]
    raise Unknown


def _each(several: object) -> list[object]:
    if not isinstance(several, list | tuple | set):
        raise Unknown
    return list(several)


def _keys(touch: Touch, written: Mapping[str, object], row: Row, route: Route, schema: Schema) -> list[Access]:
    if route.parent is not None:
        return _under_parent(touch, row, route, schema)
    table = schema.table(touch.table)
    name = path(route.name)
    mode: str = touch.mode
    if mode == "add" and set(written) - set(route.columns):
        mode = "write"  # what it adds to depends on more than the key
    taken: list[list[str]] = []
    for column in route.columns:
        known = None if table is None else table.columns.get(column)
        values = row.get(column, ())
        segments = [normal_or_none(value, table, column) for value in values]
        if touch.kind == "insert" and not taken and known is not None and known.generated:
            absent = column not in written and touch.rows is not None
            if absent or (bool(values) and all(value is None for value in values)):
                return [Access(f"{name}/{NEW}", "insert")]
        if not segments or None in segments:
            break
        taken.append([segment for segment in segments if segment is not None])
    return _spelled(name, taken, mode)


def _under_parent(touch: Touch, row: Row, route: Route, schema: Schema) -> list[Access]:
    assert route.parent is not None
    child, column = route.link
    above = path(route.parent.name)
    values = row.get(child, ())
    table = schema.table(route.parent.table)
    segments = [normal_or_none(value, table, column) for value in values]
    mode = "write" if touch.mode == "add" else touch.mode
    if route.parent.columns != (column,) or not segments or None in segments:
        return [Access(above, mode)]
    return [Access(f"{above}/{segment}/{path(route.name)}", mode) for segment in segments]


def normal_or_none(value: object, table: Table | None, column: str) -> str | None:
    """The segment of a value of a column, None where it has none."""
    try:
        return normal(value, None if table is None else table.columns.get(column))
    except RejectedError:
        return None


def _spelled(name: str, taken: Sequence[Sequence[str]], mode: str) -> list[Access]:
    count = 1
    for segments in taken:
        count *= len(segments)
    if not taken or count > KEYS_MAX:
        return [Access(name, "write" if mode == "add" else mode)]
    return [Access("/".join((name, *segments)), mode) for segments in product(*taken)]


def path(name: str) -> str:
    """A table's name as the first segments of keys."""
    return "/".join(text_segment(part) for part in name.split("/"))
