"""Where a column of a statement belongs, and which rows a condition leaves: the equalities of one query.

Invariant: what is not certain restricts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from sqlglot import exp

from commute.sql.ddl import fold, kind_of, name_of
from commute.sql.schema import Column, Schema
from commute.sql.statement import Const, Many, Opaque, Operand, Param
from commute.sql.text import place_of

ALTERNATIVES_MAX = 16  # of rows of one touch; more of them are any row

Slot = tuple[str, str]  # alias, column
Restriction = dict[Slot, tuple[Operand, ...]]  # all of them hold; empty: any row


@dataclass(slots=True)
class Scope:
    """The sources of one query, by alias, and those of the query around it."""

    schema: Schema
    sources: dict[str, str] = field(default_factory=dict)  # alias -> table, "" for what is no table
    outer: Scope | None = None
    outputs: dict[Slot, Column] = field(default_factory=dict)  # columns of queries that stand in the place of tables
    written: dict[Slot, tuple[exp.Expr, ...]] = field(default_factory=dict)  # and of VALUES and unnest: what is in them

    def slot(self, node: exp.Column) -> Slot | None:
        """The alias and column that a reference means, in this scope alone; None where that is not certain."""
        dialect = self.schema.dialect
        name, qualifier = name_of(node, dialect), fold(node.table, dialect)
        if qualifier:
            return (qualifier, name) if qualifier in self.sources else None
        if len(self.sources) == 1 and self.outer is None:
            return next(iter(self.sources)), name
        owners = []
        for alias, table_name in self.sources.items():
            table = self.schema.table(table_name)
            if table is None or table.view is not None or not table.columns:
                return None
            if name in table.columns:
                owners.append(alias)
        return (owners[0], name) if len(owners) == 1 else None

    def column(self, slot: Slot) -> Column | None:
        """What is known of a column."""
        if slot in self.outputs:
            return self.outputs[slot]
        table = self.schema.table(self.sources.get(slot[0], ""))
        return None if table is None else table.columns.get(slot[1])


def restrictions(condition: exp.Expr | None, scope: Scope) -> list[Restriction]:
    """The alternatives of a condition: a row for which it holds fulfils one of them. ``[{}]``: any row."""
    if condition is None:
        return [{}]
    if isinstance(condition, exp.Paren | exp.Where | exp.Having):
        return restrictions(condition.this, scope)
    if isinstance(condition, exp.And):
        sides = product(restrictions(condition.left, scope), restrictions(condition.right, scope))
        return _few([_both(a, b) for a, b in sides])
    if isinstance(condition, exp.Or):
        return _few(restrictions(condition.left, scope) + restrictions(condition.right, scope))
    if isinstance(condition, exp.EQ | exp.NullSafeEQ):
        return [_equal(condition.left, condition.right, scope)]
    if isinstance(condition, exp.In):
        return [_among(condition, scope)]
    return [{}]


def equalities(condition: exp.Expr | None) -> Iterator[tuple[exp.Column, exp.Column]]:
    """The pairs of columns that are equal wherever the condition holds."""
    if isinstance(condition, exp.Paren | exp.Where):
        yield from equalities(condition.this)
    elif isinstance(condition, exp.And):
        yield from equalities(condition.left)
        yield from equalities(condition.right)
    elif isinstance(condition, exp.EQ):
        left, right = condition.left, condition.right
        if isinstance(left, exp.Column) and isinstance(right, exp.Column):
            yield left, right


def operand(node: exp.Expr, column: Column | None) -> Operand | None:
    """A value that is known before the statement runs; None for what depends on rows."""
    if isinstance(node, exp.Paren):
        return operand(node.this, column)
    if isinstance(node, exp.Placeholder):
        return _param(node)
    if isinstance(node, exp.Literal):
        return Const(node.this if node.is_string else _number(node.this))
    if isinstance(node, exp.Boolean):
        return Const(bool(node.this))
    if isinstance(node, exp.Null):
        return Const(None)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        return Const(_number(f"-{node.this.this}"))
    if isinstance(node, exp.Cast):
        same = column is not None and kind_of(node.to.sql(), "postgres") == column.kind
        return operand(node.this, column) if same else _opaque(node)
    if isinstance(node, exp.Any):
        inner = node.this.this if isinstance(node.this, exp.Paren) else node.this
        inner = inner.this if isinstance(inner, exp.Cast) else inner
        return Many(_param(inner)) if isinstance(inner, exp.Placeholder) else _opaque(node)
    return _opaque(node)


def _opaque(node: exp.Expr) -> Operand | None:
    return None if node.find(exp.Column, exp.Select) is not None else Opaque(node.sql())


def _param(node: exp.Expr) -> Param:
    place = place_of(node.name)
    return Param(node.name if place is None else place)


def _number(text: str) -> int | float | str:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _equal(left: exp.Expr, right: exp.Expr, scope: Scope) -> Restriction:
    if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
        found: Restriction = {}
        for a, b in zip(left.expressions, right.expressions, strict=False):
            found = _both(found, _equal(a, b, scope))
        return found
    if not isinstance(left, exp.Column) or _written(left, scope):
        left, right = right, left
    values = _written(right, scope) or (right,)
    if not isinstance(left, exp.Column) or isinstance(values[0], exp.Column):
        return {}
    return _one_of(scope.slot(left), values, scope)


def _written(node: exp.Expr, scope: Scope) -> tuple[exp.Expr, ...]:
    """What a column of VALUES or of an unnested list may be; nothing for any other column."""
    slot = scope.slot(node) if isinstance(node, exp.Column) and scope.written else None
    return scope.written.get(slot, ()) if slot is not None else ()


def _one_of(slot: Slot | None, nodes: Sequence[exp.Expr], scope: Scope) -> Restriction:
    if slot is None:
        return {}
    values = [operand(node, scope.column(slot)) for node in nodes]
    if not values or any(value is None or isinstance(value, Opaque) for value in values):
        return {}
    return {slot: tuple(value for value in values if value is not None)}


def written(source: exp.Expr, dialect: str) -> dict[Slot, tuple[exp.Expr, ...]]:
    """The columns of a source that is written into the statement, ``(VALUES …) AS v(a, b)`` or ``unnest(…) AS d(a)``,
    or ``WITH v(a, b) AS (VALUES …)``, each with what it may be."""
    alias = fold(source.alias_or_name, dialect)
    named = source.args.get("alias")
    if isinstance(source, exp.Table) and not source.db:
        name = fold(source.name, dialect)
        same = [each for each in source.root().find_all(exp.CTE) if fold(each.alias, dialect) == name]
        if len(same) != 1:
            return {}
        named, query = same[0].args.get("alias"), same[0].this
        origin = query.args.get("from_") if isinstance(query, exp.Select) else None
        plain = {name for name, value in query.args.items() if value} == {"expressions", "from_"}
        if origin is None or not plain or not isinstance(query.expressions[0], exp.Star):
            return {}
        source = origin.this  # VALUES alone is read as SELECT * FROM (VALUES …)
    columns = [fold(column.name, dialect) for column in named.columns] if isinstance(named, exp.TableAlias) else []
    rows: list[list[exp.Expr]] = []
    if isinstance(source, exp.Values):
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in source.expressions]
    elif isinstance(source, exp.Unnest) and not source.args.get("offset"):
        rows = [[exp.Any(this=each) for each in source.expressions]]
    if not columns or any(len(row) != len(columns) for row in rows):
        return {}
    return {(alias, name): tuple(row[at] for row in rows) for at, name in enumerate(columns) if rows}


def _among(node: exp.In, scope: Scope) -> Restriction:
    slot = scope.slot(node.this) if isinstance(node.this, exp.Column) else None
    if node.args.get("unnest") is not None:
        return {}
    return _one_of(slot, _unnested(node.args.get("query")) or node.expressions, scope)


def _unnested(query: exp.Expr | None) -> tuple[exp.Expr, ...]:
    """The list of ``SELECT unnest(…)``; nothing for any other query."""
    select = query.unnest() if isinstance(query, exp.Subquery) else query
    if not isinstance(select, exp.Select) or {name for name, value in select.args.items() if value} != {"expressions"}:
        return ()
    each, *more = select.expressions
    return (exp.Any(this=each.this),) if isinstance(each, exp.Explode) and not more else ()


def _both(a: Restriction, b: Restriction) -> Restriction:
    """Where a column has two conditions, either is enough to find the row."""
    return {**b, **a}


def _few(found: Sequence[Restriction]) -> list[Restriction]:
    return [{}] if len(found) > ALTERNATIVES_MAX or not all(found) else list(found)


def spread(found: Iterable[Restriction], pairs: Iterable[tuple[Slot, Slot]]) -> list[Restriction]:
    """The same with what follows over equal columns: a = b and b = ? give a = ?."""
    edges = list(pairs)
    spread_out = []
    for restriction in found:
        known = dict(restriction)
        for _ in edges:
            before = len(known)
            for a, b in edges:
                if a in known and b not in known:
                    known[b] = known[a]
                elif b in known and a not in known:
                    known[a] = known[b]
            if len(known) == before:
                break
        spread_out.append(known)
    return spread_out
