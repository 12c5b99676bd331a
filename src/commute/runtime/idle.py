"""The slots that have nothing to do: how they wait, and how many are woken for what has become ready.

Waking a slot costs as much as three events whose handlers do nothing. So not all are woken that might find a job:
where no handler is suspended, none may ever be, and the first slot then runs all that is ready in its turn.

Invariant: while something is ready and a slot is idle, another one is coming, or was woken for all there is.
"""

from __future__ import annotations

import asyncio

from commute.runtime.slot import Slot

WAKES_MAX = 2  # slots that a woken one wakes, if there is something for them: all are at work after a few turns


class Idle:
    """Owned by the engine's loop."""

    __slots__ = ("_coming", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Slot] = []
        self._coming: set[Slot] = set()  # woken, and yet to look for a job

    async def wait(self, slot: Slot) -> None:
        """Until the slot is woken."""
        self._waiting.append(slot)
        slot.wake = self._loop.create_future()
        try:
            await slot.wake
        finally:
            self._coming.discard(slot)

    def wake(self, count: int) -> None:
        """Let up to `count` idle slots look for a job."""
        waiting = self._waiting
        while count > 0 and waiting:
            slot = waiting.pop()
            if slot.wake is not None and not slot.wake.done():
                slot.wake.set_result(None)
                self._coming.add(slot)
                count -= 1

    def admitted(self, count: int, running: int) -> None:
        """`count` jobs more are ready, while `running` handlers are suspended."""
        if running:
            self.wake(count)
        elif not self._coming:
            self.wake(1)  # it wakes others before its handler begins, see `took`

    def took(self, ready: int) -> None:
        """A slot that was woken has found a job, and so many are left."""
        self.wake(min(ready, WAKES_MAX))

    def wake_all(self) -> None:
        self.wake(len(self._waiting))
