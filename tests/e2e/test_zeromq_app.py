"""An app on ZeroMQ: its events are journalled before they are confirmed, whoever is killed; others stand by."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import zmq
from click.testing import CliRunner

from commute import App, Event, Limits, NotReachableError
from commute.cli import main
from commute.embedded.file import EmbeddedFile
from commute.embedded.ownership import Ownership
from commute.measure import measure
from commute.transports.journal import Journal, Outbound
from commute.transports.sqlite import SqliteTransport
from commute.transports.zeromq import ZeromqWire, parse
from tests.runtime.shop import Step, until

SHOP = """
import asyncio
from commute import App, Context, Event

class Paid(Event):
    order_id: int
    n: int

app = App("shop", "{url}")

@app.on(Paid, writes="order/{{order_id}}")
async def pay(event: Paid, ctx: Context) -> None:
    await asyncio.sleep(0.001)
    async with ctx.transaction() as tx:
        tx.execute("create table if not exists effect(n integer)")
        tx.execute("insert into effect values(?)", (event.n,))
"""
EVENTS, KEYS = 2_000, 20


class Paid(Event):
    order_id: int
    n: int


@pytest.fixture
def url() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"zmq+tcp://127.0.0.1:{found.getsockname()[1]}"


def wait_for(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def effects(path: Path) -> list[int]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(30_000)  # the file may just be made, or recovered after a kill
    try:
        if not connection.execute("select 1 from sqlite_schema where name = 'effect'").fetchall():
            return []
        return [int(str(n)) for (n,) in connection.execute("select n from effect order by rowid").fetchall()]
    finally:
        connection.close()


def test_killed_workers_lose_nothing_confirmed_do_nothing_twice_and_keep_the_sequence(tmp_path: Path, url: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP.format(url=url))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMMUTE_")}

    def run() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "commute", "run", "shop:app", "--limit", "deaths_max=0"],
            cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    store = tmp_path / "shop.commute.db"
    app: App[None] = App("shop", url, db=f"sqlite:///{tmp_path}/producer.db")
    app.on(Paid, writes="order/{order_id}")(lambda event: None)
    confirmed: list[int] = []

    async def publish() -> None:
        async with app:
            for start in range(0, EVENTS, 50):
                await app.publish_many([Paid(order_id=n % KEYS, n=n) for n in range(start, start + 50)])
                confirmed.extend(range(start, start + 50))

    worker = run()
    try:
        producing = threading.Thread(target=lambda: asyncio.run(publish()))
        producing.start()
        for at_least in (150, 500, 900):
            wait_for(lambda at_least=at_least: store.exists() and len(effects(store)) >= at_least)  # type: ignore[misc]
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            worker = run()
        producing.join(60)
        assert len(confirmed) == EVENTS
        wait_for(lambda: len(effects(store)) >= EVENTS)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    found = effects(store)
    assert sorted(found) == list(range(EVENTS))
    for key in range(KEYS):
        mine = [n for n in found if n % KEYS == key]
        assert mine == sorted(mine)
    told = CliRunner().invoke(main, ["status", url, "--db", f"sqlite:///{store}", "--json"])
    assert json.loads(told.stdout)["to_do"] == 0


async def test_a_full_journal_holds_the_producers_and_loses_nothing(tmp_path: Path, url: str) -> None:
    gate = asyncio.Event()
    ran: list[int] = []
    limits = Limits(journal_events_max=100)
    app: App[None] = App("shop", url, db=f"sqlite:///{tmp_path}/shop.db", limits=limits, concurrency=4)

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        await gate.wait()
        ran.append(event.n)

    async with app, app.running():
        publishing = asyncio.create_task(app.publish_many([Step(key="a", n=n) for n in range(6_000)]))
        await until(lambda: app.log.last_position() >= 100)
        await asyncio.sleep(0.3)
        assert app.log.last_position() < 5_000  # what was on its way, and no more
        assert not publishing.done()
        gate.set()
        await asyncio.wait_for(publishing, 60)
        await until(lambda: len(ran) == 6_000, 60)
    assert ran == list(range(6_000))


async def test_a_second_group_of_the_store_reads_the_same_journal_and_takes_the_feeding_over(
    tmp_path: Path, url: str
) -> None:
    seen: dict[str, list[int]] = {"one": [], "two": []}

    def make(group: str) -> App[None]:
        app: App[None] = App("shop", url, db=f"sqlite:///{tmp_path}/shop.db", group=group)

        @app.on(Step, writes="key/{key}")
        async def step(event: Step) -> None:
            seen[group].append(event.n)

        return app

    one, two = make("one"), make("two")
    async with one, two, two.running():
        first = one.worker()
        # `two` feeds; `one` stands by as a feeder and reads all the same.
        await first.start()
        await two.publish_many([Step(key="a", n=n) for n in range(10)])
        await until(lambda: seen == {"one": list(range(10)), "two": list(range(10))})
        await first.stop()
    async with one, one.running():
        receipt = await one.publish(Step(key="a", n=10))
        outcome = await receipt.outcome(timeout_s=20)
        assert outcome is not None and outcome.status == "processed"
    assert seen["one"] == list(range(11))


async def test_an_event_that_is_sent_again_is_stored_once(tmp_path: Path, url: str) -> None:
    ran: list[int] = []
    app: App[None] = App("shop", url, db=f"sqlite:///{tmp_path}/shop.db")

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        ran.append(event.n)

    async with app, app.running():
        receipt = await app.publish(Step(key="a", n=1), id="given")
        assert receipt.position is None
        await until(lambda: ran == [1])
        again = await app.publish(Step(key="a", n=1), id="given")  # the same bytes: stored once
        assert (await again.outcome(timeout_s=20)) is not None
        assert app.log.last_position() == 1
    assert ran == [1]


async def test_a_taken_address_is_said_at_start(tmp_path: Path, url: str) -> None:
    context = zmq.Context()
    taken = context.socket(zmq.ROUTER)
    taken.bind(url.removeprefix("zmq+"))
    try:
        app: App[None] = App("shop", url, db=f"sqlite:///{tmp_path}/shop.db")

        @app.on(Step, writes="key/{key}")
        async def step(event: Step) -> None: ...

        async with app:
            with pytest.raises(NotReachableError, match="cannot listen"):
                async with app.running():
                    raise AssertionError("it began")
    finally:
        taken.close(linger=0)
        context.term()


async def test_a_broker_is_measured(url: str) -> None:
    told: set[str] = set()
    found = await measure(url, 2_000, 100, lambda what, done, of: told.add(what))
    assert told == {"publish", "consume", "latency"}
    assert found.publish_per_s > 0 and found.consume_per_s > 0 and 0 < found.latency_ms_p50 <= found.latency_ms_p99
    here = await measure("memory://", 2_000, 100, lambda what, done, of: None)
    assert here.broker == "memory://" and here.publish_per_s > 0


async def test_a_feeder_that_is_closed_while_it_starts_leaves_nothing_behind(tmp_path: Path, url: str) -> None:
    connecting, go_on = threading.Event(), threading.Event()

    class Slow(ZeromqWire):
        def connect(self) -> None:
            connecting.set()
            go_on.wait(20)
            super().connect()

    def journal(file: EmbeddedFile, wire: type[ZeromqWire]) -> Journal:
        options = parse(url)
        outbound = Outbound(lambda: ZeromqWire(options))
        return Journal(
            SqliteTransport(file), feeds=[lambda: wire(options)], outbound=outbound, promises=ZeromqWire.promises,
            reader="r", journal_events_max=100,
        )  # fmt: skip

    file = EmbeddedFile.open(tmp_path / "shop.db")
    try:
        other = Ownership(file, "journal events")
        assert await asyncio.to_thread(other.try_take)
        standing_by = journal(file, Slow)
        await standing_by.open("g")
        other.release()
        assert await asyncio.to_thread(connecting.wait, 20)
        closing = asyncio.create_task(standing_by.close())
        await asyncio.sleep(0.1)
        go_on.set()
        await closing
        after = journal(file, ZeromqWire)
        await after.open("g")  # neither the address nor the feeding is held by the one that has closed
        assert await asyncio.to_thread(other.try_take) is False  # this one feeds
        await after.close()
    finally:
        await asyncio.to_thread(file.close)
