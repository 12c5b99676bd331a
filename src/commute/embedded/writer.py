"""The one writing connection of a process to a broker file: many writers, one transaction, one sync to
disk.

A sync costs more than a hundred small writes, so writes gather in one *group transaction* that a thread of
its own commits: at once when someone waits (`submit`), else within ``commit_s_max`` (`wake`). Three ways
lead into it: jobs (a function that is run inside), sources (called at each commit to write what they have
gathered) and blocks (a savepoint that the caller holds open, see `block`).

Invariants:
- The holder of the turn alone uses the connection; a commit runs with the turn held and no block open.
- Nothing that left the writer (a resolved future, a called-back source) can be lost: it happens after the
  sync.
- A failed commit, or a storage failure in between, undoes everything since the last sync; the writer then
  refuses all work until `reset`, so that nobody builds on what is gone.
- No transaction stays open beyond ``commit_s_max`` unless a block is running: whoever begins one wakes the
  writer.
- The event loop never syncs. With ``path=None`` (a private database in memory) there is no sync, and no
  thread.

Source: group commit, DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD
1984.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeAlias, TypeVar

import apsw

from commute.embedded.block import AsyncBlock, Block, SyncBlock, allows
from commute.embedded.database import TAG, connect_writer, store_error
from commute.embedded.inline import Inline
from commute.embedded.job import Job
from commute.embedded.neighbours import Neighbours
from commute.embedded.turn import State, Turn, Waiter
from commute.errors import CommuteError, StoreError, UsageError

R = TypeVar("R")
Source: TypeAlias = Callable[[apsw.Connection], Callable[[], None] | None]

_NEVER = float("inf")
_BUSY_LOOK_S_MAX = 0.002  # shorter than the gap that a busy neighbour leaves
_BEGIN, _COMMIT, _ROLLBACK = f"begin immediate {TAG}", f"commit {TAG}", f"rollback {TAG}"


_ALL: weakref.WeakSet[Writer] = weakref.WeakSet()
# Connections of the parent, in a forked child: closing them there could drop what the parent relies on.
_INHERITED: list[apsw.Connection] = []


def _leave_to_parent() -> None:
    for writer in list(_ALL):
        writer.leave_to_parent()


os.register_at_fork(after_in_child=_leave_to_parent)


class _Committer:
    """The writer's thread, as the line sees it: it is woken by the writer's bell."""

    __slots__ = ("_bell", "error", "state")

    def __init__(self, bell: threading.Event) -> None:
        self._bell = bell
        self.error: StoreError | None = None
        self.state: State = "waiting"

    def tell(self) -> bool:
        self._bell.set()
        return True


class Writer:
    """Group commit over one connection. All public methods are thread-safe unless they say otherwise.

    `path` None: a private database in memory, everything on the calling thread. ``commit_s_max`` bounds how
    long a write waits for others to join its sync, ``transaction_s_max`` how long one block may stay open,
    ``busy_s_max`` how long another process may hold SQLite's write lock (all in seconds). Raises StoreError
    when the file cannot be opened; see `connect_writer`.
    """

    def __init__(
        self, path: str | None, *, commit_s_max: float, transaction_s_max: float, busy_s_max: float = 30.0
    ) -> None:
        self.transaction_s_max = transaction_s_max
        self.name = path or "the database in memory"
        self.commits = 0  # successful syncs so far
        self.current_commit = 1  # number of the group transaction that now gathers; failed numbers are not used again
        self.failure: StoreError | None = None  # set: everything is refused until `reset`
        self.guarded = False  # a statement of a block is being prepared or run
        self.turn = Turn()
        self._commit_s_max = commit_s_max
        self._busy_s_max = busy_s_max
        self._lock = threading.Lock()  # guards _jobs and _due_s; held for an instant
        self._jobs: list[Job[Any]] = []
        self._due_s = _NEVER  # when the next commit begins (monotonic clock); 0: at once
        self._sources: list[Source] = []
        self._listeners: list[Callable[[StoreError], None]] = []
        self._news = False  # a failure that the listeners have not been told
        self._open: Block | None = None
        self._closed: str | None = None  # why nothing can be done any more
        self.connection = connect_writer(path)
        self.connection.authorizer = self._authorize
        _ALL.add(self)
        self._inline = Inline(self) if path is None else None
        self._bell = threading.Event()
        self._begin_for: Waiter | None = None  # holds the turn, and waits for this thread to begin
        self._closing = False
        self._neighbours: Neighbours | None = None
        if path is not None:
            self._neighbours = Neighbours(path)
            self._thread = threading.Thread(target=self._run, name="commute-writer", daemon=True)
            self._thread.start()

    # -- what others call

    def submit(self, job: Callable[[apsw.Connection], R]) -> Future[R]:
        """A future of what `job` returns, resolved after the sync that includes it. The job runs inside the
        next group transaction, in submit sequence, and must not end it. If it raises, its own writes alone
        are undone and the future has its exception; when the commit fails the future has the StoreError. A
        future that is cancelled before its job begins writes nothing."""
        future: Future[R] = Future()
        entry = Job(job, future)
        with self._lock:
            closed = self._closed
            if closed is None:
                self._jobs.append(entry)
        if closed is not None:
            entry.refuse(self._closed_error(closed))
        elif self._inline is not None:
            self._inline.commit()
        else:
            self.wake(urgent=True)
        return future

    def attach(self, source: Source) -> None:
        """Call `source` inside each group transaction, in attach sequence; what it returns is called after
        the sync. If the commit fails that is not called: the source must still have what it wrote. A source
        that raises fails the commit."""
        self._sources.append(source)

    def detach(self, source: Source) -> None:
        self._sources.remove(source)

    def wake(self, *, urgent: bool = False) -> None:
        """A source has something to write: commit within ``commit_s_max``, or right away."""
        if self._inline is not None:
            self._inline.arrange()
            return
        if self._due_s == 0.0 or (self._due_s != _NEVER and not urgent):
            return
        due_s = 0.0 if urgent else time.monotonic() + self._commit_s_max
        with self._lock:
            self._due_s = min(self._due_s, due_s)
        self._bell.set()

    def on_failure(self, callback: Callable[[StoreError], None]) -> None:
        """Call `callback` when nothing since the last sync counts any more: on the writer's thread (in
        memory: on the thread that commits). The writer refuses everything until `reset`; where nobody
        listens it resets itself, since there is no state to be dropped."""
        self._listeners.append(callback)

    def off_failure(self, callback: Callable[[StoreError], None]) -> None:
        """`callback` has dropped what it had, and hears of no failure any more; undoes `on_failure`."""
        self._listeners.remove(callback)
        if not self._listeners and self.failure is not None:
            self.reset()

    def reset(self) -> None:
        """Work again after a failure; the listeners have dropped what was not synced."""
        self.failure = None
        self.wake(urgent=True)

    def block(self, before: Callable[[apsw.Connection], None] | None = None) -> AsyncBlock:
        """``async with writer.block() as block``: see `Block`. One block at a time, first come first
        served."""
        return AsyncBlock(self, before)

    def block_sync(self, before: Callable[[apsw.Connection], None] | None = None) -> SyncBlock:
        """``with writer.block_sync() as block``, for threads."""
        return SyncBlock(self, before)

    def loop_in_memory(self) -> asyncio.AbstractEventLoop | None:
        """In memory: the running loop that uses the connection, if it is another thread's; else None."""
        return None if self._inline is None else self._inline.loop_elsewhere()

    def close(self) -> None:
        """Commit what is queued, if anything ever was, and close; blocks the calling thread for that time.
        Idempotent."""
        if self._inline is not None:
            if self._closed is None:
                self._inline.commit()
                self._closed = "closed"
                self.connection.close()
            return
        if self._closed is None:
            self._closing = True
            self._bell.set()
            self._thread.join()

    # -- what blocks call, holding the turn

    def begin_at_once(self) -> bool:
        """Whether the group transaction is open; False when another process holds the lock. Gives the turn
        back where it raises."""
        if self.failure is not None or self._closed is not None or self.connection.in_transaction:
            return True
        try:
            return self._begin()
        except apsw.Error as error:
            made = self.broken_by(error)
            self.turn.release()
            raise made or error from None

    def begin_for(self, waiter: Waiter) -> None:
        """Let the writer's thread begin, with patience; then it is the waiter's turn again."""
        self.turn.come_next(waiter)
        self._begin_for = waiter
        self._bell.set()

    def enter(self, error: StoreError | None, before: Callable[[apsw.Connection], None] | None = None) -> Block:
        """A block, once the transaction is open; `error`: why it is not. Gives the turn back where it
        raises. `before` writes in the group transaction, outside the block: it stays when the block is
        undone; a failure of it breaks the group."""
        try:
            if self._closed is not None:
                raise self._closed_error(self._closed)
            if error is not None or self.failure is not None:
                raise error or self.failure or AssertionError
            assert self.connection.in_transaction
            if before is not None:
                self._run_before(before)
            block = Block(self)
        except BaseException:
            self.wake()  # the transaction may have been opened for this block alone
            self._release()
            raise
        self._open = block
        # Also the only thing that tells the writer's thread to look after an overdue block.
        self.wake()
        return block

    def _run_before(self, before: Callable[[apsw.Connection], None]) -> None:
        try:
            before(self.connection)
        except CommuteError:
            raise
        except Exception as error:
            raise self._fail(error) from error

    def leave(self, block: Block) -> None:
        assert self._open is block
        self._open = None
        self._release()

    def broken_by(self, error: BaseException) -> StoreError | None:
        """The failure of the group if `error` is one (the storage failed, or the transaction is gone),
        noted."""
        if store_error(error, self.name) is None and self.connection.in_transaction:
            return None
        made = self._fail(error)
        if self._inline is None:
            self.wake(urgent=True)
        return made

    def refuse_nested(self, owner: object) -> None:
        """Raise UsageError where a second block of `owner` (a thread's number, or a coroutine's asyncio
        task) would wait for its first for ever."""
        block = self._open
        if block is not None and owner in (block.thread, block.owner):
            raise UsageError("a block is open on this thread: end it before the next begins", slug="block-inside")

    def leave_to_parent(self) -> None:
        """In a forked child: the connection is the parent's, and is neither used nor closed here."""
        self._closed = "open in the parent of this forked process; open it anew"
        _INHERITED.append(self.connection)

    # -- the group transaction

    def commit_group(self) -> list[Callable[[], None]]:
        """Run jobs and sources, sync; with the turn held. What is returned is to be called afterwards, in
        sequence; it never fails."""
        with self._lock:
            jobs, self._jobs = self._jobs, []
            self._due_s = _NEVER
        if self.failure is not None:
            self._roll_back(self.failure)
            return [partial(job.refuse, self.failure) for job in jobs]
        connection = self.connection
        try:
            self._begin_patiently()
            for job in jobs:
                job.run(connection, self.name)
            afters = [after for source in self._sources if (after := source(connection)) is not None]
            connection.execute(_COMMIT)
        except Exception as error:  # noqa: BLE001 - whatever it was, everyone who waits is told
            made = self._fail(error)
            return [*(partial(job.refuse, made) for job in jobs), self.tell_news]
        self.commits += 1
        self.current_commit += 1
        return [*(partial(self._call, after) for after in afters), *(job.resolve for job in jobs)]

    def _fail(self, error: BaseException) -> StoreError:
        made = store_error(error, self.name)
        if made is None:
            made = StoreError(f"{self.name}: the group commit failed: {error!r}", slug="commit-failed")
            made.__cause__ = error
        self._roll_back(made)
        self.failure = made
        self.current_commit += 1
        self._news = True
        return made

    def _roll_back(self, why: StoreError) -> None:
        try:
            if self.connection.in_transaction:
                self.connection.execute(_ROLLBACK)
        except apsw.Error as second:
            why.add_note(f"and the rollback failed: {second!r}")

    def tell_news(self) -> None:
        """Tell the listeners of a failure, once."""
        failure = self.failure
        if not self._news or failure is None:
            return
        self._news = False
        if not self._listeners:
            self.failure = None
        for listener in self._listeners:
            listener(failure)

    def _call(self, after: Callable[[], None]) -> None:
        try:
            after()
        except Exception as error:  # noqa: BLE001 - the data are safe; whoever listens decides
            self._fail_after(error)

    def _fail_after(self, error: Exception) -> None:
        made = StoreError(f"{self.name}: what follows a commit failed: {error!r}", slug="commit-failed")
        made.__cause__ = error
        self.failure = made
        self._news = True
        self.tell_news()

    def _begin(self) -> bool:
        try:
            self.connection.execute(_BEGIN)
        except apsw.BusyError:
            return False
        return True

    def _begin_patiently(self) -> None:
        """Open the group transaction, trying again with jitter while another process writes."""
        if self.connection.in_transaction or self._begin():
            return
        assert self._neighbours is not None, "a database in memory is never busy"
        until_s = time.monotonic() + self._busy_s_max
        try:
            while time.monotonic() < until_s:
                self._neighbours.stand_in_line()
                time.sleep(_BUSY_LOOK_S_MAX * (0.1 + 0.9 * random.random()))
                if self._begin():
                    return
        finally:
            self._neighbours.leave_line()
        raise StoreError(
            f"{self.name}: another process has held its write lock for {self._busy_s_max:g} s",
            slug="database-locked",
        )

    def _authorize(
        self, action: int, first: str | None, second: str | None, database: str | None, trigger: str | None
    ) -> int:
        return allows(action, first, second) if self.guarded else apsw.SQLITE_OK

    def _closed_error(self, why: str) -> StoreError:
        return StoreError(f"{self.name} is {why}", slug="database-closed")

    def _release(self) -> None:
        if self._inline is not None:
            self._inline.release()
        else:
            self.turn.release()

    # -- the writer's thread

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            # Without this thread nothing commits: nobody may wait for it, and the program must see why.
            with self._lock:
                self._closed = f"unusable, since its writer has died of {error!r},"
                jobs, self._jobs = self._jobs, []
            for job in jobs:
                job.refuse(self._closed_error(self._closed))
            self.turn.release()
            raise

    def _serve(self) -> None:
        committer: _Committer | None = None
        while True:
            self._bell.clear()
            self.tell_news()
            if self._begin_for is not None:
                waiter, self._begin_for = self._begin_for, None
                self._begin_with_patience_for(waiter)
            if committer is None and (self._due_s <= time.monotonic() or self._closing):
                committer = _Committer(self._bell)
                self.turn.line_up(committer)
            if committer is not None and committer.state == "granted":
                committer = None
                if self._closing:
                    self._finish()
                    return
                self._commit_and_release()
                continue
            self._look_after_open_block()
            self._bell.wait(self._pause_s(lined_up=committer is not None))

    def _pause_s(self, *, lined_up: bool) -> float | None:
        until_s = _NEVER if lined_up else self._due_s
        block = self._open
        if block is not None:
            until_s = min(until_s, block.deadline_s)
        if until_s == _NEVER:
            return None
        return max(0.0005, until_s - time.monotonic())

    def _look_after_open_block(self) -> None:
        block = self._open
        if block is not None and block.deadline_s <= time.monotonic() and block.take_back():
            self._open = None
            self.turn.release()

    def _begin_with_patience_for(self, waiter: Waiter) -> None:
        try:
            self._begin_patiently()
        except (StoreError, apsw.Error) as error:
            waiter.error = self._fail(error)
            self.tell_news()
        # Even if the waiter has gone: no transaction stays open.
        self.wake()
        self.turn.release()

    def _commit_and_release(self) -> None:
        afters = self.commit_group()
        assert self._neighbours is not None
        if self._neighbours.somebody_waits():
            for after in afters:
                after()
            self._neighbours.leave_gap()
            self.turn.release()
        else:
            self.turn.release()
            for after in afters:
                after()

    def _finish(self) -> None:
        # Opened only to read: no write lock is asked for. Whoever gathers state has committed once, or woken us.
        unused = not (self.commits or self._jobs or self.connection.in_transaction) and self._due_s == _NEVER
        afters = [] if unused else self.commit_group()
        with self._lock:
            self._closed = "closed"
            late, self._jobs = self._jobs, []
        for after in afters:
            after()
        for job in late:
            job.refuse(self._closed_error("closed"))
        self.connection.close()
        if self._neighbours is not None:
            self._neighbours.close()
        self.turn.release()
