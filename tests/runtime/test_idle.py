"""Slots that have nothing to do: few are woken for handlers that never suspend, and all that are needed for others."""

from __future__ import annotations

import asyncio

import pytest

from commute import App
from commute.runtime.idle import Idle
from commute.runtime.slot import Slot
from tests.runtime.shop import Step


@pytest.mark.parametrize("events", [1, 2, 3, 7, 16])
async def test_as_many_handlers_run_at_once_as_events_came(url: str, events: int) -> None:
    app: App[None] = App("shop", url, concurrency=16)
    together = asyncio.Barrier(events)

    @app.on(Step, writes="key/{n}")
    async def step(event: Step) -> None:
        await together.wait()  # nobody goes on before all are here

    async with asyncio.timeout(10), app, app.running():
        for _ in range(3):
            for receipt in await app.publish_many([Step(key="a", n=n) for n in range(events)]):
                assert (await receipt.outcome(timeout_s=10)) is not None


async def test_one_slot_comes_for_many_events_unless_a_handler_is_suspended() -> None:
    idle = Idle(asyncio.get_running_loop())
    slots = [Slot(number, "/shop") for number in range(8)]
    waits = [asyncio.create_task(idle.wait(slot)) for slot in slots]
    await asyncio.sleep(0)

    def coming() -> int:
        return sum(slot.wake is not None and slot.wake.done() for slot in slots)

    for _ in range(5):
        idle.admitted(1, running=0)
    assert coming() == 1
    await asyncio.sleep(0)
    idle.took(4)
    assert coming() == 3
    idle.took(0)
    assert coming() == 3
    idle.admitted(3, running=1)
    assert coming() == 6
    idle.wake_all()
    await asyncio.gather(*waits)
    assert coming() == 8


async def test_a_slot_that_ends_while_it_is_coming_is_not_waited_for() -> None:
    idle = Idle(asyncio.get_running_loop())
    slots = [Slot(number, "/shop") for number in range(2)]
    waits = [asyncio.create_task(idle.wait(slot)) for slot in slots]
    await asyncio.sleep(0)
    idle.admitted(1, running=0)
    waits[1].cancel()  # the last to wait is the first to be woken
    await asyncio.wait(waits[1:])
    idle.admitted(1, running=0)
    await waits[0]
