"""Events in a list: the transport of tests, of demonstrations and of programs that need no durability.

It keeps the whole contract but durability: stable positions, identities, several groups, redelivery after a
new open.

Invariants: the position of an event is its index in the log plus one, for good; deliveries are made once,
when the message is sent, and shared by all groups.
"""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from commute.core.watermark import Watermark
from commute.transports.base import Delivery, Features, Message, Sent
from commute.transports.groups import GroupState


@dataclass(slots=True)
class _Log:
    """One stream."""

    floor: int = 0  # positions up to here have been dropped
    deliveries: list[Delivery] = field(default_factory=list)  # index i holds position floor + 1 + i
    stored_s: list[float] = field(default_factory=list)  # parallel to deliveries, ascending
    identities: dict[tuple[str, str], int] = field(default_factory=dict)  # (source, id) -> its first position
    watermarks: dict[str, int] = field(default_factory=dict)  # group -> its first unsettled position
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def last(self) -> int:
        return self.floor + len(self.deliveries)

    def at(self, first: int, last: int) -> list[Delivery]:
        return self.deliveries[max(first - self.floor - 1, 0) : max(last - self.floor, 0)]


class MemoryBroker:
    """The streams that several `MemoryTransport` of one process share. Threads may send; loops may differ."""

    def __init__(self) -> None:
        self.logs: dict[str, _Log] = {}
        self.lock = threading.Lock()

    def log(self, stream: str) -> _Log:
        """The stream of that name, made on first use."""
        return self.logs.setdefault(stream, _Log())


class MemoryTransport:
    """A stream in memory. `broker` is shared by those that are to see the same events (None: one of its own).
    ``retain_s``: how long settled events are kept, by the times given to `retain`; 0: not at all."""

    features = Features(
        name="memory",
        confirmed="in this process's memory",
        durable=False,
        stable_positions=True,
        rereads=True,
        multi_process=False,
        settles="outcome",
    )

    def __init__(
        self,
        broker: MemoryBroker | None = None,
        stream: str = "events",
        *,
        retain_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.broker = broker or MemoryBroker()
        self.stream = stream
        self._retain_s = retain_s
        self._clock = clock
        self._log = self.broker.log(stream)
        self._group: str | None = None
        self._cursor = 1  # the next position to be delivered
        self._watermark = Watermark(1)

    # -- the contract of base.Transport

    async def open(self, group: str | None, *, from_end: bool = False) -> None:
        """Take the group's place: its watermark; for a new one the oldest kept event, or the end."""
        assert self._group is None, "already open"
        if group is None:
            return
        log = self._log
        with self.broker.lock:
            start = log.watermarks.setdefault(group, (log.last if from_end else log.floor) + 1)
        self._group = group
        self._cursor = start
        self._watermark = Watermark(start)

    async def receive(self, limit: int) -> Sequence[Delivery]:
        assert limit > 0
        assert self._group is not None, "not open for a group"
        log = self._log
        while log.last < self._cursor:
            await self._wait_for_more()
        with self.broker.lock:
            deliveries = log.at(self._cursor, self._cursor + limit - 1)
        admit = self._watermark.admit
        for delivery in deliveries:
            admit(delivery.position)
        self._cursor += len(deliveries)
        return deliveries

    async def reread(self, partition: int, positions: Sequence[int]) -> Sequence[Delivery]:
        assert partition == 0
        with self.broker.lock:
            return [self._log.at(position, position)[0] for position in positions]

    def settle(self, handles: Sequence[object]) -> None:
        assert self._group is not None, "not open for a group"
        settle = self._watermark.settle
        for handle in handles:
            assert isinstance(handle, int)
            settle(handle)
        self._log.watermarks[self._group] = self._watermark.position

    async def send(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        return self.send_sync(messages, to=to)

    def send_sync(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        """Takes effect at once; `publish_rows` of a durable transport has the same use here."""
        log = self._log if to is None else self.broker.log(to)
        now_s = self._clock()
        with self.broker.lock:
            if log.stored_s:
                now_s = max(now_s, log.stored_s[-1])  # the clock may have been set back
            sent = [_append(log, message, now_s) for message in messages]
            waiting, log.waiting = log.waiting, []
        for future in waiting:
            _wake(future)
        return sent

    async def close(self) -> None:
        self._group = None

    # -- beyond the contract, as `SqliteTransport` has it

    def find(self, event_id: str, source: str | None = None) -> list[int]:
        """The positions of the events with that id, duplicates included, ascending. Looks through all."""
        with self.broker.lock:
            return [
                delivery.position
                for delivery in self._log.deliveries
                if delivery.message.id == event_id and source in (None, delivery.message.source)
            ]

    def read(self, position: int) -> Delivery | None:
        """The event at `position`; None where none is, or it has been dropped."""
        found = self.range(position, position)
        return found[0] if found else None

    def range(self, first: int, last: int) -> list[Delivery]:
        """The events from `first` to `last`, both included, as far as they are kept."""
        with self.broker.lock:
            return self._log.at(first, last)

    def last_position(self) -> int:
        """The highest position ever given in this stream; 0 before the first."""
        return self._log.last

    def groups(self) -> list[GroupState]:
        """All groups of this stream, by name."""
        marks = sorted(self._log.watermarks.items())
        return [GroupState(self.stream, group, watermark, self._log.last) for group, watermark in marks]

    async def drop_group(self, group: str) -> bool:
        """Forget the group and its place; False if there was none. A running worker of it must have ended."""
        return self._log.watermarks.pop(group, None) is not None

    async def retain(self, now_s: float) -> int:
        """How many events were dropped: those below every group's watermark that have been there for
        ``retain_s``. A stream without groups keeps all."""
        log = self._log
        with self.broker.lock:
            if not log.watermarks:
                return 0
            old = bisect_right(log.stored_s, now_s - self._retain_s)
            count = min(min(log.watermarks.values()) - 1 - log.floor, old)
            for delivery in log.deliveries[:count]:
                if delivery.duplicate_of is None:
                    del log.identities[delivery.message.source, delivery.message.id]
            del log.deliveries[:count], log.stored_s[:count]
            log.floor += count
        return count

    async def _wait_for_more(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self.broker.lock:
            if self._log.last >= self._cursor:
                return
            self._log.waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            with self.broker.lock:
                if future in self._log.waiting:  # or one who sends has just taken it out
                    self._log.waiting.remove(future)
            raise


def _append(log: _Log, message: Message, now_s: float) -> Sent:
    position = log.last + 1
    identity = (message.source, message.id)
    first = log.identities.setdefault(identity, position)
    duplicate_of = None
    if first != position:
        known = log.deliveries[first - log.floor - 1].message
        if (known.type, known.data) == (message.type, message.data):
            return Sent(first, first)
        duplicate_of = first
    log.deliveries.append(Delivery(0, position, message, position, duplicate_of))
    log.stored_s.append(now_s)
    return Sent(position, duplicate_of)


def _wake(future: asyncio.Future[None]) -> None:
    def resolve() -> None:
        if not future.done():
            future.set_result(None)

    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(resolve)
