"""The tracer of the standard ``sqlite3``, which lets nobody put anything before its own methods.

Connections that ``sqlite3.connect`` opens while somebody watches are of a class of ours, which sees each statement
before it is run. Those that were open before, found by Python's collector, and those with a factory of their own are
seen by SQLite's own trace, with the values in the text. It cannot raise, so what is undeclared is interrupted there
before it does anything, which undoes its transaction, and is raised at the end.
"""

from __future__ import annotations

import gc
import sys
from functools import lru_cache, wraps
from typing import Any

from commute.errors import UndeclaredAccessError
from commute.observe import aiosqlite_connections, sqlalchemy_events, watches
from commute.observe.tables import Catalogue
from commute.sql.ddl import pieces

FACTORY_AT = 6  # how many arguments stand before the factory
_traced: set[int] = set()  # the ids of the connections that have our trace
_elsewhere: set[str] = set()  # modules that call here, and whose statements another tracer sees


def trace() -> watches.Undo | None:
    """From now on statements are seen, where the application has loaded sqlite3."""
    library: Any = sys.modules.get("sqlite3")
    if library is None:
        return None
    before, made = library.connect, _classes(library)

    @wraps(before)
    def connect(*given: Any, **named: Any) -> Any:
        if not watches.is_seen(trace):  # a module that was loaded meanwhile has kept it
            return before(*given, **named)
        if len(given) < FACTORY_AT and "factory" not in named:
            return before(*given, **named, factory=made)
        opened = before(*given, **named)
        if not isinstance(opened, made):
            _set_trace(opened)
        return opened

    places = [(names, name) for names in _modules() for name, value in names.items() if value is before]
    for names, name in places:
        names[name] = connect
    for one in _connections(library):
        if not isinstance(one, made):
            _set_trace(one)

    def undo() -> None:
        for names, name in places:
            names[name] = before
        for one in _connections(library):
            if id(one) in _traced:
                _quietly(one, None)
        _traced.clear()
        _elsewhere.clear()

    return undo


def _modules() -> list[dict[str, Any]]:
    """The names of all modules: some have taken ``connect`` for their own."""
    return [names for module in [*sys.modules.values()] if isinstance(names := getattr(module, "__dict__", None), dict)]


def _connections(library: Any) -> list[Any]:
    """Those that are open. An object refers to its class, so they are found without a look at each object in Python."""
    classes = [library.Connection]
    for cls in classes:
        classes += cls.__subclasses__()
    return [one for one in gc.get_referrers(*classes) if isinstance(one, library.Connection)]


def _set_trace(connection: Any) -> None:
    catalogue = Catalogue()

    def ask(sql: str, given: Any) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = connection.execute(sql, tuple(given)).fetchall()
        return rows

    def seen(text: str) -> None:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller in _elsewhere or _is_seen_elsewhere(caller) or text.startswith("--"):
            return
        try:
            watches.statement(text, (), catalogue, ask)
        except UndeclaredAccessError:
            connection.interrupt()

    _traced.add(id(connection))
    _quietly(connection, seen)


def _is_seen_elsewhere(caller: str) -> bool:
    found = (
        caller.startswith("commute.observe")
        or sqlalchemy_events.has_seen(caller)
        or (caller.startswith("aiosqlite") and watches.is_seen(aiosqlite_connections.trace))
    )
    if found:
        _elsewhere.add(caller)
    return found


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
            self.catalogue = Catalogue()
            self.has_trace = False

        def _ask(self, sql: str, given: Any) -> list[tuple[Any, ...]]:
            cursor = library.Cursor(self)
            cursor.row_factory = None
            return list(cursor.execute(sql, tuple(given)))

        def sees(self, sql: str, parameters: Any) -> None:
            caller = sys._getframe(2).f_globals.get("__name__", "")
            if caller not in _elsewhere and not _is_seen_elsewhere(caller) and watches.anybody():
                watches.statement(sql, parameters, self.catalogue, self._ask)

        def cursor(self, factory: Any = SeenCursor) -> Any:
            if factory is not SeenCursor and not self.has_trace and watches.anybody():
                self.has_trace = True
                _set_trace(self)  # a cursor of the application's own
            return super().cursor(factory)

        # The library's own take a cursor of its own for these.
        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            self.sees(sql, parameters)
            return library.Cursor.execute(self.cursor(), sql, parameters)

        def executemany(self, sql: str, rows: Any, /) -> Any:
            rows = list(rows)
            for row in rows:
                self.sees(sql, row)
            return library.Cursor.executemany(self.cursor(), sql, rows)

        def executescript(self, script: str, /) -> Any:
            for piece in pieces(script):
                self.sees(piece, ())
            return library.Cursor.executescript(self.cursor(), script)

    return SeenConnection
