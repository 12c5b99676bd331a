"""Any event log that can be read, recognised by what is in it rather than by its name.

The first bytes decide: gzip, SQLite, JSON (a document or lines), else a table. A name decides only where the
content allows both readings (a single broken line; a table of one column).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import msgspec

from commute.errors import UsageError
from commute.logs import delimited, jsonl, ocel_json
from commute.logs.base import Log, Progress, bad_log
from commute.logs.raw import Raw

_SQLITE = b"SQLite format 3\0"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SAMPLE_LINES = 50

_OCEL1 = re.compile(rb'"ocel:(events|objects|global-log|global-event|global-object|version)"\s*:')
_OCEL2 = re.compile(rb'"(events|objects|eventTypes|objectTypes)"\s*:\s*\[\s*[{\]]')


def read_log(
    path: str | os.PathLike[str],
    *,
    type_field: str | None = None,
    time_field: str | None = None,
    key_fields: Sequence[str] = (),
    progress: Progress | None = None,
) -> Log:
    """The events of the log at `path` (``-``: standard input) in time sequence, with notes and problems.

    `type_field` and `time_field` name the fields of a table or of JSON lines; each of `key_fields` gives
    keys whose type is the field's name (of OCEL: attributes of events). `progress` is told the bytes read
    and the bytes in all. The whole log is held in memory, 1 to 3 KB an event. Raises
    UsageError (``bad-log``) for a file that is none of the formats, cannot be opened, or lacks a named
    field; anything less is a problem in the `Log`.
    """
    raw = Raw(os.fspath(path), progress)
    try:
        format_name = _recognise(raw)
        if format_name in (jsonl.FORMAT, delimited.FORMAT):
            reader = jsonl.read if format_name == jsonl.FORMAT else delimited.read
            return reader(raw, type_field=type_field, time_field=time_field, key_fields=key_fields)
        if type_field or time_field:
            raise bad_log(raw.name, f"{format_name} says itself what type and time are: no --type-field, --time-field")
        if format_name == ocel_json.FORMAT_1 or format_name == ocel_json.FORMAT_2:
            return ocel_json.read(raw, format_name, key_fields=key_fields)
        return _read_sqlite(raw, key_fields)
    finally:
        raw.close()


def _read_sqlite(raw: Raw, key_fields: Sequence[str]) -> Log:
    # Imported late: it loads a copy of SQLite, which the other formats do not need.
    from commute.logs import ocel_sqlite

    return ocel_sqlite.read(raw, key_fields=key_fields)


def _recognise(raw: Raw) -> str:
    """The name of the format, or "SQLite". Raises UsageError for what is no log."""
    head = raw.head
    if not head.strip():
        raise _empty(raw)
    if head.startswith(_SQLITE):
        return "SQLite"
    if head.startswith(_UTF16):
        raise bad_log(raw.name, "text in UTF-16; convert it to UTF-8")
    if head.startswith(b"PK\x03\x04"):
        raise bad_log(raw.name, "a zip archive; unpack it first")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\0" in text[:1024]:
        raise bad_log(raw.name, "binary data")
    if text.startswith(b"<"):
        kind = "XES" if b"<log" in text[:4096] and b"xes" in text[:4096].lower() else "XML"
        raise bad_log(raw.name, f"{kind}, which is not read")
    return _json_format(raw, text) or _table(raw, text)


def _json_format(raw: Raw, text: bytes) -> str | None:
    """The format if the text is JSON of some kind; None if it is not. Raises UsageError for JSON that is
    no log."""
    lines = text.split(b"\n")
    if not raw.whole and len(lines) > 1:
        lines.pop()  # the head may end within it
    sample = [line for line in lines if line.strip()][:_SAMPLE_LINES]
    records = [record for record in map(_json_object, sample) if record is not None]
    if len(records) * 2 >= len(sample) and not _ocel(records[0]):
        return jsonl.FORMAT
    if text.startswith(b"{"):
        # A prefix of one document: its first lines are no records, or it has one line only.
        if _OCEL1.search(text):
            return ocel_json.FORMAT_1
        if _OCEL2.search(text):
            return ocel_json.FORMAT_2
        if _named(raw, "jsonl", "ndjson") or (len(lines) == 1 and not raw.whole):
            return jsonl.FORMAT
        raise bad_log(raw.name, "a JSON document that is no OCEL log")
    if text.startswith(b"["):
        raise bad_log(raw.name, "a JSON array; write one object a line")
    return jsonl.FORMAT if _named(raw, "jsonl", "ndjson") else None


def _table(raw: Raw, text: bytes) -> str:
    if delimited.delimiter(text) or _named(raw, "csv", "tsv"):
        return delimited.FORMAT
    raise bad_log(raw.name, "text that is neither JSON nor a table")


def _empty(raw: Raw) -> UsageError:
    if raw.fault:
        return bad_log(raw.name, raw.fault.partition(";")[0])
    return bad_log(raw.name, "empty" if raw.whole else "nothing but blanks")


def _json_object(line: bytes) -> dict[str, object] | None:
    try:
        value = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _ocel(record: dict[str, object]) -> bool:
    if any(field.startswith("ocel:") for field in record):
        return "ocel:events" in record or "ocel:objects" in record
    events = record.get("events")
    return isinstance(events, list) and ("objects" in record or "objectTypes" in record or "eventTypes" in record)


def _named(raw: Raw, *endings: str) -> bool:
    name = raw.name.lower().removesuffix(".gz")
    return name.endswith(tuple("." + ending for ending in endings))
