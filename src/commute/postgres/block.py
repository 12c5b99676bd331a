"""A block of users' statements: one transaction on a connection of its own, durable when it has been left.

    begin, epoch (other thread) → statements (where the caller is) → inbox row, children, commit (other thread)

Blocks of different events run side by side, as many as there are connections (``transactions_max``); the server syncs
them together. In the async form the statements are plain calls on the event loop, so bodies take turns there: one that
awaits inside keeps the others from blocking the loop behind a row that it has locked.

Invariants: the fence is held and the epoch has been checked before the first statement, so a takeover waits until the
block has ended or finds that it never will; what was written is gone when the block raises; when a connection is lost
while a commit is on its way, nobody knows how it ended, and the whole session is thrown away.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any

from commute.database import Before
from commute.database import Connection as AnyConnection
from commute.errors import NotReachableError, StoreError, UsageError
from commute.postgres.connection import Connection, Settings, client, explained
from commute.postgres.sql import ends_transaction, with_marks


class Pool:
    """Connections for blocks: made when they are needed, `size` at most, and whoever finds none waits in line."""

    def __init__(self, settings: Settings, size: int, fail: Callable[[BaseException], StoreError]) -> None:
        self.settings = settings
        self.fail = fail
        # A block has a connection before it needs a thread, so there is always one.
        self.threads = ThreadPoolExecutor(size, thread_name_prefix="commute-block")
        self.turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()
        self.inside: set[object] = set()  # threads and asyncio tasks with an open block
        self._lock = threading.Lock()
        self._left = size
        self._free: list[Connection] = []
        self._line: deque[Future[Connection | None]] = deque()

    def take(self) -> Future[Connection | None]:
        """A connection, or None for the right to make one; resolved when it is the caller's."""
        future: Future[Connection | None] = Future()
        with self._lock:
            if self._free:
                future.set_result(self._free.pop())
            elif self._left:
                self._left -= 1
                future.set_result(None)
            else:
                self._line.append(future)
        return future

    def give_back(self, connection: Connection | None) -> None:
        """`connection`: None where it is lost."""
        with self._lock:
            while self._line:
                waiting = self._line.popleft()
                if waiting.set_running_or_notify_cancel():
                    waiting.set_result(connection)
                    return
            if connection is None:
                self._left += 1
            else:
                self._free.append(connection)

    def close(self) -> None:
        self.threads.shutdown()
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()


class Block:
    """What is open between begin and end. `changes`: rows that the last statement inserted, updated or deleted."""

    __slots__ = ("_at_end", "_began_s", "_connection", "_open", "_pool", "changes")

    def __init__(self, pool: Pool, connection: Connection | None) -> None:
        self._pool = pool
        self._connection = connection
        self._at_end: list[Callable[[AnyConnection], None]] = []
        self._began_s = time.monotonic()
        self._open = False
        self.changes = 0

    @property
    def raw(self) -> Any:
        """psycopg's own connection, for whoever asks what its tables are. None when the block has ended."""
        return None if self._connection is None else self._connection.raw

    def begin(self, before: Before | None) -> Block:
        """Blocks for a way to the server and back. Where it raises, `abandon` has still to be called."""
        for fresh in (False, True):
            try:
                if self._connection is None:
                    fresh, self._connection = True, self._pool.settings.connect(block=True)
                self._connection.begin()
                if before is not None:
                    before(self._connection)
                break
            except (client().Error, NotReachableError) as error:
                lost = self._connection is None or self._connection.is_lost(error)
                if lost and not fresh:  # it had gone while it lay idle, and nothing has been done yet
                    self._drop()
                    continue
                raise (self._pool.fail(error) if lost else explained(error, self._pool.settings.address)) from error
        self._began_s = time.monotonic()
        self._open = True
        return self

    def execute(self, sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of the statement, as tuples; an empty list where it gives none. ``?`` and ``:name`` mark values.
        Any SQL but what would end the transaction. Raises psycopg.Error for a wrong statement, which undoes the block;
        StoreError where the storage fails."""
        if not self._open or self._connection is None:
            raise UsageError("the block has ended: execute inside it", slug="block-ended")
        if ends_transaction(sql):
            raise UsageError(
                f"not inside a block: {sql.strip()[:60]!r} would end its transaction", slug="block-statement"
            )
        try:
            self._connection._open_transaction()
            raw = self._connection.raw
            cursor = raw.execute(with_marks(sql), params) if params else raw.execute(sql.encode())
        except client().Error as error:
            state = str(getattr(error, "sqlstate", None) or "")
            if state in ("25P03", "57014"):
                raise self._too_long() from error
            if self._connection.is_lost(error):
                raise self._pool.fail(error) from error
            raise
        self.changes = max(cursor.rowcount, 0)
        return cursor.fetchall() if cursor.description is not None else []

    def at_end(self, job: Callable[[AnyConnection], None]) -> None:
        """Run `job` when the block ends, in its transaction, before the commit."""
        self._at_end.append(job)

    def end(self, failed: bool) -> None:
        """Commit or undo, and give the connection back. Blocks. Raises StoreError where the block has not held."""
        try:
            connection = self._connection
            if failed or connection is None:
                return
            if time.monotonic() - self._began_s > self._pool.settings.transaction_s_max:
                raise self._too_long()
            try:
                connection.end_with(self._at_end)
            except client().Error as error:
                if isinstance(error, client().errors.UniqueViolation) and error.diag.table_name == "inbox":
                    raise self._pool.fail(_done_already()) from error  # so the session must look again
                if getattr(error, "sqlstate", None) == "25P03":
                    raise self._too_long() from error
                if connection.is_lost(error):
                    raise self._pool.fail(error) from error
                raise explained(error, connection.address) from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Undo what is open, and give the connection back."""
        self._open = False
        if self._connection is not None:
            self._connection.roll_back()
            if self._connection.raw.closed:
                self._drop()
        connection, self._connection = self._connection, None
        self._pool.give_back(connection)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _too_long(self) -> StoreError:
        return StoreError(
            f"the block was open for {time.monotonic() - self._began_s:.1f} s, longer than transaction_s_max "
            f"({self._pool.settings.transaction_s_max:g} s), and was undone. Make slow calls before it",
            slug="transaction-too-long",
        )


def _done_already() -> StoreError:
    return StoreError(
        "the effects of this handler for this event had been committed already; this run is undone",
        slug="effects-twice",
    )


class AsyncBlock:
    """``async with`` around one block."""

    __slots__ = ("_before", "_block", "_owner", "_pool")

    def __init__(self, pool: Pool, before: Before | None = None) -> None:
        self._pool = pool
        self._before = before
        self._block: Block | None = None
        self._owner: object = None

    async def __aenter__(self) -> Block:
        pool, loop = self._pool, asyncio.get_running_loop()
        self._owner = asyncio.current_task()
        _refuse_nested(pool, self._owner)
        taken = pool.take()
        try:
            block = self._block = Block(pool, await asyncio.wrap_future(taken))
        except asyncio.CancelledError:
            if not taken.cancel() and not taken.cancelled():
                pool.give_back(taken.result())
            raise
        begun = loop.run_in_executor(pool.threads, block.begin, self._before)
        try:
            await asyncio.shield(begun)
            await self._turn().acquire()
        except BaseException:
            begun.add_done_callback(lambda done: _abandon(pool, block, done))
            raise
        pool.inside.add(self._owner)
        return block

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._block is not None
        self._pool.inside.discard(self._owner)
        self._turn().release()
        ended = asyncio.get_running_loop().run_in_executor(self._pool.threads, self._block.end, error is not None)
        while not ended.done():
            # A cancellation in between changes nothing any more: what is being committed counts as a late success.
            with suppress(asyncio.CancelledError):
                await asyncio.wait((ended,))
        ended.result()

    def _turn(self) -> asyncio.Lock:
        return self._pool.turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


class SyncBlock:
    """``with`` around one block; blocks the calling thread until a connection is free, and for each statement."""

    __slots__ = ("_before", "_block", "_pool")

    def __init__(self, pool: Pool, before: Before | None = None) -> None:
        self._pool = pool
        self._before = before
        self._block: Block | None = None

    def __enter__(self) -> Block:
        me = threading.get_ident()
        _refuse_nested(self._pool, me)
        block = self._block = Block(self._pool, self._pool.take().result())
        try:
            block.begin(self._before)
        except BaseException:
            block.abandon()
            raise
        self._pool.inside.add(me)
        return block

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._block is not None
        self._pool.inside.discard(threading.get_ident())
        self._block.end(error is not None)


def _refuse_nested(pool: Pool, owner: object) -> None:
    if owner in pool.inside:
        raise UsageError("a block is open on this thread: end it before the next begins", slug="block-inside")


def _abandon(pool: Pool, block: Block, begun: asyncio.Future[Block]) -> None:
    if not begun.cancelled():
        begun.exception()  # has been raised, or nobody waits for it
    pool.threads.submit(block.abandon)
