"""SQL of which only the pieces are known, and SQL that the parser does not understand: the tables that it names, whole.

Each handler is read, and then run on a real database under the sanitizer: what it touches is inside of what was read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from commute import App, Event, Retry
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial

TABLES = """
CREATE TABLE IF NOT EXISTS parlour (id INTEGER PRIMARY KEY, city TEXT, calling TEXT);
CREATE TABLE IF NOT EXISTS seat (id INTEGER PRIMARY KEY, parlour INTEGER REFERENCES parlour(id) ON DELETE CASCADE,
    kind TEXT, price INTEGER);
"""


class Asked(Event):
    id: int
    city: str | None = None
    kind: str | None = None
    low: int | None = None
    high: int | None = None
    name: str | None = None
    column: str = "city"


connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
connection.executescript(TABLES)


def many_filters(event: Asked) -> None:
    sql = "SELECT hall.id, count(*) FROM parlour hall"
    given: list[Any] = []
    if event.kind or event.low:
        sql += " JOIN seat chair ON chair.parlour = hall.id"
    sql += " WHERE 1 = 1"
    if event.city:
        sql += " AND hall.city = ?"
        given.append(event.city)
    if event.kind:
        sql += " AND chair.kind = ?"
        given.append(event.kind)
    if event.low:
        sql += " AND chair.price >= ?"
        given.append(event.low)
    if event.name:
        sql += " AND hall.calling = ?"
        given.append(event.name)
    sql += f" GROUP BY hall.id ORDER BY {'hall.city' if event.city else 'hall.id'} LIMIT {10 if event.high else 20}"
    connection.execute(sql, given)


def joined_pieces(event: Asked) -> None:
    sql = ["SELECT * FROM seat"]
    if event.kind:
        sql.append("WHERE kind = ?")
    sql.append("ORDER BY price")
    if event.high:
        sql.append("DESC")
    sql.append("LIMIT 3")
    connection.execute(" ".join(sql), [event.kind] if event.kind else [])


def a_change_of_pieces(event: Asked) -> None:
    sql = ["UPDATE seat SET price = price + 1"]
    if event.kind:
        sql.append("WHERE kind = ?")
    sql.append("-- all of them")
    connection.execute(" ".join(sql), [event.kind] if event.kind else [])


def a_deletion_of_pieces(event: Asked) -> None:
    sql = ["DELETE FROM parlour WHERE id IN"]
    sql.append("(SELECT parlour FROM seat WHERE price < ?)" if event.low else "(SELECT id FROM parlour WHERE id = ?)")
    connection.execute(" ".join(sql), [event.low or event.id])


def glued(event: Asked) -> None:
    connection.execute("UPDATE seat SET price = ?WHERE id = ?", (event.id, event.id))


def a_table_in_another_piece(event: Asked) -> None:
    sql = ["SELECT * FROM"]
    sql.append("seat" if event.kind else "parlour")
    connection.execute(" ".join(sql))


def a_name_in_two_pieces(event: Asked) -> None:
    names = [f"{start}{end}" for start in ("se", "par") for end in ("at", "lour", "x", "y", "z", "w", "v")]
    sql = f"SELECT * FROM {names[0] if event.kind else names[event.id]}"
    connection.execute(sql)


def a_column_of_the_event(event: Asked) -> None:
    sql = ["SELECT * FROM parlour"]
    if event.city:
        sql.append(f"ORDER BY {event.column}")
    connection.execute(" ".join(sql))


def a_definition_of_pieces(event: Asked) -> None:
    sql = ["CREATE INDEX IF NOT EXISTS", "prices"]
    if event.kind:
        sql.append("ON seat (price)")
    else:
        sql.append("ON seat (kind)")
    connection.execute(" ".join(sql))


SEATS = {("read", "seat"), ("read", "parlour")}
EXPECTED: list[tuple[Callable[[Asked], None], set[tuple[str, str]]]] = [
    (many_filters, SEATS), (joined_pieces, {("read", "seat")}),
    (a_change_of_pieces, {("write", "seat"), ("read", "parlour")}),
    (a_deletion_of_pieces, {("write", "seat"), ("write", "parlour")}),
    (glued, {("write", "seat/1")}),
    *((one, {("write", "")}) for one in (a_table_in_another_piece, a_column_of_the_event, a_definition_of_pieces)),
]  # fmt: skip
EVENTS = [
    Asked(id=1), Asked(id=1, city="b"), Asked(id=1, kind="x", low=3), Asked(id=1, city="b", kind="x", low=1, name="n"),
    Asked(id=1, high=3, name="n"),
]  # fmt: skip


def app_of(function: Callable[[Asked], Any]) -> App[Any]:
    app: App[Any] = App("parlours", "memory://", derive=True)
    app.on(Asked, on_exhausted="skip", retry=Retry(attempts=1))(function)
    return app


def keys_of(app: App[Any], event: Asked) -> set[tuple[str, str]]:
    (handler,) = app.handlers
    return {(access.mode, access.key) for access in handler.events[0].declared.footprint(event)}


@pytest.mark.parametrize(("function", "expected"), EXPECTED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_read(function: Callable[[Asked], None], expected: set[tuple[str, str]]) -> None:
    assert keys_of(app_of(function), Asked(id=1)) == expected


@pytest.mark.parametrize(
    "function", [*(one for one, _ in EXPECTED), a_name_in_two_pieces], ids=lambda one: one.__name__
)
def test_what_runs_is_inside_of_what_is_read(function: Callable[[Asked], None]) -> None:
    for event in EVENTS:
        connection.executescript("DELETE FROM seat; DELETE FROM parlour; INSERT INTO parlour VALUES (1, 'b', 'n');")
        app = app_of(function)
        with sanitizing(app):  # raises at the end
            trial(app, [Numbered("event-1", event)], Scene())
