"""The breaker opens only when everything fails, and one success closes it."""

from __future__ import annotations

import pytest

from commute.core.breaker import EVENTS_MAX, Breaker


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker(events_max=3, first_s=1.0, max_s=4.0)
    for event in range(3):
        breaker.failed(event, now_s)
    assert breaker.open
    return breaker


def test_it_opens_at_the_last_of_so_many_different_events() -> None:
    breaker = Breaker()
    for event in range(EVENTS_MAX - 1):
        breaker.failed(event, 0.0)
        assert not breaker.open
        assert not breaker.may_probe(1e9)
    breaker.failed(EVENTS_MAX, 0.0)
    assert breaker.open


def test_one_poisoned_event_alone_never_opens_it() -> None:
    breaker = Breaker(events_max=2)
    for now in range(1_000):
        breaker.failed("poison", float(now))
    assert not breaker.open


def test_a_success_in_between_starts_the_count_afresh() -> None:
    breaker = Breaker(events_max=3)
    for event in range(100):
        breaker.failed(event, 0.0)
        assert not breaker.open
        if event % 2:
            breaker.succeeded()


def test_one_probe_at_a_time_and_each_failed_one_doubles_the_delay() -> None:
    breaker, now_s, delays = opened(100.0), 100.0, list[float]()
    for _ in range(5):
        delays.append(breaker.next_probe_s - now_s)
        assert not breaker.may_probe(breaker.next_probe_s - 0.001)
        now_s = breaker.next_probe_s
        assert breaker.may_probe(now_s)
        breaker.probe_started("p")
        assert not breaker.may_probe(now_s + 1e9)
        now_s += 0.25
        breaker.failed("p", now_s)
    assert delays == [1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_run_begun_before_it_opened_does_not_move_the_delay_but_may_close_it() -> None:
    breaker = opened()
    breaker.failed("late", 0.5)
    assert breaker.next_probe_s == 1.0
    breaker.probe_started("p")
    breaker.failed("late", 1.5)
    assert not breaker.may_probe(1e9)
    breaker.succeeded()
    assert not breaker.open


def test_after_it_closed_everything_begins_afresh() -> None:
    breaker = opened()
    breaker.probe_started("p")
    breaker.failed("p", 1.0)
    breaker.succeeded()
    states = []
    for event in range(3):
        breaker.failed(event, 50.0)
        states.append(breaker.open)
    assert states == [False, False, True]
    assert breaker.next_probe_s == 51.0


def test_a_withdrawn_probe_makes_room_for_another() -> None:
    breaker = opened()
    breaker.probe_started("p")
    with pytest.raises(AssertionError, match="probes already"):
        breaker.probe_started("q")
    breaker.probe_withdrawn()
    assert breaker.may_probe(1.0)
    breaker.probe_started("q")


def test_a_probe_needs_an_open_breaker() -> None:
    with pytest.raises(AssertionError, match="open breaker"):
        Breaker().probe_started("p")
