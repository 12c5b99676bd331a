"""The functions of the application that stand behind SQLAlchemy's listeners, and calls of them."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from commute.derive.run import Run
from commute.derive.values import Live, Value

_CHANGED = "called by name"


def call_each(run: Run, functions: Iterable[Any], name: str, given: Sequence[Value], where: str) -> None:
    """Each of the functions that listen to an event is called with what SQLAlchemy gives it."""
    for function in functions:
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


def functions(target: Any, name: str) -> Iterator[Any]:
    """The application's functions that listen; for one that is called in another way than as it is written, a word."""
    yield from behind(getattr(target.dispatch, name, ()) or ())


def behind(listeners: Iterable[Any]) -> Iterator[Any]:
    """The same of listeners that are known."""
    for listener in list(listeners):
        inner, direct = _inner(listener, 0)
        if inner is not None:
            yield inner if direct else _CHANGED


def around(listeners: Iterable[Any]) -> Iterator[Any]:
    """The same of what listens to an engine, whose own wrappers hand on all that they get. One without them gives back
    another statement, perhaps."""
    for listener in list(listeners):
        inner, direct = _inner(listener, 0)
        wrapped = getattr(listener, "__qualname__", "").startswith("ConnectionEvents._listen")
        if inner is not None:
            plain = direct and not getattr(listener, "__name__", "").startswith("before_")
            yield inner if wrapped or plain else _CHANGED


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
