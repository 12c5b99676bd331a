"""The write side of an app's durable state: one queue of records, written in sequence inside the group commit.

The engine only appends (`post`); the writer calls `drain` at each commit, and what was drained comes back through
`on_synced` once the disk has it. So the loop never waits for a write, and what is durable is always a prefix of what
the engine said. Progress objects belong to `drain` alone: the loop never touches them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from commute.core.watermark import Done
from commute.database import Connection
from commute.errors import OwnershipLostError
from commute.ids import derived_id
from commute.store.progress import Progress
from commute.store.reading import attributes_text, read_children, read_dead
from commute.store.receipts import Answers, reply_to
from commute.store.records import (
    Asked,
    Buried,
    Child,
    DeadRow,
    Ended,
    Failed,
    Finished,
    Handled,
    Marked,
    Paused,
    Record,
    Relayed,
    Released,
    ReplyTo,
)
from commute.store.schema import COPIED, DEAD_AGAIN, DEAD_COLUMNS
from commute.transports.base import Message

R = TypeVar("R")


class Appender(Protocol):
    """A transport whose log lies in the same file: children are appended in the same transaction."""

    def publish_rows(self, connection: Connection, messages: Sequence[Message], stream: str | None) -> object: ...


class CommitWriter(Protocol):
    """What the store needs of a database's `Writer`."""

    def submit(self, job: Callable[[Connection], R]) -> Future[R]: ...

    def attach(self, source: Callable[[Connection], Callable[[], None] | None]) -> None: ...

    def wake(self, *, urgent: bool = False) -> None: ...


_MAY_APPEND = frozenset((Ended, Handled, Released, Asked))  # records that may append children to the log


class Store:
    """The durable side of one engine session. `post` from the loop's thread; everything else happens in commits."""

    def __init__(
        self,
        writer: CommitWriter,
        scope: int,
        *,
        appender: Appender | None,
        check_epoch: Callable[[Connection], None] | None = None,
        blocks_apart: bool = False,
        copies: bool = False,
        answers: Answers | None = None,
    ) -> None:
        """`copies`: what is rejected or skipped is noted, so that the broker gets a copy (`runtime.copies`).
        `answers`: makes the receipts that producers ask for; None: their own store tells them."""
        self._writer = writer
        self.scope = scope
        self._appender = appender
        self._check_epoch = check_epoch
        self._blocks_apart = blocks_apart
        self._copies = copies
        self._answers = answers
        self._may_append = 0  # queued records so far that may append children, and those of them that are on disk
        self._may_append_synced = 0
        self._queue: deque[Record] = deque()
        self._written: list[Record] = []  # drained since the last sync
        self._progress: dict[int, Progress] = {}
        self._closed = False
        self._woken = False  # the writer knows that something is queued
        self._children_queued = False  # a queued record appends children to the log
        self.relay_wanted = False  # durable rows lie in the outbox that the relay must send
        self._relay_later = False  # such rows were written since the last sync
        self.on_synced: Callable[[list[Record]], None] = lambda batch: None
        writer.attach(self.source)

    # -- from the loop ------------------------------------------------------------------------------------------

    def post(self, record: Record) -> None:
        """Queue one record; it joins the next group commit. O(1), never blocks."""
        self._queue.append(record)
        kind = type(record)
        if kind is not Finished and kind in _MAY_APPEND:
            self._children_queued = True  # after the append: `drain`, which takes it back, then sees the record
            self._may_append += 1
        if not self._woken:
            self._woken = True
            self._writer.wake()

    def post_all(self, records: Sequence[Record]) -> None:
        """`post` for records of which none may become durable without the others; none of them has children."""
        self._queue.extend(records)  # one step, as the writer's thread sees it
        if not self._woken:
            self._woken = True
            self._writer.wake()

    def hurry(self) -> None:
        """Sync what was posted as soon as the disk can."""
        self._writer.wake(urgent=True)

    def open_partition(
        self, partition: int, watermark: int, admitted_max: int, blocks: Sequence[tuple[int, bytes]]
    ) -> Done:
        """Start a partition where it was left; returns the positions at or beyond the watermark that are settled."""
        done, seen = Done(), Done()
        for block, bits in blocks:
            done.load(block, bits)
            seen.load(block, bits)
        self._progress[partition] = Progress(partition, watermark, admitted_max, done)
        return seen

    def admitted(self, partition: int, position: int) -> None:
        """This position has been taken in: the watermark may not pass it until it is settled."""
        self._progress[partition].admitted.append(position)

    def close(self) -> None:
        """Nothing more is written, whatever is still queued (an orderly end syncs first)."""
        self._closed = True

    # -- inside a transaction -----------------------------------------------------------------------------------

    def source(self, connection: Connection) -> Callable[[], None] | None:
        may_append = self._may_append  # before the queue is looked at
        self.drain(connection)
        batch, for_relay = self._written, self._relay_later
        if not batch and not for_relay:
            return None
        self._written, self._relay_later = [], False

        def synced() -> None:
            # Not before: the relay would look in vain, and nobody would call it again.
            self.relay_wanted |= for_relay
            self._may_append_synced = may_append
            self.on_synced(batch)

        return synced

    def drain(self, connection: Connection) -> None:
        """Write everything queued; called at each commit, and before a block that appends children."""
        self._woken = False  # before the queue is looked at: what is posted from now on wakes anew
        if self._closed:
            self._write_marks(connection)
            return
        if not (self._queue or any(p.admitted for p in self._progress.values())):
            return
        if self._check_epoch is not None:
            self._check_epoch(connection)
        queue, written, progress = self._queue, self._written, self._progress
        self._children_queued = False
        while queue:
            record = queue.popleft()
            written.append(record)
            if type(record) is Finished:
                progress[record.partition].settle(record.position)
            else:
                self._write(connection, record)
        for partition in progress.values():
            partition.take_admitted()
            if partition.touched:
                self._write_progress(connection, partition)

    def _write_marks(self, connection: Connection) -> None:
        """How far the intake had come when this session ended, and nothing else.

        Blocks of it may become durable with this commit, and the next life asks the inbox up to this mark alone.
        """
        for progress in self._progress.values():
            if progress.admitted:
                mark = progress.admitted_max
                while progress.admitted:
                    mark = max(mark, progress.admitted.popleft())
                connection.execute(
                    "INSERT INTO progress(scope, partition, watermark, admitted) VALUES(?,?,0,?) "
                    "ON CONFLICT(scope, partition) DO UPDATE SET admitted=excluded.admitted "
                    "WHERE progress.admitted < excluded.admitted",
                    (self.scope, progress.partition, mark),
                )

    def before_block(self, connection: Connection) -> None:
        """What must be in the log before a block's own children: those of the events it depends on."""
        self.check_epoch(connection)
        if self._children_queued and not self._blocks_apart:
            self.drain(connection)

    def before_unforeseen_block(self, connection: Connection) -> None:
        """`before_block` for blocks apart, of a handler in whose code none was seen: nobody has seen to it that what
        it depends on is durable before its effects are."""
        self.check_epoch(connection)
        self._sync()

    def end_block(self, connection: Connection, handled: Handled) -> None:
        """The end of a `ctx.transaction()` block: the inbox row and the children, in the block's transaction."""
        if self._closed:
            raise self._over()
        if not self._blocks_apart:
            self._write_handled(connection, handled)
            return
        if handled.children and not handled.chain and self._may_append_synced < self._may_append:
            self._sync()  # children leave by their numbers: those of the events it depends on must have theirs
        # An inbox row that is there makes the block fail: its effects had been committed already.
        self._insert_inbox(connection, handled, "")
        self._publish(connection, handled.partition, handled.position, handled.children, handled.chain)

    def _sync(self) -> None:
        self._writer.submit(lambda _connection: None).result()
        if self._closed:
            raise self._over()

    def _write_handled(self, connection: Connection, handled: Handled) -> None:
        self._insert_inbox(connection, handled)
        self._publish(connection, handled.partition, handled.position, handled.children, handled.chain)

    def check_epoch(self, connection: Connection) -> None:
        """Raise OwnershipLostError if another worker has taken the group, or if this session is over."""
        if self._closed:
            raise self._over()
        if self._check_epoch is not None:
            self._check_epoch(connection)

    def _over(self) -> OwnershipLostError:
        return OwnershipLostError("this worker has stopped; nothing more is written", slug="ownership-lost")

    # -- one record each ----------------------------------------------------------------------------------------

    def _write(self, connection: Connection, record: Record) -> None:
        match record:
            case Ended():
                self._write_ended(connection, record)
            case Buried():
                self._write_buried(connection, record)
            case Failed():
                connection.execute(
                    "INSERT INTO attempt(scope, partition, position, handler, failures, deaths, first_s, due_s, error) "
                    "VALUES(?,?,?,?,?,?,?,?,?) ON CONFLICT(scope, partition, position, handler) DO UPDATE SET "
                    "failures=excluded.failures, deaths=excluded.deaths, first_s=excluded.first_s, "
                    "due_s=excluded.due_s, error=excluded.error",
                    (self.scope, record.partition, record.position, record.handler, record.failures, record.deaths,
                     record.first_s, record.due_s, record.error),
                )  # fmt: skip
            case Handled():
                self._write_handled(connection, record)
            case Paused():
                connection.execute(
                    "INSERT INTO progress(scope, partition, watermark, admitted, paused, fingerprint) "
                    "VALUES(?,?,?,?,?,?) ON CONFLICT(scope, partition) DO UPDATE SET "
                    "paused=excluded.paused, fingerprint=excluded.fingerprint",
                    (self.scope, record.partition, *self._stands(record.partition), record.why, record.fingerprint),
                )
            case Released():
                self._release(connection, record)
            case Marked():
                pass
            case Relayed():
                connection.executemany("DELETE FROM outbox WHERE n=?", [(n,) for n in record.numbers])
            case Asked():
                self.do_as_asked(connection, record)
            case Finished():  # `drain` writes these itself
                raise AssertionError("Finished is written by drain")

    def _stands(self, partition: int) -> tuple[int, int]:
        progress = self._progress[partition]
        return progress.sort_out(), progress.admitted_max

    def _write_ended(self, connection: Connection, record: Ended) -> None:
        where = (self.scope, record.partition, record.position)
        if record.had_failures or record.was_dead:  # attempts may also be of a handler that ran beside the parked one
            connection.execute("DELETE FROM attempt WHERE scope=? AND partition=? AND position=?", where)
        if record.was_dead:
            connection.execute("DELETE FROM dead WHERE scope=? AND partition=? AND position=?", where)
        else:
            self._progress[record.partition].settle(record.position)
        self._publish(connection, record.partition, record.position, record.children, record.chain)
        self._answer(connection, record.partition, record.position, record.reply_to, "processed", record.at_s)

    def _write_buried(self, connection: Connection, record: Buried) -> None:
        m = record.message
        connection.execute(
            f"INSERT INTO dead(scope, {DEAD_COLUMNS}) VALUES({','.join('?' * 21)}) "
            f"ON CONFLICT(scope, partition, position) DO UPDATE SET {DEAD_AGAIN}",
            (self.scope, record.partition, record.position, record.status, m.source, m.id, m.type, m.time_s, m.data,
             attributes_text(m.attributes), record.at_s, json.dumps(record.footprint), json.dumps(record.chain),
             json.dumps(record.handlers_done), record.handler, record.slug, record.reason, record.detail,
             record.attempts, int(record.stopped), ""),
        )  # fmt: skip
        connection.execute(
            "DELETE FROM attempt WHERE scope=? AND partition=? AND position=?",
            (self.scope, record.partition, record.position),
        )
        if record.status in COPIED:
            self._note_letter(connection, record.partition, record.position)
        if record.slug != "id-twice":  # that id is the first one's, and so is its receipt
            self._answer(connection, record.partition, record.position, reply_to(m), record.status, record.at_s,
                         record.reason, record.handlers_done)  # fmt: skip
        progress = self._progress[record.partition]
        progress.sort_out()
        if record.position not in progress.done and record.position >= progress.watermark.position:
            progress.settle(record.position)

    def do_as_asked(self, connection: Connection, record: Asked) -> str:
        """Do one retry, skip or drop in the running transaction; returns what was done, or ``refused: why``."""
        answer = record.refusal or apply_request(
            connection, self.scope, record.verb, record.partition, record.position, record.at_s, self._append_again,
            self._answer_given_up,
        )  # fmt: skip
        record.answers.append(answer)
        if answer in COPIED:
            self._note_letter(connection, record.partition, record.position)
        if record.number:
            connection.execute("UPDATE request SET answer=? WHERE n=?", (answer, record.number))
        return answer

    def _answer_given_up(self, connection: Connection, row: DeadRow, status: str, at_s: float) -> None:
        self._answer(connection, row.partition, row.position, reply_to(row.message), status, at_s, row.reason,
                     row.handlers_done)  # fmt: skip

    def _answer(
        self, connection: Connection, partition: int, position: int, to: ReplyTo | None, status: str, at_s: float,
        reason: str = "", done: Sequence[str] = (),
    ) -> None:  # fmt: skip
        if to is not None and self._answers is not None:
            child = self._answers.child(to, status, position, at_s, reason, done)
            self._publish(connection, partition, position, [] if child is None else [child], ())

    def _note_letter(self, connection: Connection, partition: int, position: int) -> None:
        if self._copies:
            connection.execute(
                "INSERT INTO letter(scope, partition, position) VALUES(?,?,?) ON CONFLICT DO NOTHING",
                (self.scope, partition, position),
            )

    def _write_progress(self, connection: Connection, progress: Progress) -> None:
        where = (self.scope, progress.partition)
        below = progress.sort_out()
        for block in progress.done.drop_below(below):
            connection.execute("DELETE FROM done WHERE scope=? AND partition=? AND block=?", (*where, block))
        rows = [(*where, block, bits) for block, bits in progress.done.take_dirty().items()]
        if rows:
            connection.executemany(
                "INSERT INTO done(scope, partition, block, bits) VALUES(?,?,?,?) "
                "ON CONFLICT(scope, partition, block) DO UPDATE SET bits=excluded.bits",
                rows,
            )
        connection.execute(
            "INSERT INTO progress(scope, partition, watermark, admitted) VALUES(?,?,?,?) "
            "ON CONFLICT(scope, partition) DO UPDATE SET watermark=excluded.watermark, admitted=excluded.admitted",
            (*where, below, progress.admitted_max),
        )
        progress.touched = False

    # -- children -----------------------------------------------------------------------------------------------

    def _publish(
        self,
        connection: Connection,
        partition: int,
        position: int,
        children: Sequence[Child],
        chain: Sequence[str],
    ) -> None:
        if not children:
            return
        if self._appender is not None and not chain:
            for child in children:
                self._appender.publish_rows(connection, [child.message], child.to)
            return
        if not chain:
            self._relay_later = True
        for child in children:
            m = child.message
            connection.execute(
                "INSERT INTO outbox(scope, partition, position, chain, stream, source, id, type, time_s, data, "
                "attributes) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
                (self.scope, partition, position, json.dumps(chain) if chain else None, child.to, m.source, m.id,
                 m.type, m.time_s, m.data, attributes_text(m.attributes)),
            )  # fmt: skip

    def _release(self, connection: Connection, record: Released) -> None:
        where = (self.scope, record.partition, record.position)
        if self._appender is None:
            # New numbers: the relay sends by number, and these leave after all that left before.
            connection.execute(
                "INSERT INTO outbox(scope, partition, position, chain, stream, source, id, type, time_s, data, "
                "attributes) SELECT scope, partition, position, NULL, stream, source, id, type, time_s, data, "
                "attributes FROM outbox WHERE scope=? AND partition=? AND position=? AND chain IS NOT NULL ORDER BY n",
                where,
            )
            connection.execute(
                "DELETE FROM outbox WHERE scope=? AND partition=? AND position=? AND chain IS NOT NULL", where
            )
            self._relay_later = True
            return
        for child in read_children(connection, *where):
            self._appender.publish_rows(connection, [child.message], child.to)
        connection.execute("DELETE FROM outbox WHERE scope=? AND partition=? AND position=?", where)

    def _append_again(self, connection: Connection, message: Message) -> None:
        self._publish(connection, 0, -1, [Child(message, None)], ())

    def _insert_inbox(self, connection: Connection, handled: Handled, conflict: str = "ON CONFLICT DO NOTHING") -> None:
        connection.execute(
            "INSERT INTO inbox(scope, source, id, handler, partition, position, at_s) VALUES(?,?,?,?,?,?,?) "
            f"{conflict}",
            (self.scope, handled.source, handled.id, handled.handler, handled.partition, handled.position,
             handled.at_s),
        )  # fmt: skip


def apply_request(
    connection: Connection,
    scope: int,
    verb: str,
    partition: int,
    position: int,
    at_s: float,
    append: Callable[[Connection, Message], None],
    given_up: Callable[[Connection, DeadRow, str, float], None],
) -> str:
    """Do one retry, skip or drop inside the running transaction; returns what was done, or ``refused: why``.

    A parked event that is retried stays where it is, marked: the engine replays it in its place. A skipped or
    rejected one is appended as a new event that names the old one as its cause.
    """
    rows = read_dead(connection, scope, "partition=? AND position=?", (partition, position))
    if not rows:
        return "refused: it is no dead letter any more"
    row = rows[0]
    where = (scope, partition, position)
    if row.status == "held":
        return "refused: it is held behind a parked event; act on that one"
    if verb == "retry" and row.status == "parked":
        connection.execute(
            "UPDATE dead SET asked='retry', stopped=0 WHERE scope=? AND partition=? AND position=?", where
        )
        return "retry"
    if verb == "retry":
        if row.status == "dropped":
            return "refused: it was dropped, its bytes are gone"
        if row.asked:
            return f"refused: it was sent again already, as {row.asked}"
        again = again_message(row.message, at_s)
        append(connection, again)
        connection.execute("UPDATE dead SET asked=? WHERE scope=? AND partition=? AND position=?", (again.id, *where))
        return f"sent again as {again.id}"
    if row.status == "parked":
        connection.execute("DELETE FROM attempt WHERE scope=? AND partition=? AND position=?", where)
    elif verb == "skip":
        return f"refused: it is {row.status} already"
    if row.status == "parked":  # others have had their outcome
        given_up(connection, row, "skipped" if verb == "skip" else "dropped", at_s)
    if verb == "skip":
        connection.execute(
            "UPDATE dead SET status='skipped', stopped=0, asked='', at_s=? "
            "WHERE scope=? AND partition=? AND position=?",
            (at_s, *where),
        )
        return "skipped"
    connection.execute(
        "UPDATE dead SET status='dropped', stopped=0, data=NULL, detail='', at_s=? "
        "WHERE scope=? AND partition=? AND position=?",
        (at_s, *where),
    )
    return "dropped"


def again_message(message: Message, at_s: float) -> Message:
    """The bytes of a dead letter as a new event: new identity, the old one as its cause."""
    attributes = dict(message.attributes or {})
    attributes.setdefault("correlationid", message.id)
    attributes["causationid"] = message.id
    identity = derived_id(at_s, message.source, message.id, "again")
    return Message(identity, message.source, message.type, at_s, message.data, attributes)
