"""Predictions: the real schedule in virtual time, against a plain simulation and what can be counted by hand."""

from __future__ import annotations

from random import Random

import pytest

from commute.analysis.prediction import Services, at_best, makespan_s, predict
from commute.analysis.workload import Workload
from commute.core.bounds import list_schedule
from commute.core.footprint import WRITE, Access, Footprint, conflicts
from tests.analysis.test_brute import random_log


def _writes(*keys: str) -> Footprint:
    return tuple(Access(key, WRITE) for key in keys)


def _plain_s(log: Workload, service_s: list[float], workers: int, lookahead: int, prepare_s: list[float]) -> float:
    """The same by looking at all pairs, one instant after the other."""
    waiting = list(range(log.events))
    admitted: list[int] = []
    prepared = {event for event in waiting if not prepare_s[event]}
    running: dict[tuple[int, bool], float] = {}
    now_s = 0.0
    while True:
        while waiting and len(admitted) < lookahead:
            admitted.append(waiting.pop(0))
        busy = {event for event, _ in running}
        free = [e for e in admitted if e not in busy]
        ready = [
            e
            for e in free
            if e in prepared
            and not any(other < e and conflicts(log.footprints[other], log.footprints[e]) for other in admitted)
        ]
        jobs = [(e, True) for e in ready] + [(e, False) for e in free if e not in prepared]
        for job in jobs[: workers - len(running)]:
            running[job] = now_s + (service_s if job[1] else prepare_s)[job[0]]
        if not running:
            return now_s
        now_s = min(running.values())
        for event, over in [job for job, end_s in running.items() if end_s == now_s]:
            del running[event, over]
            if over:
                admitted.remove(event)
            else:
                prepared.add(event)


@pytest.mark.parametrize("prepared", [False, True])
def test_the_makespan_is_that_of_a_plain_simulation(prepared: bool) -> None:
    for seed in range(200):
        chance = Random(seed)
        log = random_log(seed)
        service_s = [float(chance.randint(1, 5)) for _ in log.footprints]
        prepare_s = [float(chance.randint(0, 3)) if prepared else 0.0 for _ in log.footprints]
        workers, lookahead = chance.randint(1, 4), chance.choice([1, 3, 100])
        took_s = makespan_s(log, service_s, workers, lookahead=lookahead, prepare_s=prepare_s if prepared else None)
        assert took_s == _plain_s(log, service_s, workers, lookahead, prepare_s)
        if log.events:
            total_s = sum(service_s) + sum(prepare_s)
            assert total_s / took_s <= at_best(log, service_s, workers, prepare_s) + 1e-9


def test_equally_long_events_take_as_many_steps_as_list_scheduling() -> None:
    for seed in range(100):
        log = random_log(seed)
        for workers in (1, 3):
            assert makespan_s(log, [1.0] * log.events, workers) == list_schedule(log.footprints, workers, 50_000)


def test_measured_times_count_per_event_or_are_drawn_per_type() -> None:
    log = Workload(["a", "b"] * 20, [_writes(f"k/{n}") for n in range(40)], [1.0, 3.0] * 20)
    services = Services(log)
    assert services.measured
    assert not services.spread
    assert services.expected() == [1.0, 3.0] * 20
    found = predict(log, services, 4, Random(1))
    assert found.speedup == found.low == found.high == pytest.approx(80 / 21)
    by_type = Services(Workload(log.types, log.footprints), {"a": [1.0, 2.0, 9.0]})
    assert by_type.expected() == [4.0] * 40  # b was not measured: the mean of all
    assert set(by_type.drawn(Random(1))[::2]) <= {1.0, 2.0, 9.0}
    spread = predict(Workload(log.types, log.footprints), by_type, 8, Random(1), replicates=30)
    assert spread.low < spread.speedup <= spread.high
    assert spread == predict(Workload(log.types, log.footprints), by_type, 8, Random(1), replicates=30)


def test_without_measurements_all_take_equally_long() -> None:
    log = Workload(["a"] * 6, [_writes("k/1")] * 3 + [_writes(f"k/{n}") for n in (2, 3, 4)])
    services = Services(log)
    assert not services.measured
    assert predict(log, services, 2, Random(0)).makespan_s == 3.0


def test_what_is_prepared_needs_no_keys_and_does_not_overtake_what_is_ready() -> None:
    log = Workload(["a"] * 4, [_writes("k/1")] * 4)
    assert makespan_s(log, [1.0] * 4, 4, prepare_s=[3.0] * 4) == 7.0
    assert makespan_s(log, [4.0] * 4, 4) == 16.0
    assert makespan_s(log, [1.0] * 4, 1, prepare_s=[3.0] * 4) == 16.0
