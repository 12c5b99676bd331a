"""Deadlines of running handlers, all looked at by one timer; and what is done about those that do not end.

A handler past its `timeout_s` is asked to stop (a coroutine is cancelled; a thread cannot be) and keeps its event's
keys until it has really ended: timeout is not completion. Another slot stands in for it meanwhile, up to
`overdue_max`; beyond that the worker stops, for a process full of hung threads does no work.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import traceback
from typing import TYPE_CHECKING

from commute.errors import CommuteError

if TYPE_CHECKING:
    from commute.runtime.engine import Engine
    from commute.runtime.slot import Slot

LOGGER = logging.getLogger("commute")

SWEEP_S = 0.05  # how late a timeout may be noticed
HUNG_AFTER_S = 5.0  # how long a cancelled handler may take to clean up before another slot stands in


class Sweep:
    """The deadline timer of one engine; costs nothing where no handler has a timeout."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.overdue = 0  # handlers past their deadline that have a stand-in

    async def run(self) -> None:
        """Look at all slots again and again, until cancelled."""
        engine = self._engine
        if all(bound.handler.timeout_s is None for bound in engine.kinds.bounds):
            return
        while not engine.stopping:
            await asyncio.sleep(SWEEP_S)
            now_s = engine.loop.time()
            for slot in tuple(engine.slots):
                if slot.job is not None and slot.deadline_s <= now_s:
                    self._past_deadline(slot, now_s)
            self.overdue = sum(1 for slot in engine.slots if slot.replaced and slot.job is not None)
            engine.slots[:] = [slot for slot in engine.slots if not (slot.replaced and slot.job is None)]

    def _past_deadline(self, slot: Slot, now_s: float) -> None:
        job = slot.job
        assert job is not None
        threaded = not job.bound.on_loop
        if not slot.timed_out:
            slot.timed_out = True
            if threaded:
                self._stand_in(slot)
            else:
                assert slot.work is not None
                slot.work.cancel()
                slot.deadline_s = now_s + HUNG_AFTER_S
            return
        self._stand_in(slot)

    def _stand_in(self, slot: Slot) -> None:
        engine, job = self._engine, slot.job
        assert job is not None
        slot.deadline_s = math.inf
        slot.replaced = True
        self.overdue += 1
        LOGGER.error(
            "error[overdue] %s %s: %s has run for longer than timeout_s=%g and does not end. Its keys stay taken; "
            "another slot stands in.\n%s",
            job.entry.kind.type, job.entry.id, job.bound.name, job.bound.handler.timeout_s, stack_of(slot),
        )  # fmt: skip
        if self.overdue > engine.limits.overdue_max:
            engine.fail(
                CommuteError(
                    f"{self.overdue} handlers are past their timeout and do not end (overdue_max="
                    f"{engine.limits.overdue_max}): the worker stops. The last: {job.bound.name}",
                    slug="overdue-max",
                )
            )
        else:
            engine.add_slot()


def stack_of(slot: Slot) -> str:
    """Where the slot's handler is at this moment."""
    thread = slot.thread
    if thread is not None and thread.ident is not None:
        frame = sys._current_frames().get(thread.ident)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""
    if slot.work is not None:
        frames = slot.work.get_stack()
        return "".join(line for frame in frames for line in traceback.format_stack(frame, limit=3))
    return ""
