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
    "service_s",
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
    assert found["service_s"].keys() == {"step"}
    times = found["service_s"]["step"]
    assert len(times) == 50
    assert times == sorted(times)
    assert times[0] >= 0.002
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


def test_a_log_that_is_cut_is_run_as_far_as_it_goes_and_the_place_is_told(tmp_path: Path) -> None:
    whole = lines(tmp_path, orders(200)).read_bytes()
    middle = len(whole) // 2 + 10
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(whole[:middle])
    result = run(cut, "--service-ms", 0, "--json")
    assert result.exit_code == 0, result.output
    complete = whole[:middle].count(b"\n")
    found = json.loads(result.stdout)
    assert (found["events"], found["violations"], found["dead"]) == (complete, 0, 0)
    assert f"problem: line {complete + 1}: " in result.stderr
    # A hole: the halves of two lines have become one.
    cut.write_bytes(whole[:middle] + whole[middle + 507 :])
    result = run(cut, "--service-ms", 0, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["events"] == len([n for n in cut.read_bytes().splitlines() if _is_row(n)])
    assert f"problem: line {complete + 1}: " in result.stderr
    packed = tmp_path / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress(whole)[:-20])
    result = run(packed, "--service-ms", 0, "--json")
    assert result.exit_code == 0, result.output
    assert 0 < json.loads(result.stdout)["events"] < 200
    assert "problem: end of file: " in result.stderr
    table = tmp_path / "cut.csv"
    table.write_text("id,type,ts,order\n1,a,1,x\n2,a,2,x\n3,a")
    result = run(table, "--service-ms", 0, "--json", "--key", "order")
    assert (result.exit_code, json.loads(result.stdout)["events"]) == (0, 2), result.output
    assert "problem: line 4: " in result.stderr


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def test_wrong_options_and_logs_are_refused_with_what_is_accepted(tmp_path: Path) -> None:
    path = lines(tmp_path, orders(5))
    for arguments in ((path, "--read", "ordr"), (tmp_path / "none.jsonl",), (path, "--concurrency", 0), (path, "x:y")):
        result = run(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
    assert "order" in run(path, "--read", "ordr").stderr
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert run(empty).exit_code == 2


@pytest.mark.parametrize(("name", "text"), [("header.csv", "id,type\n"), ("broken.jsonl", '{"type": "a"\n')])
def test_a_file_without_one_event_is_refused(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    result = run(path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error[bad-log]" in result.stderr
    assert "no event in it" in result.stderr


def test_it_says_what_the_objects_were_taken_as(tmp_path: Path) -> None:
    plain = [{"id": str(n), "type": "t", "ts": f"{n:04}", "objects": [["a", "1"], ["b", "1"]]} for n in range(3)]
    path = lines(tmp_path, plain)

    def taken_as(*options: object) -> str:
        text = run(path, "--service-ms", 0, *options).stdout
        return next(line for line in text.splitlines() if "taken as" in line).split(maxsplit=2)[2]

    assert taken_as().startswith("every object written")
    assert taken_as("--read", "a") == "a only read; the rest written"
    assert taken_as("--read", "a", "--add", "a", "--add", "b") == "b only added to; a written; the rest written"
    lines(tmp_path, orders(3))
    assert taken_as().startswith("objects as the log says")


def test_without_keys_no_bound_is_known(tmp_path: Path) -> None:
    path = lines(tmp_path, [{"id": str(n), "type": "t", "ts": f"{n:04}", "amount": n} for n in range(3)])
    found = json.loads(run(path, "--service-ms", 0, "--json").stdout)
    assert (found["events"], found["chain_events"], found["bound"]) == (3, None, None)
    text = run(path, "--service-ms", 0).stdout
    assert "bound               not known: no field is known to be a key" in text and "longest chain" not in text


def own_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "steps.py").write_text(
        "from commute import App\n"
        "app = App('steps')\n"
        "@app.on('step', writes='key/{n}')\n"
        "async def step(event: dict[str, object]) -> None: ...\n"
    )
    monkeypatch.chdir(tmp_path)


def test_the_log_of_another_app_is_refused_and_options_without_effect_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_app(tmp_path, monkeypatch)
    path = lines(tmp_path, [{"id": str(n), "type": "other", "ts": f"{n:04}", "n": n} for n in range(4)])
    result = run(path, "steps:app")
    assert result.exit_code == 2
    assert "error[unknown-type] no handler of steps takes an event of this log: its types are other" in result.stderr
    path = lines(tmp_path, [{"id": str(n), "type": "step", "ts": f"{n:04}", "n": n} for n in range(4)])
    result = run(path, "steps:app", "--service-ms", 3)
    assert result.exit_code == 0, result.output
    assert "--service-ms without effect" in result.stderr
    assert "footprints of steps:app" in result.stdout
    assert "no keys" not in result.stderr


def test_a_run_that_stops_half_way_says_what_was_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_app(tmp_path, monkeypatch)
    rows = [{"id": str(n), "type": "other" if n % 4 else "step", "ts": f"{n:04}", "n": n} for n in range(200)]
    result = run(lines(tmp_path, rows), "steps:app", "--json")
    found = json.loads(result.stdout)
    left = 200 - found["events"] - found["dead"]
    assert (result.exit_code, left > 0) == (1, True)
    assert f"not run: the last {left} events. The intake paused: more than half" in result.stderr


def test_an_app_of_ones_own_runs_on_the_log_and_its_failures_are_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours.py").write_text(
        "from commute import App, Retry\n"
        "app = App('ours')\n"
        "@app.on('step', writes='key/{key}', retry=Retry(attempts=1))\n"
        "async def step(event: dict[str, object]) -> None:\n"
        "    print('step', event['n'])\n"
        "    if event['n'] == 3:\n"
        "        raise ValueError('poisoned')\n"
    )
    rows = [{"id": str(n), "type": "step", "ts": f"{n:04}", "n": n, "key": n % 2} for n in range(10)]
    monkeypatch.chdir(tmp_path)
    result = run(lines(tmp_path, rows), "ours:app", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert "step 0" in result.stderr, "what handlers print is no part of the result"
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
