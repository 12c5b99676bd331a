"""The read side of the store: what a start, a receipt, `status`, `explain` and `dead` want to know.

Every function takes a connection and reads what was last committed; nothing here writes but `open_scope`,
`forget` and `forget_letters`. Any process may use them beside a running worker.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from commute.core.footprint import Access, Footprint
from commute.database import Connection
from commute.store.receipts import TYPE as RECEIPT
from commute.store.records import AttemptRow, Child, DeadRow
from commute.store.schema import COPIED, DEAD_COLUMNS
from commute.transports.base import Message

FORGET_ROWS_MAX = 2_000  # rows that one pass of `forget` deletes: a write must stay short


@dataclass(slots=True)
class PartitionState:
    """How far one partition has come."""

    partition: int
    watermark: int
    admitted_max: int
    paused: str | None
    fingerprint: str
    blocks: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OutboxParent:
    """An event whose children wait in the outbox for their turn in a chain."""

    partition: int
    position: int
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    number: int
    child: Child


def attributes_text(attributes: Mapping[str, str] | None) -> str | None:
    return json.dumps(dict(attributes)) if attributes else None


def open_scope(connection: Connection, group: str, stream: str) -> int:
    """The number of this pair of group and stream, made if it is new. Writes."""
    connection.execute("INSERT INTO scope(grp, stream) VALUES(?,?) ON CONFLICT DO NOTHING", (group, stream))
    found = find_scope(connection, group, stream)
    assert found is not None
    return found


def find_scope(connection: Connection, group: str, stream: str) -> int | None:
    row = connection.execute("SELECT id FROM scope WHERE grp=? AND stream=?", (group, stream)).fetchone()
    return None if row is None else int(row[0])


def scopes(connection: Connection) -> list[tuple[int, str, str]]:
    """(number, group, stream) of every app that keeps its state here."""
    return list(connection.execute("SELECT id, grp, stream FROM scope ORDER BY grp, stream"))


def read_partitions(connection: Connection, scope: int) -> list[PartitionState]:
    states = {
        partition: PartitionState(partition, watermark, admitted, paused, fingerprint or "")
        for partition, watermark, admitted, paused, fingerprint in connection.execute(
            "SELECT partition, watermark, admitted, paused, fingerprint FROM progress WHERE scope=?", (scope,)
        )
    }
    for partition, block, bits in connection.execute("SELECT partition, block, bits FROM done WHERE scope=?", (scope,)):
        states[partition].blocks.append((block, bits))
    return list(states.values())


def read_dead(
    connection: Connection, scope: int, condition: str = "1=1", values: Sequence[object] = (), *, data: bool = True
) -> list[DeadRow]:
    """Dead letters by log position; without `data` their messages are empty of bytes. `condition` is our own SQL."""
    columns = DEAD_COLUMNS if data else DEAD_COLUMNS.replace(" data,", " NULL,")
    rows = connection.execute(
        f"SELECT {columns} FROM dead WHERE scope=? AND ({condition}) ORDER BY partition, position",
        (scope, *values),
    )
    return [_dead_row(row) for row in rows]


def _dead_row(row: tuple[Any, ...]) -> DeadRow:
    (partition, position, status, source, identity, type_, time_s, data, attributes, at_s, footprint, chain, done,
     handler, slug, reason, detail, attempts, stopped, asked) = row  # fmt: skip
    message = Message(
        str(identity), str(source), str(type_), float(time_s),
        bytes(data) if isinstance(data, bytes) else b"",
        json.loads(str(attributes)) if attributes is not None else None,
    )  # fmt: skip
    keys: Footprint = tuple(Access(key, mode) for key, mode in json.loads(str(footprint)))
    return DeadRow(
        partition=int(partition), position=int(position), status=status,
        message=message, at_s=float(at_s), footprint=keys, chain=json.loads(str(chain)),
        handlers_done=json.loads(str(done)), handler=str(handler), slug=str(slug), reason=str(reason),
        detail=str(detail), attempts=int(attempts), stopped=bool(stopped), asked=str(asked),
    )  # fmt: skip


def read_attempts(connection: Connection, scope: int) -> list[AttemptRow]:
    rows = connection.execute(
        "SELECT partition, position, handler, failures, deaths, first_s, due_s, error FROM attempt WHERE scope=?",
        (scope,),
    )
    return [AttemptRow(*row) for row in rows]


def read_handled(connection: Connection, scope: int, source: str, identity: str) -> list[str]:
    """The handlers whose effects for this event are committed already."""
    rows = connection.execute(
        "SELECT handler FROM inbox WHERE scope=? AND id=? AND source=?", (scope, identity, source)
    )
    return [str(handler) for (handler,) in rows]


def read_handled_beyond(connection: Connection, scope: int) -> Iterator[tuple[int, int, str]]:
    """(partition, position, handler) of all effects that are committed, from each partition's watermark on."""
    next_partition = "SELECT min(partition) FROM inbox WHERE scope=? AND partition>?"
    partition = -1
    while (found := connection.execute(next_partition, (scope, partition)).fetchall()[0][0]) is not None:
        partition = int(found)
        yield from connection.execute(
            "SELECT partition, position, handler FROM inbox WHERE scope=? AND partition=? AND position>="
            "COALESCE((SELECT watermark FROM progress WHERE scope=? AND partition=?), 0)",
            (scope, partition, scope, partition),
        )


def read_outbox_parents(connection: Connection, scope: int) -> list[OutboxParent]:
    """Events whose children wait for their turn, by log position."""
    rows = connection.execute(
        "SELECT DISTINCT partition, position, chain FROM outbox WHERE scope=? AND chain IS NOT NULL "
        "ORDER BY partition, position",
        (scope,),
    )
    return [OutboxParent(partition, position, tuple(json.loads(chain))) for partition, position, chain in rows]


def read_outbox(
    connection: Connection, scope: int, limit: int, *, receipts: bool = False, without: Sequence[str] = ()
) -> list[OutboxRow]:
    """The next children that the relay must send, in the sequence in which they were written; or the next receipts,
    `without` those for some streams."""
    marks = ",".join("?" * len(without))
    rows = connection.execute(
        "SELECT n, stream, source, id, type, time_s, data, attributes FROM outbox "
        f"WHERE scope=? AND chain IS NULL AND type{'=' if receipts else '<>'}? "
        f"{f'AND stream NOT IN ({marks}) ' if without else ''}ORDER BY n LIMIT ?",
        (scope, RECEIPT, *without, limit),
    )
    return [OutboxRow(n, _child(*columns)) for n, *columns in rows]


def read_children(connection: Connection, scope: int, partition: int, position: int) -> list[Child]:
    """The children of one event that lie in the outbox, in the sequence in which they were published."""
    rows = connection.execute(
        "SELECT stream, source, id, type, time_s, data, attributes FROM outbox "
        "WHERE scope=? AND partition=? AND position=? ORDER BY n",
        (scope, partition, position),
    ).fetchall()
    return [_child(*row) for row in rows]


def _child(stream: Any, source: Any, identity: Any, type_: Any, time_s: Any, data: Any, attributes: Any) -> Child:
    known = json.loads(attributes) if attributes is not None else None
    return Child(Message(identity, source, type_, time_s, data, known), stream)


def read_letters(connection: Connection, scope: int, limit: int) -> list[DeadRow]:
    """The next dead letters of which the broker is to have a copy, by log position."""
    return read_dead(
        connection, scope,
        "(partition, position) IN (SELECT l.partition, l.position FROM letter l JOIN dead d ON d.scope=l.scope "
        "AND d.partition=l.partition AND d.position=l.position WHERE l.scope=? AND d.status IN "
        f"{COPIED} ORDER BY l.partition, l.position LIMIT ?)", (scope, limit),
    )  # fmt: skip


def forget_letters(connection: Connection, scope: int, rows: Sequence[DeadRow]) -> None:
    """The broker has copies of these. Writes."""
    connection.executemany(
        "DELETE FROM letter WHERE scope=? AND partition=? AND position=?",
        [(scope, row.partition, row.position) for row in rows],
    )


def read_requests(connection: Connection, scope: int) -> list[tuple[int, str, int, int]]:
    """(number, verb, partition, position) of what people asked and nobody has answered."""
    return connection.execute(
        "SELECT n, verb, partition, position FROM request WHERE scope=? AND answer IS NULL ORDER BY n", (scope,)
    ).fetchall()


def count_dead(connection: Connection, scope: int) -> dict[str, int]:
    """How many dead letters there are, by status."""
    return dict(connection.execute("SELECT status, count(*) FROM dead WHERE scope=? GROUP BY status", (scope,)))


def forget(connection: Connection, scope: int, now_s: float, *, dedupe_s: float, retain_s: float) -> int:
    """Delete what has served its time; returns how many rows. Bounded: call again while it is not 0.

    Inbox rows stay until their event has its outcome, however old they are; parked and held events stay for good.
    """
    deleted = 0
    connection.execute(
        "DELETE FROM inbox WHERE n IN (SELECT i.n FROM inbox i WHERE i.scope=? AND i.at_s < ? "
        "AND i.position < (SELECT watermark FROM progress p WHERE p.scope=i.scope AND p.partition=i.partition) "
        "AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.scope=i.scope AND d.partition=i.partition "
        "AND d.position=i.position AND d.status IN ('parked','held')) ORDER BY i.n LIMIT ?)",
        (scope, now_s - dedupe_s, FORGET_ROWS_MAX),
    )
    deleted += connection.changes()
    connection.execute(
        "DELETE FROM dead WHERE scope=? AND (partition, position) IN (SELECT partition, position FROM dead "
        "WHERE scope=? AND at_s < ? AND status IN ('skipped','dropped','rejected') LIMIT ?)",
        (scope, scope, now_s - retain_s, FORGET_ROWS_MAX),
    )
    deleted += connection.changes()
    connection.execute(
        "DELETE FROM letter WHERE scope=? AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.scope=letter.scope "
        f"AND d.partition=letter.partition AND d.position=letter.position AND d.status IN {COPIED})",
        (scope,),
    )
    connection.execute(  # of producers whose streams have taken none all the while
        "DELETE FROM outbox WHERE scope=? AND type=? AND time_s < ?", (scope, RECEIPT, now_s - retain_s)
    )
    connection.execute("DELETE FROM request WHERE scope=? AND answer IS NOT NULL AND at_s < ?", (scope, now_s - 3600))
    return deleted
