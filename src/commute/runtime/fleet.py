"""The engines of one process on a stream of several partitions: one for each partition that it owns.

Each partition is a log of its own with an owner of its own, so an engine knows no other; that no key crosses is
checked before. A process begins with its share, `share` (I of N): the partitions I, I+N, ... Every `LOOK_S` it looks
who is there (`runtime.membership`) and does its part of what `core.balance` makes of that:

    free, of the share           taken at once: a worker that was started again has its own back
    free, given up for this one  taken at once
    free, its owner has gone     taken after `OTHERS_AFTER_S`; whoever is meant to have it comes back first
    owned, and more than fair    handed over, all of the surplus in one round: drained, released, another one's

Nothing stays behind: what nobody takes for twice that time, anybody takes.

Invariants: the fleet ends as a whole, since a partition whose worker fails would otherwise lie still unseen. What can
not be handed over (a handler hangs, a heir does not come) is left in peace for `PEACE` times `grace_s`, so that it is
not for ever between two owners.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Any

from commute.core.balance import Member, Seen, fair, gives, takes
from commute.errors import CommuteError, StoreError
from commute.runtime.membership import Membership
from commute.runtime.plan import Plan
from commute.runtime.session import Session
from commute.runtime.wiring import Recorder
from commute.runtime.worker import Link, Worker
from commute.transports.base import part_name

LOGGER = logging.getLogger("commute")

LOOK_S = 0.5  # between two looks
OTHERS_AFTER_S = 5.0
COUNT_S = 30.0  # between two questions how many partitions the stream has
PEACE = 10


class Fleet:
    """Used as a `Worker` is: ``await start()``, ``await wait()``, ``await stop()``. Keywords are a worker's."""

    def __init__(
        self,
        plan: Plan,
        link: Link,
        partitions: int,
        *,
        share: tuple[int, int] = (0, 1),
        count: Callable[[], int] | None = None,
        recorder: Callable[[int], Recorder] | None = None,
        **how: Any,
    ) -> None:
        """`share`: (this process's number, how many processes), from 0. Handlers at once are divided among the
        partitions of the share, or those that are fair where these are fewer. `count`: asks how many there are now; it
        may block. `recorder`: makes that of a partition."""
        number, processes = share
        self._share = range(number, partitions, processes)
        self._lifespan = plan.lifespan
        self._concurrency = plan.concurrency
        self._limits = plan.limits
        self._membership: Membership | None = None
        self.workers = [
            Worker(
                replace(
                    plan, partition=n, partitions=partitions, stream=part_name(plan.stream, n),
                    concurrency=self._each(len(self._share)), lifespan=None,
                ),
                link, may_take=partial(self._may_take, n), recorder=None if recorder is None else recorder(n), **how,
            )
            for n in range(partitions)
        ]  # fmt: skip
        if link.file.path is not None:  # in memory nobody else is there
            self._membership = Membership(link.file, plan.group, [worker.plan.seat for worker in self.workers])
        self._mine = [self.workers[n] for n in self._share]
        self._seen: Seen | None = None
        self._free_s: dict[int, float] = {}  # since when nobody has it, as far as this process knows
        self._at_once: set[int] = set()
        self._meant: set[int] = set()
        self._round_s = 0.0  # the next one may begin
        self._leaving: dict[int, asyncio.Task[None]] = {}
        self._given: dict[int, frozenset[Member]] = {}  # handed over, and not yet seen with another; who was there
        self._stuck_s: dict[int, float] = {}  # until when it is not tried again
        self._balancing: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()
        self._waits: list[asyncio.Task[None]] = []
        self._stream = plan.stream
        self._count = count
        self._counting: asyncio.Task[None] | None = None

    @property
    def sessions(self) -> Sequence[Session]:
        """Those of the partitions that are owned now."""
        return [session for worker in self.workers for session in worker.sessions]

    @property
    def done(self) -> int:
        """Events done since the start, those of partitions that have been handed over too."""
        return sum(worker.done for worker in self.workers)

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
        if self._membership is not None:
            self._stack.push_async_callback(asyncio.to_thread, self._membership.leave)
            try:
                await self._look(self._membership)
            except BaseException:
                await self._stack.aclose()
                raise
            self._balancing = asyncio.create_task(self._balance(self._membership), name="commute balance")
        if self._count is not None:
            self._counting = asyncio.create_task(self._count_anew(self._count), name="commute partitions")
        others = [worker for worker in self.workers if worker not in self._mine]
        for worker in others:
            self._waits.append(asyncio.create_task(worker.start(), name="commute fleet"))
        await asyncio.gather(*(worker.start() for worker in self._mine))

    async def wait(self) -> None:
        """Returns when the fleet has ended; raises what ended it."""
        await asyncio.gather(*self._waits)
        try:
            await asyncio.gather(*(worker.wait() for worker in self.workers))
            if self._balancing is not None and self._balancing.done():
                await self._balancing
        except BaseException:
            await asyncio.gather(*(worker.stop() for worker in self.workers), return_exceptions=True)
            raise
        finally:
            for work in (self._balancing, self._counting, *self._leaving.values()):
                if work is not None:
                    work.cancel()
            await self._stack.aclose()

    async def stop(self) -> bool:
        """Drain and end all; True if every running handler has ended within `grace_s`."""
        self._ask_to_stop()
        await self.wait()
        return self.drained

    def _ask_to_stop(self) -> None:
        for worker in self.workers:
            worker.ask_to_stop()

    async def _count_anew(self, count: Callable[[], int]) -> None:
        """Say once if the stream has other partitions than these workers read. They go on: to start anew would be
        refused as long as anything is not finished, and what is in hand can be finished here only."""
        while True:
            await asyncio.sleep(COUNT_S)
            try:
                now = await asyncio.to_thread(count)
            except CommuteError as error:
                LOGGER.info("how many partitions %s has is not known now: %s", self._stream, error)
                continue
            if now != len(self.workers):
                LOGGER.error(
                    "error[partitions-changed] %s has %d partitions now, and its workers read %d: what is sent to the "
                    "others waits there, and events that depend on each other may lie in two logs. Stop the producers, "
                    "let what is there be finished (commute status), then start the workers anew",
                    self._stream, now, len(self.workers),
                )  # fmt: skip
                return

    # -- who has what -------------------------------------------------------------------------------------------

    async def _balance(self, membership: Membership) -> None:
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                before = self._seen
                try:
                    seen = await self._look(membership)
                except StoreError as error:
                    LOGGER.info("who owns which partition is not known now: %s", error)
                    continue
                if before is not None and seen.members == before.members:  # who comes and goes gets nothing
                    self._give(seen, membership.me)
        except Exception:
            self._ask_to_stop()  # a fault of ours: the fleet ends with it, and says so
            raise

    async def _look(self, membership: Membership) -> Seen:
        """See who is there, and what this process may take because of it."""
        seen = self._seen = await asyncio.to_thread(membership.look)
        now_s = asyncio.get_running_loop().time()
        self._free_s = {number: self._free_s.get(number, now_s) for number in seen.free()}
        self._at_once, self._meant = takes(seen, membership.me, share=self._share)
        each = self._each(len(self._share), fair(seen).get(membership.me, 0))
        for worker in self.workers:
            if not worker.sessions and worker.plan.concurrency != each:
                worker.plan = replace(worker.plan, concurrency=each)  # of its next session
        self._see_what_became_of_it(seen, membership.me)
        return seen

    def _see_what_became_of_it(self, seen: Seen, me: Member) -> None:
        for number, members in list(self._given.items()):
            if self.workers[number].sessions:
                del self._given[number]
                if members == frozenset(seen.members):
                    LOGGER.warning("partition %d is back: the worker that has too few has not taken it", number)
                    self._round_s = asyncio.get_running_loop().time() + PEACE * self._limits.grace_s
            elif seen.owners[number] not in (None, me):
                del self._given[number]

    def _each(self, *counts: int) -> int:
        """Handlers at once of one partition where this process has so many: the fewest of `counts`, none apart."""
        return ceil(self._concurrency / min((count for count in counts if count), default=1))

    def _may_take(self, number: int) -> bool:
        if self._membership is None:
            return True
        free_s = self._free_s.get(number)
        if free_s is None:
            return False
        patience_s = 0.0 if number in self._at_once else OTHERS_AFTER_S * (1 if number in self._meant else 2)
        return asyncio.get_running_loop().time() - free_s >= patience_s

    def _give(self, seen: Seen, me: Member) -> None:
        """Begin to hand over what is too much, not more often than `balance_s`."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._round_s:
            return
        stuck = [number for number, until_s in self._stuck_s.items() if now_s < until_s]
        chosen = [
            number
            for number in gives(seen, me, share=self._share, leaving=self._leaving, stuck=stuck)
            if self.workers[number].sessions
        ]
        if not chosen:
            return
        self._round_s = now_s + self._limits.balance_s
        LOGGER.info("%s handed over: another worker has fewer", _named(chosen))
        for number in chosen:
            self._leaving[number] = asyncio.create_task(self._hand_over(number), name="commute hand over")

    async def _hand_over(self, number: int) -> None:
        assert self._seen is not None
        members = frozenset(self._seen.members)
        try:
            if await self.workers[number].hand_over():
                self._given[number] = members
            elif not self.workers[number].ended:
                LOGGER.warning("partition %d is kept: a handler does not end within grace_s", number)
                self._stuck_s[number] = asyncio.get_running_loop().time() + PEACE * self._limits.grace_s
        finally:
            del self._leaving[number]


def _named(numbers: Sequence[int]) -> str:
    said = ", ".join(map(str, numbers))
    return f"partition {said} is" if len(numbers) == 1 else f"partitions {said} are"
