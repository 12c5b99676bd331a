"""Which admitted events may start: the schedule, exact and at a cost that does not depend on what waits.

Every event takes its place on all its keys at once, in log sequence, and may start when no earlier
unsettled event conflicts with it. What has started never waits here, so there is no deadlock; newcomers never
overtake what they conflict with, so no writer starves.

A key is held in one of three shapes, each dearer than the one before; an event pays for those it needs:

    bare   key -> Ticket   one event alone: nearly every key of a spread load.
    lane   key -> Lane     several events, no relatives touched: a queue of runs. A run is one write, or
                           events of one commutative mode. Only the first run is active. Neighbouring runs
                           always conflict: settling looks at the first and the next only.
    node   key -> groups   touched while keys below it are: a small graph of groups. Here conflict is not
                           transitive: two events below may pass each other, neither may pass a reader of
                           the whole. An event below leaves its *intention* on such ancestors.

Which keys may become nodes follows from the depths seen so far (`commute.core.levels`); a new depth is rare
and builds everything anew from the live tickets. While all keys have one depth, nobody looks for ancestors.

Invariants (`Schedule.check`): a ticket's `blocked` is the number of lanes and nodes where it is not among the
first; it is 0 if and only if no earlier unsettled ticket conflicts (`commute.core.footprint.conflicts`).

Source: Gray, Lorie, Putzolu, Traiger, "Granularity of Locks and Degrees of Consistency" (1976) for
intentions, with any number of commutative classes; Thomson et al., "Calvin" (2012) for locks in log sequence.
Groups in place of single edges keep a write after n reads at one edge. Without fast paths: `plain_schedule`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush, nlargest, nsmallest
from itertools import islice
from operator import itemgetter
from typing import Generic, TypeVar

from commute.core.footprint import WRITE, Footprint
from commute.core.levels import Levels
from commute.core.places import (
    SETTLED,
    Blocker,
    Group,
    Lane,
    Node,
    Run,
    Ticket,
    by_seq,
    check_lane,
    clash,
    first_seq,
    group_blockers,
    lane_blockers,
    members,
    mode_on,
    new_group,
    unmake,
    withdraw,
)

__all__ = ["Schedule", "Ticket"]

T = TypeVar("T")

BARE_ACCESSES_MAX = 8  # a bare holder is searched for its mode at its first conflict, so it must be short
FRESH = -2  # `Schedule._depth` before the first key
MIXED = -1  # `Schedule._depth` once keys of several depths, or the root, were seen


class Schedule(Generic[T]):
    """Says which admitted events may start. Pure, not thread-safe; `len` is the number of live tickets.

    `admit` and `settle` cost O(accesses of the event + tickets released), whatever waits.
    """

    __slots__ = ("_depth", "_holders", "_left", "_levels", "_nodes", "_seq", "_waiting")

    def __init__(self) -> None:
        self._seq = 0
        self._left = 0  # tickets that were settled or forgotten
        self._waiting = 0
        self._holders: dict[str, Ticket[T] | Lane[T]] = {}  # keys that are no nodes
        self._nodes: dict[str, Node[T]] = {}
        self._levels = Levels()
        self._depth = FRESH  # slashes that all keys have so far: then no key is above another, none is a node

    def __len__(self) -> int:
        return self._seq - self._left

    @property
    def waiting(self) -> int:
        """How many tickets may not start yet."""
        return self._waiting

    def admit(self, footprint: Footprint, item: T) -> Ticket[T]:
        """The event's ticket; it may start now if ``ticket.blocked == 0``. Call in log sequence.

        `footprint` must be normalised (`commute.core.footprint`). The first key of a new depth costs O(live).
        """
        self._seq = seq = self._seq + 1
        ticket = Ticket(seq, footprint, item)
        holders = self._holders
        depth = self._depth
        blocked = 0
        for key, mode in footprint:
            if key.count("/") != depth or not key:
                if depth == MIXED:
                    self._place(ticket)
                else:
                    self._change_depth(ticket)
                return ticket
            held = holders.setdefault(key, ticket)
            if held is not ticket:
                blocked += self._queue_up(key, mode, held, ticket)
        if blocked:
            ticket.blocked = blocked
            self._waiting += 1
        if len(footprint) > BARE_ACCESSES_MAX:
            self._unbare(ticket)
        return ticket

    def settle(self, ticket: Ticket[T]) -> list[Ticket[T]]:
        """Tickets that may start now, by seq, since the event of `ticket` has ended (or left for the cone).

        Valid once per ticket, also for one that waits: it is forgotten. That costs as little as settling when
        the latest goes first; else up to O(waiting on its keys), and O(live) where a node is concerned.
        """
        if ticket.blocked:
            return self._forget(ticket)
        ticket.blocked = SETTLED
        self._left += 1
        ready: list[Ticket[T]] = []
        holders = self._holders
        for key, _ in ticket.footprint:
            held = holders.get(key)
            if held is ticket:
                del holders[key]
            elif held is not None:
                self._leave_lane(key, held, ticket, ready)
        if ticket.places is not None:
            for group in ticket.places:
                members = group.members
                members.remove(ticket)
                if not members:
                    self._finish(group, ready)
            ticket.places = None
        if len(ready) > 1:
            ready.sort(key=by_seq)
        return ready

    def blockers(self, ticket: Ticket[T], limit: int = 10) -> list[Blocker[T]]:
        """Why it waits: (its access, an earlier unsettled ticket, that one's access), up to `limit`, by seq.

        Every pair conflicts directly. The earliest come first, so that those at work are among them. Empty if
        it may start. Up to O(waiting on its keys): for people, not for the hot path.
        """
        found: list[Blocker[T]] = []
        for access in ticket.footprint:
            held = self._holders.get(access.key)
            if isinstance(held, Lane) and ticket not in held.active:
                found += islice(lane_blockers(held, access, ticket), limit)
        for group in ticket.places or ():
            found += group_blockers(group, ticket, limit)
        return nsmallest(limit, found, key=lambda blocker: blocker[1].seq)

    def followers(self, ticket: Ticket[T]) -> list[Ticket[T]]:
        """All tickets that wait for `ticket`, directly or through others, by seq.

        Exactly the later unsettled ones that conflict with it or with one of those already in.
        O(their accesses, n log n); lanes are walked once each.
        """
        assert ticket.blocked != SETTLED, "the ticket has left"
        found: dict[int, Ticket[T]] = {}
        # By seq, so that the first to come upon a lane is the earliest there: all behind it follow at once.
        heap = [(ticket.seq, ticket)]
        seen_keys: set[str] = set()
        seen_groups: set[Group[T]] = set()
        while heap:
            _, leader = heappop(heap)
            for follower in self._behind(leader, seen_keys, seen_groups):
                if follower.seq not in found:
                    found[follower.seq] = follower
                    heappush(heap, (follower.seq, follower))
        return [found[seq] for seq in sorted(found)]

    def waiting_by_key(self, limit: int = 10) -> list[tuple[str, int]]:
        """The keys on which the most tickets wait, and how many, most first; "" is the root. O(live keys)."""
        lanes = ((key, held.waiting) for key, held in self._holders.items() if isinstance(held, Lane))
        counts = {key: waiting for key, waiting in lanes if waiting}
        for group in self._groups():
            if group.waits:
                counts[group.key] = counts.get(group.key, 0) + len(group.members)
        return nlargest(limit, counts.items(), key=itemgetter(1))

    # ---- taking a place

    def _queue_up(self, key: str, mode: str, held: Ticket[T] | Lane[T], ticket: Ticket[T]) -> int:
        """1 if `ticket` has to wait on `key`, 0 if it goes with those that hold it."""
        if isinstance(held, Ticket):
            held = self._holders[key] = Lane(mode_on(held, key), {held})
        queue = held.queue
        if not queue:
            if mode == held.mode and mode != WRITE:
                held.active.add(ticket)
                return 0
            if queue is None:
                queue = held.queue = deque()
        held.waiting += 1
        tail = queue[-1] if queue else None
        if isinstance(tail, Run) and tail.mode == mode:
            tail.members.append(ticket)
        else:
            queue.append(ticket if mode == WRITE else Run(mode, [ticket]))
        return 1

    def _unbare(self, ticket: Ticket[T]) -> None:
        """Give every key that a long footprint holds alone its lane now, while the modes are at hand."""
        for key, mode in ticket.footprint:
            if self._holders.get(key) is ticket:
                self._holders[key] = Lane(mode, {ticket})

    def _change_depth(self, ticket: Ticket[T]) -> None:
        """Admit a ticket whose keys are the first ones, or the first of another depth than all so far."""
        depths = {key.count("/") if key else MIXED for key, _ in ticket.footprint}
        if self._depth == FRESH and len(depths) == 1:
            self._depth = depths.pop()
        else:
            self._depth = MIXED
        if self._depth == MIXED:
            self._rebuild(ticket)  # some keys of `ticket` may have been entered already, which does no harm
            return
        for key, _ in ticket.footprint:
            self._holders[key] = ticket  # the first keys ever: nobody else is there
        if len(ticket.footprint) > BARE_ACCESSES_MAX:
            self._unbare(ticket)

    def _place(self, ticket: Ticket[T]) -> None:
        """Enter `ticket` on all its keys and on the nodes above them."""
        families, pool, holders = self._levels.families, self._levels.pool, self._holders
        intents: dict[str, str] = {}  # ancestor -> joined mode of the keys below it
        direct: list[tuple[str, str]] | None = None  # accesses of keys that may have touched keys below them
        blocked = 0
        for key, mode in ticket.footprint:
            family = key.partition("/")[0]
            shape = families.get(family, pool).get(key.count("/"))
            if shape is None:
                if self._levels.learn(key):
                    self._rebuild(ticket)
                    return
                shape = families.get(family, pool)[key.count("/")]
            inner, cuts = shape
            for cut in cuts:
                above = "" if not cut else family if cut == 1 else "/".join(key.split("/", cut)[:cut])
                if intents.setdefault(above, mode) != mode:
                    intents[above] = WRITE
            if inner:
                if direct is None:
                    direct = []
                direct.append((key, mode))
                continue
            held = holders.setdefault(key, ticket)
            if held is not ticket:
                blocked += self._queue_up(key, mode, held, ticket)
        if direct is not None:
            blocked += self._touch(ticket, direct, intents)
        if intents:
            nodes = self._nodes
            places = ticket.places
            if places is None:
                places = ticket.places = []
            for key, below in intents.items():
                node = nodes.get(key)
                if node is None:
                    node = self._node(key)
                group = node.get(below)
                if group is None or group.followers:
                    group = new_group(node, key, below)
                group.members.add(ticket)
                places.append(group)
                if group.waits:
                    blocked += 1
        if blocked:
            ticket.blocked = blocked
            self._waiting += 1
        if len(ticket.footprint) > BARE_ACCESSES_MAX:
            self._unbare(ticket)

    def _touch(self, ticket: Ticket[T], direct: list[tuple[str, str]], intents: dict[str, str]) -> int:
        """Enter `ticket` in the nodes that it touches itself; the number of those where it has to wait."""
        bare = len(ticket.footprint) <= BARE_ACCESSES_MAX
        blocked = 0
        for key, mode in direct:
            below = intents.pop(key, "")
            if key not in self._nodes:
                held = self._holders.get(key)
                if held is None and bare and not below:
                    self._holders[key] = ticket
                    continue
            node = self._node(key)
            touch = (mode, below)
            group = node.get(touch)
            if group is None or group.followers or clash(group, group):
                group = new_group(node, key, touch)
            group.members.add(ticket)
            if ticket.places is None:
                ticket.places = []
            ticket.places.append(group)
            blocked += group.waits > 0
        return blocked

    def _node(self, key: str) -> Node[T]:
        """The node at `key`; a new one begins with the ticket that has held the key alone until now."""
        node = self._nodes.get(key)
        if node is not None:
            return node
        node = self._nodes[key] = {}
        held = self._holders.pop(key, None)
        if held is not None:
            assert isinstance(held, Ticket), "a key that may be a node is a lane"
            group = new_group(node, key, (mode_on(held, key), ""))
            group.members.add(held)
            if held.places is None:
                held.places = []
            held.places.append(group)
        return node

    # ---- leaving it

    def _release(self, tickets: Iterable[Ticket[T]], ready: list[Ticket[T]]) -> None:
        for ticket in tickets:
            ticket.blocked -= 1
            if not ticket.blocked:
                self._waiting -= 1
                ready.append(ticket)

    def _leave_lane(self, key: str, held: Ticket[T] | Lane[T], ticket: Ticket[T], ready: list[Ticket[T]]) -> None:
        """Take an active ticket out of its lane; after the last one the next run becomes active."""
        assert isinstance(held, Lane), "a key is held by a ticket that does not name it"
        active = held.active
        active.remove(ticket)
        if active:
            return
        queue = held.queue
        if not queue:
            del self._holders[key]
            return
        run = queue.popleft()
        if isinstance(run, Ticket):
            held.mode = WRITE
            active.add(run)
        else:
            held.mode = run.mode
            active.update(run.members)
        held.waiting -= len(active)
        self._release(active, ready)

    def _finish(self, group: Group[T], ready: list[Ticket[T]]) -> None:
        """A group that has lost its last member is done, and its followers go on."""
        node = self._nodes[group.key]
        if node.get(group.touch) is group:
            del node[group.touch]
            if not node:
                del self._nodes[group.key]
        for follower in group.followers:
            follower.waits -= 1
            if not follower.waits:
                # Whatever was done before it is dropped here, or a busy node would remember all its past.
                follower.leaders = []
                follower.previous = None
                self._release(follower.members, ready)
        group.followers = []

    def _forget(self, ticket: Ticket[T]) -> list[Ticket[T]]:
        """`settle` for a ticket that still waits."""
        assert ticket.blocked > 0, f"settled twice: {ticket}"
        ticket.blocked = SETTLED
        self._left += 1
        self._waiting -= 1
        ready: list[Ticket[T]] = []
        for key, _ in ticket.footprint:
            held = self._holders.get(key)
            if held is ticket:
                del self._holders[key]
            elif isinstance(held, Lane) and ticket not in held.active:
                self._release(withdraw(held, ticket), ready)
            elif held is not None:
                self._leave_lane(key, held, ticket, ready)
        broken = False
        for group in ticket.places or ():
            group.members.remove(ticket)
            if group.members:
                continue
            if group.waits:
                broken |= not unmake(self._nodes[group.key], group)
            else:
                self._finish(group, ready)
        ticket.places = None
        if broken:
            ready += self._rebuild(None)
        ready.sort(key=by_seq)
        return ready

    def _rebuild(self, newcomer: Ticket[T] | None) -> list[Ticket[T]]:
        """Build all anew from the live tickets; returns those that waited and no longer do. O(live)."""
        live = self._tickets()
        if newcomer is not None:
            live.add(newcomer)
        tickets = sorted(live, key=by_seq)
        waited = [ticket for ticket in tickets if ticket.blocked]
        for ticket in tickets:
            ticket.blocked = 0
            ticket.places = None
            for key, _ in ticket.footprint:
                self._levels.learn(key)
        self._holders.clear()
        self._nodes.clear()
        self._waiting = 0
        for ticket in tickets:
            self._place(ticket)
        return [ticket for ticket in waited if not ticket.blocked]

    # ---- looking at it

    def _tickets(self) -> set[Ticket[T]]:
        """All live tickets that touch anything."""
        found: set[Ticket[T]] = set()
        for held in self._holders.values():
            if isinstance(held, Ticket):
                found.add(held)
            else:
                found.update(held.active, *(members(run) for run in held.queue or ()))
        for group in self._groups():
            found |= group.members
        return found

    def _groups(self) -> set[Group[T]]:
        """All live groups: the latest ones and those before them that are closed."""
        seen: set[Group[T]] = set()
        reached = [group for node in self._nodes.values() for group in node.values()]
        while reached:
            group = reached.pop()
            if group not in seen:
                seen.add(group)
                reached += group.leaders
                if group.previous is not None:
                    reached.append(group.previous)
        return {group for group in seen if group.members}  # a done one is remembered while a follower waits

    def _behind(self, ticket: Ticket[T], seen_keys: set[str], seen_groups: set[Group[T]]) -> Iterator[Ticket[T]]:
        """Those behind `ticket` in its lanes and in the groups after its own; each lane and group once."""
        for key, _ in ticket.footprint:
            held = self._holders.get(key)
            if isinstance(held, Lane) and held.queue and key not in seen_keys:
                seen_keys.add(key)
                for run in reversed(held.queue):
                    if first_seq(run) <= ticket.seq:
                        break
                    yield from members(run)
        for group in ticket.places or ():
            if group not in seen_groups:
                seen_groups.add(group)
                for follower in group.followers:
                    yield from follower.members

    def check(self) -> None:
        """Assert the invariants of the whole structure; for tests. O(live accesses)."""
        blocked: dict[Ticket[T], int] = dict.fromkeys(self._tickets(), 0)
        assert len(self) >= len(blocked), "more tickets in chains than live ones"
        for key, held in self._holders.items():
            if isinstance(held, Lane):
                for ticket in check_lane(key, held):
                    blocked[ticket] += 1
            else:
                assert any(key == k for k, _ in held.footprint), key
        groups = self._groups()
        for group in groups:
            assert group.waits == sum(1 for leader in group.leaders if leader.members), group.key
            assert group.waits or not (group.leaders or group.previous), "a group at work remembers its past"
            assert all(follower in groups for follower in group.followers), "a follower is lost"
            for ticket in group.members:
                assert ticket.places is not None and group in ticket.places
                blocked[ticket] += group.waits > 0
        assert all(node and all(g.members for g in node.values()) for node in self._nodes.values())
        assert all(ticket.blocked == number for ticket, number in blocked.items()), "a wait is miscounted"
        assert self._waiting == sum(1 for number in blocked.values() if number), "waiting is miscounted"
