"""The store by itself: ownership and its fence, blocks, what people are told; statements as they are translated."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import psycopg
import pytest

from commute import App, Limits, NotReachableError, OwnershipLostError, StoreError, UsageError
from commute.database import Connection, Tenure
from commute.postgres.address import parse
from commute.postgres.schema import create, script
from commute.postgres.sql import ends_transaction, of_ours, with_marks
from commute.postgres.store import PostgresStore
from commute.store.receipts import TYPE, Told, read_receipt, store_receipts
from commute.transports.base import Message
from commute.transports.sqlite import SqliteTransport
from tests.postgres.server import Server, wait_for


@pytest.fixture
def store(server: Server) -> Iterator[PostgresStore]:
    opened = PostgresStore.open(server.own_tables, Limits(transactions_max=3))
    yield opened
    opened.close()


@pytest.fixture
def other(server: Server) -> Iterator[PostgresStore]:
    """The same database as another process sees it."""
    opened = PostgresStore.open(f"{server.own_tables}&application_name=other", Limits())
    yield opened
    opened.close()


def test_a_group_has_one_owner_until_it_is_released(store: PostgresStore, other: PostgresStore) -> None:
    mine, beside, theirs = store.ownership("g"), store.ownership("g"), other.ownership("g")
    assert store.owner("g") is None and mine.holder() is None
    assert mine.try_take()
    assert not beside.try_take() and not theirs.try_take()
    assert other.ownership("another").try_take()
    assert store.owner("g") == other.owner("g") == mine.holder()
    mine.release()
    wait_for(theirs.try_take)
    assert theirs.epoch == 2 and not mine.try_take()


def test_others_see_who_had_it_last_and_whether_it_is_held(store: PostgresStore, other: PostgresStore) -> None:
    held, given = store.ownership("held"), store.ownership("given")
    assert held.try_take() and given.try_take()
    given.release()
    wait_for(lambda: other.owner("given") is None)
    me = (os.getpid(), socket.gethostname())
    assert other.tenures(["held", "given", "never"]) == [Tenure(me, True), Tenure(me, False), Tenure(None, False)]


def test_a_takeover_waits_for_open_blocks_and_shuts_out_later_ones(
    server: Server, store: PostgresStore, other: PostgresStore
) -> None:
    server.run("create table {s}.t (n bigint)")
    mine, theirs = store.ownership("g"), other.ownership("g")
    assert mine.try_take()
    with ThreadPoolExecutor(1) as thread:
        with store.writer.block_sync(before=mine.check_epoch) as block:
            block.execute("insert into t values (?)", (1,))
            server.terminate_owner("g")
            taking = thread.submit(lambda: wait_for(theirs.try_take))
            wait_for(lambda: bool(server.rows("select 1 from pg_locks where locktype = 'advisory' and not granted")))
            assert not taking.done()  # or this block would commit after the other's first look
        taking.result()
    assert theirs.epoch == 2
    with pytest.raises(OwnershipLostError), store.writer.block_sync(before=mine.check_epoch) as block:
        block.execute("insert into t values (?)", (2,))
    with pytest.raises(StoreError):
        store.writer.submit(mine.check_epoch).result()
    assert server.rows("select n from {s}.t") == [(1,)]


def test_blocks_run_side_by_side_and_wait_for_a_connection_beyond_that(server: Server, store: PostgresStore) -> None:
    server.run("create table {s}.t (n bigint)")
    together, inside = threading.Barrier(3), threading.Semaphore(3)

    def run(n: int) -> None:
        with store.writer.block_sync() as block:
            assert inside.acquire(blocking=False)  # never more than transactions_max
            together.wait(20)  # never fewer, while there is work
            block.execute("insert into t values (?)", (n,))
            inside.release()

    with ThreadPoolExecutor(9) as threads:
        list(threads.map(run, range(9)))
    assert server.rows("select count(*) from {s}.t") == [(9,)]


async def test_bodies_take_turns_on_a_loop_and_commit_side_by_side(server: Server, store: PostgresStore) -> None:
    server.run("create table {s}.t (k bigint primary key, n bigint)")
    server.run("insert into {s}.t values (1, 0)")

    async def add() -> None:
        async with store.writer.block() as block:
            (found,) = block.execute("update t set n = n + 1 where k = ? returning n", (1,))
            await asyncio.sleep(0.002)  # with the row locked: another body would block the loop for it
            block.execute("update t set n = ? where k = 1", found)

    await asyncio.wait_for(asyncio.gather(*(add() for _ in range(20))), 30)
    assert server.rows("select n from {s}.t") == [(20,)]


async def test_a_cancelled_block_leaves_nothing_open(server: Server, store: PostgresStore) -> None:
    server.run("create table {s}.t (n bigint)")

    async def write() -> None:
        async with store.writer.block() as block:
            block.execute("insert into t values (?)", (1,))
            await asyncio.sleep(0)

    for rounds in range(40):
        running = [asyncio.create_task(write()) for _ in range(5)]
        for _ in range(rounds % 8):
            await asyncio.sleep(0.001)
        for one in running:
            one.cancel()
        ended = await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 20)
        assert all(one is None or isinstance(one, asyncio.CancelledError) for one in ended)
    async with store.writer.block() as block:  # the connections have all come back
        assert block.execute("select count(*) from pg_locks where relation = 't'::regclass and granted") is not None


def test_statements_of_a_block(server: Server, store: PostgresStore) -> None:
    with store.writer.block_sync() as block:
        block.execute("create table t (n bigint, s text)")
        block.execute("insert into t values (?, ?), (:x, '?:y%')".replace(":x, '?:y%'", "2, '?:y%'"), (1, "a%b"))
        assert block.changes == 2
        block.execute("insert into t values (:n, :s)", {"n": 3, "s": None})
        assert block.execute("select n, s from t where n % 2 = ? order by n", (1,)) == [(1, "a%b"), (3, None)]
        assert block.execute("select sum(n), 1.5::float8, n'x' from t") == [(6, 1.5, "x")]
        with pytest.raises(UsageError, match="not inside a block"):
            block.execute("COMMIT")
        with pytest.raises(UsageError, match="end it before"):
            store.writer.block_sync().__enter__()
    assert server.rows("select count(*) from {s}.t") == [(3,)]
    with pytest.raises(psycopg.errors.UndefinedTable), store.writer.block_sync() as block:
        block.execute("insert into nowhere values (1)")
    with pytest.raises(StoreError, match="had failed at an earlier statement"), store.writer.block_sync() as block:
        block.execute("delete from t")
        with pytest.raises(psycopg.errors.UndefinedTable):
            block.execute("insert into nowhere values (1)")
    assert server.rows("select count(*) from {s}.t") == [(3,)]
    with pytest.raises(UsageError, match="has ended"):
        block.execute("select 1")


def test_a_job_that_fails_undoes_itself_alone(server: Server, store: PostgresStore) -> None:
    server.run("create table {s}.commute_t (n bigint primary key)")
    one = store.writer.submit(lambda c: c.execute("insert into commute_t values (?)", (1,)).fetchall())
    two = store.writer.submit(lambda c: [c.execute("insert into commute_t values (?)", (n,)) for n in (2, 1)])
    three = store.writer.submit(lambda c: c.execute("insert into commute_t values (?)", (3,)).fetchall())
    assert one.result() == three.result() == []
    with pytest.raises(StoreError):
        two.result()
    assert server.rows("select n from {s}.commute_t order by n") == [(1,), (3,)]


async def test_large_events_are_not_piled_up(store: PostgresStore) -> None:
    log = SqliteTransport(store, "large")
    messages = [Message(f"e{n}", "/t", "large", 1.0, b"x" * 1_000_000) for n in range(20)]
    await log.open("g")
    try:
        await log.send(messages)
        arrived: list[str] = []
        while len(arrived) < 20:
            some = await log.receive(100)
            assert len(some) <= 8
            arrived += [delivery.message.id for delivery in some]
        assert arrived == [message.id for message in messages]
    finally:
        await log.close()


def test_a_lost_connection_is_told_and_made_anew(server: Server, store: PostgresStore) -> None:
    told: list[StoreError] = []
    store.writer.on_failure(told.append)
    assert store.ownership("g").try_take()
    server.terminate_owner("g")
    wait_for(lambda: len(told) == 1)  # though nobody writes
    with pytest.raises(StoreError):
        store.writer.submit(lambda c: None).result()
    store.writer.reset()
    assert store.writer.submit(lambda c: c.execute("select 7").fetchall()).result() == [(7,)]
    assert store.owner("g") is None
    store.writer.off_failure(told.append)


def test_what_people_are_told(server: Server) -> None:
    with pytest.raises(UsageError, match="commute doctor"):
        PostgresStore.open(server.base + "?schema=test_nowhere", Limits())
    with pytest.raises(NotReachableError) as refused:
        PostgresStore.open("postgresql://x:secret@127.0.0.1:1/x", Limits())
    assert "secret" not in str(refused.value)
    for wrong in ("postgresql://h/d?schema=A-b", "mysql://h/d"):
        with pytest.raises(UsageError):
            parse(wrong)
    assert parse("postgres://u:p@h:1/d?schema=x&sslmode=require").shown == "postgresql://u@h:1/d?schema=x"
    with pytest.raises(UsageError, match="give it as db="):
        _ = App("shop", server.base).url
    server.run("update {s}.commute_version set version = 99")
    with pytest.raises(StoreError, match="tables 99"):
        PostgresStore.open(server.url, Limits())


def test_the_script_is_what_create_runs_and_changes_nothing_a_second_time(server: Server) -> None:
    tables = server.rows("select tablename from pg_tables where schemaname = '{s}' order by 1")
    create(server.url)
    server.connection.execute(script(server.url).encode())
    assert server.rows("select tablename from pg_tables where schemaname = '{s}' order by 1") == tables
    assert server.rows("select count(*) from {s}.commute_version") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("select ?, '?', \"?\" -- ?", b"select %s, '?', \"?\" -- ?"),
        ("select :a, b::text, 'x:a', $$ :a ? $$", b"select %(a)s, b::text, 'x:a', $$ :a ? $$"),
        ("select 5 % 2, 'a%'", b"select 5 %% 2, 'a%%'"),
        ("select 'it''s ?', ? /* ? */", b"select 'it''s ?', %s /* ? */"),
    ],
)
def test_marks(sql: str, translated: bytes) -> None:
    assert with_marks(sql) == translated


def test_our_tables_are_found_in_their_schema() -> None:
    assert of_ours("SELECT 1 FROM inbox i WHERE EXISTS (SELECT 1 FROM dead)", "s") == (
        "SELECT 1 FROM s.inbox i WHERE EXISTS (SELECT 1 FROM s.dead)"
    )
    assert of_ours("INSERT INTO progress(a) VALUES(?) ON CONFLICT(a) DO UPDATE SET a=1", "s").startswith(
        "INSERT INTO s.progress(a)"
    )
    made = of_ours("CREATE TABLE IF NOT EXISTS done(n INTEGER PRIMARY KEY, b BLOB) WITHOUT ROWID", "s")
    assert made == "CREATE TABLE IF NOT EXISTS s.done(n bigint generated by default as identity primary key, b bytea) "


def test_what_would_end_a_transaction() -> None:
    ends = ("commit", " ROLLBACK;", "select 1; Commit", "/* x */ begin", "start transaction", "end", "-- x\nabort")
    assert all(ends_transaction(sql) for sql in ends)
    stays = ("rollback to savepoint x", "select 'x; commit'", "update t set commit = 1", "release x", "select '--'")
    assert not any(ends_transaction(sql) for sql in stays)


def test_receipts_are_kept_here_too(store: PostgresStore) -> None:
    def keep(connection: Connection, status: str, at_s: float) -> None:
        data = msgspec.json.encode(Told("e1", "shop", status, "why", 3, {"pay": status}))
        message = Message(f"r{at_s}", "/shop", TYPE, at_s, data, None)
        store_receipts(connection, [message], rows_max=5, since_s=0.0)

    for status, at_s in ("parked", 5.0), ("processed", 4.0), ("parked", 6.0):
        store.writer.submit(partial(keep, status=status, at_s=at_s)).result()
    store.writer.submit(lambda c: store_receipts(c, [], rows_max=5, since_s=0.0)).result()
    told = store.read(lambda c: read_receipt(c, "e1", "web"))
    assert told == Told("e1", "shop", "processed", "why", 3, {"pay": "processed"})
