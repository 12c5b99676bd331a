"""``session.merge(object)``: the row that is there already becomes as the object is, with what hangs on it."""

from __future__ import annotations

from typing import Any

from commute.derive.run import Run
from commute.derive.sqlalchemy import objects
from commute.derive.sqlalchemy.session import entity
from commute.derive.values import Handle, Items, options

_MERGING = "sqlalchemy objects that are merged"


def merged(run: Run, owner: Handle, value: Handle, where: str) -> None:
    """The row is found by its key and changed. A collection that is given takes the place of the one it has: what is
    not in it hangs on nothing, or is deleted."""
    known: list[Handle] = run.kept.setdefault(_MERGING, [])
    if any(one is value for one in known):
        return
    known.append(value)
    mapper: Any = value.about["mapper"]
    row: objects.Row = {}
    for one in mapper.primary_key:
        found = value.about["values"].get(mapper.get_property_by_column(one).key)
        if found is not None:
            row[one.name.lower()] = (found,)
    given = [one.name.lower() for key in value.about["values"] for one in objects.columns_of(mapper, key)]
    columns = frozenset(given) - row.keys()
    rows = [row] if row else None
    objects.changed(run, owner, mapper.local_table, rows, columns, None, where)
    access = objects.touch(run, owner, objects.table_name(mapper.local_table), "read", "select", rows, where)
    held = entity(run, owner, value.about["class"], [access], where)
    for relation in mapper.relationships:
        inside = value.about["values"].get(relation.key)
        if inside is None or not relation.cascade.merge:
            continue
        if isinstance(held, Handle):
            objects.rewire(run, held, relation, inside, where)
        several = inside.any() if isinstance(inside, Items) else inside
        for option in options(several) if several is not None else ():
            if isinstance(option, Handle) and option.kind == "new":
                merged(run, owner, option, where)
    known.remove(value)
