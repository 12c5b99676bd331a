"""List scheduling over groups gives the steps of the plain version, for all flat logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.core.bounds import list_schedule
from commute.core.footprint import Access, Footprint, normalise
from commute.core.steps import Groups

accesses = st.builds(Access, st.sampled_from(["a", "b", "c", "d/1", "d/2"]), st.sampled_from(["read", "write", "add"]))
logs = st.lists(st.lists(accesses, max_size=3).map(normalise), max_size=25)


@given(logs, st.integers(1, 4), st.integers(1, 12))
def test_it_is_the_plain_version(log: list[Footprint], concurrency: int, lookahead: int) -> None:
    groups = Groups(log)
    expected = list_schedule(log, concurrency, lookahead, contiguous=True)
    assert groups.steps(concurrency, lookahead) == expected
    assert groups.steps(concurrency, lookahead) == expected, "a run changes nothing"


def test_readers_share_a_step_between_writers() -> None:
    log = [normalise([Access("x", mode)]) for mode in ("write", "read", "read", "add", "add", "write")]
    assert Groups(log).steps(2, 10) == 4
    assert Groups(log).steps(1, 10) == 6


def test_a_footprint_that_names_a_key_twice_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="waits for itself"):
        Groups([(Access("x", "read"), Access("x", "write"))]).steps(1, 1)
