"""Which pairs the two-order test tries: independent ones, few of each two types, and as different as there are."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from commute.core.footprint import WRITE, conflicts, normalise
from commute.verify.pairs import Candidate, choose, field_values

SHAPES = st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))


def event(type_: str, order: int, till: int, goods: int) -> Candidate:
    data = b'{"order": %d, "at": {"till": %d}, "lines": [{"sku": %d}, {"sku": 9}]}' % (order, till, goods)
    return Candidate(type_, normalise([(f"order/{order}", WRITE)]), field_values(data))


def agree(a: Candidate, b: Candidate) -> frozenset[str]:
    return frozenset(path for path in a.fields if a.fields[path] & b.fields.get(path, frozenset()))


def test_fields_are_told_by_their_paths() -> None:
    found = field_values(b'{"a": 1, "b": {"c": null}, "d": ["x", "y"], "e": [{"f": true}], "g": []}')
    assert {path: sorted(values) for path, values in found.items()} == {
        "a": ["1"], "b.c": ["null"], "d.*": ['"x"', '"y"'], "e.*.f": ["true"],
    }  # fmt: skip


def test_a_till_that_far_pairs_share_is_tried_before_near_ones_that_share_none() -> None:
    log = [event("a", number, till, number) for number, till in enumerate((1, 2, 3, 4, 5, 1))]
    assert choose(log, {"order"}, 1) == [(0, 5)]
    assert choose(log, {"order"}, 3) == [(0, 5), (0, 1), (1, 2)]


def test_an_event_without_a_type_is_in_no_pair() -> None:
    log = [event("a", 1, 1, 1), Candidate("", (), {}), event("a", 2, 1, 1)]
    assert choose(log, set(), 5) == [(0, 2)]


@given(st.lists(SHAPES, max_size=14), st.integers(1, 5))
def test_every_field_that_can_agree_does_within_what_is_allowed(
    shapes: list[tuple[str, int, int, int]], most: int
) -> None:
    log = [event(*shape) for shape in shapes]
    chosen = choose(log, {"order"}, most)
    assert len(set(chosen)) == len(chosen)
    independent = [
        (a, b) for a, b in combinations(range(len(log)), 2) if not conflicts(log[a].footprint, log[b].footprint)
    ]
    assert set(chosen) <= set(independent)

    def types(pair: tuple[int, int]) -> tuple[str, str]:
        return log[pair[0]].type, log[pair[1]].type

    there, tried = Counter(map(types, independent)), Counter(map(types, chosen))
    assert tried == {pair: min(most, count) for pair, count in there.items()}
    for pair in there:
        can = {path for a, b in independent if types((a, b)) == pair for path in agree(log[a], log[b])}
        does = {path for a, b in chosen if types((a, b)) == pair for path in agree(log[a], log[b])}
        assert does == can or len(does) >= most
