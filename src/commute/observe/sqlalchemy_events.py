"""The tracer of SQLAlchemy: all engines of the process, by the event that comes before a cursor executes.

What a flush writes comes by the same event, with the columns of its rows: a child's foreign key among them.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from commute.observe import postgres_catalogue, watches
from commute.observe.postgres_catalogue import catalogue_of, is_connection, question
from commute.observe.tables import Ask, Catalogue, numbered
from commute.sql.schema import Schema

_DIALECTS = {"mysql": "mysql", "mariadb": "mysql"}
_catalogues: WeakKeyDictionary[Any, Catalogue] = WeakKeyDictionary()  # by engine


def trace() -> watches.Undo | None:
    """From now on statements are seen, where the application has loaded SQLAlchemy."""
    library: Any = sys.modules.get("sqlalchemy")
    if library is None:
        return None
    library.event.listen(library.Engine, "before_cursor_execute", _before)
    return lambda: library.event.remove(library.Engine, "before_cursor_execute", _before)


def has_seen(caller: str) -> bool:
    """Whether what this module sends was seen here already, so that no driver's tracer counts it twice."""
    return caller.startswith("sqlalchemy") and watches.is_seen(trace)


def _before(connection: Any, _cursor: Any, text: str, given: Any, _context: Any, many: bool) -> None:
    catalogue = _catalogues.get(connection.engine)
    ask: Ask = partial(_ask, connection)
    if catalogue is None:
        raw = connection.connection.driver_connection
        if is_connection(raw):
            catalogue, ask = catalogue_of(raw), question(raw)
        else:
            catalogue = _catalogues[connection.engine] = _catalogue(connection)
    if many and isinstance(given, list):  # many rows of one INSERT … VALUES come as one flat tuple, or dict
        for one in given:
            watches.statement(text, one, catalogue, ask)
    else:
        watches.statement(text, given, catalogue, ask)


def _ask(connection: Any, sql: str, given: Any) -> list[tuple[Any, ...]]:
    cursor = connection.connection.cursor()
    try:
        # A query that fails would end the transaction with PostgreSQL, whoever has sent it.
        if connection.dialect.name != "postgresql" or _is_autocommit(connection):
            return _run(connection, cursor, sql, given)
        cursor.execute("SAVEPOINT commute_asks")
        try:
            return _run(connection, cursor, sql, given)
        finally:
            cursor.execute("ROLLBACK TO SAVEPOINT commute_asks")
            cursor.execute("RELEASE SAVEPOINT commute_asks")
    finally:
        cursor.close()


def _run(connection: Any, cursor: Any, sql: str, given: Any) -> list[tuple[Any, ...]]:
    cursor.execute(_marked(sql, connection.dialect.paramstyle, given), *([tuple(given)] if given else []))
    return [tuple(row) for row in cursor.fetchall()]


def _is_autocommit(connection: Any) -> bool:
    return bool(connection.dialect.detect_autocommit_setting(connection.connection.dbapi_connection))


def _marked(sql: str, style: str, given: Any) -> str:
    """The query with marks for its values as the driver has them."""
    if style == "qmark" or not given:
        return sql
    if style == "numeric_dollar":
        return numbered(sql)
    return sql.replace("%", "%%").replace("?", "%s")


def _catalogue(connection: Any) -> Catalogue:
    """How the tables behind a connection are read: from the catalogue of SQLite or PostgreSQL, else as SQLAlchemy
    reflects them."""
    if connection.dialect.name == "sqlite":
        return Catalogue()
    if connection.dialect.name == "postgresql":
        return Catalogue(postgres_catalogue.read)
    engine = connection.engine

    def read(_ask: Ask) -> Schema:
        from commute.derive.sqlalchemy.schema import schema_of_metadata

        metadata = sys.modules["sqlalchemy"].MetaData()
        with engine.connect() as own:
            metadata.reflect(own, views=True)
        return schema_of_metadata(metadata, _DIALECTS.get(engine.dialect.name, ""), len(metadata.tables))

    return Catalogue(read)
