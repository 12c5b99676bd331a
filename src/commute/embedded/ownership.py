"""Who runs a group on a broker file: an operating-system lock, and an epoch for those who have lost it.

The lock is ``flock(2)`` on the side file ``FILE-GROUP.owner``: free at the moment its holder dies, kept
while the holder is merely stopped, shared with forked children (a handler process that outlives its worker
keeps the group closed, since it may still act). No clock takes part. ``fcntl``/``lockf`` locks would vanish
with any closed descriptor of the file.

Invariants: the side file is never deleted, or two could lock two files of one name; each takeover raises
the epoch in the database, and every commit of an owner checks it (`check_epoch`), so one that believes to
own a group that was taken over commits nothing.

Source: flock(2); fencing tokens, Gray and Cheriton, "Leases", SOSP 1989, without the lease.
"""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING

from commute.database import Connection
from commute.errors import OwnershipLostError

if TYPE_CHECKING:
    from commute.embedded.file import EmbeddedFile

_SCHEMA = """
create table if not exists commute_owners (
    name text primary key, epoch integer not null, pid integer not null, host text not null
) without rowid
"""


class Ownership:
    """The ownership of one group on one file, as one process sees it; blocking calls, not for the event loop.

    Fork: a child shares the lock of its parent until both are gone; it must not call `release`. A program
    started by exec does not inherit it, unless it is handed `fileno`.
    """

    def __init__(self, file: EmbeddedFile, group: str) -> None:
        """`file` in memory: the group is always ours."""
        self.group = group
        self.epoch = 0  # ours, once taken; 0: not taken
        self._file = file
        self._fd: int | None = None

    def try_take(self) -> bool:
        """Whether the group is ours now. Never waits for the holder; durable when it returns True (a new
        epoch, so one sync). Raises StoreError."""
        if self.epoch:
            return True
        if self._file.path is not None and not self._lock(self._file.side_path(self.group, "owner")):
            return False
        try:
            self.epoch = self._file.writer.submit(self._raise_epoch).result()
        except BaseException:
            self._unlock()
            raise
        return True

    def holder(self) -> tuple[int, str] | None:
        """(pid, host) of the last one that took the group, as it wrote itself; None if nobody ever did."""
        if self._file.path is None:
            return (os.getpid(), socket.gethostname()) if self.epoch else None
        return read_holder(self._file.side_path(self.group, "owner"))

    def check_epoch(self, connection: Connection) -> None:
        """Nothing while the group is ours; else raises OwnershipLostError, and the transaction must not
        commit."""
        rows = connection.execute(
            "select epoch, pid, host from commute_owners where name = ?", (self.group,)
        ).fetchall()
        if not rows or rows[0][0] != self.epoch:
            who = f"pid {rows[0][1]} on {rows[0][2]}" if rows else "nobody (its record is gone)"
            raise OwnershipLostError(
                f"group {self.group} has been taken over by {who}; this worker stops and writes nothing more",
                slug="ownership-lost",
            )

    def fileno(self) -> int:
        """The descriptor that holds the lock, to be handed to a program that is started by exec."""
        assert self._fd is not None, "the group is not taken"
        return self._fd

    def release(self) -> None:
        """Give the group up; idempotent."""
        self.epoch = 0
        self._unlock()

    def _lock(self, path: str) -> bool:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        self._fd = fd
        return True

    def _unlock(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _raise_epoch(self, connection: Connection) -> int:
        connection.execute(_SCHEMA).fetchall()  # not before: whoever makes an ownership may be on an event loop
        rows = connection.execute(
            "insert into commute_owners (name, epoch, pid, host) values (?, 1, ?, ?) on conflict do update"
            " set epoch = epoch + 1, pid = excluded.pid, host = excluded.host returning epoch",
            (self.group, os.getpid(), socket.gethostname()),
        ).fetchall()
        return int(str(rows[0][0]))


def read_holder(path: str) -> tuple[int, str] | None:
    """(pid, host) of the last one that took the group whose owner's file lies at `path`; None if nobody ever did."""
    try:
        with open(path, encoding="utf-8", errors="replace") as side:  # noqa: PTH123
            pid, _, host = side.read(1000).strip().partition(" ")
    except FileNotFoundError:
        return None
    return (int(pid), host) if pid.isdecimal() else None


def is_owned(path: str) -> bool:
    """Whether a worker holds the group whose owner's file lies at `path`, this process's own worker included.

    Takes a shared lock for an instant: a worker that starts just then waits a quarter of a second longer.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
