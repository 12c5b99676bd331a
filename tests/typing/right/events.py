"""Events of every kind, as users write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict, assert_type

import msgspec
from pydantic import BaseModel

from commute.event import Event


class Line(msgspec.Struct, frozen=True):
    sku: str
    amount: int = 1


class OrderCreated(Event, type="shop.order.created"):
    order_id: int
    customer_id: str
    lines: list[Line] = []  # noqa: RUF012
    coupon: str | None = None
    note: str = msgspec.field(default="", name="remark")


class PaymentProcessed(Event):
    """Its fields may have any name."""

    order_id: int
    id: str = ""
    type: str = ""
    time: str = ""
    source: str = ""


class OrderShipped(Event, rename="camel", forbid_unknown_fields=True):
    order_id: int


class StockCounted(OrderShipped, type="stock.counted"):
    sku: str


class Plain(msgspec.Struct):
    order_id: int


@dataclass
class Classic:
    order_id: int


class Typed(TypedDict):
    order_id: int
    coupon: NotRequired[str]


class Model(BaseModel):
    order_id: int


event = OrderCreated(order_id=1, customer_id="c7", lines=[Line("tea-9")])
assert_type(event.order_id, int)
assert_type(event.lines, list[Line])
assert_type(PaymentProcessed(order_id=1).type, str)
assert_type(StockCounted(order_id=1, sku="tea-9").order_id, int)
