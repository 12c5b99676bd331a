"""How long it takes to derive the footprints of an app's handlers, after its modules are imported.

The handlers are those of the tests' corpus and of their traps, again and again until there are enough: raw SQL, ORM,
repositories, units of work, Redis, state. Nothing is kept from one round to the next but parsed files and statements,
as in a worker that starts.

    python benchmarks/derive.py [--handlers 200] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from commute import App
from commute.derive.application import derive
from commute.handler import Handler
from tests.corpus.case import ALL
from tests.corpus.test_truth import MODULES
from tests.derive import python_traps, python_traps_of_containers, python_traps_of_objects, service

TARGET_S = 3.0  # for 200 handlers


def apps(wanted: int) -> list[tuple[tuple[Handler, ...], tuple[str, ...]]]:
    """Apps with at least so many handlers together, and the tables of each."""
    assert MODULES
    found: list[tuple[tuple[Handler, ...], tuple[str, ...]]] = [
        (case.make({}).handlers, tuple(case.tables)) for case in ALL
    ]
    traps: list[App] = [python_traps.app, python_traps_of_objects.app, python_traps_of_containers.app, service.app]
    found += [(app.handlers, tuple(python_traps.DDL)) for app in traps]
    chosen: list[tuple[tuple[Handler, ...], tuple[str, ...]]] = []
    count = 0
    while count < wanted:
        handlers, tables = found[len(chosen) % len(found)]
        chosen.append((handlers, tables))
        count += len(handlers)
    return chosen


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--handlers", type=int, default=200)
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    chosen = apps(given.handlers)
    count = sum(len(handlers) for handlers, _ in chosen)
    took = []
    for _ in range(given.repeats):
        start = time.perf_counter()
        for handlers, tables in chosen:
            derive(handlers, ddl=tables)
        took.append(time.perf_counter() - start)
    first, median = took[0], statistics.median(took)
    print(f"{count} handlers in {len(chosen)} apps: {first:.2f} s the first time, {median:.2f} s in the median")
    print(f"{1000 * median / count:.1f} ms a handler; 200 of them in {200 * first / count:.2f} s of {TARGET_S:.0f} s")


if __name__ == "__main__":
    main()
