"""Where an admitted event stands on a key: alone, in a lane, or in a group of a node.

The schedule moves tickets through these; here is what they are, how the rare steps are made, and the slow
questions (who is ahead, is it sound), so that the schedule's own file holds the algorithm alone.

Invariants stand beside the fields. Everything that can wait in great number is kept small: a waiting write is
its ticket and nothing else.

Source: as for `commute.core.schedule`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from operator import attrgetter
from typing import Generic, TypeAlias, TypeVar

from commute.core.footprint import WRITE, Access, Footprint, compatible, overlap

T = TypeVar("T")

SETTLED = -1  # what `Ticket.blocked` says once the ticket has left

# (access of one that waits, an earlier unsettled ticket, that one's access): they conflict.
Blocker: TypeAlias = "tuple[Access, Ticket[T], Access]"
# How one event touches a node: the joined mode on keys below it, or a pair: the mode on the key itself, and
# that below it ("" where it touches nothing there). Nearly all are the first kind: a str keeps its hash.
Touch: TypeAlias = "str | tuple[str, str]"

by_seq = attrgetter("seq")


class Ticket(Generic[T]):
    """An admitted event. `item` is the caller's; only the schedule changes the rest."""

    __slots__ = ("blocked", "footprint", "item", "places", "seq")

    seq: int  # number of the admission, strictly increasing
    footprint: Footprint  # Invariant: keys are distinct and normalised
    item: T
    blocked: int  # lanes and nodes in which it waits; 0: may start; SETTLED: it has left
    places: list[Group[T]] | None  # its groups, where it touches nodes or keys below them

    def __init__(self, seq: int, footprint: Footprint, item: T) -> None:
        self.seq = seq
        self.footprint = footprint
        self.item = item
        self.blocked = 0
        self.places = None

    def __repr__(self) -> str:
        return f"Ticket({self.seq}, {self.footprint}, blocked={self.blocked})"


class Run(Generic[T]):
    """Neighbours in a lane's queue with one commutative mode. A waiting write needs none."""

    __slots__ = ("members", "mode")

    def __init__(self, mode: str, members: list[Ticket[T]]) -> None:
        self.mode = mode
        self.members = members  # Invariant: by seq, never empty


class Lane(Generic[T]):
    """The events on one key without touched relatives: those that may go, and the queue behind them."""

    __slots__ = ("active", "mode", "queue", "waiting")

    def __init__(self, mode: str, active: set[Ticket[T]]) -> None:
        self.mode = mode  # of all active tickets
        self.active = active  # Invariant: never empty; one ticket if mode is write
        self.queue: deque[Ticket[T] | Run[T]] | None = None  # by seq, neighbours conflict; made when needed
        self.waiting = 0  # tickets in the queue


class Group(Generic[T]):
    """The events that touch a node in one way, with nothing conflicting between them."""

    __slots__ = ("below", "followers", "key", "leaders", "members", "on", "previous", "touch", "waits")

    def __init__(self, key: str, touch: Touch, previous: Group[T] | None) -> None:
        self.key = key
        self.touch = touch
        self.on, self.below = ("", touch) if isinstance(touch, str) else touch
        self.members: set[Ticket[T]] = set()  # Invariant: never empty
        self.leaders: list[Group[T]] = []  # that it waited for when made; empty once it waits for none
        self.waits = 0  # live leaders; 0: its members may go, as far as this node is concerned
        self.followers: list[Group[T]] = []  # that wait for it. Not empty: closed, newcomers need a new group
        self.previous = previous  # the group of this touch that it took the place of, while it waits


# The latest group of each touch. Invariant: whoever comes next need look at no others. Every other live group
# is waited for by one that covers it, or by what the group that took its place waits for.
Node: TypeAlias = dict[Touch, Group[T]]


def clash(a: Group[T], b: Group[T]) -> bool:
    """Whether two groups of one node conflict there. Below against below is decided further down."""
    return bool(
        (a.on and b.on and not compatible(a.on, b.on))
        or (a.on and b.below and not compatible(a.on, b.below))
        or (a.below and b.on and not compatible(a.below, b.on))
    )


def covers(a: Group[T], b: Group[T]) -> bool:
    """Whether all that clashes with `b` clashes with `a` too: who waits for `a` need not look at `b`."""
    return (a.on in (b.on, WRITE) or not b.on) and (a.below in (b.below, WRITE) or not b.below)


def new_group(node: Node[T], key: str, touch: Touch) -> Group[T]:
    """A group behind all of `node` that clashes with it; it becomes the latest of its touch. O(touches)."""
    group = Group(key, touch, node.get(touch))
    for other in list(node.values()):
        if clash(group, other):
            group.leaders.append(other)
            other.followers.append(group)
            if covers(group, other):
                # Else a group that stays live would collect an edge from every later one.
                del node[other.touch]
    group.waits = len(group.leaders)
    node[touch] = group
    return group


def unmake(node: Node[T], group: Group[T]) -> bool:
    """Undo a waiting group whose last member is forgotten; False if others wait for it: then rebuild."""
    if group.followers:
        return False
    del node[group.touch]  # without followers it is still the latest of its touch
    if group.previous is not None and group.previous.members:
        node[group.touch] = group.previous
    for leader in group.leaders:
        if leader.members:
            leader.followers.remove(group)
            node.setdefault(leader.touch, leader)
    return True


def mode_on(ticket: Ticket[T], key: str) -> str:
    """The mode in which `ticket` touches `key`, which it must. O(accesses)."""
    return next(mode for touched, mode in ticket.footprint if touched == key)


def withdraw(lane: Lane[T], ticket: Ticket[T]) -> list[Ticket[T]]:
    """Take a waiting ticket out of a lane's queue; returns those that became active by it.

    The runs that it alone kept apart are joined. O(queue behind the ticket + size of the later run).
    """
    queue = lane.queue
    assert queue, "a waiting ticket has a queue"
    at = len(queue) - 1  # from the end: the held cone takes the latest first
    while first_seq(queue[at]) > ticket.seq:
        at -= 1
    lane.waiting -= 1
    run = queue[at]
    if isinstance(run, Run):
        del run.members[bisect_left(run.members, ticket.seq, key=by_seq)]
        if run.members:
            return []
    del queue[at]
    right = queue[at] if at < len(queue) else None
    if not isinstance(right, Run):
        return []
    if at:
        left = queue[at - 1]
        if isinstance(left, Run) and left.mode == right.mode:
            left.members += right.members
            del queue[at]
    elif lane.mode == right.mode:
        lane.active.update(right.members)
        lane.waiting -= len(right.members)
        queue.popleft()
        return right.members
    return []


def members(run: Ticket[T] | Run[T]) -> list[Ticket[T]]:
    """The tickets of an entry of a lane's queue, by seq."""
    return [run] if isinstance(run, Ticket) else run.members


def first_seq(run: Ticket[T] | Run[T]) -> int:
    """Where an entry of a lane's queue begins; the next one begins behind its end."""
    return run.seq if isinstance(run, Ticket) else run.members[0].seq


def lane_blockers(lane: Lane[T], access: Access, ticket: Ticket[T]) -> Iterator[Blocker[T]]:
    """Those before `ticket` in `lane` that conflict on its key, by seq."""
    if not compatible(lane.mode, access.mode):
        for earlier in sorted(lane.active, key=by_seq):
            yield access, earlier, Access(access.key, lane.mode)
    for run in lane.queue or ():
        if first_seq(run) >= ticket.seq:
            return
        mode = run.mode if isinstance(run, Run) else WRITE
        if not compatible(mode, access.mode):
            for earlier in members(run):
                if earlier.seq < ticket.seq:
                    yield access, earlier, Access(access.key, mode)


def group_blockers(group: Group[T], ticket: Ticket[T], limit: int) -> list[Blocker[T]]:
    """Those that conflict with `ticket` at the group's node: one of the two touches the node's key itself."""
    found: list[Blocker[T]] = []
    seen: set[Group[T]] = set()
    reached = list(group.leaders)
    while reached:
        leader = reached.pop()
        if leader not in seen:
            seen.add(leader)
            reached += leader.leaders
    mine = [access for access in ticket.footprint if overlap(access.key, group.key)]
    earlier = sorted({member for leader in seen for member in leader.members}, key=by_seq)
    for other in earlier:
        for theirs in other.footprint:
            for access in mine:
                upper = min(access.key, theirs.key, key=len)
                meet = upper == group.key and overlap(access.key, theirs.key)
                if meet and not compatible(access.mode, theirs.mode):
                    found.append((access, other, theirs))
        if len(found) >= limit:
            break
    return found


def check_lane(key: str, lane: Lane[T]) -> list[Ticket[T]]:
    """The tickets that wait in `lane`, whose invariants are asserted."""
    assert lane.active and (lane.mode != WRITE or len(lane.active) == 1), key
    before, waiting = lane.mode, list[Ticket[T]]()
    for run in lane.queue or ():
        mode = run.mode if isinstance(run, Run) else WRITE
        assert not compatible(before, mode), f"{key}: neighbouring runs go together"
        before = mode
        waiting += members(run)
    assert lane.waiting == len(waiting), f"{key}: the queue is miscounted"
    seqs = [ticket.seq for ticket in waiting]
    assert seqs == sorted(set(seqs)), f"{key}: the queue is out of sequence"
    return waiting
