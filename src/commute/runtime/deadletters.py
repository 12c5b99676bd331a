"""Parked and held events: into the cone, out of it in log sequence, and what people ask of them.

    running ─ exhausted ── parked ─┐                         ┌─ retry: replayed in its place
    waiting for it ─────── held ───┤  the cone (on disk)  ───┤─ skip, drop: an outcome; what only it held goes on
    arriving, conflicts ── held ───┘                         └─ held: replayed when nothing before it holds it

An event in the cone keeps its keys: arrivals that conflict with it are held too. One that is replayed stays in the
cone until its outcome, so that arrivals during the replay queue behind it. Parking an event and its admitted
followers is one run of records, hence one commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from commute.core.footprint import Footprint, normalise
from commute.core.schedule import Ticket
from commute.errors import RejectedError, StoreError
from commute.runtime.entry import Entry, Failures, Past, Placed
from commute.runtime.kinds import is_everything
from commute.runtime.outbox import Place
from commute.runtime.partition import Partition
from commute.store.reading import read_dead, read_handled, read_requests
from commute.store.records import Asked, Buried, DeadRow, Handled, Record

if TYPE_CHECKING:
    from commute.database import Connection
    from commute.runtime.engine import Engine
    from commute.runtime.intake import Intake
    from commute.transports.base import Message

LOGGER = logging.getLogger("commute")

REPLAY_EVENTS_MAX = 200  # dead letters read at once
REREAD_EVENTS_MAX = 500  # events whose bytes are read again at once
REQUESTS_POLL_S = 0.2


class Dead:
    """The cones of one engine."""

    def __init__(self, engine: Engine, intake: Intake, reader: Connection) -> None:
        self._engine = engine
        self._intake = intake
        self._reader = reader
        self._replay_wanted = asyncio.Event()
        self._synced = asyncio.Event()
        self._asked: set[int] = set()  # requests under way
        self._ending: set[tuple[int, int]] = set()  # dead letters about to be skipped or dropped
        self.needs_room = False  # something could be replayed, but as many events are admitted as may be
        self._parking: set[asyncio.Task[None]] = set()

    # -- into the cone ------------------------------------------------------------------------------------------

    def park(self, ticket: Ticket[Entry], name: str, failures: Failures, *, stopped: bool) -> None:
        """The event is parked, and every admitted event that waits for it is held; nothing else is touched."""
        engine, entry = self._engine, ticket.item
        partition, past = entry.partition, entry.remember()
        message = entry.message
        assert message is not None  # it has just run, or `reread` has brought it
        footprint = () if past.keys_freed else ticket.footprint
        followers = [] if past.keys_freed else engine.schedule.followers(ticket)
        past.parking = False
        reason = self._no_room(partition, footprint, [t.footprint for t in followers])
        partition.cone.park(entry.position, footprint)
        self._keep(entry)
        records = [
            Buried(
                partition.number, entry.position, entry, "parked", message, engine.world.now_s(), footprint,
                entry.place.chain if entry.place is not None else (), sorted(past.done), name, "parked",
                failures.exhausted or "", past.detail, failures.failures, stopped,
            )
        ]  # fmt: skip
        for follower in reversed(followers):
            self._take_out(follower)
        if not past.keys_freed:
            self._take_out(ticket)
        else:
            engine.lingering -= 1
            engine.forget_bytes(entry)
        for follower in followers:
            if reason is None:
                records.append(self._into_cone(follower.item, follower.footprint, entry.position))
            else:
                partition.waiting_room.append(Placed(follower.item, follower.footprint))
        engine.post_all(records)
        self._say_parked(entry, name, failures, len(followers), stopped=stopped)
        if reason is not None:
            self.pause_for_cone(partition, reason)
        if stopped:
            partition.stopped.add(entry.position)
            partition.pause, partition.why = "stop", f"stopped at {entry.kind.type} {entry.id}"

    def park_when_read(self, ticket: Ticket[Entry], name: str, failures: Failures, *, stopped: bool) -> None:
        """`park`, once the bytes of all that it concerns are in memory: at once, where none were given up."""
        if not self._missing(ticket):
            self.park(ticket, name, failures, stopped=stopped)
        else:
            self.park_later(ticket, name, failures, stopped=stopped)

    def park_later(self, ticket: Ticket[Entry], name: str, failures: Failures, *, stopped: bool = False) -> None:
        """`park` in the background; the event keeps its keys, and nothing of it starts meanwhile."""
        ticket.item.remember().parking = True

        async def park() -> None:
            await self.bring_back(ticket)
            self.park(ticket, name, failures, stopped=stopped)

        work = self._engine.loop.create_task(park())
        self._parking.add(work)
        work.add_done_callback(self._parked)

    def _parked(self, work: asyncio.Task[None]) -> None:
        self._parking.discard(work)
        error = None if work.cancelled() else work.exception()
        if error is not None:
            self._engine.fail(error)

    async def bring_back(self, ticket: Ticket[Entry]) -> None:
        """The bytes of the event and of all that wait for it are in memory, as `park` needs them."""
        while missing := self._missing(ticket):
            for start in range(0, len(missing), REREAD_EVENTS_MAX):
                await self._reread_some(missing[start : start + REREAD_EVENTS_MAX])

    def _missing(self, ticket: Ticket[Entry]) -> list[Entry]:
        """Of the event and of all that wait for it: those whose bytes were given up."""
        past = ticket.item.past
        freed = past is not None and past.keys_freed
        followers = [] if freed else self._engine.schedule.followers(ticket)
        entries = [ticket.item, *(follower.item for follower in followers)]
        return [entry for entry in entries if entry.message is None]

    async def parked_all(self) -> None:
        """Returns when nothing is about to be parked any more."""
        while self._parking:
            await asyncio.wait(self._parking)

    def close(self) -> None:
        """What was about to be parked is left to the next session."""
        for work in self._parking:
            work.cancel()

    def _no_room(self, partition: Partition, parked: Footprint, footprints: Sequence[Footprint]) -> str | None:
        if any(is_everything(footprint) for footprint in footprints):
            return "an event that touches everything would be held, and all others behind it"
        if footprints and is_everything(parked):
            return "an event that touches everything is parked, and all others are behind it"
        if len(partition.cone) + 1 + len(footprints) > self._engine.limits.held_events_max:
            return f"held_events_max={self._engine.limits.held_events_max:,} events are parked or held"
        return None

    def _take_out(self, ticket: Ticket[Entry]) -> None:
        """Out of the schedule: its chains forget it."""
        engine = self._engine
        if engine.recorder is not None:
            engine.recorder.hold(ticket.item.position)
        engine.forget_bytes(ticket.item)
        count = sum(engine.startable(other) for other in engine.schedule.settle(ticket))
        engine.wake(count)

    def hold(self, entry: Entry, footprint: Footprint, behind: int) -> None:
        """An arriving event conflicts with the cone: it is stored behind it and never admitted."""
        engine = self._engine
        if engine.recorder is not None:
            engine.recorder.hold(entry.position, footprint)
        if entry.kind.unordered and (entry.past is None or entry.past.ticket is None):
            ticket = engine.schedule.admit((), entry)
            engine.schedule.settle(ticket)  # these handlers wait for no one, but need a place in the sequence
            engine.wake(engine.several.start_unordered(ticket))
        engine.post(self._into_cone(entry, footprint, behind))

    def _into_cone(self, entry: Entry, footprint: Footprint, behind: int) -> Buried:
        engine, partition = self._engine, entry.partition
        past = entry.past
        partition.cone.hold(entry.position, footprint)
        self._keep(entry)
        message = entry.message
        if message is None:
            raise StoreError(f"the bytes of {entry.id} were not read again in time", slug="internal")
        return Buried(
            partition.number, entry.position, entry, "held", message, engine.world.now_s(), footprint,
            entry.place.chain if entry.place is not None else (),
            sorted(past.done) if past is not None else (), slug="held",
            reason=f"behind {partition.ids.get(behind, behind)}",
        )  # fmt: skip

    def _keep(self, entry: Entry) -> None:
        partition, position, past = entry.partition, entry.position, entry.past
        partition.ids[position] = entry.id
        if entry.place is not None:
            partition.places[position] = entry.place
        if past is not None and past.active:
            partition.lingering[position] = past
            self._engine.lingering += 1

    def lingered(self, entry: Entry, past: Past) -> None:
        """A handler that waits for no one has ended, and its event is held."""
        if not past.active and entry.partition.lingering.get(entry.position) is past:
            self._engine.lingering -= 1
            self._engine.room.set()

    def _say_parked(self, entry: Entry, name: str, failures: Failures, held: int, *, stopped: bool) -> None:
        touched = [access.key or "everything" for access in entry.kind.footprint(entry_event(entry))[:4]]
        behind = f"{held or 'no'} later event{' is' if held < 2 else 's are'} held behind it"
        along = f" and the {held}, in order" if held else ""
        without = f", and let the {held} run without it" if held else ""
        LOGGER.error(
            "error[%s] %s %s: %s. %s %s%s\n  holds %s; %s, all others go on\n"
            "  look  commute dead show %s      retry it%s   commute dead retry %s\n"
            "  or give it up%s   commute dead skip %s",
            "stopped" if stopped else "parked", entry.kind.type, entry.id, "stopped here" if stopped else "parked",
            name, failures.exhausted, failures.where, ", ".join(touched) or "nothing", behind, entry.id, along,
            entry.id, without, entry.id,
        )  # fmt: skip

    def pause_for_cone(self, partition: Partition, reason: str) -> None:
        """Nothing more comes in until the cone has shrunk."""
        if not partition.pause:
            partition.pause, said, partition.why = "cone", partition.why, reason
            if said != reason:
                LOGGER.error("error[cone-full] intake paused: %s. commute dead list, then retry, skip or drop", reason)

    # -- out of the cone ----------------------------------------------------------------------------------------

    def out_of_cone(self, partition: Partition, position: int) -> None:
        """An event of the cone has its outcome: what only it held may be replayed."""
        partition.cone.remove(position)
        partition.ids.pop(position, None)
        partition.places.pop(position, None)
        if partition.pause == "cone":
            partition.pause = ""  # `why` stays, so that the same reason is not said again
        self._intake.leave_waiting_room(partition)
        self._replay_wanted.set()
        self._engine.room.set()

    def go_on(self, partition: Partition) -> None:
        """A stopped partition goes on."""
        engine = self._engine
        partition.pause, partition.why = ("rejects", partition.cut) if partition.cut else ("", "")
        count = len(partition.stalled)
        while partition.stalled:
            engine.ready.release(partition.stalled.popleft())
        self._intake.leave_waiting_room(partition)
        engine.wake(count)
        engine.room.set()

    def look_again(self) -> None:
        """The intake has come further, or there is room: something may be replayed now."""
        self._replay_wanted.set()

    async def replay(self) -> None:
        """Admit what may be replayed, in log sequence, as room allows; runs until cancelled."""
        engine = self._engine
        self._replay_wanted.set()
        while not engine.stopping:
            await self._replay_wanted.wait()
            self._replay_wanted.clear()
            self.needs_room = False
            for partition in list(engine.partitions.values()):
                if partition.pause != "stop":
                    await self._replay_partition(partition)
            if not self.needs_room:
                engine.room.set()  # the intake may have stood back

    async def _replay_partition(self, partition: Partition) -> None:
        engine = self._engine
        while not engine.stopping:
            found = partition.cone.replayable(REPLAY_EVENTS_MAX, partition.overtakes_from())
            room = engine.limits.descriptors_max - len(engine.schedule)
            if found and room <= 0:
                self.needs_room = True
                return  # called again when something has ended, and the intake stands back until then
            positions = [one for one in found[:room] if (partition.number, one) not in self._ending]
            if not positions:
                recovery = engine.recovery
                if recovery is not None and partition.overtakes_from() is None and recovery.cone_rests():
                    engine.end_recovery()
                return
            rows = self._rows(partition, positions)
            missing = len(positions) - len(rows)
            for row in rows:
                if row.position in partition.cone:
                    self._replay_one(partition, row)
            if missing:
                self._synced.clear()
                engine.store.hurry()
                await self._synced.wait()
            else:
                await asyncio.sleep(0)

    def _rows(self, partition: Partition, positions: Sequence[int]) -> list[DeadRow]:
        marks = ",".join("?" * len(positions))
        return read_dead(
            self._reader, self._engine.store.scope,
            f"partition=? AND position IN ({marks}) AND status IN ('parked','held')", (partition.number, *positions),
        )  # fmt: skip

    def _replay_one(self, partition: Partition, row: DeadRow) -> None:
        engine = self._engine
        message = row.message
        kind = engine.kinds.get(message.type)
        if kind is None:
            self._park_again(partition, row, f'no handler takes "{message.type}" any more')
            return
        try:
            event = kind.codec.decode(message.data)
            footprint = kind.footprint(event) if kind.ordered else ()
        except RejectedError as error:
            self._park_again(partition, row, str(error))
            return
        entry = Entry(partition, row.position, message, kind, None, engine.loop.time())
        past = self._past(partition, row)
        entry.past = past
        entry.event = event
        entry.place = partition.places.get(row.position)
        partition.cone.replaying(row.position)
        # Both what it kept while it lay here and what today's code says: neither alone is safe after a change of code.
        self._intake.admit(entry, normalise((*row.footprint, *footprint)) if footprint != row.footprint else footprint)

    def _past(self, partition: Partition, row: DeadRow) -> Past:
        """What has happened to a dead letter so far: in this life, in the row, and in replays that an end cut off."""
        past = partition.lingering.pop(row.position, None)
        if past is None:
            past = Past()
        elif past.active:
            self._engine.lingering -= 1
        past.was_dead = True
        past.done.update(row.handlers_done)
        past.done.update(read_handled(self._reader, self._engine.store.scope, row.message.source, row.message.id))
        failures = partition.failures.pop(row.position, None)
        if failures is not None:
            past.failures.update(failures)
            past.written = True
        return past

    def _park_again(self, partition: Partition, row: DeadRow, reason: str) -> None:
        engine = self._engine
        partition.cone.park(row.position, row.footprint)
        engine.post(
            Buried(
                partition.number, row.position, None, "parked", row.message, engine.world.now_s(), row.footprint,
                row.chain, row.handlers_done, row.handler, "parked", reason, row.detail, row.attempts,
            )
        )  # fmt: skip
        LOGGER.error("error[parked] %s %s: parked again, %s", row.message.type, row.message.id, reason)

    def synced(self, batch: Sequence[Record]) -> None:
        """The disk has these records."""
        self._synced.set()
        for record in batch:
            if type(record) is Asked:
                self._asked.discard(record.number)
                self._ending.discard((record.partition, record.position))
                if not record.answers[0].startswith("refused"):
                    self._done_as_asked(record)
            elif type(record) is Handled and (partition := self._engine.partitions[record.partition]).lingering:
                past = partition.lingering.get(record.position)
                if past is not None and not past.active and not past.failures:
                    del partition.lingering[record.position]  # the inbox says all that it knew
        if self._engine.store.relay_wanted:
            self._engine.relay_wanted.set()

    # -- what people ask ----------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Look for requests of `commute dead` in the store; runs until cancelled."""
        engine = self._engine
        while not engine.stopping:
            for number, verb, partition, position in read_requests(self._reader, engine.store.scope):
                if number not in self._asked:
                    self._asked.add(number)
                    self.ask(number, verb, partition, position)
            await asyncio.sleep(REQUESTS_POLL_S)

    def ask(self, number: int, verb: str, partition: int, position: int) -> None:
        """Carry out one request with the next commit, unless the event is being replayed at this moment."""
        engine = self._engine
        found = engine.partitions.get(partition)
        refusal = ""
        if found is not None and position in found.cone and found.cone.is_replaying(position):
            refusal = "refused: it is being retried at this moment"
        elif verb != "retry":
            self._ending.add((partition, position))  # not replayed meanwhile
        engine.post(Asked(number, verb, partition, position, engine.world.now_s(), refusal))
        engine.store.hurry()

    def _done_as_asked(self, record: Asked) -> None:
        partition = self._engine.partitions.get(record.partition)
        if partition is None or partition.cone.state(record.position) != "parked":
            return
        partition.stopped.discard(record.position)
        if record.verb == "retry":
            partition.cone.ask_retry(record.position)
            self._replay_wanted.set()
        else:
            place = partition.places.get(record.position)
            if self._engine.recorder is not None:
                self._engine.recorder.end(record.position, "skipped" if record.verb == "skip" else "dropped")
            self.out_of_cone(partition, record.position)
            if place is not None:
                self._engine.release_children(self._engine.chains.end(place))
        if partition.pause == "stop" and not partition.stopped:
            self.go_on(partition)

    # -- at the start -------------------------------------------------------------------------------------------

    def load(self, rows: Sequence[DeadRow]) -> list[Place]:
        """Fill the cones before anything is admitted; returns the chain places of what lies in them."""
        places: list[Place] = []
        for row in rows:
            partition = self._engine.partitions[row.partition]
            if row.status == "held":
                partition.cone.hold(row.position, row.footprint)
            else:
                partition.cone.park(row.position, row.footprint)
                if row.asked:
                    partition.cone.ask_retry(row.position)
                if row.stopped:
                    partition.stopped.add(row.position)
                    partition.pause, partition.why = "stop", f"stopped at {row.message.type} {row.message.id}"
            partition.ids[row.position] = row.message.id
            if row.chain:
                place = Place(row.partition, row.position, row.chain)
                partition.places[row.position] = place
                places.append(place)
        return places

    async def reread(self, entry: Entry) -> Message:
        """The bytes of an event that gave them up for the payload limit."""
        if entry.message is None:
            await self._reread_some([entry])
        assert entry.message is not None
        return entry.message

    async def _reread_some(self, entries: Sequence[Entry]) -> None:
        """Bring the bytes of these events back, all in one go; of one partition."""
        found: dict[int, Message] = {}
        partition = entries[0].partition
        dead = [entry.position for entry in entries if entry.past is not None and entry.past.was_dead]
        if dead:
            found.update((row.position, row.message) for row in self._rows(partition, dead))
        positions = [entry.position for entry in entries if entry.position not in found]
        if positions:
            deliveries = await self._engine.transport.reread(partition.number, positions)
            found.update((delivery.position, delivery.message) for delivery in deliveries)
        for entry in entries:
            message = found.get(entry.position)
            if message is None:
                raise StoreError(
                    f"{entry.kind.type} {entry.id} at position {entry.position} is gone from the log", slug="log-gap"
                )
            if entry.message is None:  # else another of its handlers has read it meanwhile
                entry.message = message
                self._engine.payload_bytes += entry.size_bytes


def entry_event(entry: Entry) -> object:
    """The decoded event of an entry whose bytes are in memory."""
    assert entry.message is not None
    return entry.kind.codec.decode(entry.message.data)
