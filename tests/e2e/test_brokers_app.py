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

from commute.cli import main
from commute.demo.compare import compare
from commute.demo.run import Options, run_both, run_pass
from commute.demo.shop import (
    APP_NAME,
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
from tests.e2e.workers import Worker, rows, wait_for, working

BROKERS = ("rabbitmq", "kafka", "mqtt", "zeromq")
EVENTS, BATCH, SEED = 1_000, 25, 7  # Mosquitto, as it is set up here, saves all that waits at each change: keep it few
BACKLOG = 200  # steps that the producer is ahead of the worker, so that it publishes while workers are killed
KILLS = (60, 200, 400)  # steps of orders that are done by then, of about 800
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
    asyncio.run(set_up(app))
    app.close()
    confirmed: list[str] = []
    with working(tmp_path, "shop:app") as worker:
        # MQTT keeps messages only for those who have subscribed once.
        wait_for(lambda: "ready in" in worker.said(), "the worker did not begin")
        producing = threading.Thread(target=lambda: asyncio.run(publish(url, tmp_path, traffic, confirmed)))
        producing.start()
        overtaken = sum(kill(worker, store, traffic, at_least) for at_least in KILLS)
        producing.join(60)
        assert len(confirmed) == EVENTS
        wait_for(lambda: app.log.last_position() >= EVENTS and to_do(url, db) == 0, "confirmed events did not come")
        worker.stop()
    assert overtaken, "nothing was done before an earlier event: independent events did not start"
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


async def publish(url: str, folder: Path, traffic: Sequence[Event], confirmed: list[str]) -> None:
    """All events in their sequence, from an app that has no store in common with the worker."""
    app = make_app(url, f"sqlite:///{folder}/producer.db", service_s=0, concurrency=1)
    async with app:
        for start in range(0, len(traffic), BATCH):
            before = len(steps(traffic[:start]))
            while len(rows(folder / "shop.db", "trail", "orders")) < before - BACKLOG:
                await asyncio.sleep(0.01)
            receipts = await app.publish_many(traffic[start : start + BATCH])
            confirmed.extend(receipt.event_id for receipt in receipts)


def steps(traffic: Sequence[Event]) -> list[tuple[int, int]]:
    """The steps of all orders in log sequence, as the table ``trail`` numbers them."""
    count: Counter[int] = Counter()
    found = []
    for event in traffic:
        if isinstance(event, OrderCreated | PaymentProcessed | OrderShipped):
            count[event.order_id] += 1
            found.append((event.order_id, count[event.order_id]))
    return found


def kill(worker: Worker, store: Path, traffic: Sequence[Event], at_least: int) -> int:
    """Kill the worker after so many steps, start it again; how many steps were done before an earlier one."""
    wait_for(lambda: len(rows(store, "trail", "orders")) >= at_least, f"{at_least} steps were not done")
    worker.kill()
    done = {row[:2] for row in rows(store, "trail", "orders")}
    worker.start()
    sequence = [step in done for step in steps(traffic)]
    return sum(sequence[sequence.index(False) :])


def to_do(url: str, db: str) -> int:
    told = CliRunner().invoke(main, ["status", url, "--db", db, "--group", "demo", "--json"])
    return int(json.loads(told.stdout)["to_do"]) if told.exit_code == 0 else -1
