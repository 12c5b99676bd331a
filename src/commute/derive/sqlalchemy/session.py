"""Sessions, connections and results of SQLAlchemy's, as inference sees them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper, Query
from sqlalchemy.orm.attributes import QueryableAttribute
from sqlalchemy.orm.events import AttributeEvents

from commute.derive.plugins.rawsql import access_of, cell, statement, used
from commute.derive.python.expressions import element
from commute.derive.python.shape import BINDS
from commute.derive.run import Run
from commute.derive.sqlalchemy.behind import is_foreign
from commute.derive.sqlalchemy.classes import engines
from commute.derive.sqlalchemy.listeners import loaded
from commute.derive.sqlalchemy.marshal import CannotBuildError, compiled, real
from commute.derive.sqlalchemy.schema import name as table_name
from commute.derive.sqlalchemy.schema import schema_of_metadata
from commute.derive.sqlalchemy.telling import engine_listens, listeners, rows_deleted
from commute.derive.sqlalchemy.types import binding
from commute.derive.values import Const, Data, Entries, Handle, Items, Value, either, options
from commute.sql.ddl import schema_of
from commute.sql.schema import Schema

ONE = ("first", "one", "one_or_none", "scalar", "scalar_one", "scalar_one_or_none", "fetchone")
ALL = ("all", "fetchall", "fetchmany", "partitions", "yield_per", "unique", "columns", "tuples", "mappings", "freeze")
MAYBE = ("first", "one_or_none", "scalar", "scalar_one_or_none", "fetchone", "get")


def dialect_of(bind: Any) -> Any:
    """The dialect of an engine, with parameters by name; SQLite's where nothing is known."""
    from sqlalchemy.dialects import mysql, postgresql, sqlite

    name = getattr(getattr(bind, "dialect", None), "name", "sqlite")
    made = {"postgresql": postgresql.dialect, "mysql": mysql.dialect}.get(name, sqlite.dialect)
    return made(paramstyle="named")


def session(
    run: Run,
    bind: Any,
    classes: tuple[type, ...] = (),
    *,
    query: Any = None,
    live: object = None,
    shared: bool = False,
) -> Handle:
    """A session of one of `classes`, or a connection (none), of an engine; one for each engine. `query`: the class of
    its queries; `live`: the session itself, if it is there; `shared`: it is the engine, or gives each thread its own
    session, so that all may have one."""
    key = ("sqlalchemy session", id(bind), classes, query, id(live), shared)
    if key not in run.kept:
        name = str(getattr(getattr(bind, "dialect", None), "name", "sqlite")).replace("postgresql", "postgres")
        about = {"bind": bind, "dialect": dialect_of(bind), "name": name, "adds": [], "schema": Schema({}, name),
                 "types": {}, "version": "", "of": bind, "rows": True, "classes": classes, "query": query,
                 "live": live, "shared": shared}  # fmt: skip
        run.kept[key] = made = Handle("session", about)
        if bind is None and classes:
            _bind_to(run, made, engines(run, made))
    return run.kept[key]  # type: ignore[no-any-return]


def _bind_to(run: Run, handle: Handle, binds: list[Any]) -> None:
    """The session speaks to these engines, which one its class decides for each statement."""
    if not binds:
        return
    first = session(run, binds[0]).about
    if any(one.dialect.name != binds[0].dialect.name for one in binds):
        run.widen("a session speaks to databases of several kinds", "", "give each a session of its own")
    handle.about.update({name: first[name] for name in ("bind", "dialect", "name", "of")})
    handle.about.update(schema=Schema({}, first["name"]), others=binds[1:])


def learn(handle: Handle, metadata: Any) -> None:
    """Add the tables of a metadata to what the session knows."""
    if metadata is None:
        return
    known: Schema = handle.about["schema"]
    more = schema_of_metadata(metadata, known.dialect, len(metadata.tables))
    for table in metadata.tables.values():
        handle.about["types"].setdefault(
            table_name(table), {column.name.lower(): column.type for column in table.columns}
        )
    if not more.tables.keys() <= known.tables.keys():
        handle.about["schema"] = known.with_tables(more.tables)
        handle.about["version"] = handle.about["schema"].version


def look_up(handle: Handle) -> None:
    """Add what the database itself says of its tables, if it answers: its triggers, and tables without metadata."""
    if handle.about["bind"] is None or handle.about.get("looked"):
        return
    handle.about["looked"] = True
    for bind in (handle.about["bind"], *handle.about.get("others", ())):
        _look_up(handle, bind)


def _look_up(handle: Handle, bind: Any) -> None:
    try:
        if handle.about["name"] == "sqlite":
            with bind.connect() as connection:
                rows = connection.exec_driver_sql("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
            more = schema_of([str(sql) for (sql,) in rows])
        else:
            metadata = sa.MetaData()
            metadata.reflect(bind=bind, views=False)
            more = schema_of_metadata(metadata, handle.about["name"], len(metadata.tables))
    except Exception:  # noqa: BLE001 - it does not answer: then only the metadata are known
        return
    known: Schema = handle.about["schema"]
    handle.about["schema"] = more.with_tables(known.tables) if known.tables else more
    for name, table in more.tables.items():
        if table.triggers and name in known.tables:
            merged = replace(known.tables[name], triggers=table.triggers)
            handle.about["schema"] = handle.about["schema"].with_tables({name: merged})
    handle.about["version"] = handle.about["schema"].version


def metadata_of(thing: Any) -> Any:
    """The metadata that the tables of a statement, an entity or a table belong to."""
    mapper = sa.inspect(thing, raiseerr=False)
    if isinstance(mapper, Mapper):
        return mapper.local_table.metadata if isinstance(mapper.local_table, sa.Table) else None
    if isinstance(thing, sa.Table):
        return thing.metadata
    for part in sa.sql.visitors.iterate(thing) if isinstance(thing, sa.sql.ClauseElement) else ():
        if isinstance(part, sa.Table):
            return part.metadata
    return None


def listened(target: Any, events: Any, known: Iterable[Any] = ()) -> bool:
    """Whether any event of a class, or of an object with events, has a listener that is not SQLAlchemy's own, and not
    `known`."""
    for name in dir(events):
        found = getattr(target.dispatch, name, None) if not name.startswith("_") else None
        by_class = getattr(found, "_clslevel", None)
        listening = by_class.get(target, ()) if by_class is not None else found if hasattr(found, "__iter__") else ()
        if any(is_foreign(one, known) for one in listening or ()):
            return True
    return False


def attribute_listens(mapper: Any, name: str) -> bool:
    """Whether somebody listens to changes of an attribute of a mapped class."""
    attribute = getattr(mapper.class_, name, None)
    followed = [function for function, _ in mapper.validators.values()]
    return isinstance(attribute, QueryableAttribute) and listened(attribute, AttributeEvents, followed)


def execute(run: Run, handle: Handle, given: Value, parameters: Value | None, where: str) -> Value:
    """Run a statement: a text, or what was built of parts."""
    listeners(run, handle, where)
    engine_listens(run, handle, where)
    look_up(handle)
    found = []
    for option in options(given):
        try:
            found.append(_execute(run, handle, option, parameters, where))
        except CannotBuildError as error:
            found.append(run.widen(str(error), where, "build the statement from columns and values alone"))
    return either(found) or Data()


def _execute(run: Run, handle: Handle, given: Value, parameters: Value | None, where: str) -> Value:
    if isinstance(given, Const):
        return statement(run, handle, given, parameters, where)
    built = real(run, given, where)
    if isinstance(built, Query):
        built = built.statement
    if isinstance(built, sa.sql.functions.FunctionElement):
        built = sa.select(built)  # as SQLAlchemy sends it
    if not isinstance(built, sa.sql.ClauseElement):
        raise CannotBuildError("what is executed is no statement")
    if isinstance(built, sa.TextClause):
        binds: dict[str, Value] = run.kept.get(BINDS, {})
        bound = Entries()
        for name, bind in built._bindparams.items():
            inner = bind.value.key if isinstance(bind.value, sa.BindParameter) else ""
            if bind.value is not None:
                bound.known[name] = binds[inner] if inner in binds else Const(bind.value)
        if isinstance(parameters, Entries):
            bound = Entries({**bound.known, **parameters.known}, parameters.other, parameters.key)
        rows = statement(
            run,
            handle,
            Const(str(built)),
            bound if parameters is None or isinstance(parameters, Entries) else element(run, parameters, where),
            where,
            bound=binding(built._bindparams, handle.about["dialect"]),
        )
        return Handle("result", {"rows": rows, "entities": []}) if isinstance(rows, Handle) else rows
    if isinstance(built, sa.Insert) and isinstance(parameters, Items) and len(parameters.known or ()) > 1:
        rows_ = [_execute(run, handle, given, one, where) for one in parameters.known or ()]
        return rows_[-1]
    if isinstance(built, sa.Insert) and parameters is not None:
        single = parameters if isinstance(parameters, Entries) else element(run, parameters, where)
        if not isinstance(single, Entries) or single.other is not None:
            raise CannotBuildError("rows of which no column is known are inserted")
        built = built.values(**{str(key): real(run, value, where) for key, value in single.known.items()})
    learn(handle, metadata_of(built))
    for part in sa.sql.visitors.iterate(built):
        if isinstance(part, sa.Table):
            learn(handle, part.metadata)
    text, values, sent = compiled(run, built, handle.about["dialect"])
    if isinstance(parameters, Entries):
        values.known.update({key: value for key, value in parameters.known.items() if key in values.known})
    rows = statement(run, handle, Const(text), values, where, bound=binding(sent, handle.about["dialect"]))
    mapper = built.entity_description.get("entity") if isinstance(built, sa.Delete) else None
    if mapper is not None:
        rows_deleted(run, handle, sa.inspect(mapper), where)
    if not isinstance(rows, Handle):
        return rows
    made = Handle("result", {"rows": rows, "entities": _entities(built), "session": handle})
    asked = getattr(built, "_with_options", ())
    if any(entity is not None for entity in made.about["entities"]):
        from commute.derive.sqlalchemy.loading import as_asked

        for at in range(width(made)):  # also where nobody fetches it: it is loaded with the rows
            as_asked(run, asked, column(run, made, at, where), where)
    return made


def _entities(built: Any) -> list[Any]:
    """For each column of the result the mapped class whose object stands there, or None."""
    if not hasattr(built, "column_descriptions"):  # what a change returns
        parts = getattr(built, "_returning", ())
        mappers = [one._annotations.get("parentmapper") for one in parts if isinstance(one, sa.FromClause)]
        if len(mappers) != len(parts) and any(mapper is not None for mapper in mappers):
            raise CannotBuildError("objects and columns are returned side by side")
        return [None if mapper is None else mapper.class_ for mapper in mappers]
    found = []
    for description in built.column_descriptions or ():
        entity, expression = description.get("entity"), description.get("expr")
        found.append(entity if entity is not None and expression is entity else None)
    return found


def fetched(run: Run, result: Value, name: str, where: str) -> Value:
    """What a method of a result gives: rows, one of them, or the first column of these."""
    if not isinstance(result, Handle):
        return Data()
    about = result.about
    if name in ("rowcount", "inserted_primary_key", "lastrowid", "rowcounts"):
        used(run, about["session"]) if "session" in about else None
        return Data(f"{name} of a statement")
    scalars = about.get("scalars", False) or name.startswith("scalar")
    if name == "columns":
        several = [column(run, result, at, where) for at in range(width(result))]
        return Items("list", None, Items("tuple", None, either(several)))
    if name == "partitions":
        return Items("list", None, Items("list", None, row_of(run, result, scalars=scalars, where=where)))
    if name in ("scalars", "mappings", "tuples", "unique", "yield_per"):
        return Handle("result", {**about, "scalars": about.get("scalars", False) or name == "scalars"})
    one = row_of(run, result, scalars=scalars, where=where)
    if name in ONE or name in ("get", "__next__"):
        return either([one, *([Const(None)] if name in MAYBE else [])]) or one
    return Items("list", None, one)


def row_of(run: Run, result: Handle, *, scalars: bool, where: str) -> Value:
    """One row of a result, or its first column."""
    columns = [column(run, result, at, where) for at in range(width(result))]
    if scalars:
        return columns[0] if columns else Data("a column")
    key = ("sqlalchemy row", id(result.about["rows"]))
    return run.kept.setdefault(key, Handle("result-row", {"of": result}))  # type: ignore[no-any-return]


def row_as_dict(run: Run, result: Handle, where: str) -> Value:
    """A row by the names of its columns."""
    columns = [column(run, result, at, where) for at in range(width(result))]
    names = result.about["rows"].about["of"].names
    if len(names) == len(columns) and all(names) and not any(result.about["entities"]):
        return Entries({str(name): one for name, one in zip(names, columns, strict=True)})
    return Entries({}, either(columns) or Data(), Data("the name of a column"))


def width(result: Handle) -> int:
    entities = result.about["entities"]
    return len(entities) or len(result.about["rows"].about["of"].names) or 1


def column(run: Run, result: Handle, at: int, where: str) -> Value:
    """One column of a row: an object, or a value."""
    entities, rows = result.about["entities"], result.about["rows"]
    if at < len(entities) and entities[at] is not None:
        return entity(run, result.about["session"], entities[at], rows.about["accesses"], where, whole=True)
    if any(one is not None for one in entities):
        return Data("a column beside an object")
    names = rows.about["of"].names
    name = names[at] if at < len(names) else None
    return cell(rows, name) if name else Data("an expression")


def entity(run: Run, handle: Handle, cls: Any, accesses: list[Any], where: str, *, whole: bool = False) -> Value:
    """An object that was loaded by one of the accesses; one for each access. `whole`: by a query with all that its
    class computes of other tables."""
    mapper = sa.inspect(cls)
    mapper = getattr(mapper, "mapper", mapper)
    table = table_name(mapper.local_table) if isinstance(mapper.local_table, sa.Table) else ""
    access = access_of(accesses, table)
    signature = access.signature if access is not None else where
    # Rows that are not told apart are one object, so that a walk from row to row comes to an end.
    known = ("entity", mapper.class_, signature if access is not None and access.rows is not None else "any", whole)
    if known in run.kept:
        return run.kept[known]  # type: ignore[no-any-return]
    from commute.derive.sqlalchemy.loading import at_once

    made = Handle("entity", {"class": mapper.class_, "mapper": mapper, "access": access, "session": handle,
                              "whole": whole})  # fmt: skip
    run.kept[known] = made
    loaded(run, made, where)
    at_once(run, made, where)
    return made
