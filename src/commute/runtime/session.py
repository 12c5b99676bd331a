"""One engine with everything around it, from what is durable to a drained stop or a failure.

load: progress, cones, attempts, suspects → open transport → slots, intake, replay, relay, timers
end:  drained (what runs has ended, everything is synced), or failed (thrown away whole)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from commute.database import Database, Ownership, Reader
from commute.errors import CommuteError, StoreError, UsageError
from commute.runtime.copies import Copies
from commute.runtime.deadletters import Dead
from commute.runtime.elsewhere import Pool, open_pools
from commute.runtime.engine import Engine
from commute.runtime.entry import Failures
from commute.runtime.failing import Failing
from commute.runtime.intake import Intake
from commute.runtime.kinds import Kinds
from commute.runtime.misplaced import looks
from commute.runtime.outbox import Place
from commute.runtime.partition import Partition
from commute.runtime.plan import Plan
from commute.runtime.recovery import Recovery
from commute.runtime.relay import Relay
from commute.runtime.sweep import Sweep
from commute.runtime.watchdog import Watchdog
from commute.runtime.wiring import InFlight, Recorder, Wiring
from commute.runtime.world import World
from commute.store.reading import (
    open_scope,
    read_attempts,
    read_dead,
    read_handled_beyond,
    read_outbox_parents,
    read_partitions,
)
from commute.store.records import Failed, Paused, Record
from commute.store.store import Appender, Store
from commute.transports.base import Transport

LOGGER = logging.getLogger("commute")

QUIET_LOOK_S = 0.02  # how often a session that is to be handed over looks whether something still runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What outlives a session: the store's file, ownership, the log, and how this worker is to behave."""

    plan: Plan
    world: World
    file: Database
    transport: Transport
    appender: Appender | None  # the transport, where its log lies in `file`
    copies_to: str | None  # where the broker is to get copies of dead letters; None: nowhere
    ownership: Ownership | None
    in_flight: InFlight
    suspects: Sequence[tuple[int, int, bool]]  # (partition, position, ran alone) of an unclean end
    state: Any
    on_outcome: Callable[[Sequence[Record]], None]
    recorder: Recorder | None = None
    resume: bool = False
    from_end: bool = False
    inline_threads: bool = False
    watch: bool = True  # look at regular times for what comes from outside: requests, a blocked loop


class Session:
    """`open`, then wait for `failed` or call `drain`; `close` in any case."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._works: list[asyncio.Task[None]] = []
        self._pools: list[Pool] = []
        self.engine: Engine
        self.intake: Intake
        self.sweep: Sweep
        self._store: Store
        self._reader: Reader

    async def open(self) -> None:
        """Load what is durable, connect, and start."""
        around = self._around
        file, plan = around.file, around.plan
        in_memory = file.path is None
        if not around.inline_threads:
            refuse_blocks_without_a_thread(plan, in_memory=in_memory)
        self._reader = file.reader()
        scope = await asyncio.wrap_future(file.writer.submit(lambda c: open_scope(c, plan.group, plan.stream)))
        store = self._store = Store(
            file.writer,
            scope,
            appender=around.appender,
            check_epoch=None if around.ownership is None else around.ownership.check_epoch,
            blocks_apart=file.blocks_apart,
            copies=around.copies_to is not None,
            answers=plan.answers() if around.transport.features.settles == "journal" else None,
        )
        engine = self.engine = Engine(
            Wiring(
                source=plan.source, kinds=Kinds(plan.handlers, plan.ignore, plan.limits.accesses_max),
                limits=plan.limits, concurrency=plan.concurrency, world=around.world, transport=around.transport,
                writer=file.writer, store=store, in_flight=around.in_flight, encode=plan.encode, label=plan.label,
                state=around.state, recorder=around.recorder, on_outcome=around.on_outcome, in_memory=in_memory,
                blocks_apart=file.blocks_apart, inline_threads=around.inline_threads,
            )
        )  # fmt: skip
        self.intake = Intake(engine, self._reader, plan.fingerprint(), looks(plan))
        engine.failing = Failing(engine)
        engine.dead = Dead(engine, self.intake, self._reader)
        self.sweep = Sweep(engine)
        if not around.inline_threads:
            self._pools = open_pools(engine.kinds.bounds, plan, file, around.ownership, engine.freed)
            for pool in self._pools:
                await pool.executor.start()
        self._load(scope)
        if engine.recovery is not None:
            # Deaths are counted on disk before anything runs, or a quick killer would never be found out.
            await asyncio.wrap_future(file.writer.submit(lambda _connection: None))
        await around.transport.open(plan.group, from_end=around.from_end)
        engine.start()
        self._begin(self.intake.run(), "intake")
        self._begin(engine.dead.replay(), "replay")
        self._begin(Relay(engine, self._reader).run(), "relay")
        if around.copies_to is not None:
            self._begin(Copies(engine, self._reader, around.copies_to).run(), "copies")
        self._begin(self.sweep.run(), "deadlines")
        if around.watch:
            self._begin(engine.dead.listen(), "requests")
            self._begin(Watchdog(engine).run(), "watchdog")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - the session ends with it, and says so
                self.engine.fail(error)

        self._works.append(asyncio.get_running_loop().create_task(guarded(), name=f"commute {name}"))

    def _load(self, scope: int) -> None:
        engine, store, reader = self.engine, self._store, self._reader
        limits = self._around.plan.limits
        for state in read_partitions(reader, scope):
            seen = store.open_partition(state.partition, state.watermark, state.admitted_max, state.blocks)
            partition = Partition(state.partition, limits.held_events_max, state.watermark, state.admitted_max, seen)
            engine.partitions[state.partition] = partition
            if state.paused is not None:
                if self._around.resume or state.fingerprint != self._around.plan.fingerprint():
                    engine.post(Paused(state.partition, None))
                else:
                    partition.pause, partition.why, partition.cut = "rejects", state.paused, state.paused
                    LOGGER.error("error[too-many-rejects] intake is paused: %s   commute run --resume", state.paused)
        if self._around.file.blocks_apart:
            self._load_handled(scope)
        places = engine.dead.load(read_dead(reader, scope, "status IN ('parked','held')", data=False))
        self._load_outbox(scope, places)
        for row in read_attempts(reader, scope):
            found = self._touched(row.partition, row.position)
            failures = Failures(row.failures, row.deaths, row.first_s, row.error)
            found.failures.setdefault(row.position, {})[row.handler] = failures
        self._load_suspects()

    def _load_handled(self, scope: int) -> None:
        """Blocks are durable before the mark of what was admitted is: their inbox rows say what has been done."""
        self.intake.handled = {}
        for number, position, handler in read_handled_beyond(self._reader, scope):
            partition = self.engine.partitions.get(number)
            if partition is None or not partition.settled_before(position):
                self._touched(number, position)
                self.intake.handled.setdefault((number, position), []).append(handler)

    def _load_outbox(self, scope: int, places: list[Place]) -> None:
        engine = self.engine
        in_cone = {(place.partition, place.position): place for place in places}
        for parent in read_outbox_parents(self._reader, scope):
            partition = engine.partitions.get(parent.partition)
            place = in_cone.get((parent.partition, parent.position))
            if place is not None:
                place.children = True
            elif partition is None or partition.settled_before(parent.position):
                place = Place(parent.partition, parent.position, parent.chain)
                place.ended = place.children = True
                places.append(place)
            else:
                partition.children.add(parent.position)
        for place in places:
            engine.chains.expect(place)
        for number, partition in engine.partitions.items():
            engine.release_children(engine.chains.pass_by(number, partition.watermark - 1))
        engine.relay_wanted.set()

    def _load_suspects(self) -> None:
        engine = self.engine
        deaths_max = self._around.plan.limits.deaths_max
        if not deaths_max:
            return
        suspects: set[tuple[int, int]] = set()
        in_cone: set[tuple[int, int]] = set()
        for number, position, alone in self._around.suspects:
            partition = self._touched(number, position)
            if position in partition.cone:
                in_cone.add((number, position))
            elif partition.settled_before(position):
                continue
            suspects.add((number, position))
            if alone:
                self._count_death(partition, position)
        if suspects:
            LOGGER.warning(
                "the last worker ended uncleanly with %d events running: they are run one at a time first",
                len(suspects),
            )
            engine.recovery = Recovery(engine, suspects, in_cone)

    def _touched(self, number: int, position: int) -> Partition:
        """The partition of an event that an earlier life has touched, even if that life ended before its first sync."""
        partition = self.engine.partitions.get(number) or self.intake.partition(number)
        partition.recovered_max = max(partition.recovered_max, position)
        return partition

    def _count_death(self, partition: Partition, position: int) -> None:
        engine = self.engine
        known = partition.failures.setdefault(position, {})
        if not known:
            known[""] = Failures()
        for name, failures in known.items():
            failures.deaths += 1
            failures.error = failures.error or "the process died"
            engine.post(
                Failed(
                    partition.number, position, name, failures.failures, failures.deaths,
                    failures.first_s or engine.world.now_s(), 0.0, failures.error,
                )
            )  # fmt: skip

    async def quiet(self, timeout_s: float) -> bool:
        """Start nothing, and wait until nothing runs: then only `drain` is left to do. False if some handler still runs
        after `timeout_s`: then all goes on, since one that hangs must not stop what does not depend on it."""
        engine = self.engine
        engine.holding = True
        deadline_s = engine.loop.time() + timeout_s
        while engine.running and engine.loop.time() < deadline_s:
            await asyncio.sleep(QUIET_LOOK_S)
        if engine.running:
            engine.holding = False
            engine.wake(len(engine.slots))
            return False
        engine.stopping = True  # in the same step: who has a job, and still reads its bytes, does not start it
        return True

    async def drain(self) -> bool:
        """Take nothing more in, start nothing, let what runs end within `grace_s`; True if all of it has ended."""
        engine, limits = self.engine, self._around.plan.limits
        engine.stopping = True
        engine.room.set()
        engine.failing.close()
        self._works[0].cancel()
        engine.wake(len(engine.slots))
        ended = await self.ended(limits.grace_s)
        await engine.dead.parked_all()
        if engine.failure is None:
            await asyncio.wrap_future(self._around.file.writer.submit(lambda _connection: None))
            await asyncio.sleep(0)
        return ended

    async def ended(self, timeout_s: float) -> bool:
        """Wait until no handler runs; False if some still do after `timeout_s`."""
        engine = self.engine
        deadline_s = engine.loop.time() + timeout_s
        while True:
            busy = [slot.work for slot in engine.slots if slot.work is not None and not slot.work.done()]
            left_s = deadline_s - engine.loop.time()
            if not busy:
                return True
            if left_s <= 0:
                return False
            engine.wake(len(engine.slots))
            await asyncio.wait(busy, timeout=min(left_s, 0.25), return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Everything of this session ends; handlers that still run are cancelled (threads go on by themselves)."""
        engine = self.engine
        engine.stopping = True
        engine.failing.close()
        engine.dead.close()
        slots = [slot.work for slot in engine.slots if slot.work is not None]
        for work in (*self._works, *slots):
            work.cancel()
        if self._works or slots:
            await asyncio.wait((*self._works, *slots), timeout=1.0)
        for pool in self._pools:
            await pool.executor.close()
        self._store.close()
        try:
            # Blocks that have ended become durable with their marks, and those of the next session come after them.
            await asyncio.wrap_future(self._around.file.writer.submit(lambda _connection: None))
        except StoreError as error:  # nothing since the last sync counts, marks included
            LOGGER.info("closing the session: %s", error)
        self._around.file.writer.detach(self._store.source)
        engine.threads.close()
        try:
            await self._around.transport.close()
        except CommuteError as error:  # what ended the session has been reported; this comes of it
            LOGGER.info("closing the transport: %s", error)
        if self._around.file.path is not None:
            self._reader.close()


def refuse_blocks_without_a_thread(plan: Plan, *, in_memory: bool) -> None:
    """A `def` handler waits for its block by blocking its thread: the loop's own must never wait so, and a store in
    memory has one connection, which belongs to the loop.

    Raises UsageError (``transaction-needs-async``).
    """
    for handler in plan.handlers:
        if handler.embedded and not handler.is_async and (in_memory or handler.executor == "loop"):
            place = "on memory://" if in_memory else 'with executor="loop"'
            raise UsageError(
                f"{handler.name} is `def` and opens ctx.transaction(): {place} that needs `async def`",
                slug="transaction-needs-async",
                where=handler.where,
            )
