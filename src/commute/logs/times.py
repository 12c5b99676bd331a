"""Times of events, in any shape that logs have, as seconds since 1970, UTC.

ISO 8601 in all its shapes (with ``T`` or a blank, any number of digits in the fraction, with an offset,
``Z`` or neither: then UTC), and numbers, also as text, since 1970 in seconds, milli-, micro- or
nanoseconds. Other shapes (``13.05.2024 08:15``) are tried where a log has them, or named by the user.

The unit of numbers, and the shape of other times, are decided once for the whole log: deciding for each value would
put an event of a log that counts in microseconds from zero before one that is earlier, and read ``03/04/2024`` as March
beside ``13/04/2024``.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from itertools import islice
from statistics import median_low

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BLANK_BEFORE_OFFSET = re.compile(r" (?=[+-]\d\d:?\d\d$)")

# The largest magnitude that is still read in each unit: the year 5138 in seconds is 1973 in milliseconds.
_UNITS = ((1e11, 1.0, "seconds"), (1e14, 1e3, "milliseconds"), (1e17, 1e6, "microseconds"))
_SMALLEST = (1e9, "nanoseconds")

# Other shapes, day before month first: most of the world writes so, and a month above twelve shows where it is wrong.
_HAS_DATE = re.compile(r"\d.*\d.*\d")
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d %b %Y", "%b %d, %Y", "%d.%m.%y")
_HOURS = (" %H:%M:%S", " %H:%M", " %H:%M:%S.%f", ", %H:%M:%S", " %I:%M:%S %p", " %I:%M %p", "")
_FORMATS = (
    *(date + hour for date in _DATES for hour in _HOURS),
    *("%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %Y"),
)
_SAMPLE_TEXTS = 200


class Clock:
    """Reads the times of one log. `read` each in turn, then take `scaled`; `shape` is what it found, "" for none.

    `time_format`: how times are written, as of strptime; then only these are read, numbers (20240131) too.
    """

    def __init__(self, time_format: str | None = None) -> None:
        self._numbers: dict[int, float] = {}
        self._texts: dict[int, str] = {}  # that are no ISO time and may have another shape
        self._format = time_format
        self.shape = ""

    def read(self, index: int, value: object) -> float | None:
        """The time in seconds, or None if it cannot be read. A number, or a text of another shape, is remembered under
        `index`: what it means is known only at the end. Cost: about a microsecond."""
        given: str | int | float
        if self._format is not None:
            readable = isinstance(value, (str, int, float)) and not isinstance(value, bool)
            return _formatted_s(str(value).strip(), self._format) if readable else None
        if isinstance(value, str):
            given = value.strip()
            if not _NUMBER.fullmatch(given):
                found_s = _iso_s(given)
                if found_s is None and _HAS_DATE.search(given):
                    self._texts[index] = given
                return found_s
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
        """Seconds for every index that was a number and does not count in seconds, or a text of another shape."""
        found = self._shaped()
        if self._numbers:
            divisor, _ = self._scale()
            if divisor != 1.0:
                found |= {i: number / divisor for i, number in self._numbers.items()}
        return found

    def _shaped(self) -> dict[int, float]:
        """Seconds for the texts under the one format that reads most of them; among equals, the first."""
        if not self._texts:
            return {}
        sample = list(islice(self._texts.values(), 0, None, max(1, len(self._texts) // _SAMPLE_TEXTS)))
        read = {format_: sum(_formatted_s(text, format_) is not None for text in sample) for format_ in _FORMATS}
        best = max(_FORMATS, key=lambda format_: read[format_])
        if not read[best]:
            return {}
        found = {i: s for i, text in self._texts.items() if (s := _formatted_s(text, best)) is not None}
        rivals = [format_ for format_ in _FORMATS if format_ != best and read[format_] == read[best]]
        doubt = f"; {rivals[0]} would read them too" if rivals else ""
        self.shape = f"{best} (guessed{doubt}; --time-format names another)"
        return found

    def _scale(self) -> tuple[float, str]:
        typical = median_low(abs(number) for number in self._numbers.values())
        return next(((divisor, name) for most, divisor, name in _UNITS if typical < most), _SMALLEST)


def _formatted_s(text: str, format_: str) -> float | None:
    try:
        moment = datetime.strptime(text, format_)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


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
