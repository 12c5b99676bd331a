"""The tracer of the standard ``sqlite3``, which lets nobody put anything before its own methods.

Connections that are opened while somebody watches are of a class of ours, which sees each statement before it is run.
Those that were open before are told apart by Python's collector, and seen by SQLite's own trace, with the values in the
text: it cannot raise, so what is undeclared there is only raised at the end.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from commute.errors import UndeclaredAccessError
from commute.observe.tables import Catalogue
from commute.observe.watch import Watch
from commute.sql.ddl import pieces

_WATCHES: list[Watch] = []


@contextmanager
def traced(watch: Watch) -> Iterator[None]:
    """Until the end, where the application has loaded sqlite3."""
    library: Any = sys.modules.get("sqlite3")
    if library is None:
        yield
        return
    open_before = [one for one in gc.get_objects() if isinstance(one, library.Connection)]
    before, made = library.connect, _classes(library)

    def connect(*given: Any, **named: Any) -> Any:
        if len(given) < 6 and "factory" not in named:  # a factory of the application's own is left as it is
            named["factory"] = made
        return before(*given, **named)

    for one in open_before:
        _set_trace(one, watch)
    library.connect = connect
    _WATCHES.append(watch)
    try:
        yield
    finally:
        _WATCHES.remove(watch)
        library.connect = before
        for one in open_before:
            _quietly(one, None)


def _set_trace(connection: Any, watch: Watch) -> None:
    catalogue = Catalogue(lambda sql, given: connection.execute(sql, tuple(given)).fetchall())

    def seen(text: str) -> None:
        frame = sys._getframe(1)
        if text.startswith("--") or frame.f_globals.get("__name__", "").startswith(("sqlalchemy", "commute.observe")):
            return
        try:
            watch.statement(text, (), catalogue)
        except UndeclaredAccessError:
            return

    _quietly(connection, seen)


def _quietly(connection: Any, seen: Any) -> None:
    try:
        connection.set_trace_callback(seen)
    except Exception:  # noqa: BLE001 - closed, or of another thread: then no handler of ours can use it
        return


@lru_cache(1)
def _classes(library: Any) -> Any:
    class SeenCursor(library.Cursor):  # type: ignore[misc]
        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            self.connection.sees(sql, parameters)
            return super().execute(sql, parameters)

        def executemany(self, sql: str, rows: Any, /) -> Any:
            rows = list(rows)
            for row in rows:
                self.connection.sees(sql, row)
            return super().executemany(sql, rows)

        def executescript(self, script: str, /) -> Any:
            for piece in pieces(script):
                self.connection.sees(piece, ())
            return super().executescript(script)

    class SeenConnection(library.Connection):  # type: ignore[misc]
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.catalogue = Catalogue(self._ask)

        def _ask(self, sql: str, given: Any) -> list[tuple[Any, ...]]:
            cursor = library.Cursor(self)
            cursor.row_factory = None
            return list(cursor.execute(sql, tuple(given)))

        def sees(self, sql: str, parameters: Any) -> None:
            for watch in _WATCHES:
                watch.statement(sql, parameters, self.catalogue)

        def cursor(self, factory: Any = SeenCursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            return self.cursor().execute(sql, parameters)

        def executemany(self, sql: str, rows: Any, /) -> Any:
            return self.cursor().executemany(sql, rows)

        def executescript(self, script: str, /) -> Any:
            return self.cursor().executescript(script)

    return SeenConnection
