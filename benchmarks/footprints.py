"""What is worked out for every event before it is admitted: decoding, and its footprint.

Medians of repeated runs on one thread, in microseconds an event, and the ratio to the least that Python could do for
the same keys (two f-strings in plain tuples). The compiled footprint is shown beside the plain version, its oracle.

    python benchmarks/footprints.py [--events 50000] [--repeats 9]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

from commute.codec import codec_for
from commute.event import Event
from commute.footprints.declared import Given, compile_footprint


class Line(msgspec.Struct, frozen=True):
    sku: str
    amount: int = 1


class OrderCreated(Event):
    order_id: int
    customer_id: str
    lines: tuple[Line, ...] = ()
    coupon: str | None = None


def least(event: OrderCreated) -> object:
    return ((f"customer/{event.customer_id}", "read"), (f"order/{event.order_id}", "write"))


def median_us(function: Callable[[Any], object], values: list[Any], repeats: int) -> float:
    """Microseconds a call: the median of `repeats` runs over all values."""
    taken_s = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        for value in values:
            function(value)
        taken_s.append((time.perf_counter() - start_s) / len(values))
    return statistics.median(taken_s) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    lines = tuple(Line(f"sku{number}") for number in range(3))
    events: list[Any] = [
        OrderCreated(order_id=number, customer_id=f"c{number % 997}", lines=lines, coupon=None if number % 2 else "may")
        for number in range(options.events)
    ]
    codec = codec_for(OrderCreated)
    data: list[Any] = [codec.encode(event) for event in events]
    dicts: list[Any] = [msgspec.json.decode(one) for one in data]

    def declare(cls: type | None, **given: Any) -> Any:
        return compile_footprint(Given(**given), cls=cls, event_type="order_created", handler="reserve")

    flat = {"reads": "customer/{customer_id}", "writes": "order/{order_id}"}
    rows: list[tuple[str, Callable[[Any], object], list[Any]]] = [
        ("the least: two f-strings", least, events),
        ("footprint, two flat keys", declare(OrderCreated, **flat).footprint, events),
        ("footprint, two flat keys, traced", declare(OrderCreated, **TRACED).footprint, events),
        ("footprint, two flat keys, data without a class", declare(None, **flat).footprint, dicts),
        ("footprint, two flat keys, plain version", declare(OrderCreated, **flat).plain, events),
        ("footprint, three lines and a coupon", declare(OrderCreated, **LISTS).footprint, events),
        ("footprint, three lines and a coupon, plain version", declare(OrderCreated, **LISTS).plain, events),
        ("footprint, computed per event", declare(OrderCreated, writes=computed).footprint, events),
        ("decode", codec.decode, data),
        ("encode, checked", codec.encode, events),
    ]
    base_us = median_us(least, events, options.repeats)
    for name, function, values in rows:
        taken_us = median_us(function, values, options.repeats)
        print(f"{name:52} {taken_us:7.2f} us {taken_us / base_us:7.1f} x")


TRACED: dict[str, Any] = {"reads": lambda e: f"customer/{e.customer_id}", "writes": lambda e: f"order/{e.order_id}"}
LISTS: dict[str, Any] = {"adds": "stock/{lines.*.sku}", "reads": "coupon/{coupon?}"}


def computed(event: OrderCreated) -> str:
    return f"order/{event.order_id}" if event.order_id % 2 else f"customer/{event.customer_id}"


if __name__ == "__main__":
    main()
