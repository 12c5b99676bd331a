"""A partition of the objects themselves, where no field of the events tells which belong together.

Each object goes where most of what it is touched with already lies, unless that partition is full; then objects move as
long as fewer events cross. The result is a table from objects to partitions, which somebody has to keep: a last resort.

Source: linear deterministic greedy (Stanton, Kliot 2012), with moves as in Kernighan, Lin (1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commute.analysis.components import copied_families
from commute.analysis.workload import family
from commute.core.footprint import Footprint

OBJECTS_MAX = 32  # of an event: one with more crosses whatever is done
SLACK = 1.1  # a partition may have so much more than its part of the accesses
_SWEEPS = 4


@dataclass(frozen=True, slots=True)
class Placement:
    """`crossing` of `events` touch objects in several of `partitions`; `heaviest_share` of the accesses go to one."""

    partitions: int
    objects: int
    events: int
    crossing: int
    heaviest_share: float


def place_objects(footprints: Sequence[Footprint], partitions: int) -> Placement:
    """A placement of the objects that are not only read. O(accesses * objects an event), a few passes; memory: the
    pairs of objects that are touched together."""
    free = copied_families(footprints)
    groups = [[key for key, _ in footprint if key and family(key) not in free] for footprint in footprints]
    weight: dict[str, int] = {}
    near: dict[str, dict[str, int]] = {}
    for group in groups:
        for key in group:
            weight[key] = weight.get(key, 0) + 1
        for key in group if len(group) <= OBJECTS_MAX else ():
            beside = near.setdefault(key, {})
            for other in group:
                if other != key:
                    beside[other] = beside.get(other, 0) + 1
    room = SLACK * sum(weight.values()) / partitions
    place: dict[str, int] = {}
    load = [0] * partitions
    for sweep in range(1 + _SWEEPS):
        moved = False
        for key, heavy in weight.items():
            here = place.get(key)
            pull = [0.0] * partitions
            for other, times in near.get(key, {}).items():
                if other in place:
                    pull[place[other]] += times
            if here is not None:
                load[here] -= heavy
            open_ = [at for at in range(partitions) if load[at] + heavy <= room] or [
                min(range(partitions), key=load.__getitem__)
            ]
            best = max(open_, key=lambda at: (pull[at] if sweep else pull[at] * (1 - load[at] / room), -load[at], -at))
            if here is not None and here in open_ and pull[best] <= pull[here]:
                best = here
            load[best] += heavy
            moved = moved or best != here
            place[key] = best
        if not moved:
            break
    crossing = sum(len({place[key] for key in group}) > 1 for group in groups)
    return Placement(partitions, len(place), len(groups), crossing, max(load) / (sum(load) or 1))
