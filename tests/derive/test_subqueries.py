"""Rows that are joined to a query in the place of a table: those that its own condition leaves."""

from __future__ import annotations

import pytest

from commute.sql.ddl import schema_of
from commute.sql.parse import summarize
from commute.sql.statement import Param

SCHEMA = schema_of(
    [
        "CREATE TABLE shelf(id INTEGER PRIMARY KEY, room INTEGER, word TEXT)",
        "CREATE TABLE book(shelf_id INTEGER, number INTEGER, word TEXT COLLATE NOCASE, PRIMARY KEY(shelf_id, number))",
    ]
)
INSIDE = "(SELECT shelf.id AS shelf_id, shelf.room AS room FROM shelf WHERE shelf.id = ? LIMIT 1) AS anon_1"


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT * FROM {INSIDE} LEFT OUTER JOIN book AS b ON anon_1.shelf_id = b.shelf_id",
        f"SELECT * FROM book JOIN {INSIDE} ON anon_1.shelf_id = book.shelf_id",
        f"SELECT * FROM book, {INSIDE} WHERE anon_1.shelf_id = book.shelf_id",
    ],
)
def test_they_are_those_rows(text: str) -> None:
    rows = [touch.rows for touch in summarize(text, SCHEMA, "1").touches if touch.table == "book"]
    assert rows == [({"shelf_id": (Param(0),)},)]


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT * FROM book LEFT JOIN {INSIDE} ON anon_1.shelf_id = book.shelf_id",
        f"SELECT * FROM {INSIDE} RIGHT JOIN book ON anon_1.shelf_id = book.shelf_id",
        f"SELECT * FROM {INSIDE} LEFT JOIN book ON anon_1.room = book.shelf_id",
        "SELECT * FROM book, (SELECT id FROM shelf WHERE id = ? OR room = 1) AS a WHERE a.id = book.shelf_id",
        "SELECT * FROM book, (SELECT id + 1 AS id FROM shelf WHERE id = ?) AS a WHERE a.id = book.shelf_id",
        "SELECT * FROM book, (SELECT max(id) AS id FROM shelf WHERE id = ?) AS a WHERE a.id = book.shelf_id",
        "SELECT * FROM book, (SELECT id FROM shelf WHERE id = ? UNION SELECT 3) AS a WHERE a.id = book.shelf_id",
        "SELECT * FROM book, (SELECT word FROM shelf WHERE word = ?) AS a WHERE a.word = book.word",
    ],
)
def test_others_are_any_row(text: str) -> None:
    rows = [touch.rows for touch in summarize(text, SCHEMA, "1").touches if touch.table == "book"]
    assert rows == [None]
