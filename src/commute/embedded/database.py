"""Connections to the embedded database, opened with the settings that the durability promise rests on.

Every connection of the package to a broker file is made here, by one copy of SQLite. A file is recognised
before anything is changed in it: a database of another program is refused untouched.

Invariants: write-ahead log and ``synchronous=FULL``, so that a commit which returned survives a power cut;
only the writing connection checkpoints (readers are ``query_only`` and have automatic checkpoints off).

Source: sqlite.org/wal.html, sqlite.org/pragma.html.
"""

from __future__ import annotations

import os
import weakref

import apsw

from commute.errors import StoreError

APPLICATION_ID = 0x434D5554  # "CMUT" in ASCII; file(1) and SQLite show it
SCHEMA_VERSION = 1

# A comment that makes our own transaction statements texts of their own: the statement cache must not hand a
# block, whose statements are checked when they are prepared, one that was prepared for us.
TAG = f"/* {os.urandom(8).hex()} */"

_opened: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
_OPEN_BUSY_MS = 10_000  # another process may be creating the file or switching it to the write-ahead log
_STORAGE_SLUGS: tuple[tuple[type[apsw.Error], str, str], ...] = (
    (apsw.FullError, "database-full", "no room is left for it; free disk space"),
    (apsw.BusyError, "database-locked", "another process holds its write lock; see who has it open"),
    (apsw.LockedError, "database-locked", "it is locked inside this process"),
    (apsw.CorruptError, "database-damaged", "its content is damaged; restore it from a copy"),
    (apsw.NotADBError, "database-damaged", "it is not a SQLite database, or its first page is damaged"),
    (apsw.ReadOnlyError, "database-io", "it cannot be written; look at its permissions and its disk"),
    (apsw.CantOpenError, "database-io", "it cannot be opened; look at its permissions and its directory"),
    (apsw.PermissionsError, "database-io", "access is denied; look at its permissions"),
    (apsw.IOError, "database-io", "reading or writing it failed; look at the disk and at file size limits"),
    (apsw.NoMemError, "database-io", "memory ran out"),
)


def store_error(error: BaseException, name: str) -> StoreError | None:
    """The StoreError for a failure of the storage under `name`; None where the statement is at fault."""
    if isinstance(error, StoreError):
        return error
    for kind, slug, advice in _STORAGE_SLUGS:
        if isinstance(error, kind):
            made = StoreError(f"{name}: {advice} ({error})", slug=slug)
            made.__cause__ = error
            return made
    return None


def read_error(error: apsw.Error, name: str) -> StoreError:
    """The StoreError for anything that goes wrong in a statement of ours: where the storage is not at fault,
    the tables are not as we made them."""
    made = store_error(error, name)
    if made is None:
        made = StoreError(
            f"{name}: its tables are not as they were made; restore it from a copy ({error})",
            slug="database-damaged",
        )
        made.__cause__ = error
    return made


def connect_writer(path: str | None) -> apsw.Connection:
    """The connection that writes `path` (None: a private database in memory), ready and without a busy
    timeout.

    An empty or new file becomes ours. Raises StoreError: ``database-foreign``, ``database-version``,
    ``database-damaged``, ``database-io``, ``database-locked``.
    """
    name = path or "the database in memory"
    connection: apsw.Connection | None = None
    try:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        connection = apsw.Connection(path or ":memory:", flags=flags, statementcachesize=200)
        _opened.add(connection)
        connection.set_busy_timeout(_OPEN_BUSY_MS)
        fresh = _is_fresh(connection, name)
        _set_up(connection, durable=path is not None)
        if fresh:
            _claim(connection, name)
        connection.set_busy_timeout(0)
    except apsw.Error as error:
        if connection is not None:
            connection.close(force=True)
        raise read_error(error, name) from error
    except StoreError:
        if connection is not None:
            connection.close(force=True)
        raise
    return connection


def connect_reader(path: str) -> apsw.Connection:
    """A connection that can only read `path`, which `connect_writer` has opened before. Raises StoreError."""
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=100)
        _opened.add(connection)
        connection.set_busy_timeout(_OPEN_BUSY_MS)
        for pragma in ("query_only=1", "wal_autocheckpoint=0", "temp_store=memory", "cell_size_check=1"):
            connection.execute(f"pragma {pragma}").fetchall()
    except apsw.Error as error:
        raise read_error(error, path) from error
    return connection


def is_of_store(connection: apsw.Connection) -> bool:
    """Whether it was opened here: it belongs to the store, and nobody else may touch it."""
    return connection in _opened


def _is_fresh(connection: apsw.Connection, name: str) -> bool:
    """Whether nobody's tables are in the database; raises when they are not ours, or of another version."""
    application, version, tables = connection.execute(
        "select (select application_id from pragma_application_id),"
        " (select user_version from pragma_user_version), (select count(*) from sqlite_schema)"
    ).fetchall()[0]
    if application == 0 and tables == 0:
        return True
    if application != APPLICATION_ID:
        raise StoreError(
            f"{name} is the database of another program; name a new file for the broker",
            slug="database-foreign",
        )
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{name} was made by a version of commute with file format {version}, this one reads"
            f" {SCHEMA_VERSION}; use that version, or drain it there and start a new file",
            slug="database-version",
        )
    return False


def _set_up(connection: apsw.Connection, *, durable: bool) -> None:
    pragmas = ["temp_store=memory", "cache_size=-32000", "cell_size_check=1", "trusted_schema=0"]
    if durable:
        # fullfsync matters on macOS only, where fsync(2) does not reach the disk.
        pragmas += [
            "synchronous=full",
            "fullfsync=1",
            "checkpoint_fullfsync=1",
            "journal_size_limit=67108864",
        ]
        mode = connection.execute("pragma journal_mode=wal").fetchall()[0][0]
        if mode != "wal":
            raise StoreError(
                f"{connection.filename} lies where SQLite cannot keep a write-ahead log (mode {mode}); "
                "use a local disk",
                slug="database-io",
            )
    for pragma in pragmas:
        connection.execute(f"pragma {pragma}").fetchall()


def _claim(connection: apsw.Connection, name: str) -> None:
    """Write our mark into an empty database, unless another process has just done so."""
    connection.execute("begin immediate")
    try:
        if _is_fresh(connection, name):
            connection.execute(f"pragma application_id={APPLICATION_ID}")
            connection.execute(f"pragma user_version={SCHEMA_VERSION}")
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
