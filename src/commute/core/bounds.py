"""How fast a log could have been handled at best: the longest chain of dependent events, and what it bounds.

A run is judged against what its dependences allow, not against the number of workers: a log whose events all
wait for each other is not slow because of the scheduler. The finish of an event is its service time plus the
latest finish among ALL earlier events that conflict with it. A finish never falls as events are added, so per
key and mode the latest finish so far says all, and no event has to be compared with another.

Invariants: `direct[key][mode]` is the maximum over all events that name this key in this mode,
`below[key][mode]` over those that name a key strictly below; an access meets every conflicting earlier access
in one of the two.

Source: Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 17 (1969); levels are the
Foata normal form of the trace.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import groupby, pairwise

from commute.core.footprint import Footprint
from commute.core.history import Conflicts, ancestors, rivals

KNEE = 0.5  # of what more workers could bring, in proportion; where they bring less, they are too many


class _Reach:
    """The latest finish among the events of one mode at one key, and the deepest of them."""

    __slots__ = ("event", "finish_s", "level")

    def __init__(self) -> None:
        self.finish_s = 0.0
        self.level = 0
        self.event = -1

    def extend(self, finish_s: float, level: int, event: int) -> None:
        if finish_s > self.finish_s:
            self.finish_s = finish_s
        if level > self.level:
            self.level = level
            self.event = event


def _reach(tables: dict[str, dict[str, _Reach]], node: str, mode: str) -> _Reach:
    table = tables.get(node)
    if table is None:
        table = tables[node] = {}
    reach = table.get(mode)
    if reach is None:
        reach = table[mode] = _Reach()
    return reach


class Bounds:
    """Bounds on any run that keeps the dependences of the events added, in log sequence.

    O(accesses * depth * modes at a key) per event; memory: a few numbers per event and per key touched.
    """

    __slots__ = (
        "_below",
        "_deepest",
        "_direct",
        "_parents",
        "_via",
        "chain_events",
        "heaviest_chain_s",
        "total_s",
    )

    def __init__(self) -> None:
        self.total_s = 0.0  # sum of all service times
        self.chain_events = 0  # events on the longest chain of dependent events
        self.heaviest_chain_s = 0.0  # latest finish with unlimited workers, from time 0, arrivals included
        self._direct: dict[str, dict[str, _Reach]] = {}
        self._below: dict[str, dict[str, _Reach]] = {}
        self._parents = array("q")  # per event: its deepest conflicting predecessor, or -1
        self._via: list[str] = []  # per event: the key that the two share, "" where there is none
        self._deepest = -1  # the first event on level chain_events

    @property
    def events(self) -> int:
        """How many events were added."""
        return len(self._parents)

    @property
    def bound(self) -> float:
        """The speed-up that no number of workers can exceed, were all events equally long; 0 for none."""
        return self.events / self.chain_events if self.chain_events else 0.0

    def add(self, footprint: Footprint, service_s: float = 1.0, arrival_s: float = 0.0) -> int:
        """The level of the next event of the log, from 1: the length of the longest chain that ends with it.

        `service_s` is how long it runs, at least 0, and `arrival_s` when it could start at the earliest.
        Where times are known only after the run, add the events then, still in log sequence.
        """
        ready_s, level, parent, via = arrival_s, 0, -1, ""
        for key, mode in footprint:
            for node, reach in rivals(self._direct, self._below, key, mode):
                if reach.finish_s > ready_s:
                    ready_s = reach.finish_s
                if reach.level > level:
                    level, parent, via = reach.level, reach.event, node
        event = len(self._parents)
        finish_s = ready_s + service_s
        level += 1
        for key, mode in footprint:
            _reach(self._direct, key, mode).extend(finish_s, level, event)
            for above in ancestors(key):
                _reach(self._below, above, mode).extend(finish_s, level, event)
        self._parents.append(parent)
        self._via.append(via)
        self.total_s += service_s
        self.heaviest_chain_s = max(self.heaviest_chain_s, finish_s)
        if level > self.chain_events:
            self.chain_events = level
            self._deepest = event
        return level

    def chain_key(self) -> tuple[str, int] | None:
        """The key that carries most of one longest chain, and how many of the chain's events it links.

        None where no two events depend on each other; ("", n): the root, so an event that touches EVERYTHING.
        O(chain). Ties go to the key that appears last in the log.
        """
        links: list[str] = []  # the latest first
        event = self._deepest
        while event >= 0 and self._parents[event] >= 0:
            links.append(self._via[event])
            event = self._parents[event]
        if not links:
            return None
        counts: dict[str, int] = {}
        for key, run in groupby(links):
            # Adjacent links over one key join one event more than they are; runs that are apart share none.
            counts[key] = counts.get(key, 0) + sum(1 for _ in run) + 1
        key = max(counts, key=lambda key: counts[key])
        return key, counts[key]

    def chain(self) -> list[tuple[int, str]]:
        """One longest chain, first to last: each event's number in the sequence added, and the key that links it to the
        one before it (``""`` for the first, and where that key is everything). O(chain)."""
        found: list[tuple[int, str]] = []
        event = self._deepest
        while event >= 0:
            found.append((event, self._via[event]))
            event = self._parents[event]
        return found[::-1]

    def lower_bound_s(self, concurrency: int) -> float:
        """The makespan in seconds that no run with `concurrency` handlers at once can beat."""
        assert concurrency >= 1, f"at least one handler runs at once: {concurrency}"
        return max(self.heaviest_chain_s, self.total_s / concurrency)

    def efficiency(self, makespan_s: float, concurrency: int) -> float:
        """The lower bound as a part of the makespan: 1 is perfect. 1 also for a run that took no time."""
        return self.lower_bound_s(concurrency) / makespan_s if makespan_s > 0 else 1.0

    def speedup(self, makespan_s: float) -> float:
        """How many times faster than one event after the other. 1 for a run that took no time."""
        return self.total_s / makespan_s if makespan_s > 0 else 1.0


def list_schedule(
    footprints: Sequence[Footprint], concurrency: int, lookahead: int, *, contiguous: bool = False
) -> int:
    """The steps that greedy list scheduling takes when every event runs for one step: its makespan.

    Events are admitted in log sequence while fewer than `lookahead` are admitted and unfinished; each step
    runs the first `concurrency` of those that wait for no earlier one. `contiguous`: while the next one is fewer
    than `lookahead` events after the first unfinished one, as for a reader that knows one position only, so that
    finished events behind that one count too. O(accesses * depth + log n) per event.
    """
    assert concurrency >= 1, f"at least one event runs at once: {concurrency}"
    assert lookahead >= 1, f"at least one event is admitted: {lookahead}"
    conflicts = Conflicts(footprints)
    ready: list[int] = []  # heap by log sequence
    admitted = unfinished = steps = first = 0
    finished = bytearray(len(footprints) if contiguous else 0)
    while unfinished or admitted < len(footprints):
        while admitted < len(footprints) and (admitted - first if contiguous else unfinished) < lookahead:
            conflicts.insert(admitted)
            if conflicts.wait(admitted):
                heappush(ready, admitted)
            admitted += 1
            unfinished += 1
        running = [heappop(ready) for _ in range(min(concurrency, len(ready)))]
        steps += 1
        unfinished -= len(running)
        for event in running:
            if contiguous:
                finished[event] = 1
            for freed in conflicts.remove(event):
                heappush(ready, freed)
        while contiguous and first < admitted and finished[first]:
            first += 1
    return steps


def knee(speedup_at: Mapping[int, float]) -> int | None:
    """The least number of workers beyond which more bring little: `speedup_at` maps numbers of workers to speed-ups,
    and its largest number is the knee if more still bring something up to there. None without figures.

    Little: each further worker adds less than `KNEE` of what a worker brings so far. For twice the workers, that is a
    speed-up of less than 1.5 times as much.
    """
    known = sorted(speedup_at)
    for workers, more in pairwise(known):
        further = (speedup_at[more] - speedup_at[workers]) / (more - workers)
        if further < KNEE * speedup_at[workers] / workers:
            return workers
    return known[-1] if known else None
