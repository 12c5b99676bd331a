"""The tracer of apsw, by the trace that it lets every connection have: called before a statement is run, and what it
raises ends that.

The application's connections alone are traced. Those of the store are none of its own, and may be at work in a thread
that must not find them busy.
"""

from __future__ import annotations

import sys
from typing import Any

from commute.embedded.database import is_of_store
from commute.observe import sqlalchemy_events, watches
from commute.observe.tables import Catalogue


def trace() -> watches.Undo | None:
    """From now on statements are seen."""
    library: Any = sys.modules.get("apsw")
    if library is None:
        return None

    def begun(connection: Any) -> None:
        if not sys._getframe(1).f_globals.get("__name__", "").startswith("commute."):
            _set_trace(connection)

    undone = [_set_trace(one) for one in library.connections() if not is_of_store(one)]
    library.connection_hooks.append(begun)
    return watches.all_of([*undone, lambda: library.connection_hooks.remove(begun)])


def _set_trace(connection: Any) -> watches.Undo:
    catalogue = Catalogue()
    try:
        before = connection.exec_trace
    except Exception:  # noqa: BLE001 - closed
        return _nothing

    def seen(cursor: Any, text: str, given: Any) -> Any:
        if watches.anybody() and not sqlalchemy_events.has_seen(sys._getframe(1).f_globals.get("__name__", "")):
            watches.statement(text, () if given is None else given, catalogue, lambda *asked: _ask(cursor, *asked))
        return True if before is None else before(cursor, text, given)

    def undo() -> None:
        _set(connection, before, seen)

    _set(connection, seen, before)
    return undo


def _ask(cursor: Any, sql: str, given: Any) -> list[tuple[Any, ...]]:
    own = cursor if hasattr(cursor, "cursor") else cursor.connection
    asking = own.cursor()
    asking.exec_trace = _let_through
    asking.row_trace = _as_it_is
    return list(asking.execute(sql, tuple(given)))


def _let_through(*_given: Any) -> bool:
    return True


def _as_it_is(_cursor: Any, row: Any) -> Any:
    return row


def _nothing() -> None:
    pass


def _set(connection: Any, new: Any, old: Any) -> None:
    try:
        if connection.exec_trace is old:  # else the application has set one of its own meanwhile
            connection.exec_trace = new
    except Exception:  # noqa: BLE001 - closed, or at work in another thread
        return
