"""Classes of sessions and of queries that the application has written: what they do besides SQLAlchemy's own."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from commute.derive.attributes import bind
from commute.derive.run import Arguments, Named, Run
from commute.derive.sqlalchemy_session import session
from commute.derive.values import Handle, Live, Value

_KNOWN = ("sqlalchemy", "sqlmodel", "flask_sqlalchemy", "builtins", "typing")


def written(run: Run, value: Handle, name: str, where: str) -> Value | None:
    """What a class of sessions of the application's own has under a name, bound to the session, and by ``super()`` what
    the class above has; None for what SQLAlchemy's do."""
    above = value.kind == "super"
    first = value.about["self"] if above else value
    cls = first.about.get("class") if isinstance(first, Handle) and first.kind == "session" else None
    if not isinstance(cls, type):
        return None
    mro = list(cls.__mro__)
    if above:
        mro = mro[mro.index(value.about["owner"]) + 1 :] if value.about["owner"] in mro else []
    base = next((one for one in mro if name in one.__dict__), None)
    if base is not None and base.__module__.split(".")[0] not in _KNOWN:
        return bind(run, base.__dict__[name], first, cls, where)
    return Handle("sa-method", {"of": first, "name": name}) if above else None


def asks_itself(handle: Handle) -> bool:
    """Whether the queries of a session are of a class of the application's own, which may do more than SQLAlchemy's."""
    cls = handle.about.get("queries")
    return isinstance(cls, type) and any(one.__module__.split(".")[0] not in _KNOWN for one in cls.__mro__)


def of_maker(run: Run, maker: Handle) -> Handle:
    """The session that a maker makes."""
    return session(run, maker.about["bind"], maker.about["class"], maker.about.get("queries"))


def opened_by(run: Run, thing: Any, arguments: Arguments, named: Named) -> Handle | None:
    """The session, or the maker of sessions, that a call of a class gives; None for another class."""
    name = getattr(thing, "__name__", "")
    given = named.get("bind") or (arguments[0] if arguments else None)
    engine = given.about["bind"] if isinstance(given, Handle) and "bind" in given.about else None
    queries = _class(named.get("query_cls"))
    if (isinstance(thing, type) and issubclass(thing, Session)) or name == "AsyncSession":
        return session(run, engine, thing if thing is not Session and name != "AsyncSession" else None, queries)
    if thing is sessionmaker or name == "async_sessionmaker":
        made = _class(named.get("class_" if thing is sessionmaker else "sync_session_class"))
        return Handle("session-maker", {"bind": engine, "class": made, "queries": queries})
    return None


def _class(value: Value | None) -> Any:
    return value.value if isinstance(value, Live) and isinstance(value.value, type) else None
