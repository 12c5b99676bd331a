"""What more workers bring: greedy list scheduling of equally long events, and where it stops to bring anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from commute.analysis.workload import is_deep
from commute.core import bounds
from commute.core.footprint import Footprint
from commute.core.steps import Groups

WORKERS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Curve:
    """`speedup_at`: workers -> speed-up over one at a time, with so many events looked ahead."""

    lookahead: int
    speedup_at: dict[int, float]

    @property
    def knee(self) -> int | None:
        """The number of workers beyond which more bring little; None if none was looked at."""
        return bounds.knee(self.speedup_at)


def curve(
    footprints: Sequence[Footprint],
    lookahead: int,
    workers: Sequence[int] = WORKERS,
    done: Callable[[int], None] | None = None,
) -> Curve:
    """The speed-ups. O(accesses + events log events) for each number of workers, about 3 µs an event of two keys where
    no key lies below another, else 20. `done` is told after each how many of `workers` are through."""
    found: dict[int, float] = {}
    groups = None if is_deep(footprints) else Groups(footprints)
    for at, number in enumerate(workers, 1):
        if groups is None:
            steps = bounds.list_schedule(footprints, number, lookahead, contiguous=True)
        else:
            steps = groups.steps(number, lookahead)
        found[number] = len(footprints) / steps if steps else 1.0
        if done is not None:
            done(at)
    return Curve(lookahead, found)
