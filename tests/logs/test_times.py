"""Times of logs: every shape that was met, and the unit of numbers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from commute.logs.times import Clock

MOMENT_S = datetime(2011, 10, 11, 11, 45, 40, 276_000, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2011-10-11T11:45:40.276Z",
        "2011-10-11 11:45:40.276",
        "2011-10-11T11:45:40.276000",
        "2011-10-11T11:45:40.276000999Z",
        "2011-10-11 11:45:40,276",
        "2011-10-11 13:45:40.276000+02:00",
        "2011-10-11T13:45:40.276+0200",
        "2011-10-11 13:45:40.276 +02:00",
        " 2011-10-11 11:45:40.276 UTC ",
        "20111011T114540.276Z",
    ],
)
def test_every_iso_shape_is_the_same_moment_and_naive_ones_are_utc(text: str) -> None:
    assert Clock().read(0, text) == pytest.approx(MOMENT_S, abs=1e-6)


def test_days_and_times_before_1970_are_read() -> None:
    assert Clock().read(0, "1970-01-02") == 86_400.0
    assert Clock().read(0, "1948-01-26T23:59:00+01:00") == pytest.approx(-692_067_660.0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "soon",
        "31/12/2010",
        "2010-13-01",
        True,
        [],
        {},
        float("nan"),
        float("inf"),
        "nan",
        "1_000",
        10**400,
        "2010-02-30T00:00:00",
        "0x10",
    ],
)
def test_what_is_no_time_is_none(value: object) -> None:
    clock = Clock()
    assert clock.read(0, value) is None
    assert clock.unit() is None


@pytest.mark.parametrize(
    ("factor", "unit"), [(1, "seconds"), (1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")]
)
def test_numbers_are_read_in_the_unit_of_the_log(factor: float, unit: str) -> None:
    clock = Clock()
    given = [1_300_000_000 * factor, str(int(1_300_000_060 * factor)), f"+{int(1_300_000_120 * factor)}"]
    read = [clock.read(i, value) for i, value in enumerate(given)]
    scaled = clock.scaled()
    assert clock.unit() == unit
    assert [scaled.get(i, s) for i, s in enumerate(read)] == [1_300_000_000, 1_300_000_060, 1_300_000_120]


def test_one_log_has_one_unit_so_numbers_keep_their_sequence() -> None:
    # Microseconds from zero: the first are small enough to be taken for seconds, one by one.
    clock = Clock()
    read = [clock.read(i, i * 10**12) for i in range(100)]
    scaled = clock.scaled()
    times = [scaled.get(i, s or 0.0) for i, s in enumerate(read)]
    assert times == sorted(times)
    assert times[1] - times[0] == times[99] - times[98]
