"""Random lives of one partition with a held cone, judged by the history checker and by pairwise comparison.

A model engine, with a schedule that compares every pair, takes in a random log and runs it; attempts succeed,
park or are skipped; an operator retries, skips and drops what is parked; the worker dies and starts again.
Afterwards nothing may be stuck, lost or out of sequence, and the cone must have said at every moment what
pairwise comparison says. The tests run a thousand lives, this script as many as asked for:

    python benchmarks/cone_model.py [--runs 20000] [--seed 0] [--chain 100000]

`--chain` measures a parked event with that many held behind it on one key, retried and replayed one by one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from dataclasses import dataclass, field

from commute.core.cone import Cone
from commute.core.footprint import ADD, EVERYTHING, READ, WRITE, Footprint, conflicts, normalise
from commute.core.history import Ending, History, Verdict

KEYS = ("a", "a/x", "a/y", "b", "b/x", "c", "d", "e", "f")


def random_footprint(chance: random.Random) -> Footprint:
    if chance.random() < 0.02:
        return EVERYTHING if chance.random() < 0.7 else ()
    keys = chance.sample(KEYS, chance.choice((1, 1, 2, 3)))
    return normalise((key, chance.choice((READ, WRITE, WRITE, ADD, "max"))) for key in keys)


class BruteSchedule:
    """Admitted events; one may start when none admitted before it, and not yet settled, conflicts."""

    def __init__(self) -> None:
        self.live: dict[int, Footprint] = {}  # in the sequence of admission

    def ready(self, position: int) -> bool:
        for earlier, footprint in self.live.items():
            if earlier == position:
                return True
            if conflicts(footprint, self.live[position]):
                return False
        raise KeyError(position)

    def followers(self, position: int) -> list[int]:
        """Those that wait for the event, directly or for one that does."""
        found, seen = [position], False
        for later, footprint in self.live.items():
            if seen and any(conflicts(self.live[earlier], footprint) for earlier in found):
                found.append(later)
            seen = seen or later == position
        return found[1:]


@dataclass
class Rules:
    """The engine's rules; each one that is switched off is a mistake that the judges must find."""

    stays_until_outcome: bool = True  # a replayed event leaves the cone at its outcome, not at its admission
    replays_what_was_read: bool = True  # after a restart nothing is replayed beyond the position of the intake
    holds_followers: bool = True  # when an event parks, what waits for it is held in the same step
    checks_transitively: bool = True  # an arriving event is compared with the held events too


@dataclass
class Model:
    """One partition of one worker; what survives a death is durable."""

    chance: random.Random
    log: dict[int, Footprint]
    held_max: int
    concurrency: int
    rules: Rules = field(default_factory=Rules)
    deep: bool = False  # compare every answer of the cone with pairwise comparison
    durable: dict[int, bool] = field(default_factory=dict)  # parked and held: whether parked
    settled: set[int] = field(default_factory=set)  # those that the broker does not deliver again
    outcomes: dict[int, Ending] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    holds: int = 0
    overtakes: int = 0  # starts before an earlier conflicting event had its outcome

    def start(self) -> None:
        self.cone = Cone(self.held_max)
        self.schedule = BruteSchedule()
        self.history = History()
        self.released: list[int] = []
        self.running: list[int] = []
        self.asked: set[int] = set()
        for position in sorted(self.durable):
            enter = self.cone.park if self.durable[position] else self.cone.hold
            enter(position, self.log[position])
            self.history.hold(position, self.log[position])
        self.intake = [position for position in self.log if position not in self.settled][::-1]

    def die(self) -> None:
        self.verdicts.append(self.history.check())
        self.start()

    def release(self) -> None:
        for position in self.schedule.live:
            started = position in self.running or position in self.released
            if not started and self.schedule.ready(position):
                self.released.append(position)
                self.history.release(position)

    def admit(self, position: int) -> None:
        self.schedule.live[position] = self.log[position]
        self.history.admit(position, self.log[position])
        self.release()

    def arrive(self) -> bool:
        """Take in the next event of the log; False where the partition is paused or the log is read."""
        if not self.intake or self.cone.refuses(self.log[self.intake[-1]], before=self.intake[-1]):
            return False
        position = self.intake.pop()
        caught = self.cone.catches(self.log[position], before=position)
        if caught is not None and not self.rules.checks_transitively and self.cone.state(caught) == "held":
            caught = None
        if caught is None:
            self.admit(position)
        else:
            self.hold(position)
        return True

    def hold(self, position: int) -> None:
        self.cone.hold(position, self.log[position])
        self.durable.setdefault(position, False)
        self.settled.add(position)
        self.history.hold(position, self.log[position])
        self.holds += 1

    def replay(self) -> bool:
        below = self.intake[-1] if self.intake and self.rules.replays_what_was_read else None
        found = self.cone.replayable(limit=self.chance.choice((None, 1, 2)), below=below)
        for position in found:
            self.cone.replaying(position)
            if not self.rules.stays_until_outcome:
                self.cone.remove(position)
                del self.durable[position]
            self.admit(position)
        return bool(found)

    def begin(self) -> bool:
        if not self.released or len(self.running) >= self.concurrency:
            return False
        position = self.released.pop(self.chance.randrange(len(self.released)))
        self.running.append(position)
        self.history.start(position)
        # Over all lives, where a history knows its own only.
        if any(
            p < position and p not in self.outcomes and conflicts(self.log[p], self.log[position]) for p in self.log
        ):
            self.overtakes += 1
        return True

    def finish(self, failure_rate: float) -> bool:
        if not self.running:
            return False
        position = self.running.pop(self.chance.randrange(len(self.running)))
        if self.chance.random() >= failure_rate:
            self.leave(position, "processed")
        elif self.chance.random() < 0.2:
            self.leave(position, "skipped")
        else:
            self.park(position)
        return True

    def park(self, position: int) -> None:
        followers = self.schedule.followers(position)
        del self.schedule.live[position]
        self.cone.park(position, self.log[position])
        self.asked.discard(position)
        self.durable[position] = True
        self.settled.add(position)
        self.history.hold(position)
        if self.rules.holds_followers:
            for follower in followers:
                assert follower not in self.running
                assert follower not in self.released
                del self.schedule.live[follower]
                self.hold(follower)
        self.release()

    def leave(self, position: int, ending: Ending) -> None:
        """The event has its outcome, from a run or by the operator."""
        assert position not in self.outcomes
        self.outcomes[position] = ending
        self.settled.add(position)
        self.durable.pop(position, None)
        self.asked.discard(position)
        if position in self.cone:
            self.cone.remove(position)
        self.history.end(position, ending)
        if self.schedule.live.pop(position, None) is not None:
            self.release()

    def operate(self) -> bool:
        """Retry, skip or drop something that is parked, or drop something held."""
        idle = [p for p in self.cone.parked if not self.cone.is_replaying(p)]
        if self.chance.random() < 0.05:
            idle += [p for p in self.cone.held if not self.cone.is_replaying(p)]
        if not idle:
            return False
        position = self.chance.choice(idle)
        if self.chance.random() < 0.7:
            if self.cone.state(position) == "parked":
                self.cone.ask_retry(position)
                self.asked.add(position)
        else:
            freed = self.cone.freed_by(position)
            self.leave(position, self.chance.choice(("skipped", "dropped")))
            assert not any(self.cone.holders(p) for p in freed)
        return True

    def compare(self) -> None:
        """Every answer of the cone against pairwise comparison."""
        inside = sorted(self.durable)
        assert (self.cone.parked, self.cone.held) == (
            [p for p in inside if self.durable[p]],
            [p for p in inside if not self.durable[p]],
        )
        blocked = {p: [q for q in inside if q < p and conflicts(self.log[q], self.log[p])] for p in inside}
        wanted = [p for p in inside if not self.durable[p] or p in self.asked]
        free = [p for p in wanted if not blocked[p] and not self.cone.is_replaying(p)]
        assert self.cone.replayable() == free
        assert self.cone.replayable(limit=2) == free[:2]
        footprint = random_footprint(self.chance)
        before = self.chance.choice([None, *self.log])
        caught = [p for p in inside if conflicts(self.log[p], footprint) and (before is None or p < before)]
        assert self.cone.catches(footprint, before) == (caught[0] if caught else None)
        over: dict[int, set[int]] = {}  # all that an event waits for
        for p in inside:
            over[p] = {r for q in blocked[p] for r in (q, *over[q])}
        for p in inside:
            assert self.cone.holders(p) == sorted(q for q in over[p] if self.durable[q])
            assert self.cone.behind(p) == [q for q in inside if p in over[q] and not self.durable[q]]

    def step(self) -> None:
        draw = self.chance.random()
        if draw < 0.3:
            self.arrive()
        elif draw < 0.55:
            self.begin()
        elif draw < 0.8:
            self.finish(0.3)
        elif draw < 0.9:
            self.replay()
        elif draw < 0.98:
            self.operate()
        else:
            self.die()
        if self.deep:
            self.compare()

    def settle_the_rest(self) -> None:
        """Run until nothing moves without the operator: only what is parked and what waits for it is left."""
        while self.arrive() or self.replay() or self.begin() or self.finish(0.1):
            pass
        assert not self.schedule.live, f"stuck: {list(self.schedule.live)}"
        assert not self.intake or self.cone.refuses(self.log[self.intake[-1]], self.intake[-1])
        paused = self.log[self.intake[-1]] if self.intake else ()  # what waits for the intake is not stuck
        idle = [p for p in self.cone.held if not self.cone.holders(p) and not conflicts(paused, self.log[p])]
        assert not idle, f"held by nothing: {idle}"
        assert len(self.outcomes) + len(self.cone) + len(self.intake) == len(self.log), "lost"

    def live(self, steps: int) -> None:
        """A whole life; raises AssertionError where it is not as it must be."""
        self.start()
        for _ in range(steps):
            self.step()
        self.settle_the_rest()
        while self.operate():
            self.settle_the_rest()
        self.verdicts.append(self.history.check())
        assert len(self.outcomes) == len(self.log), "stuck at the end"
        assert not self.verdicts[-1].unfinished
        assert not self.overtakes
        for verdict in self.verdicts:
            assert verdict.ok, (verdict.violations, verdict.false_waits)


def model(seed: int, *, deep: bool = False, rules: Rules | None = None) -> Model:
    """A random partition; everything in it follows from the seed."""
    chance = random.Random(seed)
    position, log = 0, dict[int, Footprint]()
    for _ in range(chance.randrange(4, 30)):
        position += chance.choice((1, 1, 1, 5))
        log[position] = random_footprint(chance)
    return Model(
        chance,
        log,
        held_max=chance.choice((3, 100, 100, 100)),
        concurrency=chance.choice((1, 2, 4)),
        rules=rules or Rules(),
        deep=deep,
    )


def faults(seeds: range, rules: Rules) -> tuple[int, int]:
    """How many lives break under these rules, and in how many of them events overtake."""
    broken = reordered = 0
    for seed in seeds:
        life = model(seed, rules=rules)
        try:
            life.live(60)
        except (AssertionError, KeyError):
            broken += 1
            reordered += life.overtakes > 0
    return broken, reordered


def chain_s(count: int) -> float:
    """Seconds to hold `count` events behind a parked one on one key, retry it and replay all of them."""
    cone = Cone(count + 2)
    start_s = time.perf_counter()
    cone.park(0, (normalise([("hot/1", WRITE)])))
    for position in range(1, count + 1):
        footprint = normalise([("hot/1", WRITE), (f"own/{position}", WRITE)])
        assert cone.catches(footprint) == 0
        cone.hold(position, footprint)
    cone.ask_retry(0)
    for position in range(count + 1):
        assert cone.replayable(limit=32) == [position]
        cone.replaying(position)
        cone.remove(position)
    assert not len(cone)
    return time.perf_counter() - start_s


def main() -> int:
    options = argparse.ArgumentParser(description="Random lives of a partition with a held cone.")
    options.add_argument("--runs", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--chain", type=int, default=100_000)
    given = options.parse_args()
    start_s, events, holds, pairs = time.perf_counter(), 0, 0, 0
    for seed in range(given.seed, given.seed + given.runs):
        life = model(seed, deep=seed % 10 == 0)
        try:
            life.live(60)
        except AssertionError:
            print(f"seed {seed} breaks: python benchmarks/cone_model.py --runs 1 --seed {seed}")
            raise
        events += len(life.log)
        holds += life.holds
        pairs += sum(verdict.dependent_pairs for verdict in life.verdicts)
    elapsed_s = time.perf_counter() - start_s
    print(f"{given.runs:,} lives, {events:,} events, {pairs:,} dependent pairs, {holds:,} times held: ", end="")
    print(f"0 violations, 0 false waits, none stuck, none lost; {elapsed_s:.0f} s")
    for count in (given.chain // 10, given.chain):
        took_s = statistics.median(chain_s(count) for _ in range(3))
        print(f"{count:,} held behind one key, retried: {took_s:.2f} s, {took_s / count * 1e6:.1f} us an event")
    return 0


if __name__ == "__main__":
    sys.exit(main())
