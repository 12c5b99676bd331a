"""What people, disks and programs do to a worker: it is said by name, nothing confirmed is lost, the rest goes on.

Real processes with the command line of users; what one room alone can show is tested in that room.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from commute.cli import place
from commute.cli.output import clean_lines
from commute.footprints.segment import DEPTH_MAX
from commute.limits import MIB
from commute.transports.base import Message
from tests.e2e.misbehaving import SHOP, Shell, until


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setattr(place, "BUSY_S_MAX", 0.2)
    made = Shell(tmp_path)
    yield made
    for worker in made.workers:
        worker.kill()
        worker.wait()


def step(n: int, key: str = "a", do: str = "") -> tuple[str, dict[str, object]]:
    return "step", {"key": key, "n": n, "do": do}


# -- events that are not as they should be ----------------------------------------------------------------------------

# slug -> type, bytes, and a part of the message
BAD: dict[str, tuple[str, bytes, str]] = {
    "invalid-data": ("step", b"\xff\xfe no json {", "invalid-data] step bad-"),
    "invalid-data:type": ("step", b'{"key": "a", "n": "1"}', "expected int, got str at $.n"),
    "invalid-data:field": ("step", b'{"key": "a"}', "missing required field"),
    "unknown-type": ("stepp", b"{}", '"stepp" at position 4: no handler (did you mean step?). Not yours: App(ignore='),
    "missing-field": ("moved", b'{"area": "a", "n": 1}', "name"),
    "missing-field:null": ("moved", b'{"area": "a", "name": null, "n": 1}', "name"),
    "key-too-deep": (
        "deep",
        json.dumps({"path": ["a"] * (DEPTH_MAX + 1), "n": 1}).encode(),
        f"{DEPTH_MAX} are allowed",
    ),
    "key-too-long": ("step", json.dumps({"key": "k" * 300, "n": 1}).encode(), "key"),
    "key-type": ("moved", b'{"area": "a", "name": [1], "n": 1}', "name"),
}
ODD = ["*", "a/b", "", "%", "a/*", "{key}", "..", "ключ", " "]


def test_each_bad_event_is_rejected_by_name_keeps_its_bytes_and_holds_nothing(shell: Shell) -> None:
    for number, (type_, data, _) in enumerate(BAD.values()):
        shell.send(Message(f"bad-{number}", "/x", type_, 0.0, data))
    shell.send(
        Message("17", "/x", "step", 0.0, b'{"key": "a", "n": 100}'),
        Message("17", "/x", "step", 0.0, b'{"key": "a", "n": 101}'),
    )
    shell.publish(*(step(200 + n, key) for n, key in enumerate(ODD)))
    shell.publish(*(("moved", {"area": key, "name": key, "n": 300 + n}) for n, key in enumerate(ODD)), first=20)
    shell.publish(("deep", {"path": ["a"] * DEPTH_MAX, "n": 400}), first=40)
    worker = shell.run()
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(worker) == 0
    good = [100, *range(200, 200 + len(ODD)), *range(300, 300 + len(ODD)), 400]
    assert sorted(map(int, shell.lines("ran"))) == good
    rows = shell.json("dead", "list")["dead"]
    assert [row["status"] for row in rows] == ["rejected"] * (len(BAD) + 1)
    said = shell.said()
    for number, (name, (type_, data, text)) in enumerate(BAD.items()):
        slug = name.partition(":")[0]
        (line,) = [line for line in said.splitlines() if f" bad-{number} at position " in line]
        assert f"error[{slug}] {type_} bad-{number} at position {number + 1} rejected: " in line and text in line, line
        assert f"Bytes kept: commute dead show shop:app bad-{number}" in line
        shown = shell("dead", "show", "shop:app", f"bad-{number}")
        assert f"rejected ({slug})" in shown and clean_lines(data.decode("utf-8", "backslashreplace"))[:40] in shown, (
            shown
        )
    assert "step id 17 from /x at position 11 has other bytes than at 10" in said
    assert "Ids must be unique" in said


def test_an_event_of_100_mb_is_refused_by_its_size_wherever_it_comes_from(shell: Shell) -> None:
    (shell.folder / "big.json").write_text(json.dumps({"key": "a", "n": 1, "do": "x" * (100 * MIB)}))
    for target in ("shop:app", shell.url):
        told = shell("publish", target, "step", "big.json", status=2)
        assert "error[too-large]" in told and "event_bytes_max" in told and len(told) < 2_000, told[:500]
    assert not (shell.folder / "shop.db").exists()
    # A producer that may send more than the worker takes.
    told = shell("publish", "shop:app", "step", "big.json", "--json", COMMUTE_EVENT_BYTES_MAX=str(200 * MIB))
    identity = json.loads(told.splitlines()[-1])["id"] if told.splitlines()[-1].startswith("{") else ""
    shell.publish(step(2), step(3))
    worker = shell.run()
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(worker) == 0
    assert shell.lines("ran") == ["2", "3"]
    (row,) = shell.json("dead", "list")["dead"]
    assert (row["status"], row["position"]) == ("rejected", 1)
    assert identity in ("", row["id"])
    assert "error[too-large] step " in shell.said() and f"event_bytes_max={16 * MIB:,}" in shell.said()
    shown = shell("dead", "show", "shop:app", row["id"])
    assert "rejected (too-large)" in shown and len(shown) < 100_000
    # Its bytes are whole: with a higher limit the retry, a new event, is handled.
    shell("dead", "retry", "shop:app", row["id"], COMMUTE_EVENT_BYTES_MAX=str(200 * MIB))
    worker = shell.run("--limit", f"event_bytes_max={200 * MIB}")
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(worker) == 0
    assert shell.lines("ran") == ["2", "3", "1"]


# -- a database that is not as it should be ---------------------------------------------------------------------------

FILLS = [("fill" if n % 3 else "step", {"key": f"k{n % 4}", "n": n}) for n in range(60)]
EFFECTS = [n for n in range(60) if n % 3]


def kept_in_sequence(found: list[int]) -> None:
    """Each effect is there once, and those of one key are in log sequence."""
    assert sorted(found) == EFFECTS
    for key in range(4):
        of_key = [n for n in found if n % 4 == key]
        assert of_key == sorted(of_key)


def test_a_full_database_is_said_and_everything_goes_on_when_there_is_room(shell: Shell) -> None:
    shell.publish(*FILLS)
    worker = shell.run(ROOM_PAGES="40")
    until(lambda: "error[database-full]" in shell.said(), shell.said)
    until(lambda: shell.said().count("error[database-full]") > 1, shell.said)  # it tries again, and stays alive
    line = next(line for line in shell.said().splitlines() if "error[database-full]" in line)
    assert "shop.db" in line and "free disk space" in line and "from what is durable" in line, line
    assert worker.poll() is None
    found = shell.json("status")
    assert found["to_do"] > 0 and found["dead"] == {}  # no attempt was charged for it
    (shell.folder / "space").touch()
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(worker) == 0
    assert shell.json("dead", "list")["dead"] == []
    kept_in_sequence(shell.filler())


def test_a_worker_that_dies_on_a_full_disk_loses_nothing(shell: Shell) -> None:
    shell.publish(*FILLS)
    size = sum(path.stat().st_size for path in shell.folder.glob("shop.db"))

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + MIB // 8, size + MIB // 8))

    worker = shell.run(limit=small_files)
    until(lambda: "error[database-" in shell.said() or "error[commit-failed]" in shell.said(), shell.said)
    assert worker.poll() is None
    assert shell.json("status")["dead"] == {}
    worker.kill()
    worker.wait()
    worker = shell.run()
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(worker) == 0
    assert shell.json("dead", "list")["dead"] == []
    kept_in_sequence(shell.filler())


def test_a_locked_database_is_waited_for_and_nothing_is_lost(shell: Shell) -> None:
    (shell.folder / "wait").touch()
    shell.publish(*FILLS)
    worker = shell.run()
    hold = (
        "import apsw, sys; c = apsw.Connection('shop.db'); c.set_busy_timeout(60_000); c.execute('begin immediate');"
        "print('held', flush=True); sys.stdin.read(); c.execute('rollback')"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], cwd=shell.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        (shell.folder / "wait").unlink()
        until(lambda: shell.lines("ran"), shell.said)
        told = shell("publish", "shop:app", "step", '{"key": "k0", "n": 60}', status=3)
        assert "error[database-locked] " in told and "another process has held its write lock for 5 s" in told
        assert worker.poll() is None
        assert shell.to_do() == len(FILLS)  # nothing is durable meanwhile
    finally:
        holder.communicate()
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(worker) == 0
    assert shell.json("dead", "list")["dead"] == []
    kept_in_sequence(shell.filler())
    assert sorted(map(int, shell.lines("ran"))) == [n for n in range(60) if n not in EFFECTS]


def test_a_database_of_another_version_is_refused_by_every_command_and_untouched(shell: Shell) -> None:
    shell.publish(step(1))
    path = shell.folder / "shop.db"
    connection = apsw.Connection(str(path))
    (own,) = connection.execute("pragma user_version").fetchall()[0]
    connection.execute("pragma user_version = 999")
    connection.close()
    before = path.read_bytes()
    for command in (["run"], ["status"], ["dead", "list"], ["groups", "list"], ["explain"], ["publish"]):
        rest = {"publish": ["step", '{"key": "a", "n": 2}'], "explain": ["e1"]}.get(command[0], [])
        told = shell(*command, "shop:app", *rest, status=3)
        assert "error[database-version]" in told and "999" in told and "Traceback" not in told, told
    assert path.read_bytes() == before
    connection = apsw.Connection(str(path))
    connection.execute(f"pragma user_version = {own}")
    connection.close()
    worker = shell.run()
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(worker) == 0
    assert shell.lines("ran") == ["1"]


def test_the_standard_sqlite3_is_refused_in_a_handler_and_at_start(shell: Shell) -> None:
    shell.publish(step(1, "a", "opens"), step(2, "a"), step(3, "b"), ("fill", {"key": "c", "n": 4}))
    worker = shell.run()
    until(lambda: shell.json("status")["dead"].get("held") == 1, shell.said)
    until(lambda: shell.to_do() == 0 or shell.lines("ran") == ["3"], shell.said)
    assert "shop.db is the broker's file, opened here by sqlite3 too: that loses rows in silence" in shell.said()
    assert "Use ctx.transaction(), or another file" in shell.said()
    until(lambda: shell.json("status")["dead"] == {"parked": 1, "held": 1} and shell.lines("ran") == ["3"], shell.said)
    assert shell.end(worker) == 0
    assert shell.filler() == [4]  # what was confirmed is still there
    (shell.folder / "early.py").write_text(
        SHOP.replace(
            "mended = ", 'early = sqlite3.connect("shop.db"); early.execute("select 1 from sqlite_master")\nmended = '
        )
    )
    told = shell("run", "early:app", status=2)
    assert "error[two-sqlites]" in told and "Traceback" not in told


# -- handlers that do not behave --------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["hang", "hold"])
def test_a_hung_handler_is_shown_keeps_its_key_and_is_run_again_after_a_drain_that_fails(
    shell: Shell, type_: str
) -> None:
    shell.publish((type_, {"key": "a", "n": 1}), step(2, "a"), step(3, "b"))
    worker = shell.run("--concurrency", "1", "--limit", "grace_s=0.5")
    # One handler at once, and it hangs: another slot stands in, so the independent event is processed.
    until(
        lambda: f"error[overdue] {type_} e1: {type_} has run for longer than timeout_s=0.3" in shell.said(), shell.said
    )
    until(lambda: shell.lines("ran") == ["3"], shell.said)
    assert "shop.py" in shell.said().split("error[overdue]")[1]  # where it hangs
    until(lambda: (shell.json("status")["worker"] or {}).get("overdue") == 1, shell.said)
    text = shell("status", "shop:app")
    assert "overdue  1 handler past the timeout" in text and f"{type_} e1" in text
    told = shell("explain", "shop:app", "e2")
    assert "key/a (write)" in told and f"<- {type_} e1, {type_}: running" in told, told
    assert shell.end(worker) == 1
    assert f"not drained: still running after 0.5 s: {type_} ({type_} e1)" in shell.said()
    assert shell.to_do() == 2
    (shell.folder / "mended").touch()
    worker = shell.run()
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(worker) == 0
    assert shell.lines("ran") == ["3", "1", "2"]


@pytest.mark.parametrize("type_", ["hang", "hold"])
def test_a_second_signal_stops_a_hung_handler_at_once(shell: Shell, type_: str) -> None:
    shell.publish((type_, {"key": "a", "n": 1}), step(2, "a"))
    worker = shell.run()
    until(lambda: shell.lines("began"), shell.said)
    worker.send_signal(signal.SIGINT)
    until(lambda: "draining" in shell.said(), shell.said)
    assert shell.end(worker, signal.SIGINT) == 130
    assert "stopped now" in shell.said()
    assert shell.to_do() == 2 and shell.lines("ran") == []


@pytest.mark.parametrize("type_", ["step", "call"])
def test_a_handler_that_calls_exit_has_failed_and_the_worker_goes_on(shell: Shell, type_: str) -> None:
    shell.publish((type_, {"key": "a", "n": 1, "do": "exits"}), step(2, "a"), step(3, "b"))
    worker = shell.run()
    until(lambda: shell.json("status")["dead"] == {"parked": 1, "held": 1}, shell.said)
    until(lambda: shell.lines("ran") == ["3"], shell.said)
    assert worker.poll() is None
    assert "SystemExit: 3" in shell.said() and "(shop.py:" in shell.said()
    assert shell.end(worker) == 0


def test_a_handler_that_blocks_the_loop_is_named_with_its_line(shell: Shell) -> None:
    shell.publish(step(1, "a", "blocks"))
    worker = shell.run()
    until(lambda: "warning[loop-blocked]" in shell.said(), shell.said)
    line = next(line for line in shell.said().splitlines() if "warning[loop-blocked]" in line)
    assert "step held the event loop for " in line and "(shop.py:" in line and "Make it `def`, or await." in line, line
    until(lambda: shell.lines("ran") == ["1"], shell.said)
    assert shell.end(worker) == 0


def test_two_workers_by_mistake_are_told_and_no_event_is_run_twice(shell: Shell) -> None:
    first = shell.run()
    with (shell.folder / "second").open("wb") as out:
        second = subprocess.Popen(
            [sys.executable, "-m", "commute", "run", "shop:app"], cwd=shell.folder, stdout=out, stderr=out
        )
    shell.workers.append(second)
    told = (shell.folder / "second").read_text
    until(lambda: "stands by" in told(), told)
    assert f"warning[second-worker] group shop on {shell.folder}/shop.db is run by pid {first.pid} (host " in told()
    assert "takes over as soon as that one has ended" in told()
    shell.publish(*(step(n) for n in range(20)))
    until(lambda: shell.to_do() == 0, shell.said)
    assert shell.end(first) == 0
    until(lambda: "takes over" in told().split("has ended.", 1)[1], told)
    shell.publish(*(step(n) for n in range(20, 40)), first=21)
    until(lambda: shell.to_do() == 0, told)
    assert shell.end(second) == 0
    assert shell.lines("ran") == [str(n) for n in range(40)]
