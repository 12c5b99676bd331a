"""What a producer is told over each broker: while it waits, and when it comes back after it was away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from commute.link import parse_url
from tests.e2e.test_brokers_app import url
from tests.e2e.workers import environment, wait_for, working

__all__ = ["url"]  # the fixture

SHOP = """
import asyncio, os
from commute import App, DeadLetter, Event

class Paid(Event):
    order_id: int
    cents: int

app = App("demo", {url!r})

@app.on(Paid, writes="order/{{order_id}}")
async def pay(event: Paid) -> None:
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    if event.cents < 0:
        raise DeadLetter("nobody pays less than nothing")
"""

PRODUCER = """
import asyncio, json, sys
from shop import Paid, app

async def outcome(receipt):
    found = await receipt.outcome(timeout_s=30)
    return None if found is None else [found.status, dict(found.handlers)]

async def ended(receipt):
    while (state := await receipt.state()).status in ("waiting", "unknown"):
        await asyncio.sleep(0.01)
    return [state.status, state.reason]

async def main(verb, *ids):
    async with app:
        if verb == "publish":
            events = [Paid(order_id=1, cents=5), Paid(order_id=2, cents=-1), Paid(order_id=2, cents=7)]
            receipts = await app.publish_many(events)
            return {r.event_id: [(await r.state()).status, await r.outcome(timeout_s=0)] for r in receipts}
        if verb == "wait":
            return await outcome(await app.publish(Paid(order_id=3, cents=5)))
        return [await (outcome if verb == "outcomes" else ended)(app.receipt(id)) for id in ids]

print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
"""


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_producer_that_was_away_learns_what_became_of_its_events(url: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.format(url=url))
    (tmp_path / "producer.py").write_text(PRODUCER)

    def produce(*arguments: str) -> Any:
        return json.loads(call(tmp_path, "producer.py", *arguments))

    with working(tmp_path, "shop:app") as worker:
        # MQTT keeps messages only for those who have subscribed once.
        wait_for(lambda: "ready in" in worker.said(), "the worker did not begin")
        kept = parse_url(url).scheme != "zmq+tcp"  # without a broker nobody confirms while no worker is there
        if kept:
            worker.kill()
        told = produce("publish")
        assert list(told.values()) == [["waiting", None]] * 3
        paid, refused, behind = told
        if kept:
            worker.start()
        (tmp_path / "go").touch()
        assert produce("outcomes", paid) == [["processed", {"pay": "processed"}]]
        first, second = produce("ended", refused, behind)
        assert first[0] == "parked" and "nobody pays less than nothing" in first[1]
        assert second[0] == "held"
        assert produce("wait") == ["processed", {"pay": "processed"}]
        call(tmp_path, "-m", "commute", "dead", "skip", "shop:app", refused)
        assert [status for status, _ in produce("outcomes", refused, behind)] == ["skipped", "processed"]
        worker.stop()
