"""`commute.testing.run`: what a worker does, in a plain function, in virtual time, the same for one seed."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Iterator

import pytest

from commute import App, Context, DeadLetter, Event, NamedEvent, RejectedError, Retry, UsageError
from commute.testing import DeadEvent, Result, run

HOUR_S = 3_600.0


class Step(Event):
    key: str
    n: int


class Told(Event):
    key: str
    n: int


class Unheard(Event):
    n: int


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """No test here may take real time, whatever its handlers wait for."""
    began_s = time.monotonic()
    yield
    assert time.monotonic() - began_s < 5.0


def steps(*keys: str) -> list[object]:
    return [Step(key=key, n=n) for n, key in enumerate(keys)]


def sleeping(log: list[str], delay_s: Callable[[Step], float] = lambda event: HOUR_S) -> App[None]:
    app: App[None] = App("steps")

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        log.append(f"{event.n} begins")
        await asyncio.sleep(delay_s(event))
        log.append(f"{event.n} ends")

    return app


def test_dependents_wait_and_independents_start_and_hours_take_no_time() -> None:
    log: list[str] = []
    events = steps("a", "a", "b", "c")
    result = run(sleeping(log), events)
    assert set(log[:3]) == {"0 begins", "2 begins", "3 begins"}
    assert log.index("0 ends") < log.index("1 begins")
    assert result.concurrency_max == 3
    assert (result.dead, result.published) == ([], [])
    assert result.processed[-1] is events[1] and len(result.processed) == 4


def test_one_key_is_run_one_after_the_other_in_log_sequence() -> None:
    log: list[str] = []
    result = run(sleeping(log), steps(*"aaaaaa"), seed=3)
    assert log == [f"{n} {what}" for n in range(6) for what in ("begins", "ends")]
    assert result.concurrency_max == 1


def test_concurrency_is_a_limit() -> None:
    log: list[str] = []
    assert run(sleeping(log), steps(*"abcdefgh"), concurrency=2).concurrency_max == 2
    assert run(sleeping(log), steps(*"abcdefgh")).concurrency_max == 8


def test_the_same_seed_gives_the_same_run_and_seeds_differ() -> None:
    def one(seed: int) -> tuple[list[str], Result]:
        log: list[str] = []
        app = sleeping(log)

        @app.on(Told, writes="key/{key}", retry=Retry(attempts=4))
        async def told(event: Told, ctx: Context[None]) -> None:
            now_s = asyncio.get_running_loop().time()
            log.append(f"told {event.n} {ctx.attempt} {now_s} {ctx.new_id()} {ctx.random.random()}")
            await asyncio.sleep(ctx.random.random())
            if ctx.attempt < 3:
                raise OSError("not yet")
            ctx.publish(Unheard(n=event.n))

        events = steps(*"abcabcdefg") + [Told(key=key, n=n) for n, key in enumerate("abcdefg")]
        return log, run(app, events, seed=seed, concurrency=4)

    runs = [one(seed) for seed in range(50)]
    assert runs == [one(seed) for seed in range(50)]
    assert all(len(result.processed) == 17 and len(result.published) == 7 for _, result in runs)
    # Not only the jitter of retries: also what ends first of what ends together.
    assert len({tuple(line for line in log if "told" not in line) for log, _ in runs}) > 10


def test_transactions_work_and_fail_with_their_attempt() -> None:
    app: App[None] = App("till")
    seen: list[object] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            tx.execute("CREATE TABLE IF NOT EXISTS total(key TEXT PRIMARY KEY, q INTEGER NOT NULL)")
            tx.execute("INSERT INTO total VALUES(?, 1) ON CONFLICT DO UPDATE SET q = q + 1", (event.key,))
            if ctx.attempt == 1:
                raise OSError("in the middle")

    @app.on(Told, writes="key/{key}")
    def told(event: Told, ctx: Context[None]) -> None:
        with ctx.transaction() as tx:
            seen.extend(tx.execute("SELECT * FROM total ORDER BY key"))

    result = run(app, [*steps(*"aab"), Told(key="a", n=0), Told(key="b", n=0)])
    assert not result.dead
    assert seen[-2:] == [("a", 2), ("b", 1)]


def test_tables_are_made_before_and_read_afterwards() -> None:
    app: App[None] = App("till")

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE total SET q = q * 2 + ? WHERE key = ?", (event.n, event.key))

    tables = [
        "CREATE TABLE total(key TEXT PRIMARY KEY, q INTEGER)",
        "INSERT INTO total VALUES('a', 1), ('b', 1)",
    ]
    result = run(app, steps(*"aabb"), tables=tables)
    assert result.tables == {"total": [("a", 5), ("b", 11)]}


def test_children_are_handled_if_there_is_a_handler_and_listed_in_any_case() -> None:
    app: App[None] = App("chain")
    log: list[int] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        ctx.publish(Unheard(n=event.n))
        ctx.publish(Told(key=event.key, n=event.n))

    @app.on(Told, writes="key/{key}")
    def told(event: Told, ctx: Context[None]) -> None:
        log.append(event.n)
        if event.n < 5:
            ctx.publish(Told(key=event.key, n=event.n + 10))

    result = run(app, steps("a", "a"))
    assert log == [0, 1, 10, 11]
    assert result.published == [
        *(Unheard(n=0), Told(key="a", n=0), Unheard(n=1), Told(key="a", n=1)),
        *(Told(key="a", n=10), Told(key="a", n=11)),
    ]
    assert (len(result.processed), result.dead) == (6, [])


def test_a_parked_event_holds_its_dependents_and_nothing_else() -> None:
    app: App[None] = App("till")
    attempts: list[float] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        if event.n == 0:
            attempts.append(asyncio.get_running_loop().time())
            raise OSError("the gateway is down")

    events = steps("a", "a", "b", "a")
    result = run(app, events)
    assert len(attempts) == Retry().attempts and attempts[-1] > 60
    assert [(one.event, one.status) for one in result.dead] == [
        (events[0], "parked"), (events[1], "held"), (events[3], "held"),
    ]  # fmt: skip
    assert "the gateway is down" in result.dead[0].reason
    assert result.processed == [events[2]]


def test_dead_letters_say_why() -> None:
    app: App[None] = App("till")

    @app.on(Step, writes="key/{key}", on_exhausted="skip")
    def step(event: Step) -> None:
        raise DeadLetter("no such customer")

    result = run(app, [*steps("a"), ("step", {"key": 7, "n": 0}), NamedEvent(type="stop", data={})])
    assert [(one.status, one.event) for one in result.dead] == [
        ("skipped", Step(key="a", n=0)),
        ("rejected", NamedEvent(type="step", data={"key": 7, "n": 0})),
        ("rejected", NamedEvent(type="stop", data={})),
    ]
    assert "no such customer" in result.dead[0].reason and "$.key" in result.dead[1].reason
    with pytest.raises(RejectedError, match="step was not sent"):
        run(app, [Step(key=7, n=0)])  # type: ignore[arg-type]


def test_state_is_given_and_the_lifespan_is_not_run() -> None:
    app: App[list[str]] = App("till", lifespan=lambda: pytest.fail("it was run"))

    @app.on(Step, writes="key/{key}")
    def step(event: Step, ctx: Context[list[str]]) -> None:
        ctx.state.append(event.key)

    gateway: list[str] = []
    run(app, steps("a", "b"), state=gateway)
    assert gateway == ["a", "b"]


def test_a_timeout_takes_virtual_time_and_the_keys_are_kept_until_the_handler_has_ended() -> None:
    app: App[None] = App("till")
    log: list[str] = []

    @app.on(Step, writes="key/{key}", timeout_s=30.0, retry=Retry(attempts=2, first_s=1.0))
    async def step(event: Step) -> None:
        log.append(f"{event.n} begins")
        try:
            await asyncio.sleep(HOUR_S if event.n == 0 else 1)
        finally:
            await asyncio.sleep(2)
            log.append(f"{event.n} ends")

    result = run(app, steps("a", "b"))
    assert log == ["0 begins", "1 begins", "1 ends", "0 ends", "0 begins", "0 ends"]
    assert result.dead == [DeadEvent(Step(key="a", n=0), "parked", result.dead[0].reason)]
    assert "timeout_s=30" in result.dead[0].reason or "TimeoutError" in result.dead[0].reason


def test_a_breaker_opens_and_closes_in_virtual_time() -> None:
    app: App[None] = App("till")
    down_until_s = 1_000.0

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        if asyncio.get_running_loop().time() < down_until_s:
            raise OSError("down")

    events = steps(*(f"k{n}" for n in range(60)))
    assert len(run(app, events).processed) == 60
    down_until_s = float("inf")
    result = run(app, events)
    waiting = [one for one in result.dead if one.status == "waiting"]
    assert not result.processed and len(result.dead) == 60
    assert waiting and "breaker of step is open" in waiting[0].reason


def test_a_stopped_log_says_what_waits() -> None:
    app: App[None] = App("till")

    @app.on(Step, writes="key/{key}", on_exhausted="stop", retry=Retry(attempts=1))
    async def step(event: Step) -> None:
        await asyncio.sleep(event.n)
        if event.n == 0:
            raise OSError("down")

    result = run(app, steps("a", "b", "c", "d"), concurrency=2)
    assert [one.status for one in result.dead] == ["parked", "waiting", "waiting"]
    assert "stopped at step" in result.dead[1].reason


@pytest.mark.parametrize("swallowed", [False, True])
def test_real_sockets_are_refused_even_where_the_handler_hides_it(swallowed: bool) -> None:
    app: App[None] = App("mail")

    @app.on(Step, writes="key/{key}")
    def step(event: Step) -> None:
        try:
            with socket.socket() as real:
                real.connect(("127.0.0.1", 9))
        except UsageError:
            if not swallowed:
                raise

    with pytest.raises(UsageError, match=r"real socket.*stand-in") as refused:
        run(app, steps("a"))
    assert refused.value.slug == "real-socket"
    with socket.socket() as real:
        real.bind(("127.0.0.1", 0))  # outside a run nothing is refused


@pytest.mark.parametrize(
    "reach", [lambda: asyncio.open_connection("localhost", 9), lambda: asyncio.create_subprocess_exec("true")]
)
def test_streams_and_processes_are_refused_too(
    reach: Callable[[], Coroutine[object, object, object]],
) -> None:
    app: App[None] = App("mail")

    @app.on(Step, writes="key/{key}", retry=Retry(attempts=1))
    async def step(event: Step) -> None:
        await reach()

    with pytest.raises(UsageError) as refused:
        run(app, steps("a"))
    assert refused.value.slug == "real-socket"


def test_pipes_in_the_loop_are_refused() -> None:
    app: App[None] = App("mail")

    @app.on(Step, writes="key/{key}", retry=Retry(attempts=1))
    async def step(event: Step) -> None:
        reading, writing = os.pipe()
        try:
            asyncio.get_running_loop().add_reader(reading, lambda: None)
        finally:
            os.close(reading)
            os.close(writing)

    with pytest.raises(UsageError, match="in the event loop"):
        run(app, steps("a"))


def test_the_clock_goes_as_far_as_was_waited_for() -> None:
    app: App[None] = App("clock")
    times: list[float] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        await asyncio.sleep(HOUR_S)
        times.append(asyncio.get_running_loop().time())

    run(app, steps("a", "a", "b"))
    assert sorted(times) == pytest.approx([HOUR_S, HOUR_S, 2 * HOUR_S], abs=0.001)


def test_functions_for_threads_run_inline() -> None:
    app: App[None] = App("files")
    seen: list[object] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        seen.append(await asyncio.to_thread(lambda: event.n + 1))
        with pytest.raises(OSError, match="no"):
            await asyncio.to_thread(_no)

    run(app, steps("a"))
    assert seen == [1]


def _no() -> None:
    raise OSError("no")


def test_a_handler_that_would_never_end_is_named() -> None:
    app: App[None] = App("till")

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        await asyncio.Event().wait()

    with pytest.raises(UsageError, match=r"step:\d+ \(step\): waits for something") as refused:
        run(app, steps("a"))
    assert refused.value.slug == "never-ends"


def test_a_service_beside_the_handlers_that_never_ends_does_not_keep_the_run_alive() -> None:
    app: App[None] = App("till")
    services: list[asyncio.Task[None]] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        services.append(asyncio.get_running_loop().create_task(tick()))
        await asyncio.sleep(100)

    assert len(run(app, steps("a")).processed) == 1


async def test_it_is_for_plain_functions() -> None:
    with pytest.raises(UsageError, match="plain def test") as refused:
        run(App("till"), [])
    assert refused.value.slug == "running-loop"


def test_nothing_to_do_is_done_and_the_apps_own_broker_is_left_alone(tmp_path: object) -> None:
    app: App[None] = App("till", f"sqlite:///{tmp_path}/none/till.db")
    assert run(app, []) == Result([], [], [], 0)
