"""The tracer of psycopg 3: statements of cursors and connections, sync and async, before they are sent.

A connection's own ``execute`` makes a cursor, so cursors are all. What SQLAlchemy and the store's blocks send comes by
tracers of their own, with more to go by.
"""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

from commute.core.footprint import EVERYTHING
from commute.observe import sqlalchemy_events, watches
from commute.observe.postgres_catalogue import catalogue_of, close_asking, question

_CLASSES = ("Cursor", "AsyncCursor", "ServerCursor", "AsyncServerCursor", "RawServerCursor", "AsyncRawServerCursor")
_ONE = ("execute", "stream", "copy")  # with a query, and perhaps its parameters
_PASSING = ("psycopg.", "commute.observe")


def trace() -> watches.Undo | None:
    """From now on statements are seen, where the application has loaded psycopg."""
    library: Any = sys.modules.get("psycopg")
    if library is None:
        return None
    undone: list[watches.Undo] = []
    for cls in (getattr(library, name) for name in _CLASSES if hasattr(library, name)):
        undone += [watches.before(cls, method, _look) for method in _ONE if method in vars(cls)]
        if "executemany" in vars(cls):
            undone.append(_many(cls))

    return watches.all_of([*undone, close_asking])


def _look(cursor: Any, query: Any, params: Any = None, **_options: Any) -> None:
    if _is_ours():
        _see(cursor, query, (params,))


def _many(cls: Any) -> watches.Undo:
    own = vars(cls)["executemany"]

    @wraps(own)
    def seen(cursor: Any, query: Any, params_seq: Any, **options: Any) -> Any:
        rows = list(params_seq)
        if _is_ours():
            _see(cursor, query, rows)
        return own(cursor, query, rows, **options)

    cls.executemany = seen

    def undo() -> None:
        cls.executemany = own

    return undo


def _is_ours() -> bool:
    """Whether the application itself calls, and no layer that is seen by another tracer."""
    if not watches.anybody():
        return False
    caller = watches.caller(_PASSING)
    return not (sqlalchemy_events.has_seen(caller) or caller.startswith("commute."))


def _see(cursor: Any, query: Any, rows: Any) -> None:
    text = _text(cursor, query)
    if text is None:
        watches.key(EVERYTHING[0])
        return
    raw = cursor.connection
    catalogue, ask = catalogue_of(raw), question(raw)
    for row in rows:
        watches.statement(text, () if row is None else row, catalogue, ask)


def _text(cursor: Any, query: Any) -> str | None:
    """The text with its marks for values; None where it cannot be told."""
    if isinstance(query, bytes):
        return query.decode()
    if isinstance(query, str):
        return str(query)
    if hasattr(query, "as_string"):
        return str(query.as_string(cursor))
    return None
