"""After a failed attempt: again, and when, or no more.

The decision is a table without clock or chance of its own, so that it can be tested row by row and replayed
by seed:

    the error                          attempts made      decision
    DeadLetter, or one of `fatal`      any                exhausted
    anything else                      fewer than allowed  retry after a delay
    anything else                      all                exhausted

The delay doubles with each attempt up to a maximum and is then drawn from zero to that much ("full jitter"),
which spreads the retries of many events that failed at one moment better than any fixed delay.

Invariants: `0 <= delay_s < min(first_s * 2**(attempt - 1), max_s)`, or 0 where that is 0; `decide` gives at
most `attempts` attempts in all.

Source: Brooker, "Exponential Backoff And Jitter" (2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from commute.errors import DeadLetter, DiedError, RemoteError, UsageError, kind_name

Policy: TypeAlias = Literal["park", "skip", "stop"]

_STRICTEST_FIRST: Final[tuple[Policy, ...]] = ("stop", "park", "skip")
_DOUBLINGS_MAX: Final = 1_000  # a float overflows soon after; any max_s is reached long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how patiently a handler is tried for one event. Raises UsageError (retry-options).

    The default takes about 13 minutes on average and 27 at most. `fatal` errors end the attempts at once.
    """

    attempts: int = 12  # in all, the first one included; at least 1
    first_s: float = 1.0  # longest delay before the second attempt; 0: at once
    max_s: float = 600.0  # longest delay of all; at least first_s
    fatal: tuple[type[BaseException], ...] = ()  # subclasses count

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or isinstance(self.attempts, bool) or self.attempts < 1:
            raise _refused(f"attempts={self.attempts!r}: give a whole number, 1 (no retry) or more")
        for name, value in (("first_s", self.first_s), ("max_s", self.max_s)):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < 0:
                raise _refused(f"{name}={value!r}: give seconds, 0 or more")
        if self.max_s < self.first_s:
            raise _refused(f"max_s={self.max_s!r} is less than first_s={self.first_s!r}")
        if not isinstance(self.fatal, tuple) or not all(
            isinstance(kind, type) and issubclass(kind, BaseException) for kind in self.fatal
        ):
            raise _refused(f"fatal={self.fatal!r}: give a tuple of exceptions, such as fatal=(ValueError,)")


def _refused(what: str) -> UsageError:
    return UsageError(f"Retry: {what}", slug="retry-options")


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again, `delay_s` seconds after the attempt has ended."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No further attempt; `why` is for people: "failed 12 times: KeyError: 'tea-9'"."""

    why: str


def delay_s(retry: Retry, attempt: int, chance: float) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed; `chance` is drawn from [0, 1)."""
    assert attempt >= 1, f"attempts are counted from 1: {attempt}"
    assert 0.0 <= chance < 1.0, f"not in [0, 1): {chance}"
    return _delay_s_max(retry, attempt) * chance


def decide(retry: Retry, attempts_made: int, error: BaseException, chance: float) -> RetryAt | Exhausted:
    """What to do after attempt number `attempts_made` (from 1) ended with `error`; `chance` from [0, 1).

    An exception group counts as fatal when one of its leaves is: a DeadLetter raised inside a TaskGroup is
    meant.
    """
    verdict = leaf(error, (DeadLetter,))
    if verdict is not None:
        return Exhausted(str(verdict) or _name(verdict))
    fatal = leaf(error, retry.fatal)
    if fatal is not None:
        return Exhausted(f"fatal: {describe_error(fatal)}")
    if attempts_made >= retry.attempts:
        times = "once" if attempts_made == 1 else f"{attempts_made} times"
        return Exhausted(f"failed {times}: {describe_error(error)}")
    return RetryAt(delay_s(retry, attempts_made, chance))


def decide_death(retry: Retry, deaths: int, deaths_max: int, error: DiedError, chance: float) -> RetryAt | Exhausted:
    """What to do after death number `deaths` (from 1) of one handler on one event; `deaths_max` 0: never the last."""
    if deaths_max and deaths >= deaths_max:
        times = "once" if deaths == 1 else f"{deaths} times"
        return Exhausted(f"its process died {times}: {error}")
    return RetryAt(delay_s(retry, deaths, chance))


def strictest(policies: Iterable[Policy]) -> Policy:
    """The policy that decides among those of the failed handlers (not none): stop, then park, then skip."""
    given = set(policies)
    assert given, "no handler failed, so no policy decides"
    return next(policy for policy in _STRICTEST_FIRST if policy in given)


def describe(retry: Retry) -> str:
    """The time that all retries take on average, rounded down, for the banner: "13 min", "no retry"."""
    if retry.attempts == 1:
        return "no retry"
    # Beyond the doublings every delay is the longest one, so that a million attempts cost no more than a few.
    count = retry.attempts - 1
    doubling = min(count, _DOUBLINGS_MAX)
    longest_s = sum(_delay_s_max(retry, attempt) for attempt in range(1, doubling + 1))
    longest_s += (count - doubling) * retry.max_s
    return _duration(longest_s / 2)


def describe_error(error: BaseException) -> str:
    """The error on one line: ``KeyError: 'tea-9'``, or its type alone where it says nothing."""
    text = " ".join(str(error).split())
    return f"{_name(error)}: {text}" if text else _name(error)


def _name(error: BaseException) -> str:
    return error.name if isinstance(error, RemoteError) else type(error).__name__


def _delay_s_max(retry: Retry, attempt: int) -> float:
    return min(retry.first_s * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX), retry.max_s)


def leaf(error: BaseException, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """The first of `kinds` that `error` is or, as a group, contains."""
    if isinstance(error, kinds):
        return error
    if isinstance(error, RemoteError):
        return error if error.kinds & set(map(kind_name, kinds)) else None
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := leaf(inner, kinds)) is not None), None)
    return None


def _duration(seconds: float) -> str:
    for unit, size_s in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size_s or (unit == "min" and seconds >= size_s):
            return f"{int(seconds / size_s)} {unit}"
    return f"{int(seconds)} s" if seconds >= 1 else f"{seconds:.1g} s"
