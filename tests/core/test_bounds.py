"""Bounds against the longest path over the conflict relation, and list scheduling against a pairwise one."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.core.bounds import Bounds, knee, list_schedule
from commute.core.footprint import ADD, EVERYTHING, READ, WRITE, Footprint, conflicts, normalise

KEYS = ["", "a", "ab", "a/x", "a/x/1", "a/y", "b", "b/x"]
MODES = [READ, WRITE, ADD, "max"]
footprints = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(MODES)), max_size=3).map(normalise)
few_modes = st.lists(st.tuples(st.sampled_from(KEYS[1:4]), st.sampled_from(MODES[:3])), max_size=2).map(normalise)
logs = st.lists(footprints, max_size=14) | st.lists(few_modes, max_size=14)


def levels(log: list[Footprint], service_s: list[float], arrival_s: list[float]) -> tuple[list[int], list[float]]:
    depth: list[int] = []
    finish_s: list[float] = []
    for later, footprint in enumerate(log):
        before = [earlier for earlier in range(later) if conflicts(log[earlier], footprint)]
        depth.append(1 + max((depth[earlier] for earlier in before), default=0))
        ready_s = max([arrival_s[later], *(finish_s[earlier] for earlier in before)])
        finish_s.append(ready_s + service_s[later])
    return depth, finish_s


@given(logs, st.data())
def test_levels_and_finishes_are_those_of_the_longest_paths(log: list[Footprint], data: st.DataObject) -> None:
    times = st.lists(st.integers(0, 9).map(float), min_size=len(log), max_size=len(log))
    service_s, arrival_s = data.draw(times), data.draw(times)
    depth, finish_s = levels(log, service_s, arrival_s)
    bounds = Bounds()
    assert [bounds.add(*event) for event in zip(log, service_s, arrival_s, strict=True)] == depth
    assert bounds.chain_events == max(depth, default=0)
    assert bounds.heaviest_chain_s == max(finish_s, default=0.0)
    assert bounds.total_s == sum(service_s)
    assert bounds.events == len(log)
    assert bounds.lower_bound_s(3) == max(bounds.heaviest_chain_s, bounds.total_s / 3)
    if log:
        assert bounds.bound == len(log) / max(depth)
    carried = bounds.chain_key()
    assert (carried is None) == (bounds.chain_events < 2)
    if carried is not None:
        assert 2 <= carried[1] <= bounds.chain_events


def w(*keys: str) -> Footprint:
    return normalise((key, WRITE) for key in keys)


def r(*keys: str) -> Footprint:
    return normalise((key, READ) for key in keys)


def test_readers_run_together_and_the_writer_after_them_waits_for_the_slowest() -> None:
    bounds = Bounds()
    assert bounds.add(w("x"), 1.0) == 1
    assert bounds.add(r("x"), 5.0) == 2
    assert bounds.add(r("x"), 1.0) == 2
    assert bounds.add(w("x"), 1.0) == 3
    assert bounds.heaviest_chain_s == 7.0
    assert bounds.total_s == 8.0
    assert bounds.lower_bound_s(1) == 8.0
    assert bounds.lower_bound_s(8) == 7.0
    assert bounds.efficiency(14.0, 8) == 0.5
    assert bounds.speedup(4.0) == 2.0


def test_the_chain_names_the_key_that_carries_it() -> None:
    bounds = Bounds()
    for number in range(10):
        bounds.add(w(f"order/{number}", "customer/3"))
    bounds.add(w("order/9", "shelf/1"))
    bounds.add(w("shelf/1"))
    assert bounds.chain_events == 12
    assert bounds.chain_key() == ("customer/3", 10)
    bounds = Bounds()
    for footprint in (w("a/1"), EVERYTHING, w("b/1"), EVERYTHING):
        bounds.add(footprint)
    assert bounds.chain_key() == ("", 4)


def test_an_empty_run_has_bounds_too() -> None:
    bounds = Bounds()
    assert (bounds.bound, bounds.lower_bound_s(1), bounds.efficiency(0.0, 1), bounds.speedup(0.0)) == (
        0,
        0,
        1,
        1,
    )
    assert bounds.chain_key() is None
    assert list_schedule([], 1, 1) == 0


def pairwise_list_schedule(log: list[Footprint], concurrency: int, lookahead: int) -> int:
    admitted: list[int] = []
    following = steps = 0
    while admitted or following < len(log):
        while following < len(log) and len(admitted) < lookahead:
            admitted.append(following)
            following += 1
        ready = [e for e in admitted if not any(conflicts(log[d], log[e]) for d in admitted if d < e)]
        for event in ready[:concurrency]:
            admitted.remove(event)
        steps += 1
    return steps


@given(logs, st.integers(1, 4), st.integers(1, 15))
def test_list_scheduling_is_greedy_in_log_sequence(log: list[Footprint], concurrency: int, lookahead: int) -> None:
    assert list_schedule(log, concurrency, lookahead) == pairwise_list_schedule(log, concurrency, lookahead)


def test_independent_events_share_a_step_and_dependent_ones_do_not() -> None:
    assert list_schedule([w(str(key)) for key in range(8)], 8, 8) == 1
    assert list_schedule([w(str(key)) for key in range(8)], 8, 2) == 4
    assert list_schedule([w("x")] * 8, 8, 8) == 8


LOGS = Path(os.environ.get("COMMUTE_LOGS", Path(__file__).parents[2] / "../shared/data"))


@pytest.mark.parametrize("name", ["oltp-rubis", "git-pm4py"])
def test_real_logs_have_the_chains_that_an_independent_program_found(name: str) -> None:
    if not LOGS.is_dir():
        pytest.skip(f"no event logs in {LOGS}; COMMUTE_LOGS names their folder")
    [path] = (LOGS / name).glob("*.jsonl.gz")
    modes = {"r": READ, "w": WRITE, "a": ADD}
    with gzip.open(path, "rt") as lines:
        events = [json.loads(line)["objects"] for line in lines]
    for cut in json.loads((LOGS / "facts.json").read_text())[name]["cuts"]:
        log = [
            normalise(
                (f"{kind}/{object_id}", READ if kind in cut["read_only_types"] else modes[mode[0]])
                for kind, object_id, mode in ((*item, "w")[:3] for item in objects)
            )
            for objects in events
        ]
        bounds = Bounds()
        for footprint in log:
            bounds.add(footprint)
        assert bounds.chain_events == cut["longest_chain_events"]
        assert round(bounds.bound, 2) == cut["bound"]
        # The figures there look at 256 log positions from the first unfinished event; counting the unfinished
        # admits at least as many, so it may be faster and is never slower.
        assert round(len(log) / list_schedule(log, 8, 256), 2) >= cut["list_schedule_8_lookahead_256"]


def test_the_knee_is_where_further_workers_bring_little() -> None:
    assert knee({1: 1.0, 2: 2.0, 4: 3.9, 8: 4.2, 16: 4.3}) == 4
    assert knee({2: 2.0, 4: 4.0, 8: 7.9, 16: 9.4, 32: 9.4}) == 8
    assert knee({2: 2.0, 4: 4.0}) == 4, "nothing says that more bring little"
    assert knee({4: 1.9, 1: 1.0, 2: 1.9}) == 2, "whatever the sequence"
    assert knee({10: 10.0, 12: 11.7, 13: 11.8}) == 12, "each further worker counts where the numbers are no doublings"
    assert knee({3: 2.5}) == 3
    assert knee({}) is None
