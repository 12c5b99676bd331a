"""The plug-in for SQLAlchemy: sessions and queries of 2.x and 1.x, Core, mapped classes however they are mapped."""

from __future__ import annotations

import operator
import types
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from commute.derive.python.asked import HASH, SORT, ask
from commute.derive.python.expressions import element
from commute.derive.run import Arguments, Named, Run
from commute.derive.sqlalchemy import classes, objects, queries
from commute.derive.sqlalchemy.collections import collection_call
from commute.derive.sqlalchemy.loading import as_asked, escape
from commute.derive.sqlalchemy.making import new_object, new_row
from commute.derive.sqlalchemy.marshal import (
    CannotBuildError,
    built,
    is_clause,
    made,
    real,
    reals,
    without_value,
    wrapped,
    written,
)
from commute.derive.sqlalchemy.merging import merged
from commute.derive.sqlalchemy.reflection import columns, mapped, mapper_of, of_engine, query_property, session_of
from commute.derive.sqlalchemy.session import (
    column,
    execute,
    fetched,
    learn,
    metadata_of,
    row_as_dict,
    row_of,
    session,
    width,
)
from commute.derive.sqlalchemy.telling import listeners, objects_of
from commute.derive.sqlalchemy.values import changed, changes, method_call
from commute.derive.trusted import module_of
from commute.derive.values import (
    Bound,
    Certain,
    Const,
    Data,
    Entries,
    Handle,
    Items,
    Live,
    Unknown,
    Value,
    either,
    options,
)

_OURS = ("sa", "session", "session-maker", "result", "result-row", "entity", "new", "collection", "sa-query",
         "sa-method", "watched")  # fmt: skip
_OPERATORS: dict[str, Any] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv, "mod": operator.mod,
    "and": operator.and_, "or": operator.or_, "invert": operator.invert, "neg": operator.neg,
}  # fmt: skip
_ASKED = (*HASH, *SORT, "__bool__", "__len__", "__contains__")
_CALLABLE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_QUIET = ("commit", "rollback", "close", "flush", "expire", "expire_all", "expunge", "expunge_all", "invalidate",
          "prepare", "remove", "begin_nested", "get_bind", "in_transaction", "is_active", "close_all", "dispose",
          "enable_relationship_loading", "aclose", "reset")  # fmt: skip
_EXPIRES = ("commit", "rollback", "expire", "expire_all", "close", "__exit__", "__aexit__")


class SqlAlchemy:
    """See the module."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        name = type(thing).__name__
        if isinstance(thing, sessionmaker) or (name == "async_sessionmaker" and _is_library(type(thing))):
            return classes.maker_of(thing, _engine(thing.kw.get("bind")))  # type: ignore[attr-defined]
        if isinstance(thing, scoped_session) or name == "async_scoped_session":  # it hands on to the one of the scope
            made = self.wrap(run, thing.session_factory)  # type: ignore[attr-defined]
            return None if not isinstance(made, Handle) else _made_by(run, made)
        if isinstance(thing, Session) or name == "AsyncSession" or hasattr(type(thing), "sync_session_class"):
            return session(run, _engine(getattr(thing, "bind", None)), classes.of_session(thing), live=thing)
        if isinstance(thing, sa.Engine | sa.Connection) or name in ("AsyncEngine", "AsyncConnection"):
            return session(run, _engine(thing))
        if is_clause(thing) and not isinstance(thing, type):
            return Handle("sa", {"real": thing})
        mapper = sa.inspect(type(thing), raiseerr=False) if not isinstance(thing, type) else None
        if mapper is not None and hasattr(thing, "_sa_instance_state"):
            return Handle("new", {"class": type(thing), "mapper": mapper, "values": {}})
        return None

    def instance(self, run: Run, cls: type) -> Value | None:
        """What a parameter with this annotation is."""
        if issubclass(cls, Session) or classes.is_async(cls):
            return session(run, None, classes.below(cls))
        if cls is scoped_session or cls.__name__ == "async_scoped_session":
            return session(run, None, classes.below(Session), shared=True)
        if issubclass(cls, sa.Engine | sa.Connection) or cls.__name__ in ("AsyncEngine", "AsyncConnection"):
            return session(run, None, shared=cls.__name__.endswith("Engine"))
        if cls is sessionmaker or cls.__name__ == "async_sessionmaker":
            return classes.maker(None, classes.below(Session))
        return None

    # -- calls --------------------------------------------------------------------------------------------------

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if isinstance(function, Bound) and isinstance(function.first, Handle) and function.first.kind in _OURS:
            return None
        if isinstance(function, Live):
            return self._live(run, function.value, arguments, named, where)
        if not isinstance(function, Handle):
            return None
        if function.kind == "operator":
            return self._operator(run, function.about["name"], arguments, where)
        if function.kind in ("item", "iterate", "set-item"):
            return self._inside(run, function.kind, arguments, where)
        if function.kind == "each":
            return columns(run, arguments[0])
        if function.kind == "session":
            return function  # of a scoped one
        if function.kind == "session-maker":
            return _made_by(run, function, named)
        if function.kind == "sa":
            return built(run, "__call__", function, arguments, named, where)
        if function.kind == "sa-method":
            owner, name = function.about["of"], function.about["name"]
            return self._method(run, owner, name, arguments, named, where)
        return None

    def _live(self, run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value | None:
        if thing in (sa.inspect, sa.orm.class_mapper, sa.orm.object_mapper) and len(arguments) == 1:
            return mapper_of(arguments[0])
        if thing is sa.orm.object_session and len(arguments) == 1:
            return session_of(arguments[0])
        if (said := changes(run, thing, arguments, where)) is not None:
            return said
        if mapped(thing):
            return new_object(run, thing, dict(named), arguments, where)
        if isinstance(thing, type) and (issubclass(thing, Session) or classes.is_async(thing)):
            inner = classes.given(named, "sync_session_class")
            if inner is None:
                return run.widen("a session of a class that is not known is made", where)
            return session(run, _bound(arguments, named), (*classes.with_inner(thing), *inner))
        if thing is sessionmaker or getattr(thing, "__name__", "") == "async_sessionmaker":
            return classes.made(run, thing, _bound(arguments, named), named, where)
        if thing is scoped_session or getattr(thing, "__name__", "") == "async_scoped_session":
            return _scoped(run, arguments[0] if arguments else named.get("session_factory", Data()), where)
        if getattr(thing, "__name__", "") in ("create_engine", "create_async_engine") and _is_library(thing):
            return session(run, None, shared=True)
        if isinstance(thing, _CALLABLE) and _builds(thing):
            make: Any = thing
            if thing is sa.text and (several := written(run, arguments)) is not None:
                return several
            try:
                return made(run, make, arguments, named, where)
            except CannotBuildError as error:
                return run.widen(str(error), where)
            except Exception as error:  # noqa: BLE001 - it fails in the run too
                return run.widen(f"SQLAlchemy does not take it: {error}", where)
        return None

    def _operator(self, run: Run, name: str, arguments: Arguments, where: str) -> Value | None:
        ours = [value for value in arguments if isinstance(value, Handle) and value.kind in _OURS]
        if not ours:
            return None
        if any(value.kind == "sa" for value in ours) and name in _OPERATORS:
            try:
                return wrapped(run, _OPERATORS[name](*reals(run, arguments, where)))
            except Exception:  # noqa: BLE001 - a condition that cannot be built
                return without_value(run, name, arguments) or run.widen("a condition that is not followed", where)
        if name in ("add", "or") and any(value.kind == "collection" for value in ours):
            found = [element(run, value, where) for value in arguments]
            return Items("list", None, either([one for one in found if one is not None]))
        for value in arguments:  # the application's own methods for it
            ask(run, value, where, _ASKED)
        return Data("a condition on objects")

    def _inside(self, run: Run, kind: str, arguments: Arguments, where: str) -> Value | None:
        value = arguments[0]
        if not isinstance(value, Handle):
            return None
        if value.kind == "watched":
            if kind == "set-item":
                changed(run, value, where)
            return Data("a part of a value")
        if value.kind == "collection":
            if kind == "set-item":
                objects.rewire(run, value.about["of"], value.about["relation"], arguments[2], where)
                return Const(None)
            return value.about["element"]  # type: ignore[no-any-return]
        if value.kind == "result":
            return row_of(run, value, scalars=value.about.get("scalars", False), where=where)
        if value.kind == "result-row":
            result = value.about["of"]
            columns = [column(run, result, at, where) for at in range(width(result))]
            key = arguments[1] if len(arguments) > 1 else None
            if isinstance(key, Const) and isinstance(key.value, int) and key.value < len(columns):
                return columns[key.value]
            return either(columns) or Data()
        if value.kind == "sa-query":
            return fetched(
                run, execute(run, value.about["session"], value.about["query"], None, where), "scalar_one", where
            )
        if value.kind == "sa":
            if kind == "item":
                try:
                    return wrapped(run, value.about["real"][real(run, arguments[1], where)])
                except Exception:  # noqa: BLE001
                    return run.widen("a part of a statement that is not followed", where)
            return Data("columns")
        return None

    def _method(
        self, run: Run, owner: Handle, name: str, arguments: Arguments, named: Named, where: str
    ) -> Value | None:
        if owner.kind == "watched":
            return method_call(run, owner, name, arguments, where)
        if owner.kind == "sa":
            return built(run, name, owner, arguments, named, where)
        if owner.kind == "session-maker":
            made = _made_by(run, owner)
            made.about["expired"] = made.about.get("expired") or name == "begin"
            return Handle("context", {"value": made}) if name == "begin" else made
        if owner.kind == "session":
            return self._session(run, owner, name, arguments, named, where)
        if owner.kind == "sa-query":
            return queries.method(run, owner, name, arguments, named, where)
        if owner.kind == "result":
            return fetched(run, owner, name, where)
        if owner.kind == "result-row":
            return row_as_dict(run, owner.about["of"], where) if name in ("_asdict", "_mapping") else Data()
        if owner.kind == "collection":
            return collection_call(run, owner, name, arguments, where)
        return None

    def _session(
        self, run: Run, owner: Handle, name: str, arguments: Arguments, named: Named, where: str
    ) -> Value | None:
        first = arguments[0] if arguments else Const(None)
        if name in ("execute", "scalars", "scalar", "exec", "stream", "stream_scalars", "exec_driver_sql"):
            given = arguments[1] if len(arguments) > 1 else named.get("params", named.get("parameters"))
            result = execute(run, owner, first, given, where)
            single = name == "exec" and isinstance(first, Handle) and _of_one(first.about.get("real"))
            if name in ("scalar", "scalars", "stream_scalars") or single:
                how = "scalars" if name != "scalar" else "scalar"
                found = [fetched(run, one, how, where) if isinstance(one, Handle) else one for one in options(result)]
                return either(found) or Data()
            return result
        if name in ("get", "get_one"):
            ident = arguments[1] if len(arguments) > 1 else named.get("ident", Data())
            one = queries.get(run, owner, first, ident, where, maybe=name == "get")
            as_asked(run, self._options(run, named.get("options"), where), one, where)
            return one
        if name == "query" and classes.is_own_query(owner.about["query"]):
            return run.widen("queries are of a class of the application's", where)
        if name == "query":
            return Handle("sa-query", {"session": owner, "query": queries.query_of(run, arguments, where)})
        if name in ("add", "add_all", "delete", "merge", "refresh"):
            return self._objects(run, owner, name, first, where)
        if name in ("bulk_save_objects",):
            return self._objects(run, owner, "add_all", first, where)
        if name in (*_EXPIRES, "begin", "begin_nested"):
            owner.about["expired"] = True
        if name in ("begin", "begin_nested", "connect", "connection"):
            return Handle("context", {"value": owner}) if name != "connection" else owner
        if name in ("__enter__", "__aenter__"):
            return owner
        if name == "run_sync":
            return run.call(first, [owner, *arguments[1:]], dict(named), where)
        if name in ("bulk_insert_mappings", "bulk_update_mappings") and len(arguments) > 1:
            return self._mappings(run, owner, name, first, arguments[1], where)
        if name in (*_QUIET, "__exit__", "__aexit__"):
            listeners(run, owner, where)
            return owner if name == "get_bind" else Const(None)
        return run.widen(f"{name} of a session is not followed", where)

    def _options(self, run: Run, given: Value | None, where: str) -> list[Any]:
        try:
            found = [] if given is None else real(run, given, where)
        except CannotBuildError as error:
            run.widen(str(error), where)
            return []
        return found if isinstance(found, list) else [found]

    def _mappings(self, run: Run, owner: Handle, name: str, cls: Value, rows: Value, where: str) -> Value:
        """Rows as dicts."""
        for option in options(element(run, rows, where) or Items("list", [])):
            known = isinstance(cls, Live) and mapped(cls.value) and isinstance(option, Entries)
            if not known or not isinstance(option, Entries) or option.other is not None:
                return run.widen("rows that are not known are written", where)
            if name == "bulk_insert_mappings":
                objects.insert(run, owner, new_row(cls.value, dict(option.known)), where)  # type: ignore[union-attr]
            else:
                objects.change_row(run, owner, cls.value, dict(option.known), where)  # type: ignore[union-attr]
        return Const(None)

    def _objects(self, run: Run, owner: Handle, name: str, given: Value, where: str) -> Value:
        if name == "add_all":
            given = element(run, given, where) or Items("list", [])
        for option in options(given):
            if not isinstance(option, Handle) or option.kind not in ("new", "entity"):
                if not (isinstance(option, Const | Items)):
                    return run.widen(f"an object that is not known is given to {name}", where)
                continue
            learn(owner, metadata_of(option.about["class"]))
            if name == "delete":
                objects.delete(run, owner, option, where)
            elif option.kind == "new" and name == "refresh":
                objects.reloaded(run, owner, option, where)
            elif option.kind == "new":
                objects.insert(run, owner, option, where)
                if name == "merge":
                    merged(run, owner, option, where)
                    objects.reloaded(run, owner, option, where)
            elif name == "refresh" and option.about["access"] is not None:
                run.add(option.about["access"])
        return given

    # -- attributes ---------------------------------------------------------------------------------------------

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if isinstance(value, Handle) and value.kind == "super":
            return self._above(run, value, name, where)
        if isinstance(value, Live) and mapped(value.value):
            mapper = sa.inspect(value.value)
            if name in mapper.all_orm_descriptors or name in ("__table__", "metadata"):
                return Handle("sa", {"real": getattr(value.value, name)})
            return query_property(run, value, name, where)
        if isinstance(value, Handle) and value.kind == "sa-context":  # what a listener keeps there is its own
            return Data(name) if name.startswith("_") else Unknown("a context")
        if not isinstance(value, Handle) or value.kind not in _OURS:
            return None
        if value.kind in ("entity", "new"):
            return objects.get(run, value, name, where)
        if value.kind == "session" and (own := classes.attribute(run, value, name, where)) is not None:
            return own
        if value.kind in ("sa", "session") and (known := of_engine(value, name)) is not None:
            return known
        if value.kind == "sa":
            found = getattr(value.about["real"], name, None)
            if isinstance(found, str | bool) and isinstance(value.about["real"], sa.Column):
                return Certain(found)
            if found is not None and not callable(found):
                return wrapped(run, found)
            return Handle("sa-method", {"of": value, "name": name})
        if value.kind == "result-row":
            return self._row_attribute(run, value, name, where)
        if value.kind == "result" and name in ("rowcount", "inserted_primary_key", "lastrowid"):
            return fetched(run, value, name, where)
        if value.kind == "session" and name == "no_autoflush":
            return Handle("context", {"value": value})
        if value.kind == "session" and name in ("new", "dirty", "deleted"):
            return objects_of(run, value, where)
        if value.kind == "session" and name in ("bind", "dialect", "info", "is_active"):
            return value if name == "bind" else Data(name)
        return Handle("sa-method", {"of": value, "name": name})

    def _above(self, run: Run, value: Handle, name: str, where: str) -> Value | None:
        """``super().name`` in a method of a session's class, or of a mapped class."""
        first, owner = value.about["self"], value.about["owner"]
        if isinstance(first, Handle) and first.kind == "session":
            return classes.above(first, owner, name)
        if isinstance(first, Handle) and first.kind in ("entity", "new"):
            return objects.above(run, first, owner, name, where)
        return None

    def _row_attribute(self, run: Run, value: Handle, name: str, where: str) -> Value:
        result = value.about["of"]
        names = result.about["rows"].about["of"].names
        if name == "_mapping":
            return row_as_dict(run, result, where)
        if name in names:
            return column(run, result, names.index(name), where)
        for at, entity in enumerate(result.about["entities"]):
            if entity is not None and entity.__name__ == name:
                return column(run, result, at, where)
        return Handle("sa-method", {"of": value, "name": name})

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        if isinstance(value, Handle) and value.kind in ("entity", "new"):
            objects.set_attribute(run, value, name, new, where)
            return True
        return isinstance(value, Handle) and value.kind in ("session", "sa", "sa-context")

    def escape(self, run: Run, value: Value, where: str) -> bool:
        if isinstance(value, Handle) and value.kind in ("entity", "new"):
            escape(run, value, where)
            return True
        if isinstance(value, Handle) and value.kind == "collection":
            escape(run, value.about["element"], where)
            return True
        return isinstance(value, Handle) and value.kind in _OURS


def _made_by(run: Run, maker: Handle, named: Named | None = None, *, shared: bool = False) -> Handle:
    """A session that a maker makes; what it is given then comes before what the maker says."""
    bind = _bound([], named) if named and "bind" in named else maker.about["bind"]
    return session(run, bind, maker.about["classes"], query=maker.about["query"], shared=shared)


def _scoped(run: Run, makers: Value, where: str) -> Value:
    """What a scoped session hands on to: a session that its maker makes."""
    found = [_made_by(run, one, shared=True) if isinstance(one, Handle) and one.kind == "session-maker" else
             run.call(one, [], {}, where) for one in options(makers)]  # fmt: skip
    return either(found) or Data()


def _bound(arguments: Arguments, named: Named) -> Any:
    bind = named.get("bind") or (arguments[0] if arguments else None)
    return bind.about.get("bind") if isinstance(bind, Handle) else None


def _engine(bind: Any) -> Any:
    inner = getattr(bind, "sync_engine", bind)
    return getattr(inner, "engine", inner)


_BUILDERS = ("sqlalchemy.sql.", "sqlalchemy.orm.strategy_options", "sqlalchemy.orm.util", "sqlalchemy.dialects.",
             "sqlalchemy.orm._orm_constructors", "sqlmodel.sql.")  # fmt: skip


def _builds(thing: Any) -> bool:
    """Whether calling it for real makes a part of a statement, and does nothing else."""
    return f"{module_of(thing)}.".startswith(_BUILDERS) and "close" not in getattr(thing, "__name__", "")


def _of_one(statement: Any) -> bool:
    """Whether a statement of SQLModel's selects one thing, which is what its rows are then."""
    return any(base.__name__ == "SelectOfScalar" for base in type(statement).__mro__)


def _is_library(thing: Any) -> bool:
    return module_of(thing).split(".")[0] == "sqlalchemy"
