"""What the application asks mapped classes themselves: their columns, their mapper, the query that hangs on them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Query

from commute.derive.attributes import class_attribute, wrap
from commute.derive.run import Run
from commute.derive.sqlalchemy_session import session
from commute.derive.values import Handle, Items, Live, Value


def mapped(thing: object) -> bool:
    return isinstance(thing, type) and sa.inspect(thing, raiseerr=False) is not None


def mapper_of(value: Value) -> Value | None:
    """The mapper of a class or of an object, which stands for its state too."""
    if isinstance(value, Handle) and value.kind in ("entity", "new"):
        return Handle("sa", {"real": value.about["mapper"]})
    if isinstance(value, Live) and mapped(value.value):
        return Handle("sa", {"real": sa.inspect(value.value)})
    return None


def columns(value: Value) -> Value | None:
    """The columns of a table, or the attributes of a mapper, where these are looped over."""
    real_ = value.about.get("real") if isinstance(value, Handle) and value.kind == "sa" else None
    if isinstance(real_, sa.sql.base.ReadOnlyColumnCollection | sa.ColumnCollection | sa.util.ReadOnlyProperties):
        return Items("list", [Handle("sa", {"real": one}) for one in real_])
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
