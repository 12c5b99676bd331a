"""What is done to the objects at the other end of a relation together: to a collection, or to the query that stands for
a large one."""

from __future__ import annotations

from commute.derive import sqlalchemy_objects as objects
from commute.derive.run import Arguments, Run
from commute.derive.sqlalchemy_session import ALL, ONE
from commute.derive.sqlalchemy_shapes import read_of
from commute.derive.values import Const, Data, Handle, Items, Value, either

_CHANGES = (
    "append", "add", "remove", "discard", "extend", "clear", "insert", "pop", "popitem", "update", "set", "setdefault",
    "add_all", "difference_update", "intersection_update", "symmetric_difference_update",
)  # fmt: skip
_QUERIES = ("dynamic", "write_only")
_NARROWS = ("filter", "filter_by", "where", "order_by", "limit", "offset", "options", "distinct", "with_for_update",
            "populate_existing", "execution_options", "slice", "reset_joinpoint")  # fmt: skip


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
    for one in arguments:
        if isinstance(one, Handle) and one.kind == "sa":
            read_of(run, owner.about["session"], one.about["real"], where)
    if relation.lazy == "dynamic":
        if name in _NARROWS:
            return owner
        if name in ("count", "exists"):
            return Data(f"{name} of a query")
        if name in ONE:
            return either([inside, Const(None)]) or inside
        if name in (*ALL, "__iter__", "paginate"):
            return Items("list", None, inside)
    return run.widen(f"{name} of the {relation.lazy} relation {relation.key} is not followed", where,
                     "write it as a statement of its own")  # fmt: skip
