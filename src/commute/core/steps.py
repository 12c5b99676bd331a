"""Greedy list scheduling of one log many times: what stands in each other's way is put into arrays once.

    key x     read 1, read 2 │ write 3 │ add 4, add 5     accesses of one mode that follow each other form a group
                             ╰─ waits for all of the group before, and so for all groups before that

Only for flat footprints, in which no key lies below another; `bounds.list_schedule` is the plain version, its oracle.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from heapq import heappop, heappush

from commute.core.footprint import WRITE, Footprint

_NONE = -1


class Groups:
    """The groups of a log. Built in O(accesses), 20 bytes an access and 12 a group."""

    __slots__ = ("_at", "_before", "_event", "_first", "_group", "_next", "_size")

    def __init__(self, footprints: Sequence[Footprint]) -> None:
        self._at = array("q", [0])  # event -> its first access; one more for the end
        self._event = array("q")  # access -> event
        self._group = array("q")  # access -> group
        self._next = array("q")  # access -> another one of its group, if that waits
        self._first = array("q")  # group -> an access of the group that waits for it
        self._before = array("q")  # group -> the group before it at its key
        self._size = array("q")  # group -> accesses
        last: dict[str, tuple[str, int]] = {}  # key -> mode and number of the group that is open there
        for event, footprint in enumerate(footprints):
            for key, mode in footprint:
                known = last.get(key)
                if known is not None and known[0] == mode and mode != WRITE:
                    group = known[1]
                else:
                    group = len(self._size)
                    self._size.append(0)
                    self._first.append(_NONE)
                    self._before.append(_NONE if known is None else known[1])
                    last[key] = mode, group
                access = len(self._event)
                before = self._before[group]
                self._event.append(event)
                self._group.append(group)
                self._next.append(_NONE if before == _NONE else self._first[before])
                self._size[group] += 1
                if before != _NONE:
                    self._first[before] = access
            self._at.append(len(self._event))

    def steps(self, concurrency: int, lookahead: int) -> int:
        """As `bounds.list_schedule`, ``contiguous``. O(accesses + log n) per event."""
        at, group_of, before, event_of, after = self._at, self._group, self._before, self._event, self._next
        first_after = self._first
        left = array("q", self._size)
        events = len(at) - 1
        waits = array("q", bytes(8 * events))
        finished = bytearray(events)
        ready: list[int] = []  # heap by log sequence
        admitted = first = steps = 0
        while first < events:
            while admitted < events and admitted - first < lookahead:
                open_ = 0
                for access in range(at[admitted], at[admitted + 1]):
                    group = before[group_of[access]]
                    open_ += group != _NONE and left[group] > 0
                waits[admitted] = open_
                if not open_:
                    heappush(ready, admitted)
                admitted += 1
            running = [heappop(ready) for _ in range(min(concurrency, len(ready)))]
            assert running, "an event waits for itself: its footprint names a key twice"
            steps += 1
            for event in running:
                finished[event] = 1
                for access in range(at[event], at[event + 1]):
                    group = group_of[access]
                    left[group] -= 1
                    if left[group]:
                        continue
                    waiting = first_after[group]
                    while waiting != _NONE:
                        freed = event_of[waiting]
                        if freed < admitted:
                            waits[freed] -= 1
                            if not waits[freed]:
                                heappush(ready, freed)
                        waiting = after[waiting]
            while first < admitted and finished[first]:
                first += 1
        return steps
