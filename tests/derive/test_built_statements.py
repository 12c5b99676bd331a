"""Statements that are put together while the handler runs: lists of columns, of conditions, and of their parameters.

Each handler is read, and then run on a real database under the sanitizer: what it touches is inside of what was read.
"""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import StaticPool, create_engine, text

from commute import App, Event, Retry
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial

asyncpg: Any = pytest.importorskip("asyncpg")
TABLES = """
CREATE TABLE IF NOT EXISTS part (id TEXT PRIMARY KEY, state TEXT, note TEXT, shelf TEXT, count INTEGER DEFAULT 0);
"""


class Changed(Event):
    id: str
    state: str = "new"
    note: str | None = None
    shelf: str | None = None
    ids: tuple[str, ...] = ()


connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
connection.executescript(TABLES)
engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)


def run(sql: str, parameters: Any = ()) -> list[Any]:
    cursor = connection.cursor()
    cursor.execute(sql, parameters)
    return cursor.fetchall()


def some_columns(event: Changed) -> None:
    sets = ["state = ?"]
    values: list[Any] = [event.state]
    if event.note is not None:
        sets.append("note = ?")
        values.append(event.note)
    if event.shelf is not None:
        sets.append("shelf = ?")
        values.append(event.shelf)
    values.append(event.id)
    run(f"UPDATE part SET {', '.join(sets)} WHERE id = ?", values)


def columns_by_name(event: Changed) -> None:
    changes(event.id, note=event.note, shelf=event.shelf)


def changes(key: str, **given: str | None) -> None:
    sets, values = ["state = 'seen'"], []
    for name, value in given.items():
        if value is not None:
            sets.append(f"{name} = ?")
            values.append(value)
    run("UPDATE part SET " + ", ".join(sets) + " WHERE id = ?", [*values, key])


def a_copy_with_the_key(event: Changed) -> None:
    values = [event.state]
    if event.note:
        values.append(event.note)
    run(f"UPDATE part SET state = ?{', note = ?' if event.note else ''} WHERE id = ?", (*values, event.id))


def key_first(event: Changed) -> None:
    sql, values = "SELECT * FROM part WHERE id = ?", [event.id]
    if event.note:
        sql += " AND note = ?"
        values.append(event.note)
    if event.shelf:
        sql += " AND shelf = ?"
        values.append(event.shelf)
    run(sql, values)


def in_a_list_and_by_key(event: Changed) -> None:
    marks = ", ".join("?" * len(event.ids))
    run(f"UPDATE part SET note = 'x' WHERE state NOT IN ({marks}) AND id = ?", [*event.ids, event.id])


def key_in_a_branch(event: Changed) -> None:
    values = [event.state]
    if event.note:
        values.append(event.note)
    else:
        values.append(event.id)
    run("UPDATE part SET state = ? WHERE id = ?", values)


def key_left_out(event: Changed) -> None:
    values = [event.state, event.state]
    with suppress(ZeroDivisionError):
        print(1 / len(event.ids))
        values.append(event.id)
    run(f"UPDATE part SET state = ?{', note = ?' if event.ids else ''} WHERE id = ?", values)


def key_by_a_function(event: Changed) -> None:
    values = [event.state, event.note or "x"]

    def add(value: str) -> None:
        if event.note:
            return
        values.append(value)

    add(event.id)
    run(f"UPDATE part SET state = ?{'' if event.note else ', note = ?'} WHERE id = ?", values)


def key_by_a_loop(event: Changed) -> None:
    values = [event.state, event.id]
    for one in event.ids:
        if one == event.id:
            continue
        values.append(one)
    run(f"UPDATE part SET state = ?{', note = ?' if len(values) > 2 else ''} WHERE id = ?", values)


def key_put_before(event: Changed) -> None:
    values = [event.id]
    values.insert(0, event.state)
    run("UPDATE part SET state = ? WHERE id = ?", values)


def key_taken_away(event: Changed) -> None:
    values = [event.id, event.state]
    values.append("p2")
    values.pop(0)
    run("UPDATE part SET state = ? WHERE id = ?", values)


def key_replaced(event: Changed) -> None:
    values = [event.state, event.state]
    values.append(event.id)
    del values[0]
    values[1] = "p2"
    run("UPDATE part SET state = ? WHERE id = ?", values)


def key_of_a_map(event: Changed) -> None:
    values = [event.state, event.id]
    list(map(values.append, event.ids))  # none, or one
    run(f"UPDATE part SET state = ?{', note = ?' if event.ids else ''} WHERE id = ?", values)


def key_if_both(event: Changed) -> None:
    values = [event.state, event.id]
    _ = event.note and values.append(event.note)  # type: ignore[func-returns-value]
    run(f"UPDATE part SET state = ?{', note = ?' if event.note else ''} WHERE id = ?", values)


def some_conditions(event: Changed) -> None:
    conditions = ["state = 'new'"]
    values = []
    if event.shelf:
        conditions.append("shelf = ?")
        values.append(event.shelf)
    if event.note:
        conditions.append("id = 'p1'")
        conditions.remove("state = 'new'")
    run(f"UPDATE part SET count = count + 1 WHERE {' AND '.join(conditions)}", values)


def as_a_key(event: Changed) -> None:
    parts = ["state = a"]
    if event.note:
        parts.append("state = b")
    run("SELECT * FROM part WHERE id = ?", (", ".join(parts),))


def column_of_the_event(event: Changed) -> None:
    sets = [f"{name} = ?" for name in event.ids]
    run(f"UPDATE part SET {', '.join(sets)} WHERE id = ?", [*["x"] * len(sets), event.id])


async def by_numbers(event: Changed) -> None:
    conditions, values = ["state = $1"], [event.state]
    if event.note:
        values.append(event.note)
        conditions.append(f"note = ${len(values)}")
    async with asyncpg.create_pool("postgresql://nowhere") as pool:
        await pool.fetch("SELECT * FROM part WHERE " + " AND ".join(conditions), *values)


async def set_by_numbers(event: Changed) -> None:
    sets, values = [], []
    for name, value in {"note": event.note, "shelf": event.shelf}.items():
        if value is not None:
            values.append(value)
            sets.append(f"{name} = ${len(values)}")
    async with asyncpg.create_pool("postgresql://nowhere") as pool:
        await pool.execute(f"UPDATE part SET {', '.join(sets)} WHERE id = ${len(values) + 1}", *values, event.id)


async def a_number_in_the_table(event: Changed) -> None:
    async with asyncpg.create_pool("postgresql://nowhere") as pool:
        await pool.fetch(f"SELECT * FROM part{len(event.ids)} WHERE id = $1", event.id)


def one_of_a_few_columns(event: Changed) -> None:
    column = event.note
    if column not in ("note", "shelf"):
        raise ValueError(column)
    run(f"UPDATE part SET {column} = 'x' WHERE id = ?", (event.id,))


def any_column(event: Changed) -> None:
    column = event.note
    if column in ("note", "shelf"):
        return
    run(f"UPDATE part SET {column} = 'x' WHERE id = ?", (event.id,))


def from_a_dict(event: Changed) -> None:
    row = {"id": event.id, "state": event.state}
    run(f"INSERT INTO part ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


def from_a_dict_that_may_lack_one(event: Changed) -> None:
    row = {}
    if event.note:
        row["note"] = event.note
    row["id"] = event.id
    run("SELECT * FROM part WHERE id = ?", list(row.values())[-1:])
    run(f"UPDATE part SET state = ?{', note = ?' if event.note else ''}", ["x", *row.values()][: 1 + bool(event.note)])
    run("DELETE FROM part WHERE id = ?", list(row.values())[:1])


def first_of_a_dict(event: Changed) -> None:
    row = {}
    if event.shelf:
        row["state"] = event.state
    row["id"] = event.id
    run("UPDATE part SET note = 'x' WHERE id = ?", (list(row.values())[0],))  # noqa: RUF015 - as services write it


def conditions_and_a_limit(event: Changed) -> None:
    conditions, values = [], []
    if event.note:
        conditions.append("note = ?")
        values.append(event.note)
    sql = "SELECT * FROM part"
    if conditions:
        sql += " WHERE " + " AND ".join(conditions)
    sql += " LIMIT ?"
    values.append("5")
    run(sql, values)


def by_alchemy(event: Changed) -> None:
    sets, values = ["state = :state"], {"state": event.state, "id": event.id}
    if event.note:
        sets.append("note = :note")
        values["note"] = event.note
    with engine.begin() as opened:
        opened.execute(text(f"UPDATE part SET {', '.join(sets)} WHERE id = :id"), values)


WHOLE = {"part"}
ROW = {"part/p1"}
EXPECTED: list[tuple[Callable[[Changed], Any], set[str]]] = [
    (some_columns, ROW), (columns_by_name, ROW), (a_copy_with_the_key, ROW), (key_first, ROW),
    (in_a_list_and_by_key, ROW), (key_left_out, {"part/p1", "part/new"}), (key_put_before, {"part/p1", "part/new"}),
    (key_taken_away, {"part/p1", "part/new", "part/p2"}), (key_replaced, {"part/p1", "part/new", "part/p2"}),
    (some_conditions, WHOLE), (by_numbers, WHOLE), (set_by_numbers, {"part", "part/p1"}), (a_number_in_the_table, {""}),
    (one_of_a_few_columns, ROW), (any_column, {""}), (from_a_dict_that_may_lack_one, {"part", "part/p1"}),
    (conditions_and_a_limit, WHOLE), (by_alchemy, ROW), (as_a_key, WHOLE), (column_of_the_event, {""}),
]  # fmt: skip
ALL = [from_a_dict, first_of_a_dict, key_in_a_branch, key_by_a_function, key_by_a_loop, key_of_a_map, key_if_both]
EVENTS = [
    Changed(id="p1"), Changed(id="p1", note="p2"), Changed(id="p1", note="p2", shelf="p3"),
    Changed(id="p1", shelf="p3"),
    Changed(id="p1", ids=("p2", "p3")), Changed(id="p1", ids=("p1",)), Changed(id="p1", ids=("note", "shelf")),
]  # fmt: skip


def app_of(function: Callable[[Changed], Any]) -> App[Any]:
    app: App[Any] = App("parts", "memory://", derive=True)
    app.on(Changed, on_exhausted="skip", retry=Retry(attempts=1))(function)
    return app


def keys_of(app: App[Any], event: Changed) -> set[str]:
    (handler,) = app.handlers
    return {access.key for access in handler.events[0].declared.footprint(event)}


@pytest.mark.parametrize(("function", "expected"), EXPECTED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_read(function: Callable[[Changed], Any], expected: set[str]) -> None:
    assert keys_of(app_of(function), Changed(id="p1")) == expected


HERE = [one for one, _ in EXPECTED if not inspect.iscoroutinefunction(one)]  # others are read only


@pytest.mark.parametrize("function", [*HERE, *ALL], ids=lambda one: one.__name__)
def test_what_runs_is_inside_of_what_is_read(function: Callable[[Changed], Any]) -> None:
    for event in EVENTS:
        connection.execute("DELETE FROM part")
        connection.executemany("INSERT INTO part (id, state) VALUES (?, 'new')", [("p1",), ("p2",), ("p3",), ("new",)])
        app = app_of(function)
        with sanitizing(app):  # raises at the end
            trial(app, [Numbered("event-1", event)], Scene())
