"""An app as its users write it, from the public names alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import assert_type

from commute import Access, App, Context, DeadLetter, Event, Limits, Outcome, Receipt, Retry, Router


class OrderCreated(Event):
    order_id: int
    customer_id: str


@dataclass
class Pool:
    size: int


@asynccontextmanager
async def lifespan() -> AsyncGenerator[Pool, None]:
    yield Pool(size=4)


part: Router[Pool] = Router()


@part.on(OrderCreated, writes="order/{order_id}", retry=Retry(attempts=3))
async def reserve(event: OrderCreated, ctx: Context[Pool]) -> None:
    assert_type(ctx.state, Pool)
    if event.order_id < 0:
        raise DeadLetter("no such order")


app = App("shop", "memory://", lifespan=lifespan, keys=["order", "customer"], limits=Limits(deaths_max=0))
assert_type(app, App[Pool])
app.include(part)

simple = App("simple")
assert_type(simple, App[None])


@app.on(OrderCreated, accesses=lambda e: [Access(f"customer/{e.customer_id}", "read")])
def greet(event: OrderCreated, ctx: Context[Pool]) -> None:
    ctx.log.info("hello %s, %d", event.customer_id, ctx.state.size)


@simple.on(OrderCreated)
def alone(event: OrderCreated, ctx: Context[None]) -> None:
    assert_type(ctx.state, None)


async def produce() -> None:
    receipt = await app.publish(OrderCreated(order_id=1, customer_id="c7"))
    assert_type(receipt, Receipt)
    assert_type(await receipt.outcome(timeout_s=1.0), Outcome | None)
