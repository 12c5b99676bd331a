"""Mapped objects: what reading an attribute loads, and what setting one, adding and deleting writes."""

from __future__ import annotations

import functools
import types
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.orm.base import InspectionAttr

from commute.derive.plugins.rawsql import set_in
from commute.derive.python.attributes import bind, class_attribute, has_method
from commute.derive.python.expressions import element
from commute.derive.run import Run, TableAccess
from commute.derive.sqlalchemy.listeners import DELETED, INSERTED, UPDATED, heard, is_heard
from commute.derive.sqlalchemy.loading import at_once, escape, joined, key_in, linked, load, value_of, within
from commute.derive.sqlalchemy.schema import name as table_name
from commute.derive.sqlalchemy.session import attribute_listens, entity, learn, metadata_of
from commute.derive.sqlalchemy.shapes import (
    Row,
    column_value,
    columns_of,
    default_of,
    is_wide,
    meant,
    proxy,
    read_of,
    relation_of,
    rows_in,
    subclasses,
    touch,
    validated,
)
from commute.derive.sqlalchemy.telling import told
from commute.derive.values import Data, Entries, Handle, Items, Live, Own, Value, either, options
from commute.sql.change import delete as delete_touches
from commute.sql.schema import Table

__all__ = ["Row", "columns_of", "entity", "is_wide", "table_name", "touch"]


def get(run: Run, value: Handle, name: str, where: str) -> Value | None:
    """An attribute of a mapped object; None for what only its class knows."""
    mapper = value.about["mapper"]
    if name == "awaitable_attrs":
        return value
    name = meant(mapper, name)
    more = subclasses(run, value, name, where)
    if more:
        own = [value] if class_attribute(value.about["class"], name) is not None else []
        return either([found for one in (*own, *more) if (found := _get(run, one, name, where)) is not None])
    return _get(run, value, name, where)


def _get(run: Run, value: Handle, name: str, where: str) -> Value | None:
    mapper = value.about["mapper"]
    if value.kind == "new" and value.about.get("session") is not None and value.about["session"].about.get("expired"):
        at_once(run, value, where)  # it is loaded again when it is looked at
    if name in value.about.get("values", {}):
        return value.about["values"][name]  # type: ignore[no-any-return]
    columns = columns_of(mapper, name)
    if columns:
        if not isinstance(columns[0], sa.Column):
            if not value.about.get("whole") or getattr(mapper.attrs.get(name), "deferred", False):
                read_of(run, value.about.get("session"), columns[0], where)
            return Data(name)
        if value.kind == "new":
            made = value_of(value, columns[0]) if columns[0].primary_key else None
            return made if isinstance(made, Own) else Data(f"{name} by default")
        from commute.derive.sqlalchemy.values import watched

        known = column_value(value, columns[0])
        return Handle("watched", {"of": value, "name": name}) if watched(mapper, name) else known
    relation = relation_of(mapper, name)
    if relation is not None:
        return load(run, value, relation, where)
    known = class_attribute(value.about["class"], name)
    loose = _loose(run, mapper).get(name)
    if loose is not None and not isinstance(known, property):
        return loose
    if isinstance(known, property) and known.fget is not None:
        return run.call(Live(known.fget), [value], {}, where)
    if isinstance(known, types.FunctionType | classmethod | staticmethod):
        return bind(run, known, value, value.about["class"], where)
    inner = getattr(known, "fget", None)
    if inner is not None:  # a hybrid property
        return run.call(Live(inner), [value], {}, where)
    through = proxy(value.about["class"], name)
    if through is not None:
        return _through(run, value, through, where)
    if isinstance(known, sa.Table):
        return Handle("sa", {"real": known})
    if name in ("__class__",):
        return Live(value.about["class"])
    if name in ("__dict__", "metadata", "registry") or known is None:
        if known is None and name not in ("__dict__",):
            return Data(f"{name} that is not mapped")
        escape(run, value, where)
        return Data()
    if isinstance(known, InspectionAttr):
        return Data(name)
    return _of_class(run, value, name, known, where)


def _of_class(run: Run, value: Handle, name: str, known: Any, where: str) -> Value:
    """What the class has under a name, and is nothing of the mapper's: a session, a query, whatever else."""
    if isinstance(known, functools.cached_property):
        return run.call(Live(known.func), [value], {}, where)
    if has_method(type(known), "__get__") is not None:
        from commute.derive.sqlalchemy.reflection import query_property

        cls = Live(value.about["class"])
        return query_property(run, cls, name, where) or bind(run, known, value, value.about["class"], where)
    return run.get(Live(value.about["class"]), name, where)


def above(run: Run, value: Handle, owner: type, name: str, where: str) -> Value | None:
    """``super().name`` in a method of a mapped class; None where only SQLAlchemy or Python has it."""
    mro = list(value.about["class"].__mro__)
    for base in mro[mro.index(owner) + 1 :] if owner in mro else ():
        known = base.__dict__.get(name)
        if isinstance(known, types.FunctionType) and not base.__module__.startswith("sqlalchemy"):
            return bind(run, known, value, value.about["class"], where)
        if known is not None:
            return None
    return None


def _loose(run: Run, mapper: Any) -> dict[str, Value]:
    """Attributes that are not mapped, of all objects of the class: which of them are one object, a session decides."""
    found: dict[str, Value] = run.kept.setdefault(("sqlalchemy loose", mapper.base_mapper), {})
    return found


def _set_loose(run: Run, value: Handle, name: str, new: Value) -> None:
    known = _loose(run, value.about["mapper"])
    known[name] = either([known.get(name, new), new]) or new


def _through(run: Run, value: Handle, through: Any, where: str) -> Value | None:
    """An association proxy: an attribute of the objects at the other end of a relation."""
    relation = relation_of(value.about["mapper"], through.target_collection)
    inside = None if relation is None else load(run, value, relation, where)
    if relation is None or not relation.uselist or not isinstance(inside, Handle):
        return run.widen(f"the association proxy of {through.target_collection} is not followed", where)
    element_ = inside.about["element"]
    found = run.get(element_, through.value_attr, where) if isinstance(element_, Handle) else Data()
    return Handle("collection", {**inside.about, "element": found, "creator": through.parent.creator})


def by_proxy(run: Run, collection: Handle, new: Value, where: str) -> Value:
    """The object that is made for a value which is put into an association proxy."""
    inside = (element(run, new, where) or Data()) if isinstance(new, Items) else new
    creator = collection.about["creator"]
    if creator is not None:
        return run.call(Live(creator), [inside], {}, where)
    from commute.derive.sqlalchemy.making import new_object

    return new_object(run, collection.about["relation"].mapper.class_, {}, [inside], where)


def set_attribute(run: Run, value: Handle, name: str, new: Value, where: str) -> None:
    """``object.name = new``: written at the next flush."""
    name = meant(value.about["mapper"], name)
    setter = getattr(class_attribute(value.about["class"], name), "fset", None)
    if setter is not None and name not in value.about["mapper"].attrs:
        run.call(Live(setter), [value, new], {}, where)
        return
    if name not in value.about["mapper"].attrs and proxy(value.about["class"], name) is None:
        _set_loose(run, value, name, new)
    for one in subclasses(run, value, name, where):
        set_attribute(run, one, name, new, where)
    new = validated(run, value, name, new, where)
    for part in options(new):
        _read_by(run, value, name, part, where)
    if attribute_listens(value.about["mapper"], name):
        run.widen(f"a listener of {value.about['class'].__name__} is not followed", where, "do its work in the handler")
    if value.kind == "new":
        values = value.about["values"]
        values[name] = either([values[name], new]) if name in values else new
        relation = relation_of(value.about["mapper"], name)
        if relation is not None:
            _hang(run, value, relation, new, where)
        if value.about.get("session") is not None:
            insert(run, value.about["session"], value, where)
            heard(run, value.about["session"], value, UPDATED, where)
        return
    handle, mapper = value.about["session"], value.about["mapper"]
    columns = columns_of(mapper, name)
    if name in mapper.attrs:
        heard(run, handle, value, UPDATED, where)
    if columns:
        for column in columns:
            _note_set(value, column, new)
        rows = rows_in(value, columns[0].table)
        changed(run, handle, columns[0].table, rows, frozenset(column.name.lower() for column in columns), new, where)
        version = mapper.version_id_col
        if version is not None and version.table is not columns[0].table:  # it counts the changes of all its tables
            found = rows_in(value, version.table)
            changed(run, handle, version.table, found, frozenset((version.name.lower(),)), None, where)
        return
    relation = relation_of(mapper, name)
    if relation is not None:
        rewire(run, value, relation, new, where)
        return
    if proxy(value.about["class"], name) is not None:
        run.widen(f"{name}, which stands for attributes of other objects, is set", where)


def _read_by(run: Run, value: Handle, name: str, new: Value, where: str) -> None:
    """What an expression of SQL reads that an attribute is set to."""
    handle = value.about.get("session")
    if not isinstance(new, Handle) or new.kind != "sa":
        return
    if handle is None:
        run.widen(f"{name} is set to an expression of SQL before the object is added", where)
    else:
        learn(handle, metadata_of(new.about["real"]))
        read_of(run, handle, new.about["real"], where)


def _note_set(value: Handle, column: Any, new: Value) -> None:
    known = value.about.setdefault("set", {})
    key = column.name.lower()
    known[key] = either([known[key], new]) if key in known else new


def changed(run: Run, handle: Handle, table: Any, rows: list[Row] | None, columns: frozenset[str], new: Value | None,
            where: str) -> None:  # fmt: skip
    """Columns of rows are set: the rows are written, whoever has the new value collides, a parent is read."""
    name = table_name(table)
    set_in(handle, name, columns)
    touch(run, handle, name, "write", "update", rows, where, columns)
    for column in table.columns:
        if column.name.lower() not in columns and column.onupdate is not None:
            default_of(run, handle, column, where, column.onupdate)
    known: Table | None = handle.about["schema"].table(name)
    for unique in known.uniques if known is not None else ():
        if columns & set(unique):
            told = {one: new if new is not None and one in columns else Data(one) for one in unique}
            touch(run, handle, name, "write", "unique", [{one: (value,) for one, value in told.items()}], where)
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
    heard(run, handle, value, UPDATED, where)
    if relation.uselist and value.kind == "entity" and relation.lazy not in ("dynamic", "write_only", "noload"):
        within(run, value, relation, where)  # who was there until now
    if relation.secondary is not None:
        touch(run, handle, table_name(relation.secondary), "write", "update", linked(value, relation), where)
    elif relation.direction.name == "MANYTOONE":
        access = value.about["access"]
        rows = None if access is None or access.rows is None else list(access.rows)
        columns = frozenset(local.name.lower() for local, _ in relation.local_remote_pairs or ())
        if relation._reverse_property and is_heard(relation.mapper, UPDATED):  # the one that it belonged to until now
            _others_hear(run, load(run, value, relation, where), where)
        for local, _ in relation.local_remote_pairs or () if value.kind == "entity" else ():
            _note_set(value, local, Data("of another object"))
        changed(run, handle, value.about["mapper"].local_table, rows, columns, None, where)
    else:
        target = table_name(relation.mapper.local_table)
        row: Row = {}
        for local, remote in joined(relation):
            if value.kind == "entity":
                row[remote.name.lower()] = (column_value(value, local),)
        orphans = touch(run, handle, target, "write", "update", [row] if row else None, where)
        if relation.cascade.delete_orphan:
            _drag(run, handle, relation, orphans, where)
    if new is not None:
        _others_hear(run, new, where)
    for option in _inside(run, new, where):
        if isinstance(option, Handle) and option.kind == "new":
            _wire(option, value, relation)
            insert(run, handle, option, where)
        elif isinstance(option, Handle) and option.kind == "entity" and relation.direction.name == "ONETOMANY":
            access = option.about["access"]
            rows = None if access is None or access.rows is None else list(access.rows)
            columns = frozenset(remote.name.lower() for _, remote in relation.local_remote_pairs or ())
            changed(run, handle, option.about["mapper"].local_table, rows, columns, None, where)


def _others_hear(run: Run, given: Value, where: str) -> None:
    """An object at the other end of a relation that is changed has changed too."""
    for option in _inside(run, given, where):
        if isinstance(option, Handle) and option.kind == "entity":
            heard(run, option.about["session"], option, UPDATED, where)


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
            if option.kind == "entity":
                heard(run, option.about["session"], option, UPDATED, where)
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
        elif isinstance(option, Handle) and option.kind == "collection":
            found += options(option.about["element"])
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
            known = parent.about["values"].get(key_in(parent, local))
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
    heard(run, handle, value, INSERTED, where)
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
        _defaults(run, handle, table, row, where)
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
            if given or not key.parents:
                touch(run, handle, key.table, "read", "parent", [given] if given else None, where)
    for relation in mapper.relationships:
        if relation.key in values:
            if relation.secondary is not None:
                touch(run, handle, table_name(relation.secondary), "write", "insert", linked(value, relation), where)
            for option in _inside(run, values[relation.key], where):
                if isinstance(option, Handle) and option.kind == "new":
                    _wire(option, value, relation)
                    insert(run, handle, option, where)
                elif isinstance(option, Handle) and option.kind == "entity" and relation.direction.name == "ONETOMANY":
                    touch(run, handle, table_name(relation.mapper.local_table), "write", "update", None, where)
    value.about["inserting"] = False


def reloaded(run: Run, handle: Handle, value: Handle, where: str) -> None:
    """The row of a new object is read again, and what is loaded with it."""
    insert(run, handle, value, where)
    for table in value.about["mapper"].tables:
        keys: Row = {column.name.lower(): (value_of(value, column),) for column in table.primary_key}
        touch(run, handle, table_name(table), "read", "select", [keys] if keys else None, where)
    at_once(run, value, where)


def _defaults(run: Run, handle: Handle, table: Any, row: Row, where: str) -> None:
    """Columns that are not given, where they tell rows apart or name other rows."""
    known: Table | None = handle.about["schema"].table(table_name(table))
    asked = {column for one in (known.uniques if known is not None else ()) for column in one}
    asked |= {column for one in (known.foreign_keys if known is not None else ()) for column in one.columns}
    for column in table.columns:
        name = column.name.lower()
        if name not in row:
            found = default_of(run, handle, column, where)
            if found is not None and name in asked:
                row[name] = (found,)


def change_row(run: Run, handle: Handle, cls: type, values: dict[str, Value], where: str) -> None:
    """A row that is changed by its key without an object."""
    mapper: Any = sa.inspect(cls)
    learn(handle, metadata_of(cls))
    for table in mapper.tables:
        keys = {str(mapper.get_property_by_column(column).key): column.name.lower() for column in table.primary_key}
        row: Row = {name: (values[key],) for key, name in keys.items() if key in values}
        for key, new in values.items():
            columns = frozenset(one.name.lower() for one in columns_of(mapper, key) if one.table is table)
            if columns and key not in keys:
                changed(run, handle, table, [row] if row else None, columns, new, where)


def _drag(run: Run, handle: Handle, relation: RelationshipProperty[Any], access: TableAccess, where: str) -> None:
    """Objects at the other end of a relation are deleted too."""
    target: Any = relation.mapper
    inner = Handle("entity", {"class": target.class_, "mapper": target, "access": access, "session": handle})
    if (target, "deleting") not in run.kept:
        run.kept[target, "deleting"] = True
        delete(run, handle, inner, where)
        del run.kept[target, "deleting"]
    else:  # and so on: any of them
        heard(run, handle, Handle("entity", {**inner.about, "access": None}), DELETED, where)


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
    if value.kind != "entity":  # of this run: its row was written, and nobody else has it
        told(run, handle, value, DELETED, where)
        return
    mapper = value.about["mapper"]
    heard(run, handle, value, DELETED, where)
    for table in {one for sub in mapper.self_and_descendants for one in sub.tables}:
        touch(run, handle, table_name(table), "write", "delete", rows_in(value, table), where)
        for dragged in delete_touches(table_name(table), handle.about["schema"], None):
            if dragged.kind == "child":
                touch(run, handle, dragged.table, dragged.mode, "child", None, where)
    for relation in mapper.relationships:
        many = relation.secondary is not None or relation.direction.name == "ONETOMANY"
        if many and not (relation.viewonly or relation.passive_deletes):  # the flush looks at all who are at its end
            within(run, value, relation, where)
        if relation.secondary is not None:
            touch(run, handle, table_name(relation.secondary), "write", "delete", linked(value, relation), where)
        elif relation.direction.name == "ONETOMANY" and not relation.viewonly:
            learn(handle, metadata_of(relation.mapper.class_))
            row: Row = {remote.name.lower(): (column_value(value, local),) for local, remote in joined(relation)}
            access = touch(run, handle, table_name(relation.mapper.local_table), "write", "delete", [row], where)
            if relation.cascade.delete:
                _drag(run, handle, relation, access, where)
        elif relation.direction.name == "MANYTOONE" and relation.cascade.delete:
            access = touch(run, handle, table_name(relation.mapper.local_table), "write", "delete", None, where)
            _drag(run, handle, relation, access, where)
