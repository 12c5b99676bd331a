"""Where time, chance and names come from: the one place that a test or a simulator replaces.

Everything in the runtime that would differ between two runs asks a `World`. Handlers never do: what they get through
their context is derived from the event, so that it is the same on every attempt.
"""

from __future__ import annotations

import secrets
import time
from random import Random
from typing import Protocol

from commute.ids import CHANCE_BITS, DIGITS, ulid


class World(Protocol):
    """Clock, randomness and ids of one worker or producer."""

    random: Random

    def now_s(self) -> float:
        """Seconds since 1970, UTC; may jump. For stamps only, never for waiting."""

    def monotonic_s(self) -> float:
        """Seconds that never go back."""

    def new_id(self) -> str:
        """A new identity, 26 characters; later ones of one process sort after earlier ones."""


class _Names:
    """Ascending ids: within one millisecond the last one plus one, so that a batch sorts as it was made."""

    __slots__ = ("_chance", "_last_ms", "_prefix", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._last_ms = -1
        self._prefix = ""
        self._chance = 0

    def next(self, now_s: float) -> str:
        now_ms = int(now_s * 1000)
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            whole = ulid(now_ms / 1000, self._random.getrandbits(CHANCE_BITS - 1))
            # The last four digits count up; the others stay for the millisecond, so a batch costs one lookup each.
            self._prefix, self._chance = whole[:-4], 0
        self._chance += 1
        count = self._chance
        if count >= 32**4:
            self._last_ms += 1
            self._prefix = ulid(self._last_ms / 1000, self._random.getrandbits(CHANCE_BITS - 1))[:-4]
            self._chance = count = 1
        digits = DIGITS
        return (
            self._prefix + digits[count >> 15] + digits[count >> 10 & 31] + digits[count >> 5 & 31] + digits[count & 31]
        )


class SystemWorld:
    """The real clock, the system's randomness."""

    __slots__ = ("_names", "random")

    def __init__(self) -> None:
        self.random = Random(secrets.randbits(128))
        self._names = _Names(self.random)

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def new_id(self) -> str:
        return self._names.next(time.time())


class SeededWorld:
    """A world that is the same for one seed; its clock is the `clock` that it is given (a virtual loop's, say)."""

    __slots__ = ("_clock", "_epoch_s", "_names", "random")

    def __init__(self, seed: int, clock: object = None, *, epoch_s: float = 1_767_225_600.0) -> None:
        self.random = Random(seed)
        self._clock = clock
        self._epoch_s = epoch_s
        self._names = _Names(self.random)

    def now_s(self) -> float:
        return self._epoch_s + self.monotonic_s()

    def monotonic_s(self) -> float:
        return float(self._clock()) if callable(self._clock) else 0.0

    def new_id(self) -> str:
        return self._names.next(self.now_s())
