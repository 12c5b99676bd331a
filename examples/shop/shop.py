"""A small shop: orders reserve goods, payments are taken, parcels leave. Each handler says what it touches.

commute run shop:app
commute publish shop:app order_created '{"order_id": 1, "customer_id": 7, "skus": ["tea", "mug"]}'
commute publish shop:app payment_processed '{"order_id": 1}'
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from commute import App, Context, DeadLetter, Event

TABLES = (
    "CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, quantity INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS orders(id INTEGER PRIMARY KEY, status TEXT NOT NULL)",
    "INSERT OR IGNORE INTO stock VALUES('tea', 100), ('mug', 20)",
)


class OrderCreated(Event):
    order_id: int
    customer_id: int
    skus: list[str]


class PaymentProcessed(Event):
    order_id: int


class OrderShipped(Event):
    order_id: int


@asynccontextmanager
async def lifespan() -> AsyncGenerator[None]:
    async with app.transaction() as tx:
        for statement in TABLES:
            tx.execute(statement)
    yield


app = App("shop", lifespan=lifespan)


# Stock is added to in one statement, so orders of the same goods need not wait for each other.
@app.on(OrderCreated, writes="order/{order_id}", reads="customer/{customer_id}", adds="stock/{skus.*}")
async def reserve(event: OrderCreated, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        for sku in event.skus:
            tx.execute("UPDATE stock SET quantity = quantity - 1 WHERE sku = ?", (sku,))
            if not tx.changes:
                raise DeadLetter(f"no goods {sku}")
        tx.execute("INSERT INTO orders VALUES(?, 'created')", (event.order_id,))


@app.on(PaymentProcessed, writes="order/{order_id}", publishes="order/{order_id}", timeout_s=30)
async def pay(event: PaymentProcessed, ctx: Context) -> None:
    await asyncio.sleep(0.2)  # the payment gateway: slow calls come before the transaction
    async with ctx.transaction() as tx:
        tx.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (event.order_id,))
        ctx.publish(OrderShipped(order_id=event.order_id))


@app.on(OrderShipped, writes="order/{order_id}")
def ship(event: OrderShipped, ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.execute("UPDATE orders SET status = 'shipped' WHERE id = ? AND status = 'paid'", (event.order_id,))
