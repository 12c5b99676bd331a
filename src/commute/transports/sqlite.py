"""Events in a SQLite file: the durable transport that needs no server.

A stream is a table; an event's position is its row number, counted from one without gaps, so that a reader
sees at once when a row is missing. A row carries a checksum, so that a flipped bit is found instead of
delivered. What a group has settled is one number, its watermark; what is settled beyond it is the engine's
to remember.

Invariants: ``last`` in commute_streams is the highest position ever given, also after the rows are gone;
rows up to ``floor`` have been deleted; an identity (source, id) has one row that is no duplicate; a
watermark never falls.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import apsw

from commute.core.watermark import Watermark
from commute.database import Connection, Database
from commute.embedded.database import read_error
from commute.limits import MIB
from commute.transports.base import Delivery, Features, Message, Sent
from commute.transports.groups import GroupState
from commute.transports.offers import Offers
from commute.transports.rows import (
    SCHEMA,
    Stream,
    count_within,
    damaged,
    find_positions,
    find_stream,
    group_checksum,
    make_stream,
    mark,
    move_stream,
    publish_rows,
    read_rows,
)

_AHEAD_ROWS = 500  # read at once: a change of threads costs as much as some hundred rows
_AHEAD_BYTES = 8 * MIB  # of those, so that large events are not piled up
_OFFERED_ROWS = 10_000  # that may wait in memory after `offer`; what is more is read when its turn comes
_DELETED_ROWS_MAX = 2_000  # per transaction of `retain`, so that nobody waits long for the writer


class SqliteTransport:
    """A stream in an embedded file. `stream` names it; ``poll_s`` is how often a waiting `receive` looks
    for events of other processes (those of this one wake it at once); ``retain_s`` how long settled events
    are kept. `clock` gives seconds since 1970. The file stays open after `close`: who opened it closes it.
    Raises StoreError."""

    features = Features(
        name="sqlite",
        confirmed="in the file, synced",
        durable=True,
        stable_positions=True,
        rereads=True,
        multi_process=True,
        settles="outcome",
    )

    def __init__(
        self,
        file: Database,
        stream: str = "events",
        *,
        poll_s: float = 0.02,
        retain_s: float = 7 * 86_400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        assert file.path is not None, "a database in memory has no second connection to read by: use MemoryTransport"
        self.file = file
        self.stream = stream
        self._poll_s = poll_s
        self._retain_s = retain_s
        self._clock = clock
        self._reading: _Reading | None = None
        file.schema(SCHEMA)

    # -- the contract of base.Transport

    async def open(self, group: str | None, *, from_end: bool = False) -> None:
        """Take the group's place: its watermark; for a new one the oldest kept event, or the end."""
        assert self._reading is None, "already open"
        if group is None:
            return
        found, watermark = await asyncio.wrap_future(
            self.file.writer.submit(partial(_join, stream=self.stream, group=group, from_end=from_end))
        )
        if not found.floor < watermark <= found.last + 1:
            raise damaged(
                self.stream,
                f"group {group} stands at {watermark}, outside {found.floor + 1}..{found.last + 1}",
            )
        self._reading = _Reading(self, group, found, watermark)

    async def receive(self, limit: int) -> Sequence[Delivery]:
        assert self._reading is not None, "not open for a group"
        return await self._reading.receive(limit)

    async def reread(self, partition: int, positions: Sequence[int]) -> Sequence[Delivery]:
        """One query per run of consecutive positions."""
        assert partition == 0
        if not positions:
            return []
        assert self._reading is not None, "not open for a group"
        return await self._reading.on_reader(partial(_reread, stream=self.stream, positions=positions))

    def settle(self, handles: Sequence[object]) -> None:
        assert self._reading is not None, "not open for a group"
        self._reading.settle(handles)

    async def send(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        if not messages:
            return []
        return await asyncio.wrap_future(self.file.writer.submit(self._publishing(messages, to)))

    def send_sync(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        if not messages:
            return []
        return self.file.writer.submit(self._publishing(messages, to)).result()

    async def close(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            await reading.close()

    # -- beyond the contract

    @property
    def unsettled(self) -> int:
        """Events from the open group's watermark up to the last one known; 0 where no group is open. O(1)."""
        return 0 if self._reading is None else self._reading.unsettled

    def publish_rows(
        self, connection: Connection, messages: Sequence[Message], stream: str | None = None
    ) -> list[Sent]:
        """`send` inside a transaction of the file's writer, as part of it: for a block, a job or a source."""
        name = stream or self.stream
        sent = publish_rows(connection, messages, name, now_s=self._clock())
        if self._reading is not None and name == self.stream:
            self._reading.saw(sent)
        self.file.announce(name)
        return sent

    def publish_offered(self, connection: Connection, messages: Sequence[Message]) -> list[Sent]:
        """`publish_rows` as a job of the writer that does nothing after it; `offer` follows, however the job ends."""
        sent = self.publish_rows(connection, messages)
        if (reading := self._reading) is not None:
            reading.offer_due = True
        return sent

    def offer(self, messages: Sequence[Message], sent: Sequence[Sent]) -> None:
        """These lie there now, synced: `receive` need not read them. On the writer's thread, in the sequence of
        storing; with nothing where nothing was stored."""
        if (reading := self._reading) is not None:
            reading.offer(messages, sent)

    def find(self, event_id: str, source: str | None = None) -> list[int]:
        """The positions of the events with that id, duplicates included, ascending. Blocks shortly."""
        return self.file.read(partial(find_positions, stream=self.stream, event_id=event_id, source=source))

    def read(self, position: int) -> Delivery | None:
        """The event at `position`; None where none is, or it has been deleted. Blocks shortly."""
        found = self.range(position, position)
        return found[0] if found else None

    def range(self, first: int, last: int) -> list[Delivery]:
        """The events from `first` to `last`, both included, as far as they are kept. Blocks."""
        return self.file.read(partial(read_rows, stream=self.stream, first=first, last=last))

    def last_position(self) -> int:
        """The highest position ever given in this stream; 0 before the first. Blocks shortly."""
        found = self.file.read(partial(find_stream, name=self.stream))
        return found.last if found else 0

    def groups(self) -> list[GroupState]:
        """All groups of this stream, by name. Blocks shortly."""
        return self.file.read(partial(_groups, stream=self.stream))

    async def drop_group(self, group: str) -> bool:
        """Forget the group and its place; False if there was none. A running worker of it must have ended."""
        return await asyncio.wrap_future(self.file.writer.submit(partial(_drop_group, stream=self.stream, group=group)))

    async def retain(self, now_s: float) -> int:
        """How many events were deleted: those below every group's watermark that have been stored for
        ``retain_s`` (to a minute). In small transactions; a stream without groups keeps all."""
        deleted = 0
        while True:
            job = partial(_delete_some, stream=self.stream, before_s=now_s - self._retain_s, now_s=now_s)
            count = await asyncio.wrap_future(self.file.writer.submit(job))
            deleted += count
            if count < _DELETED_ROWS_MAX:
                return deleted

    def _publishing(self, messages: Sequence[Message], to: str | None) -> Callable[[Connection], list[Sent]]:
        def job(connection: Connection) -> list[Sent]:
            try:
                return self.publish_rows(connection, messages, to)
            except apsw.Error as error:
                raise read_error(error, self.file.writer.name) from error

        return job


class _Reading:
    """A transport that is open for a group: its place, its reader thread, its watermark."""

    def __init__(self, transport: SqliteTransport, group: str, found: Stream, watermark: int) -> None:
        self._transport = transport
        self._group = group
        self._number = found.number
        self._cursor = watermark  # the next position that is not in `_ahead`
        self._last = found.last  # the highest position known here
        self._ahead: deque[Delivery] = deque()  # read, and not yet delivered
        self._offers = Offers(_OFFERED_ROWS, _AHEAD_BYTES)
        self._watermark = Watermark(watermark)
        self._settled = self._stored = watermark  # the watermark as it is, and as it is in the file
        self._loop = asyncio.get_running_loop()
        self._fetching: asyncio.Future[list[Delivery]] | None = None
        self._stir: asyncio.Future[None] | None = None  # a receive waits until it is resolved
        self._stirred = True  # there may be rows that nobody has offered; cleared before they are looked for
        self.offer_due = False  # what was stored is offered as soon as it is synced; the writer's thread's own
        self._connection = transport.file.reader()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commute-reader")
        self._unlisten = transport.file.listen(transport.stream, self._sent_here)
        transport.file.writer.attach(self._write_watermark)

    @property
    def unsettled(self) -> int:
        return self._last - self._settled + 1

    def saw(self, sent: Sequence[Sent]) -> None:
        """These were stored by this process."""
        self._last = max([self._last, *[one.position for one in sent if one.position is not None]])

    async def receive(self, limit: int) -> list[Delivery]:
        assert limit > 0
        while not self._ahead:
            offered = self._offers.first()  # once: the writer's thread may put something there meanwhile
            if self._fetching is None and offered is not None and offered <= self._cursor:
                self._put_ahead(self._offers.take(self._cursor))
            elif self._fetching is not None or self._stirred or offered is not None:
                self._put_ahead(await self._fetch(max(limit, _AHEAD_ROWS), offered))
            else:
                await self._wait_for_more()
        ahead = self._ahead
        deliveries = [ahead.popleft() for _ in range(min(limit, len(ahead)))]
        self._watermark.admit(*[delivery.position for delivery in deliveries])
        return deliveries

    def _put_ahead(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self._ahead.extend(deliveries)
            self._cursor = deliveries[-1].position + 1

    async def _fetch(self, limit: int, offered: int | None) -> list[Delivery]:
        """The next rows of the file, below those that were offered; none where there are none yet."""
        if self._fetching is None:
            self._stirred = False
            rows = limit if offered is None else min(limit, offered - self._cursor)
            fetch = partial(self._read_ahead, first=self._cursor, limit=rows)
            self._fetching = asyncio.ensure_future(self.on_reader(fetch))
        # A cancelled receive leaves the fetch to the next one.
        await asyncio.wait((self._fetching,))
        fetching, self._fetching = self._fetching, None
        fetched = fetching.result()
        if fetched:
            self._stirred = True  # there may be more
        return fetched

    def _read_ahead(self, connection: Connection, first: int, limit: int) -> list[Delivery]:
        stream = self._transport.stream
        if self._transport.file.blocks_apart:  # a server sends all rows of a statement, however large
            limit = count_within(connection, stream, first, limit=limit, size_bytes_max=_AHEAD_BYTES)
        return read_rows(connection, stream, first, limit=limit, size_bytes_max=_AHEAD_BYTES)

    def settle(self, handles: Sequence[object]) -> None:
        self._watermark.settle(*cast("Sequence[int]", handles))
        if self._watermark.position != self._settled:
            self._settled = self._watermark.position
            self._transport.file.writer.wake()

    async def on_reader(self, job: Callable[[Connection], list[Delivery]]) -> list[Delivery]:
        try:
            return await self._loop.run_in_executor(self._thread, job, self._connection)
        except apsw.Error as error:
            raise read_error(error, self._transport.file.writer.name) from error

    async def close(self) -> None:
        writer = self._transport.file.writer
        self._unlisten()
        try:
            if self._settled != self._stored:
                await asyncio.wrap_future(writer.submit(lambda _connection: None))
        finally:
            writer.detach(self._write_watermark)
            if self._fetching is not None:
                await asyncio.gather(self._fetching, return_exceptions=True)
            self._thread.shutdown()
            self._connection.close()

    async def _wait_for_more(self) -> None:
        self._stir = self._loop.create_future()
        timer = self._loop.call_later(self._transport._poll_s, self._look)
        try:
            # Looked at when those who stir can see the future.
            if not self._stirred and self._offers.first() is None:
                await self._stir
        finally:
            timer.cancel()
            self._stir = None

    def _sent_here(self) -> None:
        """On the writer's thread, after a sync."""
        if not self.offer_due:  # else what comes next wakes the one who waits, and nothing has to be read
            self._stirred = True
            self._wake()

    def offer(self, messages: Sequence[Message], sent: Sequence[Sent]) -> None:
        self.offer_due = False
        first = sent[0].position if sent else None
        fresh = first is not None and all(one.duplicate_of is None for one in sent)
        if not fresh or first is None or not self._offers.put(messages, first):
            self._stirred = True
        self._wake()

    def _wake(self) -> None:
        if self._stir is not None:
            try:
                self._loop.call_soon_threadsafe(self._resolve)
            except RuntimeError:  # the loop was closed without closing us: nobody waits any more
                self._stir = None

    def _look(self) -> None:
        self._stirred = True
        self._resolve()

    def _resolve(self) -> None:
        if self._stir is not None and not self._stir.done():
            self._stir.set_result(None)

    def _write_watermark(self, connection: Connection) -> Callable[[], None] | None:
        target = self._settled
        if target == self._stored:
            return None
        connection.execute(
            "update commute_groups set watermark = ?, checksum = ? where stream = ? and name = ? and watermark < ?",
            (target, group_checksum(self._number, self._group, target), self._number, self._group, target),
        )

        def written() -> None:
            self._stored = target

        return written


def _join(connection: Connection, stream: str, group: str, from_end: bool) -> tuple[Stream, int]:
    """The stream and the group's watermark, both made if they are new."""
    found = make_stream(connection, stream)
    rows = connection.execute(
        "select watermark, checksum from commute_groups where stream = ? and name = ?", (found.number, group)
    ).fetchall()
    if rows:
        watermark = rows[0][0]
        if not isinstance(watermark, int) or rows[0][1] != group_checksum(found.number, group, watermark):
            raise damaged(stream, f"the place of group {group} is not what was stored")
        return found, watermark
    watermark = (found.last if from_end else found.floor) + 1
    connection.execute(
        "insert into commute_groups (stream, name, watermark, checksum) values (?, ?, ?, ?)",
        (found.number, group, watermark, group_checksum(found.number, group, watermark)),
    )
    return found, watermark


def _reread(connection: Connection, stream: str, positions: Sequence[int]) -> list[Delivery]:
    found: dict[int, Delivery] = {}
    ascending = sorted(set(positions))
    start = 0
    for index, position in enumerate(ascending):
        if index + 1 == len(ascending) or ascending[index + 1] != position + 1:
            for delivery in read_rows(connection, stream, ascending[start], last=position):
                found[delivery.position] = delivery
            start = index + 1
    return [found[position] for position in positions]


def _groups(connection: Connection, stream: str) -> list[GroupState]:
    rows = connection.execute(
        "select g.name, g.watermark, s.last from commute_groups g"
        " join commute_streams s on s.number = g.stream where s.name = ? order by g.name",
        (stream,),
    ).fetchall()
    return [GroupState(stream, str(name), int(str(mark)), int(str(last))) for name, mark, last in rows]


def _drop_group(connection: Connection, stream: str, group: str) -> bool:
    connection.execute(
        "delete from commute_groups where name = ? and stream = (select number from commute_streams where name = ?)",
        (group, stream),
    )
    return connection.changes() > 0


def _delete_some(connection: Connection, stream: str, before_s: float, now_s: float) -> int:
    found = find_stream(connection, stream, lock=True)
    if found is None:
        return 0
    mark(connection, found, now_s)
    rows = connection.execute(
        "select (select min(watermark) - 1 from commute_groups where stream = ?),"
        " (select max(position) from commute_marks where stream = ? and stored_s <= ?)",
        (found.number, found.number, before_s),
    ).fetchall()
    settled, old = rows[0]
    if not isinstance(settled, int) or not isinstance(old, int):
        return 0
    upto = min(settled, old, found.floor + _DELETED_ROWS_MAX)
    if upto <= found.floor:
        return 0
    connection.execute(f"delete from {found.table} where position <= ?", (upto,))
    move_stream(connection, found, last=found.last, floor=upto)
    connection.execute("delete from commute_marks where stream = ? and position < ?", (found.number, upto))
    return upto - found.floor
