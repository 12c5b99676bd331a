"""CSV, clean and dirty: every row is an event or a problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from commute.errors import UsageError
from commute.logs import Log, LogOptions, read_log
from commute.logs.base import INVALID_UTF8


def _log(
    tmp_path: Path,
    text: str | bytes,
    *,
    type_field: str | None = None,
    time_field: str | None = None,
    keys: tuple[str, ...] = (),
) -> Log:
    path = tmp_path / "log.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_log(path, LogOptions(type_field=type_field, time_field=time_field, key_fields=keys))


def test_the_columns_of_a_case_log_are_recognised(tmp_path: Path) -> None:
    log = _log(
        tmp_path,
        "case:concept:name,concept:name,org:resource,org:group,time:timestamp,cost\n"
        "c1,pay,ann,g1,2020-01-02,5\n"
        "c2,ship,,g2,2020-01-01,6\n"
        "c3,ship,,,2020-01-03,7\n",
    )
    assert (log.format, log.problems) == ("CSV", [])
    assert [(e.number, e.type, e.objects) for e in log.events] == [
        (3, "ship", (("case", "c2", None), ("resource", "g2", None))),
        (2, "pay", (("case", "c1", None), ("resource", "ann", None))),
        (4, "ship", (("case", "c3", None),)),
    ]
    assert log.events[0].data["cost"] == "6"
    assert "concept:name" not in log.events[0].data
    assert any("resource = org:resource else org:group" in note for note in log.notes)
    assert any(note.startswith("1 of 3 events have no org:resource") for note in log.notes)


def test_named_fields_replace_what_would_be_guessed(tmp_path: Path) -> None:
    text = "case:concept:name,concept:name,step,at\nc1,pay,one,2\nc2,ship,two,1\n"
    log = _log(tmp_path, text, type_field="step", time_field="at", keys=("case:concept:name", "step"))
    assert [e.objects for e in log.events] == [
        (("case:concept:name", "c2", None), ("step", "two", None)),
        (("case:concept:name", "c1", None), ("step", "one", None)),
    ]
    assert [e.time_s for e in log.events] == [1.0, 2.0]
    with pytest.raises(UsageError, match=r"no record has a field stp \(did you mean step\?\)"):
        _log(tmp_path, text, keys=("stp",))
    with pytest.raises(UsageError, match=r"no record has a field step\.x"):
        _log(tmp_path, text, type_field="step.x")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_also_with_others_in_the_text(tmp_path: Path, delimiter: str) -> None:
    rows = [["type", "note", "n"], ["a", '"x, y; z"', "1"], ["b", "p", "2"], ["c", '"two\nlines"', "3"]]
    log = _log(tmp_path, "\r\n".join(delimiter.join(row) for row in rows), keys=("n",))
    assert log.problems == []
    assert [(e.number, e.type, e.objects) for e in log.events] == [
        (2, "a", (("n", "1", None),)),
        (3, "b", (("n", "2", None),)),
        (4, "c", (("n", "3", None),)),
    ]
    assert str(log.events[2].data["note"]).split() == ["two", "lines"]


def test_every_bad_row_is_told_with_its_line_and_the_others_are_read(tmp_path: Path) -> None:
    log = _log(
        tmp_path,
        b'type,who\na,1\nb\nc,1,2\n,4\n"d"x,5\n\n\xff,6\ne,"7\nf,8\ng,9\n',
        keys=("who",),
    )
    assert [(e.number, e.type) for e in log.events] == [(2, "a"), (10, "f"), (11, "g")]
    assert [(p.where, p.reason, p.raw) for p in log.problems] == [
        ("line 3", "1 columns, the header has 2", "b"),
        ("line 4", "3 columns, the header has 2", "c,1,2"),
        ("line 5", "no type: the column type is empty", ",4"),
        ("line 6", "',' expected after '\"'", '"d"x,5'),
        ("line 8", INVALID_UTF8, "\\xff,6"),
        ("line 9", "unexpected end of data", 'e,"7'),
    ]


def test_a_quote_that_is_never_closed_costs_one_row_of_a_large_file(tmp_path: Path) -> None:
    rows = [f"t,{n},{'x' * 50}" for n in range(10_000)]
    rows[17] = 't,"17,x'
    log = _log(tmp_path, "\n".join(["type,n,text", *rows]) + "\n")
    assert [p.where for p in log.problems] == ["line 19"]
    assert [e.data["n"] for e in log.events] == [str(n) for n in range(10_000) if n != 17]


def test_headers_without_names_or_with_one_name_twice(tmp_path: Path) -> None:
    log = _log(tmp_path, "\ufeff,type,x,x\n0,a,1,2\n")
    assert log.events[0].data == {"column 1": "0", "x": "1", "x 4": "2"}
    assert "two columns are called x; the second is read as x 4" in log.notes


def test_a_table_of_one_column_is_read_if_it_is_called_one(tmp_path: Path) -> None:
    assert [e.type for e in _log(tmp_path, "type\na\nb\n").events] == ["a", "b"]
    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo\n")
    with pytest.raises(UsageError, match="neither JSON nor a table"):
        read_log(path)


def test_a_header_alone_is_a_log_without_events(tmp_path: Path) -> None:
    assert _log(tmp_path, "type,time\n").events == []


def test_a_file_cut_in_a_row_keeps_the_rows_before_and_tells_of_the_last(tmp_path: Path) -> None:
    header = "type,n,text\n"
    whole = header + "".join(f't,{n},"a, b"\n' for n in range(5))
    for size in range(len(header) + 1, len(whole)):
        cut = whole[:size]
        log = _log(tmp_path, cut)
        before = cut.count("\n") - 1
        assert [e.data["n"] for e in log.events][:before] == [str(n) for n in range(before)]
        ends_open = not cut.endswith("\n")
        assert len(log.events) + len(log.problems) == before + ends_open
        # A row that is whole but for its line feed cannot be told from one whose last value is short.
        assert any("may be short" in note for note in log.notes) == ends_open
