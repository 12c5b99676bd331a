"""The longest chain of dependent events, and who makes it: which families of keys, which single keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from commute.analysis.workload import family
from commute.core.bounds import Bounds
from commute.core.footprint import Footprint, conflicting

Tick = Callable[[int], None]
TICK_EVENTS = 2_000


@dataclass(frozen=True, slots=True)
class Chain:
    """One longest chain. `members`: event numbers in log sequence; `links`: for each but the first, the keys over which
    it depends on the one before it. `events`: of the whole log."""

    events: int
    members: tuple[int, ...]
    links: tuple[tuple[str, ...], ...]

    @property
    def length(self) -> int:
        return len(self.members)

    @property
    def bound(self) -> float:
        """The speed-up that no number of workers exceeds, events equally long; 0 for no events."""
        return self.events / self.length if self.length else 0.0

    def shares(self) -> dict[str, float]:
        """family -> the part of the links that it makes, alone or with others; the largest first."""
        return self._shares(family)

    def key_shares(self) -> dict[str, float]:
        """key -> the part of the links that it makes; the largest first."""
        return self._shares(lambda key: key)

    def _shares(self, name: Callable[[str], str]) -> dict[str, float]:
        counts: dict[str, int] = {}
        for keys in self.links:
            for one in dict.fromkeys(map(name, keys)):
                counts[one] = counts.get(one, 0) + 1
        ranked = sorted(counts, key=lambda one: (-counts[one], one))
        return {one: counts[one] / len(self.links) for one in ranked}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a chain whose events are linked by one key; `types` that occur there."""

    key: str
    events: int
    types: tuple[str, ...]


def longest_chain(footprints: Sequence[Footprint], tick: Tick | None = None) -> Chain:
    """One longest chain of dependent events. O(accesses * depth * modes at a key): about 10 µs an event of two keys.

    `tick` is told now and then how many events are done.
    """
    bounds = bounds_of(footprints, tick)
    members = tuple(event for event, _ in bounds.chain())
    links = tuple(_between(footprints[a], footprints[b]) for a, b in pairwise(members))
    return Chain(len(footprints), members, links)


def bounds_of(footprints: Sequence[Footprint], tick: Tick | None = None) -> Bounds:
    """The bounds of all events, equally long."""
    bounds = Bounds()
    for event, footprint in enumerate(footprints):
        bounds.add(footprint)
        if tick is not None and not event % TICK_EVENTS:
            tick(event)
    return bounds


def _between(a: Footprint, b: Footprint) -> tuple[str, ...]:
    """The keys over which two events conflict: of two that overlap the shorter one, which both touch."""
    return tuple(dict.fromkeys(min(x.key, y.key, key=len) for x, y in conflicting(a, b)))
