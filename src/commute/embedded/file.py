"""One broker file as one process sees it: opened once, whoever asks, with its one writer.

SQLite's locks belong to a process, not to a connection, and two writing connections of one process would
only wait for each other; so a path has one `EmbeddedFile` per process, counted by its users.

Invariants: a file is opened here or not at all; network file systems are refused, because their locks and
their shared memory cannot be trusted; a file that another SQLite in this process has open is refused (see
`guard`).

Source: sqlite.org/howtocorrupt.html, section 2.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import apsw

from commute.database import Announcing, Tenure
from commute.embedded import guard
from commute.embedded.database import connect_reader, read_error
from commute.embedded.inflight import InFlight, NoRecord
from commute.embedded.ownership import Ownership, is_owned, read_holder
from commute.embedded.writer import Writer
from commute.errors import StoreError, UsageError
from commute.limits import Limits

R = TypeVar("R")

_NETWORK_TYPES = frozenset(
    (
        *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "afs", "ncp", "ncpfs", "davfs"),
        *("ceph", "lustre", "glusterfs", "gpfs", "beegfs", "ocfs2", "gfs2", "orangefs"),
        *("vboxsf", "vmhgfs", "prl_fs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.davfs2"),
    )
)
_MOUNTS = Path("/proc/self/mountinfo")
_DEFAULTS = Limits()

_files: dict[str, EmbeddedFile] = {}
_files_lock = threading.Lock()
_inherited: list[EmbeddedFile] = []  # in a forked child: the parent's, kept so that nothing of them is closed


class EmbeddedFile(Announcing):
    """An open broker file. Made by `open`; every `open` needs its `close`.

    `path` is absolute with links resolved, None for a private database in memory. `writer` is the one
    `Writer`.
    """

    blocks_apart = False

    def __init__(self, path: str | None, writer: Writer) -> None:
        """For `open` alone."""
        super().__init__()
        self.path = path
        self.writer = writer
        self._users = 1
        self._reader: apsw.Connection | None = None
        self._reader_lock = threading.Lock()
        self._readers: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        writer.attach(self.tell_listeners)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        commit_s_max: float = _DEFAULTS.commit_s_max,
        transaction_s_max: float = _DEFAULTS.transaction_s_max,
        busy_s_max: float = 30.0,
    ) -> EmbeddedFile:
        """The file at `path` (made if missing; None: in memory), shared with whoever has it open in this
        process; the limits of the first one hold. Blocks for some milliseconds of disk work.

        Raises UsageError (``no-directory``, ``two-sqlites``, ``network-file``) and StoreError
        (``database-…``).
        """
        if path is None:
            made = Writer(
                None,
                commit_s_max=commit_s_max,
                transaction_s_max=transaction_s_max,
                busy_s_max=busy_s_max,
            )
            return cls(None, made)
        real = os.path.realpath(path)
        with _files_lock:
            known = _files.get(real)
            if known is not None:
                known._users += 1
                return known
            check_place(real)
            guard.refuse_if_open_elsewhere(real)
            guard.protect(real)
            try:
                writer = Writer(
                    real,
                    commit_s_max=commit_s_max,
                    transaction_s_max=transaction_s_max,
                    busy_s_max=busy_s_max,
                )
            except BaseException:
                guard.unprotect(real)
                raise
            file = _files[real] = cls(real, writer)
        return file

    def schema(self, sql: str) -> None:
        """Run statements of the form ``CREATE … IF NOT EXISTS``, durably; blocks. Raises StoreError."""

        def job(connection: apsw.Connection) -> None:
            connection.execute(sql).fetchall()

        self.writer.submit(job).result()

    def reader(self) -> apsw.Connection:
        """A new connection that can only read; the caller closes it, at the latest the file's last `close`.
        In memory there is one connection only: the writing one, not to be closed."""
        if self.path is None:
            return self.writer.connection
        connection = connect_reader(self.path)
        self._readers.add(connection)
        return connection

    def definitions(self) -> list[str]:
        """The CREATE statements of all that is in the file."""
        return self.read(
            lambda c: [str(sql) for (sql,) in c.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL")]
        )

    def read(self, job: Callable[[apsw.Connection], R]) -> R:
        """What `job` returns, run on a connection that sees what is committed; in memory on the writing
        one. Blocks; thread-safe, one at a time. Raises StoreError where the storage fails."""
        if self.path is None:
            return self._read_in_memory(job)
        with self._reader_lock:
            if self._users == 0:
                raise StoreError(f"{self.path} is closed", slug="database-closed")
            if self._reader is None:
                self._reader = self.reader()
            try:
                return job(self._reader)
            except apsw.Error as error:
                raise read_error(error, self.path) from error

    def _read_in_memory(self, job: Callable[[apsw.Connection], R]) -> R:
        # Never by the writer's turn: the one who has it may be a coroutine of the very loop that reads here.
        loop = self.writer.loop_in_memory()
        if loop is None:
            return job(self.writer.connection)
        future: Future[R] = Future()  # the connection belongs to the loop's thread

        def read() -> None:
            try:
                future.set_result(job(self.writer.connection))
            except BaseException as error:  # noqa: BLE001 - it goes to the one who waits
                future.set_exception(error)

        loop.call_soon_threadsafe(read)
        return future.result()

    def data_version(self) -> int:
        """A number that differs from the last one when any connection has committed since. Blocks shortly."""
        return self.read(lambda connection: int(str(connection.execute("pragma data_version").fetchall()[0][0])))

    def ownership(self, name: str) -> Ownership:
        """The ownership of the group `name`, not yet taken."""
        return Ownership(self, name)

    def owner(self, name: str) -> tuple[int | None, str] | None:
        """(pid, host) of the process that runs the group `name` at this moment; None while none does."""
        path = self.side_path(name, "owner")
        return (read_holder(path) or (None, "")) if is_owned(path) else None

    def tenures(self, names: Sequence[str]) -> list[Tenure]:
        """Of each of these ownerships who had it last, and whether it is held."""
        paths = [self.side_path(name, "owner") for name in names]
        return [Tenure(now=is_owned(path), last=read_holder(path)) for path in paths]

    def record(self, name: str, slots_max: int) -> InFlight | NoRecord:
        """The record of what the worker of group `name` runs; in memory one that keeps nothing."""
        return NoRecord() if self.path is None else InFlight(self.side_path(name, "running"), slots_max)

    def side_path(self, name: str, suffix: str) -> str:
        """The path of a side file: ``FILE-NAME.SUFFIX``, the name percent-encoded. Never for memory."""
        assert self.path is not None, "a database in memory has no side files"
        return f"{self.path}-{quote(name, safe='')}.{suffix}"

    def close(self) -> None:
        """The last user's commits what is queued and closes, and blocks for that time; others' count down."""
        with _files_lock:
            assert self._users > 0, "closed more often than opened"
            self._users -= 1
            if self._users:
                return
            # In the registry until it is closed: who opens it now waits, instead of being a second writer.
            with self._reader_lock:
                self._reader = None
                for reader in list(self._readers):
                    with suppress(apsw.ThreadingViolationError):  # another thread still reads; it ends with that
                        reader.close(force=True)
            self.writer.close()
            if self.path is not None and _files.get(self.path) is self:  # not so in a forked child
                del _files[self.path]
                guard.unprotect(self.path)


def check_place(path: str) -> None:
    """Raise UsageError where no database may lie at `path`: its directory is missing, or is on a network."""
    parent = Path(path).parent
    if not parent.is_dir():
        raise UsageError(f"{path}: there is no directory {parent}; make it, or name another file", slug="no-directory")
    if Path(path).is_dir():
        raise UsageError(f"{path} is a directory; name a file in it", slug="no-directory")
    if _MOUNTS.exists():
        kind = mount_type(str(parent), _MOUNTS.read_text(errors="surrogateescape"))
        if kind in _NETWORK_TYPES:
            raise UsageError(
                f"{path} is on a network file system ({kind}), whose locks cannot be trusted; use a local disk",
                slug="network-file",
            )


def mount_type(path: str, mounts: str) -> str | None:
    """The file system type at `path`, a real path, by the text of ``/proc/self/mountinfo``; None if not
    found."""
    best, kind = "", None
    for line in mounts.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split()
        if not separator or len(fields) < 5:
            continue
        point = fields[4]
        for code, text in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            point = point.replace(code, text)
        # A later mount on the same point hides the earlier one.
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind


def _forget_parent() -> None:
    if _files_lock.locked():  # by another thread of the parent, which is not here to release it
        _files_lock.release()
    guard.forget_parent(inherited=bool(_files))
    _inherited.extend(_files.values())
    _files.clear()


os.register_at_fork(after_in_child=_forget_parent)
