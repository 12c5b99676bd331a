"""What the two passes say when they are held against each other: tables row by row, times, and the checker's
verdict.

Also what the footprints say before anything is run: how the types of events are related, and whether "order
created, payment processed, order shipped are independent" (of two orders they are, of one order they are
not)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, zip_longest

import msgspec

from commute.core.bounds import Bounds
from commute.core.footprint import Footprint, conflicts
from commute.core.history import Verdict
from commute.demo.run import Pass, Tables
from commute.demo.shop import (
    CustomerMoved,
    Line,
    OrderCreated,
    OrderShipped,
    PaymentProcessed,
    Restocked,
    shop,
)
from commute.event import Event, event_type
from commute.footprints.declared import Declared
from commute.footprints.relation import Relation, relation

SHORT: dict[type[Event], str] = {
    OrderCreated: "created",
    PaymentProcessed: "paid",
    OrderShipped: "shipped",
    Restocked: "restocked",
    CustomerMoved: "moved",
}
DIFFERENCES_MAX = 5  # that are kept to be shown


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The figures. Times in seconds; `speedup` is serial over parallel, `bound` what it would have been had the
    parallel run, with the service times that it had, taken the least time that its dependences and its handlers at once
    allow; `efficiency` is the one as a part of the other, so at most 1.
    """

    events: int
    serial_s: float
    parallel_s: float
    speedup: float
    bound: float
    efficiency: float
    violations: int
    states_equal: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """The report and what stands behind it. `differences`: the first rows that only one of the databases
    has."""

    report: Report
    verdict: Verdict
    bounds: Bounds
    differences: Sequence[str]
    tables: int
    rows: int
    dead: int


def compare(serial: Pass, parallel: Pass, concurrency: int) -> Comparison:
    """Judge the parallel pass by the serial one and by its own record. O(rows + records)."""
    bounds = parallel.recording.bounds()
    verdict = parallel.recording.history.check()
    differences = compare_tables(serial.tables, parallel.tables)
    serial_s, parallel_s = serial.makespan_s, parallel.makespan_s
    # Of one set of service times. The chain's length would be a bound for events that are all equally long, and these
    # are measured: a run whose handlers were held up, or whose serial pass was, would beat it, or seem far from it.
    least_s = bounds.lower_bound_s(concurrency)
    report = Report(
        events=bounds.events,
        serial_s=round(serial_s, 4),
        parallel_s=round(parallel_s, 4),
        speedup=round(serial_s / parallel_s, 3) if parallel_s else 1.0,
        bound=round(serial_s / least_s, 3) if least_s else 1.0,
        efficiency=round(bounds.efficiency(parallel_s, concurrency), 4),
        violations=len(verdict.violations),
        states_equal=not differences,
    )
    rows = sum(len(table) for table in parallel.tables.values())
    return Comparison(report, verdict, bounds, differences, len(parallel.tables), rows, parallel.dead)


def compare_tables(serial: Tables, parallel: Tables) -> list[str]:
    """The first differences, row by row; empty where both databases are the same. Tables are sorted."""
    found: list[str] = []
    for name in dict.fromkeys((*serial, *parallel)):
        for here, there in zip_longest(serial.get(name, ()), parallel.get(name, ())):
            if here != there:
                found.append(f"{name}: serially {_shown(here)}, in parallel {_shown(there)}")
                if len(found) == DIFFERENCES_MAX:
                    return found
    return found


def _shown(row: object) -> str:
    return "no such row" if row is None else f"{row!r}"


def relations() -> dict[tuple[type[Event], type[Event]], Relation]:
    """How each two types of events are related, from the templates of their handlers."""
    return {(a, b): relation(_declared(a), _declared(b)) for a in SHORT for b in SHORT}


def symbol(found: Relation) -> str:
    """One letter of the matrix: ``=`` same order, ``c`` same customer, ``~`` same goods, ``.`` never."""
    paths = {side for condition in found.conditions for equality in condition.equalities for side in equality}
    if found.symbol == "=":
        return "c" if "customer_id" in paths and "order_id" not in paths else "~" if "sku" in paths else "="
    return found.symbol


LEGEND = "= same order   c same customer   ~ same goods   . never"


def independent_pairs(*, one_order: bool) -> int:
    """How many of the three pairs of created, paid and shipped are independent, for the events of one order;
    or of two orders, of one customer and of the same goods."""
    lines = [Line(1, 2), Line(2, 1)]
    second = 1 if one_order else 2
    mine: list[Event] = [
        OrderCreated(order_id=1, customer_id=7, lines=lines),
        PaymentProcessed(order_id=1, reference="R1"),
        OrderShipped(order_id=1, parcel="P1"),
    ]
    yours: list[Event] = [
        OrderCreated(order_id=second, customer_id=7, lines=lines),
        PaymentProcessed(order_id=second, reference="R2"),
        OrderShipped(order_id=second, parcel="P2"),
    ]
    pairs = combinations(range(3), 2)
    return sum(not conflicts(_footprint(mine[a]), _footprint(yours[b])) for a, b in pairs)


def _declared(cls: type[Event]) -> list[Declared]:
    entries = (handler.event(event_type(cls)) for handler in shop.handlers)
    return [entry.declared for entry in entries if entry is not None]


def _footprint(event: Event) -> Footprint:
    (declared,) = _declared(type(event))
    return declared.footprint(event)
