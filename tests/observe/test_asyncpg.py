"""asyncpg: what handlers touch through connections, pools, prepared statements and cursors, and through SQLAlchemy over
it, against a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from commute import App, Retry
from commute.observe import watches
from commute.observe.watch import watching
from tests.observe.planted import Changed, Options
from tests.observe.test_postgres import CASES, NAMES, url

assert url  # a fixture

Way = Callable[[str, str, Sequence[object]], Awaitable[None]]


def numbered(statement: str) -> str:
    """The statement with marks as asyncpg has them."""
    number = count(1)
    return re.sub("%s", lambda _: f"${next(number)}", statement)


async def by_execute(url: str, statement: str, given: Sequence[object]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *given)
    finally:
        await connection.close()


async def by_pool(url: str, statement: str, given: Sequence[object]) -> None:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        await pool.fetch(statement, *given)


async def by_transaction(url: str, statement: str, given: Sequence[object]) -> None:
    pool = asyncpg.create_pool(url, min_size=1, max_size=1)
    async with pool, pool.acquire() as connection, connection.transaction():
        await connection.fetchrow(statement, *given)


async def by_prepared(url: str, statement: str, given: Sequence[object]) -> None:
    connection = await asyncpg.connect(url)
    try:
        prepared = await connection.prepare(statement)
        await prepared.fetchval(*given)
    finally:
        await connection.close()


async def by_many(url: str, statement: str, given: Sequence[object]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(statement, (row for row in [given]))
    finally:
        await connection.close()


async def by_cursor(url: str, statement: str, given: Sequence[object]) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            if statement.startswith("UPDATE seen_goods"):
                await (await connection.cursor(f"{statement} RETURNING sku", *given)).fetch(1)
            else:
                async for _ in connection.cursor(statement, *given):
                    pass
    finally:
        await connection.close()


async def by_sqlalchemy(url: str, statement: str, given: Sequence[object]) -> None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(statement, tuple(given))
    finally:
        await engine.dispose()


WAYS: list[Way] = [by_execute, by_pool, by_transaction, by_prepared, by_many, by_sqlalchemy]


def app_for(use: Callable[[], Awaitable[None]], options: Options) -> App[Any]:
    app: App[Any] = App("seen", "memory://", tables=NAMES)

    @app.on(Changed, retry=Retry(attempts=1), on_exhausted="skip", **options)
    async def change(event: Changed) -> None:
        await use()

    return app


def outcome(app: App[Any]) -> str:
    async def real() -> str:
        async with app.running():
            found = await (await app.publish(Changed())).outcome(timeout_s=20)
        return "none" if found is None else found.status

    return asyncio.run(real())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "statement", "given", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_statements_touch(
    url: str, way: Way, name: str, statement: str, given: Sequence[object], expected: set[tuple[str, str]]
) -> None:
    app = app_for(lambda: way(url, numbered(statement), given), {})
    with watching(app, keep=True) as watch:
        assert outcome(app) == "processed"
    assert {(one.mode, one.key) for one in watch.observed} == expected
    assert {one.where.partition(":")[0] for one in watch.observed} == {"tests/observe/test_asyncpg.py"}


@pytest.mark.parametrize("way", [*WAYS, by_cursor])
def test_it_is_refused_before_it_is_sent_and_left_in_peace_where_it_is_declared(url: str, way: Way) -> None:
    statement = "UPDATE seen_goods SET stock = 1 WHERE sku = $1"
    for options, ended, lacks, stock in (
        ({"reads": "goods/{sku}"}, "skipped", ['writes="goods/{sku}"'], 5),
        ({"writes": "goods/{sku}", "adds": "audit"}, "processed", [], 1),
    ):
        app = app_for(lambda: way(url, statement, ("tea",)), options)
        with watching(app, refuse=True) as watch:
            assert outcome(app) == ended
        assert [one.add for one in watch.undeclared] == lacks
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT stock FROM seen_goods WHERE sku = 'tea'").fetchone() == (stock,)


@pytest.mark.parametrize("way", [by_execute, by_transaction, by_prepared, by_sqlalchemy])
def test_a_row_by_another_unique_column_is_looked_up(url: str, way: Way) -> None:
    statement = "UPDATE seen_orders SET status = 'sent' WHERE ref = $1"
    for options, caught in (({"writes": "order/{order_id}"}, False), ({"writes": "order/{quantity}"}, True)):
        app = app_for(lambda: way(url, statement, ("r-1",)), options)
        with watching(app) as watch:
            assert outcome(app) == "processed"
        assert bool(watch.undeclared) == caught


def test_a_row_is_looked_up_as_its_own_transaction_sees_it(url: str) -> None:
    async def use() -> None:
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            with watches.asking():  # unseen
                await connection.execute("UPDATE seen_orders SET ref = 'r-9' WHERE id = 1")
            await connection.execute("UPDATE seen_orders SET status = 'sent' WHERE ref = $1", "r-9")
        await connection.close()

    app = app_for(use, {"writes": "order/{order_id}"})
    with watching(app) as watch:
        ended = outcome(app)
    assert (ended, [one.add for one in watch.undeclared]) == ("processed", [])


def test_copies_may_touch_anything(url: str) -> None:
    async def use() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.copy_records_to_table("seen_goods", records=[("cup", 1)])
        finally:
            await connection.close()

    app = app_for(use, {"writes": "goods"})
    with watching(app, refuse=True) as watch:
        assert outcome(app) == "skipped"
    assert [one.access.key for one in watch.undeclared] == [""]


def test_what_sqlalchemy_sends_through_it_is_seen_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    own = watches.statement

    def counted(text: str, *rest: Any) -> None:
        if "seen_goods" in text and not watches.ASKING.get():
            seen.append(text)
        own(text, *rest)

    monkeypatch.setattr(watches, "statement", counted)
    app = app_for(lambda: by_sqlalchemy(url, "DELETE FROM seen_goods WHERE sku = $1", ("tea",)), {})
    with watching(app, keep=True):
        assert outcome(app) == "processed"
    assert len(seen) == 1
