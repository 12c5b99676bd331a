"""A JSON document around a list of events, as exports and interfaces give it: ``{"count": 2, "events": [{…}, {…}]}``.

The first list of objects under one of the names that such lists have is read as an array of its own; what stands around
it is passed over.
"""

from __future__ import annotations

import re

from commute.logs.base import Builder, Log
from commute.logs.json_array import records_of
from commute.logs.jsonl import read_records
from commute.logs.options import LogOptions
from commute.logs.raw import Raw
from commute.logs.roles import TYPES, plain_name
from commute.logs.walk import Lines, Walk, decoded

FORMAT = "JSON document"

_NAMES = "events|records|items|entries|messages|rows|results|hits|logs|logevents|history|data|values?|resources|content"
_LIST = re.compile(rf'"({_NAMES})"\s*:\s*(?=\[\s*\{{)', re.IGNORECASE)


def lists_events(text: bytes, record: dict[str, object] | None) -> bool:
    """Whether a document that begins with `text` is one; `record`: all of it, where it was read already. One event that
    has a list of its own is none: it says what it is."""
    if record is not None and any(plain_name(field) in TYPES for field in record):
        return False
    return _LIST.search(text.decode("utf-8", "replace")) is not None


def read(raw: Raw, options: LogOptions) -> Log:
    """The log of the list in `raw`. O(bytes); about 20 µs an element. A number is the ordinal of the element."""
    builder = Builder("event", options.time_format)
    text, suspect = decoded(raw.read())
    found = _LIST.search(text)
    assert found is not None, "it was found in the beginning of the text"
    builder.note(f'events: the list "{found[1]}" on line {Lines(text).number(found.start())} of the document')
    walk = Walk(text)
    records = records_of(walk, walk.listed(found.end()), text, builder, suspect=suspect, fault=raw.fault)
    return read_records(raw, options, builder, records, FORMAT)
