"""The whole path on the embedded broker, every event on disk: publish, consume, and start in front of a million.

    publish   app.publish_many in batches; a batch counts when it is confirmed, that is, synced
    consume   a handler that does nothing, until every outcome is synced
    start     a new process in front of a full log: seconds from its start, and from its worker's, to the first run

Each round publishes and consumes in a new file, and stores as many rows on bare SQLite with as many syncs: the ratio
to that is what a busy machine leaves comparable. Medians over the rounds. Events are about 200 bytes of JSON.

    python benchmarks/durable.py [--events 100000] [--rounds 5] [--pending 1000000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec

from commute import App, Event

BATCH = 1_000
POLL_S = 0.001
STARTS = 3  # processes started in front of the full log


class OrderCreated(Event):
    order_id: int
    customer_id: int
    sku: str
    quantity: int
    note: str


def make_app(path: Path) -> tuple[App[None], asyncio.Event]:
    """An app on a file, and what its handler sets when it first runs."""
    app: App[None] = App("bench", f"sqlite:///{path}")
    first = asyncio.Event()

    @app.on(OrderCreated, writes=("order/{order_id}", "customer/{customer_id}"))
    async def created(event: OrderCreated) -> None:
        if not first.is_set():
            first.set()

    return app, first


def batches(count: int) -> Iterator[list[OrderCreated]]:
    pad = "x" * 96
    for begin in range(0, count, BATCH):
        yield [
            OrderCreated(order_id=n, customer_id=n % 20_000, sku=f"tea-{n % 500:03d}", quantity=2, note=pad)
            for n in range(begin, min(begin + BATCH, count))
        ]


def bare_s(path: Path, events: int) -> float:
    """Seconds for the least that durable batches can cost: encoded, inserted into one table, synced."""
    connection = apsw.Connection(str(path))
    connection.execute("pragma journal_mode=wal").fetchall()
    connection.execute("pragma synchronous=full").fetchall()
    connection.execute("create table log (position integer primary key, id, type, time_s, data)").fetchall()
    made, encode = list(batches(events)), msgspec.json.encode
    began_s = time.perf_counter()
    for batch in made:
        connection.execute("begin immediate").fetchall()
        connection.executemany(
            "insert into log (id, type, time_s, data) values (?, ?, ?, ?)",
            ((f"01J9A{event.order_id:021d}", "order_created", 1.7e9, encode(event)) for event in batch),
        )
        connection.execute("commit").fetchall()
    taken_s = time.perf_counter() - began_s
    connection.close()
    return taken_s


async def publish_s(path: Path, events: int) -> float:
    """Seconds that publishing takes; events are made beforehand."""
    app, _ = make_app(path)
    made = list(batches(events))
    async with app:
        await app.publish_many([])
        began_s = time.perf_counter()
        for batch in made:
            await app.publish_many(batch)
        return time.perf_counter() - began_s


async def consume_s(path: Path, events: int) -> float:
    """Seconds from the worker's start until every outcome is on disk."""
    app, _ = make_app(path)
    async with app:
        worker = app.worker(watch=False)
        began_s = time.perf_counter()
        await worker.start()
        assert worker.session is not None
        engine = worker.session.engine
        while engine.done < events or engine.unsynced:
            await asyncio.sleep(POLL_S)
        taken_s = time.perf_counter() - began_s
        await worker.stop()
    return taken_s


async def first_effect(path: Path) -> None:
    """In a process of its own: print when the worker began and when its first handler ran, in epoch seconds."""
    app, first = make_app(path)
    began_s = time.time()
    async with app:
        worker = app.worker()
        await worker.start()
        await first.wait()
        print(json.dumps({"began_s": began_s, "first_s": time.time()}), flush=True)
        os._exit(0)  # what is pending stays pending, for the next start


def start_s(path: Path) -> tuple[float, float]:
    """Seconds from the start of a process, and of the worker in it, to the first run of a handler."""
    began_s = time.time()
    child = subprocess.run(
        [sys.executable, __file__, "--first-effect", path], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(child.stdout)
    return found["first_s"] - began_s, found["first_s"] - found["began_s"]


def ask() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="example: python benchmarks/durable.py --events 50000 --rounds 3 --pending 0",
    )
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pending", type=int, default=1_000_000, help="events in front of the start; 0: leave it out")
    parser.add_argument("--directory", type=Path, help="where the files are made; default: a temporary one")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    parser.add_argument("--first-effect", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(directory: Path, asked: argparse.Namespace) -> dict[str, float]:
    published, consumed, ratios = [], [], []
    for number in range(asked.rounds):
        path = directory / f"round{number}.db"
        bare_taken_s = bare_s(directory / f"bare{number}.db", asked.events)
        published.append(asked.events / asyncio.run(publish_s(path, asked.events)))
        consumed.append(asked.events / asyncio.run(consume_s(path, asked.events)))
        ratios.append(published[-1] * bare_taken_s / asked.events)
        print(
            f"  round {number + 1}: published {published[-1]:,.0f}/s, consumed {consumed[-1]:,.0f}/s", file=sys.stderr
        )
        for leftover in [*directory.glob(f"{path.name}*"), *directory.glob(f"bare{number}.db*")]:
            leftover.unlink()
    result: dict[str, float] = {
        "events": asked.events,
        "published_per_s": round(statistics.median(published)),
        "published_to_bare_sqlite": round(statistics.median(ratios), 3),
        "consumed_per_s": round(statistics.median(consumed)),
    }
    if asked.pending:
        path = directory / "pending.db"
        print(f"  publishing {asked.pending:,} events", file=sys.stderr)
        for _ in range(0, asked.pending, 200_000):
            asyncio.run(publish_s(path, min(200_000, asked.pending)))
        starts = [start_s(path) for _ in range(STARTS)]
        result |= {
            "pending": asked.pending,
            "process_start_to_first_effect_s": round(statistics.median(whole for whole, _ in starts), 3),
            "worker_start_to_first_effect_s": round(statistics.median(worker for _, worker in starts), 3),
        }
    return result


def main() -> int:
    asked = ask()
    logging.basicConfig(level=logging.ERROR)
    if asked.first_effect:
        asyncio.run(first_effect(asked.first_effect))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        directory = asked.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        result = measure(directory, asked)
    if asked.json:
        print(json.dumps(result))
        return 0
    for name, value in result.items():
        print(f"{name:34} {value:,}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
