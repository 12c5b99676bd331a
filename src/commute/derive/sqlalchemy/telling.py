"""Functions that listen to what sessions do: they are called with the session, and with any object that it may have.

When a session flushes, and what it has gathered until then, is not followed: its listeners are called again whenever
the run has got another object or has changed one, until that brings nothing new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.orm.events import SessionEvents

from commute.derive.run import Run
from commute.derive.sqlalchemy.behind import around, behind, call_each
from commute.derive.sqlalchemy.classes import call_overridden, overridden
from commute.derive.values import Data, Handle, Items, Unknown, Value, either

_ROUNDS_MAX = 8  # in which listeners of a session set off themselves
_REMEDY = "do its work in the handler"
_OF_OBJECTS = {
    "load": ("loaded_as_persistent",),
    "before_insert": ("before_attach", "after_attach", "transient_to_pending", "pending_to_persistent"),
    "before_delete": ("persistent_to_deleted",),
}  # by what happens to the object
_OBJECT_EVENTS = tuple(name for names in _OF_OBJECTS.values() for name in names)
_SESSION_EVENTS = (
    "before_flush", "after_flush", "after_flush_postexec", "before_commit", "after_commit", "after_rollback",
    "after_soft_rollback", "after_begin", "after_transaction_create", "after_transaction_end",
)  # fmt: skip


@dataclass(slots=True)
class _Session:
    """What a run knows of one session: who listens, its objects, and those of which nobody was told yet."""

    listeners: dict[str, list[Any]]
    overridden: dict[str, list[Any]] = field(default_factory=dict)  # methods that SQLAlchemy calls with them
    objects: dict[object, Handle] = field(default_factory=dict)
    untold: dict[tuple[str, object], Handle] = field(default_factory=dict)
    telling: bool = False


def told(run: Run, handle: Handle, value: Handle, events: Iterable[str], where: str) -> None:
    """Something has happened to an object of the session: who listens to that, and to its flushes, is called."""
    known = _known(run, handle, where)
    access = value.about.get("access")
    key = (value.kind, value.about["mapper"], id(value) if access is None else access.signature)
    known.objects[key] = value
    for event in events:
        for name in _OF_OBJECTS.get(event, ()):
            if name in known.listeners:
                known.untold[name, key] = value
    _tell(run, handle, known, where)


def listeners(run: Run, handle: Handle, where: str) -> None:
    """The session does something: who listens to that is called."""
    _tell(run, handle, _known(run, handle, where), where)


_ENGINE_EVENTS = (
    "before_execute", "after_execute", "before_cursor_execute", "after_cursor_execute", "handle_error", "begin",
    "commit", "rollback", "savepoint", "release_savepoint", "engine_connect", "do_execute", "do_executemany",
)  # fmt: skip


def engine_listens(run: Run, handle: Handle, where: str) -> None:
    """Statements are run by an engine: who listens to that is called, once for all of them."""
    bind = handle.about.get("bind")
    key = ("sqlalchemy engine told", id(bind))
    if not isinstance(bind, sa.Engine) or run.kept.get(key):
        return
    run.kept[key] = True
    run.regions.append(object())
    for name in _ENGINE_EVENTS:
        more: list[Value] = [Unknown("what an engine runs") for _ in range(6)]
        if "cursor_execute" in name or name.startswith("do_"):
            more = [more[0], Data("a text of SQL"), Data("parameters"), Handle("sa-context"), Data("whether many")]
        given = [Unknown("a cursor"), *more[1:]] if name.startswith("do_") else [handle, *more]
        call_each(run, around(getattr(bind.dispatch, name, ()) or ()), name, given, where)
    run.regions.pop()


def objects_of(run: Run, handle: Handle, where: str) -> Value:
    """``session.new``, ``dirty`` and ``deleted``: any of the objects that the session has until now."""
    found = either(_known(run, handle, where).objects.values())
    return Items("set", []) if found is None else Items("set", None, found)


def rows_deleted(run: Run, handle: Handle, mapper: Any, where: str) -> None:
    """A statement deletes rows of a class: the session's objects of it are deleted too."""
    known = _known(run, handle, where)
    for value in list(known.objects.values()):
        if value.about["mapper"].isa(mapper) or mapper.isa(value.about["mapper"]):
            told(run, handle, value, ("before_delete",), where)


def _known(run: Run, handle: Handle, where: str) -> _Session:
    key = ("sqlalchemy session told", id(handle))
    if key not in run.kept:
        found = _listeners(handle.about["classes"], handle.about["live"])
        for name in [name for name in found if name not in (*_OBJECT_EVENTS, *_SESSION_EVENTS)]:
            run.widen(f"a listener of {name} of the session is not followed", where, _REMEDY)
        run.kept[key] = _Session(found)
        run.kept[key].overridden = overridden(run, handle.about["classes"], where)
    return run.kept[key]  # type: ignore[no-any-return]


def _listeners(classes: Sequence[type], live: Any) -> dict[str, list[Any]]:
    """The application's functions that listen to sessions of some classes, or to a live one, by the name of the
    event."""
    found: dict[str, list[Any]] = {}
    bases = dict.fromkeys(base for cls in (Session, *classes) for base in cls.__mro__)
    own = getattr(getattr(live, "sync_session", live), "dispatch", None)
    for name in [name for name in dir(SessionEvents) if not name.startswith("_")]:
        for target in (*bases, None):
            by_class = getattr(getattr(target, "dispatch", None), name, None)
            listening = getattr(by_class, "_clslevel", {}).get(target, ()) if target else getattr(own, name, None) or ()
            for function in behind(listening):
                if function not in found.setdefault(name, []):
                    found[name].append(function)
        if not found.get(name):
            found.pop(name, None)
    return found


def _tell(run: Run, handle: Handle, known: _Session, where: str) -> None:
    if known.telling or not (known.listeners or known.overridden):
        return  # they set off themselves: the one that is called already goes on until nothing is new
    known.telling = True
    run.regions.append(object())  # a flush may come later than here
    for _ in range(_ROUNDS_MAX):
        before = len(run.effects), len(known.objects)
        untold, known.untold = known.untold, {}
        for (name, _key), value in untold.items():
            call_each(run, known.listeners[name], name, [handle, value], where)
        for name in [name for name in _SESSION_EVENTS if name in known.listeners]:
            more: list[Value] = [Unknown("a context of a flush"), Unknown("what is flushed")]
            given = [handle, more[0], handle if name == "after_begin" else more[1]]  # the last one is its connection
            call_each(run, known.listeners[name], name, given, where)
        for functions in known.overridden.values():
            call_overridden(run, handle, functions, where)
        if not known.untold and before == (len(run.effects), len(known.objects)):
            break
    else:
        run.widen("listeners of the session set off each other", where, _REMEDY)
    run.regions.pop()
    known.telling = False
