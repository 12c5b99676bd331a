"""The engines of one process on a stream of several partitions: one for each partition that it owns.

Each partition is a log of its own with an owner of its own, so an engine knows no other; that no key crosses is
checked before. A process begins with its share, `share` (I of N): the partitions I, I+N, ... The others it takes only
when they have had no owner for `OTHERS_AFTER_S`: whoever is meant to have them comes back first, and if nobody does,
nothing stays behind.

Invariant: the fleet ends as a whole. A partition whose worker fails would otherwise lie still unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from math import ceil
from typing import Any

from commute.runtime.plan import Plan
from commute.runtime.session import Session
from commute.runtime.worker import Link, Worker
from commute.transports.base import part_name

OTHERS_AFTER_S = 5.0


class Fleet:
    """Used as a `Worker` is: ``await start()``, ``await wait()``, ``await stop()``. Keywords are a worker's."""

    def __init__(self, plan: Plan, link: Link, partitions: int, *, share: tuple[int, int] = (0, 1), **how: Any) -> None:
        """`share`: (this process's number, how many processes), from 0. Handlers at once are divided among the
        partitions of the share."""
        number, processes = share
        mine = range(number, partitions, processes)
        each = max(1, ceil(plan.concurrency / max(1, len(mine))))
        self._lifespan = plan.lifespan
        self.workers = [
            Worker(
                replace(plan, partition=n, stream=part_name(plan.stream, n), concurrency=each, lifespan=None),
                link, patience_s=0.0 if n in mine else OTHERS_AFTER_S, **how,
            )
            for n in range(partitions)
        ]  # fmt: skip
        self._mine = [self.workers[n] for n in mine]
        self._stack = AsyncExitStack()
        self._waits: list[asyncio.Task[None]] = []

    @property
    def sessions(self) -> Sequence[Session]:
        """Those of the partitions that are owned now."""
        return [session for worker in self.workers for session in worker.sessions]

    @property
    def standing_by(self) -> bool:
        """Whether another process has all of the share."""
        return all(worker.standing_by for worker in self._mine)

    @property
    def drained(self) -> bool:
        """Whether every running handler has ended in time; after `stop`."""
        return all(worker.drained for worker in self.workers)

    @property
    def ended(self) -> bool:
        """Whether all of it, or any part by a failure, has ended: `wait` says."""
        return any(worker.ended for worker in self.workers)

    async def start(self) -> None:
        """Begin; returns when every partition of the share is ready, stands by, or has failed (then `wait` raises)."""
        if self._lifespan is not None:
            state = await self._stack.enter_async_context(self._lifespan())
            for worker in self.workers:
                worker.state = state
        others = [worker for worker in self.workers if worker not in self._mine]
        for worker in others:
            self._waits.append(asyncio.create_task(worker.start(), name="commute fleet"))
        await asyncio.gather(*(worker.start() for worker in self._mine))

    async def wait(self) -> None:
        """Returns when the fleet has ended; raises what ended it."""
        await asyncio.gather(*self._waits)
        try:
            await asyncio.gather(*(worker.wait() for worker in self.workers))
        except BaseException:
            await asyncio.gather(*(worker.stop() for worker in self.workers), return_exceptions=True)
            raise
        finally:
            await self._stack.aclose()

    async def stop(self) -> bool:
        """Drain and end all; True if every running handler has ended within `grace_s`."""
        for worker in self.workers:
            worker.ask_to_stop()
        await self.wait()
        return self.drained
