"""ctx.transaction(): effects, inbox row and published events are one commit; a second run does nothing twice."""

from __future__ import annotations

import asyncio

import pytest

from commute import App, Context, RejectedError, Retry, UsageError
from tests.runtime.shop import AT_ONCE, QUICK, Child, Step, state_of, until


async def rows(app: App[None], sql: str) -> list[tuple[object, ...]]:
    async with app.transaction() as tx:
        return list(tx.execute(sql))


async def make_table(app: App[None]) -> None:
    async with app.transaction() as tx:
        tx.execute("CREATE TABLE IF NOT EXISTS total(key TEXT PRIMARY KEY, q INTEGER NOT NULL, last INTEGER)")


ADD = "INSERT INTO total VALUES(?, 1, ?) ON CONFLICT DO UPDATE SET q = q + 1, last = excluded.last"


async def test_effects_of_async_and_sync_handlers_commit_and_roll_back_with_the_attempt(url: str) -> None:
    app: App[None] = App("shop", url)
    failed: set[int] = set()

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def step(event: Step, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            tx.execute(ADD, (event.key, event.n))
            if event.n % 2 and event.n not in failed:
                failed.add(event.n)
                raise OSError("in the middle of the block")

    if url.startswith("memory"):  # there a `def` handler cannot have a block: see the next test

        @app.on(Child, writes="key/{key}", retry=QUICK)
        async def child_on_loop(event: Child, ctx: Context[None]) -> None:
            async with ctx.transaction() as tx:
                tx.execute(ADD, (event.key, event.n))

    else:

        @app.on(Child, writes="key/{key}", retry=QUICK)
        def child(event: Child, ctx: Context[None]) -> None:
            with ctx.transaction() as tx:
                tx.execute(ADD, (event.key, event.n))
                assert tx.changes == 1

    async with app:
        await make_table(app)
        async with app.running():
            receipts = await app.publish_many(
                [Step(key="a", n=n) for n in range(20)] + [Child(key="b", n=n) for n in range(20)]
            )
            for receipt in receipts:
                assert (await receipt.outcome(timeout_s=20)) is not None
        assert await rows(app, "SELECT * FROM total ORDER BY key") == [("a", 20, 19), ("b", 20, 19)]


async def test_a_def_handler_has_its_block_in_a_thread_or_is_refused_at_start(url: str) -> None:
    for executor in ("threads", "loop"):
        app: App[None] = App("shop", url)

        @app.on(Step, writes="key/{key}", executor=executor)
        def step(event: Step, ctx: Context[None]) -> None:
            with ctx.transaction():
                pass

        if url.startswith("sqlite") and executor == "threads":
            continue
        async with app:
            with pytest.raises(UsageError, match="needs `async def`"):
                async with app.running():
                    pass


async def test_children_leave_with_the_effects_or_not_at_all(url: str) -> None:
    app: App[None] = App("shop", url)
    children: list[tuple[str, int, str | None]] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            tx.execute(ADD, (event.key, event.n))
            ctx.publish(Child(key=event.key, n=event.n))
            if event.n == 2:
                raise ValueError("no")
        with pytest.raises(UsageError, match="after its transaction"):
            ctx.publish(Child(key="late", n=0))

    @app.on(Child, writes="child/{key}")
    async def child(event: Child, ctx: Context[None]) -> None:
        children.append((event.key, event.n, ctx.causation_id))

    async with app:
        await make_table(app)
        async with app.running():
            receipts = await app.publish_many([Step(key="a", n=1), Step(key="b", n=2), Step(key="c", n=3)])
            await until(lambda: len(children) == 2)
            assert await state_of(app, receipts[1].event_id) == "parked"
        assert sorted(children) == [("a", 1, receipts[0].event_id), ("c", 3, receipts[2].event_id)]
        assert [row[0] for row in await rows(app, "SELECT key FROM total ORDER BY key")] == ["a", "c"]


async def test_an_exception_after_the_block_does_not_run_it_again(url: str) -> None:
    app: App[None] = App("shop", url)
    runs: list[int] = []

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def step(event: Step, ctx: Context[None]) -> None:
        runs.append(event.n)
        async with ctx.transaction() as tx:
            tx.execute(ADD, (event.key, event.n))
        raise RuntimeError("after the commit")

    async with app:
        await make_table(app)
        async with app.running():
            receipt = await app.publish(Step(key="a", n=1))
            outcome = await receipt.outcome(timeout_s=10)
            assert outcome is not None and outcome.status == "processed"
        assert runs == [1]
        assert await rows(app, "SELECT q FROM total") == [(1,)]


async def test_one_block_an_attempt_and_no_publishing_around_the_context(url: str) -> None:
    app: App[None] = App("shop", url)
    errors: list[str] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        async with ctx.transaction():
            pass
        try:
            ctx.transaction()
        except UsageError as error:
            errors.append(error.slug)
        try:
            await app.publish(Child(key="x", n=1))
        except UsageError as error:
            errors.append(error.slug)
        try:
            await asyncio.create_task(app.publish(Child(key="x", n=1)))
        except UsageError as error:
            errors.append(error.slug)

    async with app, app.running():
        receipt = await app.publish(Step(key="a", n=1))
        assert (await receipt.outcome(timeout_s=10)) is not None
    assert errors == ["one-transaction", "publish-inside", "publish-inside"]


async def test_what_a_handler_sees_is_the_same_on_every_attempt(url: str) -> None:
    app: App[None] = App("shop", url)
    seen: list[tuple[object, ...]] = []

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def step(event: Step, ctx: Context[None]) -> None:
        seen.append((ctx.random.random(), ctx.new_id(), ctx.new_id(), ctx.now(), ctx.idempotency_key, ctx.event_id))
        if ctx.attempt < 3:
            raise OSError("again")

    async with app, app.running():
        receipt = await app.publish(Step(key="a", n=1))
        assert (await receipt.outcome(timeout_s=10)) is not None
    assert len(seen) == 3 and len(set(seen)) == 1
    assert seen[0][1] != seen[0][2]
    assert seen[0][5] == receipt.event_id


async def test_children_of_equal_chains_leave_in_log_sequence_whatever_ends_first(url: str) -> None:
    app: App[None] = App("shop", url)
    gates = {n: asyncio.Event() for n in range(6)}
    arrived: list[int] = []

    @app.on(Step, writes="key/{n}", publishes="out/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        await gates[event.n].wait()
        if event.n % 2:
            ctx.publish(Child(key=event.key, n=event.n))
        else:
            async with ctx.transaction():
                ctx.publish(Child(key=event.key, n=event.n))

    @app.on(Child, writes="child/{key}")
    async def child(event: Child) -> None:
        arrived.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=n) for n in range(5)] + [Step(key="other", n=5)])
        for n in (4, 3, 5, 1):
            gates[n].set()
            assert (await receipts[n].outcome(timeout_s=10)) is not None
        await until(lambda: arrived == [5])  # another chain does not wait
        gates[0].set()
        await until(lambda: len(arrived) == 3)
        gates[2].set()
        await until(lambda: len(arrived) == 6)
    assert arrived == [5, 0, 1, 2, 3, 4]


async def test_chains_keep_their_sequence_over_a_restart(url: str) -> None:
    arrived: list[int] = []
    blocked = True
    app: App[None] = App("shop", url)

    @app.on(Step, writes="key/{n}", publishes="out/{key}", retry=Retry(attempts=50, first_s=0.02, max_s=0.02))
    async def step(event: Step, ctx: Context[None]) -> None:
        if event.n == 0 and blocked:
            raise OSError("not yet")
        ctx.publish(Child(key=event.key, n=event.n))

    @app.on(Child, writes="child/{key}")
    async def child(event: Child) -> None:
        arrived.append(event.n)

    async with app:
        async with app.running():
            receipts = await app.publish_many([Step(key="a", n=n) for n in range(4)])
            for receipt in receipts[1:]:
                assert (await receipt.outcome(timeout_s=10)) is not None
            assert arrived == []
        async with app.running():
            late = await app.publish(Step(key="a", n=4))
            assert (await late.outcome(timeout_s=10)) is not None
            assert arrived == []
            blocked = False
            await until(lambda: len(arrived) == 5)
    assert arrived == [0, 1, 2, 3, 4]


async def test_a_wrong_child_fails_the_attempt_and_sends_nothing(url: str) -> None:
    app: App[None] = App("shop", url)

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step, ctx: Context[None]) -> None:
        with pytest.raises(RejectedError):
            ctx.publish(Child(key="a", n="one"))  # type: ignore[arg-type]
        ctx.publish(Child(key="a", n=1))

    @app.on(Child, writes=())
    async def child(event: Child) -> None:
        pass

    async with app, app.running():
        receipt = await app.publish(Step(key="a", n=1))
        assert (await receipt.outcome(timeout_s=10)) is not None
        assert app.log.last_position() in (1, 2)
        await until(lambda: app.log.last_position() == 2)
