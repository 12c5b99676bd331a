"""Drivers and styles of services with plain SQL: connections however they are opened, texts however they are laid out.

No database is asked: the handlers are read, with the tables that this module defines.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import aiosqlite
import psycopg
import pytest

from commute import App, Event
from commute.derive.application import Derived

asyncpg: Any = pytest.importorskip("asyncpg")
TABLES = """CREATE TABLE purse (id INTEGER PRIMARY KEY, coins INTEGER, note TEXT)"""
_pool: Any = None


class Paid(Event):
    purse: int
    coins: int


class Shared(Event):
    purses: list[int]


async def pool() -> Any:
    global _pool  # noqa: PLW0603 - as services do it
    if _pool is None:
        _pool = await asyncpg.create_pool("postgresql://nowhere")
    return _pool


class Purses:
    """A repository whose statements go over several lines."""

    async def pay(self, purse: int, coins: int) -> None:
        async with aiosqlite.connect("nowhere.db") as db:
            await db.execute(
                """
                UPDATE purse
                SET coins = coins + ?
                WHERE id = ?
                """,
                (coins, purse),
            )
            await db.commit()

    async def look(self, purse: int) -> dict[str, Any] | None:
        async with (
            aiosqlite.connect("nowhere.db") as db,
            db.execute("SELECT * FROM purse WHERE id = ?", (purse,)) as cursor,
        ):
            row = await cursor.fetchone()
            if row is None:
                return None
            names = [column[0] for column in cursor.description]
            return dict(zip(names, row, strict=True))

    def opened(self, connection: psycopg.Connection[Any], purse: int) -> dict[str, Any]:
        """Get or create, by calling itself."""
        row = connection.execute("SELECT coins, note FROM purse WHERE id = %s", (purse,)).fetchone()
        if row is None:
            connection.execute("INSERT INTO purse (id, coins) VALUES (%s, 0)", (purse,))
            return self.opened(connection, purse)
        return {"coins": row[0], "note": row[1]}


purses = Purses()


class Proxy:
    """Stands for an object that is there during a request alone."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        raise RuntimeError("outside of a request")


now = Proxy()


def keys(app: App[Any]) -> dict[str, list[tuple[str, str]]]:
    found = app.derived()
    assert isinstance(found, Derived)
    for place, one in found.found.items():
        assert not one.everything, f"{place}: {one.everything}"
    return {handler: [(key.mode, str(key)) for key in one.keys] for (handler, _), one in found.found.items()}


def test_aiosqlite_is_followed_into_statements_over_several_lines() -> None:
    app = App("purses", "memory://", derive=True)

    @app.on(Paid)
    async def pay(event: Paid) -> None:
        await purses.pay(event.purse, event.coins)

    @app.on(Shared)
    async def look(event: Shared) -> None:
        for purse in event.purses:
            await purses.look(purse)

    assert keys(app) == {"pay": [("add", "purse/{purse}")], "look": [("read", "purse/{purses.*}")]}


def test_a_pool_of_asyncpg_that_is_opened_at_first_use_gives_connections() -> None:
    app = App("purses", "memory://", derive=True)

    @app.on(Paid)
    async def pay(event: Paid) -> None:
        async with (await pool()).acquire() as connection:
            await connection.execute("UPDATE purse SET coins = coins + $1 WHERE id = $2", event.coins, event.purse)

    assert keys(app) == {"pay": [("add", "purse/{purse}")]}


def test_a_status_of_asyncpg_that_is_looked_at_makes_an_addition_a_write() -> None:
    app = App("purses", "memory://", derive=True)

    @app.on(Paid)
    async def pay(event: Paid) -> None:
        connection = await asyncpg.connect("postgresql://nowhere")
        status = await connection.execute("UPDATE purse SET coins = coins + 1 WHERE id = $1", event.purse)
        if status.split()[-1] == "0":
            raise ValueError("no such purse")

    assert ("write", "purse/{purse}") in keys(app)["pay"]


def test_a_list_is_one_parameter_of_asyncpg_and_not_all_of_them() -> None:
    app = App("purses", "memory://", derive=True)

    @app.on(Shared)
    async def pay(event: Shared) -> None:
        connection = await asyncpg.connect("postgresql://nowhere")
        both = [event.purses[0], event.purses[1]]
        await connection.execute("UPDATE purse SET coins = 0 WHERE id = ANY($1)", both)

    assert keys(app) == {"pay": [("write", "purse/{purses.*}")]}


def test_get_or_create_that_calls_itself_keeps_its_row() -> None:
    app = App("purses", "memory://", derive=True)

    @app.on(Paid)
    def pay(event: Paid) -> None:
        with psycopg.connect("postgresql://nowhere") as connection:
            if purses.opened(connection, event.purse)["coins"] < event.coins:
                raise ValueError("too few")

    assert set(keys(app)["pay"]) == {("read", "purse/{purse}"), ("write", "purse/{purse}")}


def fetched(connection: psycopg.Connection[Any], purse: int, made: Any = None, *, strict: bool = False) -> Any:
    """As adapters of statements have it: rows as they are, unless a class for them is given."""
    row = connection.execute("SELECT coins FROM purse WHERE id = %s", (purse,)).fetchone()
    if row is not None and made is not None:
        row = made(row)
    if row is not None or made is None:
        return row
    return getattr(made, input()) if strict else None


def test_one_part_that_decides_a_condition_is_enough() -> None:
    app = App("purses", "memory://", derive=True)

    @app.on(Paid)
    def pay(event: Paid) -> None:
        fetched(psycopg.connect("postgresql://nowhere"), event.purse)

    @app.on(Shared)
    def made(event: Shared) -> None:
        fetched(psycopg.connect("postgresql://nowhere"), event.purses[0], globals()[input()])

    found = app.derived()
    assert isinstance(found, Derived)
    assert [(key.mode, str(key)) for key in found.found["pay", "paid"].keys] == [("read", "purse/{purse}")]
    assert not found.found["pay", "paid"].everything
    assert len(found.found["made", "shared"].everything) > 1, "the class is called, and asked by a name"


def test_a_proxy_of_nothing_yet_is_everything_and_says_so() -> None:
    app = App("purses", "memory://", derive=True)

    @app.on(Paid)
    def pay(event: Paid) -> None:
        now.purse.pay(event.coins)  # type: ignore[attr-defined]

    found = app.derived()
    assert isinstance(found, Derived)
    (why, *_) = found.found["pay", "paid"].everything
    assert "stands for an object that is not there yet" in why.why
    assert why.remedy


@pytest.fixture
def pymysql(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What a driver looks like that is not installed here."""
    module = ModuleType("pymysql")

    class Connection:
        def __init__(self, host: str) -> None:
            raise OSError(host)

    Connection.__module__ = "pymysql.connections"
    module.connect = module.Connection = Connection  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pymysql", module)
    return module


def test_drivers_of_mysql_are_known(pymysql: ModuleType) -> None:
    app = App("purses", "memory://", derive=True)
    connect = pymysql.connect

    @app.on(Paid)
    def pay(event: Paid) -> None:
        connection = connect("nowhere")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE purse SET coins = coins + %s WHERE id = %s", (event.coins, event.purse))
        connection.commit()

    assert keys(app) == {"pay": [("add", "purse/{purse}")]}
