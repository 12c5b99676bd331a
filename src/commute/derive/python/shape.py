"""What a place in the code can see: its names, and what the objects behind them hold. Equal when nothing changed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any

from commute.derive.run import Frame, Run, TableAccess, signature
from commute.derive.values import Bound, Closure, Either, Entries, Handle, Items, Made, Value, Written

CHAIN_MAX = 2  # rows behind a row by which it was found
BINDS = "sqlalchemy binds"  # under which a run keeps the values of parameters of statements, by name
NODES_MAX = 4_000  # of values that are looked at; what lies behind them counts as equal


def shape(run: Run, frame: Frame) -> Hashable:
    """The state as a frame sees it. Cost: one visit to each value that can be reached."""
    seen = _Shapes(run.kept.get(BINDS, {}))
    own = frozenset((place, frozenset(seen.of(value) for _, value in put)) for place, put in run.own.items())
    return seen.frame(frame), own


def shape_of(value: Value) -> Hashable:
    """The same of one value."""
    return _Shapes().of(value)


class _Shapes:
    def __init__(self, binds: Mapping[str, Value] = MappingProxyType({})) -> None:
        self._binds = binds  # what stands for parameters in statements
        self._known: dict[int, Hashable] = {}
        self._kept: list[object] = []  # so that no other value gets its id

    def of(self, value: Value | None) -> Hashable:
        if isinstance(value, Written):  # what decides conditions is another thing than the same value that does not
            return "written", value
        if not isinstance(value, Made | Items | Entries | Closure | Bound | Handle | Either):
            return value
        return self._once(value, lambda: self._inside(value))

    def frame(self, frame: Frame | None) -> Hashable:
        if frame is None:
            return None
        return self._once(frame, lambda: (self._names(frame.names), self.frame(frame.outer)))

    def _once(self, thing: object, make: Any) -> Hashable:
        if id(thing) not in self._known:
            self._kept.append(thing)
            self._known[id(thing)] = "around"  # a circle
            if len(self._known) < NODES_MAX:
                self._known[id(thing)] = make()
        return self._known[id(thing)]

    def _names(self, names: dict[Any, Value]) -> Hashable:
        return frozenset((name, self.of(value)) for name, value in names.items())

    def _inside(self, value: Value) -> Hashable:
        if isinstance(value, Either):
            return frozenset(map(self.of, value.options))
        if isinstance(value, Made):
            return value.cls, self._names(value.attributes)
        if isinstance(value, Items):
            ends = tuple(map(self.of, value.head or ())), tuple(map(self.of, value.tail[0] if value.tail else ()))
            known = None if value.known is None else tuple(map(self.of, value.known))
            return value.kind, known, self.of(value.element), ends
        if isinstance(value, Entries):
            return self._names(value.known), self.of(value.other), self.of(value.key), value.sure
        if isinstance(value, Closure):
            return id(value.node), self.frame(value.frame)
        if isinstance(value, Bound):
            return self.of(value.function), self.of(value.first)
        assert isinstance(value, Handle)
        if value.kind == "cell":
            return _cell(value)
        return value.kind, frozenset((name, self._about(one)) for name, one in value.about.items() if name != "session")

    def _about(self, thing: object) -> Hashable:
        """What a handle of a plug-in keeps: values, rows by how they were found, statements by what they consist of."""
        if isinstance(thing, Made | Items | Entries | Either | Handle):
            return self.of(thing)
        if isinstance(thing, list | tuple):
            return frozenset(map(self._about, thing))  # each pass may add the same again
        if isinstance(thing, dict):
            return frozenset((name, self._about(one)) for name, one in thing.items() if isinstance(name, str))
        if isinstance(thing, str | bool | type):
            return thing
        if hasattr(thing, "__visit_name__"):
            return self._statement(thing)
        return _access(thing, CHAIN_MAX) if isinstance(thing, TableAccess) else None

    def _statement(self, thing: Any) -> Hashable:
        """The parts of a statement of SQLAlchemy's as a set: to say the same again makes it no other one."""
        found: set[Hashable] = {type(thing).__name__}
        waiting = [thing] if hasattr(thing, "get_children") else []
        while waiting:
            part = waiting.pop()
            waiting += part.get_children()
            name = getattr(part, "key", None) or getattr(part, "name", None)
            bound = self._binds.get(name) if isinstance(name, str) else None
            said = str(getattr(part, "value", name)) if bound is None else _told(bound, CHAIN_MAX)
            found.add((part.__visit_name__, said))
        return frozenset(found)


def _access(access: TableAccess, depth: int) -> Hashable:
    """How rows were found, up to a few rows back: a walk from row to row goes on as it began."""
    touch = access.touch
    rows: Hashable = "found by another"
    if depth and access.rows is not None:
        rows = tuple(
            frozenset((column, tuple(_told(one, depth) for one in values)) for column, values in row.items())
            for row in access.rows
        )
    elif depth:
        rows = None
    return touch.table, touch.mode, touch.kind, access.where, rows


def _cell(value: Handle, depth: int = CHAIN_MAX) -> Hashable:
    return "cell", value.about["column"], _access(value.about["access"], depth - 1)


def _told(value: Value, depth: int) -> Hashable:
    if isinstance(value, Either):
        return frozenset(_told(one, depth) for one in value.options)
    if isinstance(value, Handle) and value.kind == "cell":
        return _cell(value, depth)
    return signature(value)
