"""Receipts over a broker: the producer and the worker have a store each, as two machines have."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commute.link import discard, parse_url, with_stream
from tests.brokers import broker_url
from tests.e2e.workers import WAIT_S_MAX, Worker, environment, rows, wait_for, working

SHOP = """
import asyncio, os, signal
from commute import App, DeadLetter, Event, Limits
from commute.runtime import relay

class Paid(Event):
    order_id: int
    cents: int

app = App("shop", {url!r}, receipts={receipts!r}, limits=Limits(receipts_max=3))

@app.on(Paid, writes="order/{{order_id}}")
async def pay(event: Paid) -> None:
    if event.cents < 0 and not os.path.exists("mended"):
        raise DeadLetter("nobody pays less than nothing")

if os.path.exists("die"):
    async def die(self):
        if len(relay.read_outbox(self._reader, self._engine.store.scope, 9, receipts=True)) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return False
    relay.Relay.send_receipts = die
"""

PRODUCER = """
import asyncio, json, sys
from shop import Paid, app

async def main(verb, *words):
    async with app:
        if verb == "publish":
            events = [Paid(order_id=order, cents=cents) for order, cents in json.loads(words[0])]
            return [r.event_id for r in await app.publish_many(events)]
        receipts = [app.receipt(word) for word in words]
        if verb == "outcomes":
            found = await asyncio.gather(*(r.outcome(timeout_s=40) for r in receipts))
            return [one and [one.status, dict(one.handlers)] for one in found]
        for _ in range(4_000):
            states = [await r.state() for r in receipts]
            if all(s.status not in ("waiting", "unknown") for s in states):
                break
            await asyncio.sleep(0.01)
        return [[s.status, s.reason] for s in states]

print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
"""

BLOCKING = """
import json
from shop import Paid, app
receipt = app.publish_sync(Paid(order_id=9, cents=1))
outcome = receipt.outcome(timeout_s=40)
print(json.dumps([outcome.status, receipt.state().status]))
app.close()
"""


class Machines:
    """The folders of a worker and of a producer: one app, two stores."""

    def __init__(self, url: str, receipts: str, folder: Path) -> None:
        self.worker, self.producer = folder / "worker", folder / "producer"
        for each in (self.worker, self.producer):
            each.mkdir()
            (each / "shop.py").write_text(SHOP.format(url=url, receipts=receipts))
            (each / "producer.py").write_text(PRODUCER)
            (each / "blocking.py").write_text(BLOCKING)

    def call(self, *command: str, folder: Path | None = None, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=folder or self.producer, env=environment(), capture_output=True, text=True,
            timeout=WAIT_S_MAX, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr + done.stdout

    def produce(self, *words: str) -> Any:
        return json.loads(self.call("producer.py", *words).splitlines()[-1])

    def publish(self, *events: tuple[int, int]) -> list[str]:
        ids: list[str] = self.produce("publish", json.dumps(events))
        return ids


@pytest.fixture(params=["rabbitmq", "kafka", "mqtt"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    base = broker_url(request.param) + ("/x" if request.param == "mqtt" else "")
    url, receipts = (with_stream(base, f"test-{secrets.token_hex(4)}{end}") for end in ("", ".receipts"))
    yield Machines(url, parse_url(receipts).stream, tmp_path)
    discard(parse_url(url), "shop")
    discard(parse_url(receipts), parse_url(receipts).stream)


@pytest.fixture(params=["rabbitmq", "kafka"])
def shared_out(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    name = f"test-{secrets.token_hex(4)}"
    url = with_stream(broker_url(request.param), name)
    url += f"{'&' if '?' in url else '?'}partitions=4"
    yield Machines(url, f"{name}.receipts", tmp_path)
    discard(parse_url(url), "shop")
    discard(parse_url(with_stream(broker_url(request.param), f"{name}.receipts")), f"{name}.receipts")


def subscribed(worker: Worker) -> None:
    """MQTT keeps messages only for those who have subscribed once."""
    wait_for(lambda: "ready in" in worker.said(), worker.said())


def settled(machines: Machines, count: int) -> None:
    """The worker's store has done so many events, and its outbox is empty: the broker has the receipts."""
    store = machines.worker / "shop.commute.db"
    wait_for(
        lambda: (
            sum(int(str(row[2])) - 1 for row in rows(store, "progress", "scope")) >= count and not rows(store, "outbox")
        ),
        "no receipts were sent",
    )


def test_a_producer_that_was_away_is_told_what_became_of_its_events(machines: Machines) -> None:
    with working(machines.worker, "shop:app") as worker:
        subscribed(worker)
        paid, refused, behind = machines.publish((1, 5), (2, -1), (2, 7))
        settled(machines, 3)  # while the producer is away
        assert machines.produce("outcomes", paid) == [["processed", {"pay": "processed"}]]
        first, second = machines.produce("states", refused, behind)
        assert (first[0], second[0]) == ("parked", "held"), (first, second)
        assert "nobody pays less than nothing" in first[1] and refused in second[1]
        (machines.worker / "mended").touch()
        machines.call("-m", "commute", "dead", "retry", "shop:app", refused, folder=machines.worker)
        ended = [["processed", {"pay": "processed"}]] * 2
        assert machines.produce("outcomes", refused, behind) == ended
        (machines.worker / "mended").unlink()
        (given_up,) = machines.publish((3, -1))
        assert machines.produce("states", given_up)[0][0] == "parked"
        worker.stop()
        machines.call("-m", "commute", "dead", "skip", "shop:app", given_up, folder=machines.worker)  # without a worker
        worker.start()
        assert machines.produce("outcomes", given_up) == [["skipped", {"pay": "skipped"}]]
        assert json.loads(machines.call("blocking.py").splitlines()[-1]) == ["processed", "processed"]
        said = machines.call("-m", "commute", "publish", "shop:app", "paid", '{"order_id": 4, "cents": 1}',
                             "--wait", "40")  # fmt: skip
        assert "processed" in said and "warning" not in said
        assert len(rows(machines.producer / "shop.commute.db", "commute_receipt", "n")) == 3  # receipts_max
        assert not rows(machines.producer / "shop.commute.db", "inbox")
        worker.stop()


def test_a_worker_killed_before_it_has_sent_them_sends_them_later(machines: Machines) -> None:
    with working(machines.worker, "shop:app") as worker:
        subscribed(worker)
        worker.stop()
        (machines.worker / "die").touch()
        ids = machines.publish((1, 5), (2, -1))
        worker.start()
        store = machines.worker / "shop.commute.db"
        wait_for(lambda: len(rows(store, "outbox")) == 2, "nothing was settled")
        worker.killed()
        (machines.worker / "die").unlink()
        worker.start()
        assert [status for status, _ in machines.produce("states", *ids)] == ["processed", "parked"]
        worker.stop()


def test_every_partition_tells(shared_out: Machines) -> None:
    app = shared_out.producer / "shop.py"
    app.write_text(app.read_text().replace("receipts_max=3", "receipts_max=99"))
    with working(shared_out.worker, "shop:app", "--workers", "2") as worker:
        ids = shared_out.publish(*((order, 5) for order in range(12)), (13, -1))
        assert [status for status, _ in shared_out.produce("states", *ids)] == ["processed"] * 12 + ["parked"]
        worker.stop()


def test_two_producers_need_a_stream_each(machines: Machines, tmp_path: Path) -> None:
    with working(machines.worker, "shop:app") as worker:
        subscribed(worker)
        machines.publish((1, 5))
        other = tmp_path / "other"
        other.mkdir()
        for name in ("shop.py", "producer.py"):
            (other / name).write_text((machines.producer / name).read_text())
        said = machines.call("producer.py", "publish", "[[1, 6]]", folder=other, status=1)
        assert "receipts" in said and "is served with store" in said
        worker.stop()
