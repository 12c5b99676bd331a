"""What more workers bring: greedy list scheduling of equally long events, and where it stops to bring anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from commute.core.bounds import list_schedule
from commute.core.footprint import Footprint

WORKERS = (2, 4, 8, 16, 32, 64)
KNEE = 0.8  # doubling the workers has to bring at least this part of what it could, or they are too many


@dataclass(frozen=True, slots=True)
class Curve:
    """`speedup_at`: workers -> speed-up over one at a time, with so many events looked ahead."""

    lookahead: int
    speedup_at: dict[int, float]

    @property
    def knee(self) -> int | None:
        """The least number of workers of which another doubling brings little; None if none was looked at."""
        for workers, reached in self.speedup_at.items():
            twice = self.speedup_at.get(2 * workers)
            if twice is None or twice < (1 + KNEE) * reached:
                return workers
        return None


def curve(
    footprints: Sequence[Footprint],
    lookahead: int,
    workers: Sequence[int] = WORKERS,
    done: Callable[[int], None] | None = None,
) -> Curve:
    """The speed-ups. O(accesses + events log events) for each number of workers, about 20 µs an event of two keys.
    `done` is told after each how many of `workers` are through."""
    found: dict[int, float] = {}
    for at, number in enumerate(workers, 1):
        steps = list_schedule(footprints, number, lookahead, contiguous=True)
        found[number] = len(footprints) / steps if steps else 1.0
        if done is not None:
            done(at)
    return Curve(lookahead, found)
