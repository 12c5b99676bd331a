"""What is done to the objects at the other end of a relation together: to a collection, or to the query that stands for
a large one."""

from __future__ import annotations

import sqlalchemy as sa

from commute.derive.run import Arguments, Run
from commute.derive.sqlalchemy import objects
from commute.derive.sqlalchemy.marshal import reals
from commute.derive.sqlalchemy.session import ALL, ONE, execute
from commute.derive.values import Const, Data, Handle, Items, Value, either

_CHANGES = (
    "append", "add", "remove", "discard", "extend", "clear", "insert", "pop", "popitem", "update", "set", "setdefault",
    "add_all", "difference_update", "intersection_update", "symmetric_difference_update",
)  # fmt: skip
_QUERIES = ("dynamic", "write_only")
_CHAINED = (
    "filter", "filter_by", "where", "order_by", "group_by", "having", "join", "outerjoin", "options", "distinct",
    "limit", "offset", "slice", "with_for_update", "populate_existing", "enable_eagerloads",
    "execution_options", "reset_joinpoint",
)  # fmt: skip
_WITHOUT = ("filter_by", "limit", "offset", "slice", "distinct", "with_for_update")  # name no other table


def collection_call(run: Run, owner: Handle, name: str, arguments: Arguments, where: str) -> Value:
    """What a method of a collection gives."""
    relation = owner.about["relation"]
    inside: Value = owner.about["element"]
    if relation.lazy in _QUERIES and name not in ("append", "add", "remove", "extend", "add_all"):
        return _query_call(run, owner, name, arguments, where)
    if name in _CHANGES:
        new = arguments[-1] if arguments else None
        if "creator" in owner.about and new is not None:
            new = objects.by_proxy(run, owner, new, where)
        objects.rewire(run, owner.about["of"], relation, new, where)
        return inside if name in ("pop", "popitem", "setdefault") else Const(None)
    return Items("list", None, inside)


def _query_call(run: Run, owner: Handle, name: str, arguments: Arguments, where: str) -> Value:
    """The same of a relation that is asked like a query."""
    inside: Value = owner.about["element"]
    relation = owner.about["relation"]
    if relation.lazy == "dynamic":
        if name in _CHAINED and (name in _WITHOUT or _named_besides(run, owner, name, arguments, where)):
            return owner
        if name in ("count", "exists"):
            return Data(f"{name} of a query")
        if name in (*ONE, "get"):
            return either([inside, Const(None)]) or inside
        if name in (*ALL, "__iter__", "paginate"):
            return Items("list", None, inside)
    return run.widen(f"{name} of the {relation.lazy} relation {relation.key} is not followed", where,
                     "write it as a statement of its own")  # fmt: skip


def _named_besides(run: Run, owner: Handle, name: str, arguments: Arguments, where: str) -> bool:
    """The tables that a condition or a join names are read; False where it cannot be built."""
    handle = owner.about["session"]
    try:
        query = sa.select(owner.about["relation"].mapper.class_)
        method = getattr(query, {"filter": "where", "outerjoin": "join"}.get(name, name))
        execute(run, handle, Handle("sa", {"real": method(*reals(run, arguments, where))}), None, where)
    except Exception:  # noqa: BLE001 - one that cannot be built
        return False
    return handle is not None
