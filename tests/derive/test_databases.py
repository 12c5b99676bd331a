"""The package ``databases``: SQL in text, parameters by name. A stand-in has its names, where it is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import pytest

from commute import App, Event
from commute.derive.application import derive
from commute.sql.text import prepare

TABLE = "CREATE TABLE wagon (id SERIAL PRIMARY KEY, state TEXT, shelf TEXT)"


class Database:
    def __init__(self, url: str) -> None:
        self.url = url


Database.__module__ = "databases.core"
made: Any = Database("postgresql+asyncpg://nowhere/parcels")


class Moved(Event):
    wagon: int
    state: str = ""
    shelves: list[str] = []  # noqa: RUF012 - of msgspec's


async def moved(event: Moved) -> None:
    query = "UPDATE wagon SET state = :state WHERE id = :wagon"
    await made.execute(query=query, values={"wagon": event.wagon, "state": event.state})


async def found(event: Moved) -> None:
    async with made.connection() as connection, made.transaction():
        row = await connection.fetch_one("SELECT * FROM wagon WHERE id = :id", {"id": event.wagon})
        if row is not None:
            await connection.execute("DELETE FROM wagon WHERE id = :id", values={"id": row["id"]})


async def made_new(event: Moved) -> None:
    query = "INSERT INTO wagon (state) VALUES (:state) RETURNING id"
    await made.fetch_val(query, {"state": event.state})


async def made_with_numbers(event: Moved) -> None:
    await made.execute_many("INSERT INTO wagon (id, state) VALUES (:id, 'new')", [{"id": event.wagon}])


async def listed(_event: Moved) -> None:
    async for row in made.iterate("SELECT * FROM wagon WHERE state = 'new'"):
        print(row)


async def some_columns(event: Moved) -> None:
    sets, values = ["state = :state"], {"id": event.wagon, "state": event.state}
    for name in event.shelves:
        sets.append("shelf = :shelf")
        values["shelf"] = name
    await made.execute(f"UPDATE wagon SET {', '.join(sets)} WHERE id = :id", values)


async def no_text(event: Moved) -> None:
    await made.execute(event.state)


EXPECTED: list[tuple[Callable[[Moved], Coroutine[Any, Any, None]], set[str]]] = [
    (moved, {"write wagon/7"}),
    (found, {"write wagon/7"}),
    (made_new, {"insert wagon/+new"}),
    (made_with_numbers, {"write wagon/7"}),
    (listed, {"read wagon"}),
    (some_columns, {"write wagon/7"}),
    (no_text, {"write "}),
]


def test_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "databases", ModuleType("databases"))
    app: App[Any] = App("parcels", "memory://")
    for function, _ in EXPECTED:
        app.on(Moved)(function)
    derived = derive(app.handlers)
    for handler, (function, expected) in zip(app.handlers, EXPECTED, strict=True):
        footprint = derived.declared(handler, handler.events[0]).declared.footprint(Moved(wagon=7))
        assert {f"{access.mode} {access.key}" for access in footprint} == expected, function.__name__


def test_an_operator_is_no_parameter() -> None:
    assert prepare("SELECT * FROM t WHERE a ? 'x' AND id = %s", "postgres").layout == ((0,),)
    assert prepare("SELECT * FROM t WHERE a = ? AND id = ?", "sqlite").layout == ((0,), (1,))
