"""Both laws for both schedules, against brute force: dependents wait *and* independents start.

Every check is an equality: what may start must be what has no earlier unsettled conflicting event. So a
schedule that lets a dependent through fails, and so does one that serialises everything.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commute.core import levels, schedule
from commute.core.footprint import (
    ADD,
    EVERYTHING,
    READ,
    WRITE,
    Access,
    Footprint,
    conflicting,
    conflicts,
    normalise,
)
from commute.core.plain_schedule import PlainSchedule
from commute.core.schedule import Schedule, Ticket

MODES = (READ, WRITE, ADD, "max")
related = lru_cache(maxsize=None)(conflicts)


def one(key: str, mode: str = WRITE) -> Footprint:
    return (Access(key, mode),)


def seqs(tickets: list[Ticket[None]]) -> list[int]:
    return [ticket.seq for ticket in tickets]


class Trial:
    """Both schedules and the brute-force law, moved in step and compared after every move."""

    def __init__(self) -> None:
        self.fast: Schedule[None] = Schedule()
        self.plain: PlainSchedule[None] = PlainSchedule()
        self.live: dict[int, tuple[Ticket[None], Ticket[None]]] = {}

    def footprint(self, seq: int) -> Footprint:
        return self.live[seq][0].footprint

    def free(self) -> list[int]:
        """By the law alone, without asking a schedule."""
        return [
            seq
            for seq in self.live
            if not any(related(self.footprint(u), self.footprint(seq)) for u in self.live if u < seq)
        ]

    def admit(self, footprint: Footprint) -> int:
        pair = self.fast.admit(footprint, None), self.plain.admit(footprint, None)
        assert pair[0].seq == pair[1].seq > max(self.live, default=0)
        self.live[pair[0].seq] = pair
        self.compare()
        return pair[0].seq

    def settle(self, seq: int) -> None:
        """Settle one that may start, or forget one that waits."""
        waited = set(self.live) - set(self.free()) - {seq}
        fast, plain = self.live.pop(seq)
        expected = [u for u in self.free() if u in waited]
        assert seqs(self.fast.settle(fast)) == expected
        assert seqs(self.plain.settle(plain)) == expected
        self.compare()

    def compare(self) -> None:
        free = self.free()
        assert [seq for seq, (ticket, _) in self.live.items() if not ticket.blocked] == free
        assert [seq for seq, (_, ticket) in self.live.items() if not ticket.blocked] == free
        assert len(self.fast) == len(self.plain) == len(self.live)
        assert self.fast.waiting == len(self.live) - len(free)
        self.fast.check()

    def compare_questions(self, seq: int) -> None:
        """`blockers` and `followers` of one ticket against their definitions."""
        mine = self.footprint(seq)
        pairs = [(x, u, y) for u in self.live if u < seq for x, y in conflicting(mine, self.footprint(u))]
        ticket = self.live[seq][0]
        found = [(x, other.seq, y) for x, other, y in self.fast.blockers(ticket, limit=10_000)]
        assert sorted(found) == sorted(pairs)
        first = [other.seq for _, other, _ in self.fast.blockers(ticket, limit=2)]
        assert first == sorted(u for _, u, _ in pairs)[:2]
        closure = [seq]
        for u in self.live:
            if u > seq and any(related(self.footprint(u), self.footprint(v)) for v in closure):
                closure.append(u)
        assert seqs(self.fast.followers(ticket)) == closure[1:]


# ---- exhaustive


def canonical(program: tuple[tuple[str, str], ...]) -> bool:
    """One of each set of programs that differ only in the names of commutative modes and the two leaves."""
    modes = [mode for _, mode in program if mode != WRITE]
    first = list(dict.fromkeys(modes))
    leaves = [key for key, _ in program if key in ("a/b", "a/c")]
    return first == [READ, ADD, "max"][: len(first)] and leaves[:1] != ["a/c"]


def programs() -> Iterator[tuple[tuple[str, str], ...]]:
    accesses = list(product(("", "a", "a/b", "a/c"), MODES))
    return (program for program in product(accesses, repeat=4) if canonical(program))


def completions(waits_for: list[int]) -> Iterator[list[int]]:
    """All sequences in which events 0 … n-1 can end; `waits_for`: for each a bit set of earlier ones."""
    count = len(waits_for)

    def extend(live: int, ended: list[int]) -> Iterator[list[int]]:
        if not live:
            yield ended
        for event in range(count):
            if live >> event & 1 and not waits_for[event] & live:
                yield from extend(live & ~(1 << event), [*ended, event])

    return extend((1 << count) - 1, [])


def assert_run(fast: bool, footprints: list[Footprint], waits_for: list[int], ended: list[int]) -> None:
    """Admit all, settle in the given sequence; after every step exactly the right ones may start."""
    chosen: Schedule[int] | PlainSchedule[int] = Schedule() if fast else PlainSchedule()
    tickets = [chosen.admit(footprint, number) for number, footprint in enumerate(footprints)]
    live = (1 << len(tickets)) - 1
    assert all((ticket.blocked > 0) == bool(waits_for[ticket.item]) for ticket in tickets)
    for event in ended:
        before = live
        live &= ~(1 << event)
        freed = [
            number
            for number, blockers in enumerate(waits_for)
            if live >> number & 1 and blockers & before and not blockers & live
        ]
        assert [ticket.item for ticket in chosen.settle(tickets[event])] == freed
    assert len(chosen) == 0


def relation_of(footprints: list[Footprint]) -> list[int]:
    return [
        sum(1 << earlier for earlier in range(number) if related(footprints[earlier], footprint))
        for number, footprint in enumerate(footprints)
    ]


def test_all_programs_of_four_events_and_all_completions() -> None:
    """Root, a key, two below it; read, write, two classes. The plain schedule takes part in every fifth."""
    runs = 0
    for number, program in enumerate(programs()):
        footprints = [one(*access) for access in program]
        waits_for = relation_of(footprints)
        for ended in completions(waits_for):
            assert_run(True, footprints, waits_for, ended)
            if number % 5 == 0:
                assert_run(False, footprints, waits_for, ended)
            runs += 1
    assert runs > 20_000


def test_all_programs_of_three_events_and_all_completions_on_both() -> None:
    accesses = list(product(("", "a", "a/b", "c/d"), (READ, WRITE, ADD)))
    for program in product(accesses, repeat=3):
        footprints = [one(*access) for access in program]
        waits_for = relation_of(footprints)
        for ended in completions(waits_for):
            assert_run(True, footprints, waits_for, ended)
            assert_run(False, footprints, waits_for, ended)


def test_sampled_programs_of_events_with_two_accesses() -> None:
    """An event may touch a key and its ancestor in different modes, or two families."""
    random_ = random.Random(5)
    accesses = list(product(("", "a", "a/b", "a/b/c", "d/e"), MODES))
    for _ in range(1_500):
        footprints = [normalise(random_.sample(accesses, random_.choice((1, 2)))) for _ in range(4)]
        waits_for = relation_of(footprints)
        for ended in completions(waits_for):
            assert_run(True, footprints, waits_for, ended)


# ---- properties

FLAT = ("a/1", "a/2", "b/1")
BARE_WORDS = ("a", "b", "c", "d", "")
TREE = ("", "a", "a/1", "a/2", "a/1/x", "b", "b/1/x")
DEEP = ("a/1/x/y", "a/1/x/z", "a/1", "a", "a/1/x")
LATE = ("a/1", "a/2", "b/1", "c/1/2", "c/1", "d")


# Admissions outnumber the rest, so that queues grow deep enough to lose one from the middle.
CROWDED = ("admit", "admit", "admit", "settle", "forget")


@st.composite
def programs_with_moves(draw: st.DrawFn) -> list[tuple[str, int, Footprint]]:
    keys = st.sampled_from(draw(st.sampled_from((FLAT, BARE_WORDS, TREE, DEEP, LATE))))
    modes = st.sampled_from(draw(st.sampled_from(((READ, WRITE), MODES, (READ, ADD, "max")))))
    footprints = st.lists(st.tuples(keys, modes), max_size=3).map(normalise)
    kinds = st.sampled_from((*CROWDED, "ask"))
    moves = st.tuples(kinds, st.integers(min_value=0, max_value=50), footprints)
    return draw(st.lists(moves, max_size=40))


def play(moves: list[tuple[str, int, Footprint]]) -> None:
    trial = Trial()
    for kind, number, footprint in moves:
        if kind == "admit" or not trial.live:
            trial.admit(footprint)
        elif kind == "settle":
            free = trial.free()
            trial.settle(free[number % len(free)])
        elif kind == "forget":
            trial.settle(list(trial.live)[number % len(trial.live)])
        else:
            trial.compare_questions(list(trial.live)[number % len(trial.live)])
    while trial.live:
        trial.settle(trial.free()[-1])


@settings(max_examples=150)
@given(programs_with_moves())
def test_both_schedules_keep_both_laws(moves: list[tuple[str, int, Footprint]]) -> None:
    play(moves)


@pytest.mark.parametrize(("families_max", "bare_max"), [(2, 8), (1_000, 1), (2, 1)])
def test_long_random_runs(monkeypatch: pytest.MonkeyPatch, families_max: int, bare_max: int) -> None:
    """Also with bounds so small that first segments are pooled and no long footprint stands bare."""
    monkeypatch.setattr(levels, "FAMILIES_MAX", families_max)
    monkeypatch.setattr(schedule, "BARE_ACCESSES_MAX", bare_max)
    for seed in range(40):
        random_ = random.Random(seed)
        keys = random_.choice((FLAT, BARE_WORDS, TREE, DEEP, LATE))
        modes = random_.choice(((READ, WRITE), MODES, (READ, ADD)))
        kinds = random_.choice((CROWDED, ("admit", "settle"), ("admit", "forget")))
        moves = []
        for _ in range(60):
            accesses = [(random_.choice(keys), random_.choice(modes)) for _ in range(random_.randrange(4))]
            moves.append((random_.choice((*kinds, "ask")), random_.randrange(50), normalise(accesses)))
        play(moves)


def test_followers_leave_latest_first_as_for_the_held_cone() -> None:
    """A parked event's followers go, latest first, then it goes: nothing starts by it that should not."""
    for seed in range(60):
        random_ = random.Random(seed)
        keys = random_.choice((FLAT, TREE, DEEP))
        trial = Trial()
        for _ in range(25):
            trial.admit(normalise([(random_.choice(keys), random_.choice(MODES)) for _ in range(2)]))
        parked = random_.choice(trial.free())
        for follower in reversed(trial.fast.followers(trial.live[parked][0])):
            trial.settle(follower.seq)
        free = trial.free()
        trial.settle(parked)
        assert trial.free() == [seq for seq in free if seq != parked]
        for _ in range(10):
            trial.admit(normalise([(random_.choice(keys), random_.choice(MODES)) for _ in range(2)]))
        while trial.live:
            trial.settle(random_.choice(trial.free()))


# ---- by example


def test_independents_start_while_dependents_wait() -> None:
    trial = Trial()
    for key in ("order/1", "order/2", "order/1", "order/3"):
        trial.admit(one(key))
    assert trial.free() == [1, 2, 4]
    trial.settle(1)
    assert trial.free() == [2, 3, 4]


def test_adds_go_together_and_readers_wait_for_them() -> None:
    trial = Trial()
    for mode in (ADD, ADD, READ, READ, ADD, "max"):
        trial.admit(one("stock/tea", mode))
    assert trial.free() == [1, 2]
    trial.settle(2)
    trial.settle(1)
    assert trial.free() == [3, 4]


def test_two_below_pass_each_other_but_not_a_reader_of_the_whole() -> None:
    trial = Trial()
    for key in ("order/1", "order/2"):
        trial.admit(one(key))
    trial.admit(one("order", READ))
    trial.admit(one("order/3"))
    trial.admit(one("x", READ))
    assert trial.free() == [1, 2, 5]
    trial.settle(2)
    assert trial.free() == [1, 5]
    trial.settle(1)
    assert trial.free() == [3, 5]


def test_an_ancestor_first_touched_in_mid_run_meets_what_is_there_already() -> None:
    trial = Trial()
    for number in range(5):
        trial.admit(one(f"order/{number}"))
    trial.admit(one("customer/1", READ))
    whole = trial.admit(one("order", READ))
    everything = trial.admit(EVERYTHING)
    late = trial.admit(one("customer/1", READ))
    assert trial.free() == [1, 2, 3, 4, 5, 6]
    for seq in range(1, 6):
        trial.settle(seq)
    assert trial.free() == [6, whole]
    trial.settle(6)
    trial.settle(whole)
    assert trial.free() == [everything]
    trial.settle(everything)
    assert trial.free() == [late]


def test_an_empty_footprint_waits_for_nobody_and_holds_nobody() -> None:
    trial = Trial()
    trial.admit(EVERYTHING)
    trial.admit(())
    trial.admit(EVERYTHING)
    assert trial.free() == [1, 2]
    trial.settle(2)
    trial.settle(1)
    assert trial.free() == [3]


def test_forgetting_one_in_the_middle_lets_equals_meet() -> None:
    trial = Trial()
    for mode in (READ, WRITE, READ, WRITE):
        trial.admit(one("order/1", mode))
    trial.settle(2)
    assert trial.free() == [1, 3]
    trial.settle(1)
    assert trial.free() == [3]


def test_forgetting_one_between_waiting_runs_joins_them() -> None:
    trial = Trial()
    for mode in (WRITE, READ, WRITE, READ, WRITE):
        trial.admit(one("order/1", mode))
    trial.settle(3)
    trial.settle(1)
    assert trial.free() == [2, 4]


def test_forgetting_the_latest_below_a_node_brings_back_the_one_before() -> None:
    """The group that it had replaced counts again: only that one stops who reads here and below."""
    trial = Trial()
    trial.admit(one("order/1"))
    trial.admit(one("order", READ))
    trial.admit(one("order/2"))
    trial.settle(3)
    trial.admit((Access("order", READ), Access("order/3", READ)))
    trial.admit(one("customer/1"))
    assert trial.free() == [1, 5]
    trial.settle(1)
    assert trial.free() == [2, 4, 5]


def test_those_that_start_come_by_seq_from_whatever_key() -> None:
    for blocked in (False, True):
        trial = Trial()
        if blocked:
            trial.admit(one("a/1"))
        middle = trial.admit(normalise((key, WRITE) for key in ("a/1", "b/1", "c/1")))
        trial.admit(one("c/1"))
        trial.admit(one("b/1"))
        trial.settle(middle)  # compares the list, not only the set
        assert trial.free()[-2:] == [middle + 1, middle + 2]


def test_a_long_footprint_is_settled_key_by_key() -> None:
    trial = Trial()
    wide = normalise((f"stock/{number}", WRITE if number % 2 else ADD) for number in range(40))
    trial.admit(wide)
    trial.admit(one("stock/2", ADD))
    trial.admit(one("stock/3"))
    trial.admit(wide)
    assert trial.free() == [1, 2]
    trial.settle(1)
    assert trial.free() == [2, 3]


def test_why_it_waits_names_the_earliest_first() -> None:
    chosen: Schedule[str] = Schedule()
    created = chosen.admit((Access("order/42", WRITE), Access("customer/7", READ)), "created")
    paid = chosen.admit(one("order/42"), "paid")
    other = chosen.admit(one("order/43"), "other")
    shipped = chosen.admit((Access("order/42", WRITE), Access("customer/7", WRITE)), "shipped")
    whole = Access("order/42", WRITE)
    assert chosen.blockers(created) == chosen.blockers(other) == []
    assert chosen.blockers(paid) == [(whole, created, whole)]
    assert [(x.key, ticket.item) for x, ticket, _ in chosen.blockers(shipped)] == [
        ("order/42", "created"),
        ("customer/7", "created"),
        ("order/42", "paid"),
    ]
    assert len(chosen.blockers(shipped, limit=1)) == 1


def test_the_keys_with_the_most_waiting_come_first() -> None:
    chosen: Schedule[int] = Schedule()
    for number in range(9):
        chosen.admit(one("hot/1"), number)
        chosen.admit(one(f"cold/{number}"), number)
    for number in range(3):
        chosen.admit(one("warm/1", ADD if number else READ), number)
    assert chosen.waiting_by_key() == [("hot/1", 8), ("warm/1", 2)]
    chosen.admit(EVERYTHING, 0)
    assert chosen.waiting_by_key() == [("hot/1", 8), ("warm/1", 2), ("", 1)]
    assert chosen.waiting_by_key(limit=1) == [("hot/1", 8)]


def test_settling_twice_is_a_programmer_error() -> None:
    chosen: Schedule[None] = Schedule()
    ticket = chosen.admit(one("a/1"), None)
    chosen.settle(ticket)
    with pytest.raises(AssertionError, match="settled twice"):
        chosen.settle(ticket)
