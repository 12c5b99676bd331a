"""A session that ends in the middle of things leaves nothing half done behind for the next one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from commute import App, CommuteError, Context
from tests.runtime.shop import Step, until


async def test_effects_of_a_session_that_failed_before_its_records_were_written_are_not_done_twice(
    tmp_path: Path,
) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")
    runs: list[int] = []
    fault = asyncio.Event()

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        runs.append(event.n)
        async with ctx.transaction() as tx:
            tx.execute("insert into effect values (?)", (event.n,))
        if not fault.is_set():
            fault.set()
            assert worker.session is not None
            worker.session.engine.fail(CommuteError("planted", slug="planted"))

    async with app:
        async with app.transaction() as tx:
            tx.execute("create table effect (n integer)")
        worker = app.worker()
        await worker.start()
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2), Step(key="b", n=3)])
        with pytest.raises(CommuteError, match="planted"):
            await worker.wait()
        async with app.running():
            for receipt in receipts:
                outcome = await receipt.outcome(timeout_s=10)
                assert outcome is not None and outcome.status == "processed"
        async with app.transaction() as tx:
            assert tx.execute("select n, count(*) from effect group by n") == [(1, 1), (2, 1), (3, 1)]
    await until(lambda: runs.count(1) == 1)


async def test_a_block_that_ends_after_its_session_is_undone(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")
    runs: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        runs.append(event.n)
        async with ctx.transaction() as tx:
            tx.execute("insert into effect values (?)", (event.n,))
            if len(runs) == 1:
                assert worker.session is not None
                worker.session.engine.fail(CommuteError("planted", slug="planted"))

    async with app:
        async with app.transaction() as tx:
            tx.execute("create table effect (n integer)")
        worker = app.worker()
        await worker.start()
        receipt = await app.publish(Step(key="a", n=1))
        with pytest.raises(CommuteError, match="planted"):
            await worker.wait()
        async with app.running():
            assert (await receipt.outcome(timeout_s=10)) is not None
        async with app.transaction() as tx:
            assert tx.execute("select n from effect") == [(1,)]
    assert runs == [1, 1]
