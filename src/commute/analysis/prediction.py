"""What a run would take: the log through the real schedule, in virtual time, with the service times that were measured.

Admission, look-ahead and the choice of the next event are the worker's: in log sequence, `lookahead` unfinished events,
first come first served among those that may start. What is not modelled is the worker's own work, which counts where
handlers take well under a millisecond.

Source: the bootstrap of Efron (1979) for the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from commute.analysis.workload import Workload
from commute.core.bounds import Bounds
from commute.core.schedule import Schedule, Ticket

if TYPE_CHECKING:
    from random import Random

LOOKAHEAD = 50_000
REPLICATES = 20
_LOW, _HIGH = 0.05, 0.95


@dataclass(frozen=True, slots=True)
class Prediction:
    """`speedup` over one event after the other with `workers` handlers at once; `low` to `high` holds nine tenths of
    what the spread of the service times makes of it. Times in seconds."""

    workers: int
    makespan_s: float
    speedup: float
    low: float
    high: float


def makespan_s(
    workload: Workload, service_s: Sequence[float], workers: int, *, lookahead: int = LOOKAHEAD,
    prepare_s: Sequence[float] | None = None,
) -> float:  # fmt: skip
    """How long `workers` handlers take. O(accesses + log events) per event: 3 to 5 µs with two keys.

    With `prepare_s`, each event first runs so long without its keys, whatever it waits for, then `service_s` with them.
    """
    run = _Run(workload, service_s, prepare_s, workers, lookahead)
    return run.finish()


class _Run:
    """One run in virtual time. An event is a number; `_prepared` says which have done what needs no keys."""

    def __init__(
        self, workload: Workload, service_s: Sequence[float], prepare_s: Sequence[float] | None, workers: int,
        lookahead: int,
    ) -> None:  # fmt: skip
        self._footprints = workload.footprints
        self._service_s = service_s
        self._prepare_s = prepare_s
        self._workers = workers
        self._lookahead = lookahead
        self._schedule: Schedule[int] = Schedule()
        self._tickets: dict[int, Ticket[int]] = {}
        self._ready: list[int] = []  # heap of events that may run with their keys
        self._waiting: list[int] = []  # heap of events to be prepared
        self._prepared = bytearray(len(workload.footprints))
        self._ends: list[tuple[float, int, bool]] = []  # heap: when, event, whether it ends for good
        self._admitted = 0

    def finish(self) -> float:
        now_s = 0.0
        self._admit()
        self._start(now_s)
        while self._ends:
            now_s, event, over = heappop(self._ends)
            self._end(event, over=over)
            while self._ends and self._ends[0][0] == now_s:
                _, event, over = heappop(self._ends)
                self._end(event, over=over)
            self._admit()
            self._start(now_s)
        return now_s

    def _admit(self) -> None:
        while self._admitted < len(self._footprints) and len(self._schedule) < self._lookahead:
            event = self._admitted
            self._admitted += 1
            ticket = self._tickets[event] = self._schedule.admit(self._footprints[event], event)
            if self._prepare_s is not None and self._prepare_s[event] > 0:
                heappush(self._waiting, event)
            else:
                self._prepared[event] = 1
                if not ticket.blocked:
                    heappush(self._ready, event)

    def _start(self, now_s: float) -> None:
        while len(self._ends) < self._workers and (self._ready or self._waiting):
            if self._ready:  # first what others wait for
                event = heappop(self._ready)
                heappush(self._ends, (now_s + self._service_s[event], event, True))
            else:
                assert self._prepare_s is not None, "only events with something to prepare are queued for it"
                event = heappop(self._waiting)
                heappush(self._ends, (now_s + self._prepare_s[event], event, False))

    def _end(self, event: int, *, over: bool) -> None:
        if not over:
            self._prepared[event] = 1
            if not self._tickets[event].blocked:
                heappush(self._ready, event)
            return
        for ticket in self._schedule.settle(self._tickets.pop(event)):
            if self._prepared[ticket.item]:
                heappush(self._ready, ticket.item)


class Services:
    """The service times of the events of a workload: measured per event, or samples per type, or all equal."""

    def __init__(self, workload: Workload, by_type: Mapping[str, Sequence[float]] | None = None) -> None:
        """`by_type`: measured times of each type, in seconds; a type that is not in it takes their mean. Without it the
        times of the workload count, else every event takes one second."""
        self._types = workload.types
        given = workload.service_s
        if by_type is None and given is not None:
            found: dict[str, list[float]] = {}
            for kind, time_s in zip(workload.types, given, strict=True):
                found.setdefault(kind, []).append(time_s)
            by_type = found
        self.measured = by_type is not None
        self._samples = by_type or {}
        self._given = given
        every = [time_s for times in self._samples.values() for time_s in times]
        self._mean_s = sum(every) / len(every) if every else 1.0

    @property
    def spread(self) -> bool:
        """Whether drawing again could give other times."""
        return any(min(times) != max(times) for times in self._samples.values() if times)

    def expected(self) -> list[float]:
        """The times measured per event, else the mean of each type."""
        if self._given is not None:
            return list(self._given)
        means = {kind: sum(times) / len(times) for kind, times in self._samples.items() if times}
        return [means.get(kind, self._mean_s) for kind in self._types]

    def drawn(self, chance: Random) -> list[float]:
        """A time for each event, drawn with replacement from those of its type."""
        return [chance.choice(times) if (times := self._samples.get(kind)) else self._mean_s for kind in self._types]


def predict(
    workload: Workload, services: Services, workers: int, chance: Random, *, lookahead: int = LOOKAHEAD,
    replicates: int = REPLICATES, tick: Callable[[int], None] | None = None,
) -> Prediction:  # fmt: skip
    """The prediction for one number of workers. One pass for each of `replicates`, and one more."""
    expected = services.expected()
    took_s = makespan_s(workload, expected, workers, lookahead=lookahead)
    speedups = []
    for number in range(replicates if services.spread else 0):
        drawn = services.drawn(chance)
        speedups.append(ratio_of(sum(drawn), makespan_s(workload, drawn, workers, lookahead=lookahead)))
        if tick is not None:
            tick(number)
    speedups.sort()
    speedup = ratio_of(sum(expected), took_s)
    low = speedups[int(_LOW * len(speedups))] if speedups else speedup
    high = speedups[min(len(speedups) - 1, int(_HIGH * len(speedups)))] if speedups else speedup
    return Prediction(workers, took_s, speedup, min(low, speedup), max(high, speedup))


def at_best(
    workload: Workload, service_s: Sequence[float], workers: int, prepare_s: Sequence[float] | None = None
) -> float:
    """The speed-up that no schedule with so many workers exceeds: a bound, for one pass without a heap."""
    bounds = Bounds()
    before_s = 0.0
    for event, footprint in enumerate(workload.footprints):
        first_s = prepare_s[event] if prepare_s is not None else 0.0
        before_s += first_s
        bounds.add(footprint, service_s[event], first_s)
    total_s = bounds.total_s + before_s
    return ratio_of(total_s, max(bounds.heaviest_chain_s, total_s / workers))


def ratio_of(total_s: float, took_s: float) -> float:
    """A speed-up; 1 where nothing took any time."""
    return total_s / took_s if took_s > 0 else 1.0
