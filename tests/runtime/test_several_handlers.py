"""Events with several handlers at the edges: given-up bytes, held events, chains, handlers that wait for no one."""

from __future__ import annotations

import asyncio

from commute import App, Context, Limits
from tests.runtime.shop import AT_ONCE, Child, Pair, Step, ask, state_of, until


async def is_(app: App[None], event_id: str, status: str) -> bool:
    return await state_of(app, event_id) == status


async def test_no_handler_is_left_out_where_bytes_were_given_up_for_the_payload_limit(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(payload_bytes_max=5_000), concurrency=4)
    first: list[int] = []
    second: list[int] = []

    @app.on(Pair, writes="key/{left}")
    async def one(event: Pair) -> None:
        await asyncio.sleep(0)
        first.append(event.n)

    @app.on(Pair, writes="key/{left}")
    async def two(event: Pair) -> None:
        assert len(event.right) == 200
        second.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Pair(left=str(n % 5), right="x" * 200, n=n) for n in range(200)])
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=20)) is not None
    for key in range(5):
        mine = list(range(key, 200, 5))
        assert [n for n in first if n % 5 == key] == mine
        assert [n for n in second if n % 5 == key] == mine


async def test_bytes_are_counted_once_however_many_handlers_read_them_again(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(payload_bytes_max=1_000), concurrency=8)

    @app.on(Pair, writes="left/{n}")
    async def one(event: Pair) -> None:
        await asyncio.sleep(0)

    @app.on(Pair, writes="right/{n}")
    async def two(event: Pair) -> None:
        await asyncio.sleep(0)

    async with app:
        worker = app.worker()
        await worker.start()
        receipts = await app.publish_many([Pair(left="a", right="x" * 200, n=n) for n in range(50)])
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=20)) is not None
        assert worker.session is not None
        assert worker.session.engine.payload_bytes == 0
        await worker.stop()


async def test_an_event_is_parked_with_its_followers_though_their_bytes_were_given_up(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(payload_bytes_max=1_000), concurrency=4)
    gate = asyncio.Event()

    @app.on(Pair, writes="key/{left}", retry=AT_ONCE)
    async def bad(event: Pair) -> None:
        if event.left == "a":
            raise ValueError("no")

    @app.on(Pair, writes="mail/{left}")
    async def slow(event: Pair) -> None:
        await gate.wait()

    async with app, app.running():
        receipts = await app.publish_many([Pair(left="a", right="x" * 400, n=n) for n in range(20)])
        other = await app.publish(Pair(left="b", right="", n=99))
        await asyncio.sleep(0)
        gate.set()
        await until(lambda: is_(app, receipts[0].event_id, "parked"))
        for receipt in receipts[1:]:
            await until(lambda receipt=receipt: is_(app, receipt.event_id, "held"))  # type: ignore[misc]
        assert (await other.outcome(timeout_s=10)) is not None


async def test_a_handler_that_waits_for_no_one_may_fail_after_its_event_is_held(url: str) -> None:
    app: App[None] = App("shop", url)
    gate = asyncio.Event()
    broken = True
    ordered: list[int] = []
    metrics: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n == 1 and broken:
            raise ValueError("bad")
        ordered.append(event.n)

    @app.on(Step, unordered=True, retry=AT_ONCE)
    async def metric(event: Step) -> None:
        if event.n == 2 and broken:
            await gate.wait()
            raise ValueError("bad metric")
        metrics.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2), Step(key="b", n=3)])
        await until(lambda: is_(app, receipts[1].event_id, "held"))
        gate.set()
        assert (await receipts[2].outcome(timeout_s=10)) is not None
        late = await app.publish(Step(key="c", n=4))
        assert (await late.outcome(timeout_s=10)) is not None
        broken = False
        await ask(app, "retry", receipts[0].event_id)
        assert (await receipts[0].outcome(timeout_s=10)) is not None
        await until(lambda: 2 in ordered)
        await until(lambda: is_(app, receipts[1].event_id, "parked"))  # its other handler has failed for good
        await ask(app, "retry", receipts[1].event_id)
        assert (await receipts[1].outcome(timeout_s=10)) is not None
    assert [n for n in ordered if n < 3] == [1, 2]
    assert sorted(metrics) == [1, 2, 3, 4]


async def test_a_handler_that_waits_for_no_one_is_not_run_again_when_its_held_event_is_replayed(url: str) -> None:
    app: App[None] = App("shop", url)
    gate = asyncio.Event()
    bad = {1}
    metrics: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n in bad:
            raise ValueError("bad")

    @app.on(Step, unordered=True)
    async def metric(event: Step) -> None:
        if event.n == 2:
            await gate.wait()
        metrics.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2)])
        await until(lambda: is_(app, receipts[1].event_id, "held"))
        bad.clear()
        await ask(app, "retry", receipts[0].event_id)
        assert (await receipts[0].outcome(timeout_s=10)) is not None
        assert await receipts[1].outcome(timeout_s=0.2) is None  # its other handler still runs
        gate.set()
        assert (await receipts[1].outcome(timeout_s=10)) is not None
        late = await app.publish(Step(key="a", n=3))
        assert (await late.outcome(timeout_s=10)) is not None
    assert sorted(metrics) == [1, 2, 3]


async def test_a_handler_that_waits_for_no_one_runs_though_its_event_is_held_at_arrival(url: str) -> None:
    app: App[None] = App("shop", url)
    bad = {1}
    metrics: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n in bad:
            raise ValueError("bad")

    @app.on(Step, unordered=True)
    async def metric(event: Step) -> None:
        metrics.append(event.n)

    async with app, app.running():
        first = await app.publish(Step(key="a", n=1))
        await until(lambda: is_(app, first.event_id, "parked"))
        second = await app.publish(Step(key="a", n=2))
        await until(lambda: metrics == [1, 2])
        await until(lambda: is_(app, second.event_id, "held"))
        bad.clear()
        await ask(app, "retry", first.event_id)
        assert (await second.outcome(timeout_s=10)) is not None
    assert metrics == [1, 2]


async def test_handlers_that_wait_for_no_one_are_bounded_too(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(descriptors_max=10), concurrency=4)
    gate = asyncio.Event()
    ordered: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        ordered.append(event.n)

    @app.on(Step, unordered=True, concurrency=1)
    async def metric(event: Step) -> None:
        await gate.wait()

    async with app:
        worker = app.worker()
        await worker.start()
        receipts = await app.publish_many([Step(key=str(n), n=n) for n in range(100)])
        await until(lambda: len(ordered) >= 10)
        assert worker.session is not None
        await until(lambda: worker.session.intake.full_since_s is not None)  # type: ignore[union-attr]
        assert len(ordered) <= 30
        gate.set()
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=10)) is not None
        await worker.stop()


async def test_children_of_two_handlers_of_one_event_leave_in_registration_sequence(url: str) -> None:
    app: App[None] = App("shop", url)
    gates = {n: asyncio.Event() for n in (1, 2)}
    arrived: list[int] = []
    begun: list[int] = []

    @app.on(Step, writes="key/{n}", publishes="out/{key}")
    async def first(event: Step, ctx: Context[None]) -> None:
        if event.n == 1:
            await gates[1].wait()
        ctx.publish(Child(key=event.key, n=10 * event.n))

    @app.on(Step, writes="key/{n}", publishes="out/{key}")
    async def second(event: Step, ctx: Context[None]) -> None:
        begun.append(event.n)
        if event.n == 2:
            await gates[2].wait()
        ctx.publish(Child(key=event.key, n=10 * event.n + 1))

    @app.on(Child, writes="child/{key}")
    async def child(event: Child) -> None:
        arrived.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2)])
        await until(lambda: begun == [2])
        gates[1].set()  # the first event leaves its place while the second one is between its handlers
        assert (await receipts[0].outcome(timeout_s=10)) is not None
        gates[2].set()
        assert (await receipts[1].outcome(timeout_s=10)) is not None
        await until(lambda: len(arrived) == 4)
    assert arrived == [10, 11, 20, 21]


async def test_children_of_a_block_that_was_undone_are_not_sent(url: str) -> None:
    app: App[None] = App("shop", url)
    arrived: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        ctx.publish(Child(key="before", n=1))
        try:
            async with ctx.transaction():
                ctx.publish(Child(key="inside", n=2))
                raise LookupError
        except LookupError:
            ctx.publish(Child(key="after", n=3))

    @app.on(Child, writes="child/{key}")
    async def child(event: Child) -> None:
        arrived.append(event.n)

    async with app, app.running():
        receipt = await app.publish(Step(key="a", n=1))
        assert (await receipt.outcome(timeout_s=10)) is not None
        await until(lambda: 3 in arrived and 1 in arrived)
        last = await app.publish(Child(key="last", n=4))
        assert (await last.outcome(timeout_s=10)) is not None
    assert sorted(arrived) == [1, 3, 4]


async def test_a_finished_handler_is_not_run_again_when_a_replay_is_cut_by_a_restart(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(grace_s=0.05))
    runs = {"good": 0, "bad": 0}
    failing = True
    hanging = True

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def good(event: Step) -> None:
        runs["good"] += 1
        if failing:
            raise OSError("down")

    @app.on(Step, writes="mail/{key}", retry=AT_ONCE)
    async def bad(event: Step) -> None:
        runs["bad"] += 1
        if failing:
            raise OSError("down")
        if hanging:
            await asyncio.Event().wait()

    async with app:
        async with app.running():
            receipt = await app.publish(Step(key="a", n=1))
            await until(lambda: is_(app, receipt.event_id, "parked"))
            failing = False
            await ask(app, "retry", receipt.event_id)
            await until(lambda: runs == {"good": 2, "bad": 2})
        assert await is_(app, receipt.event_id, "parked")
        hanging = False
        async with app.running():
            assert (await receipt.outcome(timeout_s=10)) is not None
    assert runs == {"good": 2, "bad": 3}
