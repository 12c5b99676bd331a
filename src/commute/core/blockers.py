"""For whom each event of a finished run waited: the conflicting predecessor that ended last, and the key they share.

An event that had a free worker starts when the last of its conflicting predecessors has ended, so that one is who it
waited for. The latest end per key and mode says all, as in `bounds`: no event is compared with another.

Invariant: the tables hold, for each key and mode, the latest end among all events added so far that name the key
(`_direct`) or a key strictly below it (`_below`).
"""

from __future__ import annotations

from typing import NamedTuple

from commute.core.footprint import Footprint
from commute.core.history import ancestors, rivals


class Blocker(NamedTuple):
    """Who stood in the way to the last, when it ended, and over which key; ``""`` is everything."""

    event: int
    ended_s: float
    key: str


class Blockers:
    """Add the events in log sequence. O(accesses * depth * modes at a key) each."""

    __slots__ = ("_below", "_direct")

    def __init__(self) -> None:
        self._direct: dict[str, dict[str, tuple[float, int]]] = {}
        self._below: dict[str, dict[str, tuple[float, int]]] = {}

    def add(self, event: int, footprint: Footprint, ended_s: float) -> Blocker | None:
        """The last of those that the event had to wait for; None where it depends on nothing before it."""
        found: Blocker | None = None
        for key, mode in footprint:
            for node, (end_s, earlier) in rivals(self._direct, self._below, key, mode):
                if found is None or end_s > found.ended_s:
                    found = Blocker(earlier, end_s, node)
        mine = (ended_s, event)
        for key, mode in footprint:
            _raise(self._direct, key, mode, mine)
            for above in ancestors(key):
                _raise(self._below, above, mode, mine)
        return found


def _raise(tables: dict[str, dict[str, tuple[float, int]]], key: str, mode: str, mine: tuple[float, int]) -> None:
    table = tables.setdefault(key, {})
    table[mode] = max(mine, table.get(mode, mine))
