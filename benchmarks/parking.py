"""Random lives of a worker whose handlers fail, and of the people who clean up after it, through the real engine.

Each run has its seed: events with random footprints arrive, attempts succeed, park, skip or stop, a person retries,
skips and drops what is parked, the worker is stopped and started, or its session fails and begins again from what is
durable. Log and store are in memory and time is virtual, so a run takes milliseconds and comes out the same again.

    arrivals ─┐                    ┌─ park, skip, stop
    restarts ─┼─ engine, handlers ─┤
    faults ───┘                    └─ retry, skip, drop by a person

Judges: `core.history` over each life (no dependence broken, nothing waits in vain); effects of `ctx.transaction()`
are there once, and in log sequence where they conflict, over all lives; at the end, when nothing fails any more and
the person has dealt with all that is parked, every event has its outcome, or the run counts as stuck.

    python benchmarks/parking.py [--runs 1000] [--seed 0] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from commute import Access, App, Context, DeadLetter, Event, Limits, Retry, StoreError
from commute.core.footprint import ADD, EVERYTHING, READ, WRITE, Footprint, conflicts, normalise
from commute.core.history import Ending, History, Verdict
from commute.database import Connection
from commute.rehearsal.virtual import VirtualLoop
from commute.runtime.worker import Worker
from commute.runtime.world import SeededWorld
from commute.store.reading import find_scope, read_dead
from commute.store.records import DeadRow

KEYS = ("a", "a/x", "a/y", "b", "b/x", "c", "d", "e", "f")
VIRTUAL_S_MAX = 20_000.0  # for what takes some hundred seconds of virtual time if nothing is stuck
EFFECTS = {"Act": ["act"], "Halt": ["halt"], "Whole": ["whole"], "Two": ["one", "other"]}
VERBS = ("retry", "retry", "retry", "skip", "drop")


class Act(Event):
    """Touches `keys`, pairs of key and mode, with effects in the store."""

    n: int
    keys: list[tuple[str, str]]


class Call(Event):
    """The same with its effects elsewhere; a failed one is skipped."""

    n: int
    keys: list[tuple[str, str]]


class Halt(Event):
    """The same; a failed one stops the partition."""

    n: int
    keys: list[tuple[str, str]]


class Two(Event):
    """Has two handlers: one touches the first key only, the other all."""

    n: int
    keys: list[tuple[str, str]]


class Whole(Event):
    """Touches everything."""

    n: int


CLASSES: dict[str, type[Event]] = {"act": Act, "call": Call, "halt": Halt, "two": Two, "whole": Whole}


def accesses(event: Act | Call | Halt | Two) -> Iterable[Access]:
    return [Access(key, mode) for key, mode in event.keys]


def first_access(event: Two) -> Iterable[Access]:
    return [Access(key, mode) for key, mode in event.keys[:1]]


def footprint_of(event: object) -> Footprint:
    return EVERYTHING if isinstance(event, Whole) else normalise(accesses(event))  # type: ignore[arg-type]


class Recorder:
    """The history of the life that is led now. What an ended life still says is its own."""

    def __init__(self) -> None:
        self.history = History()

    def admit(self, position: int, footprint: Footprint, id_: str, type_: str) -> None:
        self.history.admit(position, footprint)

    def release(self, position: int) -> None:
        self.history.release(position)

    def start(self, position: int) -> None:
        self.history.start(position)

    def end(self, position: int, outcome: str) -> None:
        ending: Ending = outcome  # type: ignore[assignment]
        self.history.end(position, ending)

    def hold(self, position: int, footprint: Footprint | None = None) -> None:
        self.history.hold(position, footprint)


@dataclass
class Life:
    """One run; `lead` raises AssertionError where something is not as it must be."""

    seed: int
    events: int
    counts: Counter[str] = field(default_factory=Counter)
    verdicts: list[Verdict] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.failing = True  # handlers may fail
        self.recorder = Recorder()
        self.app = self._make_app()

    # -- what is run

    def _make_app(self) -> App[None]:
        chance = self.chance
        limits = Limits(
            descriptors_max=chance.choice((3, 10, 50_000, 50_000)),
            held_events_max=chance.choice((4, 100_000, 100_000)),
            payload_bytes_max=chance.choice((200, 1 << 28)),
        )
        app: App[None] = App("parking", "memory://", limits=limits, concurrency=chance.choice((1, 3, 8)))
        once = Retry(attempts=1)
        twice = Retry(attempts=2, first_s=0.5, max_s=2)
        app.on(Act, accesses=accesses, retry=once)(self.act)
        app.on(Call, accesses=accesses, retry=twice, on_exhausted="skip")(self.call)
        app.on(Halt, accesses=accesses, retry=once, on_exhausted="stop")(self.halt)
        app.on(Two, accesses=first_access, retry=once)(self.one)
        app.on(Two, accesses=accesses, retry=once)(self.other)
        app.on(Whole, retry=once)(self.whole)
        return app

    async def _work(self, event: object, ctx: Context[None], name: str, *, embedded: bool = True) -> None:
        chance = self.chance
        if chance.random() < 0.6:
            await asyncio.sleep(chance.random())
        if embedded:
            async with ctx.transaction() as tx:
                tx.execute("insert into effect (position, name) values (?, ?)", (ctx.position, name))
                self._fail_perhaps()
        else:
            self._fail_perhaps()
        self.counts["ran"] += 1

    def _fail_perhaps(self) -> None:
        if self.failing and self.chance.random() < 0.25:
            self.counts["failed"] += 1
            raise DeadLetter("no") if self.chance.random() < 0.3 else ValueError("no")

    async def act(self, event: Act, ctx: Context[None]) -> None:
        await self._work(event, ctx, "act")

    async def call(self, event: Call, ctx: Context[None]) -> None:
        await self._work(event, ctx, "call", embedded=False)

    async def halt(self, event: Halt, ctx: Context[None]) -> None:
        await self._work(event, ctx, "halt")

    async def one(self, event: Two, ctx: Context[None]) -> None:
        await self._work(event, ctx, "one")

    async def other(self, event: Two, ctx: Context[None]) -> None:
        await self._work(event, ctx, "other")

    async def whole(self, event: Whole, ctx: Context[None]) -> None:
        await self._work(event, ctx, "whole")

    # -- who acts on it

    def _make_event(self, n: int) -> Event:
        chance = self.chance
        if chance.random() < 0.03:
            return Whole(n=n)
        keys = [
            (key, chance.choice((READ, WRITE, WRITE, ADD, "max")))
            for key in chance.sample(KEYS, chance.choice((1, 1, 2, 3)))
        ]
        kind = chance.choices((Act, Call, Halt, Two), (10, 3, 1, 3))[0]
        return kind(n=n, keys=keys)

    async def produce(self) -> None:
        n = 0
        while n < self.events:
            batch = [self._make_event(n + i) for i in range(min(self.chance.randint(1, 6), self.events - n))]
            n += len(batch)
            await self.app.publish_many(batch)
            await asyncio.sleep(self.chance.random() * 3)

    async def operate(self) -> None:
        """A person who now and then deals with one dead letter."""
        while True:
            await asyncio.sleep(self.chance.random() * 6)
            parked = [row.position for row in self._dead() if row.status == "parked" and not row.asked]
            if parked:
                await self._ask(self.chance.choice(VERBS), self.chance.choice(parked))

    async def _ask(self, verb: str, position: int) -> None:
        self.counts[verb] += 1
        await asyncio.wrap_future(
            self.app.connect().file.writer.submit(
                lambda c: c.execute(
                    "INSERT INTO request(scope, verb, partition, position, at_s)"
                    " SELECT id, ?, 0, ?, 0 FROM scope WHERE grp='parking'",
                    (verb, position),
                ).fetchall()
            )
        )

    def _dead(self) -> list[DeadRow]:
        def read(connection: Connection) -> list[DeadRow]:
            scope = find_scope(connection, "parking", self.app.url.stream)
            return [] if scope is None else read_dead(connection, scope, data=False)

        return self.app.connect().file.read(read)

    # -- lives of the worker

    def _begin_life(self) -> None:
        """A new history, which knows what lies in the cone."""
        self.verdicts.append(self.recorder.history.check())
        self.recorder.history = History()
        for row in self._dead():
            if row.status in ("parked", "held"):
                self.recorder.hold(row.position, row.footprint)

    async def _start(self) -> Worker:
        loop = asyncio.get_running_loop()
        worker = self.app.worker(
            recorder=self.recorder, watch=False, inline_threads=True, world=SeededWorld(self.seed, loop.time)
        )
        await worker.start()
        self._listen(worker)
        return worker

    def _listen(self, worker: Worker) -> None:
        """Requests are heard though nothing is watched: the watchdog would bring a thread, and real time."""
        assert worker.session is not None
        self.listener = asyncio.create_task(worker.session.engine.dead.listen())

    async def _disturb(self, worker: Worker, how: Literal["stop", "fault"]) -> Worker:
        self.counts[how] += 1
        if how == "stop":
            await worker.stop()
            self._begin_life()
            return await self._start()
        assert worker.session is not None
        old = worker.session
        if old.engine.failure is None:
            old.engine.fail(StoreError("planted", slug="database-full"))
            self._begin_life()
        while worker.session is old or not hasattr(worker.session, "engine"):
            await asyncio.sleep(0.1)
        self._listen(worker)
        return worker

    async def lead(self) -> None:
        async with asyncio.timeout(VIRTUAL_S_MAX), self.app:
            async with self.app.transaction() as tx:
                tx.execute("create table effect (n integer primary key, position integer, name text)")
            worker = await self._start()
            producer, person = asyncio.create_task(self.produce()), asyncio.create_task(self.operate())
            for _ in range(self.chance.choice((0, 1, 2, 4))):
                await asyncio.sleep(self.chance.random() * self.events / 3)
                worker = await self._disturb(worker, self.chance.choice(("stop", "fault")))
            await producer
            await asyncio.sleep(self.chance.random() * 10)
            person.cancel()
            self.failing = False
            await self._clean_up()
            await worker.stop()
            self.verdicts.append(self.recorder.history.check())
            self.counts["events"] += self.app.log.last_position()
            self._judge_effects()

    async def _clean_up(self) -> None:
        """Deal with whatever is parked until nothing is left; what stays is stuck, and the time runs out."""
        while True:
            rows = self._dead()
            waiting = [row for row in rows if row.status in ("parked", "held")]
            if not waiting and self._settled():
                return
            for row in rows:
                if row.status == "parked" and not row.asked:
                    await self._ask(self.chance.choice(VERBS), row.position)
            await asyncio.sleep(1.0)

    def _settled(self) -> bool:
        states = self.app.connect().file.read(lambda c: c.execute("SELECT watermark FROM progress").fetchall())
        return bool(states) and int(str(states[0][0])) > self.app.log.last_position()

    def _log(self) -> dict[int, object]:
        """All events by position: those of the producer, and skipped ones that were sent again."""
        deliveries = self.app.log.range(1, self.app.log.last_position())
        return {d.position: msgspec.json.decode(d.message.data, type=CLASSES[d.message.type]) for d in deliveries}

    def _judge_effects(self) -> None:
        rows = self.app.connect().file.read(
            lambda c: [
                (int(str(position)), str(name))
                for position, name in c.execute("select position, name from effect order by n").fetchall()
            ]
        )
        assert len(set(rows)) == len(rows), f"effects twice: {[row for row, n in Counter(rows).items() if n > 1]}"
        gone = {row.position for row in self._dead()}
        log = self._log()
        for position, event in log.items():
            wanted = EFFECTS.get(type(event).__name__, [])
            found = [name for at, name in rows if at == position]
            assert position in gone or sorted(found) == wanted, f"{position}: effects {found}, wanted {wanted}"
        footprints = {position: footprint_of(event) for position, event in log.items()}
        for index, (late, name) in enumerate(rows):
            if name != "one":
                for early, earlier in rows[index + 1 :]:
                    if early < late and earlier != "one" and conflicts(footprints[early], footprints[late]):
                        raise AssertionError(f"the effects of {late} came before those of {early}")


def live(seed: int, events: int = 30) -> Life:
    """Lead one life to its end. Raises AssertionError for what is wrong, TimeoutError where it is stuck."""
    life = Life(seed, events)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        runner.run(life.lead())
    for verdict in life.verdicts:
        assert not verdict.violations, verdict.violations
        assert not verdict.false_waits, verdict.false_waits
    return life


def ask() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="example: python benchmarks/parking.py --runs 100 --seed 4000"
    )
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; each has the next one")
    parser.add_argument("--events", type=int, default=30, help="in each run")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    parser.add_argument("--verbose", action="store_true", help="the worker's own messages")
    return parser.parse_args()


def main() -> int:
    asked = ask()
    logging.basicConfig(level=logging.INFO if asked.verbose else logging.CRITICAL + 1)
    counts: Counter[str] = Counter()
    broken: dict[int, str] = {}
    stuck: list[int] = []
    began_s = time.monotonic()
    for number in range(asked.runs):
        seed = asked.seed + number
        try:
            life = live(seed, asked.events)
        except TimeoutError:
            stuck.append(seed)
        except AssertionError as error:
            broken[seed] = str(error)[:300]
        else:
            counts += life.counts
            counts["lives"] += len(life.verdicts)
        if number % 100 == 99:
            print(f"  {number + 1} runs, {len(broken)} broken, {len(stuck)} stuck", file=sys.stderr)
    result = {
        "runs": asked.runs,
        "violations": len(broken),
        "stuck": len(stuck),
        **dict(sorted(counts.items())),
        "seconds": round(time.monotonic() - began_s, 1),
    }
    if broken or stuck:
        result |= {"broken_seeds": broken, "stuck_seeds": stuck}
    if asked.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:14} {value}")
    return 1 if broken or stuck else 0


if __name__ == "__main__":
    raise SystemExit(main())
