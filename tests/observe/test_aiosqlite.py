"""aiosqlite, whose connections have threads of their own: what they run is the handler's that calls, on a real loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from commute import App, Retry
from commute.observe import watches
from commute.observe.watch import Undeclared, watching
from tests.observe.planted import DDL, PLANTED, ROWS, Changed, Options, Row


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "commute")


@pytest.fixture
def path(tmp_path: Path) -> str:
    async def made() -> str:
        found = str(tmp_path / "app.db")
        async with aiosqlite.connect(found) as connection:
            await connection.executescript("; ".join((*DDL, *ROWS)))
            await connection.commit()
        return found

    return asyncio.run(made())


Use = Callable[[Changed], Awaitable[None]]


def app_for(use: Use, options: Options) -> App[Any]:
    app: App[Any] = App("planted", "memory://")

    @app.on(Changed, retry=Retry(attempts=1), on_exhausted="skip", **options)
    async def change(event: Changed) -> None:
        await use(event)

    return app


async def outcomes(app: App[Any], *events: Changed) -> list[str]:
    """How each of them ended, one after the other."""
    found: list[str] = []
    async with app.running():
        for event in events:
            outcome = await (await app.publish(event)).outcome(timeout_s=20)
            found.append("none" if outcome is None else outcome.status)
    return found


@pytest.mark.parametrize("row", PLANTED, ids=str)
def test_a_planted_lack_is_caught_before_it_happens_and_a_right_declaration_left_in_peace(row: Row, path: str) -> None:
    async def ran(options: Options) -> tuple[list[str], list[Undeclared]]:
        async with aiosqlite.connect(path) as connection:

            async def use(event: Changed) -> None:
                for text, fields in row.statements:
                    await connection.execute_fetchall(text, [getattr(event, field) for field in fields])

            app = app_for(use, options)
            with watching(app, refuse=True) as watch:
                return await outcomes(app, Changed()), watch.undeclared

    ended, undeclared = asyncio.run(ran(row.wrong))
    assert ended == ["skipped"]
    assert [one.add for one in undeclared] == [row.lacks]
    assert undeclared[0].access.where.startswith("tests/observe/test_aiosqlite.py:")
    ended, undeclared = asyncio.run(ran(row.right))
    assert ended == ["processed"]
    assert not undeclared


async def _by_execute(connection: aiosqlite.Connection, text: str, given: Sequence[Any]) -> None:
    await connection.execute(text, given)


async def _by_insert(connection: aiosqlite.Connection, text: str, given: Sequence[Any]) -> None:
    await connection.execute_insert(text, given)


async def _by_cursor(connection: aiosqlite.Connection, text: str, given: Sequence[Any]) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute(text, given)


async def _by_many(connection: aiosqlite.Connection, text: str, given: Sequence[Any]) -> None:
    await connection.executemany(text, (row for row in [given]))


async def _by_script(connection: aiosqlite.Connection, text: str, given: Sequence[Any]) -> None:
    await connection.executescript(f"SELECT 1; {text.replace('?', repr(given[0]))}")


WAYS = [_by_execute, _by_insert, _by_cursor, _by_many, _by_script]


@pytest.mark.parametrize("watched_first", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_it_is_refused_before_it_happens(way: Any, path: str, *, watched_first: bool) -> None:
    """Whether the connection was opened while somebody watches, or before."""

    async def both() -> tuple[list[str], list[str], list[Any]]:
        opened: list[aiosqlite.Connection] = []

        async def use(event: Changed) -> None:
            await way(opened[0], "UPDATE goods SET stock = 1 WHERE sku = ?", [event.sku])

        app = app_for(use, {"reads": "goods/{sku}"})
        if not watched_first:
            opened.append(await aiosqlite.connect(path))
        with watching(app, refuse=True) as watch:
            if watched_first:
                opened.append(await aiosqlite.connect(path))
            ended = await outcomes(app, Changed())
            rows = await opened[0].execute_fetchall("SELECT stock FROM goods WHERE sku = 'tea'")
        await opened[0].close()
        return ended, [one.add for one in watch.undeclared], list(rows)

    assert asyncio.run(both()) == (["skipped"], ['writes="goods/{sku}"'], [(5,)])


def test_a_connection_that_one_handler_opens_serves_the_next_one_too(path: str) -> None:
    opened: list[aiosqlite.Connection] = []

    async def use(event: Changed) -> None:
        if not opened:
            opened.append(await aiosqlite.connect(path))
        await opened[0].execute("UPDATE goods SET stock = 1 WHERE sku = ?", (event.sku,))

    async def both(app: App[Any]) -> list[str]:
        found = await outcomes(app, Changed(sku="tea", quantity=1), Changed(sku="mug", quantity=2))
        await opened[0].execute("UPDATE goods SET stock = 2")  # nobody's
        await opened[0].close()
        return found

    app = app_for(use, {"writes": ["goods/{sku}", "state/list"]})  # `opened` is one
    with watching(app, keep=True) as watch:
        assert asyncio.run(both(app)) == ["processed", "processed"]
    rows = [(one.mode, one.key) for one in watch.observed if one.key != "state/list"]
    assert rows == [("write", "goods/tea"), ("write", "goods/mug")]
    assert not watch.undeclared


def test_what_sqlalchemy_sends_through_it_is_seen_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    own = watches.statement

    def counted(text: str, *rest: Any) -> None:
        if "goods" in text and not watches.ASKING.get():
            seen.append(text)
        own(text, *rest)

    monkeypatch.setattr(watches, "statement", counted)

    async def both() -> tuple[list[str], list[str]]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")

        async def use(event: Changed) -> None:
            async with engine.begin() as connection:
                await connection.exec_driver_sql("SELECT stock FROM goods WHERE sku = ?", (event.sku,))
                await connection.exec_driver_sql("UPDATE goods SET stock = 1 WHERE sku = ?", (event.sku,))

        app = app_for(use, {"reads": "goods/{sku}"})
        with watching(app, refuse=True, keep=True) as watch:
            ended = await outcomes(app, Changed())
        await engine.dispose()
        return ended, [one.add for one in watch.undeclared]

    assert asyncio.run(both()) == (["skipped"], ['writes="goods/{sku}"'])
    assert [text.split()[0] for text in seen] == ["SELECT", "UPDATE"]
