"""The schedule as plain group chains: slower, and simple enough to be believed. The oracle of the fast one.

`commute.core.schedule` keeps single holders, lanes and learnt levels to be fast. This one treats every key
alike: an event touches each of its keys and leaves its intention on *every* ancestor up to the root, each of
these is a node with a chain of groups, and forgetting a waiting event builds all chains anew.

Invariants: a ticket's `blocked` is the number of its groups that still wait; a group waits for every earlier
live group of its node whose touch clashes with its own, directly or through groups between.

Source: hierarchical locks after Gray et al. (1976), with any number of classes and in log sequence.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from commute.core.footprint import WRITE, Footprint, join
from commute.core.schedule import Ticket

T = TypeVar("T")


class Group(Generic[T]):
    """Events that touch one node in one way, with nothing conflicting between them."""

    def __init__(self, node: str, on: str, below: str) -> None:
        self.node = node
        self.on = on  # mode on the node itself, "" for none
        self.below = below  # joined mode on keys below it, "" for none
        self.members: list[Ticket[T]] = []
        self.live = 0
        self.waits = 0  # groups that it waits for
        self.followers: list[Group[T]] = []  # not empty: closed


class PlainSchedule(Generic[T]):
    """Says which admitted events may start; `admit` and `settle` as in `commute.core.schedule.Schedule`.

    O(accesses * depth) per event; O(live) for `settle` of a ticket that waits.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._latest: dict[str, dict[tuple[str, str], Group[T]]] = {}  # node -> touch -> its latest group
        self._places: dict[Ticket[T], list[Group[T]]] = {}  # live tickets by seq

    def __len__(self) -> int:
        return len(self._places)

    def admit(self, footprint: Footprint, item: T) -> Ticket[T]:
        """The event's ticket; it may start now if ``ticket.blocked == 0``. Call in log sequence."""
        self._seq += 1
        ticket = Ticket(self._seq, footprint, item)
        self._enter(ticket)
        return ticket

    def settle(self, ticket: Ticket[T]) -> list[Ticket[T]]:
        """Tickets that may start now, by seq, after `ticket` has left; it may be one that still waits."""
        groups = self._places.pop(ticket)
        if ticket.blocked:
            return self._rebuild()
        ready: list[Ticket[T]] = []
        for group in groups:
            group.live -= 1
            if group.live:
                continue
            latest = self._latest[group.node]
            if latest.get((group.on, group.below)) is group:
                del latest[group.on, group.below]
                if not latest:
                    del self._latest[group.node]
            for follower in group.followers:
                follower.waits -= 1
                if follower.waits:
                    continue
                for member in follower.members:
                    member.blocked -= 1
                    if not member.blocked:
                        ready.append(member)
        return sorted(ready, key=lambda member: member.seq)

    def _enter(self, ticket: Ticket[T]) -> None:
        groups = self._places[ticket] = []
        for node, (on, below) in touches(ticket.footprint).items():
            latest = self._latest.setdefault(node, {})
            group = latest.get((on, below))
            if group is None or group.followers or clash(on, below, on, below):
                group = Group(node, on, below)
                for other in latest.values():
                    if clash(on, below, other.on, other.below):
                        other.followers.append(group)
                        group.waits += 1
                latest[on, below] = group
            group.live += 1
            group.members.append(ticket)
            groups.append(group)
            ticket.blocked += group.waits > 0

    def _rebuild(self) -> list[Ticket[T]]:
        """All chains anew; returns the tickets that waited before and no longer do."""
        waited = [ticket for ticket in self._places if ticket.blocked]
        self._latest.clear()
        for ticket in self._places:
            ticket.blocked = 0
            self._enter(ticket)
        return [ticket for ticket in waited if not ticket.blocked]


def touches(footprint: Footprint) -> dict[str, tuple[str, str]]:
    """Each key of `footprint` and each ancestor of one -> (mode on it, joined mode below), "" for none."""
    found: dict[str, tuple[str, str]] = {}
    for key, mode in footprint:
        found[key] = (mode, found.get(key, ("", ""))[1])
        while key:
            key = key.rpartition("/")[0]
            on, below = found.get(key, ("", ""))
            found[key] = (on, join(below, mode) if below else mode)
    return found


def clash(on: str, below: str, other_on: str, other_below: str) -> bool:
    """Whether two touches of one node conflict there; what both do further below is decided further below."""
    pairs = ((on, other_on), (on, other_below), (below, other_on))
    return any(a and b and (a != b or a == WRITE) for a, b in pairs)
