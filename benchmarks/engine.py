"""How many events a second the engine takes through, with nothing to wait for: no disk, no network, no work.

The memory transport holds typed events with two keys each, and the handler does nothing. Beside each run, in the
same process, a bare asyncio loop only decodes the same messages and awaits the same handler: the ratio says what
order, retries and settling cost above that. Medians over the rounds, ratios within a round.

    python benchmarks/engine.py [--events 100000] [--rounds 5] [--keys 20000] [--profile] [--json]

`--profile` times the parts of the path each by itself over the same events; what is left over is the engine's own
loop. Parts alone run with warmer caches than together, so the rest is an upper bound.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from commute import App, Event
from commute.core.footprint import Footprint
from commute.core.schedule import Schedule, Ticket
from commute.runtime.entry import Job
from commute.runtime.intake import RECEIVE_EVENTS_MAX
from commute.runtime.kinds import Kind, Kinds
from commute.runtime.ready import Ready
from commute.store.records import Finished
from commute.transports.base import Message
from commute.transports.memory import MemoryTransport

POLL_S = 0.001


class Moved(Event):
    order_id: int
    customer_id: int
    sku: str
    amount: int


async def handle(event: Moved) -> None:
    """Nothing: the run measures everything else."""


def make_app(concurrency: int) -> App[None]:
    app: App[None] = App("bench", "memory://", concurrency=concurrency)
    app.on(Moved, writes=("order/{order_id}", "customer/{customer_id}"))(handle)
    return app


def make_events(count: int, keys: int, seed: int) -> list[Event]:
    chance = random.Random(seed)
    return [
        Moved(order_id=chance.randrange(keys), customer_id=chance.randrange(keys), sku=f"tea-{n % 500}", amount=n)
        for n in range(count)
    ]


async def engine_s(events: Sequence[Event], concurrency: int) -> float:
    """Seconds from the worker's start until the last event is done and settled."""
    app = make_app(concurrency)
    async with app:
        await app.publish_many(events)
        worker = app.worker(watch=False)
        gc.collect()
        began_s = time.perf_counter()
        await worker.start()
        assert worker.session is not None
        engine = worker.session.engine
        while engine.done < len(events) or engine.unsynced:
            await asyncio.sleep(POLL_S)
        taken_s = time.perf_counter() - began_s
        await worker.stop()
    return taken_s


async def bare_s(messages: Sequence[Message], kind: Kind) -> float:
    """Seconds that decoding and awaiting the handler take, one after the other."""
    decode = kind.codec.decode
    function: Callable[[Any], Any] = handle
    began_s = time.perf_counter()
    for message in messages:
        await function(decode(message.data))
    return time.perf_counter() - began_s


def messages_of(app: App[None], events: Sequence[Event]) -> list[Message]:
    encode = app.encoder.encode
    return [Message(f"01J9A{n:021d}", "/bench", *_stamped(encode(event))) for n, event in enumerate(events)]


def _stamped(encoded: tuple[str, bytes]) -> tuple[str, float, bytes]:
    return encoded[0], 1.7e9, encoded[1]


# -- the parts, each by itself -------------------------------------------------------------------------------------


def each_us(count: int, work: Callable[[], object]) -> float:
    """Microseconds per event that `work`, which goes through all of them, takes."""
    gc.collect()
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) / count * 1e6


def go_through_schedule(footprints: Sequence[Footprint], ahead: int) -> None:
    """Admit all, `ahead` before the first is settled, settle in the sequence in which they may start."""
    schedule: Schedule[int] = Schedule()
    free: list[Ticket[int]] = []
    begun = 0
    for number, footprint in enumerate(footprints):
        ticket = schedule.admit(footprint, number)
        if not ticket.blocked:
            free.append(ticket)
        if number - begun >= ahead:
            free.extend(schedule.settle(free[begun]))
            begun += 1
    while begun < len(free):
        free.extend(schedule.settle(free[begun]))
        begun += 1
    assert begun == len(footprints), "the schedule has kept something back"


async def receive_all(transport: MemoryTransport) -> None:
    await transport.open("parts")
    while transport.last_position() >= transport._cursor:
        settled = await transport.receive(1_000)
        transport.settle([delivery.handle for delivery in settled])


async def profile(events: Sequence[Event], ahead: int) -> dict[str, float]:
    """Microseconds per event by part; `ahead` events are in the schedule, as many as a no-op handler leaves there."""
    app = make_app(1)
    count = len(events)
    messages = messages_of(app, events)
    kind = Kinds(app.handlers, (), app.limits.accesses_max).get("moved")
    assert kind is not None
    transport = MemoryTransport()
    await transport.send(messages)
    parts: dict[str, float] = {}
    began_s = time.perf_counter()
    await receive_all(transport)
    parts["receive and settle"] = (time.perf_counter() - began_s) / count * 1e6
    parts["decode"] = each_us(count, lambda: [kind.codec.decode(message.data) for message in messages])
    decoded = [kind.codec.decode(message.data) for message in messages]
    parts["footprint"] = each_us(count, lambda: [kind.footprint(event) for event in decoded])
    footprints = [kind.footprint(event) for event in decoded]
    parts["schedule"] = each_us(count, lambda: go_through_schedule(footprints, ahead))
    parts["ready queue"] = each_us(count, lambda: _queue_up(count, kind))
    began_s = time.perf_counter()
    for event in decoded:
        await handle(event)  # type: ignore[arg-type]
    parts["await the handler"] = (time.perf_counter() - began_s) / count * 1e6
    parts["records"] = each_us(count, lambda: [Finished(0, n, None) for n in range(count)])
    return parts


def _queue_up(count: int, kind: Kind) -> None:
    schedule: Schedule[Any] = Schedule()
    ready, bound = Ready(), kind.bounds[0]
    tickets = [schedule.admit((), None) for _ in range(1_000)]
    for _ in range(count // 1_000):
        for ticket in tickets:
            ready.push(Job(_Seen(ticket), bound, 0))  # type: ignore[arg-type]
        while ready.pop() is not None:
            pass


class _Seen:
    """A ticket with an item that a `Job` can look at."""

    __slots__ = ("item", "seq")

    def __init__(self, ticket: Ticket[Any]) -> None:
        self.item = None
        self.seq = ticket.seq


def ask() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="example: python benchmarks/engine.py --events 50000 --profile"
    )
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keys", type=int, default=20_000, help="distinct values of each of the two keys")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true", help="also where the time goes")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    return parser.parse_args()


def main() -> int:
    asked = ask()
    logging.basicConfig(level=logging.WARNING)
    events = make_events(asked.events, asked.keys, asked.seed)
    app = make_app(1)
    messages = messages_of(app, events)
    kind = Kinds(app.handlers, (), app.limits.accesses_max).get("moved")
    assert kind is not None
    rates, ratios, bare = [], [], []
    for number in range(asked.rounds):
        bare_taken_s = asyncio.run(bare_s(messages, kind))
        taken_s = asyncio.run(engine_s(events, asked.concurrency))
        rates.append(asked.events / taken_s)
        bare.append(asked.events / bare_taken_s)
        ratios.append(bare_taken_s / taken_s)
        print(f"  round {number + 1}: {rates[-1]:,.0f}/s, bare {bare[-1]:,.0f}/s", file=sys.stderr)
    result: dict[str, object] = {
        "events": asked.events,
        "rounds": asked.rounds,
        "events_per_s": round(statistics.median(rates)),
        "bare_events_per_s": round(statistics.median(bare)),
        "ratio": round(statistics.median(ratios), 4),
        "us_per_event": round(1e6 / statistics.median(rates), 2),
    }
    if asked.profile:
        parts = asyncio.run(profile(events, RECEIVE_EVENTS_MAX))
        parts["the rest: the engine's own loop"] = 1e6 / statistics.median(rates) - sum(parts.values())
        result["us_by_part"] = {name: round(value, 2) for name, value in parts.items()}
    if asked.json:
        print(json.dumps(result))
        return 0
    for name, value in result.items():
        if isinstance(value, dict):
            for part, microseconds in value.items():
                print(f"  {part:34} {microseconds:6.2f} us")
        else:
            print(f"{name:20} {value:,}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
