"""CloudEvents 1.0: a batch (one JSON array), or one event a line.

Type, time and identity are attributes; what happened lies in ``data``. So a key field is looked for in the data first
(``order_id``, ``order.id``), then among the attributes (``subject``, ``source``, extensions).

Source: CloudEvents 1.0.2, JSON event format.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from commute.logs.base import Builder, Log, Record, Touched, note_empty
from commute.logs.json_array import array_records
from commute.logs.jsonl import SAMPLE_RECORDS, line_records
from commute.logs.modes import note_classes
from commute.logs.options import LogOptions
from commute.logs.raw import Raw
from commute.logs.roles import Roles, assign, field_of, keys_of, note_no_keys

BATCH = "CloudEvents batch"
LINES = "CloudEvents, one a line"

_NEEDED = ("id", "source", "type", "specversion")


def read_batch(raw: Raw, options: LogOptions) -> Log:
    """The log of a batch. A number is the ordinal of the event. O(bytes); about 20 µs an event."""
    builder = Builder("event", options.time_format)
    return _read(raw, options, builder, array_records(raw, builder), BATCH)


def read_lines(raw: Raw, options: LogOptions) -> Log:
    """The log of one event a line."""
    builder = Builder("line", options.time_format)
    return _read(raw, options, builder, line_records(raw, builder), LINES)


def _read(raw: Raw, options: LogOptions, builder: Builder, records: list[Record], format_name: str) -> Log:
    options.refuse(raw.name, format_name, "type_field", "time_field", "id_field", "data_field")
    fields: Counter[str] = Counter()
    sample: list[dict[str, object]] = []
    for _, record in records:
        seen = _fields(record)
        fields.update(seen.keys())
        if len(sample) < SAMPLE_RECORDS:
            sample.append(seen)
    quiet = Builder(builder.unit)  # what CloudEvents says itself needs no note
    roles = assign(raw.name, fields, quiet, options, paths=True, sample=sample) if records else Roles()
    builder.notes += [note for note in quiet.notes if note.startswith("keys:")]
    if not roles.has_keys:
        note_no_keys(builder, fields)
    empty: dict[str, int] = {}
    total = len(records)
    for number, record in records:
        try:
            _check(record)
            objects = _keys(roles, record, empty)
        except ValueError as error:
            builder.problem(f"{builder.unit} {number}", str(error), msgspec.json.encode(record))
            continue
        data = record.get("data")
        payload = data if isinstance(data, dict) else {"data": data} if data is not None else {}
        identity = f"{record['source']}#{record['id']}"
        around = {name: value for name, value in record.items() if name not in ("id", "type", "time", "data")}
        builder.event(number, identity, str(record["type"]), record.get("time"), objects, payload, around)
    note_empty(builder, empty, total)
    note_classes(builder, roles.classes)
    return builder.finish(format_name)


def _check(record: dict[str, object]) -> None:
    for name in _NEEDED:
        value = record.get(name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"no CloudEvent: {name} must be text that is not empty")
    if not str(record["specversion"]).startswith("1."):
        raise ValueError(f"CloudEvents {record['specversion']}, which is not read; 1.0 is")


def _fields(record: dict[str, object]) -> dict[str, object]:
    """What may be a key: the fields of the data, and the attributes that are not taken."""
    data = record.get("data")
    attributes = {name: value for name, value in record.items() if name not in (*_NEEDED, "time", "data")}
    return {"source": record.get("source"), **attributes, **(data if isinstance(data, dict) else {})}


def _keys(roles: Roles, record: dict[str, object], empty: dict[str, int]) -> tuple[Touched, ...]:
    fields = _fields(record)
    return keys_of(roles, lambda name: field_of(fields, name), empty)
