"""The watermark against a set of settled positions, and its memory beyond a stuck position."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commute.core.watermark import BLOCK_POSITIONS, BLOCK_SIZE_BYTES, Done, Watermark


def test_a_new_watermark_is_where_it_starts() -> None:
    assert Watermark().position == 0
    assert Watermark(17).position == 17
    assert Watermark(17).pending == 0


def test_settling_out_of_sequence_moves_only_past_what_is_settled() -> None:
    mark = Watermark()
    for position in range(4):
        mark.admit(position)
    mark.settle(2)
    mark.settle(1)
    assert (mark.position, mark.pending) == (0, 2)
    mark.settle(0)
    assert (mark.position, mark.pending) == (3, 1)
    mark.settle(3)
    assert (mark.position, mark.pending) == (4, 0)


@given(st.sets(st.integers(0, 300)), st.randoms(use_true_random=False), st.integers(1, 100))
def test_many_at_once_are_the_same_as_one_after_the_other(
    positions: set[int], chance: random.Random, size: int
) -> None:
    one_by_one, at_once = Watermark(), Watermark()
    ascending = sorted(positions)
    for position in ascending:
        one_by_one.admit(position)
    for begin in range(0, len(ascending), size):
        at_once.admit(*ascending[begin : begin + size])
    settled = chance.sample(ascending, len(ascending))
    for begin in range(0, len(settled), size):
        assert (at_once.position, at_once.pending) == (one_by_one.position, one_by_one.pending)
        at_once.settle(*settled[begin : begin + size])
        for position in settled[begin : begin + size]:
            one_by_one.settle(position)
    assert (at_once.position, at_once.pending) == (one_by_one.position, 0)


def test_none_at_all_changes_nothing() -> None:
    mark = Watermark(3)
    mark.admit()
    mark.settle()
    assert (mark.position, mark.pending) == (3, 0)


def test_a_gap_is_settled_once_a_later_position_was_delivered() -> None:
    mark = Watermark(10)
    mark.admit(12)
    assert mark.position == 12
    mark.settle(12)
    assert mark.position == 13
    mark.admit(1_000_000)
    assert mark.position == 1_000_000


@pytest.mark.parametrize("wrong", [5, 4, 7])
def test_positions_that_do_not_ascend_or_were_not_admitted_are_the_callers_fault(wrong: int) -> None:
    mark = Watermark(5)
    mark.admit(5)
    mark.settle(5)
    if wrong < 6:
        with pytest.raises(AssertionError, match="admitted after"):
            mark.admit(wrong)
    with pytest.raises(AssertionError, match="settled twice, or never admitted"):
        mark.settle(wrong)


@given(st.lists(st.integers(1, 200), max_size=120), st.integers(0, 500), st.randoms(use_true_random=False))
def test_the_watermark_is_the_lowest_pending_position(steps: list[int], start: int, chance: random.Random) -> None:
    mark, pending, following = Watermark(start), set[int](), start
    for step in steps:
        if pending and chance.random() < 0.5:
            gone = chance.choice(sorted(pending))
            pending.remove(gone)
            mark.settle(gone)
        else:
            mark.admit(following + step - 1)
            pending.add(following + step - 1)
            following += step
        assert mark.position == min(pending, default=following)
        assert mark.pending == len(pending)


def test_two_million_settled_beyond_a_stuck_one_cost_next_to_nothing() -> None:
    mark = Watermark()
    mark.admit(0)
    tracemalloc.start()
    try:
        for position in range(1, 200_000):  # a tenth; the memory is counted per position
            mark.admit(position)
            if position > 100:
                mark.settle(position - 100)
        size_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert mark.position == 0
    assert size_bytes < 50_000


positions = st.integers(0, 5 * BLOCK_POSITIONS)


@given(st.sets(positions), positions)
def test_done_is_a_set_above_its_floor(added: set[int], floor: int) -> None:
    done = Done()
    for position in added:
        done.add(position)
    assert list(done) == sorted(added)
    dropped = done.drop_below(floor)
    kept = {position for position in added if position >= floor}
    assert list(done) == sorted(kept)
    assert len(done) == len(kept)
    assert all((position in done) == (position in kept) for position in added | {floor, floor + 1})
    assert dropped == sorted({p // BLOCK_POSITIONS for p in added if p // BLOCK_POSITIONS < floor // BLOCK_POSITIONS})
    assert not set(dropped) & set(done.take_dirty())
    assert done.drop_below(floor // 2) == []
    done.add(floor - 1 if floor else 0)
    assert floor == 0 or list(done) == sorted(kept)


@given(st.lists(st.sets(positions), max_size=6), st.data())
def test_what_was_taken_dirty_is_all_that_a_restart_needs(commits: list[set[int]], data: st.DataObject) -> None:
    done, store = Done(), dict[int, bytes]()
    for added in commits:
        for position in added:
            done.add(position)
        for number in done.drop_below(data.draw(positions)):
            store.pop(number, None)
        dirty = done.take_dirty()
        assert all(len(block) == BLOCK_SIZE_BYTES for block in dirty.values())
        store.update(dirty)
        assert done.take_dirty() == {}
        again = Done()
        for number, block in store.items():
            again.load(number, block)
        again.drop_below(done._floor)
        assert list(again) == list(done)
        assert again.take_dirty() == {}


def test_adding_what_is_there_dirties_nothing() -> None:
    done = Done()
    done.add(3)
    assert set(done.take_dirty()) == {0}
    done.add(3)
    assert done.take_dirty() == {}


@pytest.mark.parametrize("size_bytes", [0, BLOCK_SIZE_BYTES - 1, BLOCK_SIZE_BYTES + 1])
def test_a_damaged_block_is_refused(size_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"block 2 of completed positions has {size_bytes} bytes"):
        Done().load(2, bytes(size_bytes))
    with pytest.raises(ValueError, match="negative"):
        Done().load(-1, bytes(BLOCK_SIZE_BYTES))


def test_what_an_earlier_life_settled_is_passed_once_nothing_before_it_is_pending() -> None:
    done = Done()
    for position in (5, 6, 8):
        done.add(position)
    watermark = Watermark(4)
    watermark.admit(4)
    watermark.pass_by(done)
    assert watermark.position == 4
    watermark.settle(4)
    assert watermark.position == 5
    watermark.pass_by(done)
    assert watermark.position == 7  # and not further: 7 has not come yet
