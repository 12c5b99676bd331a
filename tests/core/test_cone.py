"""The held cone: by example, and in a thousand random lives of a partition."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

from commute.core.cone import Cone
from commute.core.footprint import ADD, EVERYTHING, READ, WRITE, Footprint, normalise


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cone_model = load(Path(__file__).parents[2] / "benchmarks" / "cone_model.py")


def w(*keys: str) -> Footprint:
    return normalise((key, WRITE) for key in keys)


def r(*keys: str) -> Footprint:
    return normalise((key, READ) for key in keys)


@pytest.mark.parametrize("part", range(4))
def test_random_lives_lose_nothing_reorder_nothing_and_get_stuck_nowhere(part: int) -> None:
    held = 0
    for seed in range(part * 250, part * 250 + 250):
        life = cone_model.model(seed, deep=seed % 5 == 0)
        life.live(60)
        held += life.holds
    assert held > 500  # else the lives show nothing


@pytest.mark.parametrize("rule", ["stays_until_outcome", "holds_followers", "checks_transitively"])
def test_each_rule_is_needed_without_it_events_overtake(rule: str) -> None:
    _, overtaken = cone_model.faults(range(150), cone_model.Rules(**{rule: False}))
    assert overtaken > 0


def test_the_example_of_the_module() -> None:
    cone = Cone(100)
    cone.park(5, w("a"))
    cone.hold(7, w("a", "b"))
    cone.hold(9, w("b"))
    cone.park(12, w("d"))
    cone.hold(15, w("b", "d"))
    assert cone.catches(w("c")) is None
    assert (cone.catches(w("b")), cone.catches(w("d", "b")), cone.catches(w("d"))) == (7, 7, 12)
    assert (cone.catches(w("b"), before=7), cone.catches(w("b"), before=8)) == (None, 7)
    assert cone.behind(5) == [7, 9, 15]
    assert cone.freed_by(5) == [7, 9]
    assert cone.holders(15) == [5, 12]
    assert (cone.parked, cone.held, len(cone)) == ([5, 12], [7, 9, 15], 5)
    assert cone.replayable() == []
    cone.remove(5)
    assert cone.replayable() == [7]
    cone.replaying(7)
    assert cone.replayable() == []  # 9 waits until 7 has its outcome
    assert cone.catches(w("a")) == 7  # and so does what arrives meanwhile
    cone.remove(7)
    assert cone.catches(w("a")) is None
    assert cone.replayable() == [9]
    cone.replaying(9)
    cone.remove(9)
    assert cone.replayable() == []
    cone.ask_retry(12)
    assert cone.replayable() == [12]


def test_independent_and_compatible_events_are_replayed_together() -> None:
    cone = Cone(100)
    cone.park(1, w("stock"))
    for position in range(2, 6):
        cone.hold(position, normalise([("stock", ADD), (f"order/{position}", WRITE)]))
    cone.hold(6, r("stock"))
    cone.hold(7, w("order"))
    assert cone.catches(normalise([("other", ADD)])) is None
    cone.remove(1)
    assert cone.replayable() == [2, 3, 4, 5]
    assert cone.replayable(limit=2) == [2, 3]
    assert cone.replayable(below=4) == [2, 3]
    for position in (3, 2, 5):
        cone.replaying(position)
        cone.remove(position)
    assert cone.replayable() == [4]
    cone.replaying(4)
    cone.remove(4)
    assert cone.replayable() == [6, 7]


def test_a_replay_that_fails_parks_again_and_frees_nothing() -> None:
    cone = Cone(100)
    cone.park(1, w("a"))
    cone.hold(2, w("a"))
    cone.ask_retry(1)
    cone.ask_retry(1)
    cone.replaying(1)
    assert cone.is_replaying(1)
    assert cone.catches(w("a")) == 1
    cone.park(1, w("a"))
    assert not cone.is_replaying(1)
    assert cone.replayable() == []
    assert (cone.parked, cone.held) == ([1], [2])


def test_a_replay_that_never_began_is_wanted_again() -> None:
    cone = Cone(100)
    cone.park(3, w("a"))
    cone.hold(4, w("b"))
    cone.ask_retry(3)
    for position in (3, 4):
        cone.replaying(position)
        cone.hold(position, cone_model.EVERYTHING)  # the footprint that was given first counts
    assert (cone.state(3), cone.state(4), cone.state(5)) == ("parked", "held", None)
    assert cone.replayable() == [3, 4]


def test_parking_takes_the_wish_back_and_holding_does_not_make_one() -> None:
    cone = Cone(100)
    cone.park(1, w("a"))
    cone.hold(1, w("a"))
    assert cone.replayable() == []
    cone.ask_retry(1)
    assert cone.replayable() == [1]
    cone.park(1, w("a"))
    assert cone.replayable() == []
    cone.ask_retry(1)
    assert cone.replayable() == [1]


def test_of_what_is_behind_only_the_held_are_named() -> None:
    cone = Cone(100)
    cone.park(1, w("a"))
    cone.park(2, w("a", "b"))  # with footprints of an older version of the program
    cone.hold(3, w("b"))
    assert cone.behind(1) == [3]
    assert cone.freed_by(1) == []
    assert cone.freed_by(2) == [3]  # it waits for 1 through 2 alone
    assert cone.holders(3) == [1, 2]


def test_what_parks_at_a_lower_position_stands_before_a_candidate() -> None:
    cone = Cone(100)
    cone.park(4, w("a"))
    cone.hold(6, w("a", "b"))
    cone.remove(4)
    assert cone.replayable() == [6]
    cone.park(5, w("b"))
    assert cone.replayable() == []
    cone.remove(5)
    assert cone.replayable() == [6]


def test_only_what_is_wanted_may_be_replayed_and_once() -> None:
    cone = Cone(100)
    cone.park(1, w("a"))
    with pytest.raises(AssertionError, match="nobody asked"):
        cone.replaying(1)
    cone.ask_retry(1)
    cone.replaying(1)
    with pytest.raises(AssertionError, match="replayed already"):
        cone.replaying(1)


def test_a_full_cone_pauses_the_partition() -> None:
    cone = Cone(2)
    cone.park(1, w("a"))
    assert cone.refuses(w("a")) is None
    cone.hold(5, w("a"))
    assert cone.full
    assert "2 events are parked or held" in (cone.refuses(w("z")) or "")
    assert "2 events are parked or held" in (cone.refuses(w("z"), before=6) or "")
    # After a restart an event between the two comes again; kept out, it and 5 would wait for each other.
    assert cone.refuses(w("z"), before=3) is None
    assert cone.refuses(w("a"), before=3) is None
    cone.remove(1)
    assert cone.refuses(w("z")) is None


def test_the_cone_never_holds_everything() -> None:
    cone = Cone(100)
    assert cone.refuses(EVERYTHING) is None
    cone.park(1, w("a"))
    assert cone.refuses(w("a")) is None  # held, and the rest goes on
    assert "waits for position 1" in (cone.refuses(EVERYTHING) or "")
    cone.park(2, EVERYTHING)
    assert "position 2 touches EVERYTHING" in (cone.refuses(w("z")) or "")
    assert cone.refuses(w("z"), before=2) is None
    assert cone.refuses(w("a"), before=2) is None
    assert cone.refuses(()) is None
    cone.remove(2)
    assert cone.refuses(w("z")) is None


def test_a_long_life_behind_one_parked_event_leaves_no_rubbish() -> None:
    cone = Cone(10_000)
    cone.park(0, w("stuck/0"))
    chance = random.Random(5)
    for position in range(1, 20_000):
        cone.hold(position, w(f"order/{chance.randrange(10**6)}", "order/0/x"))
        cone.replaying(position)
        cone.remove(position)
        if position % 1_000 == 0:
            cone.replayable(limit=1)
    assert len(cone) == 1
    assert len(cone._direct) == 1
    assert all(len(line.positions) < 40 for table in cone._below.values() for line in table.values())


def test_a_long_chain_is_replayed_one_by_one_looking_at_each_event_a_few_times() -> None:
    cone, looks = Cone(10_000), 0
    cone.park(0, w("hot"))
    for position in range(1, 3_000):
        cone.hold(position, w("hot", f"own/{position}"))
    cone.ask_retry(0)
    real = Cone._unblocked

    def counted(self: Cone, position: int) -> bool:
        nonlocal looks
        looks += 1
        return real(self, position)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cone, "_unblocked", counted)
        for position in range(3_000):
            assert cone.replayable(limit=8) == [position]
            cone.replaying(position)
            cone.remove(position)
    assert len(cone) == 0
    assert looks < 3 * 3_000
