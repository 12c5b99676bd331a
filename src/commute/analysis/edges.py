"""The dependences between neighbours: for each access, the latest earlier event that conflicts with it there.

These imply all others, and are what a worker really waits for; their number grows with the log, not with its square.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from commute.analysis.chain import TICK_EVENTS, Tick
from commute.analysis.workload import is_deep
from commute.core.footprint import Footprint
from commute.core.history import ancestors, rivals


class Edge(NamedTuple):
    """`later` depends on `earlier`, both numbers of events, over `key`, the shorter of the two that overlap."""

    earlier: int
    later: int
    key: str


def watched(found: Iterable[Edge], tick: Tick) -> Iterator[Edge]:
    """The same edges; `tick` is told now and then how many events they have come by."""
    told = 0
    for edge in found:
        if edge.later >= told + TICK_EVENTS:
            told = edge.later
            tick(told)
        yield edge


def edges(footprints: Sequence[Footprint]) -> Iterator[Edge]:
    """The edges in log sequence, one for each access that has to wait. O(accesses * depth * modes at a key)."""
    direct: dict[str, dict[str, int]] = {}  # key -> mode -> the latest event that names it
    below: dict[str, dict[str, int]] = {}  # the same of keys strictly below
    deep = is_deep(footprints)
    for event, footprint in enumerate(footprints):
        for key, mode in footprint:
            latest, shared = -1, key
            for node, earlier in rivals(direct, below, key, mode, deep=deep):
                if earlier > latest:
                    latest, shared = earlier, node
            if latest >= 0:
                yield Edge(latest, event, shared)
        # Only now: an event that touches a key and its ancestor does not depend on itself.
        for key, mode in footprint:
            direct.setdefault(key, {})[mode] = event
            for above in ancestors(key) if deep else ():
                below.setdefault(above, {})[mode] = event
