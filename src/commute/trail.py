"""The last events of a run: who came when, ran when, and waited for whom; what a worker's picture is drawn from.

    admissions ─▶ under way ─▶ the last `events_max` that have ended ─▶ spans, bounds

Invariant: what is kept are the last ends. So where a kept event has waited for one that is kept too, no event that is
gone has ended later: the waits that are told are told rightly, and a wait for one that is gone is told as none.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from commute.core.blockers import Blockers
from commute.core.bounds import Bounds
from commute.core.footprint import Footprint
from commute.core.history import Ending
from commute.report.timeline import Span

EVENTS_MAX = 10_000
UNDER_WAY_MAX = 50_000


@dataclass(slots=True)
class Passage:
    """One event on its way through the engine, in seconds of one clock. `started_s` is that of the last attempt."""

    id: str
    type: str
    footprint: Footprint
    admitted_s: float
    started_s: float
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of a run: its passages in log sequence, and from when on it is told. Events that began earlier count from
    there."""

    passages: Sequence[Passage]
    begin_s: float

    @property
    def makespan_s(self) -> float:
        """From the beginning to the last end."""
        return max((passage.ended_s for passage in self.passages), default=self.begin_s) - self.begin_s

    @property
    def arrived_s(self) -> float:
        """When the last event came: no number of handlers ends it earlier."""
        return max((passage.admitted_s for passage in self.passages), default=self.begin_s) - self.begin_s

    def spans(self) -> list[Span]:
        """What each event did, and for whom it waited, in log sequence."""
        return spans_of(self.passages, self.begin_s)

    def bounds(self) -> Bounds:
        """What was the least possible, since no event starts before it has come."""
        bounds = Bounds()
        for passage in self.passages:
            service_s = passage.ended_s - max(passage.started_s, self.begin_s)
            bounds.add(passage.footprint, max(0.0, service_s), max(0.0, passage.admitted_s - self.begin_s))
        return bounds


class Trail:
    """A recorder of the last `events_max` ends of a process, of all its partitions; O(1) for each call.

    At most `under_way_max` events that have not ended are remembered: of more, the oldest are not told.
    """

    def __init__(
        self,
        events_max: int = EVENTS_MAX,
        under_way_max: int = UNDER_WAY_MAX,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.ended: deque[tuple[int, Passage]] = deque(maxlen=events_max)
        self.clock = clock
        self.begin_s: float | None = None
        self._under_way: dict[tuple[int, int], tuple[int, Passage]] = {}
        self._under_way_max = under_way_max
        self._admitted = 0

    def of(self, partition: int) -> PartOfTrail:
        """The recorder of one partition's engine."""
        return PartOfTrail(self, partition)

    def excerpt(self) -> Excerpt:
        """What is kept now. O(n log n)."""
        kept = sorted(self.ended, key=lambda numbered: numbered[0])
        return Excerpt([replace(passage) for _, passage in kept], self.begin_s or 0.0)

    def admit(self, place: tuple[int, int], footprint: Footprint, id_: str, type_: str) -> None:
        now_s = self.clock()
        if self.begin_s is None:
            self.begin_s = now_s
        self._admitted += 1
        self._under_way[place] = (self._admitted, Passage(id_, type_, footprint, now_s, now_s))
        if len(self._under_way) > self._under_way_max:
            del self._under_way[next(iter(self._under_way))]

    def start(self, place: tuple[int, int]) -> None:
        found = self._under_way.get(place)
        if found is not None:
            found[1].started_s = self.clock()

    def end(self, place: tuple[int, int]) -> None:
        found = self._under_way.pop(place, None)
        if found is None:
            return
        found[1].ended_s = self.clock()
        if len(self.ended) == self.ended.maxlen:
            self.begin_s = self.ended[0][1].ended_s  # that one is gone now, and all before it
        self.ended.append(found)

    def forget(self, place: tuple[int, int]) -> None:
        self._under_way.pop(place, None)


class PartOfTrail:
    """What the engine of one partition tells its trail."""

    def __init__(self, trail: Trail, partition: int) -> None:
        self._trail = trail
        self._partition = partition

    def admit(self, position: int, footprint: Footprint, id_: str, type_: str) -> None:
        self._trail.admit((self._partition, position), footprint, id_, type_)

    def release(self, position: int) -> None:
        """Told by the footprints."""

    def start(self, position: int) -> None:
        self._trail.start((self._partition, position))

    def end(self, position: int, ending: Ending) -> None:
        if ending == "processed":
            self._trail.end((self._partition, position))
        else:
            self._trail.forget((self._partition, position))

    def hold(self, position: int, footprint: Footprint | None = None) -> None:
        self._trail.forget((self._partition, position))


def spans_of(passages: Sequence[Passage], begin_s: float) -> list[Span]:
    """What each event did, and for whom it waited, from `begin_s` on; `passages` are in log sequence.

    O(accesses * depth) an event.
    """
    blockers, found = Blockers(), []
    for number, passage in enumerate(passages):
        blocker = blockers.add(number, passage.footprint, passage.ended_s)
        waited_s = 0.0 if blocker is None else max(0.0, min(blocker.ended_s, passage.started_s) - passage.admitted_s)
        waited = blocker is not None and waited_s > 0
        found.append(
            Span(
                event=passage.id, type=passage.type, admitted_s=max(0.0, passage.admitted_s - begin_s),
                started_s=max(0.0, passage.started_s - begin_s), ended_s=passage.ended_s - begin_s,
                blocker=passages[blocker.event].id if blocker is not None and waited else None,
                key=blocker.key if blocker else "", blocked_s=waited_s,
            )
        )  # fmt: skip
    return found
