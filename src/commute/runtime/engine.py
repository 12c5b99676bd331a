"""The engine: the only loop, the sole owner of the schedule. What may start, starts; what ended, frees others.

    transport.receive → Intake → schedule.admit → Ready → slot: handler → settled → schedule.settle → Ready …
                                                            └ record → store (sync) → synced → transport.settle

Invariants: everything here runs on one event loop and takes no lock. A slot is one coroutine that runs one handler
at a time; a waiting event has no coroutine. Dependents start when their predecessor's record is queued; everything
that leaves the engine (settling, receipts, the relay) waits for the sync (semantics.md G1).

An engine is one session: when the store fails, or ownership is lost, it is thrown away whole, and the next one
begins from what is durable. So there is no state to repair.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from commute.context import Context
from commute.core.footprint import Footprint, conflicts
from commute.core.schedule import Schedule, Ticket
from commute.errors import CommuteError, StoreError
from commute.executors.threads import Threads
from commute.runtime.attempt import Attempt
from commute.runtime.entry import Entry, Job
from commute.runtime.idle import Idle
from commute.runtime.notes import Notes
from commute.runtime.outbox import Chains
from commute.runtime.ready import Ready
from commute.runtime.several import Several, after_of
from commute.runtime.slot import CURRENT, Slot
from commute.runtime.wiring import Wiring
from commute.store.records import Ended, Finished, Marked, Record, Released

if TYPE_CHECKING:
    from commute.runtime.deadletters import Dead
    from commute.runtime.failing import Failing
    from commute.runtime.kinds import Bound
    from commute.runtime.partition import Partition
    from commute.runtime.recovery import Recovery
    from commute.transports.base import Message

LOGGER = logging.getLogger("commute")

TURN_S = 0.002  # how long handlers that never suspend may keep the loop before others get a turn
TURN_CHECK_RUNS = 16  # runs between two looks at the clock for that


class Engine:
    """One session of one worker. `failing`, `dead`, `partitions` and `recovery` are attached by `runtime.worker`."""

    failing: Failing
    dead: Dead

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.source = wiring.source
        self.kinds = wiring.kinds
        self.limits = wiring.limits
        self.world = wiring.world
        self.transport = wiring.transport
        self.writer = wiring.writer
        self.store = wiring.store
        self.encode = wiring.encode
        self.label = wiring.label
        self.recorder = wiring.recorder
        self._in_flight = wiring.in_flight
        self.blocks_apart = wiring.blocks_apart
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.loop_resolution_s = time.get_clock_info("monotonic").resolution
        self.schedule: Schedule[Entry] = Schedule()
        self.ready = Ready()
        self.chains = Chains()
        self.partitions: dict[int, Partition] = {}
        self.notes = Notes(self.kinds)
        self.several = Several(self)
        self.recovery: Recovery | None = None
        self.threads = Threads(self.loop, wiring.concurrency, inline=wiring.inline_threads)
        self.slots: list[Slot] = []
        self.idle = Idle(self.loop)
        self.running = 0  # handlers at this moment
        self.running_max = 0
        self.lingering = 0  # events that have left the schedule with handlers that wait for no one still at work
        self.unsynced = 0  # records posted whose sync has not been reported
        # Ended, and not as durable as the effects of its dependents would be: in a block of ours that is not yet on
        # disk; or, where each block commits by itself, by a record that is not.
        self._in_block: dict[Entry, Footprint] = {}
        self._after_sync: deque[Ticket[Entry]] = deque()
        self.payload_bytes = 0
        self.done = 0
        self.stopping = False
        self.holding = False  # nothing more starts for the moment
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self.relay_wanted = asyncio.Event()
        self.deadlines = asyncio.Event()  # a handler with a timeout has begun
        self.room = asyncio.Event()  # something ended or a pause was lifted: the intake may look again
        self.room.set()
        self._runs = 0
        self._turn_ends_s = 0.0
        self.store.on_synced = self._synced_elsewhere

    # -- slots --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the slots; returns at once."""
        for _ in range(self.wiring.concurrency):
            self.add_slot()

    def add_slot(self) -> None:
        """One more handler at once; also the stand-in for a slot whose handler is overdue."""
        taken = {slot.index for slot in self.slots}
        slot = Slot(next(index for index in range(len(taken) + 1) if index not in taken), self.source)
        self.slots.append(slot)
        slot.work = self.loop.create_task(self._serve(slot), name=f"commute slot {slot.index}")

    async def _serve(self, slot: Slot) -> None:
        CURRENT.set(slot)
        woken = False
        try:
            while not self.stopping and not slot.replaced:
                job = self._next()
                if job is None:
                    await self.idle.wait(slot)
                    woken = True
                    continue
                if woken:
                    woken = False
                    self.idle.took(len(self.ready))
                await self._run(slot, job)
                self._runs += 1
                if not self._runs % TURN_CHECK_RUNS:
                    now_s = self.loop.time()
                    if now_s > self._turn_ends_s:
                        await asyncio.sleep(0)
                        self._turn_ends_s = self.loop.time() + TURN_S
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a fault of ours ends the session, never silently a slot
            self.fail(error)
        finally:
            self.wake(1)

    def _next(self) -> Job | None:
        if self.holding:
            return None
        recovery = self.recovery
        if recovery is not None:
            job = recovery.next()
            if job is not None or recovery:
                return job
            self.end_recovery()
        while True:
            job = self.ready.pop()
            if job is None:
                return None
            if job.entry.partition.pause == "stop":
                job.entry.partition.stalled.append(job)
                continue
            bound = job.bound
            if bound.full() or (bound.breaker.open and not job.probe and not self.failing.may_probe(job)):
                bound.queue.append(job)
                continue
            return job

    def freed(self, bound: Bound, count: int = 1) -> None:
        """There is room for `count` more runs of this handler, or of those that share its pool."""
        while count > 0 and (job := bound.waiting(self.loop.time())) is not None:
            self.ready.release(job)
            self.wake(1)
            count -= 1

    def wake(self, count: int) -> None:
        """Let up to `count` idle slots look for a job."""
        self.idle.wake(count)

    async def _run(self, slot: Slot, job: Job) -> None:
        entry, bound = job.entry, job.bound
        handler = bound.handler
        message = entry.message
        if message is None:
            message = await self.dead.reread(entry)
            if self.stopping:
                return  # a drain began meanwhile: the event is left to the next session
        attempt = Attempt(self, job, message) if handler.takes_context or bound.pool is not None else None
        arguments = self._arguments(job, message, attempt)
        recovery = self.recovery
        alone = recovery is not None and recovery.is_suspect(job)
        slot.begin(job, self.loop.time(), handler.timeout_s)
        if handler.timeout_s is not None:
            self.deadlines.set()
        bound.running += 1
        self.running += 1
        if self.running > self.running_max:
            self.running_max = self.running
        if bound.pool is None:  # another process dies alone, and is no reason to suspect what it ran
            self._in_flight.note(slot.index, entry.partition.number, entry.position, alone)
        if self.recorder is not None:
            self.recorder.start(entry.position)
        error: BaseException | None = None
        try:
            if bound.pool is not None and attempt is not None:
                await bound.pool.run(attempt, message)
            elif not bound.on_loop:
                await self.threads.run(slot, handler.function, arguments)
            elif handler.is_async:
                await handler.function(*arguments)
            else:
                handler.function(*arguments)
        except asyncio.CancelledError as cancelled:
            error = self._judge_cancelled(slot, handler.timeout_s, cancelled)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001 - SystemExit in a handler is a failed attempt too
            error = raised
        if slot.timed_out and bound.stoppable and slot.work is not None:
            slot.work.uncancel()  # also where the handler has ended well: a later one must not inherit it
        slot.end()
        bound.running -= 1
        self.running -= 1
        self._in_flight.clear(slot.index)
        if self.failure is not None:
            return  # the session is over: the next one runs this again
        if bound.queue or bound.pool is not None:
            self.freed(bound)
        if error is None or (attempt is not None and attempt.committed):
            self._succeeded(job, attempt, error)
        else:
            self.failing.failed(job, error)
        if self.recovery is not None:
            if alone and self.recovery.tried(job.ticket):
                self.end_recovery()
            self.wake(1)
            self.room.set()  # the intake looks whether the other suspects can be reached at all

    def _arguments(self, job: Job, message: Message, attempt: Attempt | None) -> tuple[object, ...]:
        """What the handler is called with, where it runs in this process."""
        entry = job.entry
        if job.bound.pool is not None:
            return ()
        event = entry.event
        if event is None:
            event = entry.kind.codec.decode(message.data)
            if entry.kind.single is None:
                entry.event = event
        return (event,) if attempt is None else (event, Context(attempt, message, self.wiring.state))

    def _judge_cancelled(self, slot: Slot, timeout_s: float | None, cancelled: asyncio.CancelledError) -> BaseException:
        """What a cancellation that came out of a handler means: a timeout, its own doing, or the end of the worker."""
        assert slot.work is not None
        if slot.timed_out:
            error = TimeoutError(f"longer than timeout_s={timeout_s:g}")
            error.__cause__ = cancelled
            return error
        if slot.work.cancelling():
            self._in_flight.clear(slot.index)
            raise cancelled
        return cancelled  # the handler awaited something that was cancelled: its own failure

    def end_recovery(self) -> None:
        """All suspects have been tried: everything else may start."""
        recovery, self.recovery = self.recovery, None
        if recovery is not None:
            jobs = recovery.rest()
            for job in jobs:
                self.ready.release(job)
            self.wake(len(jobs))

    # -- starting -----------------------------------------------------------------------------------------------

    def startable(self, ticket: Ticket[Entry]) -> int:
        """The schedule lets this event start: make its handlers ready; returns how many are."""
        entry = ticket.item
        if self.recorder is not None:
            self.recorder.release(entry.position)
        if self._in_block and (entry.kind.some_embedded if self.blocks_apart else not entry.kind.embedded):
            keys = ticket.footprint
            if any(conflicts(keys, other) for other in self._in_block.values()):
                # Its effects would be durable before those of its predecessor are.
                self._after_sync.append(ticket)
                self.store.hurry()
                return 0
        return self._make_ready(ticket)

    def _make_ready(self, ticket: Ticket[Entry]) -> int:
        single, past = ticket.item.kind.single, ticket.item.past
        if past is not None and self.failing.died_too_often(ticket):
            return 0
        if single is not None:
            if past is None or single.name not in past.done:
                if past is not None:
                    past.active += 1
                self.push(Job(ticket, single, 0))
                return 1
            self.finish(ticket)
            return 0
        return self.several.advance(ticket)

    def push(self, job: Job) -> None:
        if self.recovery is not None:
            self.recovery.defer(job)
        else:
            self.ready.push(job)

    def give_up_bytes(self, entry: Entry) -> None:
        """The log keeps them: for the payload limit."""
        if entry.message is not None:
            if entry.kind.single is None:
                after_of(entry)
            entry.message, entry.event = None, None
            self.payload_bytes -= entry.size_bytes

    def forget_bytes(self, entry: Entry) -> None:
        """The event has left for good: its bytes count no more. Once an event."""
        if entry.message is not None:
            self.payload_bytes -= entry.size_bytes

    # -- ending -------------------------------------------------------------------------------------------------

    def _succeeded(self, job: Job, attempt: Attempt | None, error: BaseException | None) -> None:
        entry, bound, ticket = job.entry, job.bound, job.ticket
        if error is not None:
            self.notes.failed_after_commit(job, error)
        committed = attempt is not None and attempt.committed
        if bound.breaker.open:
            self.failing.close_breaker(bound)
        elif bound.failing:
            bound.breaker.succeeded()
            bound.failing = False
        children = attempt.children if attempt is not None and not committed else ()
        if committed and self.blocks_apart and attempt is not None and attempt.children:
            self.relay_wanted.set()  # they lie in the outbox, and no sync of ours will tell
        past = entry.past
        if past is None and not children and entry.place is None and entry.reply_to is None:
            self.post(Finished(entry.partition.number, entry.position, entry))
            self.free(ticket, committed=committed)
            self.forget_bytes(entry)
            self.done += 1
            return
        past = entry.remember()
        if past.ticket is not None and past.ticket is not ticket:
            ticket = past.ticket  # it was held meanwhile, and may be replayed by now
            entry = ticket.item
        past.done.add(bound.name)
        past.active -= 1
        past.failures.pop(bound.name, None)
        if committed:
            past.committed = True
        if entry.kind.single is not None:
            self.finish(ticket, children)
            return
        if not committed:
            self.several.post_handled(entry, bound, children)
        self.wake(self.several.advance(ticket))

    def chain(self, entry: Entry, children: bool) -> tuple[str, ...]:
        """The chain in which these children have to wait for their turn; empty where they leave at once."""
        place = entry.place
        if place is None or not children or (place.first() and not place.children):
            return ()  # unless some of its own have to wait: those of later handlers leave after them
        place.children = True
        return place.chain

    def finish(self, ticket: Ticket[Entry], children: Sequence[Any] = ()) -> None:
        """The event is processed: its record, then everything that waited for it."""
        entry = ticket.item
        past = entry.remember()
        self.post(
            Ended(
                entry.partition.number, entry.position, entry, tuple(children), self.chain(entry, bool(children)),
                had_failures=past.written, was_dead=past.was_dead, reply_to=entry.reply_to, at_s=self.world.now_s(),
            )
        )  # fmt: skip
        self.done += 1
        self.leave(ticket, committed=past.committed)

    def leave(self, ticket: Ticket[Entry], *, committed: bool = False) -> None:
        """The event has its outcome: give up its keys, its place among the chains and in the cone."""
        entry = ticket.item
        past = entry.past
        if past is None or not past.keys_freed:
            self.free(ticket, committed=committed)
        else:
            self.lingering -= 1
            self.room.set()
        self.forget_bytes(entry)
        if entry.place is not None:
            self.release_children(self.chains.end(entry.place))
        if past is not None and past.was_dead:
            self.dead.out_of_cone(entry.partition, entry.position)

    def release_children(self, places: Sequence[Any]) -> None:
        for place in places:
            self.post(Released(place.partition, place.position))

    def free(self, ticket: Ticket[Entry], *, committed: bool) -> None:
        """Nothing of the event that others wait for is left to do: give up its keys."""
        entry = ticket.item
        if self.recorder is not None:
            self.recorder.end(entry.position, "processed")
        if self.kinds.mixed and (not committed or entry.kind.single is None if self.blocks_apart else committed):
            self._in_block[entry] = ticket.footprint
        released = self.schedule.settle(ticket)
        if released:
            count = 0
            for other in released:
                count += self.startable(other)
            if count > 1:
                self.wake(count - 1)  # this slot takes one itself
        if not self.room.is_set():
            self.room.set()
        if self.dead.needs_room:
            self.dead.look_again()

    def post(self, record: Record) -> None:
        """Queue a record for the next group commit, and count it until its sync is reported."""
        self.unsynced += 1
        self.store.post(record)

    def post_all(self, records: Sequence[Record]) -> None:
        """`post` for records that become durable together."""
        self.unsynced += len(records)
        self.store.post_all(records)

    # -- the disk -----------------------------------------------------------------------------------------------

    def on_its_thread(self) -> bool:
        """Whether the caller runs on the loop's own thread."""
        return threading.get_ident() == self._thread

    def _synced_elsewhere(self, batch: list[Record]) -> None:
        # In memory whoever gives the turn back commits: mostly the loop, but any thread may have submitted.
        if self.wiring.in_memory and self.on_its_thread():
            self.synced(batch)
        else:
            self.loop.call_soon_threadsafe(self.synced, batch)

    def synced(self, batch: list[Record]) -> None:
        """The disk has these records: settle their deliveries, tell who waits for receipts, start who waited."""
        self.unsynced -= len(batch)
        handles = []
        in_block = self._in_block
        for record in batch:
            token = getattr(record, "token", None)
            if token is not None:
                if token.handle is not None:
                    handles.append(token.handle)
                if in_block:
                    in_block.pop(token, None)
            elif type(record) is Marked and isinstance(record.entry, Entry):
                in_block.pop(record.entry, None)
        if handles:
            self.transport.settle(handles)
        self.wiring.on_outcome(batch)
        for _ in range(len(self._after_sync)):
            ticket = self._after_sync.popleft()
            keys = ticket.footprint
            if any(conflicts(keys, other) for other in in_block.values()):
                self._after_sync.append(ticket)
            else:
                self.wake(self._make_ready(ticket))
        self.dead.synced(batch)
        self.room.set()

    def fail(self, error: BaseException) -> None:
        """This session is over: nothing more starts, what has not been synced does not count."""
        if self.failure is None:
            self.failure = error
            if not isinstance(error, CommuteError):
                LOGGER.critical("error[internal] the worker stops: %r", error, exc_info=error)
            self.stopping = True
            self.store.close()
            self.failed.set()
            self.room.set()
            self.idle.wake_all()

    def fail_from_writer(self, error: StoreError) -> None:
        """`fail`, called by the writer's thread."""
        self.loop.call_soon_threadsafe(self.fail, error)

    @property
    def live(self) -> int:
        """Events admitted and not ended, and those of paused partitions: what `descriptors_max` bounds."""
        waiting = sum(len(partition.waiting_room) for partition in self.partitions.values())
        return len(self.schedule) + self.lingering + waiting
