"""Who hands which partitions over to whom: the arithmetic of fair shares, without a clock or a store.

    members      a  b  c              each holds a lock that says so, in the sequence of these locks
    partitions   0  1  2  3  4  5     owned by  a a a a b b
    fair                              a 2, b 2, c 2: a gives two

Whoever looks at the store computes all of it for itself, and acts on its own part alone: a giver lets go of what is too
much, a heir takes what is meant for it. Two that look at different moments may disagree. Then both try to take the same
partition, and its lock decides; or nobody does, and whoever waits longest comes.

Invariants: as few partitions move as can; nothing moves unless two members differ by two at least, so each move
betters the balance by a whole partition, and a balanced group stays as it is, whichever way it looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Member: TypeAlias = tuple[int | None, str]  # one process: its number and its host


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look has shown. `owners`, of each partition: who has it now, None while nobody does. `last`: who was the
    last to take it. Owners that are no members (of another version, say) are left alone."""

    members: Sequence[Member]
    owners: Sequence[Member | None]
    last: Sequence[Member | None]

    def free(self) -> list[int]:
        """The partitions that nobody has, those that a member gave up first: they are on their way."""
        free = [number for number, owner in enumerate(self.owners) if owner is None]
        return sorted(free, key=lambda number: not self.was_given(number))

    def was_given(self, number: int) -> bool:
        """Whether the last to have this partition is still there: then it let go on purpose."""
        return self.owners[number] is None and self.last[number] in self.members


def fair(seen: Seen) -> dict[Member, int]:
    """How many partitions each member should have, those that are free included; no two differ by more than one.

    Whoever has most already gets the odd ones.
    """
    if not seen.members:
        return {}
    owned = _owned(seen)
    least, odd = divmod(owned.total() + len(seen.free()), len(seen.members))
    by_most = sorted(seen.members, key=lambda member: -owned[member])  # stable: equals by their locks
    return {member: least + (place < odd) for place, member in enumerate(by_most)}


def heirs(seen: Seen) -> dict[int, Member]:
    """For each free partition the member that it is meant for, the one that lacks most; empty where nobody is there."""
    owned, due = _owned(seen), fair(seen)
    lacks = {member: due[member] - owned[member] for member in seen.members}
    found: dict[int, Member] = {}
    for number in seen.free() if lacks else ():
        heir = max(seen.members, key=lambda member: lacks[member])
        lacks[heir] -= 1
        found[number] = heir
    return found


def gives(
    seen: Seen, me: Member, *, share: Collection[int], leaving: Collection[int] = (), stuck: Collection[int] = ()
) -> list[int]:
    """The partitions that `me` begins to hand over now, besides those that are `leaving` already.

    Those outside of its `share` first. The `stuck` ones cannot be handed over, and stay.
    """
    mine = [number for number, owner in enumerate(seen.owners) if owner == me]
    surplus = max(0, len(mine) - fair(seen).get(me, len(mine)))
    movable = [number for number in mine if number in leaving or number not in stuck]
    chosen = sorted(movable, key=lambda number: (number not in leaving, number in share, -number))[:surplus]
    return sorted(number for number in chosen if number not in leaving)


def takes(seen: Seen, me: Member, *, share: Collection[int]) -> tuple[set[int], set[int]]:
    """The free partitions that `me` takes at once, and those that it takes if their last owner does not come back.

    At once: what is left of its own `share`, then what others gave up for it, and no more than is fair.
    """
    room = fair(seen).get(me, 0) - _owned(seen)[me]
    meant = {number for number, heir in heirs(seen).items() if heir == me}
    own = [number for number in seen.free() if number in share and not seen.was_given(number)]
    given = [number for number in seen.free() if number in meant and seen.was_given(number)]
    at_once = set([*own, *given][: max(0, room)])
    return at_once, meant - at_once


def _owned(seen: Seen) -> Counter[Member]:
    members = set(seen.members)
    return Counter(owner for owner in seen.owners if owner is not None and owner in members)
