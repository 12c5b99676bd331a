"""The tracer of SQLAlchemy: all engines of the process, by the event that comes before a cursor executes.

What a flush writes comes by the same event, with the columns of its rows: a child's foreign key among them.
"""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakKeyDictionary

from commute.observe import watches
from commute.observe.postgres_catalogue import catalogue_of, is_connection, question
from commute.observe.tables import Ask, Catalogue
from commute.sql.schema import Schema

_DIALECTS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_catalogues: WeakKeyDictionary[Any, Catalogue] = WeakKeyDictionary()  # by engine


def trace() -> watches.Undo | None:
    """From now on statements are seen, where the application has loaded SQLAlchemy."""
    library: Any = sys.modules.get("sqlalchemy")
    if library is None:
        return None
    library.event.listen(library.Engine, "before_cursor_execute", _before)
    return lambda: library.event.remove(library.Engine, "before_cursor_execute", _before)


def _before(connection: Any, _cursor: Any, text: str, given: Any, _context: Any, many: bool) -> None:
    if not watches.anybody():
        return
    raw = connection.connection.driver_connection
    if is_connection(raw):
        catalogue, ask = catalogue_of(raw), question(raw)
    else:
        known = _catalogues.get(connection.engine)
        if known is None:
            known = _catalogues[connection.engine] = _catalogue(connection)
        catalogue, ask = known, _asks(connection)
    several = many and isinstance(given, list)  # many rows of one INSERT … VALUES come as one flat tuple, or dict
    for one in given if several else (given,):
        watches.statement(text, one, catalogue, ask)


def _asks(connection: Any) -> Ask:
    def ask(sql: str, given: Any) -> list[tuple[Any, ...]]:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(sql if connection.dialect.paramstyle == "qmark" else sql.replace("?", "%s"), tuple(given))
            return [tuple(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    return ask


def _catalogue(connection: Any) -> Catalogue:
    """How the tables behind a connection are read: as those of SQLite are, else as SQLAlchemy reflects them."""
    if connection.dialect.name == "sqlite":
        return Catalogue()
    engine = connection.engine

    def read(_ask: Ask) -> Schema:
        from commute.derive.sqlalchemy_schema import schema_of_metadata

        metadata = sys.modules["sqlalchemy"].MetaData()
        with engine.connect() as own:
            metadata.reflect(own, views=True)
        return schema_of_metadata(metadata, _DIALECTS.get(engine.dialect.name, ""), len(metadata.tables))

    return Catalogue(read)
