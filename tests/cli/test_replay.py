"""`commute replay`: figures, dirty input, wrong options, an app of one's own; through the real engine."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from commute.cli import main
from commute.core.footprint import Access
from commute.logs import LogEvent
from commute.replay import Recording, replay

KEYS = [
    "events",
    "chain_events",
    "bound",
    "lower_bound_s",
    "makespan_s",
    "efficiency",
    "speedup",
    "violations",
    "false_waits",
    "dead",
    "concurrency",
    "peak_rss_mb",
]


def lines(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def orders(count: int) -> list[dict[str, Any]]:
    return [
        {"id": str(n), "type": "step", "ts": f"{n:06}", "objects": [["order", str(n % 10), "w"], ["shop", "1", "r"]]}
        for n in range(count)
    ]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["replay", *map(str, arguments)])


@pytest.mark.parametrize("transport", [(), ("--memory",)])
def test_it_prints_what_the_log_allows_and_what_was_reached(tmp_path: Path, transport: tuple[str, ...]) -> None:
    result = run(lines(tmp_path, orders(200)), "--service-ms", 2, "--concurrency", 4, "--json", *transport)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == KEYS
    assert (found["events"], found["chain_events"], found["bound"]) == (200, 20, 10.0)
    assert (found["violations"], found["false_waits"], found["dead"], found["concurrency"]) == (0, 0, 0, 4)
    assert found["speedup"] > 2  # independents start
    assert found["efficiency"] <= 1.0
    assert found["lower_bound_s"] <= found["makespan_s"]
    text = run(lines(tmp_path, orders(50)), "--service-ms", 0).stdout
    assert "longest chain       5 dependent events" in text


def test_modes_reads_adds_and_lookahead_change_what_waits(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "type": "t", "ts": f"{n:04}", "objects": [["stock", "1"], ["own", str(n)]]} for n in range(40)
    ]
    path = lines(tmp_path, rows)
    chains = {
        options: json.loads(run(path, "--service-ms", 1, "--json", *options).stdout)["chain_events"]
        for options in ((), ("--read", "stock"), ("--add", "stock"))
    }
    assert chains == {(): 40, ("--read", "stock"): 1, ("--add", "stock"): 1}
    narrow = json.loads(run(path, "--service-ms", 2, "--json", "--add", "stock", "--lookahead", 1).stdout)
    assert narrow["speedup"] < 1.5


def test_dirty_lines_are_reported_and_the_rest_is_run(tmp_path: Path) -> None:
    path = lines(tmp_path, orders(5))
    path.write_text(path.read_text() + "{ not json\n" + json.dumps(orders(7)[6]) + "\n")
    result = run(path, "--service-ms", 0, "--json")
    assert "line 6" in result.stderr
    assert json.loads(result.stdout)["events"] == 6
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(path.read_bytes())[:-20])
    result = run(cut, "--service-ms", 0, "--json")
    assert "problem" in result.stderr


def test_wrong_options_and_logs_are_refused_with_what_is_accepted(tmp_path: Path) -> None:
    path = lines(tmp_path, orders(5))
    for arguments in ((path, "--read", "ordr"), (tmp_path / "none.jsonl",), (path, "--concurrency", 0), (path, "x:y")):
        result = run(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
    assert "order" in run(path, "--read", "ordr").stderr
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert run(empty).exit_code == 2


def test_an_app_of_ones_own_runs_on_the_log_and_its_failures_are_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours.py").write_text(
        "from commute import App, Retry\n"
        "app = App('ours')\n"
        "@app.on('step', writes='key/{key}', retry=Retry(attempts=1))\n"
        "async def step(event: dict[str, object]) -> None:\n"
        "    if event['n'] == 3:\n"
        "        raise ValueError('poisoned')\n"
    )
    rows = [{"id": str(n), "type": "step", "ts": f"{n:04}", "n": n, "key": n % 2} for n in range(10)]
    monkeypatch.chdir(tmp_path)
    result = run(lines(tmp_path, rows), "ours:app", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["dead"] == 4  # 3 is parked, 5, 7 and 9 wait behind it
    assert found["violations"] == found["false_waits"] == 0
    assert not (tmp_path / "ours.db").exists()  # a replay never touches the app's own files


def test_a_planted_violation_and_a_planted_false_wait_are_found() -> None:
    events = [
        LogEvent(number=n, id=str(n), type="t", time_s=float(n), objects=(("k", "1", None),), data={}) for n in range(6)
    ]
    honest = replay(events, service_s=0.001, memory=True)
    assert honest.verdict.ok
    records = honest.verdict
    assert records.dependent_pairs == 5
    recording = Recording()
    write, other = (Access("k", "write"),), (Access("j", "write"),)
    for position, footprint in ((1, write), (2, write), (3, other)):
        recording.admit(position, footprint)
        if position == 1:
            recording.release(1)
    recording.start(1)
    recording.release(2)  # before 1 has ended
    recording.start(2)
    verdict = recording.history.check()
    assert {violation.event for violation in verdict.violations} == {2}
    assert {wait.event for wait in verdict.false_waits} == {3}
