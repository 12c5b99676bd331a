"""Mistakes with events that type checkers must report, each on the line marked so, and no others."""

from __future__ import annotations

from commute.event import Event


class OrderCreated(Event, type="shop.order.created"):
    order_id: int
    customer_id: str = ""


class Mutable(Event, frozen=False):  # error
    order_id: int


event = OrderCreated(order_id=1)
event.order_id = 2  # error
OrderCreated(1)  # error
OrderCreated(order_id="1")  # error
OrderCreated()  # error
OrderCreated(order_id=1, oder_id=2)  # error
print(event.oder_id)  # error
