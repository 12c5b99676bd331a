"""One engine hands its group over: after what runs, before anything else, and behind a fence; else it keeps it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from commute import App, Context, Limits, OwnershipLostError
from commute.runtime.worker import Worker
from tests.runtime.shop import Step, until


async def test_what_runs_ends_what_waits_is_left_and_the_former_owner_writes_nothing_more(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db", concurrency=2)
    began, may_end = asyncio.Event(), asyncio.Event()
    ran: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        if event.n == 1:
            began.set()
            await may_end.wait()
        async with ctx.transaction() as block:
            block.execute("insert into effect values (?)", (event.n,))
        ran.append(event.n)

    async with app:
        file = app.connect().file
        file.schema("create table effect (n)")
        free = True
        worker = Worker(app.plan(), app.connect(), may_take=lambda: free)
        await worker.start()
        await app.publish(Step(key="a", n=1))
        await began.wait()
        free = False
        former = worker.sessions[0].engine
        handing = asyncio.create_task(worker.hand_over())
        await until(lambda: former.holding)
        await app.publish_many([Step(key="a", n=2), Step(key="b", n=3)])
        await asyncio.sleep(0.2)
        assert not handing.done() and ran == [] and file.owner("shop") is not None
        may_end.set()
        assert await asyncio.wait_for(handing, 15)
        assert ran == [1] and file.owner("shop") is None
        assert worker.standing_by and not worker.sessions and worker.done == 1
        free = True
        await until(lambda: sorted(ran) == [1, 2, 3])
        await until(lambda: worker.done == 3)
        with pytest.raises(OwnershipLostError):
            file.read(former.store.check_epoch)
        assert await worker.stop()
        assert sorted(file.read(lambda c: c.execute("select n from effect").fetchall())) == [(1,), (2,), (3,)]


async def test_a_handler_that_does_not_end_keeps_its_partition_and_holds_up_nobody_else(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db", concurrency=2, limits=Limits(grace_s=0.2))
    began, may_end = asyncio.Event(), asyncio.Event()
    ran: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        if event.n == 1:
            began.set()
            await may_end.wait()
        ran.append(event.n)

    async with app:
        worker = Worker(app.plan(), app.connect())
        await worker.start()
        await app.publish(Step(key="a", n=1))
        await began.wait()
        session = worker.session
        assert not await worker.hand_over()
        await app.publish_many([Step(key="a", n=2), Step(key="b", n=3)])
        await until(lambda: ran == [3])  # as if nobody had asked
        assert worker.session is session
        may_end.set()
        await until(lambda: ran == [3, 1, 2])
        assert await worker.stop()


async def test_whoever_asked_is_told_when_the_worker_ends_instead(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")
    began = asyncio.Event()

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        began.set()
        await asyncio.sleep(0.2)

    async with app:
        worker = Worker(app.plan(), app.connect())
        await worker.start()
        await app.publish(Step(key="a", n=1))
        await began.wait()
        handing = asyncio.create_task(worker.hand_over())
        await asyncio.sleep(0)
        assert await worker.stop()
        assert not await asyncio.wait_for(handing, 15)
