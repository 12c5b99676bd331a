"""The rows of a stream in a SQLite file: how an event becomes a row, and how it is found again.

Plain functions on a connection, for the transport, for blocks that publish, and for tools that look. Many
rows go into one statement: each step of a statement lets other Python threads in, and costs a turn at the
interpreter's lock.

Invariants: see `sqlite`; every function that writes runs inside a transaction that somebody else commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias, cast
from zlib import crc32

import msgspec

from commute.database import Connection
from commute.errors import StoreError, UsageError
from commute.transports.base import Delivery, Message, Sent, part_name, part_number

SCHEMA = """
create table if not exists commute_streams (
    number integer primary key, name text not null unique,
    last integer not null, floor integer not null, checksum integer not null, marked_s real not null
);
create table if not exists commute_groups (
    stream integer not null, name text not null, watermark integer not null, checksum integer not null,
    primary key (stream, name)
) without rowid;
create table if not exists commute_marks (
    stream integer not null, position integer not null, stored_s real not null, primary key (stream, position)
) without rowid;
"""
EVERY = (1 << 63) - 1  # a limit that is none
# A mark says by when all rows up to a position had been stored; rows carry the producer's time only.
MARK_EVERY_S = 60.0

_STREAM_SCHEMA = """
create table commute_log_{n} (
    position integer primary key, id text not null, source text not null, type text not null,
    time_s real not null, data blob not null, attributes text, duplicate_of integer, checksum integer not null
);
create unique index commute_log_{n}_identity on commute_log_{n} (id, source) where duplicate_of is null;
create index commute_log_{n}_again on commute_log_{n} (id) where duplicate_of is not null;
"""
_COLUMNS = "position, id, source, type, time_s, data, attributes, duplicate_of, checksum"
_SHAPES = (500, 50, 5, 1)  # rows per statement; few shapes, so that all stay prepared

Value: TypeAlias = int | str | float | bytes | None
Row: TypeAlias = tuple[int, str, str, str, float, bytes, str | None, int | None, int]

_pack = msgspec.msgpack.Encoder().encode  # a fixed form of a row, for its checksum
_attributes = msgspec.json.Decoder(dict[str, str]).decode  # made once: that costs ten times as much as its use


@dataclass(frozen=True, slots=True)
class Stream:
    """A row of commute_streams: see the invariants of `sqlite`. `marked_s`: when the last mark was made."""

    name: str
    number: int
    last: int
    floor: int
    marked_s: float

    @property
    def table(self) -> str:
        return f"commute_log_{self.number}"


def find_stream(connection: Connection, name: str, *, lock: bool = False) -> Stream | None:
    """The stream called `name`; None if nothing was ever sent to it and no group reads it. `lock`: what is found
    stays so until the transaction ends, whoever else writes; for those who go on to `move_stream`."""
    # The update changes nothing, but lets no other writer in: SQLite has one, PostgreSQL has not.
    columns = "number, last, floor, marked_s, checksum"
    rows = connection.execute(
        f"update commute_streams set marked_s = marked_s where name = ? returning {columns}"
        if lock
        else f"select {columns} from commute_streams where name = ?",
        (name,),
    ).fetchall()
    if not rows:
        return None
    number, last, floor, marked_s, checksum = cast("tuple[int, int, int, float, int]", rows[0])
    if checksum != _stream_checksum(name, number, last, floor):
        raise damaged(name, "its first and last positions are not what was stored")
    return Stream(name, number, last, floor, marked_s)


def partition_logs(connection: Connection, stream: str) -> list[str]:
    """The names of the logs of a stream's partitions, as far as anything was stored, by number."""
    rows = connection.execute("select name from commute_streams").fetchall()
    numbers = sorted(number for (name,) in rows if (number := part_number(str(name), stream)) is not None)
    return [part_name(stream, number) for number in numbers]


def open_events(connection: Connection, stream: str, group: str) -> int:
    """Events of one log from the group's watermark on: the broker has not been told that they are settled."""
    rows = connection.execute(
        "select s.last - g.watermark + 1 from commute_groups g join commute_streams s on s.number = g.stream"
        " where s.name = ? and g.name = ?",
        (stream, group),
    ).fetchall()
    return int(rows[0][0]) if rows else 0


def make_stream(connection: Connection, name: str) -> Stream:
    """The stream called `name`, made if it is new, and locked."""
    found = find_stream(connection, name, lock=True)
    if found is not None:
        return found
    highest = connection.execute("select coalesce(max(number), 0) from commute_streams").fetchall()[0][0]
    number = cast("int", highest) + 1
    connection.execute(_STREAM_SCHEMA.format(n=number)).fetchall()
    connection.execute(
        "insert into commute_streams (number, name, last, floor, checksum, marked_s) values (?, ?, 0, 0, ?, 0)",
        (number, name, _stream_checksum(name, number, 0, 0)),
    )
    return Stream(name, number, 0, 0, 0.0)


def move_stream(connection: Connection, found: Stream, *, last: int, floor: int) -> None:
    """Store the highest position given, and the highest one deleted."""
    connection.execute(
        "update commute_streams set last = ?, floor = ?, checksum = ? where number = ?",
        (last, floor, _stream_checksum(found.name, found.number, last, floor), found.number),
    )


def publish_rows(connection: Connection, messages: Sequence[Message], stream: str, *, now_s: float) -> list[Sent]:
    """Where each message lies, once the surrounding transaction is committed; in the sequence of
    `messages`.

    An identity that is there already with the same type and data stores nothing; with others it is stored
    as a duplicate. Raises UsageError ``invalid-text`` for text that is not Unicode. About 5 µs per message.
    """
    found = make_stream(connection, stream)
    first = found.last + 1
    before = connection.total_changes()
    _insert(connection, found.table, _rows(first, messages, None), "on conflict do nothing")
    if connection.total_changes() - before == len(messages):
        last = found.last + len(messages)
        sent = [Sent(position) for position in range(first, last + 1)]
    else:
        connection.execute(f"delete from {found.table} where position >= ?", (first,))
        sent, last = _publish_one_by_one(connection, found, messages)
    move_stream(connection, found, last=last, floor=found.floor)
    mark(connection, found, now_s)
    return sent


def mark(connection: Connection, found: Stream, now_s: float) -> None:
    """Note, now and then, that all rows of `found` had been stored by `now_s`."""
    if abs(now_s - found.marked_s) < MARK_EVERY_S:  # the clock may have been set back
        return
    connection.execute(
        "insert into commute_marks (stream, position, stored_s) values (?, ?, ?)"
        " on conflict (stream, position) do update set stored_s = excluded.stored_s"
        " where excluded.stored_s < commute_marks.stored_s",
        (found.number, found.last, now_s),
    )
    connection.execute("update commute_streams set marked_s = ? where number = ?", (now_s, found.number))


def read_rows(
    connection: Connection,
    stream: str,
    first: int,
    *,
    last: int | None = None,
    limit: int = EVERY,
    size_bytes_max: int | None = None,
) -> list[Delivery]:
    """The events from position `first` on, ascending, as deliveries whose handle is the position; no more
    than reach `size_bytes_max` of data together. Raises StoreError ``database-damaged`` where a row is
    missing or is not what was stored."""
    with connection:  # one snapshot of both statements
        found = find_stream(connection, stream)
        if found is None:
            return []
        first = max(first, found.floor + 1)
        upto = found.last if last is None else min(last, found.last)
        cursor = connection.execute(
            f"select {_COLUMNS} from {found.table} where position between ? and ? order by position limit ?",
            (first, upto, limit),
        )
        try:
            deliveries = []
            size_bytes = 0
            for row in cursor:
                delivery = _delivery(cast("Row", row), stream)
                deliveries.append(delivery)
                size_bytes += len(delivery.message.data)
                if size_bytes_max is not None and size_bytes >= size_bytes_max:
                    upto = delivery.position
                    break
        except (TypeError, ValueError) as error:  # a column of another type, text that is none
            raise damaged(stream, f"an event from position {first} on cannot be read ({error})") from error
    kept = max(upto - first + 1, 0)
    expected = min(kept, limit)
    if len(deliveries) != expected or (deliveries and deliveries[-1].position != first + expected - 1):
        raise damaged(stream, f"{expected - len(deliveries)} events from position {first} on are missing")
    return deliveries


def count_within(connection: Connection, stream: str, first: int, *, limit: int, size_bytes_max: int) -> int:
    """How many of the next `limit` events from position `first` on have `size_bytes_max` of data together; at least
    one. For connections that give all rows of a statement at once, before `read_rows`."""
    found = find_stream(connection, stream)
    if found is None:
        return 1
    rows = connection.execute(
        "select count(*) from (select sum(length(data)) over (order by position) as total"
        f" from {found.table} where position >= ? order by position limit ?) as sizes where total <= ?",
        (first, limit, size_bytes_max),
    ).fetchall()
    return max(1, cast("int", rows[0][0]))


def find_positions(connection: Connection, stream: str, event_id: str, source: str | None) -> list[int]:
    """The positions of all events with that id (and source, where given), duplicates included, ascending."""
    found = find_stream(connection, stream)
    if found is None:
        return []
    rows = connection.execute(
        f"select position, source from {found.table} where id = ? and duplicate_of is null union all"
        f" select position, source from {found.table} where id = ? and duplicate_of is not null order by 1",
        (event_id, event_id),
    ).fetchall()
    return [cast("int", position) for position, its in rows if source is None or its == source]


def group_checksum(number: int, group: str, watermark: int) -> int:
    """What a row of commute_groups must carry: a flipped bit in a watermark would skip events in silence."""
    return crc32(f"{number}/{watermark}/{group}".encode())


def _stream_checksum(name: str, number: int, last: int, floor: int) -> int:
    # Both decide what is read: a flipped bit in them would hide events, or give positions twice.
    return crc32(f"{number}/{last}/{floor}/{name}".encode())


def damaged(stream: str, what: str) -> StoreError:
    return StoreError(f"stream {stream}: {what}; the file is damaged, restore it from a copy", slug="database-damaged")


def _publish_one_by_one(connection: Connection, found: Stream, messages: Sequence[Message]) -> tuple[list[Sent], int]:
    """The plain way, which finds duplicates; also the oracle of the fast one."""
    sent: list[Sent] = []
    last = found.last
    for message in messages:
        known = connection.execute(
            f"select position, type, data from {found.table} where id = ? and source = ? and duplicate_of is null",
            (message.id, message.source),
        ).fetchall()
        if not known:
            first = None
        else:
            first = cast("int", known[0][0])
            if known[0][1:] == (message.type, message.data):
                sent.append(Sent(first, first))
                continue
        last += 1
        _insert(connection, found.table, _rows(last, [message], first), "")
        sent.append(Sent(last, first))
    return sent, last


def _insert(connection: Connection, table: str, values: list[Value], conflict: str) -> None:
    """Insert rows given as one flat list, in few statements."""
    width = len(_COLUMNS.split(","))
    at = 0
    for shape in _SHAPES:
        size = width * shape
        if len(values) - at < size:
            continue
        places = ",".join(["(" + ",".join("?" * width) + ")"] * shape)
        statement = f"insert into {table} ({_COLUMNS}) values {places} {conflict}"
        while len(values) - at >= size:
            connection.execute(statement, values[at : at + size])
            at += size


def _rows(first: int, messages: Sequence[Message], duplicate_of: int | None) -> list[Value]:
    """The rows of `messages` from position `first` on, as one flat list of values."""
    flat: list[Value] = []
    try:
        for position, message in enumerate(messages, first):
            extra = message.attributes
            attributes = msgspec.json.encode(extra).decode() if extra else None
            time_s = float(message.time_s)  # what the column will give back, also for an int
            if not isfinite(time_s):
                raise UsageError(f"event {message.id!r} has the time {time_s}", slug="invalid-time")
            row = (
                position,
                message.id,
                message.source,
                message.type,
                time_s,
                message.data,
                attributes,
                duplicate_of,
            )
            flat += row
            flat.append(crc32(_pack(row)))
    except UnicodeEncodeError as error:
        raise UsageError(
            f"event {message.id!r} cannot be stored: its id, source, type or attributes are not Unicode text ({error})",
            slug="invalid-text",
        ) from None
    return flat


def _delivery(row: Row, stream: str) -> Delivery:
    # The position is under the checksum, so that a row in another row's place is found too.
    if row[8] != crc32(_pack(row[:8])):
        raise damaged(stream, f"the event at position {row[0]} is not what was stored")
    position, id_, source, type_, time_s, data, attributes, duplicate_of, _ = row
    extra = None if attributes is None else _attributes(attributes)
    return Delivery(0, position, Message(id_, source, type_, time_s, data, extra), position, duplicate_of)
