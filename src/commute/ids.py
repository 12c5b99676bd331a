"""Identities: ULIDs that sort by time, and ones that are derived, so that a second run makes the same.

Pure: time and chance are given. Source of the format: github.com/ulid/spec.
"""

from __future__ import annotations

import hashlib
from random import Random

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: sorts as the number does
_TIME_DIGITS = 10
_CHANCE_DIGITS = 16
CHANCE_BITS = 80


def ulid(time_s: float, chance: int) -> str:
    """The ULID (github.com/ulid/spec) of a time and 80 bits: 10 digits of milliseconds, 16 of chance."""
    number = (int(time_s * 1000) & ((1 << 48) - 1)) << CHANCE_BITS | (chance & ((1 << CHANCE_BITS) - 1))
    digits = []
    for _ in range(_TIME_DIGITS + _CHANCE_DIGITS):
        digits.append(DIGITS[number & 31])
        number >>= 5
    return "".join(reversed(digits))


def ulid_time_s(identity: str) -> float | None:
    """The time inside a ULID, or None if the text is none."""
    if len(identity) != _TIME_DIGITS + _CHANCE_DIGITS:
        return None
    number = 0
    for letter in identity[:_TIME_DIGITS]:
        digit = DIGITS.find(letter)
        if digit < 0:
            return None
        number = number << 5 | digit
    return number / 1000


def derived_id(time_s: float, *parts: str) -> str:
    """A ULID whose chance is a digest of `parts`: the same parts give the same id, whoever computes it."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=CHANCE_BITS // 8).digest()
    return ulid(time_s, int.from_bytes(digest, "big"))


def derived_random(*parts: str) -> Random:
    """A generator seeded by `parts` alone."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))
