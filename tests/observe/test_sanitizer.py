"""The sanitizer: each planted lack is found and named, before it happens; what is declared is left in peace."""

from __future__ import annotations

import logging

import pytest

from commute import App, Context
from commute.errors import UndeclaredAccessError
from commute.testing import run, sanitizing
from tests.observe.planted import DDL, PLACES, PLANTED, ROWS, Changed, Place, Row, on_block, on_sqlite3_before

TABLES = (*DDL, *ROWS)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "commute")


def test_there_are_enough() -> None:
    assert len(PLANTED) >= 20
    assert len({row.name for row in PLANTED}) == len(PLANTED)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("row", PLANTED, ids=str)
def test_a_planted_lack_is_caught(row: Row, place: Place) -> None:
    with pytest.raises(UndeclaredAccessError) as caught:
        run(place(row.statements, row.wrong), [Changed()], tables=TABLES, sanitize=True)
    assert caught.value.message.endswith(f"declare {row.lacks}")
    assert "change " in caught.value.message
    assert (caught.value.where or "").startswith("tests/observe/planted.py:")
    assert caught.value.slug == "undeclared"


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("row", PLANTED, ids=str)
def test_a_right_declaration_is_left_in_peace(row: Row, place: Place) -> None:
    result = run(place(row.statements, row.right), [Changed()], tables=TABLES, sanitize=True)
    assert not result.dead
    assert len(result.processed) == 1


@pytest.mark.parametrize("place", [place for place in PLACES if place is not on_sqlite3_before])
def test_it_is_refused_before_it_happens(place: Place) -> None:
    row = PLANTED[0]
    with sanitizing(app := place(row.statements, row.wrong)) as watch:
        result = run(app, [Changed()], tables=TABLES)
        assert [one.access.key for one in watch.undeclared] == ["customer/7"]
        assert [dead.status for dead in result.dead] == ["parked"]
        watch.forget()
    if place is on_block:
        assert (7, "ann@x", 0) in result.tables["customer"]


def test_an_unordered_handler_is_not_held_to_anything() -> None:
    assert not run(
        on_block([PLANTED[0].statements[0]], {"unordered": True}), [Changed()], tables=TABLES, sanitize=True
    ).dead


def test_each_handler_of_an_event_is_held_to_its_own_word() -> None:
    app: App[None] = App("two", "memory://")

    @app.on(Changed, writes="order/{order_id}")
    async def right(event: Changed, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = 'a' WHERE id = ?", (event.order_id,))

    @app.on(Changed, writes="customer/{customer_id}")
    async def wrong(event: Changed, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = 'b' WHERE id = ?", (event.order_id,))

    with pytest.raises(UndeclaredAccessError, match=r"^wrong writes order/1 "):
        run(app, [Changed()], tables=TABLES, sanitize=True)


def test_nothing_is_left_behind() -> None:
    import sqlite3

    before = sqlite3.connect
    row = PLANTED[0]
    for place in PLACES:
        app = place(row.statements, row.wrong)
        with pytest.raises(UndeclaredAccessError):
            run(app, [Changed()], tables=TABLES, sanitize=True)
        assert not run(app, [Changed()], tables=TABLES).dead
    assert sqlite3.connect is before


def test_events_that_waited_are_held_to_their_own_footprints() -> None:
    app = on_block(PLANTED[0].statements, PLANTED[0].right)
    events = [Changed(order_id=number, customer_id=number % 3) for number in range(60)]
    result = run(app, events, tables=TABLES, concurrency=4, sanitize=True)
    assert not result.dead
    assert len(result.processed) == 60
