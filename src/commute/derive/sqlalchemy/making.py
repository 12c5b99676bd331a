"""Objects of mapped classes that are made by the application: by their own constructors, or by names."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import sqlalchemy as sa

from commute.derive.models.fields import field_default
from commute.derive.python.attributes import class_attribute
from commute.derive.python.library import entries_of
from commute.derive.run import Run
from commute.derive.source import source_of
from commute.derive.sqlalchemy.listeners import made as listened_made
from commute.derive.sqlalchemy.objects import set_attribute
from commute.derive.values import Const, Entries, Handle, Live, Unknown, Value, is_plain


def new_row(cls: type, values: dict[str, Value]) -> Handle:
    """A row that is inserted without an object."""
    return Handle("new", {"class": cls, "mapper": sa.inspect(cls), "values": values})


def new_object(run: Run, cls: type, named: dict[str, Value], arguments: Any, where: str) -> Value:
    """An object of a mapped class, its own constructor followed if it has one."""
    mapper: Any = sa.inspect(cls)
    key = ("new", cls, where, tuple(map(id, run.active[-1:])))
    made: Handle = run.kept.setdefault(key, Handle("new", {"class": cls, "mapper": mapper, "values": {}}))
    listened_made(run, made, where)
    constructor = class_attribute(cls, "__init__")
    original = getattr(constructor, "__wrapped__", None) or getattr(mapper.class_manager, "original_init", None)
    if (
        isinstance(original, types.FunctionType)
        and original.__module__
        and not original.__module__.startswith(("sqlalchemy", "sqlmodel"))
        and not (dataclasses.is_dataclass(cls) and source_of(original.__code__) is None)
    ):
        run.call(Live(original), [made, *arguments], named, where)
        return made
    if dataclasses.is_dataclass(cls):  # its constructor was written from its fields
        fields = [field.name for field in dataclasses.fields(cls) if field.init]
        named = {**_by_default(run, cls, fields[len(arguments) :], where), **named}
    elif hasattr(cls, "__sqlmodel_relationships__") and hasattr(cls, "model_fields"):
        fields = []
        known = _by_default(run, cls, [] if "**" in named else list(cls.model_fields), where)
        named = {**{name: one for name, one in known.items() if one != Const(None)}, **named}
    else:
        fields = list(getattr(cls, "__match_args__", ())) if arguments else []
    given = {**dict(zip(fields, arguments, strict=False)), **{key: one for key, one in named.items() if key != "**"}}
    for name, one in given.items():
        set_attribute(run, made, str(name), one, where)
    if "**" in named:
        _spread(run, made, entries_of(run, named["**"], where), frozenset(map(str, given)), where)
    return made


def _by_default(run: Run, cls: type, fields: list[str], where: str) -> dict[str, Value]:
    """What the fields of a dataclass are where nothing is given for them; SQLAlchemy's own defaults are no values."""
    found = {name: field_default(run, cls, name, where) for name in fields}
    return {
        name: value
        for name, value in found.items()
        if not isinstance(value, Unknown | Live) and not (isinstance(value, Const) and not _plain(value.value))
    }


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bytes)


def _spread(run: Run, made: Handle, given: Entries, but: frozenset[str], where: str) -> None:
    """Attributes by names of a dict: those that are known, and any other one where there are names that are not."""
    for name, one in given.known.items():
        set_attribute(run, made, str(name), one, where)
    if given.other is None:
        return
    if not is_plain(given.other):
        run.widen(f"attributes of {made.about['class'].__name__} are given by names that are not known", where)
    for attribute in made.about["mapper"].column_attrs:
        if attribute.key not in but:
            set_attribute(run, made, attribute.key, given.other, where)
