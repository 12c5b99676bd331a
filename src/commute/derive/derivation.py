"""What was derived for one handler and event type, and how it becomes a footprint.

A key whose values are plain fields becomes a template, so that types can be compared; one with a conversion is computed
for each event, normalised as its column compares. Where a value cannot be told, the key ends before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID

from commute.core.footprint import Access
from commute.derive.evaluation import NoValueError, evaluate
from commute.derive.redis import keys as redis_keys
from commute.derive.routing import FREED, NEW, TableKey
from commute.derive.run import Everything, KeyAccess, TableAccess
from commute.derive.texts import lead
from commute.derive.values import (
    Begun,
    Computed,
    Const,
    Field,
    Own,
    Value,
    is_known,
    shown,
    together,
)
from commute.errors import CommuteError, RejectedError
from commute.footprints.computed import Computed as ComputedKeys
from commute.footprints.declared import Declared, Given, compile_footprint, joined_accesses
from commute.footprints.segment import segment, text_segment
from commute.footprints.template import ACCESSES_MAX, Site, Template, check
from commute.footprints.template import Field as TemplateField
from commute.sql.compare import normal
from commute.sql.schema import Column

_SAME = {int: ("int", "numeric"), str: ("text",), UUID: ("uuid", "text"), date: ("date",)}


@dataclass(frozen=True, slots=True)
class Part:
    """One segment of a key after the first: a value, and the column whose values it tells apart (None: no table).

    `families`: of a key of Redis, which may be several segments; `family` is the one before it, which it begins with.
    `begins`: of all that begin so. `unique`: of a value that one row alone may have; no value is nobody's.
    """

    value: Value
    column: Column | None
    of_table: bool = True
    families: tuple[str, ...] | None = None
    family: bool = False
    begins: bool = False
    unique: bool = False

    def text(self, value: object) -> str | None:
        """The segment of one value, None where none is known."""
        if self.of_table:
            return NEW if value == NEW else normal(value, self.column)  # however its column compares
        try:
            value = value.decode() if isinstance(value, bytes) else value  # the same key for Redis
            if self.families is not None and isinstance(value, str):
                return "/".join(redis_keys.spelled(value, self.families, begins=self.begins)[self.family :])
            return segment(value) if value is not None and not isinstance(value, float) else None
        except (RejectedError, UnicodeDecodeError):  # it is no part of a key
            return None


@dataclass(frozen=True, slots=True)
class Key:
    """A derived access: mode, name, what follows; where in the code, and why it is no narrower."""

    mode: str
    name: tuple[str, ...]
    parts: tuple[Part, ...]
    where: str
    widened: str = ""  # why it is the whole table
    remedy: str = ""

    def __str__(self) -> str:
        return "/".join([*self.name, *(_plain(part.value) + "*" * part.begins for part in self.parts)])


@dataclass(frozen=True, slots=True)
class Derivation:
    """The keys of a handler for one event type; `everything`: what could not be followed, then the keys do not
    count."""

    keys: tuple[Key, ...] = ()
    everything: tuple[Everything, ...] = ()
    fingerprint: str = ""

    def accesses(self, event: object) -> list[Access]:
        """The accesses of all keys for one event, each key ending where a value is not known or too long."""
        return [access for key in self.keys for access in spelled(key, event)]


def _plain(value: Value) -> str:
    return str(value.value) if isinstance(value, Const) else shown(value)


def _folded(value: Value) -> Value:
    """A conversion of a constant as what it gives."""
    if isinstance(value, Computed) and all(isinstance(part, Const) for part in value.parts):
        try:
            return Const(next(evaluate(value, None)))
        except NoValueError:
            return value
    return value


def key_of(found: TableKey) -> Key:
    """The key of a table access."""
    route = found.route
    table = found.access.schema.table(route.table if route.parent is None else route.parent.table)
    parts = []
    certain = found.values[: together(found.values)]
    for column, value in zip(found.route.columns, certain, strict=False):
        parts.append(Part(_folded(value), route.column(column, table), unique=route.unique))
    touch = found.access.touch
    why = remedy = ""
    if not found.narrow and route.unique:
        why = "the value that it makes free is not known" if touch.kind == FREED else "the value is not known before"
    elif not found.narrow and touch.kind != "resource":
        by = ", ".join(sorted({column for row in touch.rows or () for column in row})) or "no column"
        by_what = ", ".join(found.route.columns) or "nothing"
        why = f"{touch.kind} of {touch.table} by {by}, whose rows are told apart by {by_what}"
        remedy = f"find the row by {by_what}" if found.route.columns else "find the row by a unique column"
    name = tuple(text_segment(part) for part in (route.parent or route).name.split("/"))
    if route.parent is not None and parts:
        parts.append(Part(Const(route.name), None, of_table=False))
    return Key(found.mode, name, tuple(parts), found.access.where, why, remedy)


def key_of_state(found: KeyAccess, families: Sequence[str] = ()) -> Key:
    """The key of something that is no table. Its first segments are constants. `families`: of keys of Redis."""
    name: list[str] = []
    rest = list(found.path)
    if families and len(rest) > 1 and rest[0] == Const("redis"):
        return _key_of_redis(found, tuple(families))
    while rest and isinstance(rest[0], Const):
        text = rest.pop(0)
        name.append(segment(text.value) if isinstance(text, Const) and text.value is not None else "%")
    parts = []
    for value in rest:
        if not is_known(value):
            break
        parts.append(Part(value, None, of_table=False))
    parts = parts[: together([part.value for part in parts])]
    return Key(
        found.mode, tuple(name), tuple(parts), found.where, "" if len(parts) == len(rest) else "its key is not known"
    )


def lead_of(access: KeyAccess) -> str:
    """What a key of Redis whose end is not known begins with; "" for any other access."""
    if access.path[:1] != (Const("redis"),) or len(access.path) < 2:
        return ""
    value = access.path[1]
    return lead(value.start) if isinstance(value, Begun | Own) and value.start is not None else ""


def _key_of_redis(found: KeyAccess, families: tuple[str, ...]) -> Key:
    """The key of a text under its family, and of a field of a hash behind it."""
    value, *fields = found.path[1:]
    begins = isinstance(value, Begun | Own) and value.start is not None
    text = _folded(value.start if isinstance(value, Begun | Own) and value.start is not None else value)
    first = lead(text)
    family = redis_keys.family_of(first, families)
    name = ("redis",) if family is None else ("redis", text_segment(family))
    if not is_known(text) or (begins and family is None):
        return Key(found.mode, name, (), found.where, "its key is not known")
    parts = [Part(text, None, of_table=False, families=families, family=family is not None, begins=begins)]
    for field in () if begins else fields:
        if not is_known(field):
            break
        parts.append(Part(field, None, of_table=False))
    alike = together([part.value for part in parts])
    why = "" if not begins and alike == len(parts) == 1 + len(fields) else "its key is not known"
    if begins and isinstance(text, Const) and text.value == family:
        return Key(found.mode, name, (), found.where, "the end of its key is not known")
    return Key(
        found.mode, name, tuple(parts[:alike]), found.where, "the end of its key is not known" if begins else why
    )


def footprint(derivation: Derivation, *, cls: type | None, event_type: str, handler: str, where: str) -> Declared:
    """The derived keys as a declaration."""
    if derivation.everything:
        declared = compile_footprint(Given(), cls=cls, event_type=event_type, handler=handler, where=where)
        return replace(declared, derivation=derivation)
    site = Site(handler, "derived", where)
    templates, places, computed = [], [], []
    for key in distinct(derivation.keys):
        template = as_template(key)
        try:
            found = None if template is None else check(template, cls, site)
        except CommuteError:
            found = None
        if template is not None and found is not None and all(one.steps is not None for one in found):
            templates.append((key.mode, template))
            places.append(found)
        else:
            computed.append(key)
    base = compile_footprint(Given(writes=()), cls=cls, event_type=event_type, handler=handler, where=where)
    functions = (_computed_keys(computed),) if computed else ()
    coarse = joined_accesses(("/".join(key.name), _coarse(key.mode)) for key in derivation.keys)
    return replace(
        base, templates=tuple(templates), places=tuple(places), computed=functions, derivation=derivation, coarse=coarse
    ).limited(ACCESSES_MAX)


def distinct(keys: Iterable[Key]) -> list[Key]:
    """Each access once, wherever in the code it comes from."""
    known: dict[tuple[str, str], Key] = {}
    for key in keys:
        known.setdefault((key.mode, f"{key}{[part.column for part in key.parts]}"), key)
    return list(known.values())


def as_template(key: Key) -> Template | None:
    """The key as a template, None where a value is converted, or compares otherwise than templates spell it."""
    segments: list[tuple[Any, ...]] = [(name,) for name in key.name]
    for part in key.parts:
        value = part.value
        if part.families is not None:
            return None
        if isinstance(value, Const):
            text = part.text(value.value)
            if text is None:
                return Template(tuple(segments))
            segments.append((text,))
        elif isinstance(value, Field) and value.path and _compares_as_spelled(value, part):
            segments.append((TemplateField(value.path),))
        else:
            return None
    return Template(tuple(segments))


def _compares_as_spelled(value: Field, part: Part) -> bool:
    if not part.of_table:
        return value.hint in (int, str, UUID)
    if part.column is None or part.column.kind == "other":
        return value.hint is int
    return part.column.kind in _SAME.get(value.hint, ()) and part.column.collation == "binary"


def _computed_keys(keys: Sequence[Key]) -> ComputedKeys:
    def accesses(event: object) -> list[Access]:
        return [access for key in keys for access in spelled(key, event)]

    modes = {key.mode for key in keys}
    names = ", ".join(str(key) for key in keys)
    within = tuple((_coarse(key.mode), Template(tuple((name,) for name in key.name))) for key in keys)
    return ComputedKeys(
        accesses,
        (modes.pop(),) if len(modes) == 1 else ("any",),
        "accesses",
        f"values are converted: {names}",
        whole=True,
        within=tuple(dict.fromkeys(within)),
    )


def spelled(key: Key, event: object) -> list[Access]:
    """The accesses of a key for one event: the values of its parts together, the key ending where one is not known."""
    if not key.parts:
        return [Access("/".join(key.name), _coarse(key.mode))]
    whole = Computed("key", lambda *values: values, tuple(part.value for part in key.parts))
    found: dict[str, None] = {}
    try:
        for values in evaluate(whole, event):
            texts = list(key.name)
            if any(part.unique and value is None for part, value in zip(key.parts, values, strict=True)):
                continue
            for part, value in zip(key.parts, values, strict=True):
                text = part.text(value)
                if text is None:
                    return [Access("/".join(key.name), _coarse(key.mode))]
                texts += [text] if text else []  # none: of what begins with a family and no more
            found["/".join(texts)] = None
    except (NoValueError, RejectedError, AttributeError, TypeError, ValueError, KeyError):
        return [Access("/".join(key.name), _coarse(key.mode))]
    return [Access(text, key.mode) for text in found]


def _coarse(mode: str) -> str:
    return "write" if mode in ("add", "insert") else mode


__all__ = ["Derivation", "Key", "TableAccess", "distinct", "footprint", "key_of", "key_of_state"]
