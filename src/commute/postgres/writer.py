"""Group commit on one PostgreSQL connection: many writers, one transaction, one sync.

The same contract as `embedded.writer`: jobs and sources are run in the transaction by a thread of its own, and what
follows a commit is called after it. Blocks are transactions of their own (`block`), so they wait for nobody here.

Invariants: nothing that left the writer can be lost; a failed commit, a lost connection, or a block of which nobody
knows whether it was committed, makes the writer refuse all work until `reset`: whoever listens throws away what was
not synced and begins from what is durable. A lost connection is made anew by the next commit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from commute.database import Before, Source
from commute.errors import CommuteError, NotReachableError, StoreError
from commute.postgres.block import AsyncBlock, Pool, SyncBlock
from commute.postgres.connection import Connection, Settings, client, explained

R = TypeVar("R")

_NEVER = float("inf")
PING_S = 2.0  # so often an idle connection is tried: with it, ownership is lost


class _Job:
    """A function in the queue, and the future that tells how it went."""

    def __init__(self, function: Callable[[Connection], Any], future: Future[Any]) -> None:
        self._function = function
        self._future = future
        self._error: BaseException | None = None
        self._result: Any = None

    def run(self, connection: Connection) -> None:
        """Run in a savepoint; an error of the function undoes it alone, one of the storage is raised."""
        if not self._future.set_running_or_notify_cancel():
            return
        # Two processes that make one stream at once, say: the second finds it there when it looks again.
        for last in (False, True):
            connection.execute("savepoint commute_job")
            try:
                self._result, self._error = self._function(connection), None
            except Exception as error:
                if connection.is_lost(error) or isinstance(error, StoreError):
                    raise
                connection.execute("rollback to savepoint commute_job")
                self._error = error
            connection.execute("release savepoint commute_job")
            if last or not isinstance(self._error, client().errors.UniqueViolation | client().errors.DuplicateTable):
                return

    def resolve(self, connection: Connection) -> None:
        if not self._future.running():
            return
        if isinstance(self._error, client().Error):
            self._future.set_exception(explained(self._error, connection.address))
        elif self._error is not None:
            self._future.set_exception(self._error)
        else:
            self._future.set_result(self._result)

    def refuse(self, error: BaseException) -> None:
        if self._future.running() or self._future.set_running_or_notify_cancel():
            self._future.set_exception(error)


class Writer:
    """Group commit; all methods are thread-safe. `name` is what messages call the database.

    Raises NotReachableError where it cannot connect.
    """

    def __init__(self, settings: Settings, *, commit_s_max: float, transactions_max: int) -> None:
        self.name = settings.address.shown
        self.failure: StoreError | None = None  # set: everything is refused until `reset`
        self.owners: dict[str, tuple[int, object]] = {}  # group -> (number of its connection, its Ownership)
        self.connections = 1  # made so far: what belongs to an earlier one is gone
        self._settings = settings
        self._commit_s_max = commit_s_max
        self._lock = threading.Lock()  # guards _jobs, _due_s and failure; held for an instant
        self._jobs: list[_Job] = []
        self._due_s = _NEVER
        self._sources: list[Source] = []
        self._listeners: list[Callable[[StoreError], None]] = []
        self._bell = threading.Event()
        self._closed: str | None = None
        self._closing = False
        self._connection: Connection | None = settings.connect()
        self._used_s = time.monotonic()
        self._pool = Pool(settings, transactions_max, self.fail)
        self._thread = threading.Thread(target=self._run, name="commute-writer", daemon=True)
        self._thread.start()

    # -- what others call

    def submit(self, job: Callable[[Connection], R]) -> Future[R]:
        """A future of what `job` returns, resolved after the commit that includes it."""
        future: Future[R] = Future()
        entry = _Job(job, future)
        with self._lock:
            closed = self._closed
            if closed is None:
                self._jobs.append(entry)
        if closed is not None:
            entry.refuse(self._closed_error(closed))
        else:
            self.wake(urgent=True)
        return future

    def attach(self, source: Source) -> None:
        """Call `source` inside each group transaction; what it returns is called after the commit."""
        self._sources.append(source)

    def detach(self, source: Source) -> None:
        self._sources.remove(source)

    def wake(self, *, urgent: bool = False) -> None:
        """A source has something to write: commit within ``commit_s_max``, or right away."""
        if self._due_s == 0.0 or (self._due_s != _NEVER and not urgent):
            return
        with self._lock:
            self._due_s = min(self._due_s, 0.0 if urgent else time.monotonic() + self._commit_s_max)
        self._bell.set()

    def on_failure(self, callback: Callable[[StoreError], None]) -> None:
        """Call `callback`, on any thread, when nothing since the last sync counts any more."""
        self._listeners.append(callback)

    def off_failure(self, callback: Callable[[StoreError], None]) -> None:
        self._listeners.remove(callback)
        if not self._listeners:
            self.reset()

    def reset(self) -> None:
        """Work again after a failure; the listeners have dropped what was not synced."""
        with self._lock:
            self.failure = None
        self.wake(urgent=True)

    def block(self, before: Before | None = None) -> AsyncBlock:
        """``async with writer.block() as block``: a transaction of its own, durable when it has been left."""
        return AsyncBlock(self._pool, before)

    def block_sync(self, before: Before | None = None) -> SyncBlock:
        """``with writer.block_sync() as block``, for threads."""
        return SyncBlock(self._pool, before)

    def fail(self, error: BaseException) -> StoreError:
        """Nothing since the last sync counts any more; returns why, for whoever raises it. Tells the listeners."""
        made = explained(error, self._settings.address)
        if not isinstance(made, StoreError):
            made = StoreError(str(made), slug=made.slug)
        with self._lock:
            news = self.failure is None
            if news and self._listeners:  # else there is no state to be dropped
                self.failure = made
        if news:
            for listener in tuple(self._listeners):
                listener(made)
        return made

    def close(self) -> None:
        """Commit what is queued and close; blocks the calling thread for that time. Idempotent."""
        if self._closed is None:
            self._closing = True
            self._bell.set()
            self._thread.join()
            self._pool.close()

    def leave_to_parent(self) -> None:
        """In a forked child: the connections are the parent's, and are neither used nor closed here."""
        self._closed = "open in the parent of this forked process; open it anew"

    # -- the writer's thread

    def _run(self) -> None:
        while True:
            self._bell.clear()
            closing = self._closing
            if closing or self._due_s <= time.monotonic():
                self._commit()
            elif self._listeners and self.failure is None and time.monotonic() - self._used_s > PING_S:
                self._ping()
            if closing:
                break
            self._bell.wait(min(PING_S, max(0.0, self._due_s - time.monotonic())))
        with self._lock:
            self._closed = "closed"
            late, self._jobs = self._jobs, []
        for job in late:
            job.refuse(self._closed_error("closed"))
        self._drop_connection()

    def _commit(self) -> None:
        with self._lock:
            jobs, self._jobs = self._jobs, []
            self._due_s = _NEVER
            failure = self.failure
        if failure is not None:
            for job in jobs:
                job.refuse(failure)
            return
        connection = self._connection
        try:
            connection = self._connected()
            connection.begin()
            for job in jobs:
                job.run(connection)
            afters = [after for source in tuple(self._sources) if (after := source(connection)) is not None]
            connection.commit()
        except Exception as error:  # noqa: BLE001 - whatever it was, everyone who waits is told
            if connection is not None:
                connection.roll_back()
                if connection.is_lost(error):
                    self._drop_connection()
            made = self.fail(error)
            for job in jobs:
                job.refuse(made)
            return
        self._used_s = time.monotonic()
        try:
            for after in afters:
                after()
        except Exception as error:  # noqa: BLE001 - the data are safe; whoever listens decides
            self.fail(error)
        for call in [partial(job.resolve, connection) for job in jobs]:
            call()

    def _ping(self) -> None:
        try:
            self._connected().execute("select 1")
            self._used_s = time.monotonic()
        except Exception as error:  # noqa: BLE001
            self._drop_connection()
            self.fail(error)

    def _connected(self) -> Connection:
        if self._connection is None:
            try:
                self._connection = self._settings.connect()
            except NotReachableError as error:
                raise StoreError(error.message, slug="database-connection") from None
            self.connections += 1
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _closed_error(self, why: str) -> CommuteError:
        return StoreError(f"{self.name} is {why}", slug="database-closed")
