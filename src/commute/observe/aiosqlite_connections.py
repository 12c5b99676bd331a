"""The tracer of aiosqlite: statements are seen in the thread of their connection, before they are run there.

Each connection has a thread of its own, which outlives the handler that has opened it. What it runs belongs to the
handler that has called, and to the line that has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from commute.observe import sqlalchemy_events, watches
from commute.observe.running import carried, here
from commute.observe.tables import Catalogue
from commute.sql.ddl import pieces

_ONE = ("execute", "_execute_insert", "_execute_fetchall")  # functions that the thread is given, by name
_PASSING = ("aiosqlite.", "commute.observe")

_catalogues: WeakKeyDictionary[Any, Catalogue] = WeakKeyDictionary()  # by connection


def trace() -> watches.Undo | None:
    """From now on statements are seen, where the application has loaded aiosqlite."""
    library: Any = sys.modules.get("aiosqlite")
    if library is None:
        return None
    cls = library.core.Connection
    own: Callable[..., Any] = vars(cls)["_execute"]

    @wraps(own)
    async def seen(connection: Any, function: Any, *given: Any, **named: Any) -> Any:
        return await own(connection, _seen(connection, function) if watches.anybody() else function, *given, **named)

    cls._execute = seen

    def undo() -> None:
        cls._execute = own

    return undo


def _seen(connection: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as the thread is to run it."""
    name = getattr(function, "__name__", "")
    if name not in (*_ONE, "executemany", "executescript"):
        return function
    if sqlalchemy_events.has_seen(watches.caller(_PASSING)):
        return function

    def look_and_run(text: str, *given: Any) -> Any:
        if name == "executemany":
            given = ([*given[0]],)
        rows = given[0] if name == "executemany" else given or ((),)
        for piece in pieces(text) if name == "executescript" else (text,):
            for one in rows:
                watches.statement(piece, one, _catalogue_of(connection), ask)
        return function(text, *given)

    def ask(sql: str, given: Any) -> list[tuple[Any, ...]]:
        cursor = sys.modules["sqlite3"].Cursor(connection._conn)
        return list(cursor.execute(sql, tuple(given)))

    return carried(look_and_run, here())


def _catalogue_of(connection: Any) -> Catalogue:
    found = _catalogues.get(connection)
    if found is None:
        found = _catalogues[connection] = Catalogue()
    return found
