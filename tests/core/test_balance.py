"""Fair shares: they are reached from anywhere, with the fewest moves, and what is fair already stays as it is."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from commute.core.balance import Member, Seen, fair, gives, heirs, takes

A, B, C = members = [(number, "host") for number in (1, 2, 3)]
GONE = (9, "host")


def seen(owners: Sequence[Member | None], there: Sequence[Member], last: Sequence[Member | None] | None = None) -> Seen:
    return Seen(members=there, owners=owners, last=owners if last is None else last)


def test_who_has_too_much_gives_all_of_it_at_once_and_the_new_one_is_the_heir() -> None:
    look = seen([A] * 6, [A, B])
    assert gives(look, A, share=range(6)) == [3, 4, 5]
    assert gives(look, B, share=range(6)) == []
    given = seen([A, A, A, None, None, None], [A, B], [A] * 6)
    assert heirs(given) == {3: B, 4: B, 5: B}
    assert takes(given, B, share=range(6)) == ({3, 4, 5}, set())
    assert takes(given, A, share=range(6)) == (set(), set())
    assert gives(given, A, share=range(6)) == []


def test_what_is_under_way_counts() -> None:
    look = seen([A] * 6, [A, B])
    assert gives(look, A, share=range(6), leaving=[0, 1]) == [5]
    assert gives(look, A, share=range(6), leaving=[0, 1, 2]) == []
    assert gives(look, A, share=range(6), stuck=[4, 5]) == [1, 2, 3]
    assert gives(look, A, share=range(6), stuck=range(6)) == []


def test_what_is_not_of_the_share_goes_first() -> None:
    assert gives(seen([A] * 6, [A, B]), A, share=(1, 3, 5)) == [0, 2, 4]
    assert gives(seen([A] * 6, [A, B]), A, share=(0, 1, 2, 3, 5)) == [3, 4, 5]


def test_a_difference_of_one_moves_nothing() -> None:
    for owners in itertools.product((A, B, C), repeat=5):
        counts = Counter(owners)
        look = seen(owners, [A, B, C])
        moves = sum(len(gives(look, member, share=range(5))) for member in (A, B, C))
        if max(counts[member] for member in (A, B, C)) - min(counts[member] for member in (A, B, C)) < 2:
            assert moves == 0
        else:
            assert moves == sum(max(0, counts[member] - fair(look)[member]) for member in (A, B, C)) > 0


def test_what_was_left_by_the_dead_waits_for_them_and_what_was_given_does_not() -> None:
    look = seen([A, A, B, B, None, None], [A, B], [A, A, B, B, GONE, A])
    assert heirs(look) == {5: A, 4: B}
    assert takes(look, A, share=(0, 1)) == ({5}, set())
    assert takes(look, B, share=(2, 3)) == (set(), {4})


def test_one_that_comes_back_takes_its_own_share_at_once_and_no_more_than_is_fair() -> None:
    look = seen([A, None, A, None], [A, B], [A, GONE, A, GONE])
    assert takes(look, B, share=(1, 3)) == ({1, 3}, set())
    alike = seen([None] * 4, [A, B], [None] * 4)  # both started at once, without a share of their own
    assert takes(alike, A, share=range(4))[0] == {0, 1}
    assert takes(alike, B, share=range(4))[0] == {0, 1}  # the locks decide; the rest is meant for one or the other
    assert set(heirs(alike)) == {0, 1, 2, 3}


def test_owners_that_are_no_members_are_left_alone() -> None:
    look = seen([GONE, GONE, GONE, A, A], [A, B])
    assert fair(look) == {A: 1, B: 1}
    assert gives(look, GONE, share=range(5)) == []
    assert takes(look, GONE, share=range(5)) == (set(), set())
    assert not fair(seen([None], [])) and not heirs(seen([None], []))


def step(chance: random.Random, owners: list[Member | None], last: list[Member | None], there: list[Member]) -> bool:
    """One member acts, on a look of its own; whether anything moved."""
    look = seen(tuple(owners), tuple(there), tuple(last))
    doers = [member for member in there if gives(look, member, share=()) or any(takes(look, member, share=()))]
    if not doers:
        return False
    me = chance.choice(doers)
    for number in gives(look, me, share=()):
        owners[number] = None
    for number in set().union(*takes(look, me, share=())):
        owners[number] = last[number] = me
    return True


@pytest.mark.parametrize("seed", range(300))
def test_whoever_acts_first_the_shares_become_fair_with_as_few_moves_as_can_be(seed: int) -> None:
    chance = random.Random(seed)
    there: list[Member] = [(number, "host") for number in range(chance.randint(1, 8))]
    owners: list[Member | None] = [chance.choice([*there, *there, None]) for _ in range(chance.randint(1, 24))]
    last: list[Member | None] = [owner or GONE for owner in owners]
    at_first, due = list(owners), fair(seen(owners, there))
    steps = 0
    while step(chance, owners, last, there):
        steps += 1
        assert steps <= 2 * len(there), "each gives once and takes once"
    counts = [owners.count(member) for member in there]
    assert None not in owners and max(counts) - min(counts) <= 1
    moved = sum(before is not None and before != after for before, after in zip(at_first, owners, strict=True))
    assert moved == sum(max(0, at_first.count(member) - due[member]) for member in there)


@pytest.mark.parametrize("seed", range(100))
def test_looks_that_are_old_delay_it_and_no_more(seed: int) -> None:
    chance = random.Random(seed)
    there: list[Member] = [(number, "host") for number in range(chance.randint(2, 6))]
    owners: list[Member | None] = [chance.choice(there) for _ in range(chance.randint(1, 18))]
    last = list(owners)
    looks: dict[Member, Seen] = {}
    for _ in range(60 * len(there)):
        me = chance.choice(there)
        old = looks.get(me)
        if old is not None:
            for number in gives(old, me, share=()):
                if owners[number] == me:
                    owners[number] = None
            for number in set().union(*takes(old, me, share=())):
                if owners[number] is None:  # what its lock says, whatever was seen
                    owners[number] = last[number] = me
        looks[me] = seen(tuple(owners), there, tuple(last))
    counts = [owners.count(member) for member in there]
    assert None not in owners and max(counts) - min(counts) <= 1
