"""A day's events of the shop, the same for the same seed: many orders at once, a few hot customers and hot
goods.

Popularity falls with rank as in Zipf's law. Orders are created, paid and shipped in this sequence, each at
its own pace, so that the steps of many orders lie interleaved in the log.

Invariant: the log is a possible one: nothing is paid or shipped that was not created before.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random

from commute.demo.shop import (
    CUSTOMERS,
    GOODS,
    CustomerMoved,
    Line,
    OrderCreated,
    OrderShipped,
    PaymentProcessed,
    Restocked,
)
from commute.event import Event

MOVES = 0.12  # of all events
RESTOCKS = 0.08
OPEN_ORDERS = 60  # under way at once
CUSTOMER_SKEW = 1.3  # exponent of Zipf's law; 0: all are equally popular
GOODS_SKEW = 0.6


def make_traffic(events: int, seed: int) -> Sequence[Event]:
    """`events` events in log sequence."""
    random = Random(seed)
    customer = _popular(random, CUSTOMERS, CUSTOMER_SKEW)
    sku = _popular(random, GOODS, GOODS_SKEW)
    traffic: list[Event] = []
    open_orders: list[tuple[int, bool]] = []  # number, whether it is paid
    orders = 0
    while len(traffic) < events:
        chance = random.random()
        if chance < MOVES:
            number = random.randrange(1, 1_000)
            traffic.append(CustomerMoved(customer_id=customer(), address=f"{number} Second Street"))
        elif chance < MOVES + RESTOCKS:
            quantity, price = random.randrange(10, 100), random.randrange(100, 1_000)
            traffic.append(Restocked(sku=sku(), quantity=quantity, price=price))
        elif len(open_orders) < OPEN_ORDERS and random.random() < 0.4:
            orders += 1
            open_orders.append((orders, False))
            skus = sorted({sku() for _ in range(random.randrange(1, 4))})
            lines = [Line(one, random.randrange(1, 5)) for one in skus]
            traffic.append(OrderCreated(order_id=orders, customer_id=customer(), lines=lines))
        elif open_orders:
            order_id, paid = open_orders.pop(random.randrange(len(open_orders)))
            if paid:
                traffic.append(OrderShipped(order_id=order_id, parcel=f"P{random.randrange(10**6):06}"))
            else:
                open_orders.append((order_id, True))
                traffic.append(PaymentProcessed(order_id=order_id, reference=f"R{random.randrange(10**6):06}"))
    return traffic


def _popular(random: Random, count: int, skew: float) -> Callable[[], int]:
    """Draws numbers below `count`; which of them are popular is drawn, too."""
    names = list(range(count))
    random.shuffle(names)
    sums = list(accumulate(1 / rank**skew for rank in range(1, count + 1)))
    return lambda: names[min(bisect(sums, random.random() * sums[-1]), count - 1)]
