"""Statements of SQLAlchemy's, really built: values that are not known yet stand in them as parameters with a name.

Its constructors compute and touch nothing, so they may run; what they build is compiled to text and read like any
other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Mapper, Query
from sqlalchemy.orm.attributes import QueryableAttribute

from commute.derive.python.expressions import element
from commute.derive.python.shape import BINDS
from commute.derive.run import Arguments, Named, Run
from commute.derive.values import (
    EITHER_MAX,
    SEVERAL,
    SOME,
    Assembled,
    Bound,
    Closure,
    Const,
    Data,
    Either,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Made,
    Own,
    Value,
    either,
    options,
)

_POSTCOMPILE = re.compile(r"\(__\[POSTCOMPILE_(\w+)(?:~~[^\]]*)?\]\)")
_LITERAL = re.compile(r"__\[POSTCOMPILE_(\w+)(?:~~[^\]]*)?\]")
CLAUSES = (
    sa.sql.ClauseElement, QueryableAttribute, InstrumentedAttribute, Query, Mapper, sa.sql.elements.ClauseList,
    sa.util.ReadOnlyProperties,
)  # fmt: skip


class CannotBuildError(Exception):
    """A statement has a part of which nothing is known."""


def is_clause(thing: object) -> bool:
    """Whether it is a part of a statement."""
    return isinstance(thing, CLAUSES) or type(thing).__module__.startswith("sqlalchemy.sql") or _is_loader(thing)


def _is_loader(thing: object) -> bool:
    module = type(thing).__module__
    return module.startswith(("sqlalchemy.orm.strategy_options", "sqlalchemy.orm.util", "sqlalchemy.orm.interfaces"))


def real(run: Run, value: Value, where: str) -> Any:
    """The value as SQLAlchemy takes it. Raises CannotBuildError for what may be anything."""
    if isinstance(value, Const):
        return value.value
    if isinstance(value, Handle):
        if value.kind == "sa":
            return value.about["real"]
        if value.kind in ("entity", "new"):
            raise CannotBuildError("an object stands in a condition")
        if value.kind in ("cell", "rows", "row", "method"):
            return _bind(run, value, expanding=value.kind == "rows")
    if isinstance(value, Live):
        return value.value
    if isinstance(value, Items):
        if value.known is not None:
            each = [real(run, inner, where) for inner in value.known]
            return tuple(each) if value.kind == "tuple" else each
        inside = element(run, value, where)
        if isinstance(inside, Entries):
            return [real(run, inside, where)]
        if inside is not None and _has_parts(inside):
            return [_mixture(run, inside, where)]
        return _bind(run, inside or Data(), expanding=True)
    if isinstance(value, Either) and _has_parts(value):
        return _mixture(run, value, where)
    if isinstance(value, Entries) and value.other is None:
        return {
            key.about["real"] if isinstance(key, Handle) else key: real(run, inner, where)
            for key, inner in value.known.items()
        }
    if isinstance(value, Made | Closure | Bound) or type(value).__name__ == "Unknown":
        raise CannotBuildError("a part of a statement is not known")
    if isinstance(value, Field) and _is_list(value):
        return _bind(run, element(run, value, where) or Data(), expanding=True)
    return _bind(run, value, expanding=False)


def _has_parts(value: Value) -> bool:
    return any(isinstance(one, Live) or (isinstance(one, Handle) and one.kind == "sa") for one in options(value))


def _mixture(run: Run, value: Value, where: str) -> Any:
    """Nobody knows which of several parts stands there: a condition that holds for any row, and has them all in it, so
    that the tables they look at are seen."""
    parts = [real(run, one, where) for one in options(value) if _has_parts(one)]
    try:
        return sa.or_(*parts, _bind(run, Data("a condition or none"), expanding=False))
    except sa.exc.SQLAlchemyError as error:
        raise CannotBuildError("one of several parts stands in a statement") from error


def variants(arguments: Sequence[Value], named: Mapping[str, Value]) -> Iterator[tuple[list[Value], dict[str, Value]]]:
    """The same arguments with one part each where one of several may stand. Raises CannotBuildError for too many."""
    sides = [options(one) if _has_parts(one) else (one,) for one in (*arguments, *named.values())]
    combinations = list(product(*sides)) if prod(map(len, sides)) <= EITHER_MAX else None
    if combinations is None:
        raise CannotBuildError("one of too many parts stands in a statement")
    for one in combinations:
        yield list(one[: len(arguments)]), dict(zip(named, one[len(arguments) :], strict=True))


def _is_list(value: Field) -> bool:
    import typing

    return (typing.get_origin(value.hint) or value.hint) in (list, tuple, set, frozenset)


def _bind(run: Run, value: Value, *, expanding: bool) -> Any:
    binds: dict[str, Value] = run.kept.setdefault(BINDS, {})
    known = next((name for name, other in binds.items() if other is value), None)
    name = known or f"v{len(binds)}"
    binds[name] = value
    return sa.bindparam(name, expanding=True) if expanding else sa.bindparam(name)


def written(run: Run, arguments: Arguments) -> Value | None:
    """``text(…)`` of one of several texts; of one whose pieces may be left out, with all of them. None: of no text."""
    found: list[Value] = []
    for option in options(arguments[0]) if arguments else ():
        text = option.text.replace(SOME, "") if isinstance(option, Assembled) else getattr(option, "value", None)
        if not isinstance(option, Const | Assembled) or not isinstance(text, str) or SEVERAL in text:
            return None
        found.append(wrapped(run, sa.text(text)))
    return either(found)


def wrapped(run: Run, thing: Any) -> Value:
    """What a constructor gave."""
    if thing is None or isinstance(thing, str | int | bool):
        return Const(thing)
    return Handle("sa", {"real": thing}) if is_clause(thing) else Live(thing)


def compiled(run: Run, statement: Any, dialect: Any) -> tuple[str, Entries, Mapping[str, Any]]:
    """The text of a statement, its parameters by name, and what stands for them. Raises CannotBuildError."""
    try:
        made = statement.compile(dialect=dialect)
        text = str(made)
    except Exception as error:
        raise CannotBuildError(f"SQLAlchemy cannot compile it: {error}") from error
    binds: dict[str, Value] = run.kept.get(BINDS, {})
    parameters = Entries()
    for name, value in made.params.items():
        parameters.known[name] = binds.get(name) or _constant(value)
    for prefetched, when in (("insert_prefetch", "default"), ("update_prefetch", "onupdate")):
        for column in getattr(made, prefetched, None) or ():
            for name in parameters.known:
                if name == column.key or name.startswith(f"{column.key}_m"):
                    parameters.known[name] = _prefetched(run, column, getattr(column, when))
    text = _POSTCOMPILE.sub(r"(:\1)", text)
    return _LITERAL.sub(r":\1", text), parameters, made.binds


def _prefetched(run: Run, column: Any, default: Any) -> Value:
    """A default that SQLAlchemy makes before it sends the statement."""
    if default is None or default.is_sequence:
        return Data("a default")
    if default.is_scalar:
        return Const(default.arg)
    function = getattr(default.arg, "__wrapped__", default.arg)
    found: Value = run.call(Live(function), [], {}, str(column))
    return found if isinstance(found, Own) else Data("a default")


def _constant(value: Any) -> Value:
    if isinstance(value, list | tuple):
        return Items("list", [Const(inner) for inner in value])
    return Const(value)


def reals(run: Run, arguments: Arguments, where: str) -> list[Any]:
    """The arguments as SQLAlchemy takes them. Raises CannotBuildError."""
    found = []
    for value in arguments:
        if isinstance(value, Handle) and value.kind == "spread":
            found.append(real(run, value.about["of"], where))
        else:
            found.append(real(run, value, where))
    return found


def made(run: Run, make: Any, arguments: Arguments, named: Named, where: str) -> Value:
    """What a function of SQLAlchemy's makes of them. Raises what it raises."""
    found = [
        wrapped(run, make(*reals(run, given, where), **_by_name(run, by_name, where)))
        for given, by_name in variants(arguments, named)
    ]
    return either(found) or Data()


def _by_name(run: Run, named: Named, where: str) -> dict[str, Any]:
    return {name: real(run, value, where) for name, value in named.items()}


def built(run: Run, name: str, owner: Handle, arguments: Arguments, named: Named, where: str) -> Value:
    """What a method of a part of a statement gives."""
    try:
        return made(run, getattr(owner.about["real"], name), arguments, named, where)
    except CannotBuildError as error:
        return run.widen(str(error), where)
    except Exception as error:  # noqa: BLE001
        without = without_value(run, name, [owner, *arguments])
        return without or run.widen(f"SQLAlchemy does not take {name}: {error}", where)


_OF_VALUES = ("lt", "le", "gt", "ge", "in_", "not_in", "between", "contains", "startswith", "endswith")


def without_value(run: Run, name: str, arguments: Arguments) -> Value | None:
    """A comparison with None, which SQLAlchemy refuses: it stands behind ``if value:``, and is not come by then. So it
    stands for any row with such a column."""
    ours = [one.about["real"] for one in arguments if isinstance(one, Handle) and one.kind == "sa"]
    none = any(isinstance(one, Const) and one.value is None for one in arguments)
    if (
        name not in _OF_VALUES
        or not none
        or len(ours) != 1
        or not isinstance(ours[0], sa.sql.ColumnElement | QueryableAttribute)
    ):
        return None
    return wrapped(run, ours[0].is_not(None))
