"""Traps for whoever reads SQL: queries that see more rows than the condition next to them says, and constraints that
let events meet."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

from commute import App, Context, Event
from tests.corpus.case import Options, case

TABLES = (
    "CREATE TABLE job(id INTEGER PRIMARY KEY, parent INTEGER, kind INTEGER, n INTEGER NOT NULL)",
    "CREATE TABLE log(job INTEGER PRIMARY KEY, n INTEGER)",
    "INSERT INTO job VALUES(1, 2, 1, 1), (2, NULL, 1, 20), (3, 2, 2, 3)",
)


class First(Event):
    a: int
    b: int = 0
    s: str = ""


class Second(Event):
    a: int
    b: int = 0
    s: str = ""


def texts(app: App[Any], options: Options, first: str, second: str) -> None:
    """A handler for each of the events, with one statement."""

    @app.on(First, **options)
    async def one(event: First, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(first, {"a": event.a, "b": event.b, "s": event.s})

    @app.on(Second, **options)
    async def two(event: Second, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(second, {"a": event.a, "b": event.b, "s": event.s})


CHANGE = "UPDATE job SET n = 90 + :a WHERE id = :a"
TRAPS = {
    "subquery-of-the-same-table": "UPDATE job SET n = (SELECT max(n) + 1 FROM job) WHERE id = :a",
    "subquery-that-hides-a-name": (
        "INSERT INTO log SELECT job.id, s.m FROM job JOIN (SELECT max(job.n) AS m FROM job) s WHERE job.id = :a"
    ),
    "cte-of-the-same-table": (
        "WITH t AS (SELECT max(n) AS m FROM job) UPDATE job SET n = (SELECT m FROM t) WHERE id = :a"
    ),
    "right-join": "INSERT INTO log SELECT j.id + :a * 10, j.n FROM log l RIGHT JOIN job j ON j.id = :a",
    "full-join": "INSERT INTO log SELECT j.id + :a * 10, j.n FROM log l FULL JOIN job j ON j.id = :a",
    "join-in-parentheses": (
        "INSERT INTO log SELECT j.id, p.n FROM job j JOIN (job p JOIN job q ON q.id = p.id) ON p.id = j.parent "
        "WHERE j.id = :a"
    ),
}

for name, first in TRAPS.items():

    def put(app: App[Any], options: Options, first: str = first) -> None:
        texts(app, options, first, CHANGE)

    case(
        name, trap=True, tables=TABLES, dependent=[(First(a=1), Second(a=2))], independent=[], reach="table"
    )(put)  # fmt: skip


@case(
    "sum-that-a-check-refuses",
    trap=True,
    tables=("CREATE TABLE stock(id INTEGER PRIMARY KEY, q INTEGER CHECK (q >= 0))", "INSERT INTO stock VALUES(1, 5)"),
    dependent=[(First(a=1, b=4), First(a=1, b=3))],
    independent=[(First(a=1, b=4), First(a=2, b=3))],
)
def sum_that_a_check_refuses(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    async def take(event: First, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            with suppress(sqlite3.IntegrityError):
                tx.execute("UPDATE stock SET q = q - :b WHERE id = :a", {"a": event.a, "b": event.b})


@case(
    "default-that-tells-rows-apart",
    trap=True,
    tables=(
        "CREATE TABLE adr(id INTEGER PRIMARY KEY, usr INTEGER, label TEXT DEFAULT 'home', v TEXT, UNIQUE(usr, label))",
    ),
    dependent=[(First(a=1, b=11, s="x"), First(a=1, b=12, s="y"))],
    independent=[],
    reach="table",
)
def default_that_tells_rows_apart(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    async def add(event: First, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            row: dict[str, int | str] = {"a": event.a, "b": event.b, "s": event.s}
            tx.execute("INSERT OR IGNORE INTO adr(id, usr, v) VALUES (:b, :a, :s)", row)


@case(
    "unique-index-over-an-expression",
    trap=True,
    tables=("CREATE TABLE usr(email TEXT, v INTEGER)", "CREATE UNIQUE INDEX one ON usr(lower(email))"),
    dependent=[(First(a=1, s="A@x"), First(a=2, s="a@x"))],
    independent=[(First(a=1, s="A@x"), First(a=2, s="b@x"))],
)
def unique_index_over_an_expression(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    async def add(event: First, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("INSERT OR IGNORE INTO usr VALUES (:s, :a)", {"a": event.a, "s": event.s})


@case(
    "unique-index-over-some-rows",
    trap=True,
    tables=("CREATE TABLE sub(usr INTEGER, st TEXT)", "CREATE UNIQUE INDEX one ON sub(usr) WHERE st <> 'closed'"),
    dependent=[(First(a=1, s="new"), First(a=1, s="open"))],
    independent=[(First(a=1, s="new"), First(a=2, s="open"))],
)
def unique_index_over_some_rows(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    async def add(event: First, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("INSERT OR IGNORE INTO sub VALUES (:a, :s)", {"a": event.a, "s": event.s})


@case(
    "value-that-several-rows-have",
    trap=True,
    tables=TABLES,
    dependent=[(First(a=1, b=5), Second(a=2))],
    independent=[],
    reach="table",
)
def value_that_several_rows_have(app: App[Any], options: Options) -> None:
    @app.on(First, **options)
    async def mark(event: First, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            ((kind,),) = tx.execute("SELECT kind FROM job WHERE id = ?", (event.a,))
            tx.execute("UPDATE job SET n = ? WHERE kind = ?", (event.b, kind))

    @app.on(Second, **options)
    async def change(event: Second, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE job SET n = 7 WHERE id = ?", (event.a,))


@case(
    "one-of-two-rows-of-a-table",
    trap=True,
    tables=TABLES,
    dependent=[(First(a=1, b=5), Second(a=2))],
    independent=[],
    reach="table",
)
def one_of_two_rows_of_a_table(app: App[Any], options: Options) -> None:
    """The id is that of the parent, not the one that stands in the condition."""

    @app.on(First, **options)
    async def mark(event: First, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            query = "SELECT p.id FROM job j JOIN job p ON p.id = j.parent WHERE j.id = ?"
            ((parent,),) = tx.execute(query, (event.a,))
            tx.execute("UPDATE job SET n = ? WHERE id = ?", (event.b, parent))

    @app.on(Second, **options)
    async def change(event: Second, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE job SET n = 7 WHERE id = ?", (event.a,))
