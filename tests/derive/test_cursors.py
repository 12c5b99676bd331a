"""Cursors that are used again, keys that the database makes up, and connections that are opened for each event.

Each handler is read, and then run on a real database under the sanitizer: what it touches is inside of what was read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from commute import App, Event, Retry
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial

asyncpg: Any = pytest.importorskip("asyncpg")
RACKS = """
CREATE TABLE IF NOT EXISTS ledge (id INTEGER PRIMARY KEY, owner TEXT, load INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS hutch (
    id INTEGER PRIMARY KEY, ledge INTEGER, label TEXT UNIQUE, note TEXT, weight INTEGER DEFAULT 0
);
"""


class Moved(Event):
    one: int
    other: int
    back: bool = False
    label: str = "tea"
    note: str | None = None


class Bought(Event):
    id: int
    count: int


connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
connection.executescript(RACKS)


@pytest.fixture(autouse=True)
def rows() -> Iterator[None]:
    for table in ("hutch", "ledge"):
        connection.execute(f"DELETE FROM {table}")
    connection.executemany("INSERT INTO ledge (id, owner) VALUES (?, ?)", [(1, "ann"), (2, "bob"), (3, "cy")])
    connection.execute("INSERT INTO hutch (id, ledge, label) VALUES (7, 1, 'old')")
    yield


def one_or_the_other(event: Moved) -> None:
    cursor = connection.cursor()
    if event.back:
        cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.one,))
    else:
        cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.other,))
    (found,) = cursor.fetchone()
    connection.execute("UPDATE ledge SET load = 1 WHERE id = ?", (found,))


def perhaps_another(event: Moved) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.one,))
    if event.back:
        cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.other,))
    for row in cursor:
        connection.execute("UPDATE ledge SET load = 1 WHERE id = ?", (row[0],))


def asked_by_another_function(event: Moved) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.one,))
    _look(cursor, event)
    (found,) = cursor.fetchone()
    connection.execute("UPDATE ledge SET load = 1 WHERE id = ?", (found,))


def _look(cursor: sqlite3.Cursor, event: Moved) -> None:
    if event.back:
        return
    cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.other,))


def under_two_names(event: Moved) -> None:
    cursor = connection.cursor()
    first = cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.one,))
    cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.other,))
    (found,) = first.fetchone()
    connection.execute("UPDATE ledge SET load = 1 WHERE id = ?", (found,))


def in_sequence(event: Moved) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.one,))
    (found,) = cursor.fetchone()
    cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.other,))
    cursor.fetchone()
    cursor.execute("UPDATE ledge SET load = 1 WHERE id = ?", (found,))


def added(event: Moved) -> None:
    cursor = connection.cursor()
    cursor.execute("INSERT INTO ledge (load) VALUES (?)", (len(event.label),))
    number = int(cursor.lastrowid)  # type: ignore[arg-type]
    cursor.execute("UPDATE ledge SET load = 1 WHERE id = ?", (number,))
    cursor.execute("SELECT * FROM ledge WHERE id = ?", (number,))


def perhaps_added(event: Moved) -> None:
    cursor = connection.cursor()
    cursor.execute("INSERT OR IGNORE INTO hutch (ledge, label) VALUES (?, ?)", (event.one, event.label))
    cursor.execute("UPDATE hutch SET note = 'x' WHERE id = ?", (cursor.lastrowid,))


def added_or_changed(event: Moved) -> None:
    cursor = connection.cursor()
    cursor.execute(
        "INSERT INTO hutch (ledge, label) VALUES (?, ?) ON CONFLICT (label) DO UPDATE SET note = 'y' RETURNING id",
        (event.one, "old"),
    )
    (number,) = cursor.fetchone()
    cursor.execute("UPDATE hutch SET note = 'x' WHERE id = ?", (number,))


def added_by_hand(event: Moved) -> None:
    cursor = connection.cursor()
    cursor.execute("INSERT OR REPLACE INTO ledge (id, owner) VALUES (?, ?)", (event.one, event.label))
    cursor.execute("UPDATE ledge SET load = 1 WHERE id = ?", (event.one,))


BOTH = {("write", "ledge/1"), ("write", "ledge/2")}


class Racks:
    """Its cursor is set by a function of its own, as it was when the handlers were read."""

    def __init__(self) -> None:
        self.cursor: Any = None

    def connect(self) -> None:
        self.cursor = connection.cursor()


racks = Racks()
racks.connect()


def through_a_cursor_that_stands_there(event: Moved) -> None:
    racks.cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.one,))
    if event.back:
        row = racks.cursor.fetchone()
    else:
        racks.cursor.execute("SELECT id FROM ledge WHERE id = ?", (event.one,))
        rows = racks.cursor.fetchall()
        row = rows[int((len(rows) - 1) / 2)]
    racks.cursor.execute("UPDATE ledge SET load = 1 WHERE id = ?", (row[0],))


class Ledge:
    def __init__(self, number: int) -> None:
        self.number = number


class Ledges:
    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.cursor = cursor

    def get(self, number: int) -> Ledge:
        row = self.cursor.execute("SELECT id FROM ledge WHERE id = ?", (number,)).fetchone()
        return Ledge(row[0])

    def save(self, ledge: Ledge) -> None:
        self.cursor.execute("UPDATE ledge SET load = 2 WHERE id = ?", (ledge.number,))


def tried_again(event: Moved) -> None:
    for _ in range(3):
        try:
            ledges = Ledges(connection.cursor())
            ledges.save(ledges.get(event.one))
            return
        except sqlite3.OperationalError:
            continue


EXPECTED: list[tuple[Callable[[Moved], None], set[tuple[str, str]]]] = [
    (one_or_the_other, BOTH), (perhaps_another, BOTH), (asked_by_another_function, BOTH),
    (under_two_names, {("read", "ledge/1"), ("write", "ledge/2")}),
    (in_sequence, {("write", "ledge/1"), ("read", "ledge/2")}),
    (added, {("insert", "ledge/+new")}), (added_by_hand, {("write", "ledge/1")}),
    (through_a_cursor_that_stands_there, {("write", "ledge/1")}), (tried_again, {("write", "ledge/1")}),
]  # fmt: skip
ONLY_RUN = [perhaps_added, added_or_changed]
EVENTS = [Moved(one=1, other=2), Moved(one=1, other=2, back=True), Moved(one=1, other=2, label="old")]


def app_of(function: Callable[[Any], Any], event: type[Event] = Moved) -> App[Any]:
    app: App[Any] = App("racks", "memory://", derive=True)
    app.on(event, on_exhausted="skip", retry=Retry(attempts=1))(function)
    return app


def keys_of(app: App[Any], event: Event) -> set[tuple[str, str]]:
    (handler,) = app.handlers
    return {(access.mode, access.key) for access in handler.events[0].declared.footprint(event)}


@pytest.mark.parametrize(("function", "expected"), EXPECTED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_read(function: Callable[[Moved], None], expected: set[tuple[str, str]]) -> None:
    assert keys_of(app_of(function), Moved(one=1, other=2)) == expected


@pytest.mark.parametrize("function", [*(one for one, _ in EXPECTED), *ONLY_RUN], ids=lambda one: one.__name__)
def test_what_runs_is_inside_of_what_is_read(function: Callable[[Moved], None]) -> None:
    for event in EVENTS:
        app = app_of(function)
        with sanitizing(app):  # raises at the end
            trial(app, [Numbered("event-1", event)], Scene())


def test_a_row_that_was_perhaps_there_before_is_not_the_events_own() -> None:
    for function in ONLY_RUN:
        assert ("write", "hutch") in keys_of(app_of(function), Moved(one=1, other=2))


class Till:
    """Opens its file for each event, as services do; its tables are defined elsewhere."""

    def __init__(self, path: str) -> None:
        self.path = path

    def run(self, sql: str, given: Any = ()) -> None:
        with sqlite3.connect(self.path) as opened:
            opened.execute(sql, given)


def test_the_file_that_is_opened_for_each_event_tells_its_tables_and_what_sets_their_triggers_off(
    tmp_path: Path,
) -> None:
    till = Till(str(tmp_path / "till.db"))
    till.run("CREATE TABLE coin (id INTEGER PRIMARY KEY, name TEXT UNIQUE, count INTEGER)")
    till.run("CREATE TABLE gone (id INTEGER PRIMARY KEY, coin INTEGER)")
    parts = ("CREATE TRIGGER", "note_it AFTER DELETE ON coin BEGIN INSERT INTO gone (coin) VALUES (old.id); END")
    till.run(" ".join(parts))

    def drop(event: Bought) -> None:
        till.run("DELETE FROM coin WHERE id = ?", (event.id,))

    def change(event: Bought) -> None:
        till.run("UPDATE coin SET count = ? WHERE id = ?", (event.count, event.id))

    def add(event: Bought) -> None:
        till.run("INSERT INTO coin (id, count) VALUES (?, ?)", (event.id, event.count))

    def put(event: Bought) -> None:
        till.run("INSERT OR REPLACE INTO coin (id, count) VALUES (?, ?)", (event.id, event.count))

    event = Bought(id=5, count=2)
    assert keys_of(app_of(change, Bought), event) == {("write", "coin/5")}
    assert keys_of(app_of(add, Bought), event) == {("write", "coin/5")}
    for function in (drop, put):
        assert {key.split("/")[0] for _, key in keys_of(app_of(function, Bought), event)} == {"coin", "gone"}


# -- parameters that are numbered by the length of their list ----------------------------------------------------------


pool: Any = None


async def open_pool() -> None:
    global pool  # noqa: PLW0603 - as services do it
    pool = await asyncpg.create_pool("postgresql://nowhere")


async def numbered(event: Moved) -> None:
    sets, given = ["weight = $1"], [event.other]
    values: list[Any] = [*given]
    if event.note is not None:
        values.append(event.note)
        sets.append(f"note = COALESCE(note, ${len(values)})")
    values.extend([event.one, event.label])
    await pool.execute(
        f"UPDATE hutch SET {', '.join(sets)} WHERE id = ${len(values) - 1} AND label = ${len(values)}", *values
    )


async def numbered_and_then_moved(event: Moved) -> None:
    sets: list[str] = []
    values: list[Any] = []
    if event.note is not None:
        values.append(event.note)
        sets.append(f"note = ${len(values)}")
    values.append(event.one)
    where = f"id = ${len(values)}"
    values.insert(0, event.other)
    await pool.execute(f"UPDATE hutch SET {', '.join(sets)} WHERE {where}", *values)


async def numbered_for_another_list(event: Moved) -> None:
    values: list[Any] = []
    if event.note is not None:
        values.append(event.note)
    values.append(event.one)
    others = [event.other]
    others.append(event.other)
    await pool.execute(f"UPDATE hutch SET weight = 1 WHERE id = ${len(values)}", *others)


def test_a_parameter_that_is_numbered_by_the_length_of_its_list_is_the_last_of_it_then() -> None:
    event = Moved(one=1, other=2, note="x")
    assert keys_of(app_of(numbered), event) == {("write", "hutch/1")}
    assert {("write", "hutch/1"), ("write", "hutch/2")} <= keys_of(app_of(numbered_and_then_moved), event)
    assert ("write", "hutch/1") not in keys_of(app_of(numbered_for_another_list), event)


# -- drivers of which no server is asked -------------------------------------------------------------------------------


def _looks_at_its_count(event: Moved) -> None:
    with pymysql.connect(host="nowhere") as opened, opened.cursor() as cursor:
        if cursor.execute("UPDATE ledge SET load = load + %s WHERE id = %s", (event.one, event.other)) == 0:
            raise ValueError(event.other)


def _adds(event: Moved) -> None:
    with pymysql.connect(host="nowhere") as opened, opened.cursor() as cursor:
        cursor.execute("UPDATE ledge SET load = load + %s WHERE id = %s", (event.one, event.other))


pymysql: Any = ModuleType("pymysql")


def _connect(**details: Any) -> Any:
    raise NotImplementedError(details)


def _execute_many(cursor: Any, sql: str, rows: Any, template: str | None = None) -> None:
    raise NotImplementedError(cursor, sql, rows, template)


extras: Any = ModuleType("psycopg2.extras")
for _made, _name in ((_connect, "connect"), (_execute_many, "execute_values")):
    _made.__qualname__ = _made.__name__ = _name
_connect.__module__, _execute_many.__module__ = "pymysql", "psycopg2.extras"
pymysql.connect, extras.execute_values = _connect, _execute_many


def _many_at_once(event: Moved) -> None:
    rows = [(event.one, "a"), (event.other, "b")]
    extras.execute_values(connection.cursor(), "INSERT INTO ledge (id, owner) VALUES %s", rows)


def _many_in_any_columns(event: Moved) -> None:
    rows = [(event.one, "a"), (event.other, "b")]
    extras.execute_values(connection.cursor(), "INSERT INTO ledge VALUES %s", rows)


def test_how_many_rows_a_statement_has_met_is_what_drivers_of_mysql_give() -> None:
    event = Moved(one=1, other=2)
    assert keys_of(app_of(_adds), event) == {("add", "ledge/2")}
    assert keys_of(app_of(_looks_at_its_count), event) == {("write", "ledge/2")}


def test_many_rows_at_once_are_the_rows_of_their_columns() -> None:
    event = Moved(one=1, other=2)
    assert keys_of(app_of(_many_at_once), event) == {("write", "ledge/1"), ("write", "ledge/2")}
    assert keys_of(app_of(_many_in_any_columns), event) == {("write", "ledge")}


def by_names_of_columns(event: Moved) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT id, owner FROM ledge WHERE id = ?", (event.one,))
    names = [column[0] for column in cursor.description]
    for row in [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]:
        cursor.execute("UPDATE ledge SET load = 1 WHERE id = ?", (row["id"],))


def test_a_row_as_a_dict_by_the_names_of_the_columns_is_that_row() -> None:
    app = app_of(by_names_of_columns)
    assert keys_of(app, EVENTS[0]) == {("write", "ledge/1")}
    with sanitizing(app):
        trial(app, [Numbered("event-1", EVENTS[0])], Scene())


# -- rows as dicts -----------------------------------------------------------------------------------------------------


def _as_dict(event: Moved) -> dict[str, Any]:
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    cursor.execute("SELECT * FROM hutch WHERE label = ?", (event.label,))
    row = cursor.fetchone()
    if row is None:
        raise LookupError(event.label)
    return dict(row)


def as_a_dict(event: Moved) -> None:
    found = _as_dict(event)
    connection.execute("UPDATE hutch SET note = 'x' WHERE id = ?", (found["id"],))
    connection.execute("DELETE FROM hutch WHERE label = ?", (event.label,))


def in_another_case(event: Moved) -> None:
    found = {**_as_dict(event), "z": 1}
    if "ID" not in found:
        connection.execute("UPDATE hutch SET note = 'x' WHERE id = ?", (found.get("ID", event.other),))
    connection.execute("DELETE FROM hutch WHERE label = ?", (event.label,))


def put_into_the_dict(event: Moved) -> None:
    found = _as_dict(event)
    found["id"] = event.other
    connection.execute("UPDATE hutch SET note = 'x' WHERE id = ?", (found["id"],))
    connection.execute("DELETE FROM hutch WHERE label = ?", (event.label,))


def one_name_for_two_columns(event: Moved) -> None:
    sql = "SELECT hutch.id, ledge.id FROM ledge JOIN hutch ON hutch.ledge = ledge.id WHERE ledge.id = ?"
    for row in connection.execute(sql, (event.one,)).fetchall():
        connection.execute("UPDATE ledge SET load = 1 WHERE id = ?", (row[0],))


def test_a_row_as_a_dict_is_that_row_as_long_as_nothing_is_put_into_it() -> None:
    event = Moved(one=1, other=2)
    assert keys_of(app_of(as_a_dict), event) == {("write", "hutch/tea")}
    for function in (in_another_case, put_into_the_dict):
        assert ("write", "hutch") in keys_of(app_of(function), event)


def test_a_name_that_two_columns_have_is_none_of_both() -> None:
    assert ("write", "ledge") in keys_of(app_of(one_name_for_two_columns), Moved(one=1, other=2))


@pytest.mark.parametrize("function", [as_a_dict, in_another_case, put_into_the_dict, one_name_for_two_columns])
def test_what_runs_with_dicts_is_inside_of_what_is_read(function: Callable[[Moved], None]) -> None:
    for event in (Moved(one=1, other=2), Moved(one=1, other=7, label="old")):
        app = app_of(function)
        with sanitizing(app):
            trial(app, [Numbered("event-1", event)], Scene())
