"""Times of events, in any shape that logs have, as seconds since 1970, UTC.

ISO 8601 in all its shapes (with ``T`` or a blank, any number of digits in the fraction, with an offset,
``Z`` or neither: then UTC), and numbers, also as text, since 1970 in seconds, milli-, micro- or
nanoseconds.

The unit of numbers is decided once for the whole log, from their median: deciding for each value would
put an event of a log that counts in microseconds from zero before one that is earlier.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from statistics import median_low

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BLANK_BEFORE_OFFSET = re.compile(r" (?=[+-]\d\d:?\d\d$)")

# The largest magnitude that is still read in each unit: the year 5138 in seconds is 1973 in milliseconds.
_UNITS = ((1e11, 1.0, "seconds"), (1e14, 1e3, "milliseconds"), (1e17, 1e6, "microseconds"))
_SMALLEST = (1e9, "nanoseconds")


class Clock:
    """Reads the times of one log. `read` each in turn, then take `scaled`."""

    def __init__(self) -> None:
        self._numbers: dict[int, float] = {}

    def read(self, index: int, value: object) -> float | None:
        """The time in seconds, or None if it cannot be read. A number is remembered under `index`: it
        counts in a unit that is known only at the end. Cost: about a microsecond."""
        given: str | int | float
        if isinstance(value, str):
            given = value.strip()
            if not _NUMBER.fullmatch(given):
                return _iso_s(given)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            given = value
        else:
            return None
        try:
            number = float(given)
        except OverflowError:
            return None
        if not math.isfinite(number):
            return None
        self._numbers[index] = number
        return number

    def unit(self) -> str | None:
        """The unit in which the numbers count; None where there were none."""
        return self._scale()[1] if self._numbers else None

    def scaled(self) -> dict[int, float]:
        """Seconds for every index that was a number and does not count in seconds."""
        if not self._numbers:
            return {}
        divisor, _ = self._scale()
        return {} if divisor == 1.0 else {i: number / divisor for i, number in self._numbers.items()}

    def _scale(self) -> tuple[float, str]:
        typical = median_low(abs(number) for number in self._numbers.values())
        return next(((divisor, name) for most, divisor, name in _UNITS if typical < most), _SMALLEST)


def _iso_s(text: str) -> float | None:
    if text.endswith((" UTC", " GMT")):
        text = text[:-4] + "+00:00"
    elif " +" in text or " -" in text:
        text = _BLANK_BEFORE_OFFSET.sub("", text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
