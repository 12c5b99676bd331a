"""A broker server's stream, written down before it is acknowledged: the log is the journal's, whatever the broker does.

    wire ── arrivals ──▶ journal: one commit for many, in the sequence of arrival ──▶ after the sync: ack to the broker
                              └▶ the engine reads the journal as it reads any log of the embedded store; what it has
                                 come up with is given to it from memory, after the sync

Brokers lose the sequence when they deliver again, forget who acknowledged what, or close a channel over a slow handler.
Here a delivery is owed to the broker for milliseconds only, however long its event waits, is retried or stays parked;
positions are stable, an identity that comes twice is found, and dead letters need no queue of their own.

Invariants: nothing is acknowledged that is not on disk; a file has one feeder per stream, chosen by an operating-system
lock, and others stand by; what is not yet journalled is bounded (`ahead_max` arrivals), and the journal's backlog too
(`journal_events_max`: then arrivals wait, unacknowledged, and the broker's own flow control holds the rest).

Source: the transactional inbox; "persist to the inbox in consumption order, then acknowledge".
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from commute.database import Connection, Database
from commute.errors import CommuteError, NotReachableError, StoreError, UsageError
from commute.transports.base import Delivery, Features, Message, Sent, Transport
from commute.transports.groups import GroupState
from commute.transports.wire import Arrival, Promises, Wire

LOGGER = logging.getLogger("commute")

AHEAD_MAX = 2_000  # arrivals that may be unacknowledged: some commits' worth
_STAND_BY_S = 0.25


class Fed(Protocol):
    """What a `Feeder` writes into: `publish_offered` in a commit, `offer` behind the sync."""

    stream: str

    @property
    def file(self) -> Database: ...
    @property
    def unsettled(self) -> int: ...
    def publish_offered(self, connection: Connection, messages: Sequence[Message]) -> list[Sent]: ...
    def offer(self, messages: Sequence[Message], sent: Sequence[Sent]) -> None: ...


class JournalLog(Fed, Transport, Protocol):
    """What holds the journal: the embedded store's own transport."""

    stream: str

    def find(self, event_id: str, source: str | None = None) -> list[int]: ...
    def read(self, position: int) -> Delivery | None: ...
    def range(self, first: int, last: int) -> list[Delivery]: ...
    def last_position(self) -> int: ...
    def groups(self) -> list[GroupState]: ...
    async def drop_group(self, group: str) -> bool: ...
    async def retain(self, now_s: float) -> int: ...


def journal_features(promises: Promises) -> Features:
    """What the journal makes of a broker's promises: positions, and bytes that can be read again."""
    return Features(
        name=promises.name,
        confirmed=promises.confirmed,
        durable=promises.durable,
        stable_positions=True,
        rereads=True,
        multi_process=True,
        settles="journal",
        ordered=promises.ordered,
        queued=promises.queued,
        tells_end=False,
        message_bytes_max=promises.message_bytes_max,
    )


class Journal:
    """The stream of one broker server as a `Transport`.

    `log`: where it is journalled. `feeds`: each makes a new, unconnected client; together they bring all of the stream.
    `outbound`: the connected client that sends,
    shared by all of a process. `reader`: the name under which the broker knows who reads, the same for all groups of a
    store, since the journal serves them all. `to`: where this one sends, if that is not the client's own stream.
    `claim`: raises where another store journals the stream; called before anything is consumed.
    """

    def __init__(
        self,
        log: JournalLog,
        *,
        feeds: Sequence[Callable[[], Wire]],
        outbound: Callable[[], Wire],
        promises: Promises,
        reader: str,
        journal_events_max: int,
        to: str | None = None,
        claim: Callable[[], None] = lambda: None,
    ) -> None:
        self.features = journal_features(promises)
        self.log = log
        self.stream = log.stream
        self._feeds = feeds
        self._outbound = outbound
        self._reader = reader
        self._journal_events_max = journal_events_max
        self._to = to
        self._claim = claim
        self._feeders: list[Feeder] = []
        self._standing_by: list[asyncio.Task[None]] = []

    # -- the contract of base.Transport

    async def open(self, group: str | None, *, from_end: bool = False) -> None:
        """Take the group's place in the journal, and begin to feed it, unless another process does.

        Raises NotReachableError where the broker does not answer, besides what the embedded store and `claim` raise.
        """
        if group is None:
            return
        await asyncio.to_thread(self._claim)
        await self.log.open(group, from_end=from_end)
        for number, make_wire in enumerate(self._feeds):
            feeder = Feeder(self.log, make_wire, self._reader, self._journal_events_max, number)
            self._feeders.append(feeder)
            if not await asyncio.to_thread(feeder.try_start, from_end):
                LOGGER.info("the journal of %s is fed by another worker; this one takes over when it ends", self.stream)
                self._standing_by.append(asyncio.create_task(self._stand_by(feeder), name="commute journal"))

    async def _stand_by(self, feeder: Feeder) -> None:
        while True:
            await asyncio.sleep(_STAND_BY_S)
            try:
                if await asyncio.to_thread(feeder.try_start, False):
                    return
            except CommuteError as error:
                LOGGER.warning("warning[%s] the journal of %s: %s", error.slug, self.stream, error)

    async def receive(self, limit: int) -> Sequence[Delivery]:
        return await self.log.receive(limit)

    async def reread(self, partition: int, positions: Sequence[int]) -> Sequence[Delivery]:
        return await self.log.reread(partition, positions)

    def settle(self, handles: Sequence[object]) -> None:
        self.log.settle(handles)
        for feeder in self._feeders:
            feeder.look_again()

    async def send(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        if not messages:
            return []
        wire = await asyncio.to_thread(self._outbound)
        await asyncio.wrap_future(wire.send(messages, to or self._to))
        return [Sent(None)] * len(messages)

    def send_sync(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        if not messages:
            return []
        self._outbound().send(messages, to or self._to).result()
        return [Sent(None)] * len(messages)

    async def close(self) -> None:
        standing_by, self._standing_by = self._standing_by, []
        feeders, self._feeders = self._feeders, []
        for waiting in standing_by:
            waiting.cancel()
        if standing_by:
            await asyncio.wait(standing_by)
        await asyncio.gather(*(asyncio.to_thread(feeder.close) for feeder in feeders))
        await self.log.close()

    # -- the journal, looked into

    def find(self, event_id: str, source: str | None = None) -> list[int]:
        """The positions of the events with that id; none where it has not arrived yet."""
        return self.log.find(event_id, source)

    def read(self, position: int) -> Delivery | None:
        """The event at `position`; None where none is."""
        return self.log.read(position)

    def range(self, first: int, last: int) -> list[Delivery]:
        """The events from `first` to `last`, both included, as far as they are kept."""
        return self.log.range(first, last)

    def last_position(self) -> int:
        """The highest position of the journal; 0 before the first."""
        return self.log.last_position()

    def groups(self) -> list[GroupState]:
        """All groups of the journal, by name."""
        return self.log.groups()

    async def drop_group(self, group: str) -> bool:
        """Forget the group and its place; False if there was none."""
        return await self.log.drop_group(group)

    async def retain(self, now_s: float) -> int:
        """How many settled events were deleted from the journal."""
        return await self.log.retain(now_s)


class Feeder:
    """From the wire into the journal, or into what else keeps it. `_arrived` is called by the wire's thread, `_stored`
    by the writer's."""

    def __init__(
        self, log: Fed, make_wire: Callable[[], Wire], reader: str, journal_events_max: int, number: int
    ) -> None:
        self._log = log
        self._make_wire = make_wire
        self._reader = reader
        self._journal_events_max = journal_events_max
        self._ownership = log.file.ownership(f"journal {log.stream}" + (f" {number}" if number else ""))
        self._wire: Wire | None = None
        self._changing = threading.Lock()  # a start and a close, each on a thread of its own, come one after the other
        # Held for instants, also over a submit: what waited must reach the writer before what comes after it.
        self._lock = threading.RLock()
        self._waiting: deque[Arrival] = deque()  # arrived while the journal was full
        self._writing = 0  # arrivals handed to the writer and not yet on disk
        self._full = False
        self._closed = False

    def try_start(self, from_end: bool) -> bool:
        """Connect and feed, unless another process feeds this journal. Blocks for seconds at most."""
        with self._changing:
            if self._closed or not self._ownership.try_take():
                return False
            wire = self._make_wire()
            try:
                wire.connect()
                self._wire = wire
                wire.consume(self._reader, self._arrived, ahead_max=AHEAD_MAX, from_end=from_end)
            except BaseException:
                self._wire = None
                wire.close()
                self._ownership.release()
                raise
            return True

    def look_again(self) -> None:
        """Something was settled: the journal may have room."""
        if self._full and self._log.unsettled + self._writing < self._journal_events_max:
            with self._lock:
                batch, self._full = list(self._waiting), False
                self._waiting.clear()
                self._write(batch)

    def close(self) -> None:
        """Acknowledge what is on disk, and disconnect; the rest comes again."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
        try:
            self._log.file.writer.submit(lambda _connection: None).result()  # what was handed over is acknowledged
        except StoreError as error:
            LOGGER.info("closing the journal of %s: %s", self._log.stream, error)
        with self._changing:
            wire, self._wire = self._wire, None
            if wire is not None:
                wire.close()
            self._ownership.release()

    def _arrived(self, batch: Sequence[Arrival]) -> None:
        with self._lock:
            if self._closed:
                return
            if not self._full and self._log.unsettled + self._writing >= self._journal_events_max:
                self._full = True
                LOGGER.warning(
                    "warning[journal-full] %d events of %s wait in the journal (journal_events_max): nothing more is "
                    "taken from the broker until handlers have done some",
                    self._log.unsettled, self._log.stream,
                )  # fmt: skip
            if self._full:
                self._waiting.extend(batch)
            else:
                self._write(batch)

    def _write(self, batch: Sequence[Arrival]) -> None:
        if not batch:
            return
        messages = _storable([arrival.message for arrival in batch])
        tokens = [arrival.token for arrival in batch]
        self._writing += len(batch)

        def write(connection: Connection) -> list[Sent]:
            self._ownership.check_epoch(connection)
            return self._log.publish_offered(connection, messages)

        future = self._log.file.writer.submit(write)
        future.add_done_callback(lambda done: self._stored(messages, tokens, done))

    def _stored(self, messages: Sequence[Message], tokens: Sequence[object], done: Future[list[Sent]]) -> None:
        with self._lock:
            self._writing -= len(tokens)
        wire = self._wire
        error = done.exception()
        self._log.offer(messages, done.result() if error is None else ())
        if error is None:
            if wire is not None:
                wire.ack(tokens)
            self.look_again()  # they may all have been there already, and then nothing will be settled
        elif isinstance(error, UsageError):
            LOGGER.error("error[%s] %d arrivals cannot be journalled: %s", error.slug, len(tokens), error)
        else:
            # The session ends with the same failure; its successor connects anew, and all of these come again.
            LOGGER.info("the journal of %s: %s", self._log.stream, error)


def _storable(messages: list[Message]) -> list[Message]:
    """The messages with text that any store takes: a foreign producer may have sent anything."""
    texts: list[str] = []
    for message in messages:
        texts += (message.id, message.source, message.type)
        if message.attributes:
            texts += message.attributes
            texts += message.attributes.values()
    text = "".join(texts)  # looked at once, since it is hardly ever not so
    return messages if text.isascii() and "\0" not in text else [_storable_one(message) for message in messages]


def _storable_one(message: Message) -> Message:
    texts = (
        message.id,
        message.source,
        message.type,
        *(message.attributes or {}),
        *(message.attributes or {}).values(),
    )
    try:
        storable = not any("\0" in text for text in texts if text.encode())
    except UnicodeEncodeError:
        storable = False
    if not storable:
        attributes = {_clean(k): _clean(v) for k, v in (message.attributes or {}).items()} or None
        return Message(
            _clean(message.id), _clean(message.source), _clean(message.type), message.time_s, message.data, attributes
        )
    return message


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class Outbound:
    """The one client of a process that sends; connected at its first use. Thread-safe."""

    def __init__(self, make_wire: Callable[[], Wire]) -> None:
        self._make_wire = make_wire
        self._wire: Wire | None = None
        self._closed = False
        self._lock = threading.Lock()

    def __call__(self) -> Wire:
        """The client, connected. Blocks at the first call. Raises NotReachableError."""
        with self._lock:
            if self._closed:
                raise NotReachableError("the connection to the broker was closed", slug="not-reachable")
            if self._wire is None:
                wire = self._make_wire()
                try:
                    wire.connect()
                except BaseException:
                    wire.close()
                    raise
                self._wire = wire
            return self._wire

    def close(self) -> None:
        """Disconnect; idempotent."""
        with self._lock:
            self._closed = True
            wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
