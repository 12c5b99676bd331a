"""The checker finds what was planted, and agrees with pairwise checking on right and on faulty histories."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commute.core.footprint import ADD, EVERYTHING, READ, WRITE, Footprint, conflicts, normalise
from commute.core.history import Conflicts, FalseWait, History, Violation, check

KEYS = ["a", "a/x", "a/x/1", "ab", "b", "c"]
KINDS = ["admit", "release", "start", "end", "discard", "hold"]


def w(*keys: str) -> Footprint:
    return normalise((key, WRITE) for key in keys)


def r(*keys: str) -> Footprint:
    return normalise((key, READ) for key in keys)


class Pairwise:
    """The same questions, asked of every pair after every record; positions are event numbers."""

    def __init__(self, log: dict[int, Footprint]) -> None:
        self.log = log
        self.here: set[int] = set()  # in the schedule
        self.released: set[int] = set()
        self.started: set[int] = set()
        self.ended: set[int] = set()
        self.due: dict[int, tuple[int, bool]] = {}  # -> record, and whether a hold may still answer it
        self.told: set[int] = set()  # false waits already named, until the next admission
        self.violations: list[Violation] = []
        self.false_waits: list[FalseWait] = []

    def blame(self, condition: bool, violation: Violation) -> bool:
        if condition:
            self.violations.append(violation)
        return condition

    def note(self, number: int, kind: str, event: int) -> None:
        for late, (since, after_hold) in list(self.due.items()):
            if kind != "release" and not (after_hold and kind == "hold"):
                self.false_waits.append(FalseWait(late, since))
                self.told.add(late)
                del self.due[late]
        over = kind in ("admit", "start", "hold") and event in self.ended
        if not self.blame(over, Violation("run after its end", event, None, number)):
            getattr(self, kind)(number, event)
        for free in sorted(self.here - self.released - self.told - set(self.due)):
            if not any(p < free and conflicts(self.log[p], self.log[free]) for p in self.here):
                self.due[free] = (number, kind == "hold")
        self.due = {event: since for event, since in self.due.items() if event in self.here - self.released}

    def admit(self, number: int, event: int) -> None:
        if not self.blame(event in self.here, Violation("admitted twice", event, None, number)):
            self.here.add(event)
            self.released.discard(event)
            self.started.discard(event)
            self.told.discard(event)

    def release(self, number: int, event: int) -> None:
        if event in self.here:
            self.released.add(event)

    def start(self, number: int, event: int) -> None:
        self.blame(event not in self.released, Violation("start without release", event, None, number))
        before = [p for p in sorted(self.log) if p < event and conflicts(self.log[p], self.log[event])]
        other = next((p for p in before if p not in self.ended), None)
        if other is not None:
            kind = "overlapped" if other in self.started else "overtook"
            self.blame(True, Violation(kind, event, other, number))  # type: ignore[arg-type]
        self.started.add(event)

    def end(self, number: int, event: int) -> None:
        if event not in self.started and event not in self.ended:
            self.blame(True, Violation("end without start", event, None, number))
        self.discard(number, event)

    def discard(self, number: int, event: int) -> None:
        self.blame(event in self.ended, Violation("ended twice", event, None, number))
        self.ended.add(event)
        self.here.discard(event)
        self.released.discard(event)

    def hold(self, number: int, event: int) -> None:
        self.here.discard(event)
        self.released.discard(event)
        self.started.discard(event)

    def close(self) -> None:
        self.false_waits += [FalseWait(event, since) for event, (since, _) in self.due.items()]


Records = list[tuple[str, int]]


def tell(history: History, kind: str, event: int, footprint: Footprint) -> None:
    if kind == "admit":
        history.admit(event, footprint)
    elif kind == "release":
        history.release(event)
    elif kind == "start":
        history.start(event)
    elif kind == "end":
        history.end(event)
    elif kind == "discard":
        history.end(event, "dropped")
    else:
        history.hold(event, footprint)


def recorded(log: dict[int, Footprint], records: Records) -> History:
    history = History()
    history.footprints.update(log)  # spoiled records may name an event that was never admitted
    for kind, event in records:
        tell(history, kind, event, log[event])
    return history


def agree(log: dict[int, Footprint], records: Records) -> tuple[int, int]:
    verdict = recorded(log, records).check()
    known = {event: log[event] for event in {event for _, event in records}}
    oracle = Pairwise(known)
    for number, (kind, event) in enumerate(records):
        oracle.note(number, kind, event)
    oracle.close()
    assert list(verdict.violations) == oracle.violations
    assert sorted((f.record, f.event) for f in verdict.false_waits) == sorted(
        (f.record, f.event) for f in oracle.false_waits
    )
    assert verdict.unfinished == len(known) - len(oracle.ended)
    return len(verdict.violations), len(verdict.false_waits)


def random_log(chance: random.Random) -> dict[int, Footprint]:
    log, position = {}, 0
    for _ in range(chance.randrange(2, 9)):
        position += chance.choice((1, 1, 4))
        keys = chance.sample(KEYS, chance.choice((1, 1, 2, 3)))
        log[position] = normalise((key, chance.choice((READ, WRITE, ADD, "max"))) for key in keys)
        if chance.random() < 0.05:
            log[position] = EVERYTHING
    return log


def right_run(log: dict[int, Footprint], chance: random.Random) -> Records:
    """A run by a schedule that compares every pair; some events park, with all that waits, and come back."""
    records: Records = []
    live: list[int] = []  # in the sequence of admission
    parked: list[int] = []
    released, running, intake = set[int](), set[int](), sorted(log, reverse=True)

    def settle() -> None:
        for place, event in enumerate(live):
            if event not in released and not any(conflicts(log[p], log[event]) for p in live[:place]):
                released.add(event)
                records.append(("release", event))

    def hold(event: int) -> None:
        live.remove(event)
        released.discard(event)
        running.discard(event)
        parked.append(event)
        records.append(("hold", event))

    while intake or live or parked:
        draw = chance.random()
        if draw < 0.3 and intake:
            event = intake.pop()
            if any(conflicts(log[p], log[event]) for p in parked):
                parked.append(event)
                records.append(("hold", event))
                continue
            live.append(event)
            records.append(("admit", event))
        elif draw < 0.5 and released - running:
            event = chance.choice(sorted(released - running))
            running.add(event)
            records.append(("start", event))
            continue
        elif draw < 0.7 and running:
            event = chance.choice(sorted(running))
            if chance.random() < 0.3:
                gone = [event]
                for later in live[live.index(event) + 1 :]:
                    if any(conflicts(log[p], log[later]) for p in gone):
                        gone.append(later)
                for leaving in gone:
                    hold(leaving)
            else:
                live.remove(event)
                released.discard(event)
                running.discard(event)
                records.append(("end", event))
        elif draw < 0.8 and parked:
            event = min(parked)
            parked.remove(event)
            if chance.random() < 0.3:
                records.append(("discard", event))
            elif intake and intake[-1] < max([event, *parked]):
                parked.append(event)
            elif any(conflicts(log[event], log[p]) for p in live) or parked:
                # A replay with others in the cone behind it: it runs to its end before anything else happens.
                if any(conflicts(log[event], log[p]) for p in live):
                    parked.append(event)
                    continue
                records.extend((kind, event) for kind in ("admit", "release", "start", "end"))
            else:
                live.append(event)
                records.append(("admit", event))
        settle()
    return records


def spoiled(records: Records, chance: random.Random) -> Records:
    records = records.copy()
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(records))
        how = chance.random()
        if how < 0.35:
            del records[at]
        elif how < 0.6:
            records.insert(chance.randrange(len(records)), records.pop(at))
        elif how < 0.8:
            records.insert(chance.randrange(len(records)), records[at])
        else:
            records[at] = (chance.choice(KINDS), records[at][1])
        if not records:
            return [("admit", 1)]
    return records


def test_right_runs_are_right_and_spoiled_ones_are_judged_as_pairwise_checking_does() -> None:
    violations = false_waits = 0
    for seed in range(3_000):
        chance = random.Random(seed)
        log = random_log(chance)
        records = right_run(log, chance)
        assert agree(log, records) == (0, 0), seed
        log[1] = log.get(1, w("a"))
        found = agree(log, spoiled(records, chance))
        violations += found[0] > 0
        false_waits += found[1] > 0
    assert violations > 500
    assert false_waits > 500


@settings(max_examples=400)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["", *KEYS]), st.sampled_from([READ, WRITE, ADD])), max_size=3).map(
            normalise
        ),
        min_size=1,
        max_size=5,
    ),
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 4)), max_size=30),
)
def test_any_records_are_judged_as_pairwise_checking_does(footprints: list[Footprint], records: Records) -> None:
    log = dict(enumerate(footprints))
    agree(log, [(kind, event % len(log)) for kind, event in records])


def planted(log: list[Footprint], text: str) -> tuple[set[str], set[int]]:
    """Kinds of violations and events of false waits; records by first letter: "a0 r0 s0 e0"."""
    kinds = {kind[0]: kind for kind in KINDS}
    records = [(kinds[word[0]], int(word[1:])) for word in text.split()]
    verdict = recorded(dict(enumerate(log)), records).check()
    assert verdict.ok == (not verdict.violations and not verdict.false_waits)
    return {v.kind for v in verdict.violations}, {f.event for f in verdict.false_waits}


PAIR = [w("a"), w("a")]
APART = [w("a"), w("b")]


@pytest.mark.parametrize(
    ("log", "text", "violations", "false_waits"),
    [
        (PAIR, "a0 r0 a1 s0 e0 r1 s1 e1", set(), set()),
        (APART, "a0 r0 a1 r1 s1 s0 e0 e1", set(), set()),
        (PAIR, "a0 r0 a1 s0 r1 s1 e0 e1", {"overlapped"}, set()),
        (PAIR, "a0 r0 a1 r1 s1 e1 s0 e0", {"overtook"}, set()),
        (PAIR, "a1 r1 s1 e1 a0 r0 s0 e0", {"overtook"}, set()),
        (PAIR, "a0 r0 a1 s0 e0 s1 e1", {"start without release"}, {1}),
        (PAIR, "a0 r0 a1 s0 e0 r1 e1", {"end without start"}, set()),
        (PAIR, "a0 r0 a1 s0 e0 r1 d1", set(), set()),
        (APART, "a0 r0 a0 s0 e0", {"admitted twice"}, set()),
        (APART, "a0 r0 s0 e0 e0", {"ended twice"}, set()),
        (APART, "a0 r0 s0 e0 s0", {"run after its end"}, set()),
        (APART, "a0 r0 s0 s0 e0", set(), set()),  # a second attempt
        # False waits: never released; released too late; a scheduler that runs one after the other.
        (APART, "a0 r0 a1 s0 e0", set(), {1}),
        (PAIR, "a0 r0 a1 s0 e0", set(), {1}),
        (APART, "a0 r0 a1 s0 r1 e0 s1 e1", set(), {1}),
        (APART, "a0 r0 a1 s0 e0 r1 s1 e1", set(), {1}),
        ([w("a"), r("a"), r("a")], "a0 r0 a1 a2 s0 e0 r1 s1 e1 r2 s2 e2", set(), {2}),
        ([w("a"), r("a"), r("a")], "a0 r0 a1 a2 s0 e0 r2 r1 s1 e1 s2 e2", set(), set()),
        ([w("a/x"), w("a"), w("a/y")], "a0 r0 a1 a2 s0 e0 r1 s1 e1 r2 s2 e2", set(), set()),
        ([w("a/x"), w("a/y"), w("")], "a0 r0 a1 r1 a2 s0 e0 s1 e1 r2 s2 e2", set(), set()),
        ([w("a/x"), w("a/y"), w("")], "a0 r0 a1 r1 a2 s0 e0 r2 s2 e2 s1 e1", {"overtook"}, set()),
        # Parked: what waits for it is held in the same run of records, everything else goes on.
        (PAIR, "a0 r0 a1 s0 h0 h1 a0 r0 s0 e0 a1 r1 s1 e1", set(), set()),
        (PAIR, "a0 r0 a1 s0 h1 h0 a0 r0 s0 e0 a1 r1 s1 e1", set(), set()),
        (PAIR, "a0 r0 a1 s0 h0 a0 r0 s0 e0 r1 s1 e1", set(), {1}),
        (PAIR, "a0 r0 a1 s0 h0 r1 s1 e1 d0", {"overtook"}, set()),
        (PAIR, "a0 r0 s0 h0 h1 a1 r1 s1 e1 d0", {"overtook"}, set()),
        (PAIR, "a0 r0 s0 h0 h1 d0 a1 r1 s1 e1", set(), set()),
        (APART, "a0 r0 a1 s0 h0 h1", set(), {1}),
        (PAIR, "a0 r0 s0 h0 e0", {"end without start"}, set()),
        (PAIR, "a0 r0 s0 h0 a0 s0 e0", {"start without release"}, {0}),
    ],
)
def test_what_is_planted_is_found(log: list[Footprint], text: str, violations: set[str], false_waits: set[int]) -> None:
    assert planted(log, text) == (violations, false_waits)


def test_conflicts_are_judged_by_position_where_it_is_not_the_event_number() -> None:
    history = History()
    for event, position in ((0, 70), (1, 60)):
        history.admit(event, w("a"), position)
        history.release(event)
        history.start(event)
        history.end(event)
    [violation] = history.check().violations
    assert (violation.kind, violation.event, violation.other) == ("overtook", 0, 1)


def test_dependent_pairs_are_the_latest_conflicts_of_each_access_counted_once() -> None:
    log = [w("a"), w("b"), w("a", "b"), r("a"), r("a"), w("a", "b"), w("c")]
    verdict = recorded(dict(enumerate(log)), [("hold", event) for event in range(7)]).check()
    # 2 after 0 and 1; 3 and 4 after 2; 5 after 4 by a and after 2 by b.
    assert verdict.dependent_pairs == 6
    assert (verdict.events, verdict.unfinished) == (7, 7)
    assert Conflicts([w("a", "a/x")] * 2).dependent_pairs == 1  # no event depends on itself


def test_a_history_that_cannot_be_judged_is_refused() -> None:
    history = History()
    history.admit(0, w("a"), 5)
    history.admit(1, w("a"), 5)
    with pytest.raises(ValueError, match="one position"):
        history.check()
    with pytest.raises(ValueError, match="names event 0, but not its footprint"):
        check([0], {})
    assert check([], {}).ok


def test_fifty_thousand_waiting_on_one_key_are_looked_at_a_few_times_each() -> None:
    waiting = 50_000
    log = [w("hot") if event % 1_000 else r("hot") for event in range(waiting)]
    conflicts, looks = Conflicts(log), 0
    real = Conflicts.wait

    def counted(self: Conflicts, rank: int) -> bool:
        nonlocal looks
        looks += 1
        return real(self, rank)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conflicts, "wait", counted)
        for rank in range(waiting):
            conflicts.insert(rank)
            assert conflicts.wait(rank) == (rank == 0)
        for rank in range(waiting):
            assert conflicts.remove(rank) == ([rank + 1] if rank + 1 < waiting else [])
    assert looks < 4 * waiting
