"""publish, status, dead and groups as a person uses them: beside a running worker, and after one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from click.testing import CliRunner

from commute.cli import main
from commute.database import Connection
from commute.limits import Limits
from commute.link import open_file
from commute.transports.rows import SCHEMA as LOG_SCHEMA
from commute.transports.rows import group_checksum

SHOP = """
import asyncio, os
from commute import App, Event, Retry

class Step(Event):
    key: str
    n: int

app = App("shop")

@app.on(Step, writes="key/{key}", retry=Retry(attempts=1))
async def step(event: Step) -> None:
    if event.n == 13 and not os.path.exists("mended"):
        raise KeyError("tea-9\\x1b[31m")
    with open("ran.txt", "a") as file:
        file.write(f"{event.n}\\n")
"""
SECONDS_MAX = 30.0


class Shell:
    """A directory with an app, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop.py").write_text(SHOP)
        self.workers: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str, stdin: str | None = None, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "commute", *arguments], cwd=self.folder, capture_output=True, text=True,
            input=stdin if stdin is not None else "", timeout=SECONDS_MAX, check=False,
        )  # fmt: skip
        assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def json(self, *arguments: str, status: int = 0) -> Any:
        text = self(*arguments, "--json", status=status)
        return json.loads(text.splitlines()[0])

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        """A worker that is ready."""
        worker = subprocess.Popen(
            [sys.executable, "-m", "commute", "run", "shop:app", *arguments], cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.workers.append(worker)
        assert worker.stdout is not None
        for line in worker.stdout:
            if "ready in" in line or "stands by" in line:
                break
        return worker

    def until(self, condition: str, *arguments: str) -> Any:
        """The JSON of a command once the expression over it holds."""
        end_s = time.monotonic() + SECONDS_MAX
        while time.monotonic() < end_s:
            found = self.json(*arguments)
            if eval(condition, {"found": found}):
                return found
            time.sleep(0.05)
        raise AssertionError((condition, found))

    def ran(self) -> list[int]:
        path = self.folder / "ran.txt"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    for worker in made.workers:
        worker.kill()
        worker.communicate()


def end(worker: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    worker.send_signal(number)
    return worker.communicate(timeout=SECONDS_MAX)[0]


def test_publish_checks_waits_and_takes_files_and_lines(shell: Shell) -> None:
    assert "position 1" in shell("publish", "shop:app", "step", '{"key": "a", "n": 1}', "--id", "one")
    assert "there already" in shell("publish", "shop:app", "step", '{"key": "a", "n": 1}', "--id", "one")
    assert "$.n" in shell("publish", "shop:app", "step", '{"key": "a", "n": "1"}', status=2)
    assert "nor a file" in shell("publish", "shop:app", "step", "nothing", status=2)
    lines = "".join(json.dumps({"key": "k", "n": n}) + "\n" for n in range(100, 1_300))
    assert "1,200 events" in shell("publish", "shop:app", "step", "-", stdin=lines)
    (shell.folder / "event.json").write_text('{"key": "b", "n": 2}')
    shell("publish", "shop:app", "step", "event.json", "--wait", "0.05", status=4)
    worker = shell.run()
    found = shell.json("publish", "shop:app", "step", '{"key": "b", "n": 3}', "--wait", "20")
    assert found["status"] == "processed"
    assert "drained" in end(worker)
    assert worker.returncode == 0
    assert sorted(shell.ran()) == [1, 2, 3, *range(100, 1_300)]
    assert [n for n in shell.ran() if n >= 100] == list(range(100, 1_300))
    assert "ends with this process" in shell("publish", "memory://", "step", "{}", status=2)


def test_status_before_beside_and_after_a_worker(shell: Shell) -> None:
    assert "not-reachable" in shell("status", "shop:app", status=3)
    shell("publish", "shop:app", "step", '{"key": "a", "n": 1}')
    assert shell.json("status", "shop:app")["to_do"] == 1
    worker = shell.run()
    found = shell.until("found['to_do'] == 0 and found['worker'] and 'done' in found['worker']", "status", "shop:app")
    assert found["worker"]["pid"] == worker.pid
    assert shell.json("groups", "list", "shop:app")["groups"][0]["running"] is True
    assert "stop it first" in shell("groups", "drop", "shop:app", "--yes", status=2)
    end(worker)
    assert shell.json("status", "shop:app")["worker"] is None
    assert "none runs" in shell("status", f"sqlite:///{shell.folder}/shop.db")
    shell("groups", "drop", "shop:app", "--yes")
    assert shell.json("groups", "list", "shop:app")["groups"] == []


def test_dead_letters_beside_a_worker(shell: Shell) -> None:
    for key, n in (("a", 13), ("a", 14), ("b", 15)):
        shell("publish", "shop:app", "step", json.dumps({"key": key, "n": n}))
    worker = shell.run()
    shell.until("found['dead'].get('parked') == 1 and found['dead'].get('held') == 1", "status", "shop:app")
    rows = shell.json("dead", "list", "shop:app")["dead"]
    assert [row["status"] for row in rows] == ["parked", "held"]
    shown = shell("dead", "show", "shop:app", rows[0]["id"])
    assert '{"key": "a", "n": 13}'.replace(" ", "") in shown.replace(" ", "")
    assert "KeyError" in shown and "\x1b" not in shown
    assert rows[1]["id"] in shown  # what it holds
    assert "refused" in shell("dead", "skip", "shop:app", rows[1]["id"], status=1)
    (shell.folder / "mended").touch()
    assert "in its place" in shell("dead", "retry", "shop:app", rows[0]["id"])
    shell.until("found['dead'] == []", "dead", "list", "shop:app")
    end(worker)
    assert shell.ran() == [15, 13, 14]


def test_dead_letters_without_a_worker(shell: Shell) -> None:
    for key, n in (("a", 13), ("a", 14), ("b", 13), ("c", 13)):
        shell("publish", "shop:app", "step", json.dumps({"key": key, "n": n}))
    worker = shell.run()
    shell.until("found['dead'].get('parked') == 3", "status", "shop:app")
    end(worker)
    rows = shell.json("dead", "list", "shop:app")["dead"]
    first, _, second, third = (row["id"] for row in rows)
    assert "would drop" in shell("dead", "drop", "shop:app", "--all", "--dry-run")
    assert "say --yes" in shell("dead", "drop", "shop:app", second, status=2)
    assert "dropped" in shell("dead", "drop", "shop:app", second, "--yes")
    assert "skipped" in shell("dead", "skip", "shop:app", third)
    (shell.folder / "mended").touch()
    shell("dead", "retry", "shop:app", first)
    assert "sent again" in shell("dead", "retry", "shop:app", third)  # a skipped one comes back as a new event
    assert "is no dead letter" in shell("dead", "show", "shop:app", "nonsense", status=2)
    worker = shell.run()
    at_rest = "found['to_do'] == 0 and not found['dead'].get('parked') and not found['dead'].get('held')"
    shell.until(at_rest, "status", "shop:app")
    end(worker)
    assert sorted(shell.ran()) == [13, 13, 14]
    assert shell.ran().index(14) > shell.ran().index(13)


def test_a_second_worker_stands_by_and_takes_over_from_a_killed_one(shell: Shell) -> None:
    first = shell.run()
    second = shell.run()
    first.kill()
    first.wait()
    found = shell.json("publish", "shop:app", "step", '{"key": "a", "n": 1}', "--wait", "20")
    assert found["status"] == "processed"
    assert shell.ran() == [1]
    assert "takes over" in end(second)


def test_reload_begins_anew_when_a_file_changes(shell: Shell) -> None:
    worker = shell.run("--reload")
    assert worker.stdout is not None
    (shell.folder / "shop.py").write_text(SHOP.replace('file.write(f"{event.n}', 'file.write(f"{event.n + 1000}'))
    for line in worker.stdout:
        if "ready in" in line:
            break
    shell("publish", "shop:app", "step", '{"key": "a", "n": 1}', "--wait", "20")
    assert shell.ran() == [1001]
    end(worker)


def test_reload_outlives_a_mistake_in_the_file_and_drains_at_the_end(shell: Shell) -> None:
    worker = shell.run("--reload")
    assert worker.stdout is not None
    (shell.folder / "shop.py").write_text(SHOP.replace("{key}", "{kye}"))
    for line in worker.stdout:
        if "error[unknown-field]" in line:
            break
    (shell.folder / "shop.py").write_text(SHOP)
    for line in worker.stdout:
        if "ready in" in line:
            break
    assert shell.json("publish", "shop:app", "step", '{"key": "a", "n": 1}', "--wait", "20")["status"] == "processed"
    assert "drained: 1 event done" in end(worker)
    assert worker.returncode == 0
    assert shell.json("status", "shop:app")["worker"] is None  # no child is left behind


def test_a_group_is_behind_by_its_own_backlog_over_all_partitions(tmp_path: Path) -> None:
    path = tmp_path / "orders.commute.db"
    logs = ((1, "orders#0", 10), (2, "orders#1", 25), (3, "orders#10", 7), (4, "others#0", 99))
    groups = ((1, "shop", 11), (2, "shop", 21), (2, "late", 1), (4, "elsewhere", 1))

    def fill(connection: Connection) -> None:
        for number, name, last in logs:
            connection.execute(
                "insert into commute_streams values (?, ?, ?, 0, ?, 0.0)",
                (number, name, last, crc32(f"{number}/{last}/0/{name}".encode())),
            )
        for stream, name, watermark in groups:
            connection.execute(
                "insert into commute_groups values (?, ?, ?, ?)",
                (stream, name, watermark, group_checksum(stream, name, watermark)),
            )

    store = open_file(str(path), Limits())
    store.schema(LOG_SCHEMA)
    store.writer.submit(fill).result()
    store.close()
    target = ["groups", "list", "amqp://127.0.0.1/?queue=orders", "--db", f"sqlite:///{path}"]
    done = CliRunner().invoke(main, [*target, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["groups"]
    assert [(row["group"], row["behind"]) for row in found] == [("late", 10 + 25 + 7), ("shop", 0 + 5 + 7)]
    assert found[1]["partitions"] == [
        {"partition": 0, "watermark": 11, "behind": 0},
        {"partition": 1, "watermark": 21, "behind": 5},
        {"partition": 10, "watermark": None, "behind": 7},
    ]
    shown = CliRunner().invoke(main, target).stdout.splitlines()
    assert [line.split() for line in shown[1:]] == [["late", "42", "no"], ["shop", "12", "no"]]
