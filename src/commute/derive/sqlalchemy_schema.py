"""Tables out of SQLAlchemy's metadata: no connection is needed."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from commute.sql.ddl import collation_of
from commute.sql.schema import Collation, Column, ForeignKey, Kind, Schema, Table

_FOLDS = ("MySQLdb", "pymysql", "mysql", "aiomysql", "asyncmy")  # drivers of servers that compare text without case


@lru_cache(256)
def schema_of_metadata(metadata: sa.MetaData, dialect: str, count: int) -> Schema:
    """The schema of all tables of a metadata; `count` is how many there are, since more may come."""
    return Schema({name(table): _table(table, dialect) for table in metadata.tables.values()}, dialect)


def name(table: Any) -> str:
    """A table as statements name it."""
    return f"{table.schema}.{table.name}".lower() if table.schema else table.name.lower()


def _table(table: sa.Table, dialect: str) -> Table:
    primary = tuple(column.name.lower() for column in table.primary_key.columns)
    uniques = [primary] if primary else []
    uniques += [
        tuple(column.name.lower() for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    ]
    uniques += [
        tuple(str(getattr(part, "name", part)).lower() for part in index.expressions)
        for index in table.indexes
        if index.unique
    ]
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
    columns = {column.name.lower(): _column(column, table, dialect) for column in table.columns}
    return Table(name(table), columns, tuple(dict.fromkeys(uniques)), tuple(keys))


def _on(rule: str | None) -> Any:
    return "write" if (rule or "").upper() in ("CASCADE", "SET NULL", "SET DEFAULT") else "nothing"


def _column(column: sa.Column[Any], table: sa.Table, dialect: str) -> Column:
    kind = _kind(column.type)
    collation: Collation = "binary"
    given = getattr(column.type, "collation", None)
    if given:
        collation = collation_of(given, dialect)
    elif kind == "text" and (dialect == "mysql" or any(driver in sys.modules for driver in _FOLDS)):
        collation = "unknown"
    alone = len(table.primary_key.columns) == 1 and column.primary_key
    generated = bool(alone and kind == "int" and column.autoincrement in (True, "auto") and not column.foreign_keys)
    if column.default is not None and not column.default.is_scalar:
        generated = generated or (kind in ("uuid", "text") and "uuid" in repr(getattr(column.default, "arg", "")))
    return Column(column.name.lower(), kind, collation, generated or column.identity is not None)


def _kind(type_: Any) -> Kind:
    if isinstance(type_, sa.types.TypeDecorator):
        return "other"
    pairs: tuple[tuple[type, Kind], ...] = (
        (sa.Boolean, "bool"), (sa.Integer, "int"), (sa.Enum, "text"), (sa.Uuid, "uuid"), (sa.Float, "float"),
        (sa.Numeric, "numeric"), (sa.DateTime, "time"), (sa.Date, "date"), (sa.LargeBinary, "bytes"),
        (sa.String, "text"),
    )  # fmt: skip
    return next((kind for cls, kind in pairs if isinstance(type_, cls)), "other")
