"""What a mapped class is beyond a table of plain columns: subclasses with tables of their own, columns computed of
other tables, defaults, attributes that stand for others."""

from __future__ import annotations

import inspect
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.associationproxy import AssociationProxy
from sqlalchemy.orm import RelationshipProperty, SynonymProperty

from commute.derive.python.attributes import class_attribute
from commute.derive.reading import as_read
from commute.derive.run import Run, TableAccess
from commute.derive.sqlalchemy.schema import name as table_name
from commute.derive.sqlalchemy.session import look_up
from commute.derive.sqlalchemy.telling import engine_listens, listeners
from commute.derive.sqlalchemy.types import bound
from commute.derive.values import Const, Data, Handle, Live, Own, Value, either, is_known, is_stored, options
from commute.sql.parse import triggered
from commute.sql.statement import Touch

Row = dict[str, tuple[Value, ...]]


def touch(run: Run, handle: Handle, table: str, mode: str, kind: str, rows: list[Row] | None, where: str,
          columns: frozenset[str] | None = None) -> TableAccess:  # fmt: skip
    """Note an access to rows of a table, and what its triggers touch."""
    listeners(run, handle, where)
    engine_listens(run, handle, where)
    look_up(handle)
    known = handle.about["schema"].table(table)
    if mode != "read" and known is not None and known.triggers:
        for dragged in triggered(known, handle.about["schema"]):
            if dragged is None:
                run.widen(f"a trigger of {table} is not followed", where)
            else:
                run.add(TableAccess(dragged, None, handle.about["schema"], where))
    rows = None if rows is None else [_as_bound(handle, table, row) for row in rows]
    made = Touch(table, mode, kind, None if rows is None else (), columns)  # type: ignore[arg-type]
    return run.add(TableAccess(made, None if rows is None else tuple(rows), handle.about["schema"], where))


def _as_bound(handle: Handle, table: str, row: Row) -> Row:
    """A row with its values as the types of its columns store them."""
    types: dict[str, Any] = handle.about["types"].get(table, {})
    dialect = handle.about["dialect"]
    return {
        name: tuple(bound(value, types[name], dialect) for value in values) if name in types else values
        for name, values in row.items()
    }


def columns_of(mapper: Any, key: str) -> list[Any]:
    """The columns of an attribute, none for a relation."""
    found = mapper.attrs.get(key)
    return list(getattr(found, "columns", ()))


def relation_of(mapper: Any, key: str) -> RelationshipProperty[Any] | None:
    found = mapper.attrs.get(key)
    return found if isinstance(found, RelationshipProperty) else None


def column_value(value: Handle, column: Any) -> Value:
    """The value of a column of a loaded object: known where the object was found by it."""
    key = column.name.lower()
    changed = value.about.get("set", {}).get(key)
    if changed is not None:
        return either([_loaded(value, key), changed]) or Data(key)
    return _loaded(value, key)


def _loaded(value: Handle, key: str) -> Value:
    access = value.about["access"]
    if access is None:
        return Data(key)
    if access.rows is not None and len(access.rows) == 1 and key in access.rows[0]:
        found = either(access.rows[0][key])
        known = found is not None and all(is_known(option) for option in options(found)) and not is_stored(found)
        read = as_read(found, access, key) if found is not None and known else None
        read = found if isinstance(found, Own) else read
        if read is not None and not {(access.touch.table, key), (access.touch.table, "")} & _set(value):
            return read
    return Handle("cell", {"access": access, "column": key})


def _set(value: Handle) -> set[tuple[str, str]]:
    """The columns that this run sets until now, by another object of the same row, say."""
    found: set[tuple[str, str]] = value.about["session"].about.get("set", set())
    return found


def is_wide(mapper: Any) -> bool:
    """Whether an object is more than a row of one table."""
    return len(mapper.tables) > 1 or any(
        not isinstance(column, sa.Column) for one in mapper.column_attrs for column in one.columns
    )


def read_of(run: Run, handle: Handle | None, expression: Any, where: str) -> None:
    """Any row of the tables that an expression looks at."""
    for part in sa.sql.visitors.iterate(expression) if isinstance(expression, sa.sql.ClauseElement) else ():
        if isinstance(part, sa.Table) and handle is not None:
            touch(run, handle, table_name(part), "read", "select", None, where)
        elif isinstance(part, sa.TextClause):
            run.widen(f"a text of SQL inside of an expression is not followed: {part}", where)


def meant(mapper: Any, name: str) -> str:
    """The attribute that a name stands for."""
    found = mapper.attrs.get(name)
    return meant(mapper, str(found.name)) if isinstance(found, SynonymProperty) else name


def subclasses(run: Run, value: Handle, name: str, where: str) -> list[Handle]:
    """The same object as those subclasses of its class that have something of their own under the name."""
    mapper = value.about["mapper"]
    if value.kind != "entity" or mapper.polymorphic_on is None or name in mapper.attrs:
        return []
    found = []
    for sub in mapper.self_and_descendants:
        own = class_attribute(sub.class_, name)
        if sub is mapper or own is None or own is class_attribute(mapper.class_, name):
            continue
        for table in set(sub.tables) - set(mapper.tables):
            touch(run, value.about["session"], table_name(table), "read", "select", _by_key(value, table), where)
        found.append(Handle("entity", {**value.about, "class": sub.class_, "mapper": sub}))
    return found


def _by_key(value: Handle, table: Any) -> list[Row] | None:
    """The row of a subclass' table, where the object was found by a key of the same name."""
    access = value.about["access"]
    key = [column.name.lower() for column in table.primary_key]
    if access is None or access.rows is None or not all(set(key) <= set(row) for row in access.rows):
        return None
    return [{column: row[column] for column in key} for row in access.rows]


def rows_in(value: Handle, table: Any) -> list[Row] | None:
    """The rows of a table of its class that an object stands for."""
    access = value.about["access"]
    if access is None or access.rows is None:
        return None
    return list(access.rows) if access.touch.table == table_name(table) else _by_key(value, table)


def default_of(run: Run, handle: Handle, column: Any, where: str, given: Any = None) -> Value | None:
    """What a row has in a column that is not given, None for nothing; a function that makes it is followed. `given`
    is the default of another occasion: what it has after each change."""
    default = column.default if given is None else given
    if default is None:
        return None if column.server_default is None else Data("a default of the database")
    if default.is_scalar:
        return Const(default.arg)
    if default.is_callable:
        function = getattr(default.arg, "__wrapped__", default.arg)
        try:
            given = [Data("a context")] if inspect.signature(function).parameters else []
        except (TypeError, ValueError):
            given = []
        return run.call(Live(function), given, {}, where)
    if default.is_clause_element:
        read_of(run, handle, default.arg, where)
    return Data("a default")


def validated(run: Run, value: Handle, name: str, new: Value, where: str) -> Value:
    """What an attribute becomes when it is set: what its validator gives."""
    found = value.about["mapper"].validators.get(name)
    if found is None:
        return new
    return run.call(Live(found[0]), [value, Const(name), new], {}, where)


def proxy(cls: type, name: str) -> Any:
    """The association proxy under a name, None if it is none."""
    return getattr(cls, name) if isinstance(class_attribute(cls, name), AssociationProxy) else None
