"""What a file is, is told by its content: packed or not, whatever its name, also from standard input."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import apsw
import pytest

from commute.errors import UsageError
from commute.logs import read_log

JSONL = b"".join(b'{"type": "t", "n": %d}\n' % n for n in range(20_000))
CSV = b"type,n\n" + b"".join(b"t,%d\n" % n for n in range(20_000))
OCEL = b'{"events": [{"id": "e", "type": "t"}], "objects": []}'


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("text", "format_name", "events"),
    [(JSONL, "JSON lines", 20_000), (CSV, "CSV", 20_000), (OCEL, "OCEL 2.0 JSON", 1)],
)
def test_the_name_does_not_matter(tmp_path: Path, text: bytes, format_name: str, events: int, packed: bool) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(gzip.compress(text) if packed else text)
    log = read_log(path)
    assert (log.format, len(log.events), log.problems) == (format_name, events, [])


def test_a_packed_database_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    connection = apsw.Connection(":memory:")
    connection.execute(
        "CREATE TABLE event (ocel_id, ocel_type); CREATE TABLE object (ocel_id, ocel_type);"
        "CREATE TABLE event_object (ocel_event_id, ocel_object_id);"
        "CREATE TABLE event_map_type (ocel_type, ocel_type_map); CREATE TABLE event_T (ocel_id, ocel_time);"
        "INSERT INTO event VALUES ('e', 't'); INSERT INTO event_map_type VALUES ('t', 'T');"
        "INSERT INTO event_T VALUES ('e', '2020-01-01')"
    )
    packed = gzip.compress(connection.serialize("main"))
    path.write_bytes(packed)
    assert [e.id for e in read_log(path).events] == ["e"]
    path.write_bytes(packed[:-20])
    with pytest.raises(UsageError, match="a SQLite database, but the gzip data breaks off"):
        read_log(path)


@pytest.mark.parametrize("text", [JSONL, CSV])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    for piped in (text, gzip.compress(text)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        assert len(read_log("-").events) == 20_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"SQLite format 3\0" + bytes(100))))
    with pytest.raises(UsageError, match="standard input: a SQLite database, which needs a file"):
        read_log("-")


def test_progress_ends_with_all_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(JSONL * 3)
    told: list[tuple[int, int | None]] = []
    read_log(path, progress=lambda done, total: told.append((done, total)))
    size = len(JSONL) * 3
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1:] == [(size, size)]
    told.clear()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(JSONL)))
    read_log("-", progress=lambda done, total: told.append((done, total)))
    assert told[-1:] == [(len(JSONL), None)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"\x7fELF\0\0\0", "binary data"),
        (b"PK\x03\x04....", "a zip archive"),
        (b'<?xml version="1.0"?><log xes.version="1.0">', "XES that breaks off at line 1"),
        (b"\n<ocel><x/></ocel>", "XML that is neither XES nor OCEL 2.0"),
        (b'[["type"], ["t"]]', "a JSON array whose elements are no objects"),
        (b"<log><trace><event/></trace></log>", "XES in which no event has time:timestamp (the first one stands at"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><log><trace/></log>', "XML that declares an entity (a) at line 1"),
        (b'{\n "type": "t",\n "n": 1\n}', "a JSON document that is no OCEL log"),
        (b"hello\nworld\n", "neither JSON nor a table"),
        (b"\x1f\x8b", "gzip data breaks off"),
        (gzip.compress(JSONL, mtime=0)[:12], "gzip data breaks off"),
        (b"\x1f\x8b\x08\x00garbage that is no gzip", "gzip data is damaged"),
    ],
)
def test_what_is_no_log_is_refused_with_what_it_is_and_what_is_read(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_log(path)
    assert refused.value.slug == "bad-log"
    assert refused.value.message.startswith(f"{path}: ")
    assert found in refused.value.message
    assert (
        "These are read: JSON lines, JSON arrays, JSON documents with a list of events, CloudEvents, CSV, XES, OCEL 1.0"
        in refused.value.message
    )


def test_files_that_cannot_be_opened_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_log(tmp_path / "none")
    with pytest.raises(UsageError, match="a directory, not a log"):
        read_log(tmp_path)


@pytest.mark.parametrize("text", [JSONL, CSV])
def test_gzip_that_is_cut_keeps_what_came_before(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.gz"
    packed = gzip.compress(text)
    kept = -1
    for share in (0.1, 0.5, 0.9, 1.0):
        path.write_bytes(packed[: int(len(packed) * share) - 1])
        log = read_log(path)
        assert log.problems[-1].where == "end of file"
        assert log.problems[-1].reason == "the gzip data breaks off before its end; what came before is kept"
        numbers = [int(str(e.data["n"])) for e in log.events]
        assert numbers[:-1] == list(range(len(numbers) - 1))
        # What does not become an event is the broken last line, and it is told.
        assert len(log.problems) <= 2
        assert len(numbers) > kept
        kept = len(numbers)
    assert kept == 20_000


def test_gzip_that_is_damaged_keeps_what_came_before_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    packed = bytearray(gzip.compress(JSONL))
    packed[-8] ^= 1  # the checksum: all data came before it
    path.write_bytes(packed)
    log = read_log(path)
    assert len(log.events) == 20_000
    assert [p.reason.partition(" (")[0] for p in log.problems] == ["the gzip data is damaged"]


def test_gzip_of_several_members_and_padding_is_one_log(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(JSONL) + gzip.compress(JSONL) + bytes(1000))
    log = read_log(path)
    assert (len(log.events), log.problems) == (40_000, [])


def test_a_bad_first_line_does_not_make_another_format_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for first in (b"garbage, of two columns", b'{"type": "t', b"[1]", b'"x"'):
        path.write_bytes(first + b"\n" + JSONL)
        log = read_log(path)
        assert (log.format, len(log.events)) == ("JSON lines", 20_000)
        assert [p.where for p in log.problems] == ["line 1"]


def test_lines_of_which_none_can_be_read_are_problems_if_the_name_says_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"type": "t", "n": 1')
    log = read_log(path)
    assert (log.events, [p.where for p in log.problems]) == ([], ["line 1"])
