"""Three data sets that are event logs only after a little rewriting, read through the same readers where
they can be.

Each returns the events in time sequence, ties as in the files (which are taken by name). How they are to
be read is told by the notes that come with the figures in ``facts.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from commute.logs import LogEvent, LogOptions, read_log
from commute.logs.times import Clock


def retail(folder: Path) -> list[LogEvent]:
    """One event an invoice, at the time of its first line, with the keys invoice, products and customer."""
    lines: dict[str, list[LogEvent]] = {}
    for path in sorted(folder.glob("*.csv.gz")):
        log = read_log(path, LogOptions(time_field="InvoiceDate", key_fields=("InvoiceNo", "StockCode", "CustomerID")))
        assert log.problems == []
        for line in log.events:
            lines.setdefault(str(line.data["InvoiceNo"]), []).append(line)
    kinds = {"InvoiceNo": "invoice", "StockCode": "product", "CustomerID": "customer"}
    events = []
    for number, (invoice, items) in enumerate(lines.items(), 1):
        kind = "sale" if invoice.isdigit() else "cancel" if invoice.startswith("C") else "adjust"
        objects = dict.fromkeys((kinds[field], value, None) for item in items for field, value, _ in item.objects)
        events.append(LogEvent(number, invoice, kind, items[0].time_s, tuple(objects), {}))
    return _by_time(events)


def meters(folder: Path) -> list[LogEvent]:
    """One event a row of each file, keyed by its meter."""
    events: list[LogEvent] = []
    for path in sorted(folder.glob("*.csv.gz")):
        log = read_log(path, LogOptions(time_field="unix_ts"))
        assert log.problems == []
        meter = (("meter", path.name.partition(".")[0], None),)
        events += [msgspec.structs.replace(e, objects=meter) for e in log.events]
    return _by_time(events)


def lab(folder: Path) -> list[LogEvent]:
    """One event a message, nested lists flattened, keyed by its sensor and its node; a message of a
    switch names neither and counts as one of an unknown sensor of an unknown node."""
    (path,) = folder.glob("*.json")
    clock = Clock()
    events = []
    for number, message in enumerate(_flat(json.loads(path.read_bytes())), 1):
        body = message["payload"]
        assert isinstance(body, dict)
        node = str(body.get("node-id", "?"))
        objects = (("sensor", f"{node}/{body.get('sensor', '?')}", None), ("node", node, None))
        time_s = clock.read(number, message.get("receivedTimestamp"))
        events.append(LogEvent(number, str(number), str(message["topic"]), time_s, objects, body))
    return _by_time(events)


def _flat(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        assert isinstance(value, dict)
        yield value


def _by_time(events: list[LogEvent]) -> list[LogEvent]:
    return sorted(events, key=lambda e: (e.time_s is not None, e.time_s or 0.0))
