"""What is said of two ends that differ: short, and so that the difference is in what is shown."""

from __future__ import annotations

import pytest

from commute.verify.difference import SHOWN_MAX, differences
from commute.verify.trial import End, Rows


def end(
    outside: object = None,
    *,
    rows: Rows = (),
    results: dict[str, str] | None = None,
    left: tuple[str, ...] = (),
    numbered: bool = False,
) -> End:
    return End({"t": rows}, frozenset({"t"} if numbered else ()), outside, results or {}, {}, left)


@pytest.mark.parametrize("wrap", [list, tuple, dict.fromkeys])
@pytest.mark.parametrize("at", [0, 50, 199])
def test_what_differs_is_seen_in_a_long_state(wrap: type[list[int]], at: int) -> None:
    state = list(range(1_000, 1_200))
    (found,) = differences(end(wrap(state)), end(wrap([*state[:at], 7, *state[at + 1 :]])))
    assert (found.aspect, found.where) == ("state", "outside the store")
    assert found.one != found.other
    assert str(1_000 + at) in found.one
    assert "7" in found.other.split(str(999 + at))[-1]
    assert max(len(found.one), len(found.other)) <= SHOWN_MAX


def test_what_is_added_at_the_end_is_seen_too() -> None:
    (found,) = differences(end("x" * 500), end("x" * 500 + "y"))
    assert "y" in found.other
    assert found.one != found.other


def test_a_long_row_shows_the_column_that_differs() -> None:
    (found,) = differences(end(rows=[("a" * 300, 1)]), end(rows=[("a" * 300, 2)]))
    assert (found.where, found.one[-3:], found.other[-3:]) == ("table t", " 1)", " 2)")


def test_numbers_of_rows_may_be_dealt_out_otherwise() -> None:
    one, other = [(1, "a"), (2, "b")], [(2, "a"), (1, "b")]
    assert not differences(end(rows=one, numbered=True), end(rows=other, numbered=True))
    assert differences(end(rows=one), end(rows=other)), "the application's own numbers are state"
    third = [(3, "a"), (1, "b")]
    assert differences(end(rows=one, numbered=True), end(rows=third, numbered=True))


def test_results_and_emissions() -> None:
    (found,) = differences(end(results={"e": "processed"}), end(results={"e": "failed"}))
    assert str(found) == "result e: processed or failed"
    one, other = end(left=("a", "b")), end(left=("b", "a"))
    assert not differences(one, other), "children of independent events leave as they come"
    (found,) = differences(end(left=("a",)), end(left=("a", "a")))
    assert str(found) == "emission published: none or a"
