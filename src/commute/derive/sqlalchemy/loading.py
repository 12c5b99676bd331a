"""What stands at the other end of a relation: read when it is asked for, or at once with the object, since the mapping
or the query says so."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipProperty

from commute.derive.run import Run
from commute.derive.sqlalchemy.schema import name as table_name
from commute.derive.sqlalchemy.session import entity, learn, metadata_of
from commute.derive.sqlalchemy.shapes import Row, column_value, touch
from commute.derive.values import Const, Data, Handle, Own, Value, either, options

_AT_ONCE = ("selectin", "subquery", "joined", "immediate", "select_in", False)
_CHAIN_MAX = 4  # of relations behind each other that are loaded at once row by row


def load(run: Run, value: Handle, relation: RelationshipProperty[Any], where: str) -> Value:
    """The objects at the other end of a relation: a reading of their table by the columns that join."""
    handle = value.about.get("session")
    target = relation.mapper
    if handle is None:  # a new object that is in no session yet: what is put there goes with it
        if not relation.uselist:
            return Const(None)
        return Handle(
            "collection", {"of": value, "relation": relation, "element": Data("a new object"), "session": None}
        )
    learn(handle, metadata_of(target.class_))
    row: Row = {}
    if relation.secondary is not None:
        touch(run, handle, table_name(relation.secondary), "read", "select", linked(value, relation), where)
    else:
        for local, remote in joined(relation):
            row[remote.name.lower()] = (value_of(value, local),)
    access = touch(run, handle, table_name(target.local_table), "read", "select", [row] if row else None, where)
    inside = entity(run, handle, target.class_, [access], where)
    if not relation.uselist:
        return either([inside, Const(None)]) or inside
    return Handle("collection", {"of": value, "relation": relation, "element": inside, "session": handle})


def joined(relation: RelationshipProperty[Any]) -> list[tuple[Any, Any]]:
    """The columns of an object, each with the one at the other end that has to be equal to it; a condition of another
    kind between two columns tells no row."""
    equal = {frozenset(map(_place, pair)) for pair in _equalities(relation.primaryjoin)}
    return [pair for pair in relation.local_remote_pairs or () if frozenset(map(_place, pair)) in equal]


def _equalities(condition: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(condition, sa.sql.elements.BooleanClauseList) and condition.operator is operator.and_:
        for part in condition.clauses:
            yield from _equalities(part)
    elif isinstance(condition, sa.sql.elements.Grouping):
        yield from _equalities(condition.element)
    elif isinstance(condition, sa.BinaryExpression) and condition.operator is operator.eq:
        sides = condition.left, condition.right
        if all(isinstance(side, sa.Column) for side in sides):
            yield sides


def _place(column: Any) -> tuple[str, str]:
    return table_name(column.table), column.name.lower()


def linked(value: Handle, relation: RelationshipProperty[Any]) -> list[Row] | None:
    """The rows of the table between two others that belong to an object; None for any."""
    pairs = [(local, remote) for local, remote in relation.synchronize_pairs if remote.table is relation.secondary]
    row: Row = {remote.name.lower(): (value_of(value, local),) for local, remote in pairs}
    return [row] if row else None


def value_of(value: Handle, column: Any) -> Value:
    """The value of a column of an object, new or loaded."""
    if value.kind != "new":
        return column_value(value, column)
    try:
        key = key_in(value, column)
    except Exception:  # noqa: BLE001 - a column of a class below it
        return Data(column.name)
    known: Value | None = value.about["values"].get(key)
    if known is not None:
        return known
    name = table_name(column.table)
    table = value.about["session"].about["schema"].table(name) if value.about.get("session") else None
    made = None if table is None else table.columns.get(column.name.lower())
    return Own("a key that the database makes", of=name) if made is not None and made.generated else Data(column.name)


def key_in(value: Handle, column: Any) -> str:
    """The attribute of a column."""
    return str(value.about["mapper"].get_property_by_column(column).key)


def at_once(run: Run, value: Handle, where: str) -> None:
    """Load what the mapping says is loaded together with the object, also that of the classes below its own."""
    mapper = value.about["mapper"]
    for relation in {relation for sub in mapper.self_and_descendants for relation in sub.relationships}:
        if relation.lazy in _AT_ONCE:
            within(run, value, relation, where)


def within(run: Run, value: Handle, relation: RelationshipProperty[Any], where: str) -> None:
    """Load a relation; of one that lies far behind any row, since classes that load each other in many ways would
    else be walked in every sequence."""
    chain: list[object] = run.kept.setdefault("sqlalchemy loads", [])
    if len(chain) >= _CHAIN_MAX:
        _any_row(run, value.about["session"], relation, where)
        return
    chain.append(relation)
    try:
        load(run, value, relation, where)
    finally:
        chain.pop()


def _any_row(run: Run, handle: Handle, relation: RelationshipProperty[Any], where: str) -> None:
    """Load any object at the other end, and what comes with it: one for each class, so that it ends."""
    target = relation.mapper
    learn(handle, metadata_of(target.class_))
    if relation.secondary is not None:
        touch(run, handle, table_name(relation.secondary), "read", "select", None, where)
    access = touch(run, handle, table_name(target.local_table), "read", "select", None, where)
    entity(run, handle, target.class_, [access], where)


def as_asked(run: Run, given: Any, value: Value, where: str) -> None:
    """Load what the options of a query (``selectinload(Order.lines)``) say of an object."""
    for path in _paths(given):
        inside: list[Value] = [value]
        for relation in path or ():
            inside = [found for one in inside for found in _behind(run, one, relation, where)]
        if path is None:
            for one in options(value):
                escape(run, one, where)


def _behind(run: Run, value: Value, relation: RelationshipProperty[Any], where: str) -> Iterator[Value]:
    for option in options(value):
        if isinstance(option, Handle) and option.kind in ("entity", "new") and _has(option, relation):
            found = load(run, option, relation, where)
            yield found.about["element"] if isinstance(found, Handle) and found.kind == "collection" else found


def _has(value: Handle, relation: RelationshipProperty[Any]) -> bool:
    mapper = value.about["mapper"]
    return bool(mapper.isa(relation.parent) or relation.parent.isa(mapper))


def _paths(given: Any) -> Iterator[list[RelationshipProperty[Any]] | None]:
    """The relations that each option loads at once, one behind the other; None for all of them."""
    for option in given:
        for part in getattr(option, "context", (option,)):
            strategy = dict(getattr(part, "strategy", None) or ())
            path = list(getattr(part, "path", ()))
            if strategy.get("lazy", "select") not in _AT_ONCE:
                continue
            if not path or any(isinstance(one, str) for one in path):
                yield None  # ``selectinload("*")``
            else:
                yield [one for one in path if isinstance(one, RelationshipProperty)]


def escape(run: Run, value: Value, where: str) -> None:
    """The object went to where it is read as a whole: every table that its relations lead to may be read."""
    handle = value.about.get("session") if isinstance(value, Handle) else None
    if handle is None or not isinstance(value, Handle):
        return
    left, seen = [value.about["mapper"]], set()
    while left:
        mapper = left.pop()
        if mapper in seen:
            continue
        seen.add(mapper)
        for relation in mapper.relationships:
            learn(handle, metadata_of(relation.mapper.class_))
            touch(run, handle, table_name(relation.mapper.local_table), "read", "select", None, where)
            if relation.secondary is not None:
                touch(run, handle, table_name(relation.secondary), "read", "select", None, where)
            left.append(relation.mapper)
