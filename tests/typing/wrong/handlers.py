"""Mistakes with handlers that type checkers must report, each on the line marked so, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from commute.context import Context
from commute.core.footprint import Access
from commute.event import Event
from commute.router import Router


class OrderCreated(Event):
    order_id: int


class PaymentProcessed(Event):
    payment_id: int


@dataclass
class State:
    name: str


router: Router[State] = Router()


@router.on(PaymentProcessed)  # error
async def other_event(event: OrderCreated) -> None: ...


@router.on(OrderCreated, PaymentProcessed)  # error
async def one_of_two(event: OrderCreated) -> None: ...


@router.on(OrderCreated)  # error
def other_state(event: OrderCreated, ctx: Context[None]) -> None: ...


@router.on(OrderCreated)  # error
def third_parameter(event: OrderCreated, ctx: Context[State], more: int) -> None: ...


@router.on(OrderCreated)  # error
def no_parameter() -> None: ...


@router.on(OrderCreated)  # error
def returns(event: OrderCreated) -> int:
    return 1


@router.on(OrderCreated)  # error
async def returns_later(event: OrderCreated) -> int:
    return 1


@router.on("shop.refunded")  # error
def by_name(event: OrderCreated) -> None: ...


@router.on(OrderCreated, writes=lambda e: f"order/{e.oder_id}")  # error
def unknown_field(event: OrderCreated) -> None: ...


@router.on(OrderCreated, PaymentProcessed, writes=lambda e: f"order/{e.order_id}")  # error
def field_of_one(event: OrderCreated | PaymentProcessed) -> None: ...


@router.on(OrderCreated, writes=lambda e: e.order_id)  # error
def key_that_is_no_text(event: OrderCreated) -> None: ...


@router.on(OrderCreated, writes=7)  # error
def no_key(event: OrderCreated) -> None: ...


@router.on(OrderCreated, accesses=lambda e: [f"order/{e.order_id}"])  # error
def no_access(event: OrderCreated) -> None: ...


def payment_key(event: PaymentProcessed) -> str:
    return f"payment/{event.payment_id}"


@router.on(OrderCreated, writes=payment_key)  # error
def key_of_another(event: OrderCreated) -> None: ...


@router.on(OrderCreated, wirtes="order/{order_id}")  # error
def misspelt(event: OrderCreated) -> None: ...


@router.on(OrderCreated, on_exhausted="ignore")  # error
def policy(event: OrderCreated) -> None: ...


@router.on(OrderCreated, executor=4)  # error
def executor(event: OrderCreated) -> None: ...


@router.on(OrderCreated, timeout_s="1")  # error
def timeout(event: OrderCreated) -> None: ...


@router.on(OrderCreated, commutes={"maximum": 7})  # error
def commutes(event: OrderCreated) -> None: ...


@router.on(OrderCreated, writes="order/{order_id}")
def right(event: OrderCreated, ctx: Context[State]) -> None:
    print(ctx.state.nmae)  # error
    Access("order", 7)  # error


right(PaymentProcessed(payment_id=1))  # error
router.include(Router[None]())  # error
