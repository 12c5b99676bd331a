"""Several handlers, limits of one handler, timeouts, state, unordered handlers, rejects, drains, two groups."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from commute import App, Context, Limits, NamedEvent, RejectedError, Retry, Router
from commute.transports.base import Message
from tests.runtime.shop import AT_ONCE, QUICK, Child, Pair, Step, state_of, until


async def test_dependents_wait_and_independents_start(url: str) -> None:
    app: App[None] = App("shop", url)
    running: set[int] = set()
    together: set[frozenset[int]] = set()
    gate = asyncio.Event()

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        running.add(event.n)
        together.add(frozenset(running))
        await gate.wait()
        running.discard(event.n)

    async with app, app.running():
        receipts = await app.publish_many(
            [Step(key="a", n=1), Step(key="a", n=2), Step(key="b", n=3), Step(key="c", n=4)]
        )
        await until(lambda: running == {1, 3, 4})
        gate.set()
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=10)) is not None
    assert not any({1, 2} <= pair for pair in together)


async def test_handlers_of_one_event_run_in_registration_sequence_only_where_they_conflict(url: str) -> None:
    app: App[None] = App("shop", url)
    log: list[str] = []
    gate = asyncio.Event()

    @app.on(Step, writes="key/{key}")
    async def first(event: Step) -> None:
        log.append("first begins")
        await gate.wait()
        log.append("first ends")

    @app.on(Step, writes="key/{key}")
    async def second(event: Step) -> None:
        log.append("second")

    @app.on(Step, writes="mail/{key}")
    async def third(event: Step) -> None:
        log.append("third")

    async with app, app.running():
        receipt = await app.publish(Step(key="a", n=1))
        await until(lambda: set(log) == {"first begins", "third"})
        gate.set()
        outcome = await receipt.outcome(timeout_s=10)
    assert outcome is not None and dict(outcome.handlers) == dict.fromkeys(("first", "second", "third"), "processed")
    assert log[-2:] == ["first ends", "second"]


async def test_a_retry_runs_only_the_unfinished_handlers_also_after_parking_and_restart(url: str) -> None:
    app: App[None] = App("shop", url)
    runs: dict[str, int] = {"good": 0, "bad": 0}
    broken = True

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def good(event: Step) -> None:
        runs["good"] += 1

    @app.on(Step, writes="mail/{key}", retry=QUICK)
    async def bad(event: Step) -> None:
        runs["bad"] += 1
        if broken:
            raise OSError("down")

    async with app:
        async with app.running():
            receipt = await app.publish(Step(key="a", n=1))
            await until(lambda: _is(app, receipt.event_id, "parked"))
        assert runs == {"good": 1, "bad": 3}
        broken = False
        async with app.running():
            from tests.runtime.shop import ask

            await ask(app, "retry", receipt.event_id)
            assert (await receipt.outcome(timeout_s=10)) is not None
    assert runs == {"good": 1, "bad": 4}


async def _is(app: App[None], event_id: str, status: str) -> bool:
    return await state_of(app, event_id) == status


async def test_a_handlers_own_concurrency_does_not_hold_back_others(url: str) -> None:
    app: App[None] = App("shop", url)
    running, most = 0, 0
    others: list[int] = []
    gate = asyncio.Event()

    @app.on(Step, writes="key/{n}", concurrency=2)
    async def gateway(event: Step) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    @app.on(Child, writes="child/{n}")
    async def child(event: Child) -> None:
        others.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many(
            [Step(key="a", n=n) for n in range(10)] + [Child(key="b", n=n) for n in range(10)]
        )
        await until(lambda: len(others) == 10)
        gate.set()
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=10)) is not None
    assert most == 2


async def test_a_timeout_keeps_the_keys_until_the_handler_has_ended_and_a_late_success_counts(url: str) -> None:
    app: App[None] = App("shop", url)
    log: list[str] = []

    @app.on(Step, writes="key/{key}", timeout_s=0.1, retry=QUICK)
    async def step(event: Step, ctx: Context[None]) -> None:
        log.append(f"{event.n} begins {ctx.attempt}")
        if event.n == 1 and ctx.attempt == 1:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.2)  # cleaning up: the key is still taken
                log.append("1 has ended")
        if event.n == 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                log.append("3 finished late")

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2), Step(key="b", n=3)])
        for receipt in receipts:
            outcome = await receipt.outcome(timeout_s=10)
            assert outcome is not None and outcome.status == "processed"
    ours = [line for line in log if not line.startswith("3")]
    assert ours == ["1 begins 1", "1 has ended", "1 begins 2", "2 begins 1"]
    assert log.count("3 finished late") == 1


async def test_a_hung_thread_keeps_its_key_and_another_slot_stands_in(url: str) -> None:
    app: App[None] = App("shop", url, concurrency=1)
    release = threading.Event()
    ran: list[int] = []

    @app.on(Step, writes="key/{key}", timeout_s=0.1, retry=QUICK)
    def step(event: Step) -> None:
        if event.n == 1:
            release.wait(20)
        ran.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2), Step(key="b", n=3)])
        assert (await receipts[2].outcome(timeout_s=10)) is not None
        assert ran == [3]
        release.set()
        assert (await receipts[1].outcome(timeout_s=10)) is not None
    assert ran == [3, 1, 2]


async def test_unordered_handlers_wait_for_no_one_and_hold_nobody(url: str) -> None:
    app: App[None] = App("shop", url)
    gate = asyncio.Event()
    seen: list[str] = []

    @app.on(Step, writes="key/{key}")
    async def ordered(event: Step) -> None:
        if event.n == 1:
            await gate.wait()
        seen.append(f"ordered {event.n}")

    @app.on(Step, unordered=True, retry=AT_ONCE)
    async def metric(event: Step) -> None:
        seen.append(f"metric {event.n}")
        if event.n == 3:
            raise ValueError("bad")

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=n) for n in (1, 2, 3, 4)])
        await until(lambda: {"metric 1", "metric 2", "metric 3", "metric 4"} <= set(seen))
        assert not any(line.startswith("ordered") for line in seen)
        gate.set()
        for n in (0, 1, 3):
            assert (await receipts[n].outcome(timeout_s=10)) is not None
        await until(lambda: _is(app, receipts[2].event_id, "parked"))
    assert [line for line in seen if line.startswith("ordered")] == [f"ordered {n}" for n in (1, 2, 3, 4)]


async def test_state_from_lifespan_and_handlers_from_routers(url: str) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, int]]:
        events.append("open")
        yield {"factor": 3}
        events.append("close")

    router: Router[dict[str, int]] = Router()

    @router.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[dict[str, int]]) -> None:
        events.append(str(event.n * ctx.state["factor"]))

    app = App("shop", url, lifespan=lifespan)
    app.include(router)
    async with app, app.running():
        receipt = await app.publish(Step(key="a", n=7))
        assert (await receipt.outcome(timeout_s=10)) is not None
    assert events == ["open", "21", "close"]


async def test_rejected_events_are_kept_hold_nothing_and_say_why(url: str) -> None:
    app: App[None] = App("shop", url, ignore=("other.*",), limits=Limits(event_bytes_max=2_000))
    ran: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        ran.append(event.n)

    @app.on("named", writes="order/{order_id}")
    async def named(event: dict[str, object]) -> None:
        ran.append(99)

    bad = {
        "invalid-data": Message("1", "/x", "step", 0.0, b'{"key": 1, "n": 2}'),
        "unknown-type": Message("2", "/x", "stepp", 0.0, b"{}"),
        "missing-field": Message("3", "/x", "named", 0.0, b"{}"),
        "too-large": Message("4", "/x", "step", 0.0, b'{"key": "' + b"x" * 3000 + b'"}'),
        "key-too-long": Message("5", "/x", "step", 0.0, b'{"key": "' + b"x" * 300 + b'", "n": 1}'),
    }
    async with app, app.running():
        await app.log.send([*bad.values(), Message("6", "/x", "other.thing", 0.0, b"junk")])
        await app.log.send(
            [Message("7", "/x", "step", 0.0, b"\xff\xfe not json"), Message("7", "/x", "step", 0.0, b"{}")]
        )
        last = await app.publish(Step(key="a", n=1))
        assert (await last.outcome(timeout_s=10)) is not None
        for slug, message in bad.items():
            outcome = await app.receipt(message.id).outcome(timeout_s=5)
            assert outcome is not None and outcome.status == "rejected", slug
            assert outcome.reason
        ignored = await app.receipt("6").outcome(timeout_s=5)
        assert ignored is not None and ignored.status == "processed"
    assert ran == [1]


async def test_values_never_become_separators_or_wildcards(url: str) -> None:
    app: App[None] = App("shop", url)
    ran: list[str] = []
    gate = asyncio.Event()

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        ran.append(event.key)
        if event.n == 1:
            await gate.wait()

    async with app, app.running():
        awkward = ["*", "a/b", "", "%", "{x}", "ключ"]
        first = await app.publish(Step(key="a", n=1))
        receipts = await app.publish_many([Step(key=key, n=2) for key in awkward])
        for receipt in receipts:
            assert (await receipt.outcome(timeout_s=5)) is not None  # none waits for key/a
        gate.set()
        assert (await first.outcome(timeout_s=5)) is not None
    assert sorted(ran[1:]) == sorted(awkward)


async def test_too_many_rejects_pause_the_intake_until_something_changes(url: str) -> None:
    app: App[None] = App("shop", url)

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        pass

    async with app:
        async with app.running():
            await app.log.send([Message(f"b{n}", "/x", "unknown", 0.0, b"{}") for n in range(60)])
            good = await app.publish(Step(key="a", n=1))
            assert await good.outcome(timeout_s=0.5) is None
        async with app.running():
            assert await good.outcome(timeout_s=0.3) is None  # paused over the restart
        app.ignore = ("unknown",)
        async with app.running():
            assert (await good.outcome(timeout_s=10)) is not None


async def test_one_identity_with_other_bytes_is_rejected_and_the_first_keeps_its_receipt(url: str) -> None:
    app: App[None] = App("shop", url)
    ran: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        ran.append(event.n)

    async with app, app.running():
        first = await app.publish(Step(key="a", n=1), id="17")
        again = await app.publish(Step(key="a", n=1), id="17")
        other = await app.publish(Step(key="a", n=2), id="17")
        assert (await again.outcome(timeout_s=10)) == (await first.outcome(timeout_s=10))
        outcome = await other.outcome(timeout_s=10)
        assert outcome is not None and outcome.status == "rejected" and "other bytes" in outcome.reason
        kept = await app.receipt("17").outcome(timeout_s=5)
        assert kept is not None and kept.status == "processed"
    assert ran == [1]


async def test_publishing_checks_data_before_anything_is_sent(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(event_bytes_max=1_000))

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        pass

    async with app:
        with pytest.raises(RejectedError, match=r"\$\.n"):
            await app.publish(Step(key="a", n="1"))  # type: ignore[arg-type]
        with pytest.raises(RejectedError, match="event_bytes_max"):
            await app.publish(Step(key="a" * 2_000, n=1))
        with pytest.raises(RejectedError):
            await app.publish(NamedEvent(type="step", data={"key": "a"}))
        assert app.log.last_position() == 0
        await app.publish(NamedEvent(type="step", data={"key": "a", "n": 1}))
        assert app.log.last_position() == 1


async def test_a_payload_limit_gives_bytes_up_and_reads_them_again(url: str) -> None:
    app: App[None] = App("shop", url, limits=Limits(payload_bytes_max=5_000), concurrency=4)
    ran: list[int] = []
    bad = {3}

    @app.on(Pair, writes=("key/{left}", "key/{right}"), retry=AT_ONCE)
    async def pair(event: Pair) -> None:
        await asyncio.sleep(0)
        if event.n in bad:
            raise ValueError
        assert len(event.right) == 200
        ran.append(event.n)

    async with app, app.running():
        receipts = await app.publish_many([Pair(left=str(n % 5), right=str(n % 5) * 200, n=n) for n in range(300)])
        for n, receipt in enumerate(receipts):
            if n % 5 != 3:
                assert (await receipt.outcome(timeout_s=20)) is not None
        await until(lambda: _is(app, receipts[298].event_id, "held"))
    for key in range(5):
        mine = [n for n in ran if n % 5 == key]
        assert mine == ([] if key == 3 else list(range(key, 300, 5)))


async def test_publish_sync_needs_no_loop(url: str) -> None:
    app: App[None] = App("shop", url)
    ran: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        ran.append(event.n)

    async with app, app.running():
        receipt = await asyncio.to_thread(app.publish_sync, Step(key="a", n=1))
        if not url.startswith("memory"):
            outcome = await asyncio.to_thread(receipt.outcome, timeout_s=10)
            assert outcome is not None
        await until(lambda: ran == [1])


async def test_a_drain_lets_running_handlers_end_and_starts_nothing_new(url: str) -> None:
    app: App[None] = App("shop", url, concurrency=2)
    begun: list[int] = []
    ended: list[int] = []

    @app.on(Step, writes="key/{n}")
    async def step(event: Step) -> None:
        begun.append(event.n)
        await asyncio.sleep(0.2)
        ended.append(event.n)

    async with app:
        async with app.running():
            receipts = await app.publish_many([Step(key="a", n=n) for n in range(6)])
            await until(lambda: len(begun) == 2)
        assert sorted(begun) == sorted(ended) == [0, 1]
        assert await state_of(app, receipts[2].event_id) == "waiting"
        async with app.running():
            assert (await receipts[5].outcome(timeout_s=10)) is not None
    assert sorted(ended) == list(range(6))


async def test_two_groups_on_one_stream_each_see_every_event(url: str) -> None:
    if url.startswith("memory"):
        pytest.skip("a memory broker belongs to one app")
    seen: dict[str, list[int]] = {"a": [], "b": []}
    apps = []
    for name in seen:
        app: App[None] = App(name, url)

        @app.on(Step, writes="key/{key}", retry=Retry(attempts=1))
        async def step(event: Step, name: str = name) -> None:
            seen[name].append(event.n)

        apps.append(app)
    async with apps[0], apps[1], apps[0].running(), apps[1].running():
        for n in range(10):
            await apps[0].publish(Step(key="a", n=n))
        await until(lambda: len(seen["a"]) == len(seen["b"]) == 10)
    assert seen["a"] == seen["b"] == list(range(10))
