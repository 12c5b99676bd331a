"""Failures hold only what depends on them: retries in place, parking, holding, skip, stop, retry in log sequence."""

from __future__ import annotations

import asyncio

import pytest

from commute import App, Context, DeadLetter, Receipt, Retry
from tests.runtime.shop import AT_ONCE, QUICK, Pair, Step, ask, state_of, until


def seen_app(url: str) -> tuple[App[None], list[int], set[int]]:
    """An app that notes what ran, and fails the events whose numbers are in the set."""
    app: App[None] = App("shop", url)
    ran: list[int] = []
    bad: set[int] = set()

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n in bad:
            raise KeyError(event.n)
        ran.append(event.n)

    @app.on(Pair, writes=("key/{left}", "key/{right}"), retry=AT_ONCE)
    async def pair(event: Pair) -> None:
        if event.n in bad:
            raise KeyError(event.n)
        ran.append(event.n)

    return app, ran, bad


async def test_a_failed_attempt_is_retried_in_place_and_its_dependents_wait(url: str) -> None:
    app: App[None] = App("shop", url)
    ran: list[tuple[str, int, int]] = []
    left = {1: 2}

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def step(event: Step, ctx: Context[None]) -> None:
        if left.get(event.n, 0) > 0:
            left[event.n] -= 1
            raise OSError("not now")
        ran.append((event.key, event.n, ctx.attempt))

    async with app, app.running():
        events = [Step(key="a", n=1), Step(key="a", n=2), Step(key="b", n=3)]
        receipts = await app.publish_many(events)
        for receipt in receipts:
            outcome = await receipt.outcome(timeout_s=10)
            assert outcome is not None and outcome.status == "processed"
    assert ran.index(("a", 1, 3)) < ran.index(("a", 2, 1))
    assert ran[0] == ("b", 3, 1)  # the independent one did not wait for the retries


async def test_an_exhausted_event_is_parked_and_holds_only_its_dependents(url: str) -> None:
    app, ran, bad = seen_app(url)
    bad.add(1)
    async with app, app.running():
        receipts = await app.publish_many(
            [
                Step(key="a", n=1),
                Step(key="a", n=2),
                Pair(left="a", right="b", n=3),
                Step(key="b", n=4),
                Step(key="c", n=5),
            ]
        )
        await until(lambda: 5 in ran)
        await until(lambda: _is(app, receipts[0].event_id, "parked"))
        late = await app.publish(Step(key="b", n=6))  # arrives behind what is held
        await until(lambda: _is(app, late.event_id, "held"))
        states = [(await receipt.state()).status for receipt in receipts]
        assert states == ["parked", "held", "held", "held", "processed"]
        assert ran == [5]
        reason = (await receipts[1].state()).reason
        assert receipts[0].event_id in reason
        bad.clear()
        await ask(app, "retry", receipts[0].event_id)
        assert (await late.outcome(timeout_s=10)) is not None
        await until(lambda: len(ran) == 6)
    assert ran == [5, 1, 2, 3, 4, 6]


async def _is(app: App[None], event_id: str, status: str) -> bool:
    return await state_of(app, event_id) == status


async def test_dead_letters_survive_a_restart_and_come_back_in_sequence(url: str) -> None:
    app, ran, bad = seen_app(url)
    bad.add(1)
    async with app:
        receipts: list[Receipt] = []
        async with app.running():
            receipts += await app.publish_many([Step(key="a", n=n) for n in range(1, 6)])
            await until(lambda: _is(app, receipts[0].event_id, "parked"))
        async with app.running():
            receipts += await app.publish_many([Step(key="a", n=6), Step(key="b", n=7)])
            assert (await receipts[-1].outcome(timeout_s=10)) is not None
            await until(lambda: _is(app, receipts[5].event_id, "held"))
            assert ran == [7]
            bad.clear()
        async with app.running():
            await ask(app, "retry", receipts[0].event_id)
            for receipt in receipts:
                assert (await receipt.outcome(timeout_s=10)) is not None
    assert ran == [7, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("verb", "status"), [("skip", "skipped"), ("drop", "dropped")])
async def test_skip_and_drop_free_what_only_that_event_held(url: str, verb: str, status: str) -> None:
    app, ran, bad = seen_app(url)
    bad |= {1, 2}
    async with app, app.running():
        receipts = await app.publish_many(
            [Step(key="a", n=1), Step(key="b", n=2), Step(key="a", n=3), Pair(left="a", right="b", n=4)]
        )
        await until(lambda: _is(app, receipts[3].event_id, "held"))
        await ask(app, verb, receipts[0].event_id)
        outcome = await receipts[0].outcome(timeout_s=10)
        assert outcome is not None and outcome.status == status
        await until(lambda: ran == [3])  # held by 1 alone
        assert await state_of(app, receipts[3].event_id) == "held"  # 2 still holds it
        await ask(app, verb, receipts[1].event_id)
        assert (await receipts[3].outcome(timeout_s=10)) is not None
    assert ran == [3, 4]


async def test_skip_policy_lets_dependents_go_on(url: str) -> None:
    app: App[None] = App("shop", url)
    ran: list[int] = []

    @app.on(Step, writes="key/{key}", retry=AT_ONCE, on_exhausted="skip")
    async def step(event: Step) -> None:
        if event.n == 1:
            raise ValueError("bad")
        ran.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2)])
        outcome = await receipts[0].outcome(timeout_s=10)
        assert outcome is not None and outcome.status == "skipped" and "bad" in outcome.reason
        assert (await receipts[1].outcome(timeout_s=10)) is not None
    assert ran == [2]


async def test_stop_policy_pauses_the_partition_over_a_restart_until_it_is_dealt_with(url: str) -> None:
    app: App[None] = App("shop", url)
    ran: list[int] = []
    bad = {1}

    @app.on(Step, writes="key/{key}", retry=AT_ONCE, on_exhausted="stop")
    async def step(event: Step) -> None:
        if event.n in bad:
            raise ValueError("bad")
        ran.append(event.n)

    async with app:
        async with app.running():
            first = await app.publish(Step(key="a", n=1))
            await until(lambda: _is(app, first.event_id, "parked"))
            second = await app.publish(Step(key="b", n=2))
            assert await second.outcome(timeout_s=0.3) is None
        async with app.running():
            assert await second.outcome(timeout_s=0.3) is None
            assert ran == []
            bad.clear()
            await ask(app, "retry", first.event_id)
            assert (await second.outcome(timeout_s=10)) is not None
            assert (await first.outcome(timeout_s=10)) is not None
    assert sorted(ran) == [1, 2]


async def test_dead_letter_and_fatal_errors_end_the_attempts_at_once(url: str) -> None:
    app: App[None] = App("shop", url)
    attempts: list[int] = []

    @app.on(Step, writes="key/{key}", retry=Retry(fatal=(ZeroDivisionError,)))
    async def step(event: Step) -> None:
        attempts.append(event.n)
        if event.n == 1:
            raise DeadLetter("no such customer")
        raise ZeroDivisionError

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="b", n=2)])
        for receipt in receipts:
            await until(lambda receipt=receipt: _is(app, receipt.event_id, "parked"))  # type: ignore[misc]
        assert "no such customer" in (await receipts[0].state()).reason
    assert sorted(attempts) == [1, 2]


async def test_a_replay_that_fails_again_keeps_its_place(url: str) -> None:
    app, ran, bad = seen_app(url)
    bad.add(1)
    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2)])
        await until(lambda: _is(app, receipts[0].event_id, "parked"))
        await ask(app, "retry", receipts[0].event_id)
        await asyncio.sleep(0.5)
        await until(lambda: _is(app, receipts[0].event_id, "parked"))
        assert ran == []
        bad.clear()
        await ask(app, "retry", receipts[0].event_id)
        assert (await receipts[1].outcome(timeout_s=10)) is not None
    assert ran == [1, 2]


async def test_a_breaker_spares_the_events_of_a_handler_that_fails_always(url: str) -> None:
    app: App[None] = App("shop", url)
    down = True
    ran: list[int] = []

    @app.on(Step, writes="key/{key}", retry=Retry(attempts=2, first_s=0.01, max_s=0.01))
    async def gateway(event: Step) -> None:
        if down:
            raise ConnectionError("gateway is down")
        ran.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Step(key=str(n), n=n) for n in range(60)])
        await asyncio.sleep(0.5)
        states = [(await receipt.state()).status for receipt in receipts]
        assert states.count("waiting") >= 20  # they have not used up their attempts
        down = False
        await until(lambda: len(ran) >= 20, 20)


async def test_an_everything_follower_pauses_the_partition_instead_of_filling_the_cone(url: str) -> None:
    app: App[None] = App("shop", url)
    ran: list[int] = []
    bad = {1}

    @app.on(Step, writes="key/{key}", retry=AT_ONCE)
    async def step(event: Step) -> None:
        if event.n in bad:
            raise ValueError("bad")
        ran.append(event.n)

    @app.on(Pair)
    async def audit(event: Pair) -> None:
        ran.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many(
            [Step(key="a", n=1), Step(key="a", n=2), Pair(left="x", right="y", n=3), Step(key="z", n=4)]
        )
        await until(lambda: _is(app, receipts[0].event_id, "parked"))
        assert await receipts[3].outcome(timeout_s=0.3) is None
        bad.clear()
        await ask(app, "retry", receipts[0].event_id)
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=10)) is not None
    assert ran == [1, 2, 3, 4]


async def test_an_earlier_event_is_not_held_behind_a_later_one_after_a_restart(url: str) -> None:
    app: App[None] = App("shop", url)
    ran: list[int] = []
    bad = {1, 2}

    @app.on(Step, writes="key/{key}", retry=Retry(attempts=1_000, first_s=0.01, max_s=0.01))
    async def step(event: Step) -> None:
        if event.n in bad:
            raise OSError("not yet")
        ran.append(event.n)

    @app.on(Pair, writes=("key/{left}", "key/{right}"), retry=AT_ONCE)
    async def pair(event: Pair) -> None:
        if event.n in bad:
            raise ValueError("bad")
        ran.append(event.n)

    async with app:
        async with app.running():
            receipts = await app.publish_many(
                [Step(key="x", n=1), Pair(left="y", right="z", n=2), Pair(left="x", right="y", n=3)]
            )
            await until(lambda: _is(app, receipts[2].event_id, "held"))
            assert await state_of(app, receipts[0].event_id) == "waiting"
        bad.discard(1)
        async with app.running():
            assert (await receipts[0].outcome(timeout_s=10)) is not None
            assert ran == [1]
            bad.clear()
            await ask(app, "retry", receipts[1].event_id)
            assert (await receipts[2].outcome(timeout_s=10)) is not None
    assert ran == [1, 2, 3]
