"""OCEL 1.0 and 2.0 in JSON, OCEL 2.0 in SQLite: clean, dirty and cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import apsw
import pytest

from commute.errors import UsageError
from commute.logs import Log, LogOptions, read_log

MARK = '"id": "e1'
NEWLINE = "\n"


def _event_1(time: str, *objects: object, **data: object) -> dict[str, object]:
    return {"ocel:activity": "pay", "ocel:timestamp": time, "ocel:omap": list(objects), "ocel:vmap": data}


def _document_1() -> dict[str, object]:
    return {
        "ocel:global-log": {"ocel:version": "1.0"},
        "ocel:events": {
            "e2": _event_1("2020-01-02", "o1", "i1", sum=7),
            "e1": _event_1("2020-01-01", "o1"),
            "e3": _event_1("2020-01-03"),
        },
        "ocel:objects": {"o1": {"ocel:type": "order", "ocel:ovmap": {}}, "i1": {"ocel:type": "item"}},
    }


def _document_2() -> dict[str, object]:
    related = [{"objectId": "o1", "qualifier": "of"}, {"objectId": "o1", "qualifier": "for"}]
    return {
        "objectTypes": [],
        "eventTypes": [],
        "objects": [{"id": "o1", "type": "order"}, {"id": "i1", "type": "item"}],
        "events": [
            {
                "id": "e2",
                "type": "pay",
                "time": "2020-01-02T00:00:00Z",
                "attributes": [{"name": "sum", "value": 7}],
                "relationships": [*related, {"objectId": "i1"}],
            },
            {"id": "e1", "type": "pay", "time": "2020-01-01T00:00:00Z", "relationships": related[:1]},
        ],
    }


def _write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "log"
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    return path


def _told(log: Log) -> list[tuple[str, str]]:
    return [(p.where, p.reason) for p in log.problems]


def test_an_ocel_1_document(tmp_path: Path) -> None:
    log = read_log(_write(tmp_path, _document_1()))
    assert (log.format, log.problems) == ("OCEL 1.0 JSON", [])
    e1, e2, e3 = log.events
    assert (e2.number, e2.id, e2.type, e2.data) == (1, "e2", "pay", {"sum": 7})
    assert e2.objects == (("order", "o1", None), ("item", "i1", None))
    assert (e1.id, e1.objects, e3.objects) == ("e1", (("order", "o1", None),), ())


def test_an_ocel_2_document_may_relate_an_object_twice(tmp_path: Path) -> None:
    log = read_log(_write(tmp_path, _document_2()), LogOptions(key_fields=("sum",)))
    assert (log.format, log.problems) == ("OCEL 2.0 JSON", [])
    e1, e2 = log.events
    assert e2.objects == (*(("order", "o1", None), ("order", "o1", None), ("item", "i1", None), ("sum", "7", None)),)
    assert (e1.id, e2.data) == ("e1", {"sum": 7})
    assert "1 of 2 events have no sum, so no key of it" in log.notes


def test_a_key_field_that_no_event_has_is_refused_with_those_there_are(tmp_path: Path) -> None:
    for document in (_document_1(), _document_2()):
        with pytest.raises(UsageError, match=r"no record has a field summ \(did you mean sum\?\)"):
            read_log(_write(tmp_path, document), LogOptions(key_fields=("sum", "summ")))


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("document", [_document_1(), _document_2()])
def test_it_is_recognised_on_one_line_and_on_many(tmp_path: Path, document: object, indent: int | None) -> None:
    path = tmp_path / "log.json"
    path.write_text("\ufeff\n " + json.dumps(document, indent=indent))
    assert read_log(path).format.startswith("OCEL")
    assert read_log(path).problems == []


def test_objects_that_nothing_declares_are_keys_all_the_same(tmp_path: Path) -> None:
    document = _document_2()
    document["objects"] = [{"id": "o1", "type": "order"}]
    log = read_log(_write(tmp_path, document))
    assert ("?", "i1", None) in log.events[1].objects
    assert log.notes == [
        "1 objects are declared nowhere; their type is '?' (i1)",
        "the file is not in time sequence: 1 of 2 events stand after a later one",
    ]


def test_bad_events_and_objects_of_ocel_1_are_told_with_their_lines(tmp_path: Path) -> None:
    log = read_log(
        _write(
            tmp_path,
            """{"ocel:events": {
            "a": {"ocel:activity": "pay", "ocel:omap": ["o"], "ocel:vmap": {"x": NaN}},
            "b": {"ocel:omap": []},
            "c": {"ocel:activity": "pay"},
            "a": {"ocel:activity": "pay", "ocel:omap": []},
            "d": 7,
            "e": {"ocel:activity": "pay", "ocel:omap": [1.5]},
            "f": {"ocel:activity": "\\ud800", "ocel:omap": []},
            "g": {"ocel:activity": "pay", "ocel:timestamp": "2020", "ocel:omap": ["o"]}
            },
            "ocel:objects": {"o": {"ocel:type": "t"},
            "p": {},
            "o": {"ocel:type": "u"}}}""",
        )
    )
    assert [(e.id, e.number, e.objects) for e in log.events] == [
        ("a", 1, (("t", "o", None),)),
        ("g", 8, (("t", "o", None),)),
    ]
    assert log.events[0].data == {"x": None}
    assert _told(log) == [
        ("line 3", "no ocel:activity"),
        ("line 4", "the event has no list ocel:omap of objects"),
        ("line 5", "a second event with the id 'a'"),
        ("line 6", "expected an object, found int"),
        ("line 7", "ocel:omap: float is no id; it must be text or an integer"),
        ("line 8", "invalid UTF-8"),
        ("line 12", "no ocel:type"),
        ("line 13", "object 'o' is declared as 't' and again as 'u'; the first counts"),
    ]
    assert "1 values NaN or Infinity, which are no JSON, are read as null" in log.notes


def test_bad_events_and_objects_of_ocel_2_are_told_with_their_lines(tmp_path: Path) -> None:
    bad = [
        7,
        {"type": "t"},
        {"id": "x"},
        {"id": "x", "type": "t", "relationships": {}},
        {"id": "x", "type": "t", "relationships": [7]},
        {"id": "x", "type": "t", "relationships": [{}]},
        {"id": "x", "type": "t", "attributes": {}},
        {"id": "x", "type": "t", "attributes": [{"value": 1}]},
        {"id": "x", "type": "t", "attributes": [{"name": "n", "value": {}}]},
    ]
    good = {"id": "e", "type": "t"}
    events = ",\n".join(json.dumps(e) for e in [*bad, good])
    text = f'{{"objects": [{{"id": "o"}}], "events": [\n{events}]}}'
    log = read_log(_write(tmp_path, text), LogOptions(key_fields=("n",)))
    assert [(e.id, e.number) for e in log.events] == [("e", len(bad) + 1)]
    assert [where for where, _ in _told(log)] == [f"line {n}" for n in range(1, len(bad) + 1)] + ["event x"]


@pytest.mark.parametrize("document", [_document_1(), _document_2()])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_document_that_is_cut_keeps_what_came_before(tmp_path: Path, document: object, indent: int | None) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(document, indent=indent))
    whole = read_log(path)
    text = path.read_text()
    start = text.index('events"') + len('events": [')
    kept = 0
    for size in range(start, len(text)):
        path.write_text(text[:size])
        log = read_log(path)
        assert [p for p in log.problems if "breaks off" in p.reason], text[:size]
        assert len(log.events) >= kept
        kept = len(log.events)
        # What is kept has all its keys, though perhaps not their types.
        of_whole = {e.id: [o[1] for o in e.objects] for e in whole.events}
        assert all([o[1] for o in e.objects] == of_whole[e.id] for e in log.events)
    assert kept == len(whole.events)


def test_damage_in_the_middle_is_told_with_its_line(tmp_path: Path) -> None:
    text = json.dumps(_document_2(), indent=1).replace('"id": "e1"', MARK)
    log = read_log(_write(tmp_path, text))
    assert [e.id for e in log.events] == ["e2"]
    ((where, reason),) = _told(log)
    damaged = 1 + text[: text.index(MARK)].count(NEWLINE)
    assert (where, f"(line {damaged})" in reason) == (f"line {damaged - 1}", True)
    assert "the document breaks off" in reason
    trailing = read_log(_write(tmp_path, json.dumps(_document_2()) + "\n{}"))
    assert len(trailing.events) == 2
    assert [reason.partition(";")[0] for _, reason in _told(trailing)] == [
        "the document breaks off: text after the end of the document"
    ]


def test_bytes_that_are_no_utf_8_cost_one_event(tmp_path: Path) -> None:
    path = _write(tmp_path, _document_1())
    path.write_bytes(path.read_bytes().replace(b'"pay"', b'"p\xffy"', 1))
    log = read_log(path)
    assert [e.id for e in log.events] == ["e1", "e3"]
    assert [reason for _, reason in _told(log)] == ["invalid UTF-8"]


def test_nesting_without_end_is_told(tmp_path: Path) -> None:
    text = json.dumps(_document_2())[:-2] + ', {"id": "deep", "type": "t", "attributes": ' + "[" * 200_000
    log = read_log(_write(tmp_path, text))
    assert len(log.events) == 2
    assert "nested too deeply" in _told(log)[0][1]


def test_a_document_without_events_is_refused(tmp_path: Path) -> None:
    for text in ('{"ocel:objects": {}}', '{"ocel:events"', '{"ocel:objects": {"a"', '{\n"a": 1}'):
        with pytest.raises(UsageError) as refused:
            read_log(_write(tmp_path, text))
        assert refused.value.slug == "bad-log"
    with pytest.raises(UsageError, match="needs no --type-field: it says that itself"):
        read_log(_write(tmp_path, _document_1()), LogOptions(type_field="x"))


SCHEMA = """
CREATE TABLE event (ocel_id TEXT, ocel_type TEXT);
CREATE TABLE object (ocel_id TEXT, ocel_type TEXT);
CREATE TABLE event_object (ocel_event_id TEXT, ocel_object_id TEXT, ocel_qualifier TEXT);
CREATE TABLE event_map_type (ocel_type TEXT, ocel_type_map TEXT);
CREATE TABLE "event_Pay ""x"" y" (ocel_id TEXT, ocel_time TEXT, sum INTEGER);
INSERT INTO event_map_type VALUES ('pay', 'Pay "x" y');
INSERT INTO object VALUES ('o1', 'order'), ('i1', 'item');
INSERT INTO event VALUES ('e2', 'pay'), ('e1', 'pay');
INSERT INTO "event_Pay ""x"" y" VALUES ('e1', '2020-01-01 00:00:00', NULL), ('e2', '2020-01-02 00:00:00', 7);
INSERT INTO event_object VALUES ('e2', 'o1', 'a'), ('e2', 'o1', 'b'), ('e1', 'o1', ''), ('e2', 'i1', '');
"""


def _database(tmp_path: Path, more: Iterable[str] = ()) -> Path:
    path = tmp_path / "log.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute(SCHEMA)
    for statement in more:
        connection.execute(statement)
    connection.close()
    return path


def test_an_ocel_2_database(tmp_path: Path) -> None:
    path = _database(tmp_path, ["ALTER TABLE event ADD COLUMN size AS (length(ocel_id))"])
    before = path.read_bytes()
    log = read_log(path)
    assert (log.format, log.problems) == ("OCEL 2.0 SQLite", [])
    e1, e2 = log.events
    assert (e2.number, e2.type, e2.data) == (1, "pay", {"sum": 7})
    assert (e1.number, e1.data, e1.objects) == (2, {}, (("order", "o1", None),))
    assert e2.objects == (("order", "o1", None), ("order", "o1", None), ("item", "i1", None))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_ties_keep_the_sequence_of_the_table_whatever_indexes_it_has(tmp_path: Path) -> None:
    path = _database(
        tmp_path,
        [
            "CREATE UNIQUE INDEX i ON event (ocel_id, ocel_type)",
            "DELETE FROM event",
            *(f"INSERT INTO event VALUES ('x{n}', 'pay')" for n in (3, 1, 2)),
            *(f"""INSERT INTO "event_Pay ""x"" y" VALUES ('x{n}', '2021-01-01', 1)""" for n in (1, 2, 3)),
            "DELETE FROM event_object",
        ],
    )
    assert [e.id for e in read_log(path).events] == ["x3", "x1", "x2"]


def test_bad_rows_of_a_database_are_told(tmp_path: Path) -> None:
    path = _database(
        tmp_path,
        [
            "INSERT INTO event VALUES ('e1', 'pay'), ('e3', 'pay'), ('e4', 'ship')",
            "INSERT INTO event VALUES ('e5', 'lost'), (NULL, 'pay')",
            "INSERT INTO event_map_type VALUES ('lost', 'Lost')",
            "INSERT INTO event_object VALUES ('e9', 'o1', ''), ('e1', NULL, ''), ('e1', 'gone', '')",
            "INSERT INTO object VALUES ('o1', 'parcel')",
        ],
    )
    log = read_log(path)
    assert [e.id for e in log.events] == ["e1", "e2"]
    assert ("?", "gone", None) in log.events[0].objects
    assert "1 objects are declared nowhere; their type is '?' (gone)" in log.notes
    assert _told(log) == [
        ("object o1", "declared as 'order' and again as 'parcel'; the first counts"),
        ("table event_object", "a relation without event or object"),
        ("table event_Lost", "missing, or without ocel_id and ocel_time (type 'lost')"),
        ("event e1", "a second event with this id"),
        ("event e3", "no row in the table of its type 'pay', so no time"),
        ("event e4", "no row in the table of its type 'ship', so no time"),
        ("event e5", "no row in the table of its type 'lost', so no time"),
        ("event None", "ocel_id: NoneType is no id; it must be text or an integer"),
        ("event e9", "related to objects, but no event"),
    ]


def test_a_database_that_is_no_ocel_or_is_damaged_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    connection = apsw.Connection(str(other))
    connection.execute("CREATE TABLE users (id)")
    connection.close()
    with pytest.raises(UsageError, match=r"without event.ocel_id.*tables: users.*These are read"):
        read_log(other)
    path = _database(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cannot be read"):
        read_log(path)
    path.write_bytes(whole[:100])
    with pytest.raises(UsageError, match="SQLite"):
        read_log(path)
    damaged = bytearray(whole)
    damaged[4096:] = b"\xff" * (len(whole) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(UsageError, match="cannot be read"):
        read_log(path)


def test_a_database_with_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    path = _database(tmp_path, ["INSERT INTO event_object VALUES ('e1', CAST(X'6fff' AS TEXT), '')"])
    with pytest.raises(UsageError, match="text that is no UTF-8"):
        read_log(path)
