"""Functions that listen to what happens to mapped objects: they run with the flush, and with the loading, of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from commute.derive.run import Run
from commute.derive.sqlalchemy.behind import call_each, functions
from commute.derive.sqlalchemy.telling import told
from commute.derive.values import Data, Handle, Live, Unknown, Value

_OF_FLUSH = ("before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete")
INSERTED, UPDATED, DELETED = _OF_FLUSH[:2], _OF_FLUSH[2:4], _OF_FLUSH[4:]
_OF_LOADING = ("load", "refresh")


def heard(run: Run, handle: Any, value: Handle, events: Iterable[str], where: str) -> None:
    """Whoever listens to these events of an object of the class, or of one below it, is called, and who listens to
    what its session does with it."""
    for mapper in value.about["mapper"].self_and_descendants:
        for name in events:
            given: list[Value] = [Handle("sa", {"real": mapper}), handle, _as(value, mapper)]
            call_each(run, functions(mapper, name), name, given, where)
    if handle is not None:
        told(run, handle, value, events, where)


def is_heard(mapper: Any, events: Iterable[str]) -> bool:
    """Whether anybody listens to these events of objects of the class, or of one below it."""
    return any(any(functions(one, name)) for one in mapper.self_and_descendants for name in events)


def loaded(run: Run, value: Handle, where: str) -> None:
    """The same of what listens to the loading of an object, and of what stands in the place of its constructor then."""
    for mapper in value.about["mapper"].self_and_descendants:
        for name in _OF_LOADING:
            given: list[Value] = [_as(value, mapper), Unknown("a context"), Data("names")]
            call_each(run, functions(mapper.class_manager, name), name, given, where)
        again = getattr(mapper, "_reconstructor", None)
        if again is not None:
            run.call(Live(again), [_as(value, mapper)], {}, where)
    if value.about.get("session") is not None:
        told(run, value.about["session"], value, _OF_LOADING, where)


def made(run: Run, value: Handle, where: str) -> None:
    """The same of what listens to the making of an object."""
    if any(functions(value.about["mapper"].class_manager, "init")):
        run.widen(f"a listener of {value.about['class'].__name__} is not followed", where, "do its work in the handler")


def _as(value: Handle, mapper: Any) -> Handle:
    return (
        value
        if mapper is value.about["mapper"]
        else Handle(value.kind, {**value.about, "class": mapper.class_, "mapper": mapper})
    )
