"""Whether a recorded run kept every dependence and let nothing wait that need not: the one-pass checker.

The schedule must not be its own judge. What a run did is recorded as it happens, a few integers an event, and
judged afterwards from the footprints alone, by another idea than the schedule's: no chains and no counts of
predecessors, but, for each key and mode, one list of all events that touch it, by log position, and a head,
its first event that has not ended. An event may start when no head that it conflicts with lies before it.
Nothing is inferred from what other events waited for, so the verdict is exact for faulty runs too.

    order/42 write   117* 131  140               * head: 131 and 140 wait below it, in a heap by position;
             read         128  135 ended          when the head moves past 131, 131 looks at its other lists

Invariants: every event that may conflict with an access is in a list that the access is compared with, and in
no list that it is compatible with; a waiting event is in the heap of a list whose head lies before it.

Source: the semantics of the log (Bernstein 1966); pairwise checking is the oracle of its tests.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final, Literal, TypeAlias, TypeVar

from commute.core.footprint import WRITE, Footprint

T = TypeVar("T")

Ending: TypeAlias = Literal["processed", "skipped", "dropped", "rejected"]
Fault: TypeAlias = Literal[
    "overtook",  # started before an earlier conflicting event, which has not run, had ended
    "overlapped",  # started while an earlier conflicting event was running
    "start without release",
    "end without start",
    "admitted twice",
    "ended twice",
    "run after its end",
]

_ADMIT: Final = 0
_RELEASE: Final = 1
_START: Final = 2
_END: Final = 3
_DISCARD: Final = 4  # an end that needs no run
_HOLD: Final = 5
_KIND_BITS: Final = 3
_KIND_MASK: Final = (1 << _KIND_BITS) - 1


@dataclass(frozen=True, slots=True)
class Violation:
    """`event` did at record number `record` what it must not; `other`: the earlier event that it ran into."""

    kind: Fault
    event: int
    other: int | None
    record: int


@dataclass(frozen=True, slots=True)
class FalseWait:
    """From record number `record` on nothing stood before `event`, and the schedule did not release it."""

    event: int
    record: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a recorded run amounts to; `ok` when it kept every dependence and made nothing wait in vain.

    `dependent_pairs` counts, for each event and each of its accesses, the latest earlier event that conflicts
    with it there, each pair once: the dependences that imply the others. `unfinished` counts the events
    without an end.
    """

    violations: tuple[Violation, ...]
    false_waits: tuple[FalseWait, ...]
    events: int
    dependent_pairs: int
    unfinished: int

    @property
    def ok(self) -> bool:
        return not self.violations and not self.false_waits


class History:
    """A record of what happened to every event, in the sequence in which it happened. Each call is O(1).

    `event` is a number, from 0, that the caller gives each event of the run: its log position, or, where
    several partitions share one schedule, a running number in the sequence of admission. Conflicts are judged
    by `position`, which is the event number unless given. Record at the moment of the fact: releases directly
    after the admission, end or hold that made them possible, a parked event and all its followers as adjacent
    holds.
    """

    __slots__ = ("_append", "footprints", "positions", "records")

    def __init__(self) -> None:
        self.records: array[int] = array("q")
        self.footprints: dict[int, Footprint] = {}  # every event in records is here
        self.positions: dict[int, int] = {}  # of the events whose position is not their number
        self._append = self.records.append

    def admit(self, event: int, footprint: Footprint, position: int | None = None) -> None:
        """The schedule was given the event: on arrival, or from the held cone, then with its old number."""
        self.footprints[event] = footprint
        if position is not None and position != event:
            self.positions[event] = position
        self._append(event << _KIND_BITS | _ADMIT)

    def release(self, event: int) -> None:
        """The schedule says that the event may start."""
        self._append(event << _KIND_BITS | _RELEASE)

    def start(self, event: int) -> None:
        """A handler of the event begins; again at every attempt."""
        self._append(event << _KIND_BITS | _START)

    def end(self, event: int, ending: Ending = "processed") -> None:
        """The event has its outcome and gives its keys up."""
        self._append(event << _KIND_BITS | (_END if ending == "processed" else _DISCARD))

    def hold(self, event: int, footprint: Footprint | None = None, position: int | None = None) -> None:
        """Parked or held: out of the schedule, with its keys. `footprint`: where the event arrives so."""
        if footprint is not None:
            self.footprints[event] = footprint
        if position is not None and position != event:
            self.positions[event] = position
        self._append(event << _KIND_BITS | _HOLD)

    def check(self) -> Verdict:
        """The verdict on all records so far; see `check`."""
        return check(self.records, self.footprints, self.positions)


class _Line:
    """All events of one mode at one key (or strictly below it), by rank, and which of them still count."""

    __slots__ = ("live", "live_head", "open", "open_head", "ranks", "waiters")

    def __init__(self) -> None:
        self.ranks: list[int] = []  # ascending
        self.live = bytearray()  # 1: in the schedule now. No 1 lies before live_head
        self.live_head = 0
        self.open = bytearray()  # 1: has no outcome yet, arrived or not. No 1 lies before open_head
        self.open_head = 0
        self.waiters: list[int] = []  # heap of ranks that wait for the live head; may hold stale ones

    def enter(self, rank: int) -> None:
        if not self.ranks or self.ranks[-1] != rank:
            self.ranks.append(rank)
            self.live.append(0)
            self.open.append(1)


class Conflicts:
    """Which of a known sequence of footprints stand in each other's way; the rank of each is its place in it.

    Built in O(accesses * depth). A call costs O(accesses * depth * modes), and each wait one heap operation
    per list that blocked it, whatever else waits.
    """

    __slots__ = ("_below", "_deep", "_direct", "_footprints", "_waiting", "dependent_pairs")

    def __init__(self, footprints: Sequence[Footprint]) -> None:
        self.dependent_pairs = 0
        self._footprints = footprints
        self._direct: dict[str, dict[str, _Line]] = {}  # key -> mode -> events that name this key
        # key that someone names -> mode -> events that name keys below
        self._below: dict[str, dict[str, _Line]] = {}
        self._waiting = bytearray(len(footprints))  # 1: blocked, and in the heap of a list
        touched = {access.key for footprint in footprints for access in footprint}
        self._deep = any(above in touched for key in touched for above in ancestors(key))
        for rank, footprint in enumerate(footprints):
            self._enter(rank, footprint, touched)

    def _enter(self, rank: int, footprint: Footprint, touched: set[str]) -> None:
        latest: set[int] = set()
        for key, mode in footprint:
            before = [line.ranks[-1] for line in self._rival_lines(key, mode)]
            if before:
                latest.add(max(before))
        self.dependent_pairs += len(latest)
        # Only now: an event that touches a key and its ancestor does not depend on itself.
        for key, mode in footprint:
            self._direct.setdefault(key, {}).setdefault(mode, _Line()).enter(rank)
            if self._deep:
                for above in ancestors(key):
                    if above in touched:
                        self._below.setdefault(above, {}).setdefault(mode, _Line()).enter(rank)

    def _rival_lines(self, key: str, mode: str) -> Iterator[_Line]:
        """The lists of all accesses that do not go together with this one."""
        tables = [self._direct.get(key)]
        if self._deep:
            tables.append(self._below.get(key))
            tables.extend(self._direct.get(above) for above in ancestors(key))
        for table in tables:
            if table is not None:
                for other, line in table.items():
                    if other != mode or mode == WRITE:
                        yield line

    def _own_lines(self, rank: int) -> Iterator[tuple[_Line, int]]:
        """The lists that the event itself stands in, with its index there; one may come twice."""
        for key, mode in self._footprints[rank]:
            lines = [self._direct[key][mode]]
            if self._deep:
                lines.extend(self._below[above][mode] for above in ancestors(key) if above in self._below)
            for line in lines:
                yield line, bisect_left(line.ranks, rank)

    def insert(self, rank: int) -> None:
        """The event stands in the schedule from now on, whatever stood there before."""
        for line, index in self._own_lines(rank):
            line.live[index] = 1
            line.live_head = min(line.live_head, index)

    def wait(self, rank: int) -> bool:
        """Whether nothing in the schedule stands before this event; else it waits until `remove` gives it."""
        for key, mode in self._footprints[rank]:
            for line in self._rival_lines(key, mode):
                head = line.live.find(1, line.live_head)
                line.live_head = head if head >= 0 else len(line.live)
                if head >= 0 and line.ranks[head] < rank:
                    heappush(line.waiters, rank)
                    self._waiting[rank] = 1
                    return False
        self._waiting[rank] = 0
        return True

    def remove(self, rank: int) -> list[int]:
        """The event leaves the schedule: the waiting events before which nothing stands any more, by rank."""
        self._waiting[rank] = 0
        moved: list[int] = []
        for line, index in self._own_lines(rank):
            line.live[index] = 0
            if line.waiters and index <= line.live_head:
                head = line.live.find(1, line.live_head)
                line.live_head = head if head >= 0 else len(line.live)
                while line.waiters and (head < 0 or line.waiters[0] <= line.ranks[head]):
                    moved.append(heappop(line.waiters))
        return sorted(waiter for waiter in moved if self._waiting[waiter] and self.wait(waiter))

    def close(self, rank: int) -> None:
        """The event has its outcome: it is in nobody's way any more."""
        for line, index in self._own_lines(rank):
            line.open[index] = 0

    def first_open_before(self, rank: int) -> int | None:
        """The lowest conflicting rank below this one without an outcome, None where all have one."""
        lowest = rank
        for key, mode in self._footprints[rank]:
            for line in self._rival_lines(key, mode):
                head = line.open.find(1, line.open_head)
                line.open_head = head if head >= 0 else len(line.open)
                if head >= 0:
                    lowest = min(lowest, line.ranks[head])
        return lowest if lowest < rank else None


def ancestors(key: str) -> Iterator[str]:
    """The strict ancestors of a key, the root first."""
    if key:
        yield ""
        cut = key.find("/")
        while cut >= 0:
            yield key[:cut]
            cut = key.find("/", cut + 1)


def rivals(
    direct: Mapping[str, Mapping[str, T]], below: Mapping[str, Mapping[str, T]], key: str, mode: str, *,
    deep: bool = True,
) -> Iterator[tuple[str, T]]:  # fmt: skip
    """What is noted of all accesses that do not go together with this one, each with the shorter of the two keys.

    `direct` and `below`: key -> mode -> what is noted of those that name the key, or a key strictly below it. `deep`:
    some key may lie below another. O(depth * modes at a key).
    """
    tables = [(key, direct.get(key))]
    if deep:
        tables.append((key, below.get(key)))
        tables.extend((above, direct.get(above)) for above in ancestors(key))
    for node, table in tables:
        if table is not None:
            for other, noted in table.items():
                if other != mode or mode == WRITE:
                    yield node, noted


def check(
    records: Sequence[int], footprints: Mapping[int, Footprint], positions: Mapping[int, int] | None = None
) -> Verdict:
    """The verdict on what `History` recorded. O(accesses * depth) per record; memory: as the footprints.

    By log position, whether or not the earlier event had arrived: an event that starts before an earlier
    conflicting one has its outcome is a violation, reported with the earliest such event. A false wait: after
    a record, no earlier event that is in the schedule conflicts with one that is in the schedule and not
    released, and its release is not among the releases that follow before the next record of another kind.
    Held and parked events are not in the schedule, so an event that waits for nothing but them is a false
    wait, unless it is held in the same run of holds. Raises ValueError where two events have one position or
    an event has no footprint.
    """
    return _Judge(records, footprints, positions or {}).verdict()


class _Judge:
    """One pass over the records; events are known by rank, their place by log position."""

    __slots__ = (
        "_conflicts",
        "_due",
        "_due_after_hold",
        "_ended",
        "_events",
        "_false_waits",
        "_here",
        "_records",
        "_released",
        "_started",
        "_violations",
    )

    def __init__(
        self, records: Sequence[int], footprints: Mapping[int, Footprint], positions: Mapping[int, int]
    ) -> None:
        events = sorted({record >> _KIND_BITS for record in records}, key=lambda event: positions.get(event, event))
        if len({positions.get(event, event) for event in events}) < len(events):
            raise ValueError("two events of the history have one position")
        missing = [event for event in events if event not in footprints]
        if missing:
            raise ValueError(f"the history names event {missing[0]}, but not its footprint")
        self._records = records
        self._events = events
        self._conflicts = Conflicts([footprints[event] for event in events])
        self._here = bytearray(len(events))  # 1: in the schedule
        self._released = bytearray(len(events))  # 1: since the last admission
        self._started = bytearray(len(events))  # 1: since the last admission
        self._ended = bytearray(len(events))
        self._due: dict[int, int] = {}  # rank to be released by the next records -> record that made it due
        self._due_after_hold: dict[int, int] = {}  # the same; may be held instead
        self._violations: list[Violation] = []
        self._false_waits: list[FalseWait] = []

    def verdict(self) -> Verdict:
        ranks = {event: rank for rank, event in enumerate(self._events)}
        steps = (self._admit, self._release, self._start, self._end, self._discard, self._hold)
        for number, record in enumerate(self._records):
            kind = record & _KIND_MASK
            if kind != _RELEASE:
                self._flush(self._due)
                if kind != _HOLD:
                    self._flush(self._due_after_hold)
            steps[kind](number, ranks[record >> _KIND_BITS])
        self._flush(self._due)
        self._flush(self._due_after_hold)
        return Verdict(
            tuple(self._violations),
            tuple(self._false_waits),
            len(self._events),
            self._conflicts.dependent_pairs,
            self._ended.count(0),
        )

    def _flush(self, due: dict[int, int]) -> None:
        if due:
            self._false_waits += [FalseWait(self._events[rank], number) for rank, number in due.items()]
            due.clear()

    def _blame(self, kind: Fault, number: int, rank: int, other: int | None = None) -> None:
        name = None if other is None else self._events[other]
        self._violations.append(Violation(kind, self._events[rank], name, number))

    def _admit(self, number: int, rank: int) -> None:
        if self._ended[rank]:
            self._blame("run after its end", number, rank)
            return
        if self._here[rank]:
            self._blame("admitted twice", number, rank)
            return
        self._here[rank] = 1
        self._released[rank] = self._started[rank] = 0
        self._conflicts.insert(rank)
        if self._conflicts.wait(rank):
            self._due[rank] = number

    def _release(self, number: int, rank: int) -> None:
        self._released[rank] = self._here[rank]
        self._due.pop(rank, None)
        self._due_after_hold.pop(rank, None)

    def _start(self, number: int, rank: int) -> None:
        if self._ended[rank]:
            self._blame("run after its end", number, rank)
            return
        if not self._released[rank]:
            self._blame("start without release", number, rank)
        other = self._conflicts.first_open_before(rank)
        if other is not None:
            self._blame("overlapped" if self._started[other] else "overtook", number, rank, other)
        self._started[rank] = 1

    def _end(self, number: int, rank: int) -> None:
        if not self._started[rank] and not self._ended[rank]:
            self._blame("end without start", number, rank)
        self._discard(number, rank)

    def _discard(self, number: int, rank: int) -> None:
        if self._ended[rank]:
            self._blame("ended twice", number, rank)
            return
        self._ended[rank] = 1
        self._conflicts.close(rank)
        self._leave(number, rank, self._due)

    def _hold(self, number: int, rank: int) -> None:
        if self._ended[rank]:
            self._blame("run after its end", number, rank)
            return
        self._leave(number, rank, self._due_after_hold)
        self._started[rank] = 0

    def _leave(self, number: int, rank: int, due: dict[int, int]) -> None:
        self._due_after_hold.pop(rank, None)
        self._released[rank] = 0
        if self._here[rank]:
            self._here[rank] = 0
            for freed in self._conflicts.remove(rank):
                if not self._released[freed]:
                    due[freed] = number
