"""From the rows that a statement touches, with the values of its parameters, to keys spelled as footprints spell them.

Invariant: the same steps as `derive.routing` takes with values that are not known yet; where a value is not known,
or not how its column compares, the key ends before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from commute.core.footprint import EVERYTHING, Access
from commute.derive.routing import KEYS_MAX, NEW, Route, freed_by, taken_by
from commute.errors import RejectedError
from commute.footprints.segment import text_segment
from commute.sql.compare import normal
from commute.sql.schema import Column, Schema
from commute.sql.statement import Const, Many, Opaque, Operand, Param, Statement, Touch
from commute.sql.text import Prepared

Row = Mapping[str, Sequence[object]]
Alternative = Mapping[str, Sequence[Operand]]


class Unknown(Exception):
    """The value of an operand cannot be told."""


class Part(NamedTuple):
    """One alternative of a touch, and the route by which its keys are spelled."""

    touch: Touch
    alternative: Alternative
    route: Route


class _Quick(NamedTuple):
    """A part whose key is told by one parameter: at this place of the statement's, or of this name."""

    prefix: str
    mode: str
    at: int | str
    kind: Any  # int or str


class _Unless(NamedTuple):
    """A part whose access is the same for all values, unless one of these parameters is NULL."""

    access: Access
    places: tuple[int | str, ...]


class Spelling:
    """A statement's accesses with its parameters still open: made once for a text, and asked for each execution."""

    __slots__ = ("_parts", "_prepared", "_quick", "_schema", "place")

    def __init__(self, statement: Statement, prepared: Prepared, routes: Mapping[str, Route], schema: Schema) -> None:
        self.place: Any = None  # the line of the application that runs it, once that was looked for
        self._prepared = prepared
        self._schema = schema
        self._parts: list[Part] | None = None
        # One for each part, where all of them are told quickly.
        self._quick: list[Access | _Quick | _Unless] | None = None
        if statement.unknown is None:
            self._parts = [
                part
                for touch in statement.touches
                for one in touch.rows or ({},)
                for part in _parts(touch, one, routes[touch.table], schema)
            ]
            quick = [_quick(*part, prepared, schema) for part in self._parts]
            self._quick = [one for one in quick if one is not None] if None not in quick else None

    def quickly(self, given: Any) -> list[Access] | None:
        """The same as `accesses`, without where they come from; None where it takes more than one look at each
        value."""
        if self._quick is None:
            return None
        found = []
        for one in self._quick:
            if type(one) is _Quick:
                prefix, mode, at, kind = one
                if (type(given) is dict) is not (type(at) is str):
                    return None
                value: Any = given[at]
                if type(value) is not kind:
                    return None
                if kind is str:
                    try:
                        value = text_segment(value)
                    except RejectedError:
                        return None
                elif value.bit_length() >= 64:
                    return None
                found.append(Access(f"{prefix}/{value}", mode))
            elif type(one) is _Unless:
                for at in one.places:
                    if (type(given) is dict) is not (type(at) is str) or given[at] is None:
                        return None
                found.append(one.access)
            else:
                found.append(one)  # type: ignore[arg-type]
        return found

    def accesses(self, given: Any) -> Iterator[tuple[Access, Part | None, Row]]:
        """What one execution touches: each access, and where it comes from. An unknown statement is EVERYTHING."""
        if self._parts is None:
            yield EVERYTHING[0], None, {}
            return
        for part in self._parts:
            touch, alternative, route = part
            row = {
                column: values
                for column, operands in alternative.items()
                if (values := _values(operands, self._prepared, given)) is not None
            }
            if _may_be_none(touch, self._schema) and any(value == [None] for value in row.values()):
                continue
            for access in _keys(touch, alternative, row, route, self._schema):
                yield access, part, row


def _may_be_none(touch: Touch, schema: Schema) -> bool:
    """Whether nothing is touched where a value is NULL: such a foreign key has no parent, and a unique value that is
    none collides with nobody's."""
    return touch.kind == "parent" or (touch.kind == "unique" and schema.is_strict(touch.table))


def _parts(touch: Touch, alternative: Alternative, route: Route, schema: Schema) -> Iterator[Part]:
    """A touch by its route, and the unique values beside the rows that it makes free. In a table that is not as it was
    thought to be, whoever takes one may meet any row."""
    if route.apart and not schema.is_strict(touch.table):
        route = replace(route, apart=())
    yield Part(touch, alternative, taken_by(touch, alternative, route))
    if route.columns and route.columns[0] in alternative:  # else it is the whole table
        for freed, one in freed_by(touch, route):
            yield Part(freed, alternative, one)


def _quick(
    touch: Touch, alternative: Alternative, route: Route, prepared: Prepared, schema: Schema
) -> Access | _Quick | _Unless | None:
    """Most parts: the access that is the same for all values, or the one parameter that is the key, of an INTEGER or a
    text that compares as it is. None for others."""
    table = schema.table(touch.table)
    if route.parent is not None:
        return None
    if not route.columns or route.columns[0] not in alternative:
        always = _keys(touch, alternative, {}, route, schema)
        if alternative and _may_be_none(touch, schema):  # whether there is one the values say
            params = [one for operands in alternative.values() for one in operands if not isinstance(one, Opaque)]
            places = [_place(one, prepared) for one in params]
            told = tuple(place for place in places if place is not None)
            return _Unless(always[0], told) if len(told) == len(places) and len(always) == 1 else None
        return always[0] if len(always) == 1 else None
    if len(route.columns) != 1 or table is None or touch.kind == "insert":
        return None
    column = route.column(route.columns[0], table)
    operands = alternative[route.columns[0]]
    kind = {("int", "binary"): int, ("text", "binary"): str}.get((column.kind, column.collation)) if column else None
    place = _place(operands[0], prepared) if len(operands) == 1 else None
    if kind is None or place is None or len(alternative) != 1:
        return None
    return _Quick(path(route.name), touch.mode, place, kind)


def _place(operand: Operand, prepared: Prepared) -> int | str | None:
    """Where the one value of a parameter stands; None where it is no single one."""
    if not isinstance(operand, Param):
        return None
    if isinstance(operand.name, str):
        return None if operand.name in prepared.lists else operand.name
    places = prepared.layout[operand.name]
    return places[0] if len(places) == 1 else None


def _values(operands: Sequence[Operand], prepared: Prepared, given: Any) -> list[object] | None:
    """One of which the column has; None where that is not known, or of so many that the access is the table's."""
    found: list[object] = []
    if len(operands) > KEYS_MAX:
        return None
    try:
        for operand in operands:
            found += _of(operand, prepared, given)
    except (Unknown, LookupError, TypeError):
        return None
    return found


def _of(operand: Operand, prepared: Prepared, given: Any) -> list[object]:
    if isinstance(operand, Param):
        name = operand.name
        places = prepared.names(name) if isinstance(name, str) else prepared.layout[name]
        if len(places) > KEYS_MAX:
            raise Unknown
        return [given[at] for at in places]
    if isinstance(operand, Const):
        return [operand.value]
    if isinstance(operand, Many):
        return [value for several in _of(operand.param, prepared, given) for value in _each(several)]
    raise Unknown


def _each(several: object) -> list[object]:
    if not isinstance(several, list | tuple | set) or len(several) > KEYS_MAX:
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
        segments = [normal_or_none(value, route.column(column, table)) for value in values]
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
    segments = [normal_or_none(value, route.column(column, table)) for value in values]
    mode = "write" if touch.mode == "add" else touch.mode
    if route.parent.columns != (column,) or not segments or None in segments:
        return [Access(above, mode)]
    return [Access(f"{above}/{segment}/{path(route.name)}", mode) for segment in segments]


def normal_or_none(value: object, column: Column | None) -> str | None:
    """The segment of a value of a column, None where it has none."""
    try:
        return normal(value, column)
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
