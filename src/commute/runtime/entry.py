"""One event inside the engine: what is kept while it waits, and what only the unlucky ones need.

    delivery → Entry (waits: message only) → Job(s) (ready, running) → outcome, parked or held

An `Entry` exists from admission until its record is durable. There may be tens of thousands, so the plain path has
no dict, no future and no coroutine per event; everything about failures lives in `Past`, made on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from commute.core.footprint import Footprint
from commute.core.schedule import Ticket
from commute.store.receipts import reply_to

if TYPE_CHECKING:
    from commute.runtime.kinds import Bound, Kind
    from commute.runtime.outbox import Place
    from commute.runtime.partition import Partition
    from commute.transports.base import Message


class Failures:
    """One handler's record on one event."""

    __slots__ = ("deaths", "due_s", "error", "exhausted", "failures", "first_s", "where")

    def __init__(self, failures: int = 0, deaths: int = 0, first_s: float = 0.0, error: str = "") -> None:
        self.failures = failures
        self.deaths = deaths
        self.first_s = first_s
        self.due_s = 0.0
        self.error = error
        self.where = ""  # of the last error: `` (file:line)``
        self.exhausted: str | None = None  # why there will be no further attempt


class Past:
    """What has happened to an event besides waiting: failures, finished handlers, a dead-letter row."""

    __slots__ = (
        "active",
        "committed",
        "detail",
        "done",
        "failures",
        "keys_freed",
        "parking",
        "started",
        "ticket",
        "was_dead",
        "written",
    )

    def __init__(self) -> None:
        self.done: set[str] = set()  # handlers that have succeeded; they are never run again
        self.started: set[str] = set()  # handlers begun in this life
        self.active = 0  # handlers running or waiting for a slot or a retry
        self.failures: dict[str, Failures] = {}
        self.committed = False  # a handler's effects went into a block of ours in this life
        self.detail = ""  # the last traceback
        self.was_dead = False  # it was replayed out of the dead letters
        self.keys_freed = False  # its ordered handlers have ended; only unordered ones still run
        self.parking = False  # it is to be parked as soon as bytes have been read: nothing of it starts any more
        self.ticket: Ticket[Entry] | None = None  # where handlers run beside the schedule: the ticket it has now
        self.written = False  # attempt rows lie in the store

    def of(self, handler: str) -> Failures:
        found = self.failures.get(handler)
        if found is None:
            found = self.failures[handler] = Failures()
        return found


class Entry:
    """An admitted event. Invariant: `message` is None only while its bytes were given up for the payload limit."""

    __slots__ = (
        "admitted_s",
        "after",
        "event",
        "handle",
        "id",
        "kind",
        "message",
        "partition",
        "past",
        "place",
        "position",
        "reply_to",
        "size_bytes",
    )

    def __init__(
        self, partition: Partition, position: int, message: Message, kind: Kind, handle: object, admitted_s: float
    ) -> None:
        self.partition = partition
        self.position = position
        self.message: Message | None = message
        self.id = message.id
        self.kind = kind
        self.handle = handle
        self.admitted_s = admitted_s
        self.after: tuple[int, ...] | None = None  # `Kind.after`, once it was needed; several handlers only
        self.size_bytes = len(message.data)
        self.event: object = None  # decoded, where it was decoded already
        self.past: Past | None = None
        self.reply_to = None if message.attributes is None else reply_to(message)  # who wants a receipt
        self.place: Place | None = None  # its place among those whose children leave in log sequence

    def remember(self) -> Past:
        past = self.past
        if past is None:
            past = self.past = Past()
        return past


class Job:
    """One handler to be run for one event. `seq` and `index` give the sequence among ready ones."""

    __slots__ = ("bound", "entry", "index", "probe", "seq", "ticket")

    def __init__(self, ticket: Ticket[Entry], bound: Bound, index: int) -> None:
        self.ticket = ticket
        self.entry = ticket.item
        self.seq = ticket.seq
        self.bound = bound
        self.index = index
        self.probe = False  # runs while its handler's breaker is open

    def __lt__(self, other: Job) -> bool:
        return (self.seq, self.index) < (other.seq, other.index)


class Placed:
    """A footprint together with the entry that waits for a place: what a paused partition keeps."""

    __slots__ = ("entry", "footprint")

    def __init__(self, entry: Entry, footprint: Footprint) -> None:
        self.entry = entry
        self.footprint = footprint
