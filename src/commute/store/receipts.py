"""Receipts that travel: what a worker tells a producer that reads no store of its, and where the producer keeps it.

    event with `replyto` ─▶ outcome, parked or held ─▶ a small event in the outbox, in the commit of that state
        ─▶ relay ─▶ the stream named there ─▶ the producer's store: for each event and group the latest state

Invariants: an outcome is never replaced, so a receipt that comes twice or late changes nothing; receipts go to streams
called ``….receipts`` only, or whoever may publish an event could have a worker write anywhere at the broker; the
producer's table holds `receipts_max` rows, and drops the oldest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from commute.database import Connection
from commute.ids import derived_id
from commute.store.records import Child, ReplyTo
from commute.transports.base import Message

TYPE = "commute.receipt"
REPLY_TO = "replyto"  # attributes of an event: the stream, and whose receipt is wanted where several groups read it
REPLY_GROUP = "replygroup"
REASON_CHARACTERS_MAX = 1_000
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,190}\.receipts")
_STALE_ROWS = 100  # the oldest rows that are looked at, at least, whenever something comes


class Told(msgspec.Struct, frozen=True):
    """What a receipt says: where the event `id` stands with `group`. The names are those of its JSON."""

    id: str
    group: str
    status: str
    reason: str = ""
    position: int | None = None
    handlers: dict[str, str] = {}


def is_receipt_stream(name: str) -> bool:
    """Whether receipts may be sent to a stream of that name."""
    return _NAME.fullmatch(name) is not None


def reply_to(message: Message) -> ReplyTo | None:
    """Who wants to be told of this event; None: nobody, or at a place where no receipts go."""
    attributes = message.attributes
    if not attributes or (stream := attributes.get(REPLY_TO)) is None or not is_receipt_stream(stream):
        return None
    return ReplyTo(stream, attributes.get(REPLY_GROUP, ""), message.id, message.source, message.type)


@dataclass(frozen=True, slots=True)
class Answers:
    """Makes the receipts of one group. `source`: of the worker's events; `handlers_of`: those of a type."""

    group: str
    source: str
    handlers_of: Callable[[str], Sequence[str]]

    def child(
        self, to: ReplyTo, status: str, position: int, at_s: float, reason: str = "", done: Iterable[str] = ()
    ) -> Child | None:
        """The receipt; None where that of another group is wanted. `done`: handlers that have succeeded."""
        if to.group and to.group != self.group:
            return None
        handlers = dict.fromkeys(self.handlers_of(to.type), status) | dict.fromkeys(done, "processed")
        told = Told(to.id, self.group, status, reason[:REASON_CHARACTERS_MAX], position, handlers)
        identity = derived_id(at_s, to.source, to.id, self.group, status, str(at_s))
        attributes = {"partitionkey": to.id, "causationid": to.id}  # those of one event stay in sequence
        return Child(Message(identity, self.source, TYPE, at_s, msgspec.json.encode(told), attributes), to.stream)


def store_receipts(connection: Connection, messages: Sequence[Message], *, rows_max: int, since_s: float) -> int:
    """Keep what these receipts say, and forget the oldest, and those from before `since_s`; returns how many of the
    messages were none. Writes."""
    rows = []
    for message in messages:
        try:
            told = msgspec.json.decode(message.data, type=Told) if message.type == TYPE else None
        except msgspec.DecodeError:
            told = None
        if told is not None:
            handlers = msgspec.json.encode(told.handlers).decode()
            rows.append((told.id, told.group, told.status, told.reason, told.position, handlers, message.time_s))
    if not rows:
        return len(messages)
    connection.executemany(
        "INSERT INTO commute_receipt(id, grp, status, reason, position, handlers, at_s) VALUES(?,?,?,?,?,?,?) "
        "ON CONFLICT(id, grp) DO UPDATE SET status=excluded.status, reason=excluded.reason, "
        "position=excluded.position, handlers=excluded.handlers, at_s=excluded.at_s "
        "WHERE commute_receipt.status IN ('parked','held') "
        "AND (excluded.status NOT IN ('parked','held') OR excluded.at_s >= commute_receipt.at_s)",
        rows,
    )
    connection.execute("DELETE FROM commute_receipt WHERE n <= (SELECT max(n) FROM commute_receipt) - ?", (rows_max,))
    connection.execute(
        "DELETE FROM commute_receipt WHERE n IN (SELECT n FROM (SELECT n, at_s FROM commute_receipt ORDER BY n LIMIT ?)"
        " AS oldest WHERE at_s < ?)",
        (max(_STALE_ROWS, 2 * len(rows)), since_s),
    )
    return len(messages) - len(rows)


def read_receipt(connection: Connection, event_id: str, group: str) -> Told | None:
    """What is known of the event: as `group` has it, else as another group; None: nothing yet."""
    rows = connection.execute(
        "SELECT grp, status, reason, position, handlers FROM commute_receipt WHERE id=? ORDER BY grp<>?, grp LIMIT 1",
        (event_id, group),
    ).fetchall()
    if not rows:
        return None
    known, status, reason, position, handlers = rows[0]
    return Told(event_id, known, status, reason, position, msgspec.json.decode(handlers, type=dict[str, str]))
