"""What the schedule costs per event: on spread keys, with subtrees in use, on one hot key with a long queue.

Times are of this process's processor, in microseconds for one `admit` and one `settle`; other programs on the
machine disturb them less than wall time, but they do. So all rows are run in rounds and the medians over the
rounds are quoted; `x_dict` is the median ratio, within a round, to storing and deleting two keys in a dict.
Steps are byte-code instructions, counted by tracing a few events apart from any timing: they do not vary.
Bytes are what the schedule allocates, tickets included; footprints and items are the caller's.

    python benchmarks/schedule.py [--json] [--repeats 9] [--queue 1000 10000 100000 1000000]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from commute.core.footprint import EVERYTHING, READ, WRITE, Access, Footprint
from commute.core.plain_schedule import PlainSchedule
from commute.core.schedule import Schedule, Ticket

if TYPE_CHECKING:
    from _typeshed import TraceFunction

EVENTS = 20_000
LIVE = 32  # events under way at once in the runs on spread keys
CYCLES = 20_000  # settle the first and admit another, with the queue at its full length
TRACED = 50
HOT = Access("stock/tea", WRITE)

# What was touched before, by its name: it decides what the same two keys cost.
BEFORE: dict[str, tuple[Footprint, ...]] = {
    "flat, two keys": (),
    "flat, other keys of other depth": ((Access("unique/customer/7", WRITE), Access("order/1", WRITE)),),
    "one family also as a whole": ((Access("order", READ),),),
    "EVERYTHING occurs": (EVERYTHING,),
    "both families and the root as a whole": (
        (Access("order", READ),),
        (Access("customer", READ),),
        EVERYTHING,
    ),
    "keys below each key": ((Access("order/1/line/2", WRITE), Access("customer/1/address", WRITE)),),
}


def spread(count: int) -> list[Footprint]:
    """Footprints of two keys each, none of them shared."""
    return [(Access(f"order/{number}", WRITE), Access(f"customer/{number * 7}", READ)) for number in range(count)]


def queue(first: int, count: int) -> list[Footprint]:
    """Footprints of two keys each, the hot one and one of its own."""
    return [(HOT, Access(f"order/{number}", WRITE)) for number in range(first, first + count)]


def per_event_us(run: Callable[[], int]) -> float:
    """Processor time of one event; `run` returns how many it did."""
    gc.collect()
    began_s = time.process_time()
    events = run()
    return (time.process_time() - began_s) / events * 1e6


def steps(run: Callable[[], object]) -> int:
    """Byte-code instructions that `run` executes."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
    return count


def through_a_dict(footprints: Sequence[Footprint]) -> int:
    """Store two keys and delete them: the least that two keys can cost."""
    holders: dict[str, object] = {}
    for footprint in footprints:
        (a, _), (b, _) = footprint
        holders[a] = holders[b] = footprint
        del holders[a], holders[b]
    return len(footprints)


def through(
    chosen: Schedule[None] | PlainSchedule[None], before: Sequence[Footprint], footprints: Sequence[Footprint]
) -> int:
    """Admit and settle all, LIVE of them at once; returns how many."""
    for footprint in before:
        chosen.settle(chosen.admit(footprint, None))
    live = []
    for footprint in footprints:
        live.append(chosen.admit(footprint, None))
        if len(live) == LIVE:
            for ticket in live:
                chosen.settle(ticket)
            live.clear()
    for ticket in live:
        chosen.settle(ticket)
    return len(footprints)


def measure_spread(repeats: int) -> list[dict[str, object]]:
    footprints = spread(EVENTS)
    fewer = footprints[: EVENTS // 10]
    rounds: list[dict[str, tuple[float, float, float]]] = []
    for _ in range(repeats):
        figures = {}
        for name, before in BEFORE.items():
            base_us = per_event_us(partial(through_a_dict, footprints))
            fast_us = per_event_us(partial(through, Schedule(), before, footprints))
            plain_us = per_event_us(partial(through, PlainSchedule(), before, fewer))
            figures[name] = (fast_us, fast_us / base_us, plain_us)
        rounds.append(figures)
    rows: list[dict[str, object]] = []
    for name in BEFORE:
        columns = zip(*(figures[name] for figures in rounds), strict=True)
        us, x_dict, plain_us = (statistics.median(column) for column in columns)
        rows.append({"keys": name, "us": us, "x_dict": x_dict, "plain_us": plain_us})
    return rows


def fill(chosen: Schedule[None], tickets: deque[Ticket[None]], footprints: Sequence[Footprint]) -> int:
    tickets.extend(chosen.admit(footprint, None) for footprint in footprints)
    return len(footprints)


def go_on(chosen: Schedule[None], tickets: deque[Ticket[None]], footprints: Sequence[Footprint]) -> int:
    """Settle the first and admit another, again and again: the queue keeps its length."""
    for footprint in footprints:
        chosen.settle(tickets.popleft())
        tickets.append(chosen.admit(footprint, None))
    return len(footprints)


def drain(chosen: Schedule[None], tickets: deque[Ticket[None]]) -> int:
    count = len(tickets)
    while tickets:
        chosen.settle(tickets.popleft())
    return count


def measure_queue(length: int) -> dict[str, float]:
    """One hot key with `length` waiting: filling the queue, going on at that length, draining it."""
    footprints = queue(0, length + 1)
    extra = queue(length + 1, CYCLES + TRACED)
    chosen: Schedule[None] = Schedule()
    tickets: deque[Ticket[None]] = deque()
    admit_us = per_event_us(partial(fill, chosen, tickets, footprints))
    assert chosen.waiting == length
    cycle_us = per_event_us(partial(go_on, chosen, tickets, extra[:CYCLES]))
    traced = steps(partial(go_on, chosen, tickets, extra[CYCLES:]))
    settle_us = per_event_us(partial(drain, chosen, tickets))
    return {"admit_us": admit_us, "settle_us": settle_us, "cycle_us": cycle_us, "steps": traced / TRACED}


def measure_queues(lengths: Sequence[int], repeats: int) -> list[dict[str, object]]:
    rounds = [{length: measure_queue(length) for length in lengths} for _ in range(repeats)]
    rows: list[dict[str, object]] = []
    for length in lengths:
        figures = [figures[length] for figures in rounds]
        rows.append({"waiting": length})
        rows[-1] |= {name: statistics.median(figure[name] for figure in figures) for name in figures[0]}
        ratios = [figures[length]["cycle_us"] / figures[lengths[0]]["cycle_us"] for figures in rounds]
        rows[-1]["x_shortest"] = statistics.median(ratios)
    return rows


def measure_bytes(name: str, footprints: Sequence[Footprint]) -> dict[str, object]:
    """Bytes that the schedule and its tickets take per waiting event."""
    gc.collect()
    tracemalloc.start()
    before_bytes = tracemalloc.get_traced_memory()[0]
    chosen: Schedule[None] = Schedule()
    for footprint in footprints:
        chosen.admit(footprint, None)
    now_bytes, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert chosen.waiting >= len(footprints) * 0.9
    return {
        "events": name,
        "count": len(footprints),
        "bytes": (now_bytes - before_bytes) / len(footprints),
        "peak_bytes": (peak_bytes - before_bytes) / len(footprints),
    }


def measure_all_bytes() -> list[dict[str, object]]:
    writes = queue(0, 100_000)
    modes = (Access(HOT.key, READ), HOT)
    mixed = [(modes[number % 2], own) for number, (_, own) in enumerate(writes)]
    whole = [(Access("stock", READ),), EVERYTHING]
    return [
        measure_bytes("a hot write and a key of its own", writes),
        measure_bytes("the same just after a dict has grown", queue(0, 90_000)),
        measure_bytes("hot reads and writes in turn", mixed),
        measure_bytes("the same behind stock and EVERYTHING", [*whole, *mixed]),
    ]


def show(report: dict[str, list[dict[str, object]]]) -> None:
    titles = {
        "spread": "Spread keys, us for admit and settle of one event with two keys, after others touched",
        "hot": "One hot key and one of its own, us per event",
        "memory": "Bytes per waiting event",
    }
    for part, rows in report.items():
        print(f"\n{titles[part]}")
        print("  ".join(f"{name:>{38 if at == 0 else 11}}" for at, name in enumerate(rows[0])))
        for row in rows:
            cells = (f"{cell:,.2f}" if isinstance(cell, float) else f"{cell}" for cell in row.values())
            print("  ".join(f"{cell:>{38 if at == 0 else 11}}" for at, cell in enumerate(cells)))


def main() -> None:
    parser = argparse.ArgumentParser(description="What the schedule costs per event.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--queue", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    options = parser.parse_args()

    report = {
        "spread": measure_spread(options.repeats),
        "hot": measure_queues(options.queue, max(3, options.repeats // 3)),
        "memory": measure_all_bytes(),
    }
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)


if __name__ == "__main__":
    main()
