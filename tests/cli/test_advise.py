"""`commute advise`: of a log and of an app, its document, the session in docs/advise.md, and wrong use."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from commute.cli import main

ROOT = Path(__file__).parents[2]
ORDERS = ROOT / "examples" / "logs" / "orders.csv"

APP = """
from commute import App, Event


class Paid(Event, type="paid"):
    order_id: int
    shop: str


class Counted(Event, type="counted"):
    shop: str


app = App("advised", "sqlite:///advised.db")


@app.on(Paid, writes=["order/{order_id}", "shop/{shop}"])
async def pay(event: Paid) -> None: ...


@app.on(Counted, writes="shop/{shop}")
async def count(event: Counted) -> None: ...
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["advise", *map(str, arguments)])


def document(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def advised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "advised.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield "advised:app"
    sys.modules.pop("advised", None)


def events(count: int = 60) -> list[tuple[str, dict[str, object]]]:
    return [("counted", {"shop": "a"}) if not n % 10 else ("paid", {"order_id": n, "shop": "a"}) for n in range(count)]


def test_the_session_in_the_documentation_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "advise.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    sessions = re.findall(r"```console\n\$ commute advise (examples/[^\n]*)\n(.+?)```", page, re.DOTALL)
    assert sessions
    for line, shown in sessions:
        assert CliRunner().invoke(main, ["advise", *line.split()]).stdout == shown


def test_a_log_gives_predictions_labels_and_remedies_with_the_change_in_code() -> None:
    found = document(ORDERS, "--at-once", 8)
    assert (found["events"], found["at_once"], found["service_times"]) == (353, 8, "equal")
    by_number = {one["at_once"]: one["speedup"] for one in found["predictions"]}
    assert by_number[1] == 1.0
    assert 2.9 < by_number[8] < 3.1
    assert found["labels"]["by_type"]["packing"] == "Clerk"
    assert not found["labels"]["safe"]
    assert found["labels"]["cut"] == sum(cut["edges"] for cut in found["labels"]["cuts"])
    assert found["placement"]["partitions"] == 12
    best = found["remedies"][0]
    assert best["changes"] == [{"kind": "read", "name": "Clerk"}]
    assert best["speedup"] > 7
    assert best["code"] == ['writes="Clerk/{id}" becomes reads="Clerk/{id}"']
    assert "if that is true of the handlers" in found["verdict"][0]
    assert document(ORDERS, "--read", "Clerk", "--at-once", 8)["predictions"][3]["speedup"] == best["speedup"]


def test_service_times_come_from_a_field_or_from_a_recorded_run(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [{"type": "ab"[n % 2], "ts": n, "ms": 10 * (n % 2) + 5, "objects": [["o", n % 30]]} for n in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = document(path, "--service-field", "ms", "--at-once", 4)
    assert found["service_times"] == "measured"
    assert found["predictions"][0]["makespan_s"] == pytest.approx(0.6)
    recorded = CliRunner().invoke(main, ["replay", str(path), "--service-ms", "1", "--memory", "--json"])
    assert recorded.exit_code == 0, recorded.output
    run_file = tmp_path / "run.json"
    run_file.write_text(recorded.stdout)
    found = document(path, "--service", run_file, "--at-once", 4)
    assert found["service_times"] == "measured"
    assert found["predictions"][0]["makespan_s"] >= 0.06
    assert any(one["low"] < one["high"] for one in found["predictions"])
    assert "no event has a number of milliseconds in tookk" in run(path, "--service-field", "tookk").stderr
    assert "no document of commute replay" in run(path, "--service", path).stderr
    assert run(path, "--service", tmp_path / "none").exit_code == 2


def test_an_app_gets_its_own_lines_and_what_to_declare_there(advised: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rows = [{"type": kind, "ts": n, **data} for n, (kind, data) in enumerate(events())]
    log.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"type": "other", "ts": 99}]))
    found = document(advised, "--log", log, "--at-once", 8)
    assert found["taken_as"] == "the footprints of its handlers"
    assert found["events"] == 60
    assert found["predictions"][3]["speedup"] == 1.0
    best = found["remedies"][0]
    assert best["changes"] == [{"kind": "read", "name": "shop"}]
    assert [re.sub(r":\d+ ", ":N ", line) for line in best["code"]] == [
        'advised.py:N pay: writes="shop/{shop}" becomes reads="shop/{shop}"',
        'advised.py:N count: writes="shop/{shop}" becomes reads="shop/{shop}"',
    ]
    assert found["labels"]["by_type"] == {"counted": "shop", "paid": "shop"}
    assert "by {shop}" in found["partitioning"]
    result = run(advised, "--log", log)
    assert "left out: 1 of other: no handler takes it" in result.stderr


def test_an_app_is_advised_by_the_events_in_its_own_broker(advised: str) -> None:
    for kind, data in events(20):
        published = CliRunner().invoke(main, ["publish", advised, kind, json.dumps(data)])
        assert published.exit_code == 0, published.output
    found = document(advised, "--at-once", 4)
    assert found["events"] == 20
    assert found["predictions"][2]["speedup"] == 1.0
    text = run(advised).stdout
    assert "stream events: 20 events, 32 at once" in text
    assert "proved from the app's templates" in text


def test_wrong_use_is_refused(advised: str, tmp_path: Path) -> None:
    assert "is a broker: give MODULE:APP" in run("sqlite:///x.db").stderr
    assert run(tmp_path / "none.csv").exit_code == 2
    (tmp_path / "log.jsonl").write_text('{"type": "other", "ts": 1}\n')
    result = run(advised, "--log", tmp_path / "log.jsonl")
    assert result.exit_code == 2
    assert "there is no event that a handler takes" in result.stderr
    assert run(advised).exit_code == 3  # its broker has no file yet
