"""The held cone: the parked events of one partition, and the events held because they depend on those.

A parked event keeps its keys, so everything that depends on it must wait, for minutes or for days, and over
restarts, while all else goes on. One set per partition, sorted by log position, says what waits for what. A
list per parked event would not do: an event may wait for several of them, and one that is freed must still
not overtake another that is held for a different reason.

    log      5 parked   7 held    8 settled   9 held    12 parked  15 held
    keys     a          a b       c           b         d          b d
    behind 5:  7, 9, 15       skipping 5 frees 7 and 9; 15 is held by 12 too

Invariants: an event stays in the cone until its outcome, also while it is replayed, so that what arrives
during the replay queues behind it; an event is replayable only when nothing before it in the cone conflicts
with it. For every event that wants to be replayed: it is replaying, or among the candidates, or waits in the
heap of a list whose first event lies before it. An event that leaves a list looks only at those that waited
for that list's first event.

Source: the semantics of parked and held events; the lists are those of `commute.core.footprint` accesses by
key.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final, Literal, TypeAlias

from commute.core.footprint import WRITE, Footprint

State: TypeAlias = Literal["parked", "held"]

_STALE_MIN: Final = 16  # a heap this small is not worth cleaning


class _Entry:
    """One event of the cone."""

    __slots__ = ("footprint", "parked", "replaying", "wanted")

    def __init__(self, footprint: Footprint) -> None:
        self.footprint = footprint
        self.parked = False
        self.wanted = False  # held, or parked and asked for; it is to be replayed as soon as it may
        self.replaying = False


class _Line:
    """The events that touch one key, or keys below it, in one mode: their first, and who waits for it."""

    __slots__ = ("count", "positions", "waiters")

    def __init__(self) -> None:
        self.count = 0  # positions that are still in the cone
        self.positions: list[int] = []  # heap; may hold positions that have left the cone
        self.waiters: list[int] = []  # heap of positions that wait for the first one; may hold stale ones


_Table: TypeAlias = dict[str, dict[str, _Line]]  # key -> mode -> line. Invariant: no line has count 0


class Cone:
    """The parked and held events of one partition. Positions are the log's; a footprint never changes.

    Every call that names no other cost is O(accesses * depth * log n), n events being in the cone; replaying
    a chain of n events one after the other is O(n log n) in all.
    """

    __slots__ = (
        "_below",
        "_candidate_heap",
        "_candidates",
        "_direct",
        "_entries",
        "_held_max",
        "_last",
        "_parked",
    )

    def __init__(self, held_max: int) -> None:
        """`held_max`: parked and held events from which on the partition is to pause; at least 1."""
        assert held_max >= 1, f"a cone that holds nothing cannot park: {held_max}"
        self._held_max = held_max
        self._entries: dict[int, _Entry] = {}
        self._last = -1  # the highest position that was ever here
        self._parked: set[int] = set()
        self._direct: _Table = {}  # by the keys that events name
        self._below: _Table = {}  # by the strict ancestors of those keys
        self._candidates: set[int] = set()  # wanted, not replaying, and unblocked when last looked at
        self._candidate_heap: list[int] = []  # every candidate; may hold stale ones

    # What is there

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, position: int) -> bool:
        return position in self._entries

    @property
    def full(self) -> bool:
        """Whether the partition is to pause: as many events are parked or held as the option allows."""
        return len(self._entries) >= self._held_max

    @property
    def parked(self) -> list[int]:
        """The parked events, also those being replayed, by position. O(n log n)."""
        return sorted(self._parked)

    @property
    def held(self) -> list[int]:
        """The held events, also those being replayed, by position. O(n log n)."""
        return sorted(position for position, entry in self._entries.items() if not entry.parked)

    def state(self, position: int) -> State | None:
        """Whether the event is parked or held; None where it is not in the cone. O(1)."""
        entry = self._entries.get(position)
        if entry is None:
            return None
        return "parked" if entry.parked else "held"

    def is_replaying(self, position: int) -> bool:
        """Whether the event was given to the schedule and has no outcome yet. O(1)."""
        entry = self._entries.get(position)
        return entry is not None and entry.replaying

    # What changes it

    def park(self, position: int, footprint: Footprint) -> None:
        """The attempts are exhausted: the event keeps its keys until `remove`. Also after a failed replay."""
        entry = self._enter(position, footprint)
        entry.parked = True
        entry.wanted = entry.replaying = False
        self._parked.add(position)
        self._candidates.discard(position)

    def hold(self, position: int, footprint: Footprint) -> None:
        """The event waits for one in the cone. Also when its replay never began: it goes back to waiting.

        A parked event that was asked for stays parked and asked for.
        """
        entry = self._enter(position, footprint)
        entry.wanted = entry.wanted or not entry.parked
        entry.replaying = False
        self._look(position)

    def ask_retry(self, position: int) -> None:
        """The parked event is wanted again; it is replayable as soon as nothing stands before it."""
        entry = self._entries[position]
        if not entry.wanted:
            entry.wanted = True
            self._look(position)

    def replaying(self, position: int) -> None:
        """The event was given to the schedule; it stays here until `remove`, or `park` or `hold` again."""
        entry = self._entries[position]
        assert entry.wanted, f"position {position} is parked and nobody asked for it"
        assert not entry.replaying, f"position {position} is replayed already"
        entry.replaying = True
        self._candidates.discard(position)

    def remove(self, position: int) -> None:
        """The event has its outcome: it holds nothing any more. Amortised as every call."""
        entry = self._entries.pop(position)
        self._parked.discard(position)
        self._candidates.discard(position)
        moved: list[int] = []
        for key, mode in entry.footprint:
            self._leave(self._direct, key, mode, position, moved)
        for above, mode in _above(entry.footprint):
            self._leave(self._below, above, mode, position, moved)
        for waiter in moved:
            self._look(waiter)

    # What it says

    def catches(self, footprint: Footprint, before: int | None = None) -> int | None:
        """The first event of the cone, below `before` if given, that conflicts with the footprint; else None.

        An arriving event that is caught must be held, not admitted. O(accesses * depth), amortised.
        """
        lowest: int | None = None
        for line in self._rivals(footprint):
            first = self._first(line)
            if lowest is None or first < lowest:
                lowest = first
        return lowest if lowest is None or before is None or lowest < before else None

    def refuses(self, footprint: Footprint, before: int | None = None) -> str | None:
        """Why the partition must pause instead of taking in an event with this footprint; else None.

        The cone is full, or it holds EVERYTHING, or it would once it held this event: then what follows in
        the log would only be copied into it. `before` as for `catches`. What comes again after a restart,
        with cone events beyond it, is taken in by a full cone too: those events are not replayed before it
        has come, so both would wait for each other. The excess is at most what was admitted before.
        """
        if self.full and (before is None or before > self._last):
            return f"{len(self._entries):,} events are parked or held; held_events_max is {self._held_max:,}"
        caught = self.catches(footprint, before)
        if caught is None:
            return None
        everything = self._direct.get("", {}).get(WRITE)
        if everything is not None:
            first = self._first(everything)
            if before is None or first < before:
                return f"position {first} touches EVERYTHING, so all events after it would be held"
        if any(key == "" and mode == WRITE for key, mode in footprint):
            return f"it touches EVERYTHING and waits for position {caught}, so all events after it would be held"
        return None

    def replayable(self, limit: int | None = None, below: int | None = None) -> list[int]:
        """The first `limit` events that may be replayed now, by position; marks nothing.

        Those are the held events, and the parked ones that were asked for, that are not replaying and that
        nothing before them in the cone conflicts with. `below`: the position from which on the log has not
        been read again after a restart; an event beyond it must wait, for one that comes before it may still
        arrive. O(limit log n).
        """
        found: list[int] = []
        heap = self._candidate_heap
        while heap and (limit is None or len(found) < limit) and (below is None or heap[0] < below):
            position = heappop(heap)
            # An event that was parked since, at a lower position, may stand before this one now.
            if position in self._candidates:
                self._candidates.discard(position)
                if self._unblocked(position):
                    found.append(position)
        for position in found:
            self._candidates.add(position)
            heappush(heap, position)
        return found

    def behind(self, position: int) -> list[int]:
        """The held events that wait for this one, directly or for one that does, by position. O(n)."""
        cover = _Cover()
        cover.add(self._entries[position].footprint)
        found: list[int] = []
        for later in sorted(other for other in self._entries if other > position):
            entry = self._entries[later]
            if cover.meets(entry.footprint):
                cover.add(entry.footprint)
                if not entry.parked:
                    found.append(later)
        return found

    def freed_by(self, position: int) -> list[int]:
        """The held events that would wait for no parked event if this one had its outcome, by position. O(n).

        Only those that wait for it now. A dry run of skip and drop.
        """
        cover = _Cover()
        behind = set(self.behind(position))
        for other in sorted(self._entries):
            entry = self._entries[other]
            if other != position and (entry.parked or cover.meets(entry.footprint)):
                cover.add(entry.footprint)
                behind.discard(other)
        return sorted(behind)

    def holders(self, position: int) -> list[int]:
        """The parked events that this one waits for, directly or through others, by position. O(n)."""
        cover = _Cover()
        cover.add(self._entries[position].footprint)
        found: list[int] = []
        for earlier in sorted((other for other in self._entries if other < position), reverse=True):
            entry = self._entries[earlier]
            if cover.meets(entry.footprint):
                cover.add(entry.footprint)
                if entry.parked:
                    found.append(earlier)
        return found[::-1]

    # How it is kept

    def _enter(self, position: int, footprint: Footprint) -> _Entry:
        entry = self._entries.get(position)
        if entry is None:
            entry = self._entries[position] = _Entry(footprint)
            self._last = max(self._last, position)
            for key, mode in footprint:
                _join(self._direct, key, mode, position)
            for above, mode in _above(footprint):
                _join(self._below, above, mode, position)
        return entry

    def _leave(self, table: _Table, node: str, mode: str, position: int, moved: list[int]) -> None:
        """Take the position from one line; add to `moved` those that waited for the line's first event."""
        line = table[node][mode]
        line.count -= 1
        if line.count == 0:
            del table[node][mode]
            if not table[node]:
                del table[node]
            moved += line.waiters
            return
        if line.positions[0] == position:
            first = self._first(line)
            while line.waiters and line.waiters[0] <= first:
                moved.append(heappop(line.waiters))
        elif len(line.positions) > 2 * line.count + _STALE_MIN:
            line.positions = [other for other in line.positions if other in self._entries]
            heapify(line.positions)

    def _first(self, line: _Line) -> int:
        """The line's lowest position that is in the cone; every line in a table has one."""
        while line.positions[0] not in self._entries:
            heappop(line.positions)
        return line.positions[0]

    def _rivals(self, footprint: Footprint) -> Iterator[_Line]:
        """The lines of all accesses that do not go together with these; a line may come twice."""
        for key, mode in footprint:
            tables = [self._direct.get(key), self._below.get(key)]
            tables += [self._direct.get(above) for above in _ancestors(key)]
            for table in tables:
                if table is not None:
                    for other, line in table.items():
                        if other != mode or mode == WRITE:
                            yield line

    def _look(self, position: int) -> None:
        """Make the event a candidate if it is wanted and nothing stands before it, else let it wait."""
        entry = self._entries.get(position)
        if entry is None or not entry.wanted or entry.replaying or position in self._candidates:
            return
        if self._unblocked(position):
            self._candidates.add(position)
            heappush(self._candidate_heap, position)

    def _unblocked(self, position: int) -> bool:
        """Whether nothing in the cone stands before the event; if something does, the event waits for it."""
        for line in self._rivals(self._entries[position].footprint):
            if self._first(line) < position:
                heappush(line.waiters, position)
                return False
        return True


class _Cover:
    """The accesses of some events, only to ask whether another conflicts with any of them."""

    __slots__ = ("_below", "_direct")

    def __init__(self) -> None:
        self._direct: dict[str, set[str]] = {}
        self._below: dict[str, set[str]] = {}

    def add(self, footprint: Footprint) -> None:
        for key, mode in footprint:
            self._direct.setdefault(key, set()).add(mode)
            for above in _ancestors(key):
                self._below.setdefault(above, set()).add(mode)

    def meets(self, footprint: Footprint) -> bool:
        for key, mode in footprint:
            tables = [self._direct.get(key), self._below.get(key)]
            tables += [self._direct.get(above) for above in _ancestors(key)]
            for modes in tables:
                if modes and (mode == WRITE or len(modes) > 1 or mode not in modes):
                    return True
        return False


def _join(table: _Table, node: str, mode: str, position: int) -> None:
    lines = table.setdefault(node, {})
    line = lines.get(mode)
    if line is None:
        line = lines[mode] = _Line()
    heappush(line.positions, position)
    line.count += 1


def _above(footprint: Footprint) -> set[tuple[str, str]]:
    """Each strict ancestor of a key with the mode of the access, once: one event stands once in a line."""
    return {(above, mode) for key, mode in footprint for above in _ancestors(key)}


def _ancestors(key: str) -> Iterator[str]:
    """The strict ancestors of a key, the root first."""
    if key:
        yield ""
        cut = key.find("/")
        while cut >= 0:
            yield key[:cut]
            cut = key.find("/", cut + 1)
