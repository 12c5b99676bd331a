"""Records that are an envelope: a type, a time, an identity, and one field that holds what happened.

    {"type": "order_created", "time": "2025-12-31T10:00:00Z", "data": {"order_id": 42, "sku": "tea"}}

What the handler of such an event gets is the field's value and not the record. The field is guessed only where it is
plain: it is called like one, it holds an object in every record that has it, and all that stands around it is called
like what producers write on envelopes. Else an event that has a field ``data`` of its own would lose the others. An
export of a table has the object as text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from commute.logs.base import Builder, Record, excerpt, no_field
from commute.logs.options import LogOptions
from commute.logs.roles import IDS, TIMES, TYPES, TYPES_AROUND, field_of, plain_name

_DATA = ("data", "payload", "detail", "body", "eventdata")
_SAY_WHAT = (*TYPES, *TYPES_AROUND)
_AROUND = frozenset(
    [
        *_SAY_WHAT,
        *TIMES,
        *IDS,
        *("source", "subject", "producer", "version", "schemaversion", "eventversion", "dataversion", "schema"),
        *("datacontenttype", "contenttype", "dataschema", "metadata", "meta", "headers", "attributes", "context"),
        *("correlationid", "causationid", "traceid", "spanid", "traceparent", "tracestate", "requestid"),
        *("stream", "streamid", "partition", "partitionkey", "offset", "position", "sequence", "seq", "revision"),
        *("aggregateid", "aggregatetype", "aggregate", "key", "tenant", "tenantid", "account", "region", "resources"),
        *("publishedat", "processedat", "receivedat", "ingestedat", "updatedat", "objects"),
    ]
)
_LASTED = re.compile(r"(ms|seconds|duration|elapsed)$")


def may_wrap(fields: Iterable[str], sample: Sequence[Mapping[str, object]], options: LogOptions) -> bool:
    """Whether records with these fields may be envelopes, by some of them."""
    named = options.data_field is not None
    return named or any(plain_name(field) in _DATA and _always_holds(sample, field) for field in fields)


def data_field(
    name: str, records: Sequence[Record], fields: Mapping[str, int], builder: Builder, options: LogOptions
) -> str | None:
    """The field whose value is the event; None where the record itself is. `fields`: how many records have each.

    Raises UsageError for a named one that no record has. O(records) where there is a candidate.
    """
    if options.data_field is not None:
        if options.data_field not in fields:
            raise no_field(name, options.data_field, fields)
        return options.data_field
    found = [field for field in fields if plain_name(field) in _DATA]
    held = [field for field in found if _always_holds((record for _, record in records), field)]
    if len(held) != 1:
        return None
    (field,) = held
    around = {plain_name(other) for other in fields if other != field}
    strange = [other for other in fields if other != field and not _is_around(plain_name(other))]
    if strange or around.isdisjoint(_SAY_WHAT):
        builder.note(f"each record with all its fields is the event; --data-field {field} takes what {field} holds")
        return None
    builder.note(f"data: {field} (guessed; --data-field names another)")
    return field


def fields_inside(records: Sequence[Record], field: str) -> Counter[str]:
    """How many records have each field inside what `field` holds."""
    found: Counter[str] = Counter()
    for _, record in records:
        found.update((_object(record.get(field)) or {}).keys())
    return found


def opened(record: Mapping[str, object], field: str) -> dict[str, object]:
    """All fields of a record, those of what `field` holds before those around it."""
    return {**record, **(_object(record.get(field)) or {})}


def held_in(record: Mapping[str, object], field: str) -> dict[str, object]:
    """What `field` of a record holds; empty where it is missing. Raises ValueError for what is no object."""
    value = record.get(field)
    if value is None or value == "":
        return {}
    data = _object(value)
    if data is None:
        raise ValueError(f"{field} holds no JSON object: {excerpt(value)}")
    return data


def inside_first(data: Mapping[str, object], record: Mapping[str, object], field: str) -> object:
    """The value of a key field: of the data, else of what stands around it."""
    found = field_of(data, field)
    return field_of(record, field) if found is None and data is not record else found


def _is_around(short: str) -> bool:
    return short in _AROUND or _LASTED.search(short) is not None


def _always_holds(records: Iterable[Mapping[str, object]], field: str) -> bool:
    some = False
    for record in records:
        value = record.get(field)
        if value is None or value == "":
            continue
        if _object(value) is None:
            return False
        some = True
    return some


def _object(value: object) -> dict[str, object] | None:
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            value = msgspec.json.decode(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None
