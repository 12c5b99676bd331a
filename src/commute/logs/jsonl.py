"""JSON lines: one object a line, with the objects that the event touches under ``objects``, or in key fields.

    {"id": "7", "ts": 1714564800, "type": "paid", "objects": [["order", 42, "w"], ["rate", "EUR", "r"]]}

A mode is ``r``, ``w``, ``a``, the words ``read``, ``write``, ``add``, or the name of a commutative class.
A class is believed only if it cannot be meant as something else: two accesses of one class need not keep
their sequence, so a misspelt ``write`` would lose it in silence.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial

import msgspec

from commute.core.footprint import ADD, READ, WRITE
from commute.logs.base import Builder, Log, Touched, excerpt, note_empty, object_id
from commute.logs.raw import LINE_BYTES_MAX, Raw
from commute.logs.roles import UNTYPED, Roles, assign, keys_of, note_no_keys

FORMAT = "JSON lines"
OBJECTS = "objects"

_MODES = {"r": READ, "read": READ, "w": WRITE, "write": WRITE, "a": ADD, "add": ADD}
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]+")
_MODES_READ = "known are r, w, a, read, write, add and names of commutative classes"
# Words for overwriting; as names of a commutative class they would be believed to commute with themselves.
_WRITES = frozenset(
    [
        *("create", "delete", "insert", "modify", "overwrite", "put", "remove", "replace", "set"),
        *("update", "upsert", "readwrite", "rw", "wr"),
    ]
)


def read(raw: Raw, *, type_field: str | None, time_field: str | None, key_fields: Sequence[str]) -> Log:
    """The log of JSON lines in `raw`. O(bytes); 10 to 20 µs a record of five objects. Raises UsageError
    for a field that is nowhere."""
    builder = Builder("line")
    records = _records(raw, builder)
    fields: Counter[str] = Counter()
    for _, record in records:
        fields.update(record.keys())
    if not records:
        return builder.finish(FORMAT)
    roles = assign(
        raw.name,
        fields,
        builder,
        type_field=type_field,
        time_field=time_field,
        key_fields=key_fields,
        paths=True,
    )
    has_objects = OBJECTS in fields
    if has_objects:
        builder.note(f"keys: {OBJECTS}")
    elif not roles.keys and not roles.case_log:
        note_no_keys(builder, fields)
    empty: dict[str, int] = {}
    classes: Counter[str] = Counter()
    total = len(records)
    records.reverse()
    while records:  # taken off, so that a record is freed as soon as it is an event
        number, record = records.pop()
        try:
            objects = _objects(record, classes) if has_objects else ()
            objects += keys_of(roles, partial(_field, record), empty)
            kind = _kind(record, roles)
        except ValueError as error:
            builder.problem(f"line {number}", str(error), msgspec.json.encode(record))
            continue
        time = None if roles.time is None else _field(record, roles.time)
        identity = record.get(roles.id) if roles.id else None
        known = isinstance(identity, (str, int)) and identity != ""
        taken = {roles.type, roles.time, roles.id if known else None, OBJECTS}
        data = {field: value for field, value in record.items() if field not in taken}
        builder.event(number, str(identity) if known else str(number), kind, time, objects, data)
    note_empty(builder, empty, total)
    for name, count in classes.items():
        builder.note(f"mode {name!r} ({count} accesses) is a commutative class: its accesses may change places")
    return builder.finish(FORMAT)


def _records(raw: Raw, builder: Builder) -> list[tuple[int, dict[str, object]]]:
    """The lines that are JSON objects, each with its number; the others become problems, blank ones
    nothing."""
    decoder = msgspec.json.Decoder()
    records: list[tuple[int, dict[str, object]]] = []

    def too_long(number: int, start: bytes) -> None:
        builder.problem(f"line {number}", f"longer than {LINE_BYTES_MAX} bytes", start)

    for number, line in raw.lines(too_long):
        if not line or line.isspace():
            continue
        try:
            record = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            builder.problem(f"line {number}", _no_json(error), line)
            continue
        if isinstance(record, dict):
            records.append((number, record))
        else:
            builder.problem(f"line {number}", "not a JSON object", line)
    if raw.fault:
        builder.problem("end of file", raw.fault)
    return records


def _no_json(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "invalid UTF-8"
    return "nested too deeply" if isinstance(error, RecursionError) else f"no JSON: {error}"


def _field(record: dict[str, object], field: str) -> object:
    """The value of a field, or of a path with dots where there is no field of that name; None where
    absent."""
    if field in record or "." not in field:
        return record.get(field)
    value: object = record
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _kind(record: dict[str, object], roles: Roles) -> str:
    if roles.type is None:
        return UNTYPED
    kind = _field(record, roles.type)
    if kind is None or kind == "":
        raise ValueError(f"no type: the field {roles.type} is missing or empty")
    if not isinstance(kind, str):
        raise ValueError(f"the type ({roles.type}) must be text, not {type(kind).__name__}")
    return kind


def _objects(record: dict[str, object], classes: Counter[str]) -> tuple[Touched, ...]:
    """What the field ``objects`` says. A record without it is refused: taking it for one that touches nothing
    would let it overtake the others."""
    listed = record.get(OBJECTS)
    if not isinstance(listed, list):
        raise ValueError(f"{OBJECTS} must be a list; [] for an event that touches nothing")
    found: list[Touched] = []
    for item in listed:
        if not isinstance(item, list) or not 2 <= len(item) <= 3:
            raise ValueError(f"an object must be [type, id] or [type, id, mode], not {excerpt(item)}")
        kind, identity = item[0], item[1]
        if not isinstance(kind, str):
            raise ValueError(f"an object's type must be text, not {excerpt(kind)}")
        if not isinstance(identity, str):
            identity = object_id(identity, f"object of type {kind}")
        mode = None if len(item) == 2 or item[2] is None else _mode(item[2], classes)
        found.append((kind, identity, mode))
    return tuple(found)


def _mode(word: object, classes: Counter[str]) -> str:
    if not isinstance(word, str):
        raise ValueError(f"unknown mode {excerpt(word)}; {_MODES_READ}")
    known = _MODES.get(word) or _MODES.get(word.lower())
    if known:
        return known
    lower = word.lower()
    if lower in _WRITES:
        raise ValueError(f"unknown mode {word!r}; if it overwrites, say write")
    near = difflib.get_close_matches(lower, ("read", "write", "add"), n=1, cutoff=0.75)
    if near:
        raise ValueError(f"unknown mode {word!r}; did you mean {near[0]}?")
    if not _CLASS.fullmatch(word):
        raise ValueError(f"unknown mode {excerpt(word)!r}; {_MODES_READ}")
    classes[word] += 1
    return word
