"""Handlers whose declaration lacks one access, and the declaration that has it: one row each, on three databases.

A row's statements run in one handler for `Changed`; parameters are names of its fields.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
from sqlalchemy import StaticPool, create_engine

from commute import App, Context, Event

DDL = (
    "CREATE TABLE customer(id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE UNIQUE, points INTEGER)",
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, ref TEXT UNIQUE, customer_id INTEGER, status TEXT, total INTEGER)",
    "CREATE TABLE goods(sku TEXT PRIMARY KEY, stock INTEGER) STRICT",
    "CREATE TABLE bin(name TEXT PRIMARY KEY, stock INTEGER)",
    "CREATE TABLE alarm(id INTEGER PRIMARY KEY, bin TEXT)",
    "CREATE TABLE audit(id INTEGER PRIMARY KEY, word TEXT)",
    "CREATE TABLE line(order_id INTEGER REFERENCES orders(id) ON DELETE CASCADE, sku TEXT, quantity INTEGER, "
    "PRIMARY KEY(order_id, sku))",
    "CREATE VIEW open_orders AS SELECT id, total FROM orders WHERE status = 'open'",
    "CREATE TRIGGER emptied AFTER UPDATE ON bin BEGIN INSERT INTO alarm(bin) VALUES('x'); END",
)
ROWS = (
    "INSERT INTO customer VALUES(7, 'ann@x', 0)",
    "INSERT INTO orders VALUES(1, 'r-1', 7, 'open', 0)",
    "INSERT INTO goods VALUES('tea', 5), ('mug', 5)",
    "INSERT INTO bin VALUES('tea', 5)",
)


class Changed(Event):
    order_id: int = 1
    customer_id: int = 7
    ref: str = "r-1"
    sku: str = "tea"
    other: str = "mug"
    email: str = "ANN@x"
    quantity: int = 2


Options = dict[str, Any]
Statement = tuple[str, tuple[str, ...]]  # text, and the fields that are its parameters


@dataclass(frozen=True)
class Row:
    """`lacks` is the declaration that the sanitizer has to ask for; `right` is one with which it keeps still."""

    name: str
    statements: Sequence[Statement]
    wrong: Options
    lacks: str
    right: Options

    def __str__(self) -> str:
        return self.name


PAY: Statement = ("UPDATE orders SET status = 'paid' WHERE id = ?", ("order_id",))
ORDER = "order/{order_id}"
PLANTED = [
    Row(
        "a second row",
        [PAY, ("UPDATE customer SET points = points + ? WHERE id = ?", ("quantity", "customer_id"))],
        {"writes": ORDER},
        'adds="customer/{customer_id}"',
        {"writes": ORDER, "adds": "customer/{customer_id}"},
    ),
    Row(
        "a read",
        [PAY, ("SELECT stock FROM goods WHERE sku = ?", ("sku",))],
        {"writes": ORDER},
        'reads="goods/{sku}"',
        {"writes": ORDER, "reads": "goods/{sku}"},
    ),
    Row("a write that is declared as a read", [PAY], {"reads": ORDER}, f'writes="{ORDER}"', {"writes": ORDER}),
    Row("a write that is declared as an addition", [PAY], {"adds": ORDER}, f'writes="{ORDER}"', {"writes": ORDER}),
    Row(
        "a read of what is added to",
        [("SELECT stock FROM goods WHERE sku = ?", ("sku",))],
        {"adds": "goods/{sku}"},
        'reads="goods/{sku}"',
        {"reads": "goods/{sku}"},
    ),
    Row(
        "an addition that is guarded",
        [("UPDATE goods SET stock = stock - ? WHERE sku = ? AND stock >= ?", ("quantity", "sku", "quantity"))],
        {"adds": "goods/{sku}"},
        'writes="goods/{sku}"',
        {"writes": "goods/{sku}"},
    ),
    Row("another field", [PAY], {"writes": "order/{quantity}"}, f'writes="{ORDER}"', {"writes": ORDER}),
    Row(
        "rows by another column",
        [("UPDATE orders SET status = 'late' WHERE customer_id = ?", ("customer_id",))],
        {"writes": ORDER},
        'writes="order"',
        {"writes": "order"},
    ),
    Row(
        "a row with a generated key",
        [PAY, ("INSERT INTO audit(word) VALUES(?)", ("sku",))],
        {"writes": ORDER},
        'adds="audit"',
        {"writes": ORDER, "adds": "audit"},
    ),
    Row(
        "a new row",
        [("INSERT OR REPLACE INTO goods VALUES(?, ?)", ("sku", "quantity"))],
        {"reads": "goods/{sku}"},
        'writes="goods/{sku}"',
        {"writes": "goods/{sku}"},
    ),
    Row(
        "the parent of a new row",
        [("INSERT INTO line VALUES(?, ?, ?)", ("order_id", "sku", "quantity"))],
        {"writes": "line/{order_id}/{sku}"},
        'reads="orders/{order_id}"',
        {"writes": "line/{order_id}/{sku}", "reads": ORDER},
    ),
    Row(
        "what is deleted along",
        [("DELETE FROM orders WHERE id = ?", ("order_id",))],
        {"writes": ORDER},
        'writes="line/{order_id}"',
        {"writes": [ORDER, "line/{order_id}"]},
    ),
    Row(
        "a trigger",
        [("UPDATE bin SET stock = 0 WHERE name = ?", ("sku",))],
        {"writes": "bin/{sku}"},
        'adds="alarm"',
        {"writes": "bin/{sku}", "adds": "alarm"},
    ),
    Row(
        "a view",
        [("SELECT total FROM open_orders WHERE id = ?", ("order_id",))],
        {"reads": "customer/{customer_id}"},
        'reads="orders"',
        {"reads": "order"},
    ),
    Row(
        "a join",
        [("SELECT c.points FROM orders o JOIN customer c ON c.id = o.customer_id WHERE o.id = ?", ("order_id",))],
        {"reads": ORDER},
        'reads="customer"',
        {"reads": [ORDER, "customer"]},
    ),
    Row(
        "the second of a list",
        [("SELECT stock FROM goods WHERE sku IN (?, ?)", ("sku", "other"))],
        {"reads": "goods/{sku}"},
        'reads="goods/{other}"',
        {"reads": ["goods/{sku}", "goods/{other}"]},
    ),
    Row(
        "an upsert",
        [
            (
                "INSERT INTO goods VALUES(?, ?) ON CONFLICT(sku) DO UPDATE SET stock = excluded.stock",
                ("sku", "quantity"),
            )
        ],
        {"adds": "goods/{sku}"},
        'writes="goods/{sku}"',
        {"writes": "goods/{sku}"},
    ),
    Row(
        "a subquery",
        [
            (
                "UPDATE orders SET total = (SELECT sum(quantity) FROM line WHERE order_id = ?) WHERE id = ?",
                ("order_id", "order_id"),
            )
        ],
        {"writes": ORDER},
        'reads="line/{order_id}"',
        {"writes": ORDER, "reads": "line/{order_id}"},
    ),
    Row(
        "a statement that may touch anything",
        [("CREATE INDEX IF NOT EXISTS by_status ON orders(status)", ())],
        {"writes": ORDER},
        "nothing: a handler without a declaration is EVERYTHING",
        {},
    ),
    Row("what is said to touch nothing", [PAY], {"writes": ()}, 'writes="orders/{order_id}"', {"writes": ORDER}),
    Row(
        "a row by another unique column",
        [("UPDATE orders SET status = 'sent' WHERE ref = ?", ("ref",))],
        {"writes": "order/{quantity}"},
        'writes="order"',
        {"writes": ORDER},
    ),
    Row(
        "a key by a column that is no primary key",
        [("UPDATE orders SET status = 'sent' WHERE ref = ?", ("ref",))],
        {"reads": "order/{ref}"},
        'writes="order/{ref}"',
        {"writes": "order/{ref}"},
    ),
    Row(
        "a text that compares without case",
        [("SELECT points FROM customer WHERE email = ?", ("email",))],
        {"reads": "customer/{sku}"},
        'reads="customer"',
        {"reads": "customer/{customer_id}"},
    ),
    Row(
        "a unique value that a new row takes",
        [("INSERT INTO orders(ref, status) VALUES(?, ?)", ("other", "sku"))],
        {"adds": "order/+new", "writes": "order/+ref/{ref}"},
        'writes="order/+ref/{other}"',
        {"adds": "order/+new", "writes": "order/+ref/{other}"},
    ),
    Row(
        "a new row beside its unique value",
        [("INSERT INTO orders(ref, status) VALUES(?, ?)", ("other", "sku"))],
        {"reads": ORDER, "writes": "order/+ref/{other}"},
        'adds="order"',
        {"adds": "order", "writes": "order/+ref/{other}"},
    ),
    Row(
        "a unique value that a row had",
        [("UPDATE orders SET ref = ? WHERE id = ?", ("other", "order_id"))],
        {"writes": [ORDER, "order/+ref/{other}"]},
        'reads="order/+ref"',
        {"writes": [ORDER, "order/+ref/{other}"], "reads": "order/+ref"},
    ),
    Row(
        "a unique value that a row gets",
        [("UPDATE orders SET ref = ? WHERE id = ?", ("other", "order_id"))],
        {"writes": ORDER, "reads": "order/+ref"},
        'writes="order/+ref/{other}"',
        {"writes": [ORDER, "order/+ref"]},
    ),
    Row(
        "a unique value of a row that goes",
        [("DELETE FROM customer WHERE id = ?", ("customer_id",))],
        {"writes": ["customer/{customer_id}", "customer/+email/{email}"]},
        'reads="customer/+email"',
        {"writes": "customer/{customer_id}", "reads": "customer/+email"},
    ),
    Row(
        "a unique value that compares without case",
        [("INSERT INTO customer(email) VALUES(?)", ("sku",))],
        {"adds": "customer/+new", "reads": "customer/+email"},
        'writes="customer/+email/{sku}"',
        {"adds": "customer/+new", "writes": "customer/+email/{sku}"},
    ),
]


def on_block(statements: Sequence[Statement], options: Options) -> App[Any]:
    """``ctx.transaction()``; the tables are made by the run."""
    app: App[Any] = App("planted", "memory://")

    @app.on(Changed, **options)
    async def change(event: Changed, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for text, fields in statements:
                tx.execute(text, [getattr(event, field) for field in fields])

    return app


def on_sqlite3(statements: Sequence[Statement], options: Options) -> App[Any]:
    """A connection that the handler opens."""
    app: App[Any] = App("planted", "memory://")

    @app.on(Changed, **options)
    def change(event: Changed) -> None:
        connection = sqlite3.connect(":memory:")
        fill(connection)
        for text, fields in statements:
            connection.execute(text, [getattr(event, field) for field in fields]).fetchall()
        connection.close()

    return app


def on_sqlite3_before(statements: Sequence[Statement], options: Options) -> App[Any]:
    """A connection that is open before anybody watches."""
    app: App[Any] = App("planted", "memory://")
    connection = sqlite3.connect(":memory:")
    for text in (*DDL, *ROWS):
        connection.execute(text)

    @app.on(Changed, **options)
    def change(event: Changed) -> None:
        for text, fields in statements:
            connection.execute(text, [getattr(event, field) for field in fields]).fetchall()

    return app


def on_sqlalchemy(statements: Sequence[Statement], options: Options) -> App[Any]:
    """An engine, and a driver that takes places."""
    app: App[Any] = App("planted", "memory://")
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        for text in (*DDL, *ROWS):
            connection.exec_driver_sql(text)

    @app.on(Changed, **options)
    def change(event: Changed) -> None:
        with engine.begin() as connection:
            for text, fields in statements:
                connection.exec_driver_sql(text, tuple(getattr(event, field) for field in fields))

    return app


def on_apsw(statements: Sequence[Statement], options: Options) -> App[Any]:
    """A connection that the handler opens."""
    app: App[Any] = App("planted", "memory://")

    @app.on(Changed, **options)
    def change(event: Changed) -> None:
        connection = apsw.Connection(":memory:")
        trace, connection.exec_trace = connection.exec_trace, None
        for text in (*DDL, *ROWS):
            connection.execute(text)
        connection.exec_trace = trace
        for text, fields in statements:
            connection.execute(text, [getattr(event, field) for field in fields]).fetchall()
        connection.close()

    return app


def on_apsw_before(statements: Sequence[Statement], options: Options) -> App[Any]:
    """A connection that is open before anybody watches."""
    app: App[Any] = App("planted", "memory://")
    connection = apsw.Connection(":memory:")
    for text in (*DDL, *ROWS):
        connection.execute(text)

    @app.on(Changed, **options)
    def change(event: Changed) -> None:
        for text, fields in statements:
            connection.cursor().execute(text, [getattr(event, field) for field in fields]).fetchall()

    return app


def fill(connection: sqlite3.Connection) -> None:
    """The tables and their rows, without being seen."""
    for text in (*DDL, *ROWS):
        sqlite3.Cursor(connection).execute(text)


Place = Callable[[Sequence[Statement], Options], App[Any]]
PLACES: list[Place] = [on_block, on_sqlite3, on_sqlite3_before, on_sqlalchemy, on_apsw, on_apsw_before]
