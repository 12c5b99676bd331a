"""`commute analyze`: what it says, as text, JSON and tables; the session in docs/analyze.md; dirty and wrong input."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from commute.cli import main

ROOT = Path(__file__).parents[2]
ORDERS = ROOT / "examples" / "logs" / "orders.csv"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["analyze", *map(str, arguments)])


def document(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_session_in_the_documentation_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "analyze.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    sessions = re.findall(r"```console\n\$ commute analyze (examples/[^\n]*)\n(.+?)```", page, re.DOTALL)
    assert sessions
    for line, shown in sessions:
        result = CliRunner().invoke(main, ["analyze", *line.split()])
        assert result.stderr + result.stdout == shown


def test_the_document_has_every_figure_and_what_was_assumed() -> None:
    found = document(ORDERS)
    assert (found["events"], found["event_types"], found["object_types"]) == (353, 5, 3)
    assert found["chain_events"] == 114
    assert found["bound"] == pytest.approx(353 / 114, abs=1e-4)
    assert found["fixed_partition_bound"] == 1.0
    assert list(found["speedup_at"]) == ["2", "4", "8", "16", "32", "64"]
    assert found["lookahead"] == 256
    hubs = {hub["type"]: hub for hub in found["hubs"]}
    assert hubs["Clerk"]["share_of_chain"] > 0.9
    assert hubs["Clerk"]["bound_if_read"] > 29
    assert {row["kind"] for row in found["relation"]} == {"when"}
    orders = next(key for key in found["keys"] if key["name"] == "Order No")
    assert orders["determines"] == ["Customer"]
    assert len(found["summary"]) <= 5
    assert "rule independence out" in found["summary"][-1]
    assert all(remedy["assumption"] for remedy in found["remedies"])
    assert any("--key" in note for note in found["notes"])


def test_what_a_person_knows_changes_the_figures_and_is_said() -> None:
    found = document(ORDERS, "--read", "Clerk", "--add", "Customer")
    assert found["bound"] > 80
    assert "Clerk only read; Customer only added to" in found["taken_as"]
    assert document(ORDERS, "--key", "Order No")["chain_events"] == 4
    assert document(ORDERS, "--lookahead", 8, "--lookahead", 16)["curves"][1]["lookahead"] == 16
    wrong = run(ORDERS, "--read", "Clark")
    assert wrong.exit_code == 2
    assert "the log has no objects of type Clark" in wrong.stderr


def test_every_role_can_be_named_and_so_can_delimiter_encoding_and_dates(tmp_path: Path) -> None:
    path = tmp_path / "odd.txt"
    rows = ["what~on~who~how~ref", "a~1 Feb 2024~Jürgen~r~1", "b~2 Jan 2024~Jürgen~r~2", "a~3 Jan 2024~Ann~w~3"]
    path.write_bytes("\n".join(rows).encode("cp1252"))
    roles = "--type-field what --time-field on --resource-field who --mode-field how --id-field ref"
    options = (*roles.split(), "--delimiter", "~", "--encoding", "cp1252", "--time-format", "%d %b %Y")
    found = document(path, *options)
    assert found["problems"] == []
    assert (found["events"], found["event_types"], found["object_counts"]) == (3, 2, {"resource": 2})
    assert found["chain_events"] == 1  # Jürgen is only read
    assert run(path, *options, "--delimiter", "~~").exit_code == 2


def test_tables_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    result = run(ORDERS, "--csv", tmp_path / "t")
    assert result.exit_code == 0, result.output
    read = {
        path.stem: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        for path in (tmp_path / "t").iterdir()
    }
    assert read.keys() == {"relation", "hubs", "keys", "speedup", "chain"}
    assert read["hubs"][0]["type"] == "Clerk"
    assert len(read["relation"]) == 15
    (tmp_path / "file").write_text("")
    assert run(ORDERS, "--csv", tmp_path / "file").exit_code == 2


def test_where_all_objects_are_of_one_type_the_heaviest_one_is_a_remedy_and_a_case_never_is(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    objects = [[["row", n], ["row", "total"]] if n % 2 else [["row", n], ["row", n - n % 10]] for n in range(100)]
    path.write_text("".join(json.dumps({"type": "t", "ts": n, "objects": o}) + "\n" for n, o in enumerate(objects)))
    found = document(path)
    assert [one["families"] for one in found["remedies"]] == [["row/total"]]
    path = tmp_path / "log.csv"
    path.write_text("Case ID,Activity,time,Resource\n" + "".join(f"{n % 10},a,{n},{n // 3 % 8}\n" for n in range(100)))
    found = document(path)
    assert [one["families"] for one in found["remedies"]] == [["resource"]]
    assert {one["type"] for one in found["hubs"]} == {"case", "resource"}


def test_independent_events_need_no_remedy_and_one_chain_has_none(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"type": "t", "ts": n, "objects": [["o", n]]}) + "\n" for n in range(100)))
    free = document(path)
    assert (free["bound"], free["remedies"]) == (100.0, [])
    assert "any number of workers helps" in free["summary"][0]
    assert "Remedies: none is needed" in run(path).stdout
    path.write_text("".join(json.dumps({"type": "t", "ts": n, "objects": [["o", 1]]}) + "\n" for n in range(100)))
    stuck = document(path)
    assert (stuck["bound"], stuck["fixed_partition_bound"], stuck["remedies"]) == (1.0, 1.0, [])
    assert "none among the objects of this log" in run(path).stdout
    assert stuck["relation"][0]["kind"] == "always"


def test_a_log_whose_keys_are_not_known_gives_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("type,reading\na,1.5\nb,2.5\n")
    text = run(path).stdout
    assert "nothing is known of what depends on what" in text
    assert "any number of workers helps" not in text
    assert "Remedies" not in text
    assert "bound               not known" in text
    assert " x" not in text, "no figure, since each would be taken for one of this log"
    assert "never in this log" not in text
    found = document(path)
    assert found["summary"] == document(path, "--lookahead", 4)["summary"]
    assert [found[name] for name in ("bound", "chain_events", "fixed_partition_bound", "knee")] == [None] * 4
    assert (found["speedup_at"], found["relation"], found["remedies"]) == ({}, [], [])
    page = run(path, "--picture", tmp_path / "page.html")
    assert page.exit_code == 0, page.output
    assert "nothing is known" in (tmp_path / "page.html").read_text()
    advised = CliRunner().invoke(main, ["advise", str(path), "--json"])
    advice = json.loads(advised.stdout)
    assert "nothing is known" in advice["verdict"][0]
    assert (advice["predictions"], advice["fixed_partition_bound"], advice["labels"]) == ([], None, None)
    advised = CliRunner().invoke(main, ["advise", str(path)])
    assert "speed-up   not known" in advised.stdout
    assert " x" not in advised.stdout


def test_one_is_said_as_one(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"type": "t", "ts": 1, "objects": [["o", 1]]}\n')
    text = run(path, "--lookahead", 1).stdout
    assert "1 event of 1 type\n" in text
    assert "There is one event only." in text
    assert "no two events hang together" in text
    assert re.findall(r"\b1 (?:\w+ )?(?:events|types|objects)\b", text) == []
    path.write_text('{"type": "t", "ts": 1, "objects": [["o", 1]]}\n{"type": "t", "ts": 2, "objects": [["o", 1]]}\n')
    assert "2 events hang together" in run(path).stdout


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("x.csv", b"type;time;order_id\na;2020;1\nb;2021\nc;2022;1\n", "line 3: 2 columns, the header has 3"),
        ("x.xes", b"<log><trace><event><string key='concept:name' value='a'/></event></trace></log>",
         "no event has time:timestamp (the first one stands at line 1)"),
        ("x.xes", b"<log>\n<trace>\n<event></trace></log>", "breaks off at line 3"),
        ("x.json", b'[{"specversion":"1.0","id":"1"}, {"type": "x"', "line 1: the document breaks off"),
        ("x.jsonl.gz", gzip.compress(b'{"type":"a","objects":[]}\n' * 50)[:-8], "gzip data breaks off"),
        ("x.csv", "type,k_id\nä,1\n".encode("utf-32-le"), "binary data"),
        ("x.jsonl", b"", "empty"),
    ],
)  # fmt: skip
def test_damaged_files_are_told_by_line(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    result = run(path)
    assert told in result.stderr
    assert result.exit_code in (0, 2)
    assert "Traceback" not in result.output


def test_an_event_whose_key_is_too_long_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"type": "t", "objects": [["o", "1"]]}\n{"type": "t", "objects": [["o", "%s"]]}\n' % ("x" * 300))
    result = run(path)
    assert result.exit_code == 0, result.output
    assert "left out: event 2" in result.stderr
    assert document(path)["events"] == 1
