"""The read side of the store: what a start, a receipt, `status`, `explain` and `dead` want to know.

Every function takes a connection and reads what was last committed; nothing here writes but `open_scope` and
`forget`. Any process may use them beside a running worker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from commute.core.footprint import Access, Footprint
from commute.store.records import AttemptRow, Child, DeadRow
from commute.store.schema import DEAD_COLUMNS
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


def open_scope(connection: apsw.Connection, group: str, stream: str) -> int:
    """The number of this pair of group and stream, made if it is new. Writes."""
    connection.execute("INSERT OR IGNORE INTO scope(grp, stream) VALUES(?,?)", (group, stream))
    found = find_scope(connection, group, stream)
    assert found is not None
    return found


def find_scope(connection: apsw.Connection, group: str, stream: str) -> int | None:
    row = connection.execute("SELECT id FROM scope WHERE grp=? AND stream=?", (group, stream)).fetchone()
    return None if row is None else int(row[0])


def scopes(connection: apsw.Connection) -> list[tuple[int, str, str]]:
    """(number, group, stream) of every app that keeps its state here."""
    return list(connection.execute("SELECT id, grp, stream FROM scope ORDER BY grp, stream"))


def read_partitions(connection: apsw.Connection, scope: int) -> list[PartitionState]:
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
    connection: apsw.Connection, scope: int, condition: str = "1", values: Sequence[object] = (), *, data: bool = True
) -> list[DeadRow]:
    """Dead letters by log position; without `data` their messages are empty of bytes. `condition` is our own SQL."""
    columns = DEAD_COLUMNS if data else DEAD_COLUMNS.replace(" data,", " X'',")
    rows = connection.execute(
        f"SELECT {columns} FROM dead WHERE scope=? AND ({condition}) ORDER BY partition, position",
        (scope, *values),
    )
    return [_dead_row(row) for row in rows]


def _dead_row(row: tuple[apsw.SQLiteValue, ...]) -> DeadRow:
    (partition, position, status, source, identity, type_, time_s, data, attributes, at_s, footprint, chain, done,
     handler, slug, reason, detail, attempts, stopped, asked) = row  # fmt: skip
    message = Message(
        str(identity), str(source), str(type_), float(time_s),  # type: ignore[arg-type]
        bytes(data) if isinstance(data, bytes) else b"",
        json.loads(str(attributes)) if attributes is not None else None,
    )  # fmt: skip
    keys: Footprint = tuple(Access(key, mode) for key, mode in json.loads(str(footprint)))
    return DeadRow(
        partition=int(partition), position=int(position), status=str(status),  # type: ignore[arg-type]
        message=message, at_s=float(at_s), footprint=keys, chain=json.loads(str(chain)),  # type: ignore[arg-type]
        handlers_done=json.loads(str(done)), handler=str(handler), slug=str(slug), reason=str(reason),
        detail=str(detail), attempts=int(attempts), stopped=bool(stopped), asked=str(asked),  # type: ignore[arg-type]
    )  # fmt: skip


def read_attempts(connection: apsw.Connection, scope: int) -> list[AttemptRow]:
    rows = connection.execute(
        "SELECT partition, position, handler, failures, deaths, first_s, due_s, error FROM attempt WHERE scope=?",
        (scope,),
    )
    return [AttemptRow(*row) for row in rows]


def read_handled(connection: apsw.Connection, scope: int, source: str, identity: str) -> list[str]:
    """The handlers whose effects for this event are committed already."""
    rows = connection.execute(
        "SELECT handler FROM inbox WHERE scope=? AND id=? AND source=?", (scope, identity, source)
    )
    return [str(handler) for (handler,) in rows]


def read_outbox_parents(connection: apsw.Connection, scope: int) -> list[OutboxParent]:
    """Events whose children wait for their turn, by log position."""
    rows = connection.execute(
        "SELECT DISTINCT partition, position, chain FROM outbox WHERE scope=? AND chain IS NOT NULL "
        "ORDER BY partition, position",
        (scope,),
    )
    return [OutboxParent(partition, position, tuple(json.loads(chain))) for partition, position, chain in rows]


def read_outbox(connection: apsw.Connection, scope: int, after: int, limit: int) -> list[OutboxRow]:
    """The next children after row `after` that the relay must send, in the sequence in which they were written."""
    rows = connection.execute(
        "SELECT n, stream, source, id, type, time_s, data, attributes FROM outbox "
        "WHERE scope=? AND chain IS NULL AND n > ? ORDER BY n LIMIT ?",
        (scope, after, limit),
    )
    return [OutboxRow(n, _child(*columns)) for n, *columns in rows]


def read_children(connection: apsw.Connection, scope: int, partition: int, position: int) -> list[Child]:
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


def read_requests(connection: apsw.Connection, scope: int) -> list[tuple[int, str, int, int]]:
    """(number, verb, partition, position) of what people asked and nobody has answered."""
    return connection.execute(  # type: ignore[return-value]
        "SELECT n, verb, partition, position FROM request WHERE scope=? AND answer IS NULL ORDER BY n", (scope,)
    ).fetchall()


def count_dead(connection: apsw.Connection, scope: int) -> dict[str, int]:
    """How many dead letters there are, by status."""
    return dict(connection.execute("SELECT status, count(*) FROM dead WHERE scope=? GROUP BY status", (scope,)))


def forget(connection: apsw.Connection, scope: int, now_s: float, *, dedupe_s: float, retain_s: float) -> int:
    """Delete what has served its time; returns how many rows. Bounded: call again while it is not 0.

    Inbox rows stay until their event has its outcome, however old they are; parked and held events stay for good.
    """
    deleted = 0
    connection.execute(
        "DELETE FROM inbox WHERE n IN (SELECT i.n FROM inbox i WHERE i.scope=?1 AND i.at_s < ?2 "
        "AND i.position < (SELECT watermark FROM progress p WHERE p.scope=?1 AND p.partition=i.partition) "
        "AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.scope=?1 AND d.partition=i.partition "
        "AND d.position=i.position AND d.status IN ('parked','held')) ORDER BY i.n LIMIT ?3)",
        (scope, now_s - dedupe_s, FORGET_ROWS_MAX),
    )
    deleted += connection.changes()
    connection.execute(
        "DELETE FROM dead WHERE rowid IN (SELECT rowid FROM dead WHERE scope=? AND at_s < ? "
        "AND status IN ('skipped','dropped','rejected') LIMIT ?)",
        (scope, now_s - retain_s, FORGET_ROWS_MAX),
    )
    deleted += connection.changes()
    connection.execute("DELETE FROM request WHERE scope=? AND answer IS NOT NULL AND at_s < ?", (scope, now_s - 3600))
    return deleted
