"""The tracer of asyncpg: statements of connections, pools, prepared statements and cursors, before they are sent.

What a statement touches is told by a function that calls and returns, and the database here answers only those who
await. So a question that nobody has answered yet ends the telling; it is awaited on the same connection, which sees
what its transaction has done, and the telling begins again with the answer:

    look ─▶ Unanswered ─▶ await the connection, in a savepoint ─▶ look ─▶ … ─▶ nothing asked: the statement is sent
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from commute.core.footprint import EVERYTHING
from commute.observe import sqlalchemy_events, watches
from commute.observe.postgres_catalogue import of_database
from commute.observe.tables import Catalogue, Unanswered, numbered

ANSWER_S_MAX = 5.0
_PASSING = ("asyncpg.", "commute.observe")
_ONE = ("execute", "fetch", "fetchval", "fetchrow", "copy_from_query")  # with a query and its parameters
_MANY = ("executemany", "fetchmany")  # with rows of parameters
_COPIES = ("copy_from_table", "copy_to_table", "copy_records_to_table")
_BINDS = ("_bind", "_bind_exec")  # of a cursor, at the first rows that are asked for

_catalogues: WeakKeyDictionary[Any, Catalogue] = WeakKeyDictionary()  # by connection

Look = Callable[..., Awaitable[None]]


def trace() -> watches.Undo | None:
    """From now on statements are seen, where the application has loaded asyncpg."""
    library: Any = sys.modules.get("asyncpg")
    if library is None:
        return None
    connection, prepared = library.connection.Connection, library.prepared_stmt.PreparedStatement
    places: list[tuple[Any, str, Look]] = [
        *((connection, name, _statement) for name in _ONE),
        *((connection, name, _rows) for name in _MANY),
        *((connection, name, _copy) for name in _COPIES),
        *((prepared, name, _prepared) for name in ("fetch", "fetchval", "fetchrow")),
        *((prepared, name, _prepared_rows) for name in _MANY),
        (prepared, "explain", _explained),
        *((library.cursor.BaseCursor, name, _cursor) for name in _BINDS),
    ]
    return watches.all_of([_before(cls, name, look) for cls, name, look in places if name in vars(cls)])


def _before(cls: Any, method: str, look: Look) -> watches.Undo:
    own: Callable[..., Any] = vars(cls)[method]
    inner = cls.__name__ == "BaseCursor"  # called by the library itself

    @wraps(own)
    async def seen(of: Any, *given: Any, **named: Any) -> Any:
        if _is_ours(inner=inner):
            if method in _MANY:  # they are looked at before they are sent, and may be told only once
                *before, rows = given if given else (named.pop("args"),)
                given = (*before, list(rows))
            await look(of, *given, **named)
        return await own(of, *given, **named)

    setattr(cls, method, seen)
    return lambda: setattr(cls, method, own)


def _is_ours(*, inner: bool) -> bool:
    """Whether the application itself calls: neither SQLAlchemy, which has a tracer of its own, nor a method of the
    library that was seen when it was called."""
    if not watches.anybody():
        return False
    nearest = sys._getframe(2).f_globals.get("__name__", "")
    if not inner and nearest.startswith("asyncpg.") and nearest != "asyncpg.pool":
        return False
    return not sqlalchemy_events.has_seen(watches.caller(_PASSING))


async def _statement(connection: Any, query: str, *given: Any, **_options: Any) -> None:
    await _see(connection, query, [given])


async def _rows(connection: Any, query: str, rows: Sequence[Any], **_options: Any) -> None:
    await _see(connection, query, rows)


async def _copy(_connection: Any, *_given: Any, **_options: Any) -> None:
    watches.key(EVERYTHING[0])


async def _prepared(statement: Any, *given: Any, **_options: Any) -> None:
    await _see(statement._connection, statement.get_query(), [given])


async def _prepared_rows(statement: Any, rows: Sequence[Any], **_options: Any) -> None:
    await _see(statement._connection, statement.get_query(), rows)


async def _explained(statement: Any, *given: Any, analyze: bool = False) -> None:
    if analyze:  # it is run
        await _see(statement._connection, statement.get_query(), [given])


async def _cursor(cursor: Any, *_given: Any) -> None:
    await _see(cursor._connection, cursor._query, [cursor._args])


async def _see(connection: Any, text: str, rows: Sequence[Any]) -> None:
    """Raises UndeclaredAccessError."""
    catalogue = _catalogue_of(connection)
    answers: dict[tuple[str, str], list[tuple[Any, ...]] | Exception] = {}

    def ask(sql: str, given: Sequence[object]) -> list[tuple[Any, ...]]:
        found = answers.get((sql, repr(given)))
        if found is None:
            raise Unanswered(sql, given)
        if isinstance(found, Exception):
            raise found
        return found

    for given in rows:
        while True:
            try:
                watches.statement(text, given, catalogue, ask)
            except Unanswered as question:
                sql, values = question.args
                answers[sql, repr(values)] = await _answer(connection, sql, values)
            else:
                break


async def _answer(connection: Any, sql: str, given: Sequence[object]) -> list[tuple[Any, ...]] | Exception:
    text = numbered(sql)
    with watches.asking():
        try:
            if not connection.is_in_transaction():
                found = await connection.fetch(text, *given, timeout=ANSWER_S_MAX)
            else:
                async with connection.transaction():
                    found = await connection.fetch(text, *given, timeout=ANSWER_S_MAX)
        except Exception as error:  # noqa: BLE001 - raised again where it was asked
            return error
    return [tuple(row) for row in found]


def _catalogue_of(connection: Any) -> Catalogue:
    """One for all connections to a database by one user, with the same settings: the search path is one of them."""
    found = _catalogues.get(connection)
    if found is None:
        of = connection._params
        found = of_database(repr((connection._addr, of.database, of.user, of.server_settings)))
        _catalogues[connection] = found
    return found
