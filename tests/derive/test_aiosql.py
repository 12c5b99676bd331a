"""Statements that stand in a file of SQL are found through the methods that aiosql makes of them."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import aiosql
import aiosqlite
import pytest

from commute import App, Event
from commute.derive.application import Derived

TABLES = """CREATE TABLE cask (id INTEGER PRIMARY KEY, litres INTEGER, name TEXT)"""
STATEMENTS = """
-- name: cask^
SELECT id, litres, name FROM cask WHERE id = :id;

-- name: rename(id, name)!
UPDATE cask SET name = :name WHERE id = :id;

-- name: draw(cask, litres)!
UPDATE cask SET litres = litres - :litres WHERE id = :cask.id;

-- name: fill*!
UPDATE cask SET litres = litres + :litres WHERE id = :id;
"""


def statements(driver: str) -> Any:
    return aiosql.from_str(STATEMENTS, driver, mandatory_parameters=False)


queries, awaited = statements("sqlite3"), statements("aiosqlite")


class Drawn(Event):
    id: int
    litres: int
    name: str


def connection() -> sqlite3.Connection:
    return sqlite3.connect("nowhere.db")


def look(event: Drawn) -> None:
    queries.cask(connection(), id=event.id)


def rename(event: Drawn) -> None:
    queries.rename(connection(), name=event.name, id=event.id)


def draw(event: Drawn) -> None:
    queries.draw(connection(), cask=event, litres=event.litres)


def fill(event: Drawn) -> None:
    queries.fill(connection(), [{"id": event.id, "litres": event.litres}])


async def look_async(event: Drawn) -> None:
    async with aiosqlite.connect("nowhere.db") as db:
        await awaited.cask(db, id=event.id)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [(look, "read"), (rename, "write"), (draw, "write"), (fill, "write"), (look_async, "read")],
)
def test_a_statement_of_a_file_is_followed(handler: Any, expected: str) -> None:
    app = App("casks", "memory://", derive=True)
    app.on(Drawn)(handler)
    found = app.derived()
    assert isinstance(found, Derived)
    (one,) = found.found.values()
    assert not one.everything, one.everything
    assert {str(key) for key in one.keys} == {"cask/{id}"}
    assert [(key.mode, str(key)) for key in one.keys][-1:] == [(expected, "cask/{id}")]
    (where,) = {key.where for key in one.keys}
    assert re.fullmatch(r"tests/derive/test_aiosql\.py:\d+ > \S+\.py:\d+", where), "our line, and the library's"
