"""Queries of the 1.x style, and objects that are asked for by their key."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Query

from commute.derive.plugins.rawsql import used
from commute.derive.run import Arguments, Named, Run
from commute.derive.sqlalchemy import objects
from commute.derive.sqlalchemy.marshal import CannotBuildError, built, real, reals
from commute.derive.sqlalchemy.reflection import mapped
from commute.derive.sqlalchemy.session import ALL, ONE, execute, fetched, learn, metadata_of
from commute.derive.values import Const, Data, Entries, Handle, Items, Live, Value, either, options


def get(run: Run, owner: Handle, cls: Value, ident: Value, where: str, *, maybe: bool) -> Value:
    """An object by its key; `maybe`: or None."""
    found = []
    for option in options(cls):
        if not isinstance(option, Live) or not mapped(option.value):
            return run.widen("a class that is not known is loaded", where)
        mapper = sa.inspect(option.value)
        learn(owner, metadata_of(option.value))
        if objects.is_wide(mapper):
            found.append(_wide(run, owner, mapper, ident, where))
            continue
        columns = [one.name.lower() for one in mapper.primary_key]
        values: list[Value] = list(ident.known) if isinstance(ident, Items) and ident.known else [ident]
        if isinstance(ident, Entries):
            values = [ident.known.get(mapper.get_property_by_column(one).key, Data()) for one in mapper.primary_key]
        row: objects.Row = {name: (value,) for name, value in zip(columns, values, strict=False)}
        table = objects.table_name(mapper.local_table)
        access = objects.touch(run, owner, table, "read", "select", [row], where)
        found.append(objects.entity(run, owner, option.value, [access], where))
    return either([*found, *([Const(None)] if maybe else [])]) or Data()


def _wide(run: Run, owner: Handle, mapper: Any, ident: Value, where: str) -> Value:
    """An object of several tables, or with columns that are computed of others, by its key: the whole query."""
    keys = [mapper.get_property_by_column(one).key for one in mapper.primary_key]
    values: list[Value] = list(ident.known) if isinstance(ident, Items) and ident.known else [ident]
    if isinstance(ident, Entries):
        values = [ident.known.get(key, Data()) for key in keys]
    statement = sa.select(mapper.class_)
    try:
        for key, value in zip(keys, values, strict=False):
            statement = statement.where(getattr(mapper.class_, key) == real(run, value, where))
    except CannotBuildError:
        statement = sa.select(mapper.class_)
    result = execute(run, owner, Handle("sa", {"real": statement}), None, where)
    return fetched(run, result, "scalar_one", where)


def query_of(run: Run, arguments: Arguments, where: str) -> Value:
    """What ``session.query`` builds of its arguments."""
    try:
        return Handle("sa", {"real": Query(reals(run, arguments, where))})
    except Exception as error:  # noqa: BLE001
        return run.widen(f"a query that is not followed: {error}", where)


def method(run: Run, owner: Handle, name: str, arguments: Arguments, named: Named, where: str) -> Value | None:
    """What a method of a query gives."""
    handle, query = owner.about["session"], owner.about["query"]
    if name.endswith("_or_404"):  # of Flask's
        name, arguments, named = name.removesuffix("_or_404"), arguments[: name.startswith("get")], {}
    name = "all" if name in ("paginate", "iterate") else name
    if not isinstance(query, Handle):
        return query  # type: ignore[no-any-return]
    if name in (*ONE, *ALL, "count", "exists", "get", "__iter__", "update", "delete"):
        if name == "get":
            entity = query.about["real"].column_descriptions[0]["entity"]
            return get(run, handle, Live(entity), arguments[0], where, maybe=True)
        if name in ("update", "delete"):
            return _change(run, handle, query, name, arguments, where)
        result = execute(run, handle, query, None, where)
        if name in ("count", "exists") or not isinstance(result, Handle):
            return Data(f"{name} of a query") if isinstance(result, Handle) else result
        single = len(query.about["real"].column_descriptions) == 1 and result.about["entities"][:1] != [None]
        result = Handle("result", {**result.about, "scalars": single})
        return fetched(run, result, name if name in ONE else "all", where)
    more = built(run, name, query, arguments, named, where)
    return Handle("sa-query", {"session": handle, "query": more})


def _change(run: Run, handle: Handle, query: Handle, name: str, arguments: Arguments, where: str) -> Value:
    """``query.update({...})`` and ``query.delete()``."""
    made = query.about["real"]
    try:
        target = made.column_descriptions[0]["entity"]
        statement: Any = sa.delete(target)
        if name == "update":
            values = arguments[0]
            if not isinstance(values, Entries) or values.other is not None:
                return run.widen("columns that are not known are set", where)
            statement = sa.update(target).values(real(run, values, where))
        if made.whereclause is not None:
            statement = statement.where(made.whereclause)
    except CannotBuildError as error:
        return run.widen(str(error), where)
    except Exception as error:  # noqa: BLE001
        return run.widen(f"a query that is not followed: {error}", where)
    result = execute(run, handle, Handle("sa", {"real": statement}), None, where)
    if not run.kept.get("discarded", False):
        used(run, handle)
    return Data("how many rows were changed") if isinstance(result, Handle) else result
