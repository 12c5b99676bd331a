"""Handlers in every form that may be registered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, assert_type

from commute.context import Context
from commute.core.footprint import Access
from commute.core.retry import Retry
from commute.event import Event
from commute.router import Router

from .events import Classic, Model, OrderCreated, OrderShipped, PaymentProcessed, Plain, StockCounted, Typed


@dataclass
class State:
    name: str


router: Router[State] = Router()
stateless = Router()
assert_type(stateless, Router[None])


@router.on(
    OrderCreated,
    reads="customer/{customer_id}",
    writes=lambda e: f"order/{e.order_id}",
    adds=lambda e: [f"stock/{line.sku}" for line in e.lines],
    commutes={"maximum": "highest", "union": ["seen/{customer_id}"]},
    retry=Retry(attempts=3, fatal=(ValueError,)),
    timeout_s=1.5,
    on_exhausted="stop",
    concurrency=4,
    executor="loop",
)
async def reserve(event: OrderCreated, ctx: Context[State]) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET q = q - 1 WHERE sku = ?", (event.lines[0].sku,))
    ctx.publish(PaymentProcessed(order_id=event.order_id))
    assert_type(ctx.state, State)
    ctx.log.info("reserved for %s", ctx.state.name)


@router.on(
    PaymentProcessed,
    writes=["order/{order_id}", "ledger"],
    publishes=lambda e: f"order/{e.order_id}",
    partition_by=lambda e: f"{e.order_id}",
)
def pay(event: PaymentProcessed) -> None: ...


@stateless.on(OrderShipped, writes=())
def ship(event: OrderShipped, ctx: Context[None]) -> None:
    with ctx.transaction() as tx:
        assert_type(tx.changes, int)


@router.on(OrderCreated, PaymentProcessed, reads=lambda e: f"order/{e.order_id}")
async def two(event: OrderCreated | PaymentProcessed) -> None: ...


@router.on(OrderCreated, PaymentProcessed, OrderShipped, reads=lambda e: (f"order/{e.order_id}",))
async def three(event: OrderCreated | PaymentProcessed | OrderShipped, ctx: Context[State]) -> None: ...


@router.on(OrderCreated, PaymentProcessed, OrderShipped, StockCounted, unordered=True)
def four(event: OrderCreated | PaymentProcessed | OrderShipped | StockCounted) -> None: ...


@router.on(OrderCreated, PaymentProcessed)
async def wider(event: Event) -> None: ...


@router.on(Plain, writes="order/{order_id}", type="shop.plain")
async def plain(event: Plain) -> None: ...


@router.on(Classic, writes=lambda e: f"order/{e.order_id}")
async def classic(event: Classic) -> None: ...


@router.on(Typed, writes=lambda e: f"order/{e['order_id']}")
async def typed(event: Typed) -> None: ...


@router.on(Model, writes=lambda e: f"order/{e.order_id}")
async def model(event: Model) -> None: ...


@router.on("shop.refunded", writes=lambda e: f"order/{e['order_id']}")
async def by_name(event: dict[str, object]) -> None: ...


@router.on("shop.refunded", "shop.returned", writes="order/{order_id}")
def by_names(event: dict[str, Any], ctx: Context[State]) -> None: ...


def touched(event: OrderCreated) -> Iterator[Access]:
    yield Access(f"order/{event.order_id}", "write")


def order_key(event: OrderCreated) -> str:
    return f"order/{event.order_id}"


@router.on(OrderCreated, accesses=touched)
async def by_accesses(event: OrderCreated) -> None: ...


@router.on(OrderCreated, writes=order_key, accesses=lambda e: [Access(f"c/{e.customer_id}", "read")])
async def by_function(event: OrderCreated) -> None: ...


class Service:
    def handle(self, event: OrderCreated, ctx: Context[State]) -> None: ...


router.on(OrderCreated, writes=())(Service().handle)


async def use(ctx: Context[State]) -> None:
    """Handlers are given back as they were: tests call them."""
    event = OrderCreated(order_id=1, customer_id="c7")
    await reserve(event, ctx)
    pay(PaymentProcessed(order_id=1))
    await two(event)
    await two(PaymentProcessed(order_id=1))
    await by_name({"order_id": 1})


router.include(Router[State]())
