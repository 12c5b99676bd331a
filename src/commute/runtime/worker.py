"""A worker: owns a group, runs one session after another, and ends in order.

stand by until the group is free → session … → store failed? the next session, from what is durable
                                             → asked to hand over? drain, release, stand by again
                                             → asked to stop? drain, release
                                             → ownership lost, or a fault? stop with the error
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from commute.database import Database, Ownership
from commute.errors import CommuteError, OwnershipLostError, StoreError
from commute.runtime.plan import Plan
from commute.runtime.session import Session, Surroundings
from commute.runtime.status import snapshot
from commute.runtime.wiring import Recorder
from commute.runtime.world import SystemWorld, World
from commute.store.reading import forget
from commute.store.records import Record
from commute.store.schema import SCHEMA
from commute.store.store import Appender
from commute.transports.base import Transport

LOGGER = logging.getLogger("commute")

STAND_BY_S = 0.25  # how often one that stands by tries to take the group
STATUS_S = 1.0  # how often the worker writes what it is doing, for `commute status` beside it
HOUSEKEEPING_S = 60.0
STORE_RETRY_S_MAX = 5.0


class Retains(Protocol):
    """A transport that deletes what nobody needs any more."""

    async def retain(self, now_s: float) -> int: ...


class Link(Protocol):
    """The broker and the store of one app, opened; made by `commute.link`."""

    @property
    def file(self) -> Database:
        """The store."""

    @property
    def dead_letters_to(self) -> str | None:
        """Where the broker is to get copies of dead letters; None: nowhere."""

    def transport(self, stream: str | None = None, partition: int | None = None) -> Transport: ...

    def appender(self, transport: Transport) -> Appender | None: ...


class Worker:
    """Runs one app's handlers until `stop`. Use: ``await start()``, ``await wait()``, ``await stop()``."""

    def __init__(
        self,
        plan: Plan,
        link: Link,
        *,
        world: World | None = None,
        state: Any = None,
        recorder: Recorder | None = None,
        on_outcome: Callable[[Sequence[Record]], None] = lambda batch: None,
        resume: bool = False,
        from_end: bool = False,
        inline_threads: bool = False,
        watch: bool = True,
        may_take: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_take`: whether this worker tries to take the group, if it is free; asked again and again."""
        self.plan = plan
        self.link = link
        self.world = world or SystemWorld()
        self.session: Session | None = None
        self.standing_by = False
        self.ready = asyncio.Event()
        self.state = state
        self._recorder = recorder
        self._on_outcome = on_outcome
        self._resume = resume
        self._from_end = from_end
        self._inline_threads = inline_threads
        self._watch = watch
        self._may_take = may_take
        self._stop = asyncio.Event()
        self._hand_over = asyncio.Event()
        self._handed_over: asyncio.Future[bool] | None = None  # for whoever asked for it
        self._done_before = 0  # events done in sessions that are over
        self._work: asyncio.Task[None] | None = None
        self._ownership: Ownership | None = None
        self._failing_since: float | None = None
        self.drained = True

    async def start(self) -> None:
        """Begin; returns when the worker is ready, stands by, or has failed (then `wait` raises)."""
        self._work = asyncio.get_running_loop().create_task(self._run(), name="commute worker")
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait((self._work, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()

    @property
    def ended(self) -> bool:
        """Whether it has ended, well or not: `wait` says."""
        return self._work is not None and self._work.done()

    async def wait(self) -> None:
        """Returns when the worker has ended; raises what ended it."""
        assert self._work is not None
        await self._work

    @property
    def sessions(self) -> Sequence[Session]:
        """The session that runs; none while this worker stands by."""
        session = self.session
        return [session] if session is not None and hasattr(session, "engine") else []

    @property
    def done(self) -> int:
        """Events done since the start, in all sessions."""
        return self._done_before + sum(session.engine.done for session in self.sessions)

    async def hand_over(self) -> bool:
        """Let what runs end, give the group up, and stand by for it again. False if it was kept: a handler still ran
        after `grace_s`, or the worker ended. One call at a time, while a session runs."""
        if self.ended:
            return False
        self._handed_over = asyncio.get_running_loop().create_future()
        self._hand_over.set()
        return await self._handed_over

    def ask_to_stop(self) -> None:
        """Drain and end, soon."""
        self._stop.set()

    async def stop(self) -> bool:
        """Drain and end; True if every running handler has ended within `grace_s`."""
        self.ask_to_stop()
        await self.wait()
        return self.drained

    # -- inside -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        file = self.link.file
        await asyncio.to_thread(file.schema, SCHEMA) if file.path is not None else file.schema(SCHEMA)
        async with AsyncExitStack() as stack:
            file.writer.on_failure(self._store_failed)
            stack.callback(file.writer.off_failure, self._store_failed)
            if not await self._take_group():
                return
            stack.callback(self._give_group_back)
            if self.plan.lifespan is not None:
                self.state = await stack.enter_async_context(self.plan.lifespan())
            delay_s = 0.1
            stack.callback(self._answer, False)
            while not self._stop.is_set():
                error = await self._one_session()
                if error is None:
                    if self._stop.is_set() or not await self._stand_by_again():
                        break
                    continue
                delay_s = min(2 * delay_s, STORE_RETRY_S_MAX)
                LOGGER.error("error[%s] %s   Again in %.1f s, from what is durable", error.slug, error, delay_s)
                await self._pause(delay_s)
                file.writer.reset()

    async def _stand_by_again(self) -> bool:
        """Give the group up after a drain, until it is ours again; False if asked to stop meanwhile."""
        self._give_group_back()
        self._done_before, self.session = self.done, None
        self._ownership = None  # the next epoch is another one's: nothing that is left of this session may have it
        self.standing_by = True
        self._hand_over.clear()
        self._answer(True)
        return await self._take_group()

    def _answer(self, handed_over: bool) -> None:
        asked, self._handed_over = self._handed_over, None
        if asked is not None and not asked.done():
            asked.set_result(handed_over)

    def _give_group_back(self) -> None:
        """Once no thread runs a handler of ours: whoever takes the group would run the same event beside it."""
        if self._ownership is None:
            return
        session = self.session
        if session is not None and hasattr(session, "engine"):
            session.engine.threads.when_idle(self._ownership.release)
        else:
            self._ownership.release()

    async def _pause(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _take_group(self) -> bool:
        """Own the group; stands by while another worker does. False if asked to stop meanwhile."""
        file = self.link.file
        if file.path is None:
            return True
        if self._ownership is None:
            self._ownership = file.ownership(self.plan.seat)
        ownership = self._ownership
        again = self.session is not None  # it was ours, and is still, unless it was lost with a connection
        while not (again or self._may_take()) or not await asyncio.to_thread(ownership.try_take):
            again = False
            if not self.standing_by:
                self.standing_by = True
                self._hand_over.clear()  # it was lost before it could be handed over
                self._answer(True)
                holder = await asyncio.to_thread(ownership.holder)
                who = f"pid {holder[0]} (host {holder[1]})" if holder else "another worker"
                LOGGER.warning(
                    "warning[second-worker] group %s on %s is run by %s. This one stands by and takes over as soon "
                    "as that one has ended.",
                    self.plan.seat, file.path, who,
                )  # fmt: skip
                self.ready.set()
            await self._pause(STAND_BY_S)
            if self._stop.is_set():
                return False
        if self.standing_by:
            self.standing_by = False
            LOGGER.warning("group %s is free: this worker takes over", self.plan.seat)
        return True

    async def _one_session(self) -> StoreError | None:
        """One engine from start to end. None: asked to stop, and drained. A StoreError: begin again. Else raises."""
        try:
            failure = await self._lead_session()
        except StoreError as error:
            failure = error
        if failure is None:
            return None
        again = self.ready.is_set() and not self._stop.is_set()  # else whoever started or stopped it is told at once
        if again and isinstance(failure, StoreError) and not isinstance(failure, OwnershipLostError):
            return failure
        raise failure

    async def _lead_session(self) -> BaseException | None:
        """What ended the session; None: it was asked to. Raises StoreError where it could not even be made."""
        file = self.link.file
        if self.session is not None and not await self._take_group():
            return None  # it was lost with a connection, and asked to stop before it came back
        make = partial(self.link.transport, None, self.plan.partition)
        transport = await asyncio.to_thread(make) if file.path is not None else make()
        record = file.record(self.plan.seat, self.plan.concurrency + self.plan.limits.overdue_max + 1)
        suspects = record.read_and_reset()
        self._done_before = self.done
        session = self.session = Session(
            Surroundings(
                plan=self.plan, world=self.world, file=file, transport=transport,
                appender=self.link.appender(transport), copies_to=self.link.dead_letters_to,
                ownership=self._ownership, in_flight=record, suspects=suspects, state=self.state,
                on_outcome=self._on_outcome, recorder=self._recorder,
                resume=self._resume, from_end=self._from_end, inline_threads=self._inline_threads, watch=self._watch,
            )
        )  # fmt: skip
        chores: asyncio.Task[None] | None = None
        try:
            await session.open()
            if self._watch:
                chores = asyncio.create_task(self._housekeeping(session, transport), name="commute housekeeping")
            self._resume = False
            self.ready.set()
            await self._until_its_end(session)
            if session.engine.failure is None:
                self.drained = await session.drain()
                if self.drained:
                    record.clean_close()
        except StoreError as error:
            if not hasattr(session, "engine"):
                raise
            session.engine.fail(error)
        finally:
            if chores is not None:
                chores.cancel()
            if hasattr(session, "engine"):
                await self._end(session)
        return session.engine.failure

    async def _end(self, session: Session) -> None:
        if session.engine.failure is not None and not await session.ended(self.plan.limits.grace_s):
            # The next session would run the same events beside these: two at once.
            session.engine.failure = CommuteError(
                "handlers of the failed session do not end, so no new one can begin; the worker stops",
                slug="overdue-max",
            )
        await session.close()

    async def _until_its_end(self, session: Session) -> None:
        """Until asked to stop, or the session has failed, or it is to be handed over and nothing of it runs now."""
        ends = (self._stop.wait(), session.engine.failed.wait(), self._until_quiet(session))
        waits = [asyncio.create_task(end) for end in ends]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                await wait
        finally:
            for wait in waits:
                wait.cancel()

    async def _until_quiet(self, session: Session) -> None:
        await self._hand_over.wait()
        while not await session.quiet(self.plan.limits.grace_s):
            self._hand_over.clear()
            self._answer(False)
            await self._hand_over.wait()

    def _store_failed(self, error: StoreError) -> None:
        session = self.session
        if session is not None and hasattr(session, "engine"):
            session.engine.fail_from_writer(error)

    async def _housekeeping(self, session: Session, transport: Transport) -> None:
        file, limits = self.link.file, self.plan.limits
        path = None if file.path is None else Path(file.side_path(self.plan.seat, "status"))
        next_s = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if path is not None:
                self._write_status(path, session)
            if loop.time() >= next_s:
                next_s = loop.time() + HOUSEKEEPING_S
                scope, now_s = session.engine.store.scope, self.world.now_s()
                try:
                    while await asyncio.wrap_future(
                        file.writer.submit(
                            lambda c, scope=scope, now_s=now_s: forget(  # type: ignore[misc]
                                c, scope, now_s, dedupe_s=limits.dedupe_s, retain_s=limits.retain_s
                            )
                        )
                    ):
                        await asyncio.sleep(0)
                    retain = getattr(transport, "retain", None)
                    if retain is not None:
                        await retain(now_s)
                except StoreError as error:
                    LOGGER.info("housekeeping: %s", error)
            await asyncio.sleep(STATUS_S)

    def _write_status(self, path: Path, session: Session) -> None:
        whole = path.with_suffix(".status-new")
        try:
            whole.write_text(json.dumps({"pid": os.getpid(), **snapshot(session, self.world.now_s())}))
            whole.replace(path)
        except OSError as error:
            LOGGER.info("status file: %s", error)
