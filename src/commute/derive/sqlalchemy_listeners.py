"""Functions that listen to what happens to mapped objects: they run with the flush, and with the loading, of each."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Any

from commute.derive.run import Run
from commute.derive.values import Data, Handle, Live, Unknown, Value

_OF_FLUSH = ("before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete")
INSERTED, UPDATED, DELETED = _OF_FLUSH[:2], _OF_FLUSH[2:4], _OF_FLUSH[4:]
_CHANGED = "called by name"
_OF_LOADING = ("load", "refresh")


def heard(run: Run, handle: Any, value: Handle, events: Iterable[str], where: str) -> None:
    """Whoever listens to these events of an object of the class, or of one below it, is called."""
    for mapper in value.about["mapper"].self_and_descendants:
        for name in events:
            given = [Handle("sa", {"real": mapper}), handle, _as(value, mapper)]
            _call(run, mapper, name, given, where)


def is_heard(mapper: Any, events: Iterable[str]) -> bool:
    """Whether anybody listens to these events of objects of the class, or of one below it."""
    return any(any(_functions(one, name)) for one in mapper.self_and_descendants for name in events)


def loaded(run: Run, value: Handle, where: str) -> None:
    """The same of what listens to the loading of an object, and of what stands in the place of its constructor then."""
    for mapper in value.about["mapper"].self_and_descendants:
        for name in _OF_LOADING:
            _call(run, mapper.class_manager, name, [_as(value, mapper), Unknown("a context"), Data("names")], where)
        again = getattr(mapper, "_reconstructor", None)
        if again is not None:
            run.call(Live(again), [_as(value, mapper)], {}, where)


def made(run: Run, value: Handle, where: str) -> None:
    """The same of what listens to the making of an object."""
    if any(_functions(value.about["mapper"].class_manager, "init")):
        run.widen(f"a listener of {value.about['class'].__name__} is not followed", where, "do its work in the handler")


def _as(value: Handle, mapper: Any) -> Handle:
    return (
        value
        if mapper is value.about["mapper"]
        else Handle(value.kind, {**value.about, "class": mapper.class_, "mapper": mapper})
    )


def _call(run: Run, target: Any, name: str, given: list[Value], where: str) -> None:
    for function in _functions(target, name):
        key = ("sqlalchemy listener", id(function))
        if run.kept.get(key):
            continue  # it sets off itself
        run.kept[key] = True
        if not isinstance(function, types.FunctionType | types.MethodType):
            run.widen(f"a listener of {name} is not followed", where, "do its work in the handler")
        else:
            taken = function.__code__.co_argcount - isinstance(function, types.MethodType)
            loose = function.__code__.co_flags & 0x04
            run.call(Live(function), given if loose else given[:taken], {}, where)
        run.kept[key] = False


def _functions(target: Any, name: str) -> Iterator[Any]:
    """The application's functions that listen; for one that is called in another way than as it is written, a word."""
    for listener in list(getattr(target.dispatch, name, ()) or ()):
        inner, direct = _inner(listener, 0)
        if inner is not None:
            yield inner if direct else _CHANGED


def _inner(listener: Any, depth: int) -> tuple[Any, bool]:
    """The application's function behind SQLAlchemy's wrappers, and whether it gets the same arguments."""
    if not str(getattr(listener, "__module__", "")).startswith("sqlalchemy"):
        return listener, True
    plain = getattr(listener, "__qualname__", "").endswith("_listen.<locals>.wrap")
    for cell in getattr(listener, "__closure__", None) or ():
        try:
            held = cell.cell_contents
        except ValueError:
            continue
        for one in held if isinstance(held, list | tuple) else (held,):
            if callable(one) and not isinstance(one, type) and depth < 4:
                found, direct = _inner(one, depth + 1)
                if found is not None:
                    return found, direct and plain
    return None, False


def is_foreign(listener: Any, known: Iterable[Any] = ()) -> bool:
    """Whether a function of the application stands behind a listener, but for those that are `known`."""
    found = _inner(listener, 0)[0]
    return found is not None and found not in known
