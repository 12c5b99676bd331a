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
from types import CoroutineType, FrameType
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

    @property
    def overdue(self) -> int:
        """Handlers past their deadline that have a stand-in and have not ended yet."""
        return sum(1 for slot in self._engine.slots if slot.replaced and slot.job is not None)

    async def run(self) -> None:
        """Look at all slots when the next deadline is due, until cancelled. Without a deadline there is no timer."""
        engine = self._engine
        shortest_s = min((b.handler.timeout_s for b in engine.kinds.bounds if b.handler.timeout_s), default=None)
        if shortest_s is None:
            return
        while not engine.stopping:
            next_s = min((slot.deadline_s for slot in engine.slots), default=math.inf)
            if next_s == math.inf:
                engine.deadlines.clear()
                await engine.deadlines.wait()
                continue
            # A handler that begins meanwhile has at least the shortest timeout.
            await asyncio.sleep(max(SWEEP_S, min(next_s - engine.loop.time(), shortest_s)))
            now_s = engine.loop.time()
            for slot in tuple(engine.slots):
                if slot.job is not None and slot.deadline_s <= now_s:
                    self._past_deadline(slot, now_s)
            engine.slots[:] = [slot for slot in engine.slots if not (slot.replaced and slot.job is None)]

    def _past_deadline(self, slot: Slot, now_s: float) -> None:
        job = slot.job
        assert job is not None
        if not slot.timed_out:
            slot.timed_out = True
            if not job.bound.stoppable:
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
    return "".join(line for frame in frames_of(slot) for line in traceback.format_stack(frame, limit=1))


def frames_of(slot: Slot) -> list[FrameType]:
    """The frames of the slot's suspended coroutines, outermost first: a task itself shows the first alone."""
    found: list[FrameType] = []
    inner: object = slot.work.get_coro() if slot.work is not None else None
    while isinstance(inner, CoroutineType) and inner.cr_frame is not None:
        found.append(inner.cr_frame)
        inner = inner.cr_await
    return found
