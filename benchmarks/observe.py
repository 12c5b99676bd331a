"""What it costs to watch handlers: a statement noted, a statement held to the footprint, and one whose text is new.

One handler runs a statement again and again on a block of the embedded store that does nothing, so that only the
watching is measured; the loop around it is taken off.

Rows differ from statement to statement where they are noted, since an access is kept once for an attempt.

    python benchmarks/observe.py [--statements 20000] [--repeats 5]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from commute import App, Context, Event
from commute.observe.tables import Catalogue
from commute.observe.watch import Watch, watching
from commute.sql.ddl import schema_of
from commute.testing import run

DDL = ["CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)"]
TEXT = "UPDATE orders SET status = ? WHERE id = ?"
TARGETS_US = {"noted": 3.0, "held to the footprint": 5.0, "text that is new": 2_000.0}


class Paid(Event):
    order_id: int


def nothing(_text: str, _given: object) -> list[tuple[object, ...]]:
    return []


def measured(work: Callable[[Watch, Catalogue], float], *, keep: bool) -> float:
    """Microseconds that `work` says, called inside of a handler that is watched."""
    found: list[float] = []
    app: App[Any] = App("bench", "memory://")

    @app.on(Paid, writes="order")
    async def pay(event: Paid, ctx: Context) -> None:
        catalogue = Catalogue(lambda ask: schema_of(DDL))
        watch.statement(TEXT, ("paid", 7), catalogue, nothing)
        watch.forget()
        found.append(work(watch, catalogue))

    with watching(app, keep=keep) as watch:
        run(app, [Paid(order_id=7)])
        assert not watch.undeclared
    return found[0]


def known(count: int) -> Callable[[Watch, Catalogue], float]:
    def work(watch: Watch, catalogue: Catalogue) -> float:
        rows = [("paid", number) for number in range(count)]
        start = time.perf_counter()
        for given in rows:
            watch.statement(TEXT, given, catalogue, nothing)
        middle = time.perf_counter()
        for _ in rows:
            pass
        return (2 * middle - start - time.perf_counter()) / count * 1e6

    return work


def new(round_: int) -> Callable[[Watch, Catalogue], float]:
    def work(watch: Watch, catalogue: Catalogue) -> float:
        count = 100
        start = time.perf_counter()
        for number in range(count):
            watch.statement(f"UPDATE orders SET status = 's{round_}-{number}' WHERE id = ?", (7,), catalogue, nothing)
        return (time.perf_counter() - start) / count * 1e6

    return work


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--statements", type=int, default=20_000)
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    rounds = range(given.repeats)
    took = {
        "noted": min(measured(known(given.statements), keep=True) for _ in rounds),
        "held to the footprint": min(measured(known(given.statements), keep=False) for _ in rounds),
        "text that is new": min(measured(new(round_), keep=False) for round_ in rounds),
    }
    for name, us in took.items():
        print(f"{name:24} {us:10.2f} µs a statement, at most {TARGETS_US[name]:g}")
    sys.exit(any(us > TARGETS_US[name] for name, us in took.items()))


if __name__ == "__main__":
    main()
