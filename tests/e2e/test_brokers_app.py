"""The shop of `commute demo` on every broker: the same state as the serial run, also when its worker is killed.

The shop's tables tell what went wrong: what is lost or done twice changes a sum, a step that came before its turn has
another number in an order's trail, an address or a price that was read too early stays in the order.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from commute import App
from commute.cli import main
from commute.demo.compare import compare
from commute.demo.run import Options, run_both, run_pass
from commute.demo.shop import (
    APP_NAME,
    Gateway,
    OrderCreated,
    OrderShipped,
    PaymentProcessed,
    make_app,
    read_tables,
    set_up,
)
from commute.demo.traffic import make_traffic
from commute.event import Event
from commute.link import discard, parse_url, with_stream
from commute.store.reading import count_dead, find_scope
from tests.brokers import broker_url
from tests.e2e.workers import WAIT_S_MAX, rows, wait_for, working

BROKERS = ("rabbitmq", "kafka", "mqtt", "zeromq")
EVENTS, BATCH, SEED = 1_000, 25, 7  # Mosquitto, as it is set up here, saves all that waits at each change: keep it few
BACKLOG = 200  # steps that the producer is ahead of the worker, so that it publishes while workers are killed
KILLS = (300, 550, 800)  # events that are confirmed by then
WORKER = "from commute.demo.shop import make_app\napp = make_app({url!r}, {db!r}, service_s=0.005, concurrency=16)\n"


def base_url(name: str) -> str:
    if name != "zeromq":
        return broker_url(name) + ("/demo" if name == "mqtt" else "")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"zmq+tcp://127.0.0.1:{found.getsockname()[1]}"


@pytest.fixture(params=BROKERS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A stream of the test's own."""
    made = with_stream(base_url(request.param), f"shop-{uuid.uuid4().hex}")
    if request.param == "kafka":
        made += "?instance_id=worker"  # a static member is back at once; test_tutorial.py kills one that is not static
    yield made
    discard(parse_url(made), APP_NAME)


@pytest.mark.parametrize("name", BROKERS)
def test_the_demo_ends_in_the_state_of_the_serial_run(name: str) -> None:
    options = Options(events=300, concurrency=16, service_s=0.002, broker=base_url(name))
    serial, parallel = run_both(options, lambda name, done: None)
    found = compare(serial, parallel, options.concurrency)
    assert found.report.states_equal, found.differences
    assert (found.report.violations, found.dead) == (0, 0)
    ends = list(parallel.recording.service_s)
    assert ends != sorted(ends), "independent events did not start"


def test_killed_workers_leave_the_state_of_the_serial_run(url: str, tmp_path: Path) -> None:
    traffic = make_traffic(EVENTS, SEED)
    store = tmp_path / "shop.db"
    db = f"sqlite:///{store}"
    (tmp_path / "shop.py").write_text(WORKER.format(url=url, db=db))
    app = make_app(url, db, service_s=0, concurrency=1)
    asyncio.run(set_up_noting(app))
    app.close()
    confirmed: list[str] = []
    with working(tmp_path, "shop:app") as worker:
        # MQTT keeps messages only for those who have subscribed once.
        wait_for(lambda: "ready in" in worker.said(), "the worker did not begin")
        publishing = publish(url, tmp_path, traffic, confirmed)
        producing = threading.Thread(target=asyncio.run, args=(publishing,), daemon=True)
        producing.start()
        for at_least in KILLS:
            # At once: the last of them are still on their way into the journal.
            wait_for(lambda at_least=at_least: len(confirmed) >= at_least, poll_s=0.0002)  # type: ignore[misc]
            worker.kill()
            worker.start()
        producing.join(WAIT_S_MAX)
        assert len(confirmed) == EVENTS
        wait_for(lambda: app.log.last_position() >= EVENTS and to_do(url, db) == 0, "confirmed events did not come")
        worker.stop()
    done, wanted = rows(store, "noted"), steps(traffic)
    assert Counter(done) == Counter(wanted), "lost, or done twice"
    assert done != wanted, "nothing was done before an earlier event: independent events did not start"
    try:
        log = app.log.range(1, app.log.last_position())
        assert [delivery.message.id for delivery in log] == confirmed, "the log is not what was sent, in sequence"
        file = app.connect().file
        scope = file.read(lambda c: find_scope(c, app.group, app.url.stream))
        assert scope is not None and not file.read(lambda c: count_dead(c, scope))
        found = asyncio.run(read_tables(app))
    finally:
        app.close()
    serial = run_pass(f"sqlite:///{tmp_path}/serial.db", traffic, service_s=0, concurrency=1)
    assert found == serial.tables


async def set_up_noting(app: App[Gateway]) -> None:
    """The shop's tables, and one in which the steps of orders stand in the sequence in which they were done."""
    await set_up(app)
    async with app.transaction() as tx:
        tx.execute("CREATE TABLE noted(orders INTEGER, step INTEGER)")
        tx.execute(
            "CREATE TRIGGER note AFTER INSERT ON trail BEGIN INSERT INTO noted VALUES(new.orders, new.step); END"
        )


async def publish(url: str, folder: Path, traffic: Sequence[Event], confirmed: list[str]) -> None:
    """All events in their sequence, from an app that has no store in common with the worker."""
    app = make_app(url, f"sqlite:///{folder}/producer.db", service_s=0, concurrency=1)
    async with asyncio.timeout(WAIT_S_MAX), app:
        for start in range(0, len(traffic), BATCH):
            before = len(steps(traffic[:start]))
            while len(rows(folder / "shop.db", "trail", "orders")) < before - BACKLOG:
                await asyncio.sleep(0.01)
            receipts = await app.publish_many(traffic[start : start + BATCH])
            confirmed.extend(receipt.event_id for receipt in receipts)


def steps(traffic: Sequence[Event]) -> list[tuple[object, ...]]:
    """The steps of all orders in log sequence, as the table ``trail`` numbers them."""
    count: Counter[int] = Counter()
    found: list[tuple[object, ...]] = []
    for event in traffic:
        if isinstance(event, OrderCreated | PaymentProcessed | OrderShipped):
            count[event.order_id] += 1
            found.append((event.order_id, count[event.order_id]))
    return found


def to_do(url: str, db: str) -> int:
    told = CliRunner().invoke(main, ["status", url, "--db", db, "--group", "demo", "--json"])
    return int(json.loads(told.stdout)["to_do"]) if told.exit_code == 0 else -1
