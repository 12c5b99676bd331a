"""What arrives: each delivery is admitted, held behind a parked event, or rejected; nothing vanishes.

    delivery ─ settled before? ── settle
             ├ id used twice, unknown type, too large, bytes, keys ── rejected: a dead letter that holds nothing
             ├ conflicts with the held cone ── held
             └ admitted to the schedule ── ready, or waits

At a limit the intake waits: descriptors, payload bytes (where a transport cannot give bytes again), a full cone, a
stopped partition, or too many rejects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from commute.core.footprint import Footprint
from commute.core.watermark import Done
from commute.errors import RejectedError
from commute.runtime.entry import Entry, Placed
from commute.runtime.outbox import Place
from commute.runtime.partition import Partition
from commute.store.reading import read_handled
from commute.store.records import Buried, Ended, Finished, Paused

if TYPE_CHECKING:
    from commute.database import Connection
    from commute.runtime.engine import Engine
    from commute.runtime.misplaced import Misplaced
    from commute.transports.base import Delivery, Message

LOGGER = logging.getLogger("commute")

RECEIVE_EVENTS_MAX = 1_000  # deliveries asked for at once
PAUSES_ALL = ("cone", "stop")  # pauses in which what was taken in already waits too
YIELD_EVENTS = 100  # deliveries taken in between two turns given to the handlers


class Intake:
    """The one coroutine that takes deliveries in."""

    def __init__(
        self, engine: Engine, reader: Connection, fingerprint: str, misplaced: Misplaced | None = None
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._fingerprint = fingerprint
        self._misplaced = misplaced
        self._rereads = engine.transport.features.rereads
        self.handled: dict[tuple[int, int], list[str]] | None = None  # what earlier lives have done; None: ask for it
        self.taken = 0
        self._now_s = 0.0  # when the present deliveries came
        self._event_bytes_max = engine.limits.event_bytes_max
        self._payload_bytes_max = engine.limits.payload_bytes_max
        self.full_since_s: float | None = None  # the intake waits at a limit

    async def run(self) -> None:
        """Take deliveries in until cancelled."""
        engine = self._engine
        while not engine.stopping:
            room = self._room()
            if room <= 0:
                if self.full_since_s is None:
                    self.full_since_s = engine.loop.time()
                if engine.recovery is not None and not engine.running:
                    engine.end_recovery()  # the suspects cannot be reached: nothing else would ever start
                engine.room.clear()
                await engine.room.wait()
                continue
            self.full_since_s = None
            deliveries = await engine.transport.receive(min(room, RECEIVE_EVENTS_MAX))
            if self._stopped():
                return  # they come again with the next start
            self._now_s = engine.loop.time()
            wanted = engine.wiring.concurrency - engine.running  # handlers that stand idle now
            for index, delivery in enumerate(deliveries):
                self.take(delivery)
                if engine.recovery is not None:
                    self._passed(delivery)
                if partition_paused(engine, delivery.partition):
                    break  # the rest comes again with the next start
                if index % YIELD_EVENTS == YIELD_EVENTS - 1 or 0 < wanted <= len(engine.ready):
                    wanted = 0  # all have something to do: let them begin before the rest is taken in
                    await asyncio.sleep(0)
                    if self._stopped():
                        return  # the rest comes again with the next start
            if engine.recovery is not None:
                engine.wake(1)

    def _stopped(self) -> bool:
        return self._engine.stopping  # may change at every await

    def _passed(self, delivery: Delivery) -> None:
        """A suspect that was not admitted is none any more, unless it comes out of the cone."""
        engine = self._engine
        partition = engine.partitions[delivery.partition]
        replayed = delivery.position in partition.cone and partition.settled_before(delivery.position)
        recovery = engine.recovery
        if recovery is not None and not replayed and recovery.passed(delivery.partition, delivery.position):
            engine.end_recovery()

    def _room(self) -> int:
        engine = self._engine
        if any(partition.pause or partition.cut for partition in engine.partitions.values()):
            return 0
        if engine.dead.needs_room:
            return 0  # a replay goes first: what comes now may depend on it
        if engine.payload_bytes >= self._payload_bytes_max and not self._rereads:
            return 0
        # What has ended and waits for its sync is bounded by itself: it takes nothing from the look-ahead.
        return engine.limits.descriptors_max - max(engine.live, engine.unsynced)

    def partition(self, number: int) -> Partition:
        """The partition of this number; made at its first delivery if no earlier life knew it."""
        found = self._engine.partitions.get(number)
        if found is None:
            self._engine.store.open_partition(number, 0, -1, ())
            found = Partition(number, self._engine.limits.held_events_max, 0, -1, Done())
            self._engine.partitions[number] = found
        return found

    def take(self, delivery: Delivery) -> None:
        """One delivery: admitted, held, rejected, or known to be settled already."""
        engine = self._engine
        number, position, message = delivery.partition, delivery.position, delivery.message
        partition = engine.partitions.get(number) or self.partition(number)
        reached, partition.reached = partition.reached, position
        if reached < partition.recovered_max <= position and len(partition.cone):
            engine.dead.look_again()
        if engine.chains.used:
            engine.release_children(engine.chains.pass_by(number, position))
        if position <= partition.recovered_max and partition.settled_before(position):
            engine.transport.settle([delivery.handle])
            return
        self.taken += 1
        engine.store.admitted(number, position)
        kind = engine.kinds.get(message.type)
        if kind is None and engine.kinds.ignored(message.type) and delivery.duplicate_of is None:
            entry = Entry(partition, position, message, None, delivery.handle, 0.0)  # type: ignore[arg-type]
            told = entry.reply_to
            engine.post(
                Finished(number, position, entry) if told is None
                else Ended(number, position, entry, reply_to=told, at_s=engine.world.now_s())
            )  # fmt: skip
            if partition.rejects:
                partition.accepted()
            return
        try:
            if kind is None or delivery.duplicate_of is not None or len(message.data) > self._event_bytes_max:
                raise self._refusal(delivery)
            event = kind.codec.decode(message.data)
            footprint = kind.footprint(event) if kind.ordered else ()
            chain = kind.chain(event) if kind.chains else ()
        except RejectedError as error:
            self._reject(partition, delivery, error)
            return
        if self._misplaced is not None:
            self._misplaced.look(message, position)
        if partition.rejects:
            partition.accepted()
        entry = Entry(partition, position, message, kind, delivery.handle, self._now_s)
        entry.event = event
        if chain:
            place = Place(number, position, chain)
            place.children = position in partition.children
            entry.place = engine.chains.enter(place)
        if position <= partition.recovered_max:
            self._recover(entry, message)
        self.place(entry, footprint)

    def _refusal(self, delivery: Delivery) -> RejectedError:
        message, limit = delivery.message, self._event_bytes_max
        if delivery.duplicate_of is not None:
            return RejectedError(
                f"{message.type} id {message.id} from {message.source} at position {delivery.position} has other "
                f"bytes than at {delivery.duplicate_of}. Ids must be unique per source.",
                slug="id-twice",
            )
        if len(message.data) > limit:
            return RejectedError(
                f"its data has {len(message.data):,} bytes, more than event_bytes_max={limit:,}", slug="too-large"
            )
        like = self._engine.kinds.like(message.type)
        hint = f" (did you mean {like}?)" if like else ""
        return RejectedError(
            f'"{message.type}" at position {delivery.position}: no handler{hint}. Not yours: '
            f'App(ignore=["{message.type}"])',
            slug="unknown-type",
        )

    def _reject(self, partition: Partition, delivery: Delivery, error: RejectedError) -> None:
        engine, message = self._engine, delivery.message
        entry = Entry(partition, delivery.position, message, None, delivery.handle, 0.0)  # type: ignore[arg-type]
        engine.post(
            Buried(
                partition.number, delivery.position, entry, "rejected", message, engine.world.now_s(),
                slug=error.slug, reason=str(error),
            )
        )  # fmt: skip
        LOGGER.error(
            "error[%s] %s %s at position %d rejected: %s   Bytes kept: commute dead show %s",
            error.slug, message.type, message.id, delivery.position, error, message.id,
        )  # fmt: skip
        if partition.rejected() and not partition.pause:
            partition.pause = "rejects"
            partition.why = f"more than half of the last {len(partition.rejects)} events were rejected, last: {error}"
            partition.cut = partition.why
            engine.post(Paused(partition.number, partition.why, self._fingerprint))
            LOGGER.error("error[too-many-rejects] intake paused: %s   Go on: commute run --resume", partition.why)

    def _recover(self, entry: Entry, message: Message) -> None:
        """What earlier lives have left of this event: finished handlers, failed attempts."""
        partition = entry.partition
        failures = partition.failures.pop(entry.position, None)
        if failures is not None:
            past = entry.remember()
            past.failures.update(failures)
            past.written = True
        if self.handled is None:
            handlers = read_handled(self._reader, self._engine.store.scope, message.source, message.id)
        else:
            handlers = self.handled.pop((partition.number, entry.position), [])
        if handlers:
            entry.remember().done.update(handlers)

    def place(self, entry: Entry, footprint: Footprint) -> None:
        """Admit the event, hold it behind a parked one, or leave it before the door of a paused partition."""
        engine, partition = self._engine, entry.partition
        if partition.pause in PAUSES_ALL:
            partition.waiting_room.append(Placed(entry, footprint))
            return
        cone = partition.cone
        if cone:
            behind = cone.catches(footprint, entry.position)
            if behind is not None:
                reason = cone.refuses(footprint, entry.position)
                if reason is not None:
                    engine.dead.pause_for_cone(partition, reason)
                    partition.waiting_room.append(Placed(entry, footprint))
                else:
                    engine.dead.hold(entry, footprint, behind)
                return
        self.admit(entry, footprint)

    def admit(self, entry: Entry, footprint: Footprint) -> None:
        """Into the schedule; events that may start are made ready."""
        engine = self._engine
        if engine.recorder is not None:
            engine.recorder.admit(entry.position, footprint, entry.id, entry.kind.type)
        ticket = engine.schedule.admit(footprint, entry)
        count = engine.several.start_unordered(ticket) if entry.kind.unordered else 0
        if engine.recovery is not None:
            engine.recovery.came(ticket)
        if ticket.blocked:
            entry.event = None
        engine.payload_bytes += entry.size_bytes
        if self._rereads and engine.payload_bytes > self._payload_bytes_max and not count:
            engine.give_up_bytes(entry)
        if not ticket.blocked:
            count += engine.startable(ticket)
        if count:
            engine.idle.admitted(count, engine.running)

    def leave_waiting_room(self, partition: Partition) -> None:
        """If the partition is no longer paused, those before the door come in, in log sequence."""
        if not partition.waiting_room or partition.pause in PAUSES_ALL:
            return
        # They have come by and by, behind one parked event after the other.
        waiting = sorted(partition.waiting_room, key=_position)
        partition.waiting_room.clear()
        for at, placed in enumerate(waiting):
            if partition.pause in PAUSES_ALL:
                partition.waiting_room.extend(waiting[at:])
                return
            self.place(placed.entry, placed.footprint)

    def places(self, positions: Sequence[Place]) -> None:
        """Chain places of earlier lives, to be entered as the intake comes by."""
        for place in positions:
            self._engine.chains.expect(place)


def _position(placed: Placed) -> int:
    return placed.entry.position


def partition_paused(engine: Engine, number: int) -> bool:
    """Whether the partition takes nothing in until the worker is started anew."""
    return bool(engine.partitions[number].cut)
