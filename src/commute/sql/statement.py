"""What one statement touches, with its parameters still open: the seam between SQL, inference and observation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from commute.sql.schema import Schema

TouchMode = Literal["read", "write", "add"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: its number by place in the text, from 0, or its name."""

    name: int | str


@dataclass(frozen=True, slots=True)
class Const:
    """A literal of the text."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Many:
    """A parameter that is a list, any element of which may be the value: ``= ANY(?)``."""

    param: Param


@dataclass(frozen=True, slots=True)
class Opaque:
    """An expression that is not followed: any value."""

    text: str


Operand: TypeAlias = Param | Const | Many | Opaque
Where: TypeAlias = Mapping[str, tuple[Operand, ...]]  # column -> operands, of one of which it has the value


@dataclass(frozen=True, slots=True)
class Touch:
    """One access to one table.

    `rows` are alternatives: a row that is touched fulfils one of them, each column having one of its operands'
    values; an
    empty mapping among them, or None, is any row. Of an insert they are the values given. `columns` are those read or
    set, None for all.
    """

    table: str
    mode: TouchMode
    kind: str  # select, insert, update, delete, merge, unique, parent, child, define, lock; resource: no table
    rows: tuple[Where, ...] | None
    columns: frozenset[str] | None = None
    guarded: bool = False  # an addition that depends on what it adds to


@dataclass(frozen=True, slots=True)
class Statement:
    """`unknown`: why it cannot be told what is touched; then it may be everything. `returns`: the columns of its
    rows, as far as they are plain columns of a touched table, by name of the result."""

    touches: tuple[Touch, ...] = ()
    unknown: str | None = None
    returns: Mapping[str, tuple[str, str]] | None = None  # name -> (table, column)
    names: tuple[str | None, ...] = ()  # of the result's columns in sequence, None for an expression

    def unknown_tables(self, schema: Schema) -> bool:
        """Whether it touches a table that the schema does not have."""
        return any(schema.table(touch.table) is None for touch in self.touches if touch.kind != "resource")
