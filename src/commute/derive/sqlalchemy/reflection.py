"""What the application asks mapped classes themselves: their columns, their mapper, the query that hangs on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Query

from commute.derive.python.attributes import class_attribute, wrap
from commute.derive.run import Run
from commute.derive.sqlalchemy.session import session
from commute.derive.values import Certain, Const, Either, Handle, Items, Live, Value, either


def mapped(thing: object) -> bool:
    return isinstance(thing, type) and sa.inspect(thing, raiseerr=False) is not None


def mapper_of(value: Value) -> Value | None:
    """The mapper of a class or of an object, which stands for its state too. None and lists have none: that fails."""
    if isinstance(value, Either):
        return _of_each(value, mapper_of)
    if isinstance(value, Handle) and value.kind in ("entity", "new"):
        return Handle("sa", {"real": value.about["mapper"]})
    if isinstance(value, Live) and mapped(value.value):
        return Handle("sa", {"real": sa.inspect(value.value)})
    return None


def session_of(value: Value) -> Value | None:
    """The session that an object is in."""
    if isinstance(value, Either):
        return _of_each(value, session_of)
    if not isinstance(value, Handle) or value.kind not in ("entity", "new"):
        return None
    known: Value | None = value.about.get("session")
    return Const(None) if known is None else known


def of_engine(value: Handle, name: str) -> Value | None:
    """What an engine, a connection or a session says of the database that it is of, and what a dialect says of itself;
    None for another attribute, or where the engine is not known."""
    bind = value.about["real"] if value.kind == "sa" else getattr(value.about["bind"], "dialect", None)
    if not isinstance(bind, sa.engine.Dialect):
        return None
    if name == "dialect" and value.kind == "session":
        return Handle("sa", {"real": bind})
    return Certain(getattr(bind, name)) if name in ("name", "driver") else None


def _of_each(value: Either, of: Callable[[Value], Value | None]) -> Value | None:
    asked = [one for one in value.options if not isinstance(one, Const | Items) and not _is_collection(one)]
    found = [known for one in asked if (known := of(one)) is not None]
    return either(found) if len(found) == len(asked) else None


def _is_collection(value: Value) -> bool:
    return isinstance(value, Handle) and value.kind == "collection"


def columns(run: Run, value: Value) -> Value | None:
    """The columns of a table, or the attributes of a mapper, where these are looped over."""
    real_ = value.about.get("real") if isinstance(value, Handle) and value.kind == "sa" else None
    if isinstance(real_, sa.sql.base.ReadOnlyColumnCollection | sa.ColumnCollection | sa.util.ReadOnlyProperties):
        key = ("sqlalchemy columns", id(real_))  # the same ones each time: the loop sees that they do not change
        if key not in run.kept:
            run.kept[key] = real_, Items("list", [Handle("sa", {"real": one}) for one in real_])
        found: Items = run.kept[key][1]
        return found
    return None


def query_property(run: Run, value: Live, name: str, where: str) -> Value | None:
    """``Model.query``: a query of the session that is behind such an attribute; None for another one."""
    known: Any = class_attribute(value.value, name)
    if type(known).__qualname__ not in ("_QueryProperty", "scoped_session.query_property.<locals>.query"):
        return None
    owner: Any = None
    for holder in (value.value.__dict__.get("__fsa__"), getattr(value.value, "__fsa__", None)):
        owner = owner or getattr(holder, "session", None)
    made = None if owner is None else wrap(run, owner)
    handle = made if isinstance(made, Handle) and made.kind == "session" else session(run, None)
    return Handle("sa-query", {"session": handle, "query": Handle("sa", {"real": Query([value.value])})})
