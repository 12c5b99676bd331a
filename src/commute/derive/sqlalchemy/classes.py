"""The classes of sessions: which ones stand behind a maker, and what the application has put in the place of
SQLAlchemy's own methods.

A method that the application calls is followed like any other. SQLAlchemy itself calls some of them too: ``flush`` when
it asks, ``get_bind`` for each statement. What else is overridden there is not followed.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Query, Session, sessionmaker

from commute.derive.python.attributes import bind, wrap
from commute.derive.run import Named, Run
from commute.derive.trusted import KNOWN
from commute.derive.values import Bound, Handle, Live, Unknown, Value, either, options

CALLED = ("flush", "get_bind", "close", "add", "expunge_all")  # by SQLAlchemy, besides those that call them by name
# Only who calls them by name runs these.
_BY_NAME = (
    "commit", "rollback", "delete", "merge", "refresh", "expire", "expire_all", "get", "get_one", "query", "exec",
    "scalar", "add_all", "bulk_save_objects", "bulk_insert_mappings", "bulk_update_mappings", "__init__",
)  # fmt: skip
_PLAIN = ("__module__", "__doc__", "__annotations__", "__dict__", "__weakref__", "__qualname__", "__parameters__",
          "__orig_bases__", "__static_attributes__", "__firstlineno__", "dispatch", "sync_session_class",
          "inherit_cache")  # fmt: skip


def maker(bind: Any, classes: tuple[type, ...], query: Any = None) -> Handle:
    """A maker of sessions of these classes; `query` is the class of their queries, None for SQLAlchemy's."""
    return Handle("session-maker", {"bind": bind, "classes": classes, "query": query})


def maker_of(thing: Any, bind: Any) -> Handle:
    """A live maker: of sessions of asyncio the class that they speak to belongs to it too."""
    return maker(bind, with_inner(thing.class_, thing.kw.get("sync_session_class")), thing.kw.get("query_cls"))


def made(run: Run, thing: Any, bind: Any, named: Named, where: str) -> Value:
    """A maker that is made while the handler runs."""
    found = given(named, "class_")
    inner, query = given(named, "sync_session_class"), given(named, "query_cls")
    if found is None or inner is None or query is None or len(query) > 1:
        return run.widen("a maker of sessions of a class that is not known is made", where)
    base = () if found else (AsyncSession if thing is not sessionmaker else Session,)
    every = [one for cls in (*base, *found) for one in with_inner(cls)]
    return maker(bind, tuple(dict.fromkeys([*every, *inner])), query[0] if query else None)


def of_session(thing: Any) -> tuple[type, ...]:
    """The class of a live session, and that of the one behind it."""
    inner = getattr(thing, "sync_session", None)
    return (type(thing),) if inner is None else (type(thing), type(inner))


def is_async(cls: type) -> bool:
    """Whether a class is of sessions of asyncio."""
    return issubclass(cls, AsyncSession)


def with_inner(cls: type, inner: Any = None) -> tuple[type, ...]:
    """A class of sessions, and that of the session behind it."""
    inner = inner or getattr(cls, "sync_session_class", None)
    return (cls, inner) if isinstance(inner, type) else (cls,)


def below(cls: type) -> tuple[type, ...]:
    """The classes that a session may be of which is known as one of `cls`."""
    found, left = [], [cls]
    while left:
        one = left.pop()
        left += type.__subclasses__(one)
        found += [one, *with_inner(one)[1:]]
    return tuple(dict.fromkeys(found))


def given(named: Named, name: str) -> tuple[type, ...] | None:
    """The classes that an argument may be; None where that is not known."""
    found = [one.value if isinstance(one, Live) else None for one in options(named[name])] if name in named else []
    return tuple(one for one in found if isinstance(one, type)) if all(isinstance(one, type) for one in found) else None


def _own_bases(classes: Iterable[type]) -> Iterator[type]:
    """The classes among them, and above them, that are no library's."""
    for cls in classes:
        yield from (base for base in cls.__mro__ if base.__module__.split(".")[0] not in (*KNOWN, "builtins", "typing"))


def _held(classes: Iterable[type], name: str) -> list[Any]:
    """What the application has put under a name, in the first class of each that has it."""
    found = []
    for cls in classes:
        base = next((base for base in cls.__mro__ if name in base.__dict__), None)
        if base is not None and any(base is own for own in _own_bases((cls,))):
            found.append((base.__dict__[name], cls))
    return list(dict.fromkeys(found))


def attribute(run: Run, handle: Handle, name: str, where: str) -> Value | None:
    """What an attribute of a session is where the application has it in its class; None for SQLAlchemy's own."""
    known = _held(handle.about["classes"], name)
    if not known:
        return None
    found = []
    for held, cls in known:
        if isinstance(held, property):
            found.append(run.call(Live(held.fget), [handle], {}, where))
        elif isinstance(held, types.FunctionType | classmethod | staticmethod):
            found.append(bind(run, held, handle, cls, where))
        else:
            found.append(wrap(run, held))
    if len(known) < len(handle.about["classes"]) and _plain_has(handle.about["classes"], name):
        found.append(Handle("sa-method", {"of": handle, "name": name}))
    return either(found)


def _plain_has(classes: Sequence[type], name: str) -> bool:
    """Whether one of the classes that a session may be has it from the library."""
    return any(hasattr(cls, name) and not _held((cls,), name) for cls in classes)


def above(handle: Handle, owner: type, name: str) -> Value:
    """``super().name`` in a method of the class `owner` of a session."""
    found: list[Value] = []
    for cls in handle.about["classes"]:
        mro = list(cls.__mro__)
        for base in mro[mro.index(owner) + 1 :] if owner in mro else ():
            if name in base.__dict__:
                own = base in _own_bases((cls,)) and isinstance(base.__dict__[name], types.FunctionType)
                found.append(
                    Bound(Live(base.__dict__[name]), handle)
                    if own
                    else Handle("sa-method", {"of": handle, "name": name})
                )
                break
    return either(dict.fromkeys(found)) or Unknown(f"super().{name} of a session")


def overridden(run: Run, classes: Sequence[type], where: str) -> dict[str, list[Any]]:
    """The application's methods that SQLAlchemy calls by itself, by name."""
    found: dict[str, list[Any]] = {}
    for base in dict.fromkeys(_own_bases(classes)):
        for name, held in list(base.__dict__.items()):
            theirs = any(name in other.__dict__ for other in base.__mro__ if other not in (base, object))
            if not theirs or name in _PLAIN or name in _BY_NAME:
                continue
            if name in CALLED and isinstance(held, types.FunctionType):
                found.setdefault(name, []).append(held)
            else:
                run.widen(f"{base.__name__}.{name}, which SQLAlchemy calls itself, is not followed", where,
                          "do its work in the handler")  # fmt: skip
    return found


def call_overridden(run: Run, handle: Handle, functions: Iterable[Any], where: str) -> Value | None:
    """Each of them is called, with whatever SQLAlchemy may give it."""
    found = []
    for function in functions:
        code = function.__code__
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        more: dict[str, Value] = {name: Unknown("what SQLAlchemy gives it") for name in names}
        found.append(run.call(Live(function), [handle], more, where))
    return either(found)


def engines(run: Run, handle: Handle) -> list[Any]:
    """The engines that the ``get_bind`` of the application's classes gives; none where one of them has none."""
    if not all(_held((cls,), "get_bind") for cls in handle.about["classes"] if not is_async(cls)):
        return []
    functions = [held for held, _ in _held(handle.about["classes"], "get_bind") if isinstance(held, types.FunctionType)]
    found = call_overridden(run, handle, functions, "")
    binds = [one.about.get("bind") for one in options(found) if isinstance(one, Handle)] if found is not None else []
    return list(dict.fromkeys(one for one in binds if one is not None))


def is_own_query(cls: Any) -> bool:
    """Whether a class of queries has the application's methods in the place of SQLAlchemy's."""
    if not isinstance(cls, type) or not issubclass(cls, Query):
        return False
    return any(name in Query.__dict__ and name not in _PLAIN for base in _own_bases((cls,)) for name in base.__dict__)
