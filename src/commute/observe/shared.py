"""The tracer of the program's own state: dicts, lists, sets and deques that inference has met in handlers.

    watch begins ─▶ each is put into a watched copy, and the copy into every place that holds it ─▶ … ─▶ as it was

A container of Python's own has no place to look in, so another one stands for it: of a class below its own, whose
methods say what they are about to touch. Who calls its C functions past its methods gets what is in it, and is not
seen. One that is held where nothing can be put (a default argument, a bound method, a running function) stays as it is,
which is said.

Invariant: one copy for each container, however many watch; names are those of inference (`derive.state`).
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial, wraps
from typing import Any

from commute.derive.application import Container
from commute.derive.python.state import STATE, Watched
from commute.footprints.segment import segment
from commute.observe import watches
from commute.observe.watches import Undo

_LOG = logging.getLogger("commute")

_OF_KEY = {
    "dict": {
        "read": ("__getitem__", "get", "__contains__"),
        "write": ("__setitem__", "__delitem__", "pop", "setdefault", "move_to_end"),
    },
    "set": {"read": ("__contains__",), "write": ("add", "discard", "remove")},
}
_OF_EACH = ("update", "__ior__")  # of a dict or a set: a write of each key that is given
_READS = (
    "__iter__", "__len__", "__reversed__", "__contains__", "__getitem__", "__repr__",
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__",
    "__add__", "__mul__", "__rmul__", "__or__", "__ror__", "__and__", "__rand__", "__sub__", "__rsub__", "__xor__",
    "__rxor__", "keys", "values", "items", "copy", "__copy__", "index", "count", "union", "intersection", "difference",
    "symmetric_difference", "issubset", "issuperset", "isdisjoint",
)  # fmt: skip
_WRITES = (
    "clear", "popitem", "append", "appendleft", "extend", "extendleft", "insert", "remove", "pop", "popleft", "sort",
    "reverse", "rotate", "__setitem__", "__delitem__", "__iadd__", "__imul__", "__iand__", "__isub__", "__ixor__",
    "difference_update", "intersection_update", "symmetric_difference_update",
)  # fmt: skip
BASES = (dict, OrderedDict, defaultdict, Counter, list, set, deque)


def _keyed(own: Callable[..., Any], mode: str) -> Callable[..., Any]:
    @wraps(own)
    def seen(self: Any, key: Any, *given: Any, **named: Any) -> Any:
        watches.shared(self, mode, key)
        return own(self, key, *given, **named)

    return seen


def _made_if_missing(own: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(own)
    def seen(self: Any, key: Any) -> Any:
        makes = self.default_factory is not None and not dict.__contains__(self, key)
        watches.shared(self, "write" if makes else "read", key)
        return own(self, key)

    return seen


def _each(own: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(own)
    def seen(self: Any, *given: Any, **named: Any) -> Any:
        pairs = isinstance(self, dict) and not isinstance(self, Counter)
        several: list[Any] = [one if isinstance(one, Mapping) else dict(one) if pairs else [*one] for one in given]
        for one in (*several, named):
            for key in one:
                watches.shared(self, "write", key)
        if own.__name__ == "__ior__" and not pairs:
            several = [set(one) if isinstance(self, set) else one for one in several]
        return own(self, *several, **named)

    return seen


def _whole(own: Callable[..., Any], mode: str) -> Callable[..., Any]:
    @wraps(own)
    def seen(self: Any, *given: Any, **named: Any) -> Any:
        watches.shared(self, mode)
        found = own(self, *given, **named)
        return _filled(self.commute_base, found) if type(found) is type(self) and found is not self else found

    return seen


def _reduced(self: Any, _protocol: Any) -> Any:
    """For copies and pickles: those of the original's class."""
    watches.shared(self, "read")
    base = self.commute_base
    with watches.asking():
        if isinstance(self, dict):
            made = (self.default_factory,) if isinstance(self, defaultdict) else ()
            return base, made, None, None, iter([*self.items()])
        if isinstance(self, set):
            return base, ([*self],)
        return base, ((), self.maxlen) if isinstance(self, deque) else (), None, iter([*self])


@cache  # of `BASES`
def _class_for(base: Any) -> Any:
    """A class below `base` whose methods say what they touch. Methods that Python has written call these."""
    kind = "dict" if issubclass(base, dict) else "set" if issubclass(base, set) else ""
    made: dict[str, Any] = {"__slots__": ("commute_original",), "commute_base": base, "__reduce_ex__": _reduced}
    made["__hash__"] = None  # since it says what is equal

    def own(name: str) -> Any:
        found = getattr(base, name, None)
        written = isinstance(found, types.FunctionType) and name not in ("copy", "__copy__", *_OF_EACH)
        return None if written or found is getattr(object, name, None) else found

    for mode, names in (("read", _READS), ("write", _WRITES)):
        made |= {name: _whole(found, mode) for name in names if (found := own(name)) is not None}
    for mode, keyed in _OF_KEY.get(kind, {}).items():
        made |= {name: _keyed(found, mode) for name in keyed if (found := own(name)) is not None}
    if kind:
        made |= {name: _each(found) for name in _OF_EACH if (found := own(name)) is not None}
    if issubclass(base, defaultdict):
        made["__getitem__"] = _made_if_missing(own("__getitem__"))
    return type(base.__name__, (base, Watched), made)


def _filled(cls: Any, of: Any) -> Any:
    """Another one with the same inside, of this class."""
    with watches.asking():
        if isinstance(of, defaultdict):
            return cls(of.default_factory, of)
        return cls(of, of.maxlen) if isinstance(of, deque) else cls(of)


class _Pair:
    """A container and the copy that stands for it while `count` watch."""

    __slots__ = ("copy", "count", "original")

    def __init__(self, original: Any) -> None:
        self.original = original
        self.copy = _filled(_class_for(original.__class__), original)
        self.copy.commute_original = original
        self.count = 0


_lock = threading.Lock()
_pairs: dict[int, _Pair] = {}  # by the original


def enter(containers: Iterable[Container]) -> tuple[dict[int, str], Undo]:
    """The keys of the copies that stand for these containers from now on; and what ends that."""
    with _lock, watches.asking():
        known = {id(one.thing): one.name for one in containers if type(one.thing) in BASES}
        fresh = [_Pair(one.thing) for one in containers if id(one.thing) in known and id(one.thing) not in _pairs]
        held = _put([_Move(pair.original, pair.copy) for pair in fresh])
        for pair in fresh:
            if id(pair.original) not in held:
                _pairs[id(pair.original)] = pair
        mine = [_pairs[one] for one in known if one in _pairs]
        for pair in mine:
            pair.count += 1
    for one, why in held.items():
        _LOG.warning("%s/%s is not watched: it is held by %s", STATE, known[one], why)
    return {id(pair.copy): f"{STATE}/{segment(known[id(pair.original)])}" for pair in mine}, lambda: _leave(mine)


def _leave(mine: Sequence[_Pair]) -> None:
    with _lock, watches.asking():
        over = []
        for pair in mine:
            pair.count -= 1
            if not pair.count:
                over.append(_pairs.pop(id(pair.original)))
                pair.original.clear()
                (pair.original.extend if hasattr(pair.original, "extend") else pair.original.update)(pair.copy)
        _put([_Move(pair.copy, pair.original) for pair in over])


class _Move:
    """What stands in the place of what."""

    __slots__ = ("new", "old")

    def __init__(self, old: Any, new: Any) -> None:
        self.old = old
        self.new = new


def _put(moves: Sequence[_Move]) -> dict[int, str]:
    """Put the new ones in every place that holds the old ones. Where that is not possible for one of its places, an old
    one stays in all of them: those, with what holds them. Cost: a look at all objects of the program."""
    if not moves:
        return {}
    places, held = _places(moves)
    if held:
        del places
        gc.collect()  # it may be held by what nobody holds
        places, held = _places(moves)
    for move in moves:
        for put in places.get(id(move.old), ()) if id(move.old) not in held else ():
            put()
    return held


def _places(moves: Sequence[_Move]) -> tuple[dict[int, list[Undo]], dict[int, str]]:
    by_id = {id(move.old): move for move in moves}
    found: dict[int, list[Undo]] = {}
    held: dict[int, str] = {}
    for holder in gc.get_referrers(*[move.old for move in moves]):
        ours = type(holder).__module__.startswith("commute.") and not isinstance(holder, Watched)
        if ours or isinstance(holder, types.FrameType):  # frames are looked at below
            continue
        for one in {id(each) for each in gc.get_referents(holder)} & by_id.keys():
            puts = _puts(holder, by_id[one].old, by_id[one].new)
            if puts is None:
                held[one] = f"a {type(holder).__name__}"
            else:
                found.setdefault(one, []).extend(puts)
    for frame in sys._current_frames().values():
        at: types.FrameType | None = frame
        while at is not None:
            code = at.f_code
            if code.co_name != "<module>" and not str(at.f_globals.get("__name__", "")).startswith("commute."):
                cells = (*code.co_cellvars, *code.co_freevars)
                for name, value in at.f_locals.items():
                    if id(value) in by_id and name not in cells:
                        held[id(value)] = f"{code.co_qualname}, which runs"
            at = at.f_back
    return found, held


def _puts(holder: Any, old: Any, new: Any) -> list[Undo] | None:
    """What puts `new` in the place of `old` in one object; None where that is not possible."""
    if isinstance(holder, Watched) and getattr(holder, "commute_original", None) is old:
        return []
    if isinstance(holder, types.CellType):
        return [lambda: setattr(holder, "cell_contents", new)]
    if isinstance(holder, list | deque):
        return [partial(holder.__setitem__, at, new) for at, one in enumerate(holder) if one is old]
    if isinstance(holder, dict):
        names = [name for name, one in holder.items() if one is old]
        if "__module__" in holder and "__doc__" in holder:
            owners = [one for one in gc.get_referrers(holder) if isinstance(one, type) and _is_of(one, names, old)]
            if owners:
                return [partial(setattr, owners[0], name, new) for name in names]
        return [partial(holder.__setitem__, name, new) for name in names]
    names = [name for name, one in getattr(holder, "__dict__", {}).items() if one is old]
    slots = [name for cls in type(holder).__mro__ for name in _slots(cls) if getattr(holder, name, None) is old]
    return [partial(object.__setattr__, holder, name, new) for name in (*names, *slots)] or None


def _is_of(cls: type, names: Iterable[str], old: Any) -> bool:
    return all(vars(cls).get(name) is old for name in names)


def _slots(cls: type) -> Sequence[str]:
    found = vars(cls).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)
