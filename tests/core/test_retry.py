"""The retry table, row by row."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.core.retry import Exhausted, Policy, Retry, RetryAt, decide, delay_s, describe, strictest
from commute.errors import DeadLetter, UsageError

ALMOST_ONE = math.nextafter(1.0, 0.0)


def test_delays_double_up_to_the_longest_and_jitter_is_full() -> None:
    retry = Retry(attempts=9, first_s=1.0, max_s=10.0)
    assert [delay_s(retry, attempt, 0.5) for attempt in range(1, 7)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert delay_s(retry, 3, 0.0) == 0.0
    assert 3.999 < delay_s(retry, 3, ALMOST_ONE) < 4.0


@given(st.integers(1, 10**9), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_a_delay_never_exceeds_its_limit(attempt: int, first_s: float, chance: float) -> None:
    assert 0 <= delay_s(Retry(first_s=first_s, max_s=2e6), attempt, chance) <= 2e6


def test_the_default_takes_thirteen_minutes_on_average_and_twenty_seven_at_most() -> None:
    total_s = sum(delay_s(Retry(), attempt, ALMOST_ONE) for attempt in range(1, Retry().attempts))
    assert int(total_s / 60) == 27
    assert describe(Retry()) == "13 min"


@pytest.mark.parametrize(
    ("retry", "text"),
    [
        (Retry(attempts=1), "no retry"),
        (Retry(attempts=2, first_s=0.5), "0.2 s"),
        (Retry(attempts=2, first_s=0.0), "0 s"),
        (Retry(attempts=2, first_s=8.0), "4 s"),
        (Retry(attempts=2, first_s=120.0), "1 min"),
        (Retry(attempts=10**6), "3472 d"),
        (Retry(attempts=100), "7 h"),
    ],
)
def test_the_banner_says_how_long(retry: Retry, text: str) -> None:
    assert describe(retry) == text


def test_the_last_attempt_exhausts_and_those_before_it_retry() -> None:
    retry, error = Retry(attempts=3), KeyError("tea-9")
    assert decide(retry, 1, error, 0.5) == RetryAt(0.5)
    assert decide(retry, 2, error, 0.5) == RetryAt(1.0)
    assert decide(retry, 3, error, 0.5) == Exhausted("failed 3 times: KeyError: 'tea-9'")
    assert decide(Retry(attempts=1), 1, TimeoutError(), 0.5) == Exhausted("failed once: TimeoutError")


def test_a_dead_letter_and_a_fatal_error_exhaust_at_once() -> None:
    retry = Retry(fatal=(LookupError,))
    assert decide(retry, 1, DeadLetter("no such customer"), 0.5) == Exhausted("no such customer")
    assert decide(retry, 1, DeadLetter(), 0.5) == Exhausted("DeadLetter")
    assert decide(retry, 1, KeyError("x"), 0.5) == Exhausted("fatal: KeyError: 'x'")
    assert decide(retry, 1, ValueError("x"), 0.5) == RetryAt(0.5)


def test_the_errors_of_a_group_are_looked_at_one_by_one() -> None:
    inner = ExceptionGroup("inner", [ValueError("b"), DeadLetter("why")])
    assert decide(Retry(), 1, ExceptionGroup("outer", [KeyError("a"), inner]), 0.5) == Exhausted("why")
    assert decide(Retry(), 1, ExceptionGroup("outer", [KeyError("a")]), 0.5) == RetryAt(0.5)
    fatal = decide(Retry(fatal=(ValueError,)), 1, ExceptionGroup("g", [ValueError("b")]), 0.5)
    assert fatal == Exhausted("fatal: ValueError: b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"attempts": True}, "attempts=True"),
        ({"attempts": 2.0}, "attempts=2.0"),
        ({"first_s": -1}, "first_s=-1"),
        ({"first_s": "1"}, "first_s='1'"),
        ({"first_s": True}, "first_s=True"),
        ({"max_s": math.inf}, "max_s=inf"),
        ({"max_s": math.nan}, "max_s=nan"),
        ({"max_s": 0.5}, "max_s=0.5 is less than first_s=1.0"),
        ({"fatal": ValueError}, "tuple of exceptions"),
        ({"fatal": (int,)}, "tuple of exceptions"),
        ({"fatal": [ValueError]}, "tuple of exceptions"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Retry(**options)
    assert caught.value.slug == "retry-options"
    assert message in caught.value.message


def test_the_strictest_policy_decides_whatever_their_sequence() -> None:
    ranks: list[Policy] = ["stop", "park", "skip"]
    for count in (1, 2, 3):
        for policies in itertools.product(ranks, repeat=count):
            assert strictest(policies) == min(policies, key=ranks.index)
    with pytest.raises(AssertionError):
        strictest([])
