"""Connections of drivers: which dialect each one speaks, and which tables there are behind it."""

from __future__ import annotations

from pathlib import PurePath

from commute.derive.run import Run
from commute.derive.values import Const, Handle, Live, Value, Was, options
from commute.sql.schema import Schema


def _known(run: Run, thing: object, dialect: str) -> Schema:
    """The tables behind a connection: of its catalogue, and those that the code defines and the catalogue lacks yet."""
    written = run.knowledge.written(dialect)
    live = None if thing is None else run.knowledge.schema_for(thing)
    return written if live is None else written.with_tables(live.tables)


def known_tables(run: Run, dialect: str) -> Schema:
    """The tables that the code defines, where there is no connection to ask."""
    return _known(run, None, dialect)


def connection_of(schema: Schema | None, dialect: str, *, spread: bool = False) -> Handle:
    """A connection whose tables are known, or not. `spread`: parameters stand behind the text one by one."""
    known = schema if schema is not None else Schema({}, dialect)
    return Handle("connection", {"schema": known, "version": known.version, "adds": [], "spread": spread})


def opened(run: Run, thing: object, module: str, file: Value | None = None) -> Handle:
    """A connection, cursor or pool of a driver; `thing` where it is there already, so that its catalogue answers, or
    the `file` that it is opened on."""
    dialect = DRIVERS[module]
    known = _known(run, thing, dialect)
    paths = _files(file) if file is not None and dialect == "sqlite" else []
    found = run.knowledge.schema_in(paths[0]) if len(paths) == 1 else None
    known = known if found is None else known.with_tables(found.tables)
    return connection_of(known, dialect, spread=module == "asyncpg")


def _files(file: Value) -> list[str]:
    """The paths that a connection is certainly or perhaps opened on, as far as they are known."""
    held = [
        one.now if isinstance(one, Was) else one.value for one in options(file) if isinstance(one, Const | Live | Was)
    ]
    return sorted({str(one) for one in held if isinstance(one, str | PurePath)})


# Of drivers, the dialect that their statements are written in.
DRIVERS = {
    **dict.fromkeys(("sqlite3", "_sqlite3", "apsw", "apswext", "aiosqlite"), "sqlite"),
    **dict.fromkeys(("psycopg", "psycopg_pool", "psycopg2", "asyncpg", "pg8000"), "postgres"),
    **dict.fromkeys(("pymysql", "MySQLdb", "mysql", "aiomysql", "asyncmy", "mariadb"), "mysql"),
}
CONNECTS = ("connect", "create_pool")


def opens(cls: type) -> bool:
    """Whether the objects of a driver's class are connections, cursors or pools of them."""
    return not issubclass(cls, BaseException) and any(
        word in name.lower()
        for name in (cls.__name__, *(base.__name__ for base in cls.__mro__[1:-1]))
        for word in ("connection", "pool", "cursor")
    )
