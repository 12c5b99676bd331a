"""Mapped objects: what reading an attribute loads, and what setting one, adding and deleting writes."""

from __future__ import annotations

import types
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipProperty

from commute.derive.attributes import bind, class_attribute
from commute.derive.expressions import element
from commute.derive.rawsql import spelled_alike
from commute.derive.run import Run, TableAccess
from commute.derive.sqlalchemy_schema import name as table_name
from commute.derive.sqlalchemy_session import entity, learn, listeners, look_up, mapper_listens, metadata_of
from commute.derive.values import (
    Const,
    Data,
    Entries,
    Handle,
    Items,
    Live,
    Value,
    either,
    is_known,
    options,
)
from commute.sql.change import delete as delete_touches
from commute.sql.parse import triggered
from commute.sql.schema import Table
from commute.sql.statement import Touch

Row = dict[str, tuple[Value, ...]]
__all__ = ["entity", "table_name"]


def touch(run: Run, handle: Handle, table: str, mode: str, kind: str, rows: list[Row] | None, where: str,
          columns: frozenset[str] | None = None) -> TableAccess:  # fmt: skip
    """Note an access to rows of a table, and what its triggers touch."""
    listeners(run, handle, where)
    look_up(handle)
    known = handle.about["schema"].table(table)
    if mode != "read" and known is not None and known.triggers:
        for dragged in triggered(known, handle.about["schema"]):
            if dragged is None:
                run.widen(f"a trigger of {table} is not followed", where)
            else:
                run.add(TableAccess(dragged, None, handle.about["schema"], where))
    made = Touch(table, mode, kind, None if rows is None else (), columns)  # type: ignore[arg-type]
    return run.add(TableAccess(made, None if rows is None else tuple(rows), handle.about["schema"], where))


def columns_of(mapper: Any, key: str) -> list[Any]:
    """The columns of an attribute, none for a relation."""
    found = mapper.attrs.get(key)
    return list(getattr(found, "columns", ()))


def relation_of(mapper: Any, key: str) -> RelationshipProperty[Any] | None:
    found = mapper.attrs.get(key)
    return found if isinstance(found, RelationshipProperty) else None


def get(run: Run, value: Handle, name: str, where: str) -> Value | None:
    """An attribute of a mapped object; None for what only its class knows."""
    mapper = value.about["mapper"]
    if name in value.about.get("values", {}):
        return value.about["values"][name]  # type: ignore[no-any-return]
    columns = columns_of(mapper, name)
    if columns:
        if value.kind == "new":
            return Data(f"{name} by default")
        return column_value(value, columns[0])
    relation = relation_of(mapper, name)
    if relation is not None:
        return load(run, value, relation, where)
    known = class_attribute(value.about["class"], name)
    if isinstance(known, property) and known.fget is not None:
        return run.call(Live(known.fget), [value], {}, where)
    if isinstance(known, types.FunctionType | classmethod | staticmethod):
        return bind(run, known, value, value.about["class"], where)
    inner = getattr(known, "fget", None)
    if inner is not None:  # a hybrid property
        return run.call(Live(inner), [value], {}, where)
    if name in ("__class__",):
        return Live(value.about["class"])
    if name in ("__dict__", "metadata", "registry") or known is None:
        if known is None and name not in ("__dict__",):
            return Data(f"{name} that is not mapped")
        escape(run, value, where)
        return Data()
    return Data(name)


def column_value(value: Handle, column: Any) -> Value:
    """The value of a column of a loaded object: known where the object was found by it."""
    access = value.about["access"]
    key = column.name.lower()
    if access is None:
        return Data(key)
    if access.rows is not None and len(access.rows) == 1 and key in access.rows[0]:
        found = either(access.rows[0][key])
        if found is not None and all(is_known(option) for option in options(found)) and spelled_alike(access, key):
            return found
    return Handle("cell", {"access": access, "column": key})


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
        touch(run, handle, table_name(relation.secondary), "read", "select", None, where)
    else:
        for local, remote in relation.local_remote_pairs or ():
            found = value.about["values"].get(_key(value, local)) if value.kind == "new" else column_value(value, local)
            if found is not None:
                row[remote.name.lower()] = (found,)
    access = touch(run, handle, table_name(target.local_table), "read", "select", [row] if row else None, where)
    inside = entity(run, handle, target.class_, [access], where)
    if not relation.uselist:
        return either([inside, Const(None)]) or inside
    return Handle("collection", {"of": value, "relation": relation, "element": inside, "session": handle})


def _key(value: Handle, column: Any) -> str:
    return str(value.about["mapper"].get_property_by_column(column).key)


def set_attribute(run: Run, value: Handle, name: str, new: Value, where: str) -> None:
    """``object.name = new``: written at the next flush."""
    if value.kind == "new":
        values = value.about["values"]
        values[name] = either([values[name], new]) if name in values else new
        relation = relation_of(value.about["mapper"], name)
        if relation is not None:
            _hang(run, value, relation, new, where)
        if value.about.get("session") is not None:
            insert(run, value.about["session"], value, where)
        return
    handle, mapper, access = value.about["session"], value.about["mapper"], value.about["access"]
    if mapper_listens(mapper):
        run.widen(f"a listener of {mapper.class_.__name__} is not followed", where, "do its work in the handler")
    rows = None if access is None or access.rows is None else list(access.rows)
    columns = columns_of(mapper, name)
    if columns:
        changed(run, handle, columns[0].table, rows, frozenset(column.name.lower() for column in columns), new, where)
        return
    relation = relation_of(mapper, name)
    if relation is not None:
        rewire(run, value, relation, new, where)
        return
    known = class_attribute(value.about["class"], name)
    if isinstance(known, property) and known.fset is not None:
        run.call(Live(known.fset), [value, new], {}, where)


def changed(run: Run, handle: Handle, table: Any, rows: list[Row] | None, columns: frozenset[str], new: Value | None,
            where: str) -> None:  # fmt: skip
    """Columns of rows are set: the rows are written, whoever has the new value collides, a parent is read."""
    name = table_name(table)
    touch(run, handle, name, "write", "update", rows, where, columns)
    known: Table | None = handle.about["schema"].table(name)
    for unique in known.uniques if known is not None else ():
        if columns & set(unique):
            taken: list[Row] | None = [{unique[0]: (new,)}] if len(unique) == 1 and new is not None else None
            touch(run, handle, name, "write", "unique", taken, where)
    for key in known.foreign_keys if known is not None else ():
        if columns & set(key.columns):
            met: list[Row] | None = [{key.parents[0]: (new,)}] if len(key.parents) == 1 and new is not None else None
            touch(run, handle, key.table, "read", "parent", met, where)


def rewire(run: Run, value: Handle, relation: RelationshipProperty[Any], new: Value | None, where: str) -> None:
    """What stands at the other end of a relation is changed: the foreign keys that make it are written."""
    handle = value.about.get("session")
    if handle is None:
        if new is not None and value.kind == "new":
            _put(value, relation.key, new)
        return
    learn(handle, metadata_of(relation.mapper.class_))
    if relation.secondary is not None:
        touch(run, handle, table_name(relation.secondary), "write", "update", None, where)
    elif relation.direction.name == "MANYTOONE":
        access = value.about["access"]
        rows = None if access is None or access.rows is None else list(access.rows)
        columns = frozenset(local.name.lower() for local, _ in relation.local_remote_pairs or ())
        changed(run, handle, value.about["mapper"].local_table, rows, columns, None, where)
    else:
        target = table_name(relation.mapper.local_table)
        row: Row = {}
        for local, remote in relation.local_remote_pairs or ():
            if value.kind == "entity":
                row[remote.name.lower()] = (column_value(value, local),)
        touch(run, handle, target, "write", "update", [row] if row else None, where)
    for option in _inside(run, new, where):
        if isinstance(option, Handle) and option.kind == "new":
            _wire(option, value, relation)
            insert(run, handle, option, where)
        elif isinstance(option, Handle) and option.kind == "entity" and relation.direction.name == "ONETOMANY":
            access = option.about["access"]
            rows = None if access is None or access.rows is None else list(access.rows)
            columns = frozenset(remote.name.lower() for _, remote in relation.local_remote_pairs or ())
            changed(run, handle, option.about["mapper"].local_table, rows, columns, None, where)


def _put(value: Handle, key: str, new: Value) -> None:
    """A new object gets one more at the other end of a relation; it is written when the first one is."""
    known = value.about["values"].get(key)
    inside = [known.any() if isinstance(known, Items) else known, new.any() if isinstance(new, Items) else new]
    value.about["values"][key] = Items("list", None, either([one for one in inside if one is not None]))


def _hang(run: Run, value: Handle, relation: RelationshipProperty[Any], new: Value, where: str) -> None:
    """A new object hangs on another one: it goes where that one goes, by the relation the other way round."""
    for option in _inside(run, new, where):
        if not isinstance(option, Handle) or option.kind not in ("new", "entity"):
            continue
        for back in relation._reverse_property:
            if option.kind == "new" and option.about.get("session") is None:
                if value not in _held(option, back.key):
                    _put(option, back.key, value)
            elif back.cascade.save_update:
                insert(run, option.about["session"], value, where)


def _held(value: Handle, key: str) -> list[Value]:
    known = value.about["values"].get(key)
    inside = known.any() if isinstance(known, Items) else known
    return [] if inside is None else list(options(inside))


def _inside(run: Run, new: Value | None, where: str) -> list[Value]:
    if new is None:
        return []
    found: list[Value] = []
    for option in options(new):
        if isinstance(option, Items | Entries):
            inner = element(run, option, where)
            found += options(inner) if inner is not None else ()
        else:
            found.append(option)
    return found


def _wire(child: Handle, parent: Handle, relation: RelationshipProperty[Any]) -> None:
    """A new child gets the parent's key as its foreign key."""
    if relation.direction.name != "ONETOMANY" or relation.secondary is not None:
        return
    for local, remote in relation.local_remote_pairs or ():
        key = child.about["mapper"].get_property_by_column(remote).key
        if parent.kind == "entity":
            child.about["values"].setdefault(key, column_value(parent, local))
        else:
            known = parent.about["values"].get(_key(parent, local))
            if known is not None:
                child.about["values"].setdefault(key, known)


def insert(run: Run, handle: Handle, value: Handle, where: str) -> None:
    """A new object is written at the next flush, and new ones that hang on it."""
    value.about["session"] = handle
    if value.about.get("inserting"):
        return
    value.about["inserting"] = True
    mapper = value.about["mapper"]
    learn(handle, metadata_of(mapper.class_))
    if mapper_listens(mapper):
        run.widen(f"a listener of {mapper.class_.__name__} is not followed", where, "do its work in the handler")
    values: dict[str, Value] = value.about["values"]
    for table in mapper.tables:
        row: Row = {}
        for column in table.columns:
            try:
                key = mapper.get_property_by_column(column).key
            except sa.orm.exc.UnmappedColumnError:
                continue
            if key in values:
                row[column.name.lower()] = (values[key],)
        _parents(run, value, mapper, row, where)
        name = table_name(table)
        touch(run, handle, name, "write", "insert", [row] if row else [{}], where)
        known: Table | None = handle.about["schema"].table(name)
        for unique in known.uniques if known is not None else ():
            columns = [known.columns.get(one) for one in unique] if known is not None else []
            if any(column is not None and column.generated and column.name not in row for column in columns):
                continue
            if all(one in row for one in unique):
                touch(run, handle, name, "write", "unique", [{one: row[one] for one in unique}], where)
        for key in known.foreign_keys if known is not None else ():
            given = {parent: row[own] for own, parent in zip(key.columns, key.parents, strict=False) if own in row}
            touch(run, handle, key.table, "read", "parent", [given] if given else None, where)
    for relation in mapper.relationships:
        if relation.key in values:
            for option in _inside(run, values[relation.key], where):
                if isinstance(option, Handle) and option.kind == "new":
                    _wire(option, value, relation)
                    insert(run, handle, option, where)
                elif isinstance(option, Handle) and option.kind == "entity" and relation.uselist:
                    touch(run, handle, table_name(relation.mapper.local_table), "write", "update", None, where)
    value.about["inserting"] = False


def _parents(run: Run, value: Handle, mapper: Any, row: Row, where: str) -> None:
    """Foreign keys that come from an object at the other end of a relation."""
    for relation in mapper.relationships:
        given = value.about["values"].get(relation.key)
        if given is None or relation.direction.name != "MANYTOONE":
            continue
        for option in options(given):
            for local, remote in relation.local_remote_pairs or ():
                if isinstance(option, Handle) and option.kind == "entity":
                    row.setdefault(local.name.lower(), (column_value(option, remote),))
                elif isinstance(option, Handle) and option.kind == "new":
                    key = option.about["mapper"].get_property_by_column(remote).key
                    row.setdefault(local.name.lower(), (option.about["values"].get(key, Data()),))


def delete(run: Run, handle: Handle, value: Handle, where: str) -> None:
    """An object is deleted at the next flush, with what its relations and the database drag along."""
    if value.kind != "entity":
        return
    mapper, access = value.about["mapper"], value.about["access"]
    if mapper_listens(mapper):
        run.widen(f"a listener of {mapper.class_.__name__} is not followed", where, "do its work in the handler")
    rows = None if access is None or access.rows is None else list(access.rows)
    for table in mapper.tables:
        touch(run, handle, table_name(table), "write", "delete", rows, where)
        for dragged in delete_touches(table_name(table), handle.about["schema"], None):
            if dragged.kind == "child":
                touch(run, handle, dragged.table, dragged.mode, "child", None, where)
    for relation in mapper.relationships:
        if relation.secondary is not None:
            touch(run, handle, table_name(relation.secondary), "write", "delete", None, where)
        elif relation.direction.name == "ONETOMANY" and not relation.viewonly:
            learn(handle, metadata_of(relation.mapper.class_))
            row: Row = {
                remote.name.lower(): (column_value(value, local),)
                for local, remote in relation.local_remote_pairs or ()
            }
            access = touch(run, handle, table_name(relation.mapper.local_table), "write", "delete", [row], where)
            if relation.cascade.delete:
                inner = Handle("entity", {"class": relation.mapper.class_, "mapper": relation.mapper, "access": access,
                                          "session": handle})  # fmt: skip
                if (relation.mapper, "deleting") not in run.kept:
                    run.kept[relation.mapper, "deleting"] = True
                    delete(run, handle, inner, where)
                    del run.kept[relation.mapper, "deleting"]


def escape(run: Run, value: Handle, where: str) -> None:
    """The object went to where it is read as a whole: every table that its relations lead to may be read."""
    handle = value.about.get("session")
    if handle is None:
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


def new_object(run: Run, cls: type, named: dict[str, Value], arguments: Any, where: str) -> Value:
    """An object of a mapped class, its own constructor followed if it has one."""
    mapper: Any = sa.inspect(cls)
    key = ("new", cls, where, tuple(map(id, run.active[-1:])))
    made: Handle = run.kept.setdefault(key, Handle("new", {"class": cls, "mapper": mapper, "values": {}}))
    constructor = class_attribute(cls, "__init__")
    original = getattr(constructor, "__wrapped__", None) or getattr(mapper.class_manager, "original_init", None)
    if (
        isinstance(original, types.FunctionType)
        and original.__module__
        and not original.__module__.startswith("sqlalchemy")
    ):
        run.call(Live(original), [made, *arguments], named, where)
        return made
    fields = list(getattr(cls, "__match_args__", ())) if arguments else []
    for name, given in (*zip(fields, arguments, strict=False), *named.items()):
        set_attribute(run, made, str(name), given, where)
    return made
