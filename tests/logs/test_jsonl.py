"""JSON lines, clean and dirty: every line is an event or a problem."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commute.errors import UsageError
from commute.logs import Log, LogOptions, read_log
from commute.logs.raw import LINE_BYTES_MAX


def _log(tmp_path: Path, *lines: object, type_field: str | None = None, keys: tuple[str, ...] = ()) -> Log:
    path = tmp_path / "log.jsonl"
    packed = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(packed) + b"\n")
    return read_log(path, LogOptions(type_field=type_field, key_fields=keys))


def _problems(log: Log) -> list[tuple[str, str]]:
    return [(p.where, p.reason) for p in log.problems]


def test_objects_modes_and_the_other_fields(tmp_path: Path) -> None:
    log = _log(
        tmp_path,
        {"id": "a", "ts": 5, "type": "paid", "objects": [["order", 42, "w"], ["rate", "EUR", "r"]], "sum": 7},
        {
            "id": "b",
            "ts": 4,
            "type": "paid",
            "objects": [["s", "x", "add"], ["s", "y"], ["n", True, "votes"]],
        },
        {"id": "c", "ts": 6, "type": "paid", "objects": []},
    )
    assert (log.format, log.problems) == ("JSON lines", [])
    b, a, c = log.events
    assert (a.number, a.id, a.type, a.time_s) == (1, "a", "paid", 5.0)
    assert (a.data, a.spare) == ({"id": "a", "ts": 5, "sum": 7}, ("ts", "id"))  # by their names alone
    assert a.objects == (("order", "42", "write"), ("rate", "EUR", "read"))
    assert b.objects == (("s", "x", "add"), ("s", "y", None), ("n", "true", "votes"))
    assert c.objects == ()
    assert any("'votes' (1 accesses) is a commutative class" in note for note in log.notes)


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        ("wriet", "did you mean write"),
        ("adds", "did you mean add"),
        ("update", "say write"),
        ("x", "known are r, w"),
        ("", "known are"),
        (5, "known are"),
        ("a b", "known are"),
        ([], "known are"),
    ],
)
def test_a_mode_that_may_be_meant_as_another_is_a_problem(tmp_path: Path, mode: object, hint: str) -> None:
    log = _log(
        tmp_path,
        {"type": "t", "objects": [["a", "1", mode]]},
        {"type": "t", "objects": [["a", "1", "W"]]},
    )
    ((where, reason),) = _problems(log)
    assert where == "line 1"
    assert "unknown mode" in reason
    assert hint in reason
    assert [e.objects for e in log.events] == [(("a", "1", "write"),)]


def test_every_bad_line_is_told_with_its_number_and_the_others_are_read(tmp_path: Path) -> None:
    good = {"type": "t", "objects": [["a", "1"]]}
    bad: list[tuple[object, str]] = [
        (b'{"type": "t", "objects": ', "no JSON"),
        (b'{"type": "t", "x": NaN}', "no JSON"),
        (b'{"type": "\xff", "objects": []}', "invalid UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        ([1, 2], "not a JSON object"),
        ({"objects": []}, "no type"),
        ({"type": "", "objects": []}, "no type"),
        ({"type": 7, "objects": []}, "must be text, not int"),
        ({"type": "t"}, "objects must be a list"),
        ({"type": "t", "objects": [["a"]]}, "[type, id]"),
        ({"type": "t", "objects": [{"a": 1}]}, "[type, id]"),
        ({"type": "t", "objects": [[1, "x"]]}, "type must be text"),
        ({"type": "t", "objects": [["a", 1.5]]}, "float is no id"),
        ({"type": "t", "objects": [["a", None]]}, "NoneType is no id"),
    ]
    lines = [line for pair in ((good, reading) for reading, _ in bad) for line in pair]
    log = _log(tmp_path, *lines)
    assert [e.number for e in log.events] == [1 + 2 * i for i in range(len(bad))]
    # Lines that are no JSON are told first: the fields are known only when all lines have been decoded.
    told = {p.where: p for p in log.problems}
    assert len(told) == len(log.problems) == len(bad)
    for index, (_, reason) in enumerate(bad):
        problem = told[f"line {2 + 2 * index}"]
        assert reason in problem.reason
        assert problem.raw
        assert len(problem.raw) <= 161


def test_key_fields_give_keys_of_their_own_name_one_an_element(tmp_path: Path) -> None:
    log = _log(
        tmp_path,
        {"type": "t", "order": 7, "lines": {"sku": ["a", "b"]}},
        {"type": "t", "order": None, "lines": {}},
        {"type": "t", "order": {"x": 1}},
        keys=("order", "lines.sku"),
    )
    assert [e.objects for e in log.events] == [
        (("order", "7", None), ("lines.sku", "a", None), ("lines.sku", "b", None)),
        (),
    ]
    assert log.events[0].data == {"order": 7, "lines": {"sku": ["a", "b"]}}
    assert _problems(log) == [("line 3", "key field order: dict is no id; it must be text or an integer")]
    assert "1 of 3 events have no order, so no key of it" in log.notes


def test_guesses_are_told_and_options_override_them(tmp_path: Path) -> None:
    lines = ({"activity": "a", "kind": "b", "when": "2020-01-01"}, {"activity": "c", "kind": "d"})
    guessed = _log(tmp_path, *lines)
    assert [e.type for e in guessed.events] == ["a", "c"]
    assert "type: activity (guessed; --type-field names another)" in guessed.notes
    assert any(n.startswith("no keys: events touch nothing") for n in guessed.notes)
    assert any(n.startswith("no field looks like the time") for n in guessed.notes)
    assert [e.type for e in _log(tmp_path, *lines, type_field="kind").events] == ["b", "d"]
    with pytest.raises(UsageError, match=r"no record has a field kynd \(did you mean kind\?\)") as refused:
        _log(tmp_path, *lines, type_field="kynd")
    assert refused.value.slug == "bad-log"
    untyped = _log(tmp_path, {"a": 1}, {"a": 2})
    assert [e.type for e in untyped.events] == ["event", "event"]
    assert any("every type is 'event'" in note for note in untyped.notes)


def test_missing_times_come_first_and_ties_keep_the_sequence_of_the_file(tmp_path: Path) -> None:
    times = ["2020-01-02", "soon", "2020-01-01", "2020-01-01T00:00Z", None, "2020-01-01"]
    log = _log(tmp_path, *({"type": "t", "time": time} for time in times))
    assert [e.number for e in log.events] == [2, 5, 3, 4, 6, 1]
    assert [n for n in log.notes if "readable" in n] == [
        "2 of 6 events have no readable time and come first (line 2: 'soon', line 5: none)"
    ]
    assert any("3 of 6 events stand after a later one" in note for note in log.notes)


def test_a_field_of_ids_that_repeat_is_no_identity(tmp_path: Path) -> None:
    log = _log(tmp_path, *({"id": i, "type": "t"} for i in ("a", "b", "a")))
    assert [e.id for e in log.events] == ["1", "2", "3"]
    assert any("'a' occurs twice" in note for note in log.notes)
    assert [e.id for e in _log(tmp_path, *({"id": i, "type": "t"} for i in ("a", "b", 7))).events] == [
        "a",
        "b",
        "7",
    ]


def test_a_line_beyond_the_limit_is_told_and_the_next_is_read(tmp_path: Path) -> None:
    long = b'{"type": "' + b"x" * (LINE_BYTES_MAX * 2) + b'"}'
    log = _log(tmp_path, {"type": "a"}, long, {"type": "b"}, long, b"")
    assert [(e.number, e.type) for e in log.events] == [(1, "a"), (3, "b")]
    assert [(p.where, p.reason[:11]) for p in log.problems] == [
        ("line 2", "longer than"),
        ("line 4", "longer than"),
    ]


def test_a_file_cut_in_a_line_keeps_the_lines_before(tmp_path: Path) -> None:
    whole = b"".join(json.dumps({"type": "t", "n": n}).encode() + b"\n" for n in range(10))
    path = tmp_path / "cut.jsonl"
    for size in range(20, len(whole)):
        path.write_bytes(whole[:size])
        log = read_log(path)
        complete = sum(1 for line in whole[:size].split(b"\n") if line.endswith(b"}"))
        assert [e.data["n"] for e in log.events] == list(range(complete))
        assert len(log.problems) == (not whole[:size].endswith((b"}", b"\n")))
