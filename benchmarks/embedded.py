"""How fast the embedded transport stores and hands out events, beside the same work done on bare SQLite.

Each repeat runs every measurement once, on new files, so that a noisy machine disturbs all alike; medians
over the repeats and ratios within them count. Events are 200 bytes of JSON with ids that ascend in time.

    python benchmarks/embedded.py [--events 200000] [--repeats 5] [--pending 1000000] [--directory DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from commute.embedded.file import EmbeddedFile
from commute.transports.base import Message
from commute.transports.memory import MemoryTransport
from commute.transports.sqlite import SqliteTransport

BATCH = 1000
SINGLES = 1000


def make_batches(events: int) -> list[list[Message]]:
    """Prepared messages in batches; the time to make them is not measured."""
    data = b'{"order_id": %09d, "customer_id": %05d, "lines": [{"sku": "tea-%03d", "quantity": 2}], "pad": "%s"}'
    pad = b"x" * 102
    return [
        [
            Message(f"01J9A{n:021d}", "/shop", "order_created", 1.7e9 + n, data % (n, n % 9999, n % 500, pad))
            for n in range(first, min(first + BATCH, events))
        ]
        for first in range(0, events, BATCH)
    ]


def bare_publish_s(path: Path, batches: list[list[Message]]) -> float:
    """The least that durable batches can cost: bare inserts into one table without an index, synced."""
    connection = apsw.Connection(str(path))
    connection.execute("pragma journal_mode=wal").fetchall()
    connection.execute("pragma synchronous=full")
    connection.execute("create table log (position integer primary key, id, source, type, time_s, data)")
    began_s = time.perf_counter()
    for batch in batches:
        connection.execute("begin immediate")
        connection.executemany(
            "insert into log (id, source, type, time_s, data) values (?, ?, ?, ?, ?)",
            ((m.id, m.source, m.type, m.time_s, m.data) for m in batch),
        )
        connection.execute("commit")
    taken_s = time.perf_counter() - began_s
    connection.close()
    return taken_s


async def publish_s(path: Path, batches: list[list[Message]]) -> float:
    file = EmbeddedFile.open(path)
    transport = SqliteTransport(file)
    began_s = time.perf_counter()
    for batch in batches:
        await transport.send(batch)
    taken_s = time.perf_counter() - began_s
    file.close()
    return taken_s


async def consume_s(path: Path, events: int, group: str) -> float:
    """Receive in hundreds, settle each; until all is settled in the file."""
    file = EmbeddedFile.open(path)
    transport = SqliteTransport(file)
    began_s = time.perf_counter()
    await transport.open(group)
    got = 0
    while got < events:
        deliveries = await transport.receive(100)
        transport.settle([delivery.handle for delivery in deliveries])
        got += len(deliveries)
    await transport.close()
    taken_s = time.perf_counter() - began_s
    assert next(state for state in transport.groups() if state.group == group).backlog == 0
    file.close()
    return taken_s


async def singles_s(path: Path) -> tuple[float, float]:
    """One event per send: one after the other, and as many coroutines at once."""
    file = EmbeddedFile.open(path)
    transport = SqliteTransport(file)
    one_by_one = [Message(f"one-{n:05d}", "/shop", "t", 0.0, b"x" * 200) for n in range(SINGLES)]
    at_once = [Message(f"two-{n:05d}", "/shop", "t", 0.0, b"x" * 200) for n in range(SINGLES)]
    began_s = time.perf_counter()
    for message in one_by_one:
        await transport.send([message])
    serial_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    await asyncio.gather(*(transport.send([message]) for message in at_once))
    together_s = time.perf_counter() - began_s
    file.close()
    return serial_s, together_s


async def blocks_s(path: Path, blocks: int) -> float:
    """Blocks with one small effect each, all durable at the end."""
    file = EmbeddedFile.open(path)
    file.schema("create table effects (n integer primary key, x)")
    began_s = time.perf_counter()
    for n in range(blocks):
        async with file.writer.block() as block:
            block.execute("insert into effects values (?, ?)", (n, "x"))
    await asyncio.wrap_future(file.writer.submit(lambda _connection: None))
    taken_s = time.perf_counter() - began_s
    file.close()
    return taken_s


async def memory_s(batches: list[list[Message]]) -> tuple[float, float]:
    transport = MemoryTransport()
    began_s = time.perf_counter()
    for batch in batches:
        await transport.send(batch)
    sent_s = time.perf_counter() - began_s
    await transport.open("g")
    events = sum(map(len, batches))
    got = 0
    began_s = time.perf_counter()
    while got < events:
        deliveries = await transport.receive(100)
        transport.settle([delivery.handle for delivery in deliveries])
        got += len(deliveries)
    return sent_s, time.perf_counter() - began_s


async def first_receive_s(path: Path) -> float:
    """From opening the file to the first deliveries, with everything in it pending."""
    began_s = time.perf_counter()
    file = EmbeddedFile.open(path)
    transport = SqliteTransport(file)
    await transport.open("late")
    deliveries = await transport.receive(1000)
    taken_s = time.perf_counter() - began_s
    assert len(deliveries) == 1000
    await transport.close()
    await transport.drop_group("late")
    file.close()
    return taken_s


def repeat(directory: Path, batches: list[list[Message]], events: int) -> dict[str, float]:
    """Events per second by name, each measured once."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        place = Path(name)
        bare = events / bare_publish_s(place / "bare.db", batches)
        publish = events / asyncio.run(publish_s(place / "a.db", batches))
        consume = events / asyncio.run(consume_s(place / "a.db", events, "g"))
        serial_s, together_s = asyncio.run(singles_s(place / "b.db"))
        blocks = 20_000 / asyncio.run(blocks_s(place / "c.db", 20_000))
        memory_send_s, memory_take_s = asyncio.run(memory_s(batches))
    return {
        "bare SQLite, batches of 1,000": bare,
        "publish, batches of 1,000": publish,
        "receive + settle, in hundreds": consume,
        "publish one by one": SINGLES / serial_s,
        "publish singly, 1,000 at once": SINGLES / together_s,
        "blocks of one effect": blocks,
        "memory: publish": events / memory_send_s,
        "memory: receive + settle": events / memory_take_s,
    }


def show(runs: list[dict[str, float]]) -> None:
    reference = next(iter(runs[0]))
    print(f"{'':34}{'median/s':>12}{'lowest':>12}{'highest':>12}{'of bare':>9}")
    for name in runs[0]:
        values = [run[name] for run in runs]
        ratio = statistics.median(run[name] / run[reference] for run in runs)
        print(f"{name:34}{statistics.median(values):12,.0f}{min(values):12,.0f}{max(values):12,.0f}{ratio:9.2f}")


def pending(directory: Path, events: int, repeats: int) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as name:
        path = Path(name) / "a.db"
        taken_s = asyncio.run(publish_s(path, make_batches(events)))
        times_s = [asyncio.run(first_receive_s(path)) for _ in range(repeats)]
    print(f"with {events:,} pending: published at {events / taken_s:,.0f}/s;", end=" ")
    print(f"open to first 1,000 deliveries {statistics.median(times_s) * 1e3:.1f} ms (median)")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    integer: Callable[[str], int] = int
    parser.add_argument("--events", type=integer, default=200_000)
    parser.add_argument("--repeats", type=integer, default=5)
    parser.add_argument("--pending", type=integer, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=Path())
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    batches = make_batches(chosen.events)
    show([repeat(chosen.directory, batches, chosen.events) for _ in range(chosen.repeats)])
    if chosen.pending:
        pending(chosen.directory, chosen.pending, chosen.repeats)


if __name__ == "__main__":
    main()
