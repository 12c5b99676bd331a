"""Connections to PostgreSQL, with the settings that our promises rest on, and what their errors mean.

Invariants: a commit that returned is on the server's disk (``synchronous_commit`` is never off); a transaction of ours
does not stay open for longer than ``transaction_s_max`` without a statement, or the server ends it, so that nobody
waits for a machine that has vanished; a machine that has vanished is noticed by the server within ``vanished_s``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from types import ModuleType
from typing import TYPE_CHECKING, Any

from commute.database import Cursor
from commute.errors import CommuteError, NotReachableError, StoreError, UsageError
from commute.postgres.address import Address
from commute.postgres.sql import of_ours, with_marks

if TYPE_CHECKING:
    import psycopg

CONNECT_S_MAX = 10
_PROBES = 3  # keepalives without an answer until a connection counts as dead
# By their SQLSTATE: the connection, resources, an operator's intervention, the system, an internal error.
_STORAGE = ("08", "53", "57P", "58", "F0", "XX")
_TOO_LONG = ("25P03", "25P04", "57014")  # the server has ended an idle transaction, or a statement


def client() -> ModuleType:
    """psycopg. Raises UsageError (``no-extra``) where it is not installed."""
    try:
        import psycopg
    except ImportError:
        raise UsageError(
            'postgresql:// needs a client that is not installed: pip install "commute[postgres]"', slug="no-extra"
        ) from None
    return psycopg


@dataclass(frozen=True, slots=True)
class Settings:
    """`transaction_s_max` bounds a transaction that nobody works in, `vanished_s` the silence of a machine."""

    address: Address
    transaction_s_max: float
    vanished_s: float

    def connect(self, *, block: bool = False) -> Connection:
        """A new connection; blocks for some milliseconds, at most `CONNECT_S_MAX` seconds. `block`: for users'
        statements, whose time is bounded too. Raises NotReachableError."""
        psycopg = client()
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        probe_s = max(1, round(self.vanished_s / (1 + _PROBES)))
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_S_MAX, "application_name": "commute", "client_encoding": "UTF8",
            "keepalives_idle": probe_s, "keepalives_interval": probe_s, "keepalives_count": _PROBES,
            "tcp_user_timeout": int(self.vanished_s * 1000),
        }  # fmt: skip
        try:
            options |= conninfo_to_dict(self.address.conninfo)
            raw = psycopg.connect(make_conninfo("", **options), autocommit=True)
            try:
                raw.execute(self._session_settings(probe_s, block=block).encode())
            except BaseException:
                raw.close()
                raise
        except psycopg.Error as error:
            raise NotReachableError(
                f"{self.address.shown} does not answer: {' '.join(str(error).split())}", slug="not-reachable"
            ) from None
        raw.adapters.register_loader("numeric", _number_loader())
        return Connection(raw, self.address)

    def _session_settings(self, probe_s: int, *, block: bool) -> str:
        most_ms = max(1, int(self.transaction_s_max * 1000))
        settings = {
            "idle_in_transaction_session_timeout": most_ms, "tcp_keepalives_idle": probe_s,
            "tcp_keepalives_interval": probe_s, "tcp_keepalives_count": _PROBES,
            # Beyond what one that has lost the group may still hold.
            "lock_timeout": most_ms if block else 2 * most_ms + 1_000, "statement_timeout": most_ms if block else 0,
        }  # fmt: skip
        return (
            "; ".join(f"set {name} = {value}" for name, value in settings.items())
            + "; select set_config('synchronous_commit', 'on', false)"
            " where current_setting('synchronous_commit') = 'off'"
        )


def _storable(params: Sequence[Any]) -> Sequence[Any]:
    """The values, with text that PostgreSQL takes: an exception's message may have a NUL in it."""
    return [value.replace("\0", "\\x00") if type(value) is str and "\0" in value else value for value in params]


class _NoRows:
    """What a statement gives that gives no rows."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        return []

    def fetchone(self) -> None:
        return None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(())


NO_ROWS = _NoRows()


class Connection:
    """One connection, for statements of this package. Not thread-safe but for `close`."""

    def __init__(self, raw: psycopg.Connection[Any], address: Address) -> None:
        self.raw = raw
        self.address = address
        self._begin: str | None = None  # to be sent before the next statement
        self._snapshot = False
        self._changes = 0
        self._changed_ever = 0

    # -- the seam

    def execute(self, sql: str, params: Any = (), /) -> Cursor:
        """Run one statement, or a script without parameters. Raises psycopg.Error."""
        self._open_transaction()
        text = of_ours(sql, self.address.schema)
        if params:
            cursor = self.raw.execute(with_marks(text), _storable(params), binary=True)
        else:
            cursor = self.raw.execute(text.encode(), binary=";" not in text)
        self._count(cursor)
        return cursor if cursor.description is not None else NO_ROWS

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        self._open_transaction()
        cursor = self.raw.cursor()
        cursor.executemany(with_marks(of_ours(sql, self.address.schema)), map(_storable, rows))
        self._count(cursor)

    def changes(self) -> int:
        """Rows that the last statement changed, or gave."""
        return self._changes

    def total_changes(self) -> int:
        """Rows that all statements so far have changed."""
        return self._changed_ever

    def __enter__(self) -> Connection:
        """One snapshot, where no transaction is open already."""
        if self._begin is None and not self.in_transaction:
            self._begin, self._snapshot = "begin isolation level repeatable read read only", True
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._snapshot:
            self._snapshot = False
            self.roll_back()

    def close(self) -> None:
        with suppress(client().Error):
            self.raw.close()

    # -- transactions

    @property
    def in_transaction(self) -> bool:
        return self.raw.info.transaction_status in (2, 3)  # INTRANS, INERROR

    def begin(self) -> None:
        """Begin with the next statement: one way to the server less, and none where nothing is to be written."""
        self._begin = "begin"

    def commit(self) -> None:
        """Durable when it returns. Raises psycopg.Error, and StoreError where a statement had failed before."""
        if self._begin is not None:
            self._begin = None
        else:
            self._check_committed(self.raw.execute("commit"))

    def end_with(self, jobs: Sequence[Callable[[Connection], None]]) -> None:
        """`commit` after `jobs`, which only write: all of it in one way to the server and back."""
        self._open_transaction()
        with self.raw.pipeline():
            for job in jobs:
                job(self)
            cursor = self.raw.execute("commit")
        self._check_committed(cursor)

    def _check_committed(self, cursor: psycopg.Cursor[Any]) -> None:
        if cursor.statusmessage != "COMMIT":
            raise StoreError(
                f"{self.address.shown}: the transaction had failed at an earlier statement, and was undone",
                slug="commit-failed",
            )

    def roll_back(self) -> None:
        """Undo; never raises: what cannot be reached undoes by itself."""
        self._begin = None
        with suppress(client().Error):
            if self.in_transaction:
                self.raw.execute("rollback")

    def ask(self, sql: str, params: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of the last of several statements, sent as one, together with a begin that is due."""
        from psycopg import ClientCursor

        begin, self._begin = self._begin, None
        text = with_marks(of_ours(sql, self.address.schema))
        cursor = ClientCursor(self.raw)
        cursor.execute(text if begin is None else begin.encode() + b"; " + text, params)
        while cursor.nextset():
            pass
        return cursor.fetchall()

    def _open_transaction(self) -> None:
        begin, self._begin = self._begin, None
        if begin is not None:
            self.raw.execute(begin.encode())

    def _count(self, cursor: psycopg.Cursor[Any]) -> None:
        self._changes = max(cursor.rowcount, 0)
        if cursor.description is None:
            self._changed_ever += self._changes

    # -- errors

    def is_lost(self, error: BaseException) -> bool:
        """Whether the storage or the way to it has failed, and not a statement."""
        if self.raw.closed or isinstance(error, NotReachableError):
            return True
        state = getattr(error, "sqlstate", None)
        if state is None:
            return isinstance(error, (client().OperationalError, client().InterfaceError))
        return str(state).startswith(_STORAGE)


class Reading:
    """A connection that only reads, and whose errors are ours. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Any = (), /) -> Cursor:
        try:
            return self._connection.execute(sql, params)
        except client().Error as error:
            raise explained(error, self._connection.address) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        raise AssertionError("this connection reads")

    def changes(self) -> int:
        return 0

    def total_changes(self) -> int:
        return 0

    def __enter__(self) -> Reading:
        self._connection.__enter__()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._connection.__exit__(kind, error, trace)

    def close(self) -> None:
        self._connection.close()


def explained(error: BaseException, address: Address) -> CommuteError:
    """The error of ours for one of the client's, or of anything else that went wrong with a transaction."""
    if isinstance(error, StoreError | UsageError):
        return error
    text = " ".join(str(error).split()) or repr(error)
    state = str(getattr(error, "sqlstate", None) or "")
    made: StoreError
    if state in ("42P01", "3F000"):
        made = StoreError(f"{address.shown}: a table is missing ({text}). {create_hint()}", slug="no-schema")
    elif state == "42501":
        made = StoreError(f"{address.shown}: {text}. Grant it: docs/postgresql.md", slug="database-rights")
    elif state in _TOO_LONG:
        made = StoreError(f"{address.shown}: {text}. Make slow calls before the block", slug="transaction-too-long")
    elif state.startswith("53"):
        made = StoreError(f"{address.shown}: {text}", slug="database-full")
    elif isinstance(error, NotReachableError) or not state:
        made = StoreError(f"{address.shown}: the connection is lost: {text}", slug="database-connection")
    else:
        made = StoreError(f"{address.shown}: {text}", slug="commit-failed")
    made.__cause__ = error
    return made


def create_hint() -> str:
    return "Make it: commute doctor URL --create"


def _number_loader() -> type[Any]:
    from psycopg.adapt import Loader

    class Number(Loader):
        """A numeric without a fraction is an int, as a sum of integers is in SQLite."""

        def load(self, data: Any) -> int | Decimal:
            text = bytes(data).decode()
            return int(text) if text.lstrip("-").isdecimal() else Decimal(text)

    return Number
