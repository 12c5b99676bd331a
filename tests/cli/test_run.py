"""``commute run`` as a process: its banner, its signals, its ends, and what is left after each of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from commute import App, NamedEvent
from commute.cli import main

SHOP = """
import asyncio, os, time
from commute import App, Event, Retry

class OrderCreated(Event):
    order_id: int
    sku: str

class OrderShipped(Event):
    order_id: int

app = App("shop")

def mark(name: str) -> None:
    with open(name, "a") as file:
        file.write("x\\n")

@app.on(OrderCreated, writes="order/{order_id}", adds="stock/{sku}", retry=Retry(attempts=1))
async def reserve(event: OrderCreated) -> None:
    mark("began")
    if event.sku == "blocks":
        while not os.path.exists("go"):
            time.sleep(0.01)
    if event.sku == "waits":
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    if event.sku == "hangs":
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)
    if event.sku == "bad":
        raise ValueError("tea-9\\x1b[31m\\x9b1m")
    mark("ended")

@app.on(OrderShipped)
async def audit(event: OrderShipped) -> None:
    mark("audited")
"""
SECONDS_MAX = 30.0


class Shell:
    """A directory with an app, commands in it, and the workers that a test began."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/shop.db"
        (folder / "shop.py").write_text(SHOP)
        self.workers: list[subprocess.Popen[str]] = []

    def order(self, order_id: int, sku: str = "tea") -> None:
        app: App[None] = App("shop", self.url)
        try:
            app.publish_sync(NamedEvent(type="order_created", data={"order_id": order_id, "sku": sku}))
        finally:
            app.close()

    def status(self, *options: str) -> str:
        done = CliRunner().invoke(main, ["status", self.url, "--group", "shop", *options])
        assert done.exit_code == 0, done.output
        return done.output

    def to_do(self) -> int:
        return int(json.loads(self.status("--json"))["to_do"])

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, "-m", "commute", "run", *arguments], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        """A worker that is ready."""
        worker = self.begin("shop:app", *arguments)
        read_until(worker, "ready")
        return worker

    def lines(self, name: str) -> int:
        path = self.folder / name
        return len(path.read_text().splitlines()) if path.exists() else 0

    def until_lines(self, name: str, count: int = 1) -> None:
        end_s = time.monotonic() + SECONDS_MAX
        while self.lines(name) < count:
            assert time.monotonic() < end_s, f"{name} has {self.lines(name)} lines"
            time.sleep(0.01)


def read_until(worker: subprocess.Popen[str], text: str) -> list[str]:
    """The lines on stderr up to the first with `text`."""
    assert worker.stderr is not None
    lines: list[str] = []
    for line in worker.stderr:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError((text, lines))


def end(worker: subprocess.Popen[str], number: int = signal.SIGINT) -> str:
    """What it says after one signal."""
    worker.send_signal(number)
    return worker.communicate(timeout=SECONDS_MAX)[1]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    for worker in made.workers:
        worker.kill()
        worker.communicate()


def test_the_banner_says_what_runs_and_what_was_probably_not_meant(shell: Shell) -> None:
    shell.order(1)
    worker = shell.begin("shop:app", "--concurrency", "7", "--limit", "descriptors_max=1000")
    text = "".join(read_until(worker, "ready in"))
    assert f"pid {worker.pid}" in text
    assert f"broker   sqlite:///{shell.folder}/shop.db  stream events, group shop: 1 to do, 0 parked" in text
    assert "7 handlers at once, 1,000 events or 256 MiB looked ahead" in text
    assert "reserve  order_created" in text and "order/{order_id}" in text and "stock/{sku}" in text
    assert "audit    order_shipped  EVERYTHING" in text
    assert "audit (order_shipped) declares nothing" in text
    assert 'order: @app.on(OrderShipped, writes="order/{order_id}")   shop.py:' in text
    assert "Elsewhere: commute status shop:app" in text
    shell.until_lines("ended")
    assert "drained: 1 event done" in end(worker)
    assert worker.returncode == 0


def test_the_first_signal_drains_what_runs_ends_and_nothing_new_begins(shell: Shell) -> None:
    shell.order(1, "waits")
    worker = shell.run("--concurrency", "1")
    shell.until_lines("began")
    shell.order(2)
    worker.send_signal(signal.SIGTERM)
    said = "".join(read_until(worker, "draining"))
    assert "1 handler may end within 30 s" in said
    (shell.folder / "go").touch()
    rest = worker.communicate(timeout=SECONDS_MAX)[1]
    assert worker.returncode == 0 and "drained: 1 event done" in rest
    assert (shell.lines("began"), shell.lines("ended")) == (1, 1)
    assert shell.to_do() == 1


@pytest.mark.parametrize("sku", ["hangs", "blocks"])
def test_the_second_signal_stops_now_even_when_the_loop_is_blocked(shell: Shell, sku: str) -> None:
    shell.order(1, sku)
    worker = shell.run()
    shell.until_lines("began")
    worker.send_signal(signal.SIGINT)
    if sku == "hangs":
        read_until(worker, "draining")
    else:
        time.sleep(0.2)  # two signals that are pending at one moment are one to the system
    rest = end(worker)
    assert worker.returncode == 130 and "stopped now" in rest
    assert shell.to_do() == 1


def test_a_handler_that_does_not_end_in_grace_is_named_and_the_process_ends(shell: Shell) -> None:
    shell.order(1, "hangs")
    worker = shell.run("--limit", "grace_s=0.2")
    shell.until_lines("began")
    rest = end(worker)
    assert worker.returncode == 1
    assert "not drained: still running after 0.2 s: reserve (order_created " in rest


def test_a_drain_that_the_loop_never_hears_ends_too(shell: Shell) -> None:
    shell.order(1, "blocks")
    worker = shell.run("--limit", "grace_s=0.1")
    shell.until_lines("began")
    rest = end(worker)
    assert worker.returncode == 1 and "the event loop is blocked" in rest and "reserve (order_created " in rest


def test_after_a_kill_status_says_so_and_the_next_worker_goes_on(shell: Shell) -> None:
    shell.order(1, "waits")
    shell.order(2)
    worker = shell.run("--limit", "deaths_max=0")
    shell.until_lines("began", 2)
    end_s = time.monotonic() + SECONDS_MAX
    while shell.to_do() != 1:  # the second is done although the first, before it, is not
        assert time.monotonic() < end_s
    worker.kill()
    worker.wait()
    found = json.loads(shell.status("--json"))
    assert found["worker"] is None and found["to_do"] == 1
    assert "none runs" in shell.status()
    (shell.folder / "go").touch()
    again = shell.run()
    shell.until_lines("ended", 2)
    end(again)
    assert shell.to_do() == 0


def test_a_stopped_worker_keeps_its_group_and_status_says_that_it_is_silent(shell: Shell) -> None:
    worker = shell.run()
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        path = shell.folder / "shop.db-shop.status"
        end_s = time.monotonic() + SECONDS_MAX
        while not path.exists():
            assert time.monotonic() < end_s
            time.sleep(0.01)
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "at_s": told["at_s"] - 60}))  # as it will be in a minute
        assert "silent for" in shell.status()
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    end(worker)
    assert worker.returncode == 0


def test_a_parked_event_is_told_in_full_with_the_commands_to_type_and_no_escape(shell: Shell) -> None:
    shell.order(1, "bad")
    worker = shell.run()
    text = "".join(read_until(worker, "or give it up"))
    assert " error  order_created " in text and ": parked. reserve failed once: ValueError: tea-9\\x1b[31m" in text
    assert "(shop.py:" in text and "holds order/1, stock/bad; no later event is held" in text
    assert "commute dead show shop:app " in text and "commute dead skip shop:app " in text
    assert "\x1b" not in text and "\x9b" not in text
    end(worker)


def test_json_gives_one_document_a_line_and_stdout_has_nothing_else(shell: Shell) -> None:
    worker = shell.run("--json")
    assert worker.stdout is not None
    first, second = (json.loads(worker.stdout.readline()) for _ in range(2))
    assert first["what"] == "ready" and first["pid"] == worker.pid
    assert second["what"] == "status" and {"per_s", "done", "running", "ready", "waiting", "parked"} <= second.keys()
    worker.send_signal(signal.SIGINT)
    rest = [json.loads(line) for line in worker.communicate(timeout=SECONDS_MAX)[0].splitlines()]
    assert rest[-1] == {"what": "end", "drained": True, "done": 0}


def test_waiting_for_another_outcome_than_processed_is_no(shell: Shell) -> None:
    worker = shell.run()
    event = ["publish", shell.url, "order_craeted", "{}", "--group", "shop", "--wait", str(SECONDS_MAX)]
    done = CliRunner().invoke(main, event)
    assert done.exit_code == 1 and "rejected: " in done.stdout
    (shell.folder / "lines").write_text('{"order_id": 1, "sku": "tea"}\n{"order_id": 2}\n')
    event = ["publish", shell.url, "order_created", str(shell.folder / "lines"), *event[4:]]
    done = CliRunner().invoke(main, event)
    assert done.exit_code == 1 and "1 processed, 1 rejected" in done.stdout
    end(worker)


def test_app_run_is_the_same_command(shell: Shell) -> None:
    with (shell.folder / "shop.py").open("a") as file:
        file.write('\nif __name__ == "__main__":\n    app.run()\n')
    worker = subprocess.Popen(
        [sys.executable, "shop.py"], cwd=shell.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    shell.workers.append(worker)
    assert "commute status shop:app" in "".join(read_until(worker, "ready in"))
    assert "drained" in end(worker) and worker.returncode == 0


def test_a_standing_by_worker_ends_at_once_when_it_is_asked(shell: Shell) -> None:
    first = shell.run()
    second = shell.begin("shop:app")
    assert f"pid {first.pid}" in "".join(read_until(second, "stands by"))
    assert "drained" in end(second) and second.returncode == 0
    assert first.poll() is None


def test_a_worker_under_reload_has_the_grace_of_its_own_and_the_second_signal_stops_it_now(shell: Shell) -> None:
    shell.order(1, "hangs")
    worker = shell.run("--reload", "--limit", "grace_s=0.2")
    shell.until_lines("began")
    assert "not drained: still running after 0.2 s" in end(worker)
    assert worker.returncode == 1
    worker = shell.run("--reload")
    shell.until_lines("began", 2)
    worker.send_signal(signal.SIGINT)
    read_until(worker, "draining")
    end(worker)
    assert worker.returncode == 130
    assert json.loads(shell.status("--json"))["worker"] is None
    assert shell.to_do() == 1
