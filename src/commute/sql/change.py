"""What INSERT, UPDATE and DELETE touch: their own rows, rows that are told apart by the same values, parents and
children."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlglot import exp

from commute.sql.ddl import fold, name_of
from commute.sql.functions import numbers_a_row
from commute.sql.schema import Schema, Table
from commute.sql.scope import Scope, operand
from commute.sql.statement import Const, Opaque, Operand, Touch

Rows = Sequence[dict[str, tuple[Any, ...]]] | None
Values = dict[str, tuple[Operand, ...]]
SUMMABLE = ("int", "numeric", "other")  # kinds whose additions commute exactly


def insert(node: exp.Insert, name: str, schema: Schema) -> Iterator[Touch]:
    """The rows that an INSERT makes, or changes where it meets one; what may collide with them; their parents."""
    table = schema.table(name)
    rows = inserted(node, table, schema)
    yield Touch(name, "write", "insert", None if rows is None else tuple(rows))
    conflict = node.args.get("conflict")
    target = tuple(name_of(each, schema.dialect) for each in (conflict and conflict.args.get("conflict_keys")) or ())
    if target and (table is None or target not in table.uniques):
        for row in rows or [{}]:
            found = {column: row[column] for column in target if column in row}
            yield Touch(name, "write", "unique", (found,) if len(found) == len(target) else None)
    if table is None:
        yield Touch(name, "write", "unique", None)  # nobody knows what tells its rows apart
        return
    replaces = str(node.args.get("alternative") or "").upper() == "REPLACE"
    if replaces:
        yield from _children(name, schema, rows if len(table.uniques) == 1 else None, {name})
    for row in rows or [{}]:
        # Who has the same values is refused, or makes place.
        yield from _unique(table, row, "delete" if replaces else "unique", known=rows is not None)
        for key in table.foreign_keys:
            given = [row.get(column, (Opaque("?"),)) for column in key.columns]
            absent = [one for one in key.columns if one not in row and one in table.columns]
            if rows is not None and any(not table.columns[one].default for one in absent):
                continue  # it has no parent
            yield _parent(key.table, key.parents, schema, given if rows is not None else None)
    if conflict is not None and conflict.expressions:
        yield from _changed(conflict.expressions, table, schema, rows, target)


def _changed(
    expressions: Sequence[exp.Expr], table: Table, schema: Schema, rows: Rows, target: tuple[str, ...]
) -> Iterator[Touch]:
    """What an INSERT changes in the rows that it meets, by the columns of `target`, or by any that tell rows apart."""
    assigned = [_assigned(each, schema) for each in expressions]
    names = {column for one in assigned for column, _ in one or ()} if None not in assigned else set(table.columns)
    columns = frozenset(names)
    for met in [target] if target else table.uniques:
        made = [one for one in met if table.columns[one].generated] if set(met) <= table.columns.keys() else []
        if rows is not None and made and all(one not in row for row in rows for one in made):
            continue  # of the numbers that the database makes up no row has one
        found = None if rows is None else [{column: row[column] for column in met if column in row} for row in rows]
        whole = found is not None and all(len(one) == len(met) for one in found)
        yield Touch(table.name, "write", "update", _frozen(found) if whole else None, columns)
    if any(columns & set(unique) for unique in table.uniques):
        yield Touch(table.name, "write", "unique", None)
    values = {column: value for one in assigned for column, value in one or ()}
    for key in table.foreign_keys:
        # What is taken over from the row that was to be inserted has that one's parent.
        taken = all(_is_excluded(values.get(column), column, schema) for column in key.columns)
        if columns & set(key.columns) and not (taken and None not in assigned):
            yield Touch(key.table, "read", "parent", None)
    yield from _children_of_changed(table, columns, schema)


def _is_excluded(value: exp.Expr | None, column: str, schema: Schema) -> bool:
    if isinstance(value, exp.Anonymous) and value.name.upper() == "VALUES" and value.expressions:
        return fold(value.expressions[0].name, schema.dialect) == column  # as MySQL spells it
    plain = isinstance(value, exp.Column) and value.table.lower() == "excluded"
    return plain and isinstance(value, exp.Column) and name_of(value, schema.dialect) == column


def _children_of_changed(table: Table, columns: frozenset[str], schema: Schema) -> Iterator[Touch]:
    for child, key in schema.children(table.name):
        if columns & set(key.parents or table.primary_key):
            yield Touch(child.name, "write" if key.on_update == "write" else "read", "child", None)


def _assigned(each: exp.Expr, schema: Schema) -> list[tuple[str, exp.Expr | None]] | None:
    """The columns that one part of SET sets, each with its value where that stands there; None: any columns."""
    if not isinstance(each, exp.EQ):
        return None
    target = each.this.unnest() if isinstance(each.this, exp.Paren) else each.this
    columns = target.expressions if isinstance(target, exp.Tuple) else [target]
    if not all(isinstance(column, exp.Column) for column in columns):
        return None
    names = [name_of(column, schema.dialect) for column in columns]
    if not isinstance(each.this, exp.Tuple):
        return [(names[0], each.expression)]
    given = each.expression.expressions if isinstance(each.expression, exp.Tuple) else []
    return [(name, given[at] if len(given) == len(names) else None) for at, name in enumerate(names)]


def inserted(node: exp.Insert, table: Table | None, schema: Schema) -> list[Values] | None:
    """The values of each row as far as they are known before; None: nothing is known of the rows."""
    dialect = schema.dialect
    if isinstance(node.this, exp.Schema):
        names = [fold(column.name, dialect) for column in node.this.expressions]
    elif table is not None and table.columns:
        names = list(table.columns)
    else:
        return None
    if any(name in ("rowid", "oid", "_rowid_") for name in names):
        return None  # another name of the key
    source = node.expression
    if isinstance(source, exp.Values):
        rows = [item.expressions if isinstance(item, exp.Tuple) else [item] for item in source.expressions]
    elif isinstance(source, exp.Select):
        rows = [[item.this if isinstance(item, exp.Alias) else item for item in source.expressions]]
        if any(item.find(exp.Star) for item in rows[0] if not isinstance(item, exp.Func)):
            return None
    elif source is None:
        return [{}]
    else:
        return None
    found = []
    for row in rows:
        if len(row) > len(names) or (isinstance(node.this, exp.Schema) and len(row) < len(names)):
            return None
        values: Values = {}
        for name, item in zip(names, row, strict=False):
            column = None if table is None else table.columns.get(name)
            if numbers_a_row(item, schema):
                continue
            values[name] = (operand(item, column) or Opaque(item.sql()),)
        found.append(values)
    return found


def _unique(table: Table, row: Values, kind: str, *, known: bool) -> Iterator[Touch]:
    """Whoever has the same values in columns that tell rows apart: the insertion fails, or goes another way."""
    for unique in table.uniques:
        if not known:
            yield Touch(table.name, "write", kind, None)
            continue
        columns = [table.columns.get(column) for column in unique]
        if any(column is not None and column.generated and column.name not in row for column in columns):
            continue  # the database makes up a value that nobody has
        values: Values = {
            column: row.get(column, (Opaque("default") if known_ is not None and known_.default else Const(None),))
            for column, known_ in zip(unique, columns, strict=True)
        }
        if any(value == (Const(None),) for value in values.values()):
            continue  # without a value it equals none
        yield Touch(table.name, "write", kind, (values,))


def _parent(name: str, parents: Sequence[str], schema: Schema, given: Sequence[tuple[Operand, ...]] | None) -> Touch:
    table = schema.table(name)
    columns = list(parents) or list(table.primary_key if table is not None else ())
    if given is None or len(columns) != len(given):
        return Touch(name, "read", "parent", None)
    return Touch(name, "read", "parent", (dict(zip(columns, given, strict=True)),), frozenset(columns))


def update(node: exp.Update, name: str, alias: str, scope: Scope, rows: Rows) -> Iterator[Touch]:
    """The rows that an UPDATE finds, as additions where it only adds; what its new values may collide with."""
    schema = scope.schema
    table = schema.table(name)
    values: Values = {}
    added: set[str] = set()
    for each in node.expressions:
        assigned = _assigned(each, schema)
        if assigned is None:
            yield from _anything_changed(name, table, schema, rows)
            return
        for column, value in assigned:
            known = None if table is None else table.columns.get(column)
            told = None if value is None else operand(value, known) or Opaque(value.sql())
            values[column] = (told or Opaque("?"),)
            single = isinstance(each.this, exp.Column) and _adds(each.this, each.expression, schema)
            if single and (known is None or known.kind in SUMMABLE):
                added.add(column)
    where = node.args.get("where")
    asked = {name_of(column, schema.dialect) for column in where.find_all(exp.Column)} if where is not None else set()
    guarded = bool(asked & added)
    plain = added == set(values) and not guarded and node.args.get("returning") is None and bool(added)
    keyed = plain and rows is not None and all(asked == set(row) for row in rows)
    columns = frozenset(values)
    plainly = table is not None and not table.triggers and not columns & table.checked
    mode = "add" if keyed and plainly else "write"
    yield Touch(name, mode, "update", _frozen(rows), columns, guarded)  # type: ignore[arg-type]
    if table is None:
        return
    for unique in table.uniques:
        if columns & set(unique):
            yield Touch(name, "write", "unique", ({one: values.get(one, (Opaque("?"),)) for one in unique},))
    for key in table.foreign_keys:
        if columns & set(key.columns):
            given = [values.get(column, (Opaque("?"),)) for column in key.columns]
            yield _parent(key.table, key.parents, schema, given)
    yield from _children_of_changed(table, columns, schema)


def _anything_changed(name: str, table: Table | None, schema: Schema, rows: Rows) -> Iterator[Touch]:
    """An UPDATE of which it is not known what it sets."""
    columns = frozenset(table.columns) if table is not None else None
    yield Touch(name, "write", "update", _frozen(rows), columns)
    yield Touch(name, "write", "unique", None)
    for key in table.foreign_keys if table is not None else ():
        yield Touch(key.table, "read", "parent", None)
    if table is not None:
        yield from _children_of_changed(table, frozenset(table.columns), schema)


def _adds(target: exp.Column, value: exp.Expr, schema: Schema) -> bool:
    """``q + x`` or ``q - x`` for a column q, x without any column or query; also ``x + q``."""
    if isinstance(value, exp.Paren):
        return _adds(target, value.this, schema)
    if not isinstance(value, exp.Add | exp.Sub):
        return False
    sides = [value.left, value.right]
    if isinstance(value, exp.Add) and not isinstance(sides[0], exp.Column | exp.Add | exp.Sub | exp.Paren):
        sides.reverse()
    own, other = sides
    if other.find(exp.Column, exp.Select, exp.Func) is not None:
        return False
    if isinstance(own, exp.Column):
        return name_of(own, schema.dialect) == name_of(target, schema.dialect)
    return _adds(target, own, schema)


def merged(node: exp.Merge, name: str, schema: Schema) -> Iterator[Touch]:
    """What a MERGE does to its target: any of its rows, their parents, and their children as far as they are met."""
    yield Touch(name, "write", "merge", None)
    table = schema.table(name)
    if table is None:
        return
    steps = [when.args.get("then") for when in node.find_all(exp.When)]
    if any(isinstance(step, exp.Var) and step.name.upper() == "DELETE" for step in steps):
        yield from _children(name, schema, None, {name})
    for step in steps:
        if isinstance(step, exp.Update):
            assigned = [_assigned(each, schema) for each in step.expressions]
            names = {column for one in assigned for column, _ in one or ()}
            yield from _children_of_changed(table, frozenset(table.columns if None in assigned else names), schema)
    if any(isinstance(step, exp.Insert | exp.Update) for step in steps):
        for key in table.foreign_keys:
            yield Touch(key.table, "read", "parent", None)


def emptied(name: str, schema: Schema, seen: set[str], *, cascade: bool) -> Iterator[Touch]:
    """What TRUNCATE deletes: with CASCADE all that refers to it too, whatever its foreign keys say."""
    yield from delete(name, schema, None)
    for child, _ in schema.children(name) if cascade else ():
        if child.name not in seen:
            yield from emptied(child.name, schema, {*seen, child.name}, cascade=True)


def also_set(node: exp.Update, scope: Scope, alias: str) -> Iterator[Touch]:
    """What an UPDATE of several tables, as MySQL has it, sets in the others: any columns of any rows."""
    others = {name for name in scope.sources if name != alias and scope.sources[name]}
    if scope.schema.dialect != "mysql" or not others:
        return
    targets = {fold(column.table, "mysql") for each in node.expressions for column in each.this.find_all(exp.Column)}
    for other in sorted(others & targets if "" not in targets else others):
        table = scope.sources[other]
        yield from _anything_changed(table, scope.schema.table(table), scope.schema, None)


def delete(name: str, schema: Schema, rows: Rows) -> Iterator[Touch]:
    """The rows that a DELETE finds, and their children, which go with them, or forbid it."""
    yield Touch(name, "write", "delete", _frozen(rows))
    yield from _children(name, schema, rows, {name})


def _children(name: str, schema: Schema, rows: Rows, seen: set[str]) -> Iterator[Touch]:
    table = schema.table(name)
    for child, key in schema.children(name):
        parents = key.parents or (table.primary_key if table is not None else ())
        found = None
        if rows is not None and all(set(parents) <= set(row) for row in rows):
            found = tuple(
                {column: row[parent] for column, parent in zip(key.columns, parents, strict=True)} for row in rows
            )
        yield Touch(child.name, "write" if key.on_delete == "write" else "read", "child", found)
        if key.on_delete == "write" and child.name not in seen:
            yield from _children(child.name, schema, None, {*seen, child.name})


def _frozen(rows: Rows) -> tuple[dict[str, tuple[Any, ...]], ...] | None:
    return None if rows is None else tuple(rows)
