"""What fixed partitions can reach: a partition is chosen once, by data, and every object lives in one of them.

So all events that touch an object have to go where it lives, those that only read it too; and whatever is connected in
this way, directly or through others, shares a partition. The largest connected component is what the busiest partition
has to do alone, however many there are. Only what nobody changes can be copied to all partitions: families of keys that
are only read, or only added to in one commutative way (then summed up).

Source: union-find (Tarjan 1975).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from commute.analysis.workload import family, is_deep
from commute.core.footprint import WRITE, Footprint
from commute.core.history import ancestors


@dataclass(frozen=True, slots=True)
class Components:
    """`sizes` of the connected components, the largest first, events alone included; `events` in all."""

    events: int
    sizes: tuple[int, ...]

    @property
    def bound(self) -> float:
        """The speed-up that no number of fixed partitions exceeds, events equally long; 0 for no events."""
        return self.events / self.sizes[0] if self.sizes else 0.0


def components(footprints: Sequence[Footprint]) -> Components:
    """The components of the events by the objects that they touch. O(accesses * depth), nearly."""
    parent = array("q", range(len(footprints)))

    def root(event: int) -> int:
        while parent[event] != event:
            parent[event] = parent[parent[event]]
            event = parent[event]
        return event

    free = copied_families(footprints)
    deep = is_deep(footprints)
    named = {access.key for footprint in footprints for access in footprint} if deep else set()
    first: dict[str, int] = {}  # key -> the first event that touches it, or, if it is named itself, a key below it
    for event, footprint in enumerate(footprints):
        for key, _ in footprint:
            if family(key) in free:
                continue
            for node in (key, *(above for above in ancestors(key) if above in named)) if deep else (key,):
                parent[root(first.setdefault(node, event))] = root(event)
    sizes: dict[int, int] = {}
    for event in range(len(footprints)):
        top = root(event)
        sizes[top] = sizes.get(top, 0) + 1
    return Components(len(footprints), tuple(sorted(sizes.values(), reverse=True)))


def copied_families(footprints: Sequence[Footprint]) -> set[str]:
    """The families whose accesses all go together, so that each partition can have its own copy."""
    modes: dict[str, set[str]] = {}
    for footprint in footprints:
        for key, mode in footprint:
            modes.setdefault(family(key), set()).add(mode)
    if any(mode == WRITE for mode in modes.get("", ())):
        return set()
    return {name for name, found in modes.items() if len(found) == 1 and WRITE not in found}
