"""Handler styles with SQL in their own hands: `ctx.transaction()`, the standard driver, text of SQLAlchemy's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy import text

from commute import App, Context, Event
from tests.corpus.case import Database, Options, case

SHOP = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, status TEXT, total INTEGER DEFAULT 0)",
    "CREATE TABLE stock(sku TEXT PRIMARY KEY, quantity INTEGER)",
    "CREATE TABLE payment(ref TEXT PRIMARY KEY, order_id INTEGER, amount INTEGER)",
    "CREATE TABLE person(id INTEGER PRIMARY KEY, email TEXT UNIQUE, visits INTEGER)",
    "CREATE TABLE mailbox(email TEXT PRIMARY KEY COLLATE NOCASE, unread INTEGER)",
)
ROWS = (
    "INSERT INTO orders VALUES(1, 7, 'new', 0), (2, 8, 'new', 0), (3, 7, 'new', 0)",
    "INSERT INTO stock VALUES('tea', 5), ('mug', 5), ('pot', 1)",
    "INSERT INTO payment VALUES('r1', 1, 10), ('r2', 2, 10), ('r3', 1, 20)",
    "INSERT INTO person VALUES(1, 'a@x', 0), (2, 'b@x', 0)",
    "INSERT INTO mailbox VALUES('a@x', 0), ('b@x', 0)",
)
TABLES = (*SHOP, *ROWS)


class Paid(Event):
    order_id: int
    amount: int = 1


class Shipped(Event):
    order_id: int


class Line(Event):
    sku: str
    quantity: int = 1


class Ordered(Event):
    order_id: int
    customer: int
    lines: list[Line]


class Settled(Event):
    ref: str


class Visited(Event):
    email: str


class Counted(Event):
    customer: int


class Kept(BaseModel):
    order_id: int
    status: str


def ordered(order_id: int, customer: int, *skus: str) -> Ordered:
    return Ordered(order_id=order_id, customer=customer, lines=[Line(sku=sku) for sku in skus])


@case(
    "raw-sql",
    tables=TABLES,
    dependent=[(Paid(order_id=1), Shipped(order_id=1))],
    independent=[(Paid(order_id=1), Shipped(order_id=2)), (Paid(order_id=1), Paid(order_id=3))],
)
def raw_sql(app: App[Any], options: Options) -> None:
    @app.on(Paid, **options)
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = status || '+paid' WHERE id = ?", (event.order_id,))

    @app.on(Shipped, **options)
    async def ship(event: Shipped, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = status || '+shipped' WHERE id = ?", (event.order_id,))


@case(
    "loop-of-keys",
    tables=TABLES,
    dependent=[(ordered(10, 7, "tea"), Line(sku="tea"))],
    independent=[
        (ordered(10, 7, "tea", "mug"), ordered(11, 8, "tea")),
        (ordered(10, 7, "tea"), Line(sku="mug")),
    ],
)
def loop_of_keys(app: App[Any], options: Options) -> None:
    """Each line's stock is added to; a count of it reads."""

    @app.on(Ordered, **options)
    async def reserve(event: Ordered, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for line in event.lines:
                tx.execute("UPDATE stock SET quantity = quantity - ? WHERE sku = ?", (line.quantity, line.sku))
            tx.execute("INSERT INTO orders VALUES(?, ?, 'new', 0)", (event.order_id, event.customer))

    @app.on(Line, **options)
    async def stocktaking(event: Line, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            ((quantity,),) = tx.execute("SELECT quantity FROM stock WHERE sku = ?", (event.sku,))
            ctx.publish(Counted(customer=int(str(quantity))))


@case(
    "guarded-decrement",
    tables=TABLES,
    dependent=[(Line(sku="pot"), Line(sku="pot"))],
    independent=[(Line(sku="pot"), Line(sku="tea"))],
)
def guarded_decrement(app: App[Any], options: Options) -> None:
    """The last pot goes to the first one: a guard makes a decrement a write."""

    @app.on(Line, **options)
    async def take(event: Line, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(
                "UPDATE stock SET quantity = quantity - ? WHERE sku = ? AND quantity >= ?",
                (event.quantity, event.sku, event.quantity),
            )
            if tx.changes:
                tx.execute("INSERT INTO payment VALUES(?, 0, 0)", (ctx.event_id,))


@case(
    "get-or-create",
    tables=TABLES,
    dependent=[(Visited(email="n@x"), Visited(email="n@x"))],
    independent=[(Visited(email="n@x"), Visited(email="m@x"))],
)
def get_or_create(app: App[Any], options: Options) -> None:
    """The first visit makes the row and sets it to 5, the next one doubles it."""

    @app.on(Visited, **options)
    async def visit(event: Visited, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            known = tx.execute("SELECT unread FROM mailbox WHERE email = ?", (event.email,))
            if not known:
                tx.execute("INSERT INTO mailbox VALUES(?, 5)", (event.email,))
                tx.execute("INSERT INTO payment VALUES(?, 1, 1)", (ctx.event_id,))
            else:
                tx.execute("UPDATE mailbox SET unread = unread * 2 WHERE email = ?", (event.email,))


@case(
    "batch-upsert",
    tables=TABLES,
    dependent=[(ordered(1, 1, "tea", "new"), ordered(2, 2, "new", "mug"))],
    independent=[(ordered(1, 1, "tea"), ordered(2, 2, "mug", "other"))],
)
def batch_upsert(app: App[Any], options: Options) -> None:
    @app.on(Ordered, **options)
    async def upsert(event: Ordered, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for line in event.lines:
                tx.execute(
                    "INSERT INTO stock(sku, quantity) VALUES(?, ?) ON CONFLICT(sku) DO UPDATE SET quantity = ?",
                    (line.sku, event.order_id, event.order_id),
                )


@case(
    "id-not-in-the-event",
    tables=TABLES,
    reach="table",
    dependent=[(Settled(ref="r1"), Settled(ref="r3")), (Settled(ref="r1"), Shipped(order_id=1))],
    independent=[(Settled(ref="r1"), Settled(ref="r2"))],
)
def id_not_in_the_event(app: App[Any], options: Options) -> None:
    """Two payments of one order: only the database knows that they meet."""

    @app.on(Settled, **options)
    async def settle(event: Settled, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            ((order_id, amount),) = tx.execute("SELECT order_id, amount FROM payment WHERE ref = ?", (event.ref,))
            tx.execute("UPDATE orders SET total = total * 2 + ? WHERE id = ?", (amount, order_id))

    @app.on(Shipped, **options)
    async def ship(event: Shipped, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET total = total + 3 WHERE id = ? AND total > 0", (event.order_id,))


@case(
    "found-by-one-key-used-by-another",
    tables=TABLES,
    dependent=[(Visited(email="a@x"), Visited(email="a@x"))],
    independent=[(Visited(email="a@x"), Visited(email="b@x"))],
)
def found_by_one_used_by_another(app: App[Any], options: Options) -> None:
    @app.on(Visited, **options)
    async def visit(event: Visited, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            ((number, visits),) = tx.execute("SELECT id, visits FROM person WHERE email = ?", (event.email,))
            tx.execute("UPDATE person SET visits = ? WHERE id = ?", (int(str(visits)) + 1, number))
            tx.execute("INSERT INTO payment VALUES(?, ?, ?)", (ctx.event_id, number, visits))


@case(
    "insert-against-predicate",
    tables=TABLES,
    dependent=[(ordered(10, 7), Counted(customer=7))],
    independent=[(Counted(customer=7), Counted(customer=8))],
)
def insert_against_predicate(app: App[Any], options: Options) -> None:
    @app.on(Ordered, **options)
    async def create(event: Ordered, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("INSERT INTO orders(id, customer, status) VALUES(?, ?, 'new')", (event.order_id, event.customer))

    @app.on(Counted, **options)
    async def count(event: Counted, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            ((orders,),) = tx.execute("SELECT count(*) FROM orders WHERE customer = ?", (event.customer,))
            tx.execute("INSERT INTO payment VALUES(?, ?, ?)", (ctx.event_id, event.customer, orders))


@case(
    "case-insensitive-key",
    tables=TABLES,
    dependent=[(Visited(email="a@x"), Visited(email="A@X"))],
    independent=[(Visited(email="a@x"), Visited(email="b@x"))],
)
def case_insensitive_key(app: App[Any], options: Options) -> None:
    @app.on(Visited, **options)
    async def visit(event: Visited, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE mailbox SET unread = unread * 2 + ? WHERE email = ?", (len(ctx.event_id), event.email))
            ((unread,),) = tx.execute("SELECT unread FROM mailbox WHERE email = ?", (event.email,))
            tx.execute("INSERT INTO payment VALUES(?, 0, ?)", (ctx.event_id, unread))


@dataclass(frozen=True)
class OrderId:
    """A value object."""

    value: int

    def __str__(self) -> str:
        return str(self.value)


class Orders:
    """A repository over a block of the store."""

    def __init__(self, tx: Any) -> None:
        self._tx = tx

    def status(self, order: OrderId) -> str:
        for (status,) in self._rows("SELECT status FROM orders WHERE id = ?", order):
            return str(status)
        raise KeyError(order)

    def save(self, order: OrderId, status: str) -> None:
        self._rows("UPDATE orders SET status = ? WHERE id = ?", status, order)

    def _rows(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        values = tuple(item.value if isinstance(item, OrderId) else item for item in parameters)
        return list(self._tx.execute(sql, values))


@case(
    "repository-and-value-object",
    tables=TABLES,
    dependent=[(Paid(order_id=1), Shipped(order_id=1))],
    independent=[(Paid(order_id=1), Shipped(order_id=2))],
)
def repository_and_value_object(app: App[Any], options: Options) -> None:
    def advance(orders: Orders, order: OrderId, word: str) -> None:
        orders.save(order, f"{orders.status(order)}, {word}")

    @app.on(Paid, **options)
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            advance(Orders(tx), OrderId(event.order_id), "paid")

    @app.on(Shipped, **options)
    async def ship(event: Shipped, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            advance(Orders(tx), OrderId(event.order_id), "shipped")


@case(
    "pydantic-and-f-string",
    tables=TABLES,
    dependent=[(Kept(order_id=1, status="a"), Kept(order_id=1, status="b"))],
    independent=[(Kept(order_id=1, status="a"), Kept(order_id=2, status="b"))],
)
def pydantic_and_f_string(app: App[Any], options: Options) -> None:
    table, column = "orders", "status"

    @app.on(Kept, **options)
    async def keep(event: Kept, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (event.status, event.order_id))


@case(
    "generator-and-constants",
    tables=TABLES,
    dependent=[(ordered(1, 7, "tea", "mug"), ordered(2, 8, "mug"))],
    independent=[(ordered(1, 7, "tea"), ordered(2, 8, "mug"))],
)
def generator_and_constants(app: App[Any], options: Options) -> None:
    def wanted(event: Ordered) -> Iterator[tuple[str, int]]:
        for line in event.lines:
            if line.quantity > 0:
                yield line.sku, event.order_id

    @app.on(Ordered, **options)
    async def reserve(event: Ordered, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for sku, value in wanted(event):
                tx.execute("UPDATE stock SET quantity = :value WHERE sku = :sku", {"value": value, "sku": sku})


TEXTS = Database(ddl=SHOP, rows=ROWS)


@case(
    "sqlalchemy-text",
    clear=TEXTS.clear,
    look=TEXTS.look,
    dependent=[(Paid(order_id=1, amount=2), Shipped(order_id=1))],
    independent=[(Paid(order_id=1), Paid(order_id=1, amount=4)), (Paid(order_id=1), Shipped(order_id=2))],
)
def sqlalchemy_text(app: App[Any], options: Options) -> None:
    """An amount that is added, and a shipment that reads it."""

    @app.on(Paid, **options)
    def pay(event: Paid) -> None:
        with TEXTS.engine.begin() as connection:
            connection.execute(
                text("UPDATE orders SET total = total + :amount WHERE id = :id"),
                {"amount": event.amount, "id": event.order_id},
            )

    @app.on(Shipped, **options)
    def ship(event: Shipped) -> None:
        with TEXTS.engine.begin() as connection:
            row = connection.execute(text("SELECT total FROM orders WHERE id = :id"), {"id": event.order_id}).one()
            connection.execute(
                text("UPDATE orders SET status = :status WHERE id = :id"),
                {"status": f"shipped for {row.total}", "id": event.order_id},
            )


class Plain:
    """A connection of the standard driver, shared by threads."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)

    def clear(self) -> None:
        for (name,) in self.connection.execute("SELECT name FROM sqlite_schema WHERE type='table'").fetchall():
            self.connection.execute(f"DROP TABLE {name}")
        for statement in TABLES:
            self.connection.execute(statement)
        self.connection.commit()

    def look(self) -> object:
        tables = ("orders", "stock", "payment", "person", "mailbox")
        return {name: sorted(self.connection.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}


PLAIN = Plain()


@case(
    "standard-driver",
    clear=PLAIN.clear,
    look=PLAIN.look,
    dependent=[(ordered(1, 7, "tea"), ordered(2, 8, "tea", "mug"))],
    independent=[(ordered(1, 7, "tea"), ordered(2, 8, "mug"))],
)
def standard_driver(app: App[Any], options: Options) -> None:
    @app.on(Ordered, **options)
    async def reserve(event: Ordered) -> None:
        with PLAIN.connection as connection:
            connection.executemany(
                "UPDATE stock SET quantity = ? WHERE sku = ?", [(event.order_id, line.sku) for line in event.lines]
            )
