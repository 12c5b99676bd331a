"""Logs as other programs export them: documents around a list, tables without names, types inside of objects."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from commute.errors import UsageError
from commute.logs import Log, LogOptions, read_log

GUESS = LogOptions(guess=True)
EVENTS = [{"type": "created", "time": f"2026-01-01T08:0{n}:00", "order_id": n % 3} for n in range(6)]


def read(tmp_path: Path, text: str | bytes, options: LogOptions = GUESS, name: str = "log.json") -> Log:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_log(path, options)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "around",
    [
        {"events": EVENTS},
        {"meta": {"version": 1}, "data": {"Events": EVENTS}, "next": None},
        {"Records": EVENTS, "NextToken": "x"},
        {"took": 1, "hits": {"total": 6, "hits": EVENTS}},
    ],
)
def test_a_list_in_a_document_is_the_events(tmp_path: Path, around: dict[str, object], indent: int | None) -> None:
    for text in (json.dumps(around, indent=indent).encode(), gzip.compress(json.dumps(around, indent=indent).encode())):
        log = read(tmp_path, text)
        assert log.format == "JSON document"
        assert [(event.number, event.type, event.objects) for event in log.events] == [
            (n, "created", (("order_id", str((n - 1) % 3), None),)) for n in range(1, 7)
        ]
        assert not log.problems
        assert any(note.startswith('events: the list "') for note in log.notes)


def test_a_document_larger_than_what_is_looked_at_first(tmp_path: Path) -> None:
    many = [{"type": "created", "order_id": n, "text": "x" * 100} for n in range(3_000)]
    assert len(read(tmp_path, json.dumps({"events": many})).events) == 3_000
    assert len(read(tmp_path, json.dumps({"events": many}, indent=1)).events) == 3_000


def test_a_document_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    text = json.dumps({"count": 6, "events": EVENTS}, indent=1)
    log = read(tmp_path, text[: text.rindex("created")])
    assert len(log.events) == 5
    assert "the document breaks off" in log.problems[0].reason


def test_one_event_with_a_list_of_its_own_is_one_event(tmp_path: Path) -> None:
    line = json.dumps({"type": "ordered", "order_id": 7, "items": [{"sku": "tea"}, {"sku": "mug"}]}) + "\n"
    assert read(tmp_path, line).format == "JSON lines"
    assert read(tmp_path, line.replace('"type"', '"kind_of"'), name="log.jsonl").format == "JSON lines"
    assert read(tmp_path, line * 3).format == "JSON lines"


def test_an_object_centric_log_stays_one(tmp_path: Path) -> None:
    event = {"id": "1", "type": "a", "time": "2026-01-01T00:00:00Z", "relationships": [{"objectId": "o"}]}
    document = {"events": [event], "objects": [{"id": "o", "type": "order"}]}
    for indent in (None, 2):
        assert read(tmp_path, json.dumps(document, indent=indent), LogOptions()).format == "OCEL 2.0 JSON"


def test_a_document_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="JSON documents with a list of events"):
        read(tmp_path, json.dumps({"meta": {"n": 1}, "list": [1, 2]}, indent=2))


def test_a_table_without_names_keeps_its_first_event(tmp_path: Path) -> None:
    rows = "".join(f"2026-01-01T08:0{n}:00,{'ab'[n % 2]},A-{n % 3},{n}\n" for n in range(6))
    log = read(tmp_path, rows, name="log.csv")
    assert len(log.events) == 6
    assert "time: column 1 (guessed; --time-field names another)" in log.notes
    named = LogOptions(type_field="column 2", key_fields=("column 3",))
    log = read(tmp_path, rows, named, name="log.csv")
    assert [event.type for event in log.events] == list("ababab")
    assert {event.objects[0] for event in log.events} == {("column 3", f"A-{n}", None) for n in range(3)}


@pytest.mark.parametrize("header", ["type,time,order", "id,2025,2026", "order,count,note"])
def test_names_are_names(tmp_path: Path, header: str) -> None:
    rows = "a,2026-01-01,7\nb,2026-01-02,8\n" if header.startswith("type") else "1,17,18\n2,19,20\n"
    assert len(read(tmp_path, f"{header}\n{rows}", name="log.csv").events) == 2


def test_types_and_keys_inside_of_objects_are_found(tmp_path: Path) -> None:
    records = [
        {"@timestamp": f"2026-01-01T08:0{n}:00Z", "event": {"name": "order.created", "version": 1},
         "order": {"id": n % 3, "customer": {"id": n % 2}}, "lines": [{"sku": "tea"}]}
        for n in range(6)
    ]  # fmt: skip
    log = read(tmp_path, "".join(json.dumps(record) + "\n" for record in records), name="log.jsonl")
    assert not log.problems
    assert {event.type for event in log.events} == {"order.created"}
    assert log.events[1].objects == (("order.id", "1", None), ("order.customer.id", "1", None))
