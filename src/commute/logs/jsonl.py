"""JSON lines: one object a line, with the objects that the event touches under ``objects``, or in key fields.

    {"id": "7", "ts": 1714564800, "type": "paid", "objects": [["order", 42, "w"], ["rate", "EUR", "r"]]}

How modes are written: `commute.logs.modes`. What happened may lie in one of the fields: `commute.logs.envelope`. A
document that is one array of objects is read in the same way.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import msgspec

from commute.logs.base import INVALID_UTF8, Builder, Log, Record, Touched, excerpt, note_empty, object_id
from commute.logs.envelope import data_field, fields_inside, held_in, inside_first, opened
from commute.logs.modes import mode_of, note_classes
from commute.logs.options import LogOptions
from commute.logs.raw import LINE_BYTES_MAX, Raw
from commute.logs.roles import UNTYPED, Roles, assign, field_of, keys_of, note_no_keys

FORMAT = "JSON lines"
OBJECTS = "objects"
SAMPLE_RECORDS = 200  # that a guess of keys looks at


def read(raw: Raw, options: LogOptions) -> Log:
    """The log of JSON lines in `raw`. O(bytes); 10 to 20 µs a record of five objects. Raises UsageError
    for a field that is nowhere."""
    builder = Builder("line", options.time_format)
    return read_records(raw, options, builder, line_records(raw, builder), FORMAT)


def read_records(
    raw: Raw, options: LogOptions, builder: Builder, records: list[Record], format_name: str, *, listed: bool = True
) -> Log:
    """The log of these records, which are used up. `listed`: they may list their objects. O(records)."""
    fields: Counter[str] = Counter()
    for _, record in records:
        fields.update(record.keys())
    if not records:
        return builder.finish(format_name)
    has_objects = listed and OBJECTS in fields
    wrapped = data_field(raw.name, records, fields, builder, options)
    inside = None if wrapped is None else fields_inside(records, wrapped)
    known = {**fields, **(inside or {})}
    sample = [record if wrapped is None else opened(record, wrapped) for _, record in records[:SAMPLE_RECORDS]]
    roles = assign(
        raw.name, fields, builder, options, paths=True, sample=sample, objects=has_objects, inside=inside
    )  # fmt: skip
    if has_objects:
        builder.note(f"keys: {OBJECTS}")
    elif not roles.has_keys:
        note_no_keys(builder, known if wrapped is None else inside or known)
    empty: dict[str, int] = {}
    total = len(records)
    records.reverse()
    while records:  # taken off, so that a record is freed as soon as it is an event
        number, record = records.pop()
        try:
            data = record if wrapped is None else held_in(record, wrapped)
            objects = _objects(record, roles.classes) if has_objects else ()
            objects += keys_of(roles, partial(inside_first, data, record), empty)
            kind = _kind(_said(record, data, roles.type), roles)
        except ValueError as error:
            builder.problem(f"{builder.unit} {number}", str(error), msgspec.json.encode(record))
            continue
        time, identity = _said(record, data, roles.time), _said(record, data, roles.id)
        known_id = isinstance(identity, (str, int)) and identity != ""
        taken = {roles.type, roles.time, roles.id if known_id else None, OBJECTS if listed else None, wrapped}
        taken.difference_update(roles.spare)
        rest = {field: value for field, value in record.items() if field not in taken}
        held, around = (rest, None) if wrapped is None else (data, rest)
        builder.event(
            number, str(identity) if known_id else str(number), kind, time, objects, held, around, roles.spare
        )
    note_empty(builder, empty, total)
    note_classes(builder, roles.classes)
    return builder.finish(format_name)


def line_records(raw: Raw, builder: Builder) -> list[Record]:
    """The lines that are JSON objects, each with its number; the others become problems, blank ones
    nothing."""
    decoder = msgspec.json.Decoder()
    records: list[Record] = []

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
        return INVALID_UTF8
    return "nested too deeply" if isinstance(error, RecursionError) else f"no JSON: {error}"


def _said(record: dict[str, object], data: dict[str, object], field: str | None) -> object:
    """What a record says under a field of its own, else inside what it holds; None for no field."""
    if field is None:
        return None
    found = field_of(record, field)
    return field_of(data, field) if found is None and data is not record else found


def _kind(kind: object, roles: Roles) -> str:
    if roles.type is None:
        return UNTYPED
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
        mode = None if len(item) == 2 or item[2] is None else mode_of(item[2], classes)
        found.append((kind, identity, mode))
    return tuple(found)
