"""Which field of a table or of JSON records is the type, the time, the id; which are keys.

What the user names is taken; the rest is guessed from names that logs use, and every guess becomes a
note, with the option that overrides it. Keys are never guessed, save for the standard columns of case
logs (IEEE 1849, XES, as written to CSV): a wrong key costs speed, a missing one costs order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from commute.logs.base import Builder, Touched, no_field, object_id

# Without case, blanks and punctuation, the likeliest first.
_TYPES = ("conceptname", "type", "eventtype", "activity", "event", "eventname", "kind", "action", "topic")
_TIMES = (
    *("timetimestamp", "time", "timestamp", "ts", "datetime", "eventtime", "occurredat", "createdat", "date"),
    *("unixts", "unixtime", "epoch", "starttime", "starttimestamp"),
)
_IDS = ("id", "eventid", "uuid", "msgid", "messageid")

CASE = "case:concept:name"
RESOURCE = ("org:resource", "org:group")

UNTYPED = "event"  # the type of every event of a log that has no such field


@dataclass(frozen=True, slots=True)
class Roles:
    """The field of each role, None where there is none; `keys` are pairs of field and object type."""

    type: str | None
    time: str | None
    id: str | None
    keys: tuple[tuple[str, str], ...]
    case_log: bool  # case and resource columns are keys


def assign(
    name: str,
    fields: Mapping[str, int],
    builder: Builder,
    *,
    type_field: str | None,
    time_field: str | None,
    key_fields: Sequence[str],
    paths: bool,
) -> Roles:
    """The roles of the fields that a log has, with notes on all that was guessed.

    `fields` counts the records that have each. Raises UsageError for a named field that no record has; with
    `paths`, a name with dots (``order.id``) need only begin with one.
    """
    for named in (type_field, time_field, *key_fields):
        if named is not None:
            _must_exist(name, named, fields, paths)
    kind = type_field or _guess(fields, _TYPES)
    time = time_field or _guess(fields, _TIMES, without=kind)
    identity = _guess(fields, _IDS, without=kind)
    case_log = not key_fields and CASE in fields
    if kind is None:
        builder.note(f"no field looks like the type, so every type is {UNTYPED!r}; --type-field names it")
    elif not type_field:
        builder.note(f"type: {kind} (guessed; --type-field names another)")
    if time is None:
        builder.note("no field looks like the time; --time-field names it")
    elif not time_field:
        builder.note(f"time: {time} (guessed; --time-field names another)")
    if identity:
        builder.note(f"id: {identity} (guessed)")
    if case_log:
        resource = " else ".join(f for f in RESOURCE if f in fields)
        builder.note(f"keys: case = {CASE}" + (f", resource = {resource}" if resource else "") + " (guessed)")
    return Roles(kind, time, identity, tuple((field, field) for field in key_fields), case_log)


def named_keys(key_fields: Sequence[str]) -> Roles:
    """Roles for a format that has its own type, time and id: keys only."""
    return Roles(None, None, None, tuple((field, field) for field in key_fields), False)


def must_occur(name: str, roles: Roles, records: Iterable[Mapping[str, object]]) -> None:
    """Raise UsageError for a key field of `named_keys` that no record has: misspelt, it would lose order in silence."""
    missing = {field for field, _ in roles.keys}
    known: dict[str, None] = {}
    for record in records:
        missing -= record.keys()
        if not missing:
            return
        known.update(dict.fromkeys(record))
    for field, _ in roles.keys:
        if field in missing:
            raise no_field(name, field, known)


def note_no_keys(builder: Builder, fields: Iterable[str]) -> None:
    """Say that no event names an object, and how to tell which fields are keys."""
    names = ", ".join(fields)
    builder.note("no keys: events touch nothing; " + (f"--key FIELD names them, of: {names}" if names else "no fields"))


def keys_of(roles: Roles, lookup: Callable[[str], object], empty: dict[str, int]) -> tuple[Touched, ...]:
    """The keys of one record, whose fields `lookup` gives (None: absent). Lists give one key an element.

    `empty` counts, per field, the records without a value: these do not touch that key. Raises ValueError
    for a value that cannot be a key.
    """
    found: list[Touched] = []
    if roles.case_log:
        _append(found, CASE, "case", lookup(CASE), empty)
        resource = next((f for f in RESOURCE if not _is_nothing(lookup(f))), RESOURCE[0])
        _append(found, resource, "resource", lookup(resource), empty)
    for field, kind in roles.keys:
        _append(found, field, kind, lookup(field), empty)
    return tuple(found)


def _append(found: list[Touched], field: str, kind: str, value: object, empty: dict[str, int]) -> None:
    if _is_nothing(value):
        empty[field] = empty.get(field, 0) + 1
        return
    elements = value if isinstance(value, list) else [value]
    found.extend((kind, object_id(element, f"key field {field}"), None) for element in elements)


def _is_nothing(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _guess(fields: Mapping[str, int], names: Sequence[str], without: str | None = None) -> str | None:
    """The field that most records have, of those whose name is among `names`; the likeliest name where
    equal."""
    plain = {f: "".join(c for c in f.casefold() if c.isalnum()) for f in fields if f != without}
    found = [f for f, short in plain.items() if short in names]
    return min(found, key=lambda f: (-fields[f], names.index(plain[f])), default=None)


def _must_exist(name: str, field: str, fields: Mapping[str, int], paths: bool) -> None:
    if field in fields or (paths and field.partition(".")[0] in fields):
        return
    raise no_field(name, field, fields)
