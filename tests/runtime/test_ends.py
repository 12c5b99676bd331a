"""How sessions and workers end and begin again: cancelled handlers, lost ownership, failing stores, failed starts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from commute import App, Context, DeadLetter, Limits, OwnershipLostError, Retry, StoreError
from commute.database import Connection
from tests.runtime.shop import AT_ONCE, QUICK, Step, state_of, until


async def is_(app: App[None], event_id: str, status: str) -> bool:
    return await state_of(app, event_id) == status


async def test_a_late_success_leaves_no_cancellation_behind_for_later_handlers(url: str) -> None:
    app: App[None] = App("shop", url, concurrency=1)
    failures: list[str] = []

    @app.on(Step, writes="key/{key}", timeout_s=0.1, retry=QUICK)
    async def step(event: Step) -> None:
        if event.n == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return  # finished late
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        except ExceptionGroup as errors:
            failures.append(repr(errors.exceptions[0]))

    async def fail() -> None:
        raise ValueError("inner")

    async with app, app.running():
        for n in (1, 2):
            receipt = await app.publish(Step(key="a", n=n))
            outcome = await receipt.outcome(timeout_s=5)
            assert outcome is not None and outcome.status == "processed"
    assert failures == ["ValueError('inner')"]


async def test_a_cancellation_inside_a_handler_is_its_own_failure(url: str) -> None:
    app: App[None] = App("shop", url, concurrency=1)
    runs: list[int] = []

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def step(event: Step) -> None:
        runs.append(event.n)
        if event.n == 1 and runs.count(1) < 3:
            inner = asyncio.create_task(asyncio.Event().wait())
            inner.cancel()
            await inner

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2), Step(key="b", n=3)])
        for receipt in receipts:
            outcome = await receipt.outcome(timeout_s=5)
            assert outcome is not None and outcome.status == "processed"
    assert runs.count(1) == 3


async def test_a_dead_letter_is_final_though_the_breaker_is_open(url: str) -> None:
    app: App[None] = App("shop", url)

    @app.on(Step, writes="key/{key}", retry=Retry(attempts=1))
    async def step(event: Step) -> None:
        raise DeadLetter(f"no customer {event.n}")

    async with app, app.running():
        receipts = await app.publish_many([Step(key=str(n), n=n) for n in range(40)])
        for receipt in receipts:
            await until(lambda receipt=receipt: is_(app, receipt.event_id, "parked"))  # type: ignore[misc]


@pytest.mark.parametrize("with_block", [False, True])
async def test_a_worker_that_lost_its_group_stops_and_writes_nothing_more(tmp_path: Path, with_block: bool) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")
    gate = asyncio.Event()
    ran: list[int] = []

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def step(event: Step, ctx: Context[None]) -> None:
        await gate.wait()
        ran.append(event.n)
        if with_block:
            async with ctx.transaction():
                pass

    async with app:
        worker = app.worker()
        await worker.start()
        receipt = await app.publish(Step(key="a", n=1))

        def take_over() -> None:  # in a transaction of its own, as another process does it
            connection = apsw.Connection(str(tmp_path / "shop.db"))
            try:
                connection.set_busy_timeout(10_000)
                connection.execute("update commute_owners set epoch = epoch + 1")
            finally:
                connection.close()

        await asyncio.to_thread(take_over)
        gate.set()
        with pytest.raises(OwnershipLostError):
            await asyncio.wait_for(worker.wait(), 10)
        assert await is_(app, receipt.event_id, "waiting")


async def test_a_worker_begins_again_when_the_store_fails_twice_and_others_can_publish_after_it(
    tmp_path: Path,
) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")
    ran: list[int] = []
    broken = 2

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        ran.append(event.n)

    def fail(connection: Connection) -> None:
        nonlocal broken
        if broken:
            broken -= 1
            raise StoreError("planted", slug="database-io")

    async with app:
        writer = app.connect().file.writer
        async with app.running():
            with pytest.raises(StoreError):
                await asyncio.wrap_future(writer.submit(fail))
            await until(lambda: writer.failure is None)
            receipt = await until_published(app, Step(key="a", n=1))
            assert (await receipt.outcome(timeout_s=10)) is not None
        assert ran == [1]
        with pytest.raises(StoreError):  # no worker listens any more
            await asyncio.wrap_future(writer.submit(fail))
        assert (await until_published(app, Step(key="a", n=2))).position == 2


async def test_a_store_that_fails_in_a_block_uses_no_attempt_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")
    errors: list[StoreError] = []

    @app.on(Step, writes="key/{key}", retry=Retry(attempts=1))
    async def step(event: Step, ctx: Context[None]) -> None:
        async with ctx.transaction() as block:
            try:
                block.execute("insert into effect values (zeroblob(?))", (1 if errors else 1_000_000,))
            except StoreError as error:
                errors.append(error)
                raise

    def no_room(connection: Connection) -> None:
        pages = connection.execute("pragma page_count").fetchall()[0][0]
        connection.execute(f"pragma max_page_count = {pages + 100}")

    async with app:
        file = app.connect().file
        file.schema("create table effect (x)")
        async with app.running():
            await asyncio.wrap_future(file.writer.submit(no_room))
            receipt = await app.publish(Step(key="a", n=1))
            outcome = await receipt.outcome(timeout_s=15)
        assert outcome is not None and outcome.status == "processed"
        assert [error.slug for error in errors] == ["database-full"]
        assert file.read(lambda c: c.execute("select length(x) from effect").fetchall()) == [(1,)]
    assert "parked" not in caplog.text


async def test_the_failure_of_another_store_is_the_handlers_own(url: str) -> None:
    app: App[None] = App("shop", url)
    runs: list[int] = []

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def step(event: Step) -> None:
        runs.append(event.n)
        raise StoreError("elsewhere.db: another process has held its write lock for 5 s", slug="database-locked")

    async with app, app.running():
        receipt = await app.publish(Step(key="a", n=1))
        await until(lambda: is_(app, receipt.event_id, "parked"))
    assert len(runs) == QUICK.attempts


async def until_published(app: App[None], event: Step):  # type: ignore[no-untyped-def]
    async with asyncio.timeout(5):
        while True:
            try:
                return await app.publish(event)
            except StoreError:
                await asyncio.sleep(0.01)


async def test_a_session_that_cannot_even_begin_is_tried_again(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        pass

    failing = True

    async with app:
        writer = app.connect().file.writer
        async with app.running():

            def source(_connection: Connection) -> None:
                if failing:
                    raise StoreError("disk full", slug="database-full")

            writer.attach(source)
            with pytest.raises(StoreError):
                await app.publish(Step(key="a", n=1))
            fails: list[StoreError] = []
            writer.on_failure(fails.append)
            await until(lambda: len(fails) >= 2)
            failing = False
            receipt = await until_published(app, Step(key="a", n=2))
            assert (await receipt.outcome(timeout_s=15)) is not None


async def test_a_failed_lifespan_gives_the_group_back(tmp_path: Path) -> None:
    opened = 0

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        nonlocal opened
        opened += 1
        if opened == 1:
            raise LookupError("no database yet")
        yield

    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db", lifespan=lifespan)

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        pass

    async with app:
        with pytest.raises(LookupError):
            async with app.running():
                raise AssertionError("it began")
        async with app.running():
            receipt = await app.publish(Step(key="a", n=1))
            assert (await receipt.outcome(timeout_s=5)) is not None


async def test_a_worker_that_cannot_begin_says_so_at_once(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        pass

    async with app:
        receipt = await app.publish(Step(key="a", n=1))

        def damage(connection: Connection) -> None:
            connection.execute("create table if not exists commute_groups(x)")
            connection.execute("insert into commute_groups select number, 'shop', 77, 0 from commute_streams")

        await asyncio.wrap_future(app.connect().file.writer.submit(damage))
        with pytest.raises(StoreError, match="damaged"):
            async with app.running():
                raise AssertionError("it began")
        assert receipt.position == 1


async def test_the_group_is_kept_while_a_thread_of_a_handler_still_runs(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db", limits=Limits(grace_s=0.05))
    begun, release = threading.Event(), threading.Event()
    runs: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    def step(event: Step) -> None:
        runs.append(event.n)
        begun.set()
        release.wait(20)

    try:
        async with app:
            worker = app.worker()
            await worker.start()
            await app.publish(Step(key="a", n=1))
            await asyncio.to_thread(begun.wait, 10)
            assert await worker.stop() is False
            second = app.worker()
            await second.start()
            assert second.standing_by  # or the event would run twice at once
            release.set()
            await until(lambda: not second.standing_by)
            await second.stop()
        assert runs[0] == 1
    finally:
        release.set()
