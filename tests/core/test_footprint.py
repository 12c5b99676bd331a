"""The relation itself: every word of its definition, against a definition spelt out segment by segment."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.core.footprint import (
    ADD,
    EVERYTHING,
    READ,
    WRITE,
    Access,
    Footprint,
    compatible,
    conflicting,
    conflicts,
    join,
    normalise,
    overlap,
)

MODES = (READ, WRITE, ADD, "max")
keys = st.lists(st.sampled_from(["a", "b", "4", "42", "%", "a b"]), max_size=3).map("/".join)
footprints = st.lists(st.tuples(keys, st.sampled_from(MODES)), max_size=4).map(normalise)


def segments(key: str) -> list[str]:
    return key.split("/") if key else []


@given(keys, keys)
def test_keys_overlap_if_one_is_a_path_prefix_of_the_other(a: str, b: str) -> None:
    x, y = segments(a), segments(b)
    shorter = min(len(x), len(y))
    assert overlap(a, b) == (x[:shorter] == y[:shorter])
    assert overlap(a, b) == overlap(b, a)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("order/42", "order/42", True),
        ("order", "order/42", True),
        ("order/4", "order/42", False),
        ("order", "orders", False),
        ("order", "orders/1", False),
        ("", "order/42", True),
        ("", "", True),
        ("order/1/line", "order/2/line", False),
    ],
)
def test_overlap_by_example(a: str, b: str, expected: bool) -> None:
    assert overlap(a, b) is expected
    assert overlap(b, a) is expected


def test_modes_go_together_only_if_equal_and_not_write() -> None:
    together = {(a, b) for a, b in product(MODES, MODES) if compatible(a, b)}
    assert together == {(READ, READ), (ADD, ADD), ("max", "max")}


@given(footprints, footprints)
def test_conflict_is_symmetric_and_has_a_reason(a: Footprint, b: Footprint) -> None:
    assert conflicts(a, b) == conflicts(b, a) == bool(conflicting(a, b))
    for x, y in conflicting(a, b):
        assert x in a and y in b and overlap(x.key, y.key)
        assert WRITE in (x.mode, y.mode) or x.mode != y.mode


def test_conflict_is_not_transitive() -> None:
    left, both, right = (Access("x", READ),), (Access("x", WRITE), Access("y", WRITE)), (Access("y", READ),)
    assert conflicts(left, both) and conflicts(both, right) and not conflicts(left, right)


@given(footprints)
def test_everything_conflicts_with_all_that_touch_anything(footprint: Footprint) -> None:
    assert conflicts(EVERYTHING, footprint) == bool(footprint)


def test_nothing_conflicts_with_an_empty_footprint() -> None:
    assert not conflicts((), EVERYTHING)
    assert not conflicts((), ())


def test_one_event_that_reads_and_adds_a_key_writes_it() -> None:
    assert join(READ, ADD) == join(READ, WRITE) == join(ADD, "max") == WRITE
    assert [join(mode, mode) for mode in MODES] == list(MODES)
    assert normalise([("k", READ), ("other", ADD), ("k", ADD)]) == (Access("k", WRITE), Access("other", ADD))


def test_normalise_takes_the_wildcard_off_and_keeps_keys_distinct() -> None:
    assert normalise([("order/*", READ), ("order", READ)]) == (Access("order", READ),)
    assert normalise([("*", READ)]) == (Access("", READ),)
    assert normalise([("order/%2A", READ)]) == (Access("order/%2A", READ),)
    assert normalise([]) == ()


@given(st.lists(st.tuples(keys, st.sampled_from(MODES)), max_size=6), footprints)
def test_normalising_changes_no_conflict_with_others(raw: list[tuple[str, str]], other: Footprint) -> None:
    whole = normalise(raw)
    assert len({key for key, _ in whole}) == len(whole)
    apart = any(conflicts(normalise([access]), other) for access in raw)
    # Joining may only add: two classes on one key are a write, which conflicts with either alone.
    assert conflicts(whole, other) or not apart
