"""Tables as far as independence depends on them: keys, how a column compares, and what a change drags along.

Invariant: names are as the database folds them; a table that is not here is unknown, and so is what touches it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["int", "text", "numeric", "float", "bool", "uuid", "date", "time", "bytes", "other"]
Collation = Literal["binary", "nocase", "rtrim", "unknown"]
OnChange = Literal["nothing", "write"]  # whether a change of the parent row changes child rows


@dataclass(frozen=True, slots=True)
class Column:
    """How the values of a column are told apart: 7 and "07" are one int, "A" and "a" one text without case."""

    name: str
    kind: Kind = "other"
    collation: Collation = "binary"
    generated: bool = False  # the database makes the value where a row does not give it
    default: bool = False  # a row that does not give it has a value all the same


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`columns` of a table name a row of `table` by its `parents`; `on_delete` and `on_update` of that row."""

    columns: tuple[str, ...]
    table: str
    parents: tuple[str, ...]
    on_delete: OnChange = "nothing"
    on_update: OnChange = "nothing"


CHANGES = frozenset(("insert", "update", "delete"))


@dataclass(frozen=True, slots=True)
class Trigger:
    """`body` is what it runs, as statements; `sets_off` are the changes that set it off."""

    body: str
    sets_off: frozenset[str] = CHANGES


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `uniques` are sets of columns that tell rows apart, the primary key first if there is one.

    `view` is the query that it stands for, None for a real table; `checked` are the columns that a CHECK looks at:
    adding to one may be refused. `loose`: two rows may collide by more than equal values of `uniques`, or without a
    refusal: a condition, an expression, a computed column, NULLs that equal each other, ``ON CONFLICT REPLACE``.
    """

    name: str
    columns: Mapping[str, Column]
    uniques: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    view: str | None = None
    checked: frozenset[str] = frozenset()
    loose: bool = False

    @property
    def primary_key(self) -> tuple[str, ...]:
        return self.uniques[0] if self.uniques else ()


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables by name, and the dialect of the statements: ``sqlite``, ``postgres`` or ``mysql``."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    dialect: str = "sqlite"

    def table(self, name: str) -> Table | None:
        return self.tables.get(name)

    def is_strict(self, name: str) -> bool:
        """Whether a row of a table is refused for nothing but a row with equal values of its `uniques`, and takes the
        values that the statement gives: triggers may change them, but for SQLite's."""
        table = self.tables.get(name)
        if table is None or table.view is not None or table.loose:
            return False
        return not table.triggers or self.dialect == "sqlite"

    def children(self, name: str) -> list[tuple[Table, ForeignKey]]:
        """The tables with a foreign key to this one. O(tables)."""
        return [(table, key) for table in self.tables.values() for key in table.foreign_keys if key.table == name]

    def with_tables(self, tables: Mapping[str, Table]) -> Schema:
        """The same with these tables too; a table known by both is that of `tables`."""
        return Schema({**self.tables, **tables}, self.dialect)

    @property
    def version(self) -> str:
        """A digest of all that is here."""
        return hashlib.blake2b(
            repr((self.dialect, [(name, _plain(table)) for name, table in sorted(self.tables.items())])).encode(),
            digest_size=12,
        ).hexdigest()


def _plain(table: Table) -> tuple[object, ...]:
    return (table, sorted(table.checked))  # a set has no sequence of its own
