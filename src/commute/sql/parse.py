"""From a statement's text to what it touches: every query and every change in it, and what these drag along.

What cannot be told makes the touch coarser (any row of the table) or the whole statement unknown; never narrower. Traps
that are taken care of: changes inside of common table expressions, unknown functions, conditions under OR and NOT, a
column of the query around, names that hide tables, ``f($1,$2)`` that the tokenizer takes for something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from sqlglot import exp, parse
from sqlglot.errors import SqlglotError

from commute.sql.change import also_set, delete, insert, merged, update
from commute.sql.commands import command, touched
from commute.sql.ddl import fold, name_of
from commute.sql.functions import refused, resources
from commute.sql.schema import CHANGES, Column, Schema, Table
from commute.sql.scope import Restriction, Scope, Slot, equalities, restrictions, spread, written
from commute.sql.statement import Statement, Touch
from commute.sql.text import TEXTS_MAX, prepare

DEPTH_MAX = 4  # of views in views, and of triggers that set off triggers

_QUIET = (exp.Commit, exp.Rollback, exp.Transaction)
_REPLACE = re.compile(r"^\s*REPLACE\s+INTO\b", re.IGNORECASE)  # the tokenizer knows only its long form
_UPDATE_OR = re.compile(r"^(\s*UPDATE)\s+OR\s+(?:ROLLBACK|ABORT|FAIL|IGNORE)\b", re.IGNORECASE)
_INDEXED = re.compile(r"\bINDEXED\s+BY\s+\w+", re.IGNORECASE)


@lru_cache(64)
def _versions(dialect: str) -> dict[tuple[str, str], Statement]:
    return {}


def summarize(text: str, schema: Schema, version: str) -> Statement:
    """What the statement touches; parameters are numbered as `text.prepare` does. `version` is that of the schema.

    Parsed once for a text: about 1 ms, then a look-up.
    """
    known = _versions(schema.dialect)
    plain = prepare(text, schema.dialect).text
    found = known.get((plain, version))
    if found is None:
        if len(known) >= TEXTS_MAX:
            known.clear()
        found = known[plain, version] = _summarize(plain, schema, 0)
    return found


def _summarize(text: str, schema: Schema, depth: int) -> Statement:
    told = command(text, schema.dialect)
    if told is not None:
        return Statement(told)
    prepared = _UPDATE_OR.sub(r"\1", _REPLACE.sub("INSERT OR REPLACE INTO", text))
    if schema.dialect == "sqlite":
        prepared = _INDEXED.sub("", prepared)
    try:
        trees = [tree for tree in _parsed(prepared, schema.dialect) if tree is not None]
    except (SqlglotError, RecursionError) as error:
        return Statement(unknown=f"this SQL is not understood: {str(error).splitlines()[0]}")
    touches: list[Touch] = []
    for tree in trees:
        if isinstance(tree, _QUIET):
            continue
        unknown = _unknown(tree, schema.dialect)
        if unknown is not None:
            return Statement(unknown=unknown)
        try:
            touches += _Reader(schema, depth).touches(tree)
        except _TooDeep:
            return Statement(unknown="views or triggers that lead too deep")
    last = trees[-1] if trees else None
    names, returns = _results(last, schema)
    return Statement(tuple({repr(touch): touch for touch in touches}.values()), None, returns, names)


def _parsed(text: str, dialect: str) -> list[exp.Expr | None]:
    try:
        return list(parse(text, dialect=dialect))
    except SqlglotError:
        return list(parse(re.sub(r"([(,])", r"\1 ", text), dialect=dialect))


def _unknown(tree: exp.Expr, dialect: str) -> str | None:
    """Why nothing can be said of a statement, None if something can."""
    plain = exp.Select | exp.SetOperation | exp.Insert | exp.Update | exp.Delete | exp.Subquery | exp.Merge | exp.Values
    if not isinstance(tree, plain | exp.TruncateTable | exp.Copy):
        if isinstance(tree, exp.Create) and str(tree.args.get("kind")).upper() == "TABLE" and tree.args.get("exists"):
            return None
        return f"{type(tree).__name__.upper()} may touch anything"
    if tree.find(exp.Into) is not None:
        return "SELECT INTO makes a table"
    function = refused(tree)
    if function is not None:
        return f"the function {function} may touch anything"
    return "a statement that is not understood" if tree.find(exp.Command) is not None else None


def triggered(table: Table, schema: Schema) -> list[Touch | None]:
    """What the triggers of a table touch; None stands for one that is not understood."""
    found: list[Touch | None] = []
    for trigger in table.triggers:
        try:
            found += _Reader(schema, 1)._trigger(trigger.body)
        except _TooDeep:
            found.append(None)
    return found


class _TooDeep(Exception):
    """Views or triggers lead to one another."""


class _Reader:
    """One statement, or one body of a view or a trigger."""

    def __init__(self, schema: Schema, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise _TooDeep
        self.schema = schema
        self.depth = depth

    def touches(self, tree: exp.Expr) -> list[Touch]:
        hidden = {fold(cte.alias, self.schema.dialect) for cte in tree.find_all(exp.CTE)}
        found: list[Touch] = []
        for query in tree.find_all(exp.Select):
            found += self._select(query, hidden)
        for node in tree.find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge):
            if isinstance(node, exp.Merge):
                found += self._merge(node)
            elif node.find_ancestor(exp.OnConflict, exp.When) is None:
                found += self._change(node, hidden)
        if isinstance(tree, exp.Create):
            target = tree.find(exp.Table)
            if target is not None:
                name = name_of(target, self.schema.dialect)
                found.append(Touch(name, "read" if self.schema.table(name) else "write", "define", None))
        found += touched(tree, self.schema)
        return [*self._dragged(found, tree), *resources(tree, self.schema)]

    # -- reading ------------------------------------------------------------------------------------------------

    def _select(self, node: exp.Select, hidden: set[str]) -> Iterator[Touch]:
        scope = self.scope(node, hidden)
        for alias, name in scope.sources.items():
            if name:
                yield from self._read(name, self.rows(node, scope, alias, hidden))
        yield from self._loose(node, hidden)

    def _read(self, name: str, rows: list[dict[str, tuple[object, ...]]] | None) -> Iterator[Touch]:
        table = self.schema.table(name)
        if table is not None and table.view is not None:
            inner = _summarize(prepare(table.view, self.schema.dialect).text, self.schema, self.depth + 1)
            if inner.unknown is not None:
                raise _TooDeep
            yield from inner.touches
            return
        yield Touch(name, "read", "select", None if rows is None else tuple(rows))  # type: ignore[arg-type]

    def scope(self, node: exp.Expr, hidden: set[str], *, alone: bool = False) -> Scope:
        """The sources of a query or a change, with those of the queries around it; `alone`: it sees none of them, as
        a query in the place of a table."""
        above = None if alone else node.find_ancestor(exp.Select, exp.Update, exp.Delete)
        outer = self.scope(above, hidden) if above is not None else None
        scope = Scope(self.schema, {}, outer)
        for source in _sources(node):
            alias = fold(source.alias_or_name, self.schema.dialect)
            name = name_of(source, self.schema.dialect) if isinstance(source, exp.Table) else ""
            known = name and (name not in hidden or self.schema.table(name) is not None)
            scope.sources[alias] = name if known else ""
            if not known:  # a table that is known was written nowhere in the statement
                scope.written |= written(source, self.schema.dialect)
            for output, (_, column) in self._outputs(source, hidden).items():
                scope.outputs[alias, output] = column
        return scope

    def _outputs(self, source: exp.Expr, hidden: set[str]) -> dict[str, tuple[Slot, Column]]:
        """The columns of a query in the place of a table that are plain columns of its own sources, by name."""
        query = source.this if isinstance(source, exp.Subquery) else None
        if not isinstance(query, exp.Select):
            return {}
        inner, found = self.scope(query, hidden, alone=True), {}
        for part in query.expressions:
            column = part.this if isinstance(part, exp.Alias) else part
            slot = inner.slot(column) if isinstance(column, exp.Column) else None
            known = None if slot is None else inner.column(slot)
            if slot is not None and known is not None:
                found[fold(part.alias_or_name, self.schema.dialect)] = slot, known
        return found

    def _inside(self, source: exp.Expr, hidden: set[str]) -> Restriction:
        """What holds for each row of a query in the place of a table, by its own columns."""
        outputs = self._outputs(source, hidden)
        held = (
            restrictions(source.this.args.get("where"), self.scope(source.this, hidden, alone=True)) if outputs else []
        )
        alias = fold(source.alias_or_name, self.schema.dialect)
        if len(held) != 1:
            return {}
        return {(alias, output): held[0][slot] for output, (slot, _) in outputs.items() if slot in held[0]}

    def rows(
        self, node: exp.Expr, scope: Scope, alias: str, hidden: set[str]
    ) -> list[dict[str, tuple[object, ...]]] | None:
        """The alternatives of the rows of one source; None: any."""
        found: list[Restriction] = restrictions(node.args.get("where"), scope)
        pairs: list[tuple[Slot, Slot]] = self._pairs(node.args.get("where"), scope)
        joins = node.args.get("joins") or ()
        optional = {id(join.this) for join in joins if join.side or join.kind.upper() == "OUTER"}
        kept = any(join.side.upper() in ("RIGHT", "FULL") for join in joins)  # rows that meet no condition are kept
        for source in () if kept else _sources(node):
            if isinstance(source, exp.Subquery) and id(source) not in optional:
                held = self._inside(source, hidden)
                found = [{**held, **one} for one in found]
        for join in joins:
            own = fold(join.this.alias_or_name, self.schema.dialect) == alias
            if not kept and (own or not (join.side or join.kind.upper() == "OUTER")):
                found = [{**b, **a} for a in restrictions(join.args.get("on"), scope) for b in found]
            pairs += self._pairs(join.args.get("on"), scope)
        around = scope.outer
        above = node.find_ancestor(exp.Select, exp.Update, exp.Delete)
        if around is not None and above is not None:
            outside = restrictions(above.args.get("where"), around)
            if len(outside) == 1:
                beyond = {slot: values for slot, values in outside[0].items() if slot[0] not in scope.sources}
                found = [{**beyond, **a} for a in found]
        rows = []
        for restriction in spread(found, pairs):
            mine = {column: values for (owner, column), values in restriction.items() if owner == alias}
            if not mine:
                return None
            rows.append(mine)
        return rows or None  # type: ignore[return-value]

    def _pairs(self, condition: exp.Expr | None, scope: Scope) -> list[tuple[Slot, Slot]]:
        """Equal columns that also compare in the same way."""
        found = []
        for left, right in equalities(condition):
            a, b = self._slot(left, scope), self._slot(right, scope)
            if a is None or b is None:
                continue
            (slot_a, column_a), (slot_b, column_b) = a, b
            known = column_a is not None and column_b is not None
            if known and _compares(column_a) == _compares(column_b):
                found.append((slot_a, slot_b))
        return found

    def _slot(self, node: exp.Column, scope: Scope) -> tuple[Slot, Column | None] | None:
        at: Scope | None = scope
        while at is not None:
            slot = at.slot(node)
            if slot is not None:
                return slot, at.column(slot)
            at = at.outer
        return None

    def _loose(self, node: exp.Expr, hidden: set[str]) -> Iterator[Touch]:
        """Tables that are no plain source, in joins inside of parentheses say: any row of them is read."""
        plain = {id(source) for source in (*_sources(node), _target(node), *(node.args.get("tables") or ()))}
        for table in node.find_all(exp.Table):
            inside = table.find_ancestor(exp.Select, exp.Insert, exp.Update, exp.Delete, exp.Merge) is node
            name = name_of(table, self.schema.dialect)
            known = name and (name not in hidden or self.schema.table(name) is not None)
            if inside and known and id(table) not in plain and not isinstance(table.parent, exp.Lock):
                yield from self._read(name, None)

    # -- changing -----------------------------------------------------------------------------------------------

    def _change(self, node: exp.Expr, hidden: set[str]) -> Iterator[Touch]:
        scope = self.scope(node, hidden)
        target = _target(node)
        if not isinstance(target, exp.Table):
            raise _TooDeep
        yield from self._loose(node, hidden)
        name = name_of(target, self.schema.dialect)
        alias = fold(target.alias_or_name, self.schema.dialect)
        named = [fold(each.name, self.schema.dialect) for each in node.args.get("tables") or ()]  # MySQL: DELETE a FROM
        changed = named or [alias]
        for other, table in scope.sources.items():
            if other not in changed and table:
                yield from self._read(table, self.rows(node, scope, other, hidden))
        if isinstance(node, exp.Insert):
            yield from insert(node, name, self.schema)
        elif isinstance(node, exp.Update):
            yield from update(node, name, alias, scope, self.rows(node, scope, alias, hidden))
            yield from also_set(node, scope, alias)
        elif isinstance(node, exp.Delete):
            for each in changed:
                if not scope.sources.get(each):
                    raise _TooDeep
                yield from delete(scope.sources[each], self.schema, self.rows(node, scope, each, hidden))

    def _merge(self, node: exp.Merge) -> Iterator[Touch]:
        for table in node.find_all(exp.Table):
            name = name_of(table, self.schema.dialect)
            if table is not node.this:
                yield Touch(name, "read", "merge", None)
                continue
            yield from merged(node, name, self.schema)

    # -- what a change drags along ------------------------------------------------------------------------------

    def _dragged(self, found: list[Touch], tree: exp.Expr) -> list[Touch]:
        more: list[Touch] = []
        done: dict[str, set[str]] = {}
        plain = all(map(_plainly, tree.find_all(exp.Insert)))
        of_kind = {"insert": {"insert"} if plain else CHANGES, "update": {"update"}, "delete": {"delete"}, "unique": ()}
        for touch in found:
            if touch.mode != "read":
                done.setdefault(touch.table, set()).update(of_kind.get(touch.kind, CHANGES))
        for name, kinds in done.items():
            table = self.schema.table(name)
            for trigger in () if table is None else table.triggers:
                if trigger.sets_off & kinds:
                    more += self._trigger(trigger.body)
            if table is not None and table.view is not None:
                raise _TooDeep  # a change through a view: its rules are not known
        return [*found, *more]

    def _trigger(self, body: str) -> Iterator[Touch]:
        # new.x and old.x are values that are not followed: a text makes them opaque to every condition.
        plain = re.sub(r"\b(?:new|old)\s*\.\s*\"?\w+\"?", "abs('row')", body, flags=re.IGNORECASE)
        inner = _summarize(prepare(plain, self.schema.dialect).text, self.schema, self.depth + 1)
        if inner.unknown is not None:
            raise _TooDeep
        yield from inner.touches


def _plainly(node: exp.Insert) -> bool:
    """Whether an INSERT does nothing to a row that is there already."""
    return not any(node.args.get(one) for one in ("conflict", "alternative", "overwrite"))


def _compares(column: Column | None) -> tuple[str, str] | None:
    return None if column is None else (column.kind, column.collation)


def _target(node: exp.Expr) -> exp.Expr | None:
    """The table that a change is to."""
    if not isinstance(node, exp.Insert | exp.Update | exp.Delete):
        return None
    inner = node.this
    return inner.this if isinstance(inner, exp.Schema) else inner  # type: ignore[no-any-return]


def _sources(node: exp.Expr) -> Iterator[exp.Expr]:
    """The tables and subqueries that a query or a change names as its sources."""
    if isinstance(node, exp.Update | exp.Delete) and isinstance(node.this, exp.Table):
        yield node.this
        yield from (join.this for join in node.this.args.get("joins") or ())
        yield from node.args.get("using") or ()
    origin = node.args.get("from_") or node.args.get("from")
    if origin is not None:
        yield origin.this
    for join in node.args.get("joins") or ():
        yield join.this
    if origin is not None:
        for join in origin.this.args.get("joins") or ():
            yield join.this


def _results(tree: exp.Expr | None, schema: Schema) -> tuple[tuple[str | None, ...], dict[str, tuple[str, str]] | None]:
    """The names of the result's columns, and which of them are plain columns of a table."""
    returning = None if tree is None else tree.args.get("returning")
    items = (
        returning.expressions if returning is not None else tree.expressions if isinstance(tree, exp.Select) else None
    )
    if tree is None or items is None:
        return (), None
    reader = _Reader(schema, 0)
    scope = reader.scope(tree, set())
    target = _target(tree)
    if isinstance(target, exp.Table):
        scope.sources = {fold(target.alias_or_name, schema.dialect): name_of(target, schema.dialect)}
    tables = list(scope.sources.values())
    names: list[str | None] = []
    returns: dict[str, tuple[str, str]] = {}
    for item in items:
        inner = item.this if isinstance(item, exp.Alias) else item
        if isinstance(inner, exp.Star) or (isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)):
            table = schema.table(next(iter(scope.sources.values()), "")) if len(scope.sources) == 1 else None
            if table is None or not table.columns:
                return (), None
            names += table.columns
            returns |= {name: (table.name, name) for name in table.columns}
            continue
        slot = scope.slot(inner) if isinstance(inner, exp.Column) else None
        name = fold(item.alias_or_name, schema.dialect)
        names.append(name or None)
        if slot is not None and tables.count(scope.sources[slot[0]]) == 1:  # of twice the same, nobody knows which
            returns[name] = (scope.sources[slot[0]], slot[1])
    twice = {name for name in names if names.count(name) > 1}  # which of them a row gives depends on the driver
    plain = {name: origin for name, origin in returns.items() if name not in twice}
    return tuple(None if name in twice else name for name in names), plain
