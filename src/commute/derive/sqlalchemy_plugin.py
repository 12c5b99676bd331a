"""The plug-in for SQLAlchemy: sessions and queries of 2.x and 1.x, Core, mapped classes however they are mapped."""

from __future__ import annotations

import operator
import types
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Query, Session, scoped_session, sessionmaker

from commute.derive import sqlalchemy_objects as objects
from commute.derive.asked import HASH, SORT, ask
from commute.derive.expressions import element
from commute.derive.rawsql import used
from commute.derive.run import Arguments, Named, Run
from commute.derive.sqlalchemy_loading import as_asked, escape
from commute.derive.sqlalchemy_making import new_object, new_row
from commute.derive.sqlalchemy_marshal import CannotBuildError, is_clause, real, variants, wrapped, written
from commute.derive.sqlalchemy_reflection import columns, mapped, mapper_of, of_engine, query_property, session_of
from commute.derive.sqlalchemy_session import (
    ALL,
    ONE,
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
from commute.derive.sqlalchemy_telling import listeners, objects_of
from commute.derive.trusted import module_of
from commute.derive.values import Bound, Const, Data, Entries, Handle, Items, Live, Value, either, options

_OURS = ("sa", "session", "session-maker", "result", "result-row", "entity", "new", "collection", "sa-query",
         "sa-method")  # fmt: skip
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
        if isinstance(thing, sessionmaker):
            return Handle("session-maker", {"bind": _engine(thing.kw.get("bind")), "class": thing.class_})
        if isinstance(thing, scoped_session):  # it hands on to the session of the thread
            made = self.wrap(run, thing.session_factory)
            return None if not isinstance(made, Handle) else session(run, made.about["bind"], made.about["class"])
        name = type(thing).__name__
        if name == "async_sessionmaker" and type(thing).__module__.startswith("sqlalchemy"):
            return Handle("session-maker", {"bind": _engine(thing.kw.get("bind")), "class": None})  # type: ignore[attr-defined]
        if isinstance(thing, Session) or name in ("AsyncSession", "async_scoped_session"):
            return session(
                run, _engine(getattr(thing, "bind", None)), type(thing) if isinstance(thing, Session) else None
            )
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
        if issubclass(cls, Session | sa.Engine | sa.Connection) or cls.__name__ in ("AsyncSession", "AsyncConnection"):
            return session(run, None)
        if cls is sessionmaker or cls.__name__ == "async_sessionmaker":
            return Handle("session-maker", {"bind": None, "class": None})
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
            return session(run, function.about["bind"], function.about["class"])
        if function.kind == "sa":
            return self._built(run, "__call__", function, arguments, named, where)
        if function.kind == "sa-method":
            owner, name = function.about["of"], function.about["name"]
            return self._method(run, owner, name, arguments, named, where)
        return None

    def _live(self, run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value | None:
        if thing in (sa.inspect, sa.orm.class_mapper, sa.orm.object_mapper) and len(arguments) == 1:
            return mapper_of(arguments[0])
        if thing is sa.orm.object_session and len(arguments) == 1:
            return session_of(arguments[0])
        if mapped(thing):
            return new_object(run, thing, dict(named), arguments, where)
        if (isinstance(thing, type) and issubclass(thing, Session)) or getattr(thing, "__name__", "") == "AsyncSession":
            bind = named.get("bind") or (arguments[0] if arguments else None)
            return session(run, bind.about["bind"] if isinstance(bind, Handle) and "bind" in bind.about else None)
        if thing is sessionmaker or getattr(thing, "__name__", "") == "async_sessionmaker":
            bind = named.get("bind") or (arguments[0] if arguments else None)
            return Handle(
                "session-maker", {"bind": bind.about["bind"] if isinstance(bind, Handle) else None, "class": None}
            )
        if thing is scoped_session or getattr(thing, "__name__", "") == "async_scoped_session":
            return arguments[0] if arguments else named.get("session_factory")
        if getattr(thing, "__name__", "") in ("create_engine", "create_async_engine") and _is_library(thing):
            return session(run, None)
        if isinstance(thing, _CALLABLE) and _builds(thing):
            make: Any = thing
            if thing is sa.text and (several := written(run, arguments)) is not None:
                return several
            try:
                return _made(run, make, arguments, named, where)
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
                return wrapped(run, _OPERATORS[name](*_reals(run, arguments, where)))
            except Exception:  # noqa: BLE001 - a condition that cannot be built
                return run.widen("a condition that is not followed", where)
        for value in arguments:  # the application's own methods for it
            ask(run, value, where, _ASKED)
        return Data("a condition on objects")

    def _inside(self, run: Run, kind: str, arguments: Arguments, where: str) -> Value | None:
        value = arguments[0]
        if not isinstance(value, Handle):
            return None
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

    def _built(self, run: Run, name: str, owner: Handle, arguments: Arguments, named: Named, where: str) -> Value:
        try:
            return _made(run, getattr(owner.about["real"], name), arguments, named, where)
        except CannotBuildError as error:
            return run.widen(str(error), where)
        except Exception as error:  # noqa: BLE001
            return run.widen(f"SQLAlchemy does not take {name}: {error}", where)

    def _method(
        self, run: Run, owner: Handle, name: str, arguments: Arguments, named: Named, where: str
    ) -> Value | None:
        if owner.kind == "sa":
            return self._built(run, name, owner, arguments, named, where)
        if owner.kind == "session-maker":
            made = session(run, owner.about["bind"], owner.about["class"])
            made.about["expired"] = made.about.get("expired") or name == "begin"
            return Handle("context", {"value": made}) if name == "begin" else made
        if owner.kind == "session":
            return self._session(run, owner, name, arguments, named, where)
        if owner.kind == "sa-query":
            return self._query(run, owner, name, arguments, named, where)
        if owner.kind == "result":
            return fetched(run, owner, name, where)
        if owner.kind == "result-row":
            return row_as_dict(run, owner.about["of"], where) if name in ("_asdict", "_mapping") else Data()
        if owner.kind == "collection":
            if name in ("append", "add", "remove", "discard", "extend", "clear", "insert", "pop", "update", "set"):
                new = arguments[-1] if arguments else None
                if "creator" in owner.about and new is not None:
                    new = objects.by_proxy(run, owner, new, where)
                objects.rewire(run, owner.about["of"], owner.about["relation"], new, where)
                inside: Value = owner.about["element"]
                return inside if name == "pop" else Const(None)
            return Items("list", None, owner.about["element"])
        return None

    def _session(
        self, run: Run, owner: Handle, name: str, arguments: Arguments, named: Named, where: str
    ) -> Value | None:
        first = arguments[0] if arguments else Const(None)
        if name in ("execute", "scalars", "scalar", "exec", "stream", "stream_scalars", "exec_driver_sql"):
            given = arguments[1] if len(arguments) > 1 else named.get("params", named.get("parameters"))
            result = execute(run, owner, first, given, where)
            if name in ("scalar", "scalars", "stream_scalars"):
                how = "scalars" if name != "scalar" else "scalar"
                found = [fetched(run, one, how, where) if isinstance(one, Handle) else one for one in options(result)]
                return either(found) or Data()
            return result
        if name in ("get", "get_one"):
            ident = arguments[1] if len(arguments) > 1 else named.get("ident", Data())
            one = self._get(run, owner, first, ident, where, maybe=name == "get")
            as_asked(run, self._options(run, named.get("options"), where), one, where)
            return one
        if name == "query":
            return Handle("sa-query", {"session": owner, "query": self._query_of(run, arguments, where)})
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

    def _query_of(self, run: Run, arguments: Arguments, where: str) -> Value:
        try:
            return Handle("sa", {"real": Query(_reals(run, arguments, where))})
        except Exception as error:  # noqa: BLE001
            return run.widen(f"a query that is not followed: {error}", where)

    def _get(self, run: Run, owner: Handle, cls: Value, ident: Value, where: str, *, maybe: bool) -> Value:
        found = []
        for option in options(cls):
            if not isinstance(option, Live) or not mapped(option.value):
                return run.widen("a class that is not known is loaded", where)
            mapper = sa.inspect(option.value)
            learn(owner, metadata_of(option.value))
            if objects.is_wide(mapper):
                found.append(self._wide(run, owner, mapper, ident, where))
                continue
            columns = [one.name.lower() for one in mapper.primary_key]
            values: list[Value] = list(ident.known) if isinstance(ident, Items) and ident.known else [ident]
            if isinstance(ident, Entries):
                values = [ident.known.get(mapper.get_property_by_column(one).key, Data()) for one in mapper.primary_key]
            row: objects.Row = {name: (value,) for name, value in zip(columns, values, strict=False)}
            table = objects.table_name(mapper.local_table)
            access = objects.touch(run, owner, table, "read", "select", [row], where)
            found.append(objects.entity(run, owner, option.value, [access], where))
        return either([*found, *([Const(None)] if maybe else [])]) or Data()

    def _wide(self, run: Run, owner: Handle, mapper: Any, ident: Value, where: str) -> Value:
        """An object of several tables, or with columns that are computed of others, by its key: the whole query."""
        keys = [mapper.get_property_by_column(one).key for one in mapper.primary_key]
        values: list[Value] = list(ident.known) if isinstance(ident, Items) and ident.known else [ident]
        if isinstance(ident, Entries):
            values = [ident.known.get(key, Data()) for key in keys]
        statement = sa.select(mapper.class_)
        try:
            for key, value in zip(keys, values, strict=False):
                statement = statement.where(getattr(mapper.class_, key) == real(run, value, where))
        except CannotBuildError:
            statement = sa.select(mapper.class_)
        result = execute(run, owner, Handle("sa", {"real": statement}), None, where)
        return fetched(run, result, "scalar_one", where)

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
                    self._merged(run, owner, option, where)
                    objects.reloaded(run, owner, option, where)
            elif name == "refresh" and option.about["access"] is not None:
                run.add(option.about["access"])
        return given

    def _merged(self, run: Run, owner: Handle, value: Handle, where: str) -> None:
        """The row that is there already is found by its key and changed."""
        mapper = value.about["mapper"]
        row: objects.Row = {}
        for one in mapper.primary_key:
            found = value.about["values"].get(mapper.get_property_by_column(one).key)
            if found is not None:
                row[one.name.lower()] = (found,)
        given = [one.name.lower() for key in value.about["values"] for one in objects.columns_of(mapper, key)]
        columns_ = frozenset(given) - row.keys()
        objects.changed(run, owner, mapper.local_table, [row] if row else None, columns_, None, where)

    def _query(
        self, run: Run, owner: Handle, name: str, arguments: Arguments, named: Named, where: str
    ) -> Value | None:
        handle, query = owner.about["session"], owner.about["query"]
        if name.endswith("_or_404"):  # of Flask's
            name, arguments, named = name.removesuffix("_or_404"), arguments[: name.startswith("get")], {}
        name = "all" if name in ("paginate", "iterate") else name
        if not isinstance(query, Handle):
            return query  # type: ignore[no-any-return]
        if name in (*ONE, *ALL, "count", "exists", "get", "__iter__", "update", "delete"):
            if name == "get":
                entity = query.about["real"].column_descriptions[0]["entity"]
                return self._get(run, handle, Live(entity), arguments[0], where, maybe=True)
            if name in ("update", "delete"):
                return self._change(run, handle, query, name, arguments, where)
            result = execute(run, handle, query, None, where)
            if name in ("count", "exists") or not isinstance(result, Handle):
                return Data(f"{name} of a query") if isinstance(result, Handle) else result
            single = len(query.about["real"].column_descriptions) == 1 and result.about["entities"][:1] != [None]
            result = Handle("result", {**result.about, "scalars": single})
            return fetched(run, result, name if name in ONE else "all", where)
        built = self._built(run, name, query, arguments, named, where)
        return Handle("sa-query", {"session": handle, "query": built})

    def _change(self, run: Run, handle: Handle, query: Handle, name: str, arguments: Arguments, where: str) -> Value:
        """``query.update({...})`` and ``query.delete()``."""
        made = query.about["real"]
        try:
            target = made.column_descriptions[0]["entity"]
            statement: Any = sa.delete(target)
            if name == "update":
                values = arguments[0]
                if not isinstance(values, Entries) or values.other is not None:
                    return run.widen("columns that are not known are set", where)
                statement = sa.update(target).values(real(run, values, where))
            if made.whereclause is not None:
                statement = statement.where(made.whereclause)
        except CannotBuildError as error:
            return run.widen(str(error), where)
        except Exception as error:  # noqa: BLE001
            return run.widen(f"a query that is not followed: {error}", where)
        result = execute(run, handle, Handle("sa", {"real": statement}), None, where)
        if not run.kept.get("discarded", False):
            used(run, handle)
        return Data("how many rows were changed") if isinstance(result, Handle) else result

    # -- attributes ---------------------------------------------------------------------------------------------

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if isinstance(value, Live) and mapped(value.value):
            mapper = sa.inspect(value.value)
            if name in mapper.all_orm_descriptors or name in ("__table__", "metadata"):
                return Handle("sa", {"real": getattr(value.value, name)})
            return query_property(run, value, name, where)
        if not isinstance(value, Handle) or value.kind not in _OURS:
            return None
        if value.kind in ("entity", "new"):
            return objects.get(run, value, name, where)
        if value.kind in ("sa", "session") and (known := of_engine(value, name)) is not None:
            return known
        if value.kind == "sa":
            found = getattr(value.about["real"], name, None)
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
        return isinstance(value, Handle) and value.kind in ("session", "sa")

    def escape(self, run: Run, value: Value, where: str) -> bool:
        if isinstance(value, Handle) and value.kind in ("entity", "new"):
            escape(run, value, where)
            return True
        if isinstance(value, Handle) and value.kind == "collection":
            escape(run, value.about["element"], where)
            return True
        return isinstance(value, Handle) and value.kind in _OURS


def _engine(bind: Any) -> Any:
    inner = getattr(bind, "sync_engine", bind)
    return getattr(inner, "engine", inner)


_BUILDERS = ("sqlalchemy.sql.", "sqlalchemy.orm.strategy_options", "sqlalchemy.orm.util", "sqlalchemy.dialects.",
             "sqlalchemy.orm._orm_constructors")  # fmt: skip


def _builds(thing: Any) -> bool:
    """Whether calling it for real makes a part of a statement, and does nothing else."""
    return f"{module_of(thing)}.".startswith(_BUILDERS) and "close" not in getattr(thing, "__name__", "")


def _is_library(thing: Any) -> bool:
    return module_of(thing).split(".")[0] == "sqlalchemy"


def _reals(run: Run, arguments: Arguments, where: str) -> list[Any]:
    found = []
    for value in arguments:
        if isinstance(value, Handle) and value.kind == "spread":
            found.append(real(run, value.about["of"], where))
        else:
            found.append(real(run, value, where))
    return found


def _made(run: Run, make: Any, arguments: Arguments, named: Named, where: str) -> Value:
    found = [
        wrapped(run, make(*_reals(run, given, where), **_named(run, by_name, where)))
        for given, by_name in variants(arguments, named)
    ]
    return either(found) or Data()


def _named(run: Run, named: Named, where: str) -> dict[str, Any]:
    return {name: real(run, value, where) for name, value in named.items()}
