"""One PostgreSQL database, opened once per process, whoever asks: the store of an app that runs on several machines.

The same seam as an embedded file (`commute.database`). Its tables are made by `schema.create`, not by opening it.

What is this machine's alone stays on its disk: the record of running events and the status that a worker writes, in
``$XDG_STATE_HOME/commute``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from commute.database import Announcing, Tenure
from commute.database import Connection as AnyConnection
from commute.embedded.inflight import InFlight
from commute.errors import NotReachableError, StoreError, UsageError
from commute.limits import Limits
from commute.postgres.address import Address, parse
from commute.postgres.connection import Reading, Settings, create_hint
from commute.postgres.ownership import Ownership, is_held, last_holder, tenures
from commute.postgres.writer import Writer

R = TypeVar("R")

VERSION = 1  # of the tables

_open: dict[str, PostgresStore] = {}
_open_lock = threading.Lock()


class PostgresStore(Announcing):
    """An open database. Made by `open`; every `open` needs its `close`. `path`: what messages call it."""

    blocks_apart = True

    def __init__(self, address: Address, settings: Settings, writer: Writer) -> None:
        """For `open` alone."""
        super().__init__()
        self.address = address
        self.path: str | None = address.shown
        self.writer = writer
        self._settings = settings
        self._users = 1
        self._reader: Reading | None = None
        self._reader_lock = threading.Lock()
        writer.attach(self.tell_listeners)

    @classmethod
    def open(cls, url: str, limits: Limits) -> PostgresStore:
        """The database at `url`, shared with whoever has it open in this process; the limits of the first one hold.

        Blocks for some ways to the server and back. Raises UsageError (``db-url``, ``no-extra``, ``no-schema``),
        NotReachableError, StoreError (``database-version``).
        """
        address = parse(url)
        with _open_lock:
            known = _open.get(url)
            if known is not None:
                known._users += 1
                return known
            settings = Settings(address, limits.transaction_s_max, limits.vanished_s)
            writer = Writer(settings, commit_s_max=limits.commit_s_max, transactions_max=limits.transactions_max)
            store = cls(address, settings, writer)
            try:
                store.read(store._check_tables)
            except BaseException:
                store._close()
                raise
            _open[url] = store
        return store

    def schema(self, sql: str) -> None:
        """Nothing: tables are made by `schema.create`."""

    def reader(self) -> Reading:
        """A new connection for reading; the caller closes it. Raises StoreError."""
        try:
            return Reading(self._settings.connect())
        except NotReachableError as error:
            raise StoreError(error.message, slug="database-connection") from None

    def read(self, job: Callable[[AnyConnection], R]) -> R:
        """What `job` returns, run on a connection that sees what is committed; run once more where that connection
        was lost. Blocks; thread-safe, one at a time. Raises StoreError."""
        with self._reader_lock:
            if self._users == 0:
                raise StoreError(f"{self.path} is closed", slug="database-closed")
            fresh = self._reader is None
            try:
                return self._read(job)
            except StoreError as error:
                if fresh or error.slug != "database-connection":
                    raise
                return self._read(job)

    def _read(self, job: Callable[[AnyConnection], R]) -> R:
        if self._reader is None:
            self._reader = self.reader()
        try:
            return job(self._reader)
        except StoreError as error:
            if error.slug == "database-connection":
                self._reader.close()
                self._reader = None
            raise

    def _check_tables(self, connection: AnyConnection) -> None:
        found = connection.execute(
            "select 1 from pg_tables where schemaname = ? and tablename = 'commute_version'", (self.address.schema,)
        ).fetchall()
        if not found:
            raise UsageError(
                f"{self.path} has no tables of commute in schema {self.address.schema}. {create_hint()}",
                slug="no-schema",
            )
        version = connection.execute("select version from commute_version").fetchall()[0][0]
        if version != VERSION:
            raise StoreError(
                f"{self.path} was made by a version of commute with tables {version}, this one reads {VERSION}; use "
                "that version, or drain it there and make a new schema",
                slug="database-version",
            )

    def data_version(self) -> int:
        """A number that differs from the last one when anybody has committed since. Blocks shortly."""
        return self.read(lambda c: hash(str(c.execute("select pg_current_snapshot()::text").fetchall()[0][0])))

    def ownership(self, name: str) -> Ownership:
        """The ownership of the group `name`, not yet taken."""
        return Ownership(self.writer, self.address.schema, name)

    def owner(self, name: str) -> tuple[int | None, str] | None:
        """(pid, host) of the process that runs the group `name` at this moment; None while none does."""

        def find(connection: AnyConnection) -> tuple[int | None, str] | None:
            return last_holder(connection, name) if is_held(connection, self.address.schema, name) else None

        return self.read(find)

    def tenures(self, names: Sequence[str]) -> list[Tenure]:
        """Of each of these ownerships who had it last, and whether it is held."""
        return self.read(lambda connection: tenures(connection, self.address.schema, names))

    def record(self, name: str, slots_max: int) -> InFlight:
        """The record of what the worker of group `name` runs, on this machine's disk."""
        return InFlight(self.side_path(name, "running"), slots_max)

    def side_path(self, name: str, suffix: str) -> str:
        """The path of a side file of this machine: its name says the database by a digest, and the group."""
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "commute"
        folder.mkdir(parents=True, exist_ok=True)
        digest = blake2b(self.address.shown.encode(), digest_size=6).hexdigest()
        return str(folder / f"{digest}-{quote(name, safe='')}.{suffix}")

    def close(self) -> None:
        """The last user's commits what is queued and closes, and blocks for that time; others' count down."""
        with _open_lock:
            assert self._users > 0, "closed more often than opened"
            self._users -= 1
            if self._users:
                return
            for url in [url for url, store in _open.items() if store is self]:
                del _open[url]
            self._close()

    def _close(self) -> None:
        with self._reader_lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        self.writer.close()


def _forget_parent() -> None:
    if _open_lock.locked():  # by another thread of the parent, which is not here to release it
        _open_lock.release()
    for store in _open.values():
        store.writer.leave_to_parent()
    _inherited.extend(_open.values())
    _open.clear()


_inherited: list[PostgresStore] = []  # in a forked child: the parent's, kept so that nothing of them is closed
os.register_at_fork(after_in_child=_forget_parent)
