"""A handler that takes the process down among 32 that run: its event alone is parked, everything else is processed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork(2)")
def test_only_the_event_that_dies_alone_is_parked() -> None:
    arguments = ["--rounds", "0", "--deaths-max", "2", "--events", "300", "--json"]
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks/crash.py", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr + run.stdout
    found = json.loads(run.stdout)["poison"]
    assert found["dead"] == ["poison parked"]
    assert found["lost"] == 0 and found["state_equal"] is True
    # The first death meets a full worker and is nobody's; the others are its own, and two of them are enough.
    assert found["running_at_death"][0] > 16
    assert found["running_at_death"][1:] == [1, 1]


APP = """
import asyncio, os, sys
from commute import App, Context, Event, Limits

class Bomb(Event):
    n: int

class Calm(Event):
    n: int

app = App("bombs", "sqlite:///" + sys.argv[1], limits=Limits(deaths_max=2))
disarmed = "disarmed" in sys.argv

@app.on(Bomb, writes="bomb")
async def bomb(event: Bomb) -> None:
    if not disarmed:
        os._exit(9)

@app.on(Calm, writes="calm")
async def calm(event: Calm) -> None:
    pass

async def state(receipt) -> str:
    return (await receipt.state()).status

async def main() -> None:
    async with app:
        if sys.argv[2] == "publish":
            await app.publish(Bomb(n=1), id="bomb")
            return
        if sys.argv[2] == "more":
            await app.publish(Bomb(n=2), id="behind")
            await app.publish(Calm(n=1), id="calm")
        if sys.argv[2] == "retry":
            def ask(connection):
                connection.execute(
                    "INSERT INTO request(scope, verb, partition, position, at_s) VALUES (1, 'retry', 0, 1, 0)")
            await asyncio.wrap_future(app.connect().file.writer.submit(ask))
        wanted = dict(pair.split("=") for pair in sys.argv[3].split(","))
        async with app.running():
            if sys.argv[2] in ("run", "retry"):
                await asyncio.sleep(1.0)  # a state that was true before must not be taken for the result
            async with asyncio.timeout(20):
                while {name: await state(app.receipt(name)) for name in wanted} != wanted:
                    await asyncio.sleep(0.01)

asyncio.run(main())
"""


def live(path: Path, *arguments: str) -> int:
    """One life of the worker; returns its exit status."""
    run = subprocess.run(
        [sys.executable, "-c", APP, str(path), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode in (0, 9), run.stderr
    return run.returncode


def test_the_first_event_of_a_new_file_is_found_out_too_and_a_retry_that_kills_again_is_parked_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bombs.db"
    live(path, "publish")
    lives = 0
    while live(path, "run", "bomb=parked"):
        lives += 1
        assert lives < 6, "a death of the only event is never counted"
    assert lives == 3  # the first death is nobody's: only a suspect that dies alone has it counted
    assert live(path, "more", "bomb=parked,behind=held,calm=processed") == 0
    # A retry out of the dead letters kills again, and must not do so for ever.
    lives = 0
    verb = "retry"
    while live(path, verb, "bomb=parked"):
        verb = "run"
        lives += 1
        assert lives < 6, "a replayed event may kill for ever"
    assert lives >= 1
    assert live(path, "run", "behind=held,calm=processed") == 0
    assert live(path, "retry", "bomb=processed,behind=processed", "disarmed") == 0
