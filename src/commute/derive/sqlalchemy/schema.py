"""Tables out of SQLAlchemy's metadata: no connection is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import CITEXT, ExcludeConstraint

from commute.derive.sqlalchemy.types import is_plain
from commute.sql.ddl import DEFAULT_SCHEMAS, collation_of, folded_by, word_in
from commute.sql.schema import Collation, Column, ForeignKey, Kind, Schema, Table

_FOLDS = ("MySQLdb", "pymysql", "mysql", "aiomysql", "asyncmy")  # drivers of servers that compare text without case


@lru_cache(256)
def schema_of_metadata(metadata: sa.MetaData, dialect: str, count: int) -> Schema:
    """The schema of all tables of a metadata; `count` is how many there are, since more may come."""
    return Schema({name(table): _table(table, dialect) for table in metadata.tables.values()}, dialect)


def name(table: Any) -> str:
    """A table as statements name it."""
    plain = not table.schema or table.schema.lower() in DEFAULT_SCHEMAS
    return table.name.lower() if plain else f"{table.schema}.{table.name}".lower()


def _table(table: sa.Table, dialect: str) -> Table:
    primary = tuple(column.name.lower() for column in table.primary_key.columns)
    uniques = [primary] if primary else []
    uniques += [
        tuple(column.name.lower() for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    ]
    columns = {column.name.lower(): _column(column, table, dialect) for column in table.columns}
    for index in table.indexes:
        if index.unique:
            uniques += _index(index, columns, dialect)
    uniques += [(column.name.lower(),) for column in table.columns if column.unique]
    keys = []
    for constraint in table.foreign_key_constraints:
        try:
            parents = tuple(element.column.name.lower() for element in constraint.elements)
            target = name(constraint.referred_table)
        except sa.exc.SQLAlchemyError:  # a table that is not defined
            continue
        own = tuple(column.name.lower() for column in constraint.columns)
        keys.append(ForeignKey(own, target, parents, _on(constraint.ondelete), _on(constraint.onupdate)))
    checks = [str(one.sqltext) for one in table.constraints if isinstance(one, sa.CheckConstraint)]
    checked = frozenset(column for column in columns if any(word_in(column, text) for text in checks))
    unique = tuple(dict.fromkeys(uniques))
    return Table(name(table), columns, unique, tuple(keys), checked=checked, loose=_is_loose(table, unique))


def _is_loose(table: sa.Table, uniques: Sequence[tuple[str, ...]]) -> bool:
    """Whether rows may collide by more than equal values of `uniques`, or take the place of others."""
    keys = [one for one in table.constraints if isinstance(one, sa.UniqueConstraint | sa.PrimaryKeyConstraint)]
    indexes = [one for one in table.indexes if one.unique]
    given: list[Any] = [*keys, *indexes, *table.columns]  # a dialect's own ways to compare, or to take another's place
    asked = {name for unique in uniques for name in unique}
    columns = [one for one in table.columns if one.name.lower() in asked]
    return (
        any(value is not None and value is not False for one in given for value in one.dialect_kwargs.values())
        or not all(isinstance(part, sa.Column) for index in indexes for part in index.expressions)
        or any(isinstance(one, ExcludeConstraint) for one in table.constraints)
        or any(one.computed is not None or one.onupdate is not None for one in columns)
        or any(one.server_onupdate is not None for one in columns)
    )


def _index(index: sa.Index, columns: dict[str, Column], dialect: str) -> list[tuple[str, ...]]:
    """The columns that a unique index tells rows apart by, with and without those of its condition. One in an
    expression compares more coarsely from now on."""
    found: list[str] = []
    for part in index.expressions:
        if isinstance(part, sa.Column):
            found.append(part.name.lower())
            continue
        folds: Collation = "nocase" if getattr(part, "name", "") in ("lower", "upper") else "unknown"
        for own in [column for column in columns if word_in(column, str(part))]:
            columns[own] = folded_by(columns[own], folds)
            found.append(own)
    options = index.dialect_options[{"postgres": "postgresql"}.get(dialect, dialect)]
    where = str(options.get("where", ""))
    partial = dict.fromkeys((*found, *(column for column in columns if word_in(column, where))))
    return [tuple(found), tuple(partial)]


def _on(rule: str | None) -> Any:
    return "write" if (rule or "").upper() in ("CASCADE", "SET NULL", "SET DEFAULT") else "nothing"


def _column(column: sa.Column[Any], table: sa.Table, dialect: str) -> Column:
    kind = _kind(column.type)
    padded = dialect == "postgres" and isinstance(column.type, sa.CHAR | sa.NCHAR)
    collation: Collation = "rtrim" if padded else "nocase" if isinstance(column.type, CITEXT) else "binary"
    given = getattr(column.type, "collation", None)
    if given:
        collation = collation_of(given, dialect)
    elif kind == "text" and (dialect == "mysql" or any(driver in sys.modules for driver in _FOLDS)):
        collation = "unknown"
    alone = len(table.primary_key.columns) == 1 and column.primary_key
    generated = bool(alone and kind == "int" and column.autoincrement in (True, "auto") and not column.foreign_keys)
    if column.default is not None and not column.default.is_scalar:
        generated = generated or (kind in ("uuid", "text") and "uuid" in repr(getattr(column.default, "arg", "")))
    default = column.default is not None or column.server_default is not None
    return Column(column.name.lower(), kind, collation, generated or column.identity is not None, default)


def _kind(type_: Any) -> Kind:
    if isinstance(type_, sa.types.TypeDecorator):
        return _kind(type_.impl) if is_plain(type_) else "other"
    if not is_plain(type_):
        return "other"
    pairs: tuple[tuple[type, Kind], ...] = (
        (sa.Boolean, "bool"), (sa.Integer, "int"), (sa.Enum, "text"), (sa.Uuid, "uuid"), (sa.Float, "float"),
        (sa.Numeric, "numeric"), (sa.DateTime, "time"), (sa.Date, "date"), (sa.LargeBinary, "bytes"),
        (sa.String, "text"),
    )  # fmt: skip
    return next((kind for cls, kind in pairs if isinstance(type_, cls)), "other")
