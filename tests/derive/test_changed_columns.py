"""Columns that a statement sets otherwise than one by one: their rows, their parents, and who finds rows by them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from commute import App, Context, Event
from commute.core.footprint import conflicts
from commute.derive.application import derive

TABLES = [
    "CREATE TABLE shelf (id INTEGER PRIMARY KEY, room TEXT)",
    "CREATE TABLE item (id INTEGER PRIMARY KEY, shelf INTEGER REFERENCES shelf(id), code TEXT UNIQUE, note TEXT)",
    "CREATE TABLE label (item INTEGER REFERENCES item(id) ON UPDATE CASCADE, text TEXT)",
]


class Put(Event):
    item: int
    shelf: int
    code: str = "c"


def stands(event: Put, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("SELECT * FROM item WHERE shelf = ?", (event.shelf,))


def built(event: Put, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("INSERT INTO shelf (id, room) VALUES (?, 'a')", (event.shelf,))


def labelled(event: Put, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("SELECT * FROM label WHERE item = ?", (event.item,))


def moved_together(event: Put, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("UPDATE item SET (note, shelf) = ('x', ?) WHERE id = ?", (event.shelf, event.item))


def moved_by_query(event: Put, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("UPDATE item SET (note, shelf) = (SELECT 'x', max(shelf) FROM item) WHERE id = ?", (event.item,))


def put_or_moved(event: Put, ctx: Context) -> None:
    with ctx.transaction() as tx:
        sql = "INSERT INTO item (id, shelf) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET shelf = excluded.shelf"
        tx.execute(sql, (event.item, event.shelf))


def put_or_moved_elsewhere(event: Put, ctx: Context) -> None:
    with ctx.transaction() as tx:
        sql = "INSERT INTO item (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET shelf = ?"
        tx.execute(sql, (event.item, event.shelf))


def put_or_numbered(event: Put, ctx: Context) -> None:
    with ctx.transaction() as tx:
        sql = "INSERT INTO item (id, code) VALUES (?, ?) ON CONFLICT (code) DO UPDATE SET id = excluded.id"
        tx.execute(sql, (event.item, event.code))


Handler = Callable[[Put, Context], None]
ONE, TWO = Put(item=1, shelf=1), Put(item=2, shelf=2, code="d")
MEET: list[tuple[Handler, Put, Handler, Put]] = [
    (moved_together, ONE, built, ONE),  # without the shelf the item cannot stand there
    (moved_together, ONE, stands, TWO),  # it may have stood there before
    (moved_by_query, ONE, built, TWO),
    (put_or_moved, ONE, stands, TWO),
    (put_or_moved, ONE, built, ONE),
    (put_or_moved_elsewhere, ONE, built, ONE),
    (put_or_moved_elsewhere, ONE, stands, TWO),
    (put_or_numbered, ONE, labelled, TWO),  # its label goes with it
]
APART: list[tuple[Handler, Put, Handler, Put]] = [
    (moved_together, ONE, built, TWO),
    (moved_together, ONE, moved_together, TWO),
    (put_or_moved, ONE, put_or_moved, TWO),
]


def meet(first: Handler, one: Put, second: Handler, two: Put) -> bool:
    app: App[None] = App("shelves", "memory://")
    for function in dict.fromkeys([first, second]):
        app.on(Put)(function)
    found = derive(app.handlers, ddl=TABLES)
    made = [found.declared(handler, handler.events[0]).declared for handler in app.handlers]
    return conflicts(made[0].footprint(one), made[-1].footprint(two))


@pytest.mark.parametrize(("first", "one", "second", "two"), MEET)
def test_what_is_set_is_met(first: Handler, one: Put, second: Handler, two: Put) -> None:
    assert meet(first, one, second, two)


@pytest.mark.parametrize(("first", "one", "second", "two"), APART)
def test_other_rows_stay_apart(first: Handler, one: Put, second: Handler, two: Put) -> None:
    assert not meet(first, one, second, two)
