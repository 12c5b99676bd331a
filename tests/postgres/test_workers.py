"""Real workers on PostgreSQL, killed, stopped and cut off: nothing lost, nothing twice, everything in sequence."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest
from benchmarks.apps.accounts import make_app
from benchmarks.crash import _all_settled, _judge_children, judge, make_event

from commute import App, Context, Limits, OwnershipLostError, Retry
from commute.link import discard, parse_url, with_stream
from tests.brokers import broker_url
from tests.house.tree import ROOT
from tests.postgres.server import Server, until, wait_for
from tests.runtime.shop import QUICK, Child, Step, state_of
from tests.transports.zeromq_rig import Rig

TABLES = """
create table {s}.effect (n bigint generated always as identity, event text, handler text, position bigint, key text);
create table {s}.account (key text primary key, value bigint, changes bigint);
create table {s}.total (key text primary key, value numeric);
"""
WORKER = """
import sys
from benchmarks.apps.accounts import make_app
make_app(sys.argv[1], deaths_max=0, db=sys.argv[2]).run()
"""
BROKEN = ("lost", "stored_twice", "double_effects", "order_violations", "wrong_children",
          "children_out_of_sequence", "dead")  # fmt: skip
EVENTS = 600


@pytest.fixture
def store(server: Server) -> str:
    """The store's URL, with the app's own tables in the same schema."""
    server.run(TABLES)
    return server.own_tables


@contextmanager
def worker(broker: str, store: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, broker, store], stdout=out, stderr=out, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/src{os.pathsep}{ROOT}"},
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def publish(broker: str, store: str, count: int, seed: int) -> set[str]:
    chance = random.Random(seed)
    confirmed: set[str] = set()
    async with make_app(broker, deaths_max=0, db=store) as app:
        for at in range(0, count, 50):
            receipts = await app.publish_many([make_event(chance, at + n) for n in range(50)])
            confirmed |= {receipt.event_id for receipt in receipts}
    return confirmed


async def finish(broker: str, store: str, confirmed: set[str] | None = None) -> None:
    """A worker in this process that runs until everything has its outcome; `confirmed`: what must have come."""
    app = make_app(broker, deaths_max=0, db=store)

    def all_settled() -> bool:
        return _all_settled(app) and not app.connect().file.read(_outbox)

    async with app, app.running():
        for identity in confirmed or ():
            await until(lambda identity=identity: bool(app.log.find(identity)), identity)  # type: ignore[misc]
        await until(all_settled, "all settled")
        if confirmed is not None:  # children may be on their way between the outbox and the journal
            await until(lambda: _children_came(app) and all_settled(), "children")


def _children_came(app: App[None]) -> bool:
    found = _judge_children(app.log.range(1, app.log.last_position()))
    return found["wrong_children"] == 0


def _outbox(connection: object) -> bool:
    return bool(connection.execute("select 1 from outbox limit 1").fetchall())  # type: ignore[attr-defined]


def effects(server: Server) -> int:
    return int(server.rows("select count(*) from {s}.effect")[0][0])


def check(broker: str, store: str, confirmed: set[str]) -> None:
    found = judge(broker, confirmed, store)
    assert {name: found[name] for name in BROKEN} == dict.fromkeys(BROKEN, 0)
    assert found["state_equal"] is True


async def test_a_worker_killed_under_load_again_and_again(server: Server, store: str, tmp_path: Path) -> None:
    broker, chance = f"sqlite:///{tmp_path}/log.db", random.Random(4)
    confirmed = await publish(broker, store, EVENTS, seed=4)
    for _ in range(6):
        before = effects(server)
        with worker(broker, store, tmp_path / "out") as process:
            wait_for(lambda before=before: effects(server) > before, (tmp_path / "out").read_text())  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
    await finish(broker, store)
    check(broker, store, confirmed)


async def test_a_journal_of_rabbitmq_and_a_worker_killed_under_load(server: Server, store: str, tmp_path: Path) -> None:
    """Log, state and effects are all in PostgreSQL; children go out over the broker."""
    broker = with_stream(broker_url("rabbitmq"), f"test-{server.schema}")
    try:
        confirmed = await publish(broker, store, EVENTS, seed=8)
        for _ in range(3):
            before = effects(server)
            with worker(broker, store, tmp_path / "out") as process:
                wait_for(lambda before=before: effects(server) > before + 20, "an effect")  # type: ignore[misc]
                os.kill(process.pid, signal.SIGKILL)
        await finish(broker, store, confirmed)
        check(broker, store, confirmed)
    finally:
        discard(parse_url(broker), "accounts")


async def test_a_second_worker_takes_over_from_one_that_is_killed(server: Server, store: str, tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/log.db"
    confirmed = await publish(broker, store, EVENTS, seed=5)
    with worker(broker, store, tmp_path / "one") as one:
        wait_for(lambda: effects(server) > 20)
        with worker(broker, store, tmp_path / "two"):
            wait_for(lambda: "stands by" in (tmp_path / "two").read_text())
            one.kill()
            wait_for(lambda: "takes over" in (tmp_path / "two").read_text())
            before = effects(server)
            wait_for(lambda: effects(server) > before)
    await finish(broker, store)
    check(broker, store, confirmed)


def stop_between_commits(pid: int, log: Path) -> None:
    """SIGSTOP, but not while the process has the write lock of the log's file: nobody could go on then."""
    end_s = time.monotonic() + 30
    while True:
        os.kill(pid, signal.SIGSTOP)
        with closing(apsw.Connection(str(log))) as connection:
            try:
                connection.execute("begin immediate; rollback")
                return
            except apsw.BusyError:
                assert time.monotonic() < end_s, "it always has the lock"
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)


async def test_a_stopped_owner_whose_connection_is_gone_commits_nothing_more(
    server: Server, store: str, tmp_path: Path
) -> None:
    broker = f"sqlite:///{tmp_path}/log.db"
    confirmed = await publish(broker, store, EVENTS, seed=6)
    with worker(broker, store, tmp_path / "one") as one:
        wait_for(lambda: effects(server) > 20)
        stop_between_commits(one.pid, tmp_path / "log.db")
        server.terminate_owner("accounts")
        epoch = server.rows("select epoch from {s}.commute_owners")[0][0]
        with worker(broker, store, tmp_path / "two") as two:
            wait_for(lambda: server.rows("select epoch from {s}.commute_owners")[0][0] > epoch)
            before = effects(server)
            wait_for(lambda: effects(server) > before)
            os.kill(one.pid, signal.SIGCONT)
            wait_for(lambda: "stands by" in (tmp_path / "one").read_text() or one.poll() is not None)
            assert two.poll() is None
    await finish(broker, store)
    check(broker, store, confirmed)


async def test_cut_connections_under_load_start_a_session_from_what_is_durable(
    server: Server, store: str, tmp_path: Path
) -> None:
    broker = f"sqlite:///{tmp_path}/log.db"
    confirmed = await publish(broker, store, EVENTS, seed=7)
    with worker(broker, store, tmp_path / "out"):
        for _ in range(4):
            before = effects(server)
            wait_for(lambda before=before: effects(server) > before + 5, (tmp_path / "out").read_text())  # type: ignore[misc]
            assert server.terminate_all() > 0
    await finish(broker, store)
    check(broker, store, confirmed)


async def test_both_laws_over_a_journal_in_postgresql(server: Server) -> None:
    rig = Rig()
    app: App[None] = App("shop", rig.url, db=server.own_tables, concurrency=8)
    server.run("create table {s}.effect (n bigint, key text)")
    ran: list[tuple[str, int]] = []

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        if (event.key, event.n) == ("a", 0):
            # Independent events go on while this one waits, or it would wait for ever; dependent ones do not.
            await until(lambda: sum(key == "b" for key, _ in ran) == 20)
        ran.append((event.key, event.n))
        async with ctx.transaction() as tx:
            tx.execute("insert into effect values (:n, :key)", {"n": event.n, "key": event.key})

    async with app, app.running():
        events = [Step(key=key, n=n) for n in range(20) for key in "ab"]
        receipts = await app.publish_many(events)
        for receipt in receipts:
            outcome = await receipt.outcome(timeout_s=30)
            assert outcome is not None and outcome.status == "processed"
    assert [n for key, n in ran if key == "a"] == [n for key, n in ran if key == "b"] == list(range(20))
    assert server.rows("select key, count(*), count(distinct n) from {s}.effect group by key order by key") == [
        ("a", 20, 20), ("b", 20, 20),
    ]  # fmt: skip
    assert server.rows("select count(*) from {s}.inbox") == [(40,)]
    assert server.rows("select count(*) from {s}.commute_log_1") == [(40,)]
    rig.close()


DIES = """
import os, sys
from commute import App, Context, Limits
from tests.runtime.shop import QUICK, Child, Step, state_of
app = App("shop", sys.argv[1], db=sys.argv[2], limits=Limits(commit_s_max=float(sys.argv[3])))

@app.on(Step, writes="key/{key}")
async def step(event: Step, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("insert into effect (n) values (?)", (event.n,))
    if float(sys.argv[3]) > 1:
        os._exit(9)
app.run()
"""


async def test_a_block_is_not_run_again_where_nothing_else_of_its_event_had_reached_the_disk(
    server: Server, tmp_path: Path
) -> None:
    """The first worker dies after its block and before its first group commit: only the inbox knows of the event."""
    server.run("create table {s}.effect (n bigint)")
    broker = f"sqlite:///{tmp_path}/log.db"
    command = [sys.executable, "-c", DIES, broker, server.own_tables]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}/src{os.pathsep}{ROOT}"}
    app: App[None] = App("shop", broker, db=server.own_tables)
    async with app:
        with (
            (tmp_path / "out").open("w") as out,
            subprocess.Popen([*command, "60"], env=env, cwd=ROOT, stderr=out) as one,
        ):
            wait_for(lambda: "ready in" in (tmp_path / "out").read_text())
            time.sleep(0.5)  # its first chores commit too
            receipt = await app.publish(Step(key="a", n=1))
            assert one.wait(60) == 9
        assert server.rows("select count(*) from {s}.progress where admitted > 0") == [(0,)]
        with subprocess.Popen([*command, "0.005"], env=env, cwd=ROOT) as second:
            outcome = await receipt.outcome(timeout_s=30)
            second.kill()
        assert outcome is not None and outcome.status == "processed"
    assert server.rows("select n from {s}.effect") == [(1,)]
    assert server.rows("select count(*) from {s}.attempt") == [(0,)]


async def test_an_owner_that_lost_the_group_ends_with_the_reason(server: Server, tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/log.db", db=server.own_tables)
    server.run("create table {s}.effect (n bigint)")

    @app.on(Step, writes="key/{key}")
    async def step(event: Step, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            tx.execute("insert into effect values (?)", (event.n,))

    async with app:
        running = app.worker()
        await running.start()
        server.run("update {s}.commute_owners set epoch = epoch + 1")
        await app.publish(Step(key="a", n=1))
        with pytest.raises(OwnershipLostError):
            await asyncio.wait_for(running.wait(), 30)
    assert effects(server) == 0


@pytest.mark.parametrize("seen", [True, False])
async def test_a_block_commits_nothing_before_what_it_depends_on_is_durable(
    server: Server, tmp_path: Path, seen: bool
) -> None:
    """An event without a block, then one with: whether that one's block can be seen in its handler's code or not."""
    limits = Limits(commit_s_max=0.5)
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/log.db", db=server.own_tables, limits=limits)
    server.run("create table {s}.effect (n bigint, watermark bigint)")
    insert = "insert into effect values (?, (select max(watermark) from progress))"
    plain = asyncio.Event()

    async def effect(n: int, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            tx.execute(insert, (n,))

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None:
        plain.set()

    if seen:

        @app.on(Child, writes="key/{key}")
        async def child(event: Child, ctx: Context[None]) -> None:
            async with ctx.transaction() as tx:
                tx.execute(insert, (event.n,))

    else:

        @app.on(Child, writes="key/{key}")
        async def unseen(event: Child, ctx: Context[None]) -> None:
            await effect(event.n, ctx)

    async with app, app.running():
        first = await app.publish(Step(key="z", n=0))
        assert await first.outcome(timeout_s=30)  # by then the chores of a start, which commit too, are over
        receipts = await app.publish_many([Step(key="a", n=1), Child(key="a", n=2), Child(key="b", n=3)])
        for receipt in receipts:
            outcome = await receipt.outcome(timeout_s=30)
            assert outcome is not None and outcome.status == "processed"
    assert plain.is_set()
    found = dict(server.rows("select n, watermark from {s}.effect"))
    assert found.keys() == {2, 3} and found[2] > receipts[0].position


async def test_text_that_postgresql_does_not_take_is_stored_all_the_same(server: Server, tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/log.db", db=server.own_tables)

    @app.on(Step, writes="key/{key}", retry=Retry(attempts=1))
    async def step(event: Step) -> None:
        raise ValueError("before\0after")

    async with app, app.running():
        await app.publish(Step(key="a", n=1))
        await until(lambda: bool(server.rows("select 1 from {s}.dead")))
    assert "before\\x00after" in server.rows("select reason from {s}.dead")[0][0]


async def test_a_block_that_takes_too_long_is_undone_and_only_that_one(server: Server, tmp_path: Path) -> None:
    limits = Limits(transaction_s_max=0.3)
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/log.db", db=server.own_tables, limits=limits)
    server.run("create table {s}.effect (n bigint)")
    slow = [True]

    @app.on(Step, writes="key/{key}")
    def step(event: Step, ctx: Context[None]) -> None:
        with ctx.transaction() as tx:
            tx.execute("insert into effect values (?)", (event.n,))
            if event.n == 1 and slow:
                slow.pop()
                time.sleep(0.5)
                tx.execute("insert into effect values (?)", (100,))

    async with app, app.running():
        receipts = await app.publish_many([Step(key="a", n=1), Step(key="a", n=2), Step(key="b", n=3)])
        for receipt in receipts:
            outcome = await receipt.outcome(timeout_s=30)
            assert outcome is not None and outcome.status == "processed"
    assert sorted(server.rows("select n from {s}.effect")) == [(1,), (2,), (3,)]


async def test_a_constraint_that_only_the_commit_looks_at_is_the_handlers_own_failure(
    server: Server, tmp_path: Path
) -> None:
    server.run("create table {s}.once (n bigint unique deferrable initially deferred)")
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/log.db", db=server.own_tables)
    runs: list[int] = []

    @app.on(Step, writes="key/{key}", retry=QUICK)
    async def step(event: Step, ctx: Context[None]) -> None:
        runs.append(event.n)
        async with ctx.transaction() as block:
            block.execute("insert into once values (?)", (event.n,))

    async with app, app.running():
        assert await (await app.publish(Step(key="a", n=1))).outcome(timeout_s=30) is not None
        receipt = await app.publish(Step(key="b", n=1))
        await until(lambda: server.rows("select status from {s}.dead") == [("parked",)])
        assert await state_of(app, receipt.event_id) == "parked"
    assert len(runs) == 1 + QUICK.attempts
