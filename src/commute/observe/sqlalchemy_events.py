"""The tracer of SQLAlchemy: all engines of the process, by the event that comes before a cursor executes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from commute.observe.tables import Ask, Catalogue
from commute.observe.watch import Watch
from commute.sql.schema import Schema

_DIALECTS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}


@contextmanager
def traced(watch: Watch) -> Iterator[None]:
    """Until the end, where the application has loaded SQLAlchemy."""
    library: Any = sys.modules.get("sqlalchemy")
    if library is None:
        yield
        return
    catalogues: WeakKeyDictionary[Any, Catalogue] = WeakKeyDictionary()

    def before(connection: Any, _cursor: Any, text: str, given: Any, _context: Any, many: bool) -> None:
        if watch.paused:
            return
        catalogue = catalogues.get(connection.engine)
        if catalogue is None:
            catalogue = catalogues[connection.engine] = Catalogue(_asks(connection), _reads(connection))
        catalogue.ask = _asks(connection)
        several = many and isinstance(given, list)  # many rows of one INSERT … VALUES come as one flat tuple, or dict
        for one in given if several else (given,):
            watch.statement(text, one, catalogue)

    library.event.listen(library.Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        library.event.remove(library.Engine, "before_cursor_execute", before)


def _asks(connection: Any) -> Ask:
    def ask(sql: str, given: Any) -> list[tuple[Any, ...]]:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(sql if connection.dialect.paramstyle == "qmark" else sql.replace("?", "%s"), tuple(given))
            return [tuple(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    return ask


def _reads(connection: Any) -> Any:
    """How the tables behind a connection are read; None: as those of SQLite are."""
    if connection.dialect.name == "sqlite":
        return None

    def read(_ask: Ask) -> Schema:
        from commute.derive.sqlalchemy_schema import schema_of_metadata

        metadata = sys.modules["sqlalchemy"].MetaData()
        metadata.reflect(connection)
        return schema_of_metadata(metadata, _DIALECTS.get(connection.dialect.name, ""), len(metadata.tables))

    return read
