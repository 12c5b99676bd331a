"""What a place in the code can see: its names, and what the objects behind them hold. Equal when nothing changed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from commute.derive.run import Frame, Run
from commute.derive.values import Bound, Closure, Either, Entries, Handle, Items, Made, Value, Written

NODES_MAX = 4_000  # of values that are looked at; what lies behind them counts as equal


def shape(run: Run, frame: Frame) -> Hashable:
    """The state as a frame sees it. Cost: one visit to each value that can be reached."""
    seen = _Shapes()
    own = frozenset((place, frozenset(seen.of(value) for _, value in put)) for place, put in run.own.items())
    return seen.frame(frame), own


def shape_of(value: Value) -> Hashable:
    """The same of one value."""
    return _Shapes().of(value)


class _Shapes:
    def __init__(self) -> None:
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
        inside: dict[Any, Value] = {
            name: one for name, one in value.about.items() if isinstance(one, Made | Items | Entries | Either)
        }
        return value.kind, self._names(inside)
