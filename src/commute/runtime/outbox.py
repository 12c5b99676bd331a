"""Children on their way out: in log sequence where handlers declared `publishes=`, and sent on by the relay.

An event takes its place in a chain when it is taken in, and gives it up at its outcome; its children leave when every
earlier event of the chain has given up its place. The chains are a second `Schedule` in which every access is a
write. Parked and held events keep their places; after a restart, places are taken again in log sequence.

Where the log lies in the store's own file, children are appended in the parent's transaction. Elsewhere they lie in
the outbox table until the relay has sent them; their ids are derived, so sending one twice stores it once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence

from commute.core.footprint import WRITE, Access
from commute.core.schedule import Schedule, Ticket


class Place:
    """One event's place in its chains. `ended`: it has its outcome and waits only for its turn to let children go."""

    __slots__ = ("chain", "children", "ended", "partition", "position", "ticket")

    def __init__(self, partition: int, position: int, chain: Sequence[str]) -> None:
        self.partition = partition
        self.position = position
        self.chain = tuple(chain)
        self.ended = False
        self.children = False  # rows of it lie in the outbox
        self.ticket: Ticket[Place] | None = None

    def __lt__(self, other: Place) -> bool:
        return (self.partition, self.position) < (other.partition, other.position)

    def first(self) -> bool:
        """Whether every earlier event of its chains has given up its place."""
        return self.ticket is not None and self.ticket.blocked == 0


class Chains:
    """All places of one engine, entered in log sequence per partition."""

    __slots__ = ("_coming", "_schedule", "used")

    def __init__(self) -> None:
        self._schedule: Schedule[Place] = Schedule()
        self.used = False  # there has been a place in this life
        self._coming: list[Place] = []  # of earlier lives, not yet passed by the intake; ascending

    def expect(self, place: Place) -> None:
        """A place of an earlier life: it is entered when the intake comes by its position."""
        self.used = True
        insort(self._coming, place)

    def pass_by(self, partition: int, position: int) -> list[Place]:
        """The intake has reached this position: enter what was expected up to it; returns whose children may go."""
        freed: list[Place] = []
        coming = self._coming
        while coming and coming[0].partition == partition and coming[0].position <= position:
            place = coming.pop(0)
            self.enter(place)
            if place.ended and place.first():
                freed.extend(self._leave(place))
        return freed

    def pass_all(self) -> list[Place]:
        """Nothing before the intake can come any more: enter all that is expected."""
        freed: list[Place] = []
        while self._coming:
            freed.extend(self.pass_by(self._coming[0].partition, self._coming[0].position))
        return freed

    def enter(self, place: Place) -> Place:
        self.used = True
        place.ticket = self._schedule.admit(tuple(Access(key, WRITE) for key in place.chain), place)
        return place

    def end(self, place: Place) -> list[Place]:
        """The event has its outcome; returns the places, in sequence, whose children leave now."""
        place.ended = True
        return self._leave(place) if place.first() else []

    def _leave(self, place: Place) -> list[Place]:
        leaving: list[Place] = []
        going = [place]
        while going:
            first = going.pop(0)
            leaving.append(first)
            assert first.ticket is not None
            going.extend(ticket.item for ticket in self._schedule.settle(first.ticket) if ticket.item.ended)
        return [one for one in leaving if one.children]


def places_of(rows: Iterable[tuple[int, int, Sequence[str], bool]]) -> list[Place]:
    """Places of earlier lives from (partition, position, chain, ended) rows; one a position."""
    found: dict[tuple[int, int], Place] = {}
    for partition, position, chain, ended in rows:
        if not chain:
            continue
        place = found.setdefault((partition, position), Place(partition, position, chain))
        place.children |= ended
        place.ended = ended if place.ticket is None and not found else place.ended or ended
    return list(found.values())
