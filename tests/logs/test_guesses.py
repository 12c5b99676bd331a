"""What is found out of a log by itself, what is said of it, and the option that changes each guess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commute.errors import UsageError
from commute.logs import Log, LogOptions, read_log

GUESS = LogOptions(guess=True)


def _read(tmp_path: Path, text: str | bytes, options: LogOptions = GUESS, name: str = "log") -> Log:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_log(path, options)


def _objects(log: Log) -> list[set[tuple[str, str]]]:
    return [{(kind, one) for kind, one, _ in event.objects} for event in log.events]


def test_columns_that_are_called_like_keys_are_keys_only_where_guessing_is_allowed(tmp_path: Path) -> None:
    text = "activity;when;order_id;Customer;price;remark\npay;2020-01-02;7;ann;1.5;x\nship;2020-01-03;8;;2.5;y\n"
    log = _read(tmp_path, text)
    assert _objects(log) == [{("order_id", "7"), ("Customer", "ann")}, {("order_id", "8")}]
    assert any("keys: order_id, Customer (guessed; --key FIELD" in note for note in log.notes)
    assert any("separated by ';'" in note and "--delimiter" in note for note in log.notes)
    assert _objects(_read(tmp_path, text, LogOptions())) == [set(), set()]
    named = _read(tmp_path, text, LogOptions(guess=True, key_fields=("Customer",)))
    assert _objects(named) == [{("Customer", "ann")}, set()]


def test_case_logs_with_columns_of_other_names(tmp_path: Path) -> None:
    text = "Case ID,Activity,Complete Timestamp,Resource\n1,a,2020-01-01 10:00,ann\n2,b,2020-01-01 09:00,bob\n"
    log = _read(tmp_path, text)
    assert [e.type for e in log.events] == ["b", "a"]
    assert _objects(log) == [{("case", "2"), ("resource", "bob")}, {("case", "1"), ("resource", "ann")}]
    said = LogOptions(case_field="Resource", type_field="Case ID", time_field="Complete Timestamp")
    assert _objects(_read(tmp_path, text, said)) == [{("case", "bob")}, {("case", "ann")}]


def test_times_are_found_by_their_look_and_by_their_name(tmp_path: Path) -> None:
    for column, value in (("When", "2024-01-02 10:00"), ("receivedTimestamp", "1700000000"), ("Eingang", "02.01.2024")):
        log = _read(tmp_path, f"type,price,{column}\na,1.5,{value}\n")
        assert any(note.startswith(f"time: {column} (guessed") for note in log.notes), column
        assert log.events[0].time_s is not None
    assert _read(tmp_path, "type,When\na,2024-01-02\n", LogOptions()).events[0].time_s is None


def test_a_column_says_how_the_keys_are_touched(tmp_path: Path) -> None:
    text = "type,order,how\na,1,r\nb,1,write\nc,1,\nd,1,wriet\n"
    log = _read(tmp_path, text, LogOptions(key_fields=("order",), mode_field="how"))
    assert [event.objects[0][2] for event in log.events] == ["read", "write", None]
    assert [(p.where, p.reason) for p in log.problems] == [("line 5", "unknown mode 'wriet'; did you mean write?")]


@pytest.mark.parametrize(
    ("times", "hours"),
    [
        (("01.02.2024 00:00", "31.01.2024 23:00"), -1.0),
        (("02/13/2024 10:30", "02/14/2024 10:30"), 24.0),
        (("13/02/2024 10:30:15", "01/03/2024 10:30:15"), 17 * 24.0),
        (("Tue, 02 Jan 2024 10:00:00 +0000", "Tue, 02 Jan 2024 10:00:00 +0200"), -2.0),
        (("2 Jan 2024", "3 Jan 2024"), 24.0),
        (("02/01/2024 01:00 PM", "02/01/2024 02:00 PM"), 1.0),
    ],
)
def test_other_shapes_of_times_are_found_for_the_whole_log(
    tmp_path: Path, times: tuple[str, str], hours: float
) -> None:
    log = _read(tmp_path, "type|time\n" + "".join(f"t{n}|{time}\n" for n, time in enumerate(times)))
    found = {event.type: event.time_s or 0.0 for event in log.events}
    assert found["t1"] - found["t0"] == hours * 3_600
    assert any(note.startswith("times are written %") and "--time-format" in note for note in log.notes)


def test_a_format_of_times_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    text = "type,time\na,03/04/2024\nb,2024-01-01\n"
    log = _read(tmp_path, text, LogOptions(time_format="%m/%d/%Y"))
    assert [(e.type, e.time_s) for e in log.events] == [("b", None), ("a", 1709510400.0)]
    assert any("1 of 2 events have no readable time as --time-format '%m/%d/%Y' says" in note for note in log.notes)
    doubtful = _read(tmp_path, "type,time\na,03/04/2024\n")
    assert any("%m/%d/%Y would read them too" in note for note in doubtful.notes)


@pytest.mark.parametrize(("time", "shown"), [('"2024-01-01"', "'2024-01-01'"), ("1700000000", "'1700000000'")])
def test_a_format_that_fits_nothing_is_named_for_numbers_too(tmp_path: Path, time: str, shown: str) -> None:
    text = f'{{"type": "a", "time": {time}}}\n'
    log = _read(tmp_path, text, LogOptions(time_format="%d.%m.%Y"))
    assert [event.time_s for event in log.events] == [None]
    (note,) = [note for note in log.notes if "readable" in note]
    assert note.startswith(f"no readable time as --time-format '%d.%m.%Y' says (such as {shown})")


def test_numbers_are_read_by_the_format_that_is_named(tmp_path: Path) -> None:
    log = _read(tmp_path, '{"type": "a", "time": 20240304}\n', LogOptions(time_format="%Y%m%d"))
    assert [event.time_s for event in log.events] == [1709510400.0]


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_other_encodings_are_recognised_and_said(tmp_path: Path, encoding: str) -> None:
    text = "type,Händler\nkauf,Müller\nkauf,Schröder\n"
    log = _read(tmp_path, text.encode(encoding), LogOptions(guess=True, key_fields=("Händler",)))
    assert _objects(log) == [{("Händler", "Müller")}, {("Händler", "Schröder")}]
    assert any(f"read as {encoding} (guessed; --encoding" in note for note in log.notes)
    assert log.problems == []


def test_a_wrong_encoding_is_told_by_line_with_the_option(tmp_path: Path) -> None:
    data = "type,who\na,Müller\nb,x\n".encode("cp1252")
    log = _read(tmp_path, data, LogOptions(key_fields=("who",)))
    assert [(p.where, p.reason) for p in log.problems] == [
        ("line 2", "invalid UTF-8; --encoding names another encoding")
    ]
    assert _read(tmp_path, data, LogOptions(encoding="latin-1", key_fields=("who",))).problems == []
    with pytest.raises(UsageError, match="no encoding 'latin-99'"):
        _read(tmp_path, data, LogOptions(encoding="latin-99"))
    ascii_ = _read(tmp_path, data, LogOptions(encoding="ascii", key_fields=("who",)))
    assert _objects(ascii_)[0] == {("who", "M\\xfcller")}
    assert any("some bytes are no ascii" in p.reason for p in ascii_.problems)


def test_ties_keep_the_sequence_of_the_file_and_missing_times_come_first(tmp_path: Path) -> None:
    log = _read(tmp_path, "type,time\na,2020-01-02\nb,2020-01-01\nc,\nd,2020-01-01\ne,soon\n")
    assert [e.type for e in log.events] == ["c", "e", "b", "d", "a"]
    assert any("2 of 5 events have no readable time and come first (line 4: none, line 6: 'soon')" in n
               for n in log.notes)  # fmt: skip


def _cloud(number: int, **other: object) -> dict[str, object]:
    event = {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "shop.paid"}
    return {**event, "time": f"2020-01-0{number}T00:00:00Z", "data": {"order_id": number % 2, "sum": 1.5}, **other}


@pytest.mark.parametrize("batch", [True, False])
def test_cloudevents_have_their_keys_in_data_and_attributes(tmp_path: Path, batch: bool) -> None:
    events = [_cloud(2, subject="s"), _cloud(1), {"id": "x"}, _cloud(3, specversion="0.3"), _cloud(4, data=None)]
    text = json.dumps(events, indent=1) if batch else "\n".join(map(json.dumps, events))
    log = _read(tmp_path, text, LogOptions(key_fields=("order_id", "subject")))
    assert log.format == ("CloudEvents batch" if batch else "CloudEvents, one a line")
    assert [(e.id, e.type) for e in log.events] == [(f"/shop#{n}", "shop.paid") for n in (1, 2, 4)]
    assert _objects(log) == [{("order_id", "1")}, {("order_id", "0"), ("subject", "s")}, set()]
    assert log.events[1].data == {"order_id": 0, "sum": 1.5}
    assert [p.reason for p in log.problems] == [
        "no CloudEvent: source must be text that is not empty",
        "CloudEvents 0.3, which is not read; 1.0 is",
    ]
    assert _objects(_read(tmp_path, text))[0] == {("order_id", "1")}
    with pytest.raises(UsageError, match="needs no --type-field"):
        _read(tmp_path, text, LogOptions(type_field="type"))


def test_an_array_of_objects_is_read_like_lines_and_a_break_has_its_line(tmp_path: Path) -> None:
    text = '[\n{"type": "a", "order": 1},\n7,\n{"type": "b", "order": 2}\n]'
    log = _read(tmp_path, text)
    assert (log.format, _objects(log)) == ("JSON array", [{("order", "1")}, {("order", "2")}])
    assert [(p.where, p.reason) for p in log.problems] == [("line 3", "not a JSON object")]
    broken = _read(tmp_path, text.replace('"b"', "b"))
    assert [e.type for e in broken.events] == ["a"]
    assert broken.problems[-1].where == "line 4"


def test_ocel_in_csv_has_lists_of_objects_and_a_cell_that_is_none_is_told(tmp_path: Path) -> None:
    text = (
        "ocel:eid,ocel:activity,ocel:timestamp,ocel:type:item,ocel:type:order,price\n"
        "1.0,make,2020-01-02,\"['a','b']\",\"['o']\",5\n"
        "2.0,ship,2020-01-01,[], ,\n"
        "3.0,bad,2020-01-01,a b,[x],\n"
        "4.0,nums,2020-01-03,\"[1, 'c\\'d']\",[],\n"
    )
    log = _read(tmp_path, text, LogOptions())
    assert log.format == "OCEL 1.0 CSV"
    assert _objects(log) == [set(), {("item", "a"), ("item", "b"), ("order", "o")}, {("item", "1"), ("item", "c'd")}]
    assert log.events[1].data == {"price": "5"}
    assert [(p.where, p.reason) for p in log.problems] == [
        ("line 4", "the column ocel:type:item holds no list such as ['a','b']")
    ]
    with pytest.raises(UsageError, match="OCEL in CSV without a column"):
        _read(tmp_path, "ocel:eid,ocel:activity\n1,a\n")
    with pytest.raises(UsageError, match="needs no --time-field"):
        _read(tmp_path, text, LogOptions(time_field="x"))


def test_a_first_line_that_names_the_delimiter_is_no_header(tmp_path: Path) -> None:
    text = "sep=|\r\nStatus|Datum|Kunde\r\nneu|31.12.2025|1,5\r\nfertig|01.01.2026|1,5\r\n"
    for packed in (text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be")):
        log = _read(tmp_path, packed)
        assert [event.type for event in log.events] == ["neu", "fertig"]
        assert _objects(log) == [{("Kunde", "1,5")}] * 2
        assert [event.number for event in log.events] == [3, 4]
        assert log.problems == []
    assert "type: Status (guessed" in "\n".join(log.notes)
    assert any("read as utf-16-be (guessed; --encoding" in note for note in log.notes)


def test_states_are_types_only_where_guessing_is_allowed_and_nothing_better_is_there(tmp_path: Path) -> None:
    assert _read(tmp_path, "status,order\na,1\n", LogOptions()).events[0].type == "event"
    assert _read(tmp_path, "status,action,order\na,b,1\n").events[0].type == "b"


def test_a_whole_number_is_one_id_however_it_is_written(tmp_path: Path) -> None:
    log = _read(tmp_path, '{"type":"a","order_id":7.0}\n{"type":"a","order_id":7}\n{"type":"a","order_id":"7"}\n')
    assert _objects(log) == [{("order_id", "7")}] * 3
    log = _read(tmp_path, '{"type":"a","order_id":7.5}\n', LogOptions(key_fields=("order_id",)))
    assert "float is no id" in log.problems[0].reason


def test_a_time_that_is_missing_is_said_to_be_none(tmp_path: Path) -> None:
    log = _read(tmp_path, "type,time\na,2025-01-01\nb,\n")
    assert any("come first (line 3: none)" in note for note in log.notes)
