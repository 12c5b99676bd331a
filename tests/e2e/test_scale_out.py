"""Several processes share a stream's partitions: real brokers, workers killed and added, every event once, in order."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from commute.link import discard, parse_url, with_stream
from tests.brokers import broker_url
from tests.e2e.workers import WAIT_S_MAX, wait_for
from tests.house.tree import ROOT

CUSTOMERS = 20
EVENTS = 3_000
BLOCKED = 12  # customers, so that the partitions of one half hold some of them, whichever half it is

APP = """
    import os
    from contextlib import asynccontextmanager
    from commute import App, Context, Event, Retry

    class Ordered(Event):
        customer: int
        number: int
        sku: int

    class Crossed(Event):
        payer: int
        payee: int

    @asynccontextmanager
    async def tables():
        async with app.transaction() as tx:
            tx.execute("CREATE TABLE IF NOT EXISTS trail(customer INTEGER, number INTEGER, step INTEGER, pid INTEGER)")
            tx.execute("CREATE TABLE IF NOT EXISTS stock(sku INTEGER PRIMARY KEY, quantity INTEGER NOT NULL)")
        yield

    app = App("shop", os.environ["BROKER"], lifespan=tables)

    @app.on(Ordered, writes="customer/{customer}", adds="stock/{sku}", retry=Retry(attempts=1))
    async def order(event: Ordered, ctx: Context) -> None:
        if event.sku < 0 and not os.path.exists("fixed"):
            raise ValueError("poison")
        async with ctx.transaction() as tx:
            ((step,),) = tx.execute("SELECT count(*) FROM trail WHERE customer = ?", (event.customer,))
            tx.execute("INSERT INTO trail VALUES (?, ?, ?, ?)", (event.customer, event.number, step, os.getpid()))
            tx.execute("INSERT INTO stock VALUES (?, 1) ON CONFLICT (sku) DO UPDATE SET quantity = quantity + 1",
                       (event.sku,))

    crossing = App("crossing", os.environ["BROKER"])

    @crossing.on(Crossed, writes=("account/{payer}", "account/{payee}"))
    async def pay(event: Crossed) -> None: ...
"""


class Shop:
    """One app on a stream of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        (folder / "shop.py").write_text(textwrap.dedent(APP))
        path = os.pathsep.join([str(ROOT / "src"), str(folder)])
        self.environment = {**os.environ, "BROKER": url, "PYTHONPATH": path}
        self.workers = 0
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *options: str, target: str = "shop:app") -> subprocess.Popen[str]:
        log = (self.folder / f"worker-{self.workers}.log").open("w")
        self.workers += 1
        process = subprocess.Popen(
            [sys.executable, "-m", "commute", "run", target, *options], cwd=self.folder, env=self.environment,
            stdout=log, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        log.close()
        self.processes.append(process)
        return process

    def said(self, number: int) -> str:
        return (self.folder / f"worker-{number}.log").read_text()

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "commute", *words], cwd=self.folder, env=self.environment, capture_output=True,
            text=True, timeout=WAIT_S_MAX, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def publish(self, count: int, poison: int = 0) -> None:
        """`count` events, each customer's own numbered; every `poison`-th touches nothing and fails."""
        poisoned = count // poison if poison else 0
        events = f"[Ordered(customer=n % {CUSTOMERS}, number=n // {CUSTOMERS}, sku=n % 3) for n in range({count})]"
        more = f"[Ordered(customer=1000 + n, number=0, sku=-1) for n in range({poisoned})]"
        self.send(f"{events} + {more}")

    def block(self, first: int, last: int) -> None:
        """Of some more customers the events `first` to `last`; number 0 fails until it is `fixed`, and blocks."""
        events = f"for c in range({BLOCKED}) for n in range({first}, {last + 1})"
        self.send(f"[Ordered(customer=2000 + c, number=n, sku=-1 if n == 0 else 0) {events}]")

    def send(self, events: str, pause_s: float = 0.0) -> None:
        """A producer of these events, a hundred at once, to its end."""
        assert self.sending(events, pause_s).wait(WAIT_S_MAX) == 0

    def sending(self, events: str, pause_s: float = 0.0) -> subprocess.Popen[str]:
        """The same, at work."""
        program = f"""
            import asyncio
            from shop import app, Ordered

            async def main():
                async with app:
                    events = {events}
                    for start in range(0, len(events), 100):
                        await app.publish_many(events[start:start + 100])
                        await asyncio.sleep({pause_s})

            asyncio.run(main())
            """
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], cwd=self.folder, env=self.environment, text=True
        )
        self.processes.append(process)
        return process

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(self.folder / "shop.commute.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute(sql).fetchall()
        except apsw.SQLError:  # no worker has made the tables yet
            return []
        finally:
            connection.close()

    def done(self) -> int:
        found = self.rows("SELECT count(*) FROM trail")
        return found[0][0] if found else 0

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for app in ("shop", "crossing"):
            discard(parse_url(self.url), app)


@pytest.fixture(params=["rabbitmq", "kafka"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    base = with_stream(broker_url(request.param), f"test-{secrets.token_hex(4)}")
    made = Shop(f"{base}{'&' if '?' in base else '?'}partitions=6", tmp_path)
    yield made
    made.close()


def check(shop: Shop, count: int) -> None:
    assert shop.rows("SELECT count(*), count(DISTINCT customer * 1000000 + number) FROM trail") == [(count, count)]
    assert shop.rows("SELECT count(*) FROM trail WHERE number != step") == [(0,)]
    assert shop.rows("SELECT sum(quantity) FROM stock") == [(count,)]


def test_killed_workers_lose_nothing_and_keep_each_customers_sequence(shop: Shop) -> None:
    shop.start("--workers", "3")
    wait_for(lambda: shop.said(0).count("ready in") == 3, "all are ready")
    shop.publish(EVENTS, poison=500)
    killed = 0
    while killed < 3:
        pids = [int(pid) for pid in re.findall(r"pid (\d+)$", shop.said(0), re.MULTILINE)]
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        os.kill(alive[killed % len(alive)], signal.SIGKILL)
        killed += 1
        wait_for(lambda: shop.said(0).count("ready in") >= 3 + killed, "the next one is ready")  # noqa: B023
    wait_for(lambda: shop.done() == EVENTS, f"all are done ({shop.done()})")
    check(shop, EVENTS)
    pids_at_work = {pid for (pid,) in shop.rows("SELECT DISTINCT pid FROM trail")}
    assert len(pids_at_work) > 1, "one process did it all"
    status = shop.command("status", "shop:app")
    assert "6 partitions: 0 to do" in status
    poisoned = sum(int(row.split()[5]) for row in status.splitlines() if re.match(r"  \d", row))
    assert poisoned == EVENTS // 500


@pytest.mark.parametrize("shop", ["rabbitmq"], indirect=True)
def test_each_process_draws_what_its_partitions_did(shop: Shop) -> None:
    command = shop.start("--workers", "2", "--picture", "run.html")
    wait_for(lambda: shop.said(0).count("ready in") == 2, "both are ready")
    shop.publish(300)
    wait_for(lambda: shop.done() == 300, "all are done")
    command.send_signal(signal.SIGUSR1)
    wait_for(lambda: shop.said(0).count("picture: ") == 2, "both have drawn")
    pages = [(shop.folder / f"run-{number}.html").read_text(encoding="utf-8") for number in (1, 2)]
    told = [int(count) for page in pages for count in re.findall(r"the last (\d+) events", page)[:1]]
    assert sum(told) == 300 and all(told), "each its own"
    assert command.poll() is None, "they go on"


def test_a_worker_takes_over_what_nobody_else_has(shop: Shop) -> None:
    first = shop.start("--share", "1/2")
    wait_for(lambda: "ready in" in shop.said(0), "the first is ready")
    shop.publish(EVENTS)
    wait_for(lambda: shop.done() == EVENTS, "the other half is taken over")  # after its owner has not come
    check(shop, EVENTS)
    assert first.poll() is None


def test_partitions_move_to_a_worker_that_is_added_with_all_that_is_parked_and_held(shop: Shop) -> None:
    shop.start()
    wait_for(lambda: "ready in" in shop.said(0), "the first has all")
    shop.block(0, 3)
    wait_for(lambda: dead(shop) == {"parked": BLOCKED, "held": 3 * BLOCKED}, f"they are held ({dead(shop)})")
    events = f"[Ordered(customer=n % {CUSTOMERS}, number=n // {CUSTOMERS}, sku=n % 3) for n in range({EVENTS})]"
    load = shop.sending(events, pause_s=0.3)
    added = shop.start()
    wait_for(lambda: taken(shop, 1) == 3, "the second has half")
    assert load.poll() is None, "the load was over before"
    shop.block(4, 5)
    wait_for(lambda: dead(shop) == {"parked": BLOCKED, "held": 5 * BLOCKED}, f"new owners hold too ({dead(shop)})")
    wait_for(lambda: shop.done() == EVENTS, f"all others are done ({shop.done()})")
    check(shop, EVENTS)
    assert len(shop.rows("SELECT DISTINCT pid FROM trail")) == 2, "one process did it all"
    added.send_signal(signal.SIGTERM)
    assert added.wait(WAIT_S_MAX) == 0
    wait_for(lambda: taken(shop, 0) == 3, "the first has all again")
    shop.start()
    wait_for(lambda: taken(shop, 2) == 3, "the third has half")
    (shop.folder / "fixed").touch()
    retry = ("dead", "retry", "shop:app", "--all", "--yes", "--partition")
    said = "".join(shop.command(*retry, str(number)) for number in range(6))
    assert said.count("will be run again in its place") == BLOCKED, said
    wait_for(lambda: shop.done() == EVENTS + 6 * BLOCKED, f"what was parked and held is done ({shop.done()})")
    check(shop, EVENTS + 6 * BLOCKED)
    assert dead(shop) == {}
    assert given(shop, 0) == 6 and given(shop, 1) == given(shop, 2) == 0, "no more than is needed, and nothing back"


def test_a_worker_that_is_killed_while_partitions_move_costs_nothing(shop: Shop) -> None:
    shop.start()
    wait_for(lambda: "ready in" in shop.said(0), "the first has all")
    events = f"[Ordered(customer=n % {CUSTOMERS}, number=n // {CUSTOMERS}, sku=n % 3) for n in range({EVENTS})]"
    shop.sending(events, pause_s=0.3)
    for number in (1, 2):
        added = shop.start()
        # What the one before had may be free when it comes: then it has its share at once, and need not wait for one.
        wait_for(lambda: taken(shop, number) > 0 or "ready" in shop.said(number), "the first one moves")  # noqa: B023
        added.kill()
    wait_for(lambda: shop.done() == EVENTS, f"all are done ({shop.done()})")
    check(shop, EVENTS)


def taken(shop: Shop, number: int) -> int:
    """How often this worker has taken a partition that it had to wait for."""
    return shop.said(number).count("is free: this worker takes over")


def given(shop: Shop, number: int) -> int:
    """How many partitions this worker has handed over."""
    found = re.findall(r"partitions? ([\d, ]+) (?:is|are) handed over", shop.said(number))
    return sum(len(each.split(",")) for each in found)


def dead(shop: Shop) -> dict[str, int]:
    return dict(shop.rows("SELECT status, count(*) FROM dead GROUP BY 1"))


def test_keys_that_cross_are_refused_unless_one_owner_has_all(shop: Shop) -> None:
    refused = shop.start(target="shop:crossing")
    assert refused.wait(WAIT_S_MAX) == 2
    assert "error[crosses]" in shop.said(0) and "--single-owner" in shop.said(0)
    shop.start("--single-owner", target="shop:crossing")
    wait_for(lambda: "ready in" in shop.said(1), "one owner of all")


def test_what_the_command_line_publishes_lies_where_its_label_says(shop: Shop) -> None:
    events = [{"customer": n % CUSTOMERS, "number": n // CUSTOMERS, "sku": 0} for n in range(20 * CUSTOMERS)]
    (shop.folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    said = shop.command("publish", "shop:app", "ordered", "events.jsonl")
    assert f"{len(events)} events published" in said and "warning" not in said, said
    shop.start()
    wait_for(lambda: shop.done() == len(events), "all are done")
    check(shop, len(events))
    said = shop.command("publish", shop.url, "ordered", '{"customer": 0, "number": 20, "sku": 0}')
    assert "warning[no-label]" in said and "has 6 partitions" in said, said
    wait_for(lambda: shop.done() == len(events) + 1, "no label, and yet it comes to one of them")


def test_sharing_out_in_another_way_needs_a_drain(shop: Shop) -> None:
    worker = shop.start("--single-owner")
    wait_for(lambda: "ready in" in shop.said(0), "one owner of all")
    shop.publish(100, poison=50)
    parked = "SELECT count(*) FROM dead WHERE status = 'parked'"
    wait_for(lambda: shop.done() == 100 and shop.rows(parked) == [(2,)], "all are done or parked")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(WAIT_S_MAX) == 0
    refused = shop.start()
    assert refused.wait(WAIT_S_MAX) == 2
    assert "error[partitions-changed]" in shop.said(1) and "2 of its events are not finished" in shop.said(1)
    assert "Start it with --single-owner, let it drain" in shop.said(1)
    assert shop.command("dead", "drop", "shop:app", "--all", "--yes").count("): dropped") == 2
    shop.start()
    wait_for(lambda: "ready in" in shop.said(2), "nothing is left to do, so several engines may begin")
    shop.publish(CUSTOMERS)
    wait_for(lambda: shop.done() == 100 + CUSTOMERS, "they go on")


def test_partitions_that_are_added_while_work_is_open_wait_until_it_is_finished(tmp_path: Path) -> None:
    base = with_stream(broker_url("kafka"), f"test-{secrets.token_hex(4)}")
    shop = Shop(f"{base}?partitions=4", tmp_path)
    try:
        worker = shop.start()
        wait_for(lambda: "ready in" in shop.said(0), "one has all four")
        shop.publish(100, poison=50)
        parked = "SELECT count(*) FROM dead WHERE status = 'parked'"
        wait_for(lambda: shop.done() == 100 and shop.rows(parked) == [(2,)], "all are done or parked")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(WAIT_S_MAX) == 0
        add_partitions(base, 6)
        shop.environment["BROKER"] = base
        for options in ((), ("--single-owner",)):
            assert shop.start(*options).wait(WAIT_S_MAX) == 2
        way = "Start it with ?partitions=4 in the broker's URL, so that no others are read"
        assert f"{way}, let it drain" in shop.said(1)
        assert f"{way}, without --single-owner, let it drain" in shop.said(2)
        said = shop.command("doctor", "shop:app")
        assert (
            "has shared it out into 4 partitions" in said
            and "has 6 partitions now; at most 2 events" in said
            and "?partitions=4" in said
        ), said

        shop.environment["BROKER"] = f"{base}?partitions=4"
        shop.publish(10 * CUSTOMERS)  # some of them go to the new partitions
        worker = shop.start()
        wait_for(lambda: "warning[partitions-capped]" in shop.said(3) and "ready in" in shop.said(3), "it may begin")
        for number in range(4):
            shop.command("dead", "drop", "shop:app", "--all", "--yes", "--partition", str(number))
        # Parked events and what is below the watermark: when all of both is gone, another number may be agreed on.
        shop.environment["BROKER"] = base
        wait_for(lambda: "at most 0 events not finished" in shop.command("doctor", "shop:app"), "nothing is left to do")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(WAIT_S_MAX) == 0
        assert shop.done() < 100 + 10 * CUSTOMERS, "what is above waits"
        shop.start()
        wait_for(lambda: shop.done() == 100 + 10 * CUSTOMERS, "all six are read")
        assert "4 partitions" not in shop.command("doctor", "shop:app")
    finally:
        shop.close()


def add_partitions(url: str, count: int) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

    host, _, topic = url.removeprefix("kafka://").partition("/")
    admin = AdminClient({"bootstrap.servers": host, "log_level": 0})
    admin.create_partitions([NewPartitions(topic, count)])[topic].result(WAIT_S_MAX)
