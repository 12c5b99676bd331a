"""Watches side by side, in any sequence; threads and tasks of a handler; tables that change while somebody watches."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from sqlite3 import connect
from typing import Any

import pytest

from commute import App, Context
from commute.errors import UndeclaredAccessError
from commute.observe import sqlalchemy_events, sqlite_connections, watches
from commute.observe.watch import sanitizing, watching
from commute.testing import run
from tests.observe.planted import DDL, PLANTED, ROWS, Changed, on_block, on_sqlalchemy, on_sqlite3, on_sqlite3_before

TABLES = (*DDL, *ROWS)
SECOND = PLANTED[0]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "commute")


@pytest.mark.parametrize("place", [on_block, on_sqlite3, on_sqlite3_before, on_sqlalchemy])
def test_one_watch_inside_of_another_sees_as_much(place: Any) -> None:
    app = place(SECOND.statements, SECOND.wrong)
    with watching(app, keep=True) as outer:
        with watching(app, keep=True) as inner:
            run(app, [Changed()], tables=TABLES)
        both = {one.key for one in outer.observed}
        assert both == {one.key for one in inner.observed}
        assert "customer/7" in both
        outer.forget()
        run(app, [Changed()], tables=TABLES)
        assert {one.key for one in outer.observed} == both
    assert not watches.anybody()


@pytest.mark.parametrize("place", [on_block, on_sqlite3, on_sqlite3_before, on_sqlalchemy])
def test_watches_end_in_any_sequence(place: Any) -> None:
    app = place(SECOND.statements, SECOND.wrong)
    before = sqlite3.connect
    first, second = ExitStack(), ExitStack()
    first.enter_context(watching(app))
    watch = second.enter_context(watching(app))
    first.close()
    run(app, [Changed()], tables=TABLES)
    assert [one.access.key for one in watch.undeclared] == ["customer/7"]
    second.close()
    assert sqlite3.connect is before
    assert not watches.is_seen(sqlite_connections.trace)
    assert not watches.is_seen(sqlalchemy_events.trace)


def test_each_watch_calls_rows_as_its_own_app_does() -> None:
    """The connection is one, the keys are those of each app."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY, ref TEXT UNIQUE)")
    apps = []
    for declared in ("order/{order_id}", "order/{ref}"):
        app: App[Any] = App("named", "memory://")

        @app.on(Changed, writes=declared)
        def change(event: Changed) -> None:
            connection.execute("DELETE FROM orders WHERE ref = ? AND id = ?", (event.ref, event.order_id))

        apps.append(app)
    for app, key in zip(apps, ("order/1", "order/r-1"), strict=True):
        with watching(app, keep=True) as watch:
            run(app, [Changed()])
        assert [one.key for one in watch.observed] == [key]


def test_a_connection_that_was_open_before_is_interrupted_before_it_does_anything() -> None:
    app: App[Any] = App("before", "memory://")
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)")
    connection.execute("INSERT INTO orders VALUES(1, 'new')")
    connection.commit()  # what is interrupted undoes its whole transaction

    @app.on(Changed, reads="order/{order_id}")
    def change(event: Changed) -> None:
        connection.execute("UPDATE orders SET status = 'sent' WHERE id = ?", (event.order_id,))

    with pytest.raises(UndeclaredAccessError):
        run(app, [Changed()], sanitize=True)
    assert connection.execute("SELECT status FROM orders").fetchall() == [("new",)]


class OwnConnection(sqlite3.Connection):
    """One that an application has made for itself."""


class OwnCursor(sqlite3.Cursor):
    """The same."""


def _with_factory() -> sqlite3.Cursor:
    return sqlite3.connect(":memory:", factory=OwnConnection).cursor()


def _with_cursor() -> sqlite3.Cursor:
    return sqlite3.connect(":memory:").cursor(OwnCursor)


def _by_another_name() -> sqlite3.Cursor:
    return connect(":memory:").cursor()


@pytest.mark.parametrize("opened", [_with_factory, _with_cursor, _by_another_name])
def test_connections_of_other_classes_are_seen(opened: Any) -> None:
    app: App[Any] = App("classes", "memory://")

    @app.on(Changed, writes="order/{order_id}")
    def change(event: Changed) -> None:
        cursor = opened()
        sqlite3.Cursor.execute(cursor, "CREATE TABLE IF NOT EXISTS goods(sku TEXT PRIMARY KEY, stock INTEGER)")
        cursor.execute("UPDATE goods SET stock = 1 WHERE sku = ?", (event.sku,))

    with watching(app, keep=True) as watch:
        run(app, [Changed()])
    assert "goods/tea" in {one.access.key for one in watch.undeclared}


def test_many_rows_at_once_and_scripts_are_seen() -> None:
    app: App[Any] = App("many", "memory://")

    @app.on(Changed, writes="order/{order_id}")
    def change(event: Changed) -> None:
        connection = sqlite3.connect(":memory:")
        sqlite3.Cursor.execute(connection.cursor(), "CREATE TABLE goods(sku TEXT PRIMARY KEY, stock INTEGER)")
        given = ((sku, 1) for sku in (event.sku, event.other))
        connection.executemany("INSERT INTO goods VALUES(?, ?)", given)
        assert connection.execute("SELECT count(*) FROM goods").fetchone() == (2,)
        connection.cursor().executemany("DELETE FROM goods WHERE sku = ?", [(event.sku,)])
        connection.executescript("UPDATE goods SET stock = 3 WHERE sku = 'mug'; SELECT 1;")

    with watching(app, keep=True) as watch:
        run(app, [Changed()])
    assert {(one.mode, one.key) for one in watch.observed} == {
        ("write", "goods/tea"), ("write", "goods/mug"), ("read", "goods"),
    }  # fmt: skip


def test_threads_that_a_handler_begins_are_its_own() -> None:
    app: App[Any] = App("threads", "memory://")
    path = "file:threads?mode=memory&cache=shared"
    kept = sqlite3.connect(path, uri=True)
    kept.execute("CREATE TABLE goods(sku TEXT PRIMARY KEY, stock INTEGER)")
    pool = ThreadPoolExecutor(1)
    failed: list[str] = []

    def take(sku: str) -> None:
        connection = sqlite3.connect(path, uri=True)
        try:
            connection.execute("SELECT stock FROM goods WHERE sku = ?", (sku,))
        except UndeclaredAccessError as error:
            failed.append(error.message)
        connection.close()

    async def many(event: Changed) -> None:
        thread = threading.Thread(target=take, args=(event.sku,))
        thread.start()
        thread.join()
        pool.submit(take, event.other).result()
        await asyncio.get_running_loop().run_in_executor(pool, take, "in-a-loop")

    app.on(Changed, writes="order/{order_id}")(many)

    async def real() -> None:
        async with app.running():
            receipt = await app.publish(Changed())
            await receipt.outcome(timeout_s=10)
            pool.submit(take, "nobody's").result()

    with pytest.raises(UndeclaredAccessError), sanitizing(app):
        asyncio.run(real())
    pool.shutdown()
    assert [message.split()[2] for message in failed] == ["goods/tea", "goods/mug", "goods/in-a-loop"]


def test_a_thread_that_outlives_its_handler_is_not_the_next_ones() -> None:
    app: App[Any] = App("late", "memory://")
    path = "file:late?mode=memory&cache=shared"
    kept = sqlite3.connect(path, uri=True)
    kept.execute("CREATE TABLE goods(sku TEXT PRIMARY KEY, stock INTEGER)")
    go_on = threading.Event()

    def take() -> None:
        go_on.wait(10)
        with closing(sqlite3.connect(path, uri=True)) as connection:
            connection.execute("SELECT stock FROM goods WHERE sku = 'late'")

    late = threading.Thread(target=take)

    @app.on(Changed, reads="goods")
    def change(event: Changed) -> None:
        if event.quantity == 1:
            late.start()
        else:
            with closing(sqlite3.connect(path, uri=True)) as connection:
                connection.execute("SELECT stock FROM goods WHERE sku = 'own'")
            go_on.set()
            late.join()

    with watching(app, keep=True) as watch:
        assert not run(app, [Changed(quantity=1), Changed(quantity=2)], concurrency=1).dead
    kept.close()
    assert [one.key for one in watch.observed] == ["goods/own"]


def test_tables_that_change_while_somebody_watches_are_read_anew() -> None:
    app: App[Any] = App("changing", "memory://")

    @app.on(Changed, accesses=lambda event: [])
    async def change(event: Changed, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE bin SET stock = 1 WHERE name = ?", (event.sku,))
            if event.quantity == 1:
                tx.execute("CREATE TRIGGER more AFTER UPDATE ON bin BEGIN UPDATE goods SET stock = 1; END")

    with watching(app, keep=True) as watch:
        run(app, [Changed(quantity=1), Changed(quantity=2)], tables=TABLES, concurrency=1)
    first, second = watch.attempts
    assert ("goods", "write") not in first.seen
    assert ("goods", "write") in second.seen


CHILD = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)",
    "CREATE TABLE line(id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders(id), sku TEXT)",
    "INSERT INTO orders VALUES(1, 'new'), (2, 'new')",
    "INSERT INTO line VALUES(10, 1, 'tea'), (20, 2, 'tea')",
)


@pytest.mark.parametrize(
    ("text", "given", "caught"),
    [
        ("INSERT INTO line(order_id, sku) VALUES(?, ?)", (1, "mug"), False),
        ("INSERT INTO line(order_id, sku) VALUES(?, ?)", (2, "mug"), True),
        ("UPDATE line SET sku = ? WHERE order_id = ?", ("mug", 1), False),
        ("UPDATE line SET sku = ? WHERE id = ?", ("mug", 10), False),
        ("UPDATE line SET sku = ? WHERE id = ?", ("mug", 20), True),
        ("DELETE FROM line WHERE sku = ?", ("tea",), True),
    ],
)
def test_rows_are_under_the_row_that_they_belong_to(text: str, given: tuple[Any, ...], *, caught: bool) -> None:
    app: App[Any] = App("children", "memory://")

    @app.on(Changed, reads="order/{order_id}", writes="order/{order_id}/line")
    async def change(event: Changed, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(text, given)

    with watching(app, keep=True) as watch:
        assert not run(app, [Changed()], tables=CHILD).dead
    assert bool(watch.undeclared) == caught, watch.undeclared
