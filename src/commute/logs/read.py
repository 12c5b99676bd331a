"""Any event log that can be read, recognised by what is in it rather than by its name.

The first bytes decide: gzip, SQLite, JSON (a document or lines), else a table. A name decides only where the
content allows both readings (a single broken line; a table of one column).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial

import msgspec

from commute.errors import UsageError
from commute.logs import cloudevents, delimited, json_array, json_document, jsonl, ocel_csv, ocel_json, ocel_xml, xes
from commute.logs.base import Log, Progress, bad_log
from commute.logs.options import LogOptions
from commute.logs.raw import SQLITE, Raw

UNSAID = LogOptions()
_ROLES = ("type_field", "time_field", "id_field", "data_field", "case_field", "resource_field", "mode_field")
_SAMPLE_LINES = 50

_OCEL1 = re.compile(rb'"ocel:(events|objects|global-log|global-event|global-object|version)"\s*:')
_OCEL2 = re.compile(rb'"(events|objects|eventTypes|objectTypes)"\s*:\s*\[\s*[{\]]')
_OCEL2_ONLY = re.compile(rb'"(objects|eventTypes|objectTypes)"\s*:\s*\[|"(relationships|objectId)"\s*:')
_OCEL_XML = re.compile(rb"<(object-types|event-types|objects|events)\b")
_OCEL1_XML = re.compile(rb"""\bkey\s*=\s*["'](object-types|attribute-names)\b|\bscope\s*=\s*["']object\b""")


def read_log(path: str | os.PathLike[str], options: LogOptions = UNSAID, *, progress: Progress | None = None) -> Log:
    """The events of the log at `path` (``-``: standard input) in time sequence, with notes and problems.

    `options`: what is known of it. `progress` is told the bytes read and the bytes in all. The whole log is held in
    memory, 1 to 3 KB an event. Raises UsageError (``bad-log``) for a file that is none of the formats, cannot be
    opened, or lacks a named field; anything less is a problem in the `Log`.
    """
    raw = Raw(os.fspath(path), progress, options.encoding, guess=options.guess)
    try:
        format_name = _recognise(raw, options)
        if format_name not in (delimited.FORMAT, ocel_csv.FORMAT):
            options.refuse(raw.name, format_name, "delimiter")
        if format_name in _OWN_ROLES:
            options.refuse(raw.name, format_name, *_ROLES)
        if format_name == xes.FORMAT:
            options.refuse(raw.name, format_name, "data_field")
        log = _READERS[format_name](raw, options)
        if raw.recoded is not None and options.encoding is None:
            log.notes.insert(
                0, f"the text is no UTF-8 and is read as {raw.recoded} (guessed; --encoding names another)"
            )
        return log
    finally:
        raw.close()


def _read_sqlite(raw: Raw, options: LogOptions) -> Log:
    # Imported late: it loads a copy of SQLite, which the other formats do not need.
    from commute.logs import ocel_sqlite

    return ocel_sqlite.read(raw, options)


# What each format is read by. SQLite is loaded late: it brings a copy of SQLite, which the others do not need.
_READERS: dict[str, Callable[[Raw, LogOptions], Log]] = {
    jsonl.FORMAT: jsonl.read,
    json_array.FORMAT: json_array.read,
    json_document.FORMAT: json_document.read,
    cloudevents.LINES: cloudevents.read_lines,
    cloudevents.BATCH: cloudevents.read_batch,
    delimited.FORMAT: delimited.read,
    xes.FORMAT: xes.read,
    ocel_csv.FORMAT: ocel_csv.read,
    ocel_json.FORMAT_1: partial(ocel_json.read, format_name=ocel_json.FORMAT_1),
    ocel_json.FORMAT_2: partial(ocel_json.read, format_name=ocel_json.FORMAT_2),
    ocel_xml.FORMAT: ocel_xml.read,
    "SQLite": _read_sqlite,
}
_OWN_ROLES = frozenset({ocel_csv.FORMAT, ocel_json.FORMAT_1, ocel_json.FORMAT_2, ocel_xml.FORMAT, "SQLite"})


def _recognise(raw: Raw, options: LogOptions) -> str:
    """The name of the format, or "SQLite". Raises UsageError for what is no log."""
    head = raw.head
    if not head.strip():
        raise _empty(raw)
    if head.startswith(SQLITE):
        return "SQLite"
    if head.startswith(b"PK\x03\x04"):
        raise bad_log(raw.name, "a zip archive; unpack it first")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\0" in text[:1024]:
        raise bad_log(raw.name, "binary data")
    if text.startswith(b"<"):
        return _xml_format(raw, text)
    return _json_format(raw, text) or _table(raw, text, options)


def _xml_format(raw: Raw, text: bytes) -> str:
    if b"<log" in text:
        if _OCEL1_XML.search(text):
            raise bad_log(raw.name, "OCEL 1.0 XML, which is not read; its JSON form is")
        if _OCEL_XML.search(text):
            return ocel_xml.FORMAT
        if b"<trace" in text or b"xes" in text.lower():
            return xes.FORMAT
    raise bad_log(raw.name, "XML that is neither XES nor OCEL 2.0")


def _json_format(raw: Raw, text: bytes) -> str | None:
    """The format if the text is JSON of some kind; None if it is not. Raises UsageError for JSON that is
    no log."""
    lines = text.split(b"\n")
    if not raw.whole and len(lines) > 1:
        lines.pop()  # the head may end within it
    sample = [line for line in lines if line.strip()][:_SAMPLE_LINES]
    records = [record for record in map(_json_object, sample) if record is not None]
    alone = len(sample) == 1 and raw.whole and text.startswith(b"{")
    if len(records) * 2 >= len(sample) and not _ocel(records[0]):
        if alone and not _named(raw, "jsonl", "ndjson") and json_document.lists_events(text, records[0]):
            return json_document.FORMAT
        return cloudevents.LINES if "specversion" in records[0] else jsonl.FORMAT
    if text.startswith(b"{"):
        # A prefix of one document: its first lines are no records, or it has one line only.
        if _OCEL1.search(text):
            return ocel_json.FORMAT_1
        if _OCEL2.search(text) and _OCEL2_ONLY.search(text):
            return ocel_json.FORMAT_2
        if not _named(raw, "jsonl", "ndjson") and json_document.lists_events(text, None):
            return json_document.FORMAT
        if _OCEL2.search(text):
            return ocel_json.FORMAT_2
        if _named(raw, "jsonl", "ndjson") or (len(lines) == 1 and not raw.whole):
            return jsonl.FORMAT
        raise bad_log(raw.name, "a JSON document that is no OCEL log")
    if text.startswith(b"["):
        first = text[1:].lstrip()[:1]
        if first not in (b"{", b"]"):
            raise bad_log(raw.name, "a JSON array whose elements are no objects")
        return cloudevents.BATCH if b'"specversion"' in text else json_array.FORMAT
    return jsonl.FORMAT if _named(raw, "jsonl", "ndjson") else None


def _table(raw: Raw, text: bytes, options: LogOptions) -> str:
    if b"ocel:eid" in text.split(b"\n", 1)[0] or b"ocel:activity" in text.split(b"\n", 1)[0]:
        return ocel_csv.FORMAT
    if options.delimiter or delimited.delimiter(text) or _named(raw, "csv", "tsv"):
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
