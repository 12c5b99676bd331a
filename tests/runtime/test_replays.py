"""Replays: they find room, wait for what lies before them, and what people ask is done once and to that event alone."""

from __future__ import annotations

import asyncio

from commute import App, Limits, Retry
from tests.runtime.shop import AT_ONCE, Pair, Step, ask, state_of, until


async def is_(app: App[None], event_id: str, status: str) -> bool:
    return await state_of(app, event_id) == status


async def test_a_replay_finds_room_although_the_look_ahead_is_full(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(descriptors_max=5), concurrency=5)
    bad = {1}
    ran: list[int] = []
    gates = {n: asyncio.Event() for n in range(2, 60)}

    @app.on(Step, writes="key/{n}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n in bad:
            raise ValueError("bad")
        if event.n in gates:
            await gates[event.n].wait()
        ran.append(event.n)

    async with app:
        worker = app.worker()
        await worker.start()
        first = await app.publish(Step(key="a", n=1))
        await until(lambda: is_(app, first.event_id, "parked"))
        receipts = await app.publish_many([Step(key="b", n=n) for n in gates])
        assert worker.session is not None
        engine = worker.session.engine
        await until(lambda: engine.running == 5)
        bad.clear()
        await ask(app, "retry", first.event_id)
        await until(lambda: bool(engine.partitions[0].cone.replayable()))
        for gate in list(gates.values())[:3]:
            gate.set()
        await until(lambda: 1 in ran)
        assert len(ran) < 20
        for gate in gates.values():
            gate.set()
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=10)) is not None
        await worker.stop()


async def test_a_parked_event_is_replayed_after_restarts_in_which_nothing_new_came(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(grace_s=0.05))
    bad = {2}
    hang = True
    ran: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n in bad:
            raise ValueError("bad")
        if event.n == 1 and hang:
            await asyncio.Event().wait()
        ran.append(event.n)

    async with app:
        async with app.running():
            receipts = await app.publish_many([Step(key="a", n=1), Step(key="b", n=2), Step(key="c", n=3)])
            await until(lambda: is_(app, receipts[1].event_id, "parked"))
            assert (await receipts[2].outcome(timeout_s=10)) is not None
        hang = False
        async with app.running():
            assert (await receipts[0].outcome(timeout_s=10)) is not None
        bad.clear()
        async with app.running():
            await ask(app, "retry", receipts[1].event_id)
            assert (await receipts[1].outcome(timeout_s=10)) is not None
    assert ran == [3, 1, 2]


async def test_only_the_event_it_was_stopped_at_lets_a_stopped_partition_go_on(url: str) -> None:
    app: App[None] = App("shop", url)
    bad = {1, 2}
    ran: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n in bad:
            raise ValueError("bad")
        ran.append(event.n)

    @app.on(Pair, writes="key/{left}", retry=AT_ONCE, on_exhausted="stop")
    async def pair(event: Pair) -> None:
        if event.n in bad:
            raise ValueError("bad")
        ran.append(event.n)

    async with app, app.running():
        parked = await app.publish(Step(key="a", n=1))
        await until(lambda: is_(app, parked.event_id, "parked"))
        stopped = await app.publish(Pair(left="b", right="", n=2))
        await until(lambda: is_(app, stopped.event_id, "parked"))
        late = await app.publish(Step(key="c", n=3))
        await ask(app, "skip", parked.event_id)
        assert (await parked.outcome(timeout_s=10)) is not None
        assert await late.outcome(timeout_s=0.3) is None
        bad.clear()
        await ask(app, "retry", stopped.event_id)
        assert (await late.outcome(timeout_s=10)) is not None
        assert (await stopped.outcome(timeout_s=10)) is not None
    assert sorted(ran) == [2, 3]


async def test_events_before_the_door_of_a_full_cone_come_in_by_log_sequence(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(held_events_max=1), concurrency=4)
    gate = asyncio.Event()
    bad = {1, 2}
    ran: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n == 2:
            await gate.wait()
        if event.n in bad:
            raise ValueError("bad")
        ran.append(event.n)

    @app.on(Pair, writes=("key/{left}", "key/{right}"), retry=AT_ONCE)
    async def pair(event: Pair) -> None:
        ran.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many(
            [
                Step(key="a", n=1),
                Step(key="b", n=2),
                Pair(left="b", right="x", n=3),  # goes before the door when 2 is parked, after 4
                Pair(left="a", right="x", n=4),  # conflicts with 3, goes before the door when 1 is parked
                Step(key="a", n=5),
            ]
        )
        await until(lambda: is_(app, receipts[0].event_id, "parked"))
        gate.set()
        await until(lambda: is_(app, receipts[1].event_id, "parked"))
        bad.clear()
        await ask(app, "retry", receipts[0].event_id)
        await ask(app, "retry", receipts[1].event_id)
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=10)) is not None
    assert [n for n in ran if n in (3, 4)] == [3, 4]
    assert [n for n in ran if n in (1, 4, 5)] == [1, 4, 5]


async def test_what_is_asked_while_a_replay_is_about_to_begin_is_done_to_the_event_or_refused(url: str) -> None:
    app: App[None] = App("shop", url)
    bad = {1, 2}
    ran: list[int] = []

    @app.on(Pair, writes=("key/{left}", "key/{right}"), retry=AT_ONCE)
    async def pair(event: Pair) -> None:
        if event.n in bad:
            raise ValueError("bad")
        ran.append(event.n)

    async with app:
        worker = app.worker()
        await worker.start()
        receipts = []
        for n, right in ((1, "b"), (2, "c")):  # 2 waits for 1 in the cone
            receipts.append(await app.publish(Pair(left=str(n), right=right, n=n)))
            await until(lambda: is_(app, receipts[-1].event_id, "parked"))
        assert worker.session is not None
        dead = worker.session.engine.dead
        position = app.log.find(receipts[1].event_id)[0]
        bad.clear()
        dead.ask(0, "retry", 0, position)
        dead.ask(0, "skip", 0, position)
        outcome = await receipts[1].outcome(timeout_s=10)
        assert outcome is not None and outcome.status == "skipped"
        late = await app.publish(Pair(left="2", right="z", n=9))
        assert (await late.outcome(timeout_s=10)) is not None
        await worker.stop()
    assert ran == [9]


async def test_a_stop_while_the_intake_has_ended_by_rejects_loses_nothing(url: str) -> None:
    from commute.transports.base import Message

    app: App[None] = App("shop", url)
    gate = asyncio.Event()
    bad = {1}
    ran: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE, on_exhausted="stop")
    async def step(event: Step) -> None:
        await gate.wait()
        if event.n in bad:
            raise ValueError("bad")
        ran.append(event.n)

    async with app:
        async with app.running():
            first = await app.publish(Step(key="a", n=1))
            await app.log.send([Message(f"b{n}", "/x", "unknown", 0.0, b"{}") for n in range(60)])
            rest = await app.publish_many([Step(key=str(n), n=n) for n in range(2, 30)])
            await until(lambda: is_(app, "b50", "rejected"))
            gate.set()
            await until(lambda: is_(app, first.event_id, "parked"))
            bad.clear()
            await ask(app, "retry", first.event_id)
            late = await app.publish(Step(key="z", n=99))
            assert await late.outcome(timeout_s=0.5) is None
        app.ignore = ("unknown",)
        async with app.running():
            for receipt in (first, *rest, late):
                assert (await receipt.outcome(timeout_s=10)) is not None
    assert sorted(ran) == [*range(1, 30), 99]


async def test_attempts_of_a_replay_go_on_counting_after_a_restart(url: str) -> None:
    app: App[None] = App("shop", url)
    failing = True
    attempts: list[int] = []

    @app.on(Step, writes="key/{key}", retry=Retry(attempts=4, first_s=0.3, max_s=0.3))
    async def step(event: Step) -> None:
        attempts.append(event.n)
        if failing:
            raise ValueError("bad")

    async with app:
        async with app.running():
            receipt = await app.publish(Step(key="a", n=1))
            await until(lambda: is_(app, receipt.event_id, "parked"))
            del attempts[:]
            await ask(app, "retry", receipt.event_id)
            await until(lambda: len(attempts) == 2)
        async with app.running():
            await until(lambda: len(attempts) >= 4)
            await until(lambda: is_(app, receipt.event_id, "parked"))
            outcome = await receipt.outcome(timeout_s=0.7)
            assert outcome is None
    assert len(attempts) == 4
