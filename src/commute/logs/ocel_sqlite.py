"""Object-centric event logs in SQLite: OCEL 2.0.

The file is opened for reading only, by the same copy of SQLite as everything else in this package: a
second copy in one process would drop the first one's locks. Tables: ``event``, ``object`` and
``event_object``; per type of event one table with times and attributes, whose name ``event_map_type``
gives.

Source: OCEL 2.0 (Berti et al., 2024), section on the relational format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

import apsw

from commute.logs.base import Builder, Log, Touched, bad_log, note_empty, object_id
from commute.logs.ocel import UNKNOWN_TYPE, note_unknown
from commute.logs.options import LogOptions
from commute.logs.raw import Raw
from commute.logs.roles import keys_of, must_occur, named_keys

FORMAT = "OCEL 2.0 SQLite"

_NEEDED = {
    "event": ("ocel_id", "ocel_type"),
    "object": ("ocel_id", "ocel_type"),
    "event_object": ("ocel_event_id", "ocel_object_id"),
    "event_map_type": ("ocel_type", "ocel_type_map"),
}
_BUSY_MS = 5_000

_Row: TypeAlias = dict[str, object]


def read(raw: Raw, options: LogOptions) -> Log:
    """The log of the database in `raw`. About 15 µs an event. `options.key_fields` name attributes that are keys too.

    A packed file is unpacked into memory. Raises UsageError for a database that is not OCEL 2.0, is
    damaged, cut off or locked, or holds text that is no UTF-8: pages of a cut database do not say which rows
    they held, and an event without one of its relations would run with fewer keys. Not for a file that this
    process has open as a database: closing it here would drop the locks held there.
    """
    if raw.path is None:
        raise bad_log(raw.name, "a SQLite database, which needs a file")
    connection: apsw.Connection | None = None
    try:
        connection = _open(raw)
        return _read(raw, connection, options)
    except apsw.Error as error:
        raise bad_log(raw.name, f"a SQLite database that cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise bad_log(raw.name, "a SQLite database with text that is no UTF-8") from error
    finally:
        if connection is not None:
            connection.close()


def _open(raw: Raw) -> apsw.Connection:
    if raw.gzipped:
        unpacked = raw.read()
        if raw.fault:
            raise bad_log(raw.name, f"a SQLite database, but {raw.fault.partition(';')[0]}")
        connection = apsw.Connection(":memory:")
        connection.deserialize("main", unpacked)
        return connection
    assert raw.path is not None
    # Absolute, so that no name can be taken for a URI.
    connection = apsw.Connection(str(raw.path.absolute()), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(_BUSY_MS)
    return connection


def _read(raw: Raw, connection: apsw.Connection, options: LogOptions) -> Log:
    builder = Builder("event", options.time_format)
    # One snapshot: the tables of a log that is being written would otherwise not fit each other.
    with connection:
        _must_be_ocel(raw, connection)
        types: dict[str, str] = {}
        for row in _rows(connection, "object"):
            _declare(row, types, builder)
        related = _related(connection, builder)
        rows_of = _event_tables(connection, builder)
        roles = named_keys(options.key_fields)
        must_occur(raw.name, roles, (_attributes(row) for rows in rows_of.values() for row in rows.values()))
        empty: dict[str, int] = {}
        unknown: dict[str, None] = {}
        listed: set[str] = set()
        number = 0
        for number, row in enumerate(_rows(connection, "event"), 1):
            try:
                identity = object_id(row["ocel_id"], "ocel_id")
                if identity in listed:
                    raise ValueError("a second event with this id")
                listed.add(identity)
                kind = object_id(row["ocel_type"], "ocel_type")
                details = rows_of[kind].pop(identity, None) if kind in rows_of else None
                if details is None:
                    raise ValueError(f"no row in the table of its type {kind!r}, so no time")
                data = _attributes(details)
                keys = keys_of(roles, data.get, empty)
            except ValueError as error:
                builder.problem(f"event {row['ocel_id']}", str(error), row)
                continue
            objects: list[Touched] = []
            for object_ in related.get(identity, ()):
                if object_ not in types:
                    unknown[object_] = None
                objects.append((types.get(object_, UNKNOWN_TYPE), object_, None))
            builder.event(number, identity, kind, details["ocel_time"], (*objects, *keys), data)
        for identity, ids in related.items():
            if identity not in listed:
                builder.problem(f"event {identity}", "related to objects, but no event", ids)
    builder.declared = dict(Counter(types.values()))
    note_unknown(builder, unknown)
    note_empty(builder, empty, number)
    return builder.finish(FORMAT)


def _attributes(row: _Row) -> dict[str, object]:
    return {k: v for k, v in row.items() if k not in ("ocel_id", "ocel_time") and v is not None}


def _must_be_ocel(raw: Raw, connection: apsw.Connection) -> None:
    tables = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table, needed in _NEEDED.items():
        columns = _columns(connection, table)
        missing = ", ".join(f"{table}.{column}" for column in needed if column not in columns)
        if missing:
            listed = ", ".join(tables[:8]) + (", …" if len(tables) > 8 else "")
            raise bad_log(raw.name, f"a SQLite database without {missing} (tables: {listed or 'none'})")


def _event_tables(connection: apsw.Connection, builder: Builder) -> dict[str, dict[str, _Row]]:
    """For each type of event, the rows of its table by event id. A missing table is a problem."""
    found: dict[str, dict[str, _Row]] = {}
    for row in _rows(connection, "event_map_type"):
        kind, table = str(row["ocel_type"]), f"event_{row['ocel_type_map']}"
        columns = _columns(connection, table)
        if not {"ocel_id", "ocel_time"} <= set(columns):
            builder.problem(f"table {table}", f"missing, or without ocel_id and ocel_time (type {kind!r})")
            continue
        found[kind] = {str(details["ocel_id"]): details for details in _rows(connection, table)}
    return found


def _related(connection: apsw.Connection, builder: Builder) -> dict[str, list[str]]:
    """The objects of each event, in the sequence of the table."""
    related: dict[str, list[str]] = {}
    for row in _rows(connection, "event_object"):
        event, touched = row["ocel_event_id"], row["ocel_object_id"]
        if event is None or touched is None:
            builder.problem("table event_object", "a relation without event or object", row)
            continue
        related.setdefault(str(event), []).append(str(touched))
    return related


def _declare(row: _Row, types: dict[str, str], builder: Builder) -> None:
    identity, kind = str(row["ocel_id"]), str(row["ocel_type"])
    known = types.setdefault(identity, kind)
    if known != kind:
        builder.problem(f"object {identity}", f"declared as {known!r} and again as {kind!r}; the first counts", row)


def _columns(connection: apsw.Connection, table: str) -> list[str]:
    return [str(name) for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _rows(connection: apsw.Connection, table: str) -> Iterator[_Row]:
    """All rows of a table as they lie in it: an index would give them in another sequence."""
    columns = _columns(connection, table)
    # Named one by one: * would also give columns that are computed, which the list does not have.
    query = f"SELECT {', '.join(map(_quoted, columns))} FROM {_quoted(table)} NOT INDEXED"
    for values in connection.execute(query):
        yield dict(zip(columns, values, strict=True))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
