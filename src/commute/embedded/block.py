"""One block of statements inside the group's transaction: a savepoint that the caller holds open for a
moment.

Many blocks share one transaction and one sync to disk; each can be undone alone. The body runs where the
caller is: on the event loop in the async form, on its thread in the other.

Invariants: a block holds the writer's turn from its begin to its end; what it wrote is gone when it raises,
when it stays open beyond ``transaction_s_max``, or when the group commit fails; statements that would end
the group's transaction are refused. A block that is overdue is taken back by the writer's thread between
two statements, so that others go on; the body learns of it at its next statement, at the latest at its end.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

import apsw

from commute.embedded.database import TAG
from commute.embedded.turn import LoopWaiter, ThreadWaiter
from commute.errors import StoreError, UsageError

if TYPE_CHECKING:
    from commute.embedded.writer import Writer

R = TypeVar("R")

_READ_PRAGMAS = frozenset(
    ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "data_version")
)
_ENDS_ALL = re.compile(r"\b(or|conflict)\s+rollback\b|\braise\s*\(\s*rollback\b", re.IGNORECASE)
_SAVEPOINT = f"savepoint commute_block {TAG}"
_ROLLBACK_TO = f"rollback to commute_block {TAG}"
_RELEASE = f"release commute_block {TAG}"


def allows(action: int, first: str | None, second: str | None) -> int:
    """The authorizer's verdict on one action of a statement inside a block: SQLITE_OK or SQLITE_DENY."""
    if action in (apsw.SQLITE_TRANSACTION, apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH):
        return apsw.SQLITE_DENY
    if action == apsw.SQLITE_SAVEPOINT and (second or "").startswith("commute_"):
        return apsw.SQLITE_DENY
    if action == apsw.SQLITE_PRAGMA and (first or "").lower() not in _READ_PRAGMAS:
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK


class Block:
    """What is open between the begin and the end of one block; made by `Writer.block` and
    `Writer.block_sync`.

    `changes` is the number of rows that the last statement inserted, updated or deleted. `commit` is the
    number of the group commit that the block belongs to (see `Writer.current_commit`).
    """

    __slots__ = (
        "_began_s", "_broken", "_guard", "_state", "_writer",
        "changes", "commit", "deadline_s", "owner", "thread",
    )  # fmt: skip

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._state: Literal["open", "broken", "overdue", "ended"] = "open"
        self._guard = threading.Lock()  # held while a statement runs, and while the block is being ended
        self._broken: StoreError | None = None
        self._began_s = time.monotonic()
        self.thread = threading.get_ident()
        self.owner: object = self.thread  # who would wait for itself in a second block
        self.deadline_s = self._began_s + writer.transaction_s_max
        self.commit = writer.current_commit
        self.changes = 0
        try:
            writer.connection.execute(_SAVEPOINT)
        except apsw.Error as error:
            raise writer.broken_by(error) or error from None

    @property
    def writer(self) -> Writer:
        """Whose block it is."""
        return self._writer

    @property
    def connection(self) -> apsw.Connection:
        """The writing connection, for code that must run several statements as one: from now on an overdue
        block is only undone at its end, not before. Such code must not wait."""
        with self._guard:
            self._require_open()
            self.deadline_s = float("inf")
        return self._writer.connection

    def execute(self, sql: str, params: apsw.Bindings = ()) -> list[tuple[apsw.SQLiteValue, ...]]:
        """The rows of the statement, as tuples; an empty list where it gives none. Any SQL but what would
        end the transaction. Raises apsw.Error for a wrong statement, StoreError where the storage fails."""
        connection = self._writer.connection
        with self._guard:
            self._require_open()
            if _ENDS_ALL.search(sql):
                raise _refused(sql)
            self._writer.guarded = True
            try:
                rows: list[tuple[apsw.SQLiteValue, ...]] = connection.execute(sql, params).fetchall()
                self.changes = connection.changes()
            except apsw.AuthError:
                raise _refused(sql) from None
            except apsw.Error as error:
                self._note(error)
                raise
            finally:
                self._writer.guarded = False
        return rows

    def at_end(self, job: Callable[[apsw.Connection], None]) -> None:
        """Run `job` as one statement of the block: it is not taken back in the middle of it."""
        with self._guard:
            self._require_open()
            try:
                job(self._writer.connection)
            except apsw.Error as error:
                self._note(error)
                raise

    def take_back(self) -> bool:
        """For the writer's thread: undo the block if it is overdue and between two statements; whether it
        did so."""
        if not self._guard.acquire(blocking=False):
            return False
        try:
            if self._state != "open" or time.monotonic() < self.deadline_s:
                return False
            self._state = "overdue"
            try:
                self._undo()
            except apsw.Error as error:
                self._broken = self._writer.broken_by(error)
            return True
        finally:
            self._guard.release()

    def end(self, failed: BaseException | None) -> None:
        """Keep or undo what was written and give the turn on. Raises StoreError where the block has not
        held."""
        writer = self._writer
        with self._guard:
            state, self._state = self._state, "ended"
            late = time.monotonic() - self._began_s > writer.transaction_s_max
            if state != "overdue":  # else the turn is no longer ours
                try:
                    if state == "open" and failed is None and not late:
                        writer.connection.execute(_RELEASE)
                    elif state == "open":
                        self._undo()
                except apsw.Error as error:
                    raise writer.broken_by(error) or error from None
                finally:
                    writer.leave(self)
        if failed is not None:
            return
        if self._broken is not None:
            raise self._broken
        if late:
            raise self._too_long()

    def _undo(self) -> None:
        self._writer.connection.execute(_ROLLBACK_TO)
        self._writer.connection.execute(_RELEASE)

    def _note(self, error: apsw.Error) -> None:
        broken = self._writer.broken_by(error)
        if broken is not None:
            self._state, self._broken = "broken", broken
            raise broken from error

    def _require_open(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._state == "overdue":
            raise self._too_long()
        if self._state != "open":
            raise UsageError("the block has ended: execute inside it", slug="block-ended")

    def _too_long(self) -> StoreError:
        return StoreError(
            f"the block was open for {time.monotonic() - self._began_s:.1f} s, longer than transaction_s_max "
            f"({self._writer.transaction_s_max:g} s), and was undone. Make slow calls before it",
            slug="transaction-too-long",
        )


class AsyncBlock:
    """``async with`` around one block."""

    __slots__ = ("_before", "_block", "_owner", "_writer")

    def __init__(self, writer: Writer, before: Callable[[apsw.Connection], None] | None = None) -> None:
        self._writer = writer
        self._before = before
        self._owner: object = None
        self._block: Block | None = None

    async def __aenter__(self) -> Block:
        writer = self._writer
        self._owner = asyncio.current_task()
        if not writer.turn.take():
            writer.refuse_nested(self._owner)
            waiter = LoopWaiter()
            if not writer.turn.line_up(waiter):
                await self._told(waiter)
        error = None
        if not writer.begin_at_once():
            waiter = LoopWaiter()
            writer.begin_for(waiter)
            await self._told(waiter)
            error = waiter.error
        self._block = block = writer.enter(error, self._before)
        block.owner = self._owner
        return block

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._block is not None
        self._block.end(error)

    async def _told(self, waiter: LoopWaiter) -> None:
        try:
            await waiter.future
        except asyncio.CancelledError:
            self._writer.turn.abandon(waiter)
            raise


class SyncBlock:
    """``with`` around one block; blocks the calling thread until its turn comes."""

    __slots__ = ("_before", "_block", "_writer")

    def __init__(self, writer: Writer, before: Callable[[apsw.Connection], None] | None = None) -> None:
        self._writer = writer
        self._before = before
        self._block: Block | None = None

    def __enter__(self) -> Block:
        writer = self._writer
        if not writer.turn.take():
            writer.refuse_nested(threading.get_ident())
            waiter = ThreadWaiter()
            if not writer.turn.line_up(waiter):
                self._wait(waiter)
        error = None
        if not writer.begin_at_once():
            waiter = ThreadWaiter()
            writer.begin_for(waiter)
            self._wait(waiter)
            error = waiter.error
        self._block = block = writer.enter(error, self._before)
        return block

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._block is not None
        self._block.end(error)

    def _wait(self, waiter: ThreadWaiter) -> None:
        try:
            waiter.wait()
        except BaseException:  # an interrupt by a signal, on the main thread
            self._writer.turn.abandon(waiter)
            raise


def _refused(sql: str) -> UsageError:
    return UsageError(
        f"not inside a block: {sql.strip()[:60]!r} would end or change the transaction that many share",
        slug="block-statement",
    )
