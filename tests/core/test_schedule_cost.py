"""What the schedule costs, counted and not timed: a longer queue or past adds no step and no byte."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from commute.core import levels
from commute.core.footprint import ADD, READ, WRITE, Access, Footprint
from commute.core.schedule import Schedule, Ticket

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def one(key: str, mode: str = WRITE) -> Footprint:
    return (Access(key, mode),)


def test_first_segments_that_are_values_take_bounded_memory() -> None:
    chosen: Schedule[None] = Schedule()
    chosen.admit(one("two/levels"), None)
    for number in range(3 * levels.FAMILIES_MAX):
        chosen.settle(chosen.admit(one(f"customer-{number}"), None))
    assert len(chosen._levels.families) <= levels.FAMILIES_MAX + 1
    chosen.check()


@pytest.mark.parametrize("touched_before", [(), ("order",), ("", "order")])
def test_an_empty_schedule_remembers_no_key(touched_before: tuple[str, ...]) -> None:
    """What many events leave behind must not grow with them; busy nodes drop their past."""
    chosen: Schedule[None] = Schedule()
    for key in touched_before:
        chosen.settle(chosen.admit(one(key, READ), None))
    earlier: list[Ticket[None]] = []
    for number in range(300):
        earlier.append(chosen.admit(one(f"order/{number % 7}", (READ, WRITE, ADD)[number % 3]), None))
        if number % 50 == 49:
            earlier.append(chosen.admit(one("order" if touched_before else "order/1"), None))
        while len(earlier) > 20:
            chosen.settle(earlier.pop(0))
        assert len(chosen._groups()) <= 3 * len(chosen) + 3
    for ticket in earlier:
        chosen.settle(ticket)
    assert len(chosen) == chosen.waiting == 0
    assert not chosen._holders and not chosen._nodes


def steps(call: Callable[[], object]) -> int:
    """How many byte-code instructions `call` runs: a measure of work that no clock disturbs."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    gc.disable()  # what other tests left behind may be finalised by Python code, which would be counted
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def work_on_hot_key(key: str, first: str, queue: int) -> tuple[int, int, int]:
    """The steps to admit one behind `queue` others on `key`, to forget it again, and to settle the first."""
    chosen: Schedule[None] = Schedule()
    chosen.settle(chosen.admit(one("stock" if key else "", READ), None))
    head = chosen.admit((Access("order/1", WRITE), Access(key, first)), None)
    for number in range(queue):
        chosen.admit((Access(key, WRITE), Access(f"order/x{number}", WRITE)), None)
    latest: list[Ticket[None]] = []
    admitting = steps(lambda: latest.append(chosen.admit(one(key), None)))
    forgetting = steps(lambda: chosen.settle(latest[0]))
    edges = max((len(group.followers) for group in chosen._groups()), default=0)
    assert edges <= 2, "a group leads many at once: settling it would visit them all"
    return admitting, forgetting, steps(lambda: chosen.settle(head))


@pytest.mark.parametrize("key", ["stock/tea", "stock", ""])
@pytest.mark.parametrize("first", [WRITE, READ, ADD])
def test_a_hot_key_costs_the_same_however_many_wait(key: str, first: str) -> None:
    assert work_on_hot_key(key, first, 50) == work_on_hot_key(key, first, 2_000)


@pytest.mark.parametrize("mixed", [False, True])
def test_meeting_a_wide_event_costs_the_same_however_wide_it_is(mixed: bool) -> None:
    work = []
    for width in (20, 500):
        chosen: Schedule[None] = Schedule()
        chosen.admit(one("other/with/depth" if mixed else "other/1"), None)
        chosen.admit(tuple(Access(f"stock/{number}", WRITE) for number in range(width)), None)
        admit = partial(chosen.admit, one(f"stock/{width - 1}"), None)
        work.append(steps(admit))
    assert work[0] == work[1]
