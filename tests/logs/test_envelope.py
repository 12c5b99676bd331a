"""Records that are envelopes: the event is what one of their fields holds, where that is plain or said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from commute.errors import UsageError
from commute.logs import Log, LogOptions, read_log

PLAIN = LogOptions()
GUESS = LogOptions(guess=True)


def _read(tmp_path: Path, *records: Mapping[str, object], options: LogOptions = PLAIN) -> Log:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return read_log(path, options)


def _event(**data: object) -> dict[str, object]:
    return {"type": "paid", "data": data}


@pytest.mark.parametrize(
    "record",
    [
        {"type": "paid", "data": {"order": 1, "id": 7}},
        {"name": "paid", "payload": {"order": 1, "id": 7}},
        {"id": "a", "time": 5, "type": "paid", "source": "web", "took_ms": 3, "data": {"order": 1, "id": 7}},
        {"detail-type": "paid", "time": "2025-12-31T10:00:00Z", "region": "eu", "detail": {"order": 1, "id": 7}},
        {"event": "paid", "version": 2, "metadata": {"user": "ann"}, "body": json.dumps({"order": 1, "id": 7})},
    ],
)
def test_what_a_plain_envelope_holds_is_the_event(tmp_path: Path, record: dict[str, object]) -> None:
    log = _read(tmp_path, record)
    assert (log.events[0].type, log.events[0].data, log.problems) == ("paid", {"order": 1, "id": 7}, [])
    assert any(note.startswith("data: ") and "(guessed; --data-field" in note for note in log.notes)


@pytest.mark.parametrize(
    "records",
    [
        [{"type": "paid", "order": 1, "data": {"order": 2}}],  # a field of the event stands beside it
        [{"type": "paid", "data": {"order": 1}}, {"type": "paid", "data": 5}],  # no object everywhere
        [{"type": "paid", "data": [1]}],
        [{"name": "ann", "person": {"age": 5}}],
        [{"order": 1, "data": {}}],  # nothing says what happened
        [{"type": "paid", "data": {}, "payload": {}}],  # which of the two?
    ],
)
def test_where_it_is_not_plain_the_record_is_the_event(tmp_path: Path, records: list[dict[str, object]]) -> None:
    log = _read(tmp_path, *records)
    plain = [{name: value for name, value in record.items() if name != "type"} for record in records]
    assert [event.data for event in log.events] == plain
    assert not any(note.startswith("data:") for note in log.notes)


def test_a_doubtful_one_is_told_how_to_say_so(tmp_path: Path) -> None:
    records = [{"type": "paid", "order": 1, "data": {"sum": 2}}]
    assert any("--data-field data takes" in note for note in _read(tmp_path, *records).notes)
    log = _read(tmp_path, *records, options=LogOptions(data_field="data", key_fields=("sum", "order")))
    (event,) = log.events
    assert (event.data, event.around) == ({"sum": 2}, {"order": 1})
    assert event.objects == (("sum", "2", None), ("order", "1", None))  # inside first, then around it


def test_what_is_said_of_fields_counts_around_first_but_for_keys(tmp_path: Path) -> None:
    record = {"type": "paid", "id": 1, "data": {"type": "card", "id": 2, "at": "2025-12-31", "lines": [{"sku": "tea"}]}}
    options = LogOptions(time_field="at", key_fields=("id", "data.type"))
    (event,) = _read(tmp_path, record, options=options).events
    assert (event.type, event.id, event.time_s) == ("paid", "1", 1767139200.0)
    assert event.objects == (("id", "2", None), ("data.type", "card", None))
    assert (event.data, event.field("at"), event.field("took")) == (record["data"], "2025-12-31", None)
    with pytest.raises(UsageError, match="no record has a field sku"):
        _read(tmp_path, record, options=LogOptions(key_fields=("sku",)))


def test_keys_are_guessed_inside_and_not_on_the_envelope(tmp_path: Path) -> None:
    records = [{"type": "paid", "trace_id": f"t{n}", "data": {"order_id": n % 2, "price": 1.5}} for n in range(4)]
    log = _read(tmp_path, *records, options=GUESS)
    assert [event.objects for event in log.events] == [(("order_id", str(n % 2), None),) for n in range(4)]


def test_a_record_whose_field_holds_no_object_is_a_problem_where_it_was_named(tmp_path: Path) -> None:
    records: list[dict[str, object]]
    records = [_event(order=1), {"type": "paid", "data": "{broken"}, {"type": "paid", "data": None}, {"type": "tick"}]
    log = _read(tmp_path, *records, options=LogOptions(data_field="data"))
    assert [(p.where, p.reason) for p in log.problems] == [("line 2", "data holds no JSON object: {broken")]
    assert [event.data for event in log.events] == [{"order": 1}, {}, {}]
    with pytest.raises(UsageError, match=r"no record has a field dta \(did you mean data\?\)"):
        _read(tmp_path, *records, options=LogOptions(data_field="dta"))


def test_a_table_that_was_exported_holds_the_event_as_text(tmp_path: Path) -> None:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=";")
    rows.writerow(["position", "type", "created_at", "payload"])
    for number in range(30):
        rows.writerow([number, "paid", f"2025-12-31 10:00:{number:02}", json.dumps({"order_id": number % 3})])
    path = tmp_path / "log.csv"
    path.write_text(text.getvalue())
    log = read_log(path, GUESS)
    assert (log.format, log.problems, len(log.events)) == ("CSV", [], 30)
    assert log.events[4].data == {"order_id": 1}
    assert log.events[4].objects == (("order_id", "1", None),)
    path.write_text(text.getvalue() + "30;paid;2025-12-31 11:00:00;none\n")  # beyond what was sampled
    log = read_log(path, GUESS)
    assert (len(log.events), log.problems) == (31, [])
    assert log.events[30].data["payload"] == "none"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '[{"specversion":"1.0","id":"1","source":"/","type":"t","data":{"n":1}}]'),
        ("a.xes", '<log xes.version="1.0"><trace><event/></trace></log>'),
        ("a.csv", "ocel:eid,ocel:activity,ocel:timestamp,ocel:type:a\n1,b,2020-01-01,c\n"),
    ],
)
def test_a_format_that_says_it_itself_takes_no_data_field(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match="needs no --data-field"):
        read_log(path, LogOptions(data_field="data"))


def test_what_stands_around_the_data_of_a_cloudevent_can_be_asked_for(tmp_path: Path) -> None:
    record = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "took": 5, "data": {"n": 1}}
    (event,) = _read(tmp_path, record).events
    assert (event.data, event.field("n"), event.field("took")) == ({"n": 1}, 1, 5)
