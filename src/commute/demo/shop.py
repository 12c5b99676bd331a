"""The shop of the demonstration: five kinds of events, their handlers, and the tables that these change.

Each handler first waits, as for a payment gateway or a printer of labels, then changes the tables in one
transaction. Stock is added to in a single statement, so orders of the same goods commute; a price is written.
What happened to an order and to a customer is numbered as it happens, and an order keeps the address and the
prices that it was created with: so a handler that runs before its turn leaves other rows behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from commute.app import App
from commute.context import Context, Rows
from commute.event import Event
from commute.router import Router

APP_NAME = "demo"
CUSTOMERS = 200
GOODS = 400
TABLES = ("customer", "goods", "orders", "line", "trail")
SPREAD = 0.2  # a wait is between 1 - SPREAD and 1 + SPREAD times the service time: no two gateways keep step

_SCHEMA = (
    "CREATE TABLE customer(id INTEGER PRIMARY KEY, address TEXT NOT NULL, moves INTEGER NOT NULL)",
    "CREATE TABLE goods(sku INTEGER PRIMARY KEY, price INTEGER NOT NULL, stock INTEGER NOT NULL)",
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, address TEXT NOT NULL, "
    "total INTEGER NOT NULL, paid INTEGER NOT NULL, parcel TEXT)",
    "CREATE TABLE line(orders INTEGER, sku INTEGER, quantity INTEGER NOT NULL, price INTEGER NOT NULL, "
    "PRIMARY KEY(orders, sku)) WITHOUT ROWID",
    "CREATE TABLE trail(orders INTEGER, step INTEGER, what TEXT NOT NULL, PRIMARY KEY(orders, step)) WITHOUT ROWID",
)


class Line(msgspec.Struct, frozen=True):
    """Some pieces of one kind of goods."""

    sku: int
    quantity: int


class CustomerMoved(Event):
    customer_id: int
    address: str


class Restocked(Event):
    sku: int
    quantity: int
    price: int


class OrderCreated(Event):
    order_id: int
    customer_id: int
    lines: list[Line]


class PaymentProcessed(Event):
    order_id: int
    reference: str


class OrderShipped(Event):
    order_id: int
    parcel: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """What every handler waits for before it changes anything; `service_s` is the mean."""

    service_s: float

    async def call(self, ctx: Context[Gateway]) -> None:
        if self.service_s > 0:
            await asyncio.sleep(self.service_s * ctx.random.uniform(1 - SPREAD, 1 + SPREAD))


shop: Router[Gateway] = Router()


@shop.on(CustomerMoved, writes="customer/{customer_id}")
async def move(event: CustomerMoved, ctx: Context[Gateway]) -> None:
    await ctx.state.call(ctx)
    async with ctx.transaction() as tx:
        tx.execute(
            "UPDATE customer SET address = ?, moves = moves + 1 WHERE id = ?",
            (event.address, event.customer_id),
        )


@shop.on(Restocked, writes="price/{sku}", adds="stock/{sku}")
async def restock(event: Restocked, ctx: Context[Gateway]) -> None:
    await ctx.state.call(ctx)
    async with ctx.transaction() as tx:
        tx.execute(
            "UPDATE goods SET price = ?, stock = stock + ? WHERE sku = ?",
            (event.price, event.quantity, event.sku),
        )


@shop.on(
    OrderCreated,
    reads=["customer/{customer_id}", "price/{lines.*.sku}"],
    writes="order/{order_id}",
    adds="stock/{lines.*.sku}",
)
async def create(event: OrderCreated, ctx: Context[Gateway]) -> None:
    await ctx.state.call(ctx)
    async with ctx.transaction() as tx:
        total = 0
        for line in event.lines:
            ((price,),) = tx.execute("SELECT price FROM goods WHERE sku = ?", (line.sku,))
            assert isinstance(price, int)
            total += price * line.quantity
            tx.execute("INSERT INTO line VALUES(?, ?, ?, ?)", (event.order_id, line.sku, line.quantity, price))
            tx.execute("UPDATE goods SET stock = stock - ? WHERE sku = ?", (line.quantity, line.sku))
        tx.execute(
            "INSERT INTO orders SELECT ?, id, address, ?, 0, NULL FROM customer WHERE id = ?",
            (event.order_id, total, event.customer_id),
        )
        note(tx, event.order_id, "created")


@shop.on(PaymentProcessed, writes="order/{order_id}")
async def pay(event: PaymentProcessed, ctx: Context[Gateway]) -> None:
    await ctx.state.call(ctx)
    async with ctx.transaction() as tx:
        tx.execute("UPDATE orders SET paid = total WHERE id = ?", (event.order_id,))
        note(tx, event.order_id, f"paid by {event.reference}")


@shop.on(OrderShipped, writes="order/{order_id}")
async def ship(event: OrderShipped, ctx: Context[Gateway]) -> None:
    await ctx.state.call(ctx)
    async with ctx.transaction() as tx:
        tx.execute("UPDATE orders SET parcel = ? WHERE id = ? AND paid > 0", (event.parcel, event.order_id))
        note(tx, event.order_id, f"shipped as {event.parcel}")


def note(tx: Rows, order_id: int, what: str) -> None:
    """The next step of an order's trail."""
    tx.execute("INSERT INTO trail SELECT ?, count(*) + 1, ? FROM trail WHERE orders = ?", (order_id, what, order_id))


def make_app(
    broker: str, db: str, *, service_s: float, concurrency: int, router: Router[Gateway] = shop
) -> App[Gateway]:
    """The shop on a broker, its tables in the store `db`; `router` takes the place of its handlers."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Gateway]:
        yield Gateway(service_s)

    app: App[Gateway] = App(APP_NAME, lifespan=lifespan)
    app.include(router)
    # As flags: a COMMUTE_BROKER in the environment is meant for other apps.
    app.override(broker=broker, db=db, group="demo", concurrency=concurrency)
    return app


async def set_up(app: App[Gateway]) -> None:
    """The tables, with customers and goods as they are before the first event."""
    async with app.transaction() as tx:
        for statement in _SCHEMA:
            tx.execute(statement)
        for customer in range(CUSTOMERS):
            tx.execute("INSERT INTO customer VALUES(?, ?, 0)", (customer, f"1 First Street, {customer}"))
        for sku in range(GOODS):
            tx.execute("INSERT INTO goods VALUES(?, ?, 1000)", (sku, 100 + sku))


async def read_tables(app: App[Gateway]) -> dict[str, Sequence[tuple[object, ...]]]:
    """Every row of every table, in the sequence of its columns' values."""
    async with app.transaction() as tx:
        return {table: sorted(tx.execute(f"SELECT * FROM {table}"), key=repr) for table in TABLES}
