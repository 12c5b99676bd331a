"""Blocks: one at a time, in sequence, undone alone; and never for longer than they may be open."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from commute.embedded.writer import Writer
from commute.errors import StoreError, UsageError

BOUND_S = 20.0


def make(path: str | None, **options: float) -> Writer:
    chosen = {"commit_s_max": 0.002, "transaction_s_max": 5.0, **options}
    writer = Writer(path, **chosen)
    writer.submit(lambda c: c.execute("create table t (x)")).result(BOUND_S)
    return writer


@pytest.fixture(params=["file", "memory"])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Writer]:
    made = make(str(tmp_path / "w.db") if request.param == "file" else None)
    yield made
    made.close()


@pytest.fixture
def on_file(tmp_path: Path) -> Iterator[Writer]:
    made = make(str(tmp_path / "w.db"))
    yield made
    made.close()


def insert(*values: object) -> Callable[[apsw.Connection], None]:
    def job(connection: apsw.Connection) -> None:
        connection.executemany("insert into t values (?)", [(value,) for value in values])

    return job


def rows(writer: Writer) -> list[object]:
    """What is committed, as another connection sees it; in memory there is no other."""
    if writer.name.startswith("/"):
        other = apsw.Connection(writer.name)
        try:
            return [row[0] for row in other.execute("select x from t order by rowid")]
        finally:
            other.close()
    return writer.submit(lambda c: [row[0] for row in c.execute("select x from t order by rowid")]).result(0)


class Blocker:
    """A job that holds the writer's thread in the middle of a commit until it is told to go on."""

    def __init__(self, writer: Writer) -> None:
        self.inside = threading.Event()
        self.go = threading.Event()

        def job(_connection: apsw.Connection) -> None:
            self.inside.set()
            assert self.go.wait(BOUND_S)

        self.future = writer.submit(job)
        assert self.inside.wait(BOUND_S)


def test_blocks_share_a_sync_and_see_each_other(on_file: Writer) -> None:
    async def main() -> None:
        numbers = set()
        for n in range(50):
            async with on_file.block() as block:
                numbers.add(block.commit)
                assert block.execute("insert into t values (?)", (n,)) == []
                assert block.changes == 1
                assert block.execute("select count(*) from t") == [(n + 1,)]
        assert len(numbers) < 50, "blocks did not share a transaction"
        assert max(numbers) <= on_file.current_commit

    asyncio.run(main())
    on_file.submit(lambda c: None).result(BOUND_S)
    assert rows(on_file) == list(range(50))


def test_an_uncontended_block_never_leaves_its_thread(writer: Writer) -> None:
    async def main() -> None:
        enter = writer.block()
        steps = enter.__aenter__()
        with pytest.raises(StopIteration):
            steps.send(None)  # a coroutine that suspends would give something instead
        await enter.__aexit__(None, None, None)

    writer.submit(lambda c: None).result(BOUND_S)
    asyncio.run(main())


def test_a_block_is_committed_within_commit_s_max_without_anybody_asking(on_file: Writer) -> None:
    with on_file.block_sync() as block:
        block.execute("insert into t values (1)")
        number = block.commit
    until_s = time.monotonic() + BOUND_S
    while on_file.commits < number and time.monotonic() < until_s:
        time.sleep(0.0005)
    assert rows(on_file) == [1]


def test_a_block_that_raises_is_undone_alone(writer: Writer) -> None:
    async def main() -> None:
        async with writer.block() as block:
            block.execute("insert into t values ('kept')")
        with pytest.raises(KeyError):
            async with writer.block() as block:
                block.execute("insert into t values ('undone')")
                block.execute("create table also_undone (x)")
                raise KeyError
        async with writer.block() as block:
            block.execute("create table made (x)")
            assert block.execute("select name from sqlite_schema where name in ('made', 'also_undone')") == [("made",)]

    asyncio.run(main())
    with writer.block_sync() as block, pytest.raises(apsw.SQLError):
        block.execute("insert into nowhere values (1)")
    writer.submit(lambda c: None).result(BOUND_S)
    assert rows(writer) == ["kept"]


def test_blocks_are_entered_first_come_first_served(writer: Writer) -> None:
    entered: list[int] = []

    async def one(n: int) -> None:
        async with writer.block():
            entered.append(n)
            await asyncio.sleep(0)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for n in range(30):
                group.create_task(one(n))

    asyncio.run(main())
    assert entered == list(range(30))


def test_only_one_block_is_open_among_coroutines_and_threads(writer: Writer) -> None:
    inside = 0
    total = 0

    def enter() -> None:
        nonlocal inside, total
        inside += 1
        assert inside == 1
        total += 1

    def leave() -> None:
        nonlocal inside
        inside -= 1

    def work() -> None:
        for _ in range(100):
            with writer.block_sync() as block:
                enter()
                block.execute("insert into t values (1)")
                leave()

    async def worker() -> None:
        for _ in range(50):
            async with writer.block() as block:
                enter()
                block.execute("insert into t values (1)")
                await asyncio.sleep(0)
                leave()

    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(3)), *(worker() for _ in range(4)))

    asyncio.run(main())
    writer.submit(lambda c: None).result(BOUND_S)
    assert total == 500
    assert len(rows(writer)) == 500


def test_a_block_waits_while_a_commit_runs_and_other_work_of_the_loop_goes_on(on_file: Writer) -> None:
    async def main() -> None:
        blocker = Blocker(on_file)
        enter = on_file.block()
        entering = asyncio.ensure_future(enter.__aenter__())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not entering.done()
        blocker.go.set()
        block = await asyncio.wait_for(entering, BOUND_S)
        block.execute("insert into t values (1)")
        await enter.__aexit__(None, None, None)

    asyncio.run(main())


@pytest.mark.parametrize("rounds", range(4))
def test_cancelling_one_that_waits_for_its_turn_loses_no_turn(writer: Writer, rounds: int) -> None:
    async def main() -> None:
        first = writer.block()
        await first.__aenter__()
        entered: list[str] = []

        async def other(name: str) -> None:
            async with writer.block():
                entered.append(name)

        gone = asyncio.ensure_future(other("gone"))
        stays = asyncio.ensure_future(other("stays"))
        for _ in range(3):
            await asyncio.sleep(0)
        if rounds % 2:
            await first.__aexit__(None, None, None)  # the turn is granted to the one that is then cancelled
            gone.cancel()
        else:
            gone.cancel()
            for _ in range(rounds):  # it may have gone, or still be about to go, when the turn is given on
                await asyncio.sleep(0)
            await first.__aexit__(None, None, None)
        with pytest.raises(asyncio.CancelledError):
            await gone
        await asyncio.wait_for(stays, BOUND_S)
        assert entered == ["stays"]

    asyncio.run(main())
    writer.submit(insert(1)).result(BOUND_S)


def test_an_overdue_block_is_taken_back_and_others_go_on_meanwhile(tmp_path: Path) -> None:
    writer = make(str(tmp_path / "w.db"), transaction_s_max=0.05)

    async def main() -> None:
        release = asyncio.Event()

        async def slow() -> None:
            async with writer.block() as block:
                block.execute("insert into t values ('slow')")
                await release.wait()
                block.execute("insert into t values ('late')")

        hanging = asyncio.ensure_future(slow())
        await asyncio.sleep(0)
        async with asyncio.timeout(BOUND_S), writer.block() as block:  # before the slow one has ended
            block.execute("insert into t values ('other')")
        release.set()
        with pytest.raises(StoreError) as caught:
            await hanging
        assert caught.value.slug == "transaction-too-long"

    asyncio.run(main())
    writer.close()
    assert rows(writer) == ["other"]


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("place", ["file", "memory"])
def test_an_overdue_block_fails_at_its_end(tmp_path: Path, place: str, pinned: bool) -> None:
    writer = make(str(tmp_path / "w.db") if place == "file" else None, transaction_s_max=0.02)
    with pytest.raises(StoreError) as caught, writer.block_sync() as block:
        block.execute("insert into t values ('slow')")
        if pinned:
            block.connection.execute("insert into t values ('too')")
        time.sleep(0.1)
    assert caught.value.slug == "transaction-too-long"
    with writer.block_sync() as block:
        block.execute("insert into t values ('next')")
    writer.submit(lambda c: None).result(BOUND_S)
    assert rows(writer) == ["next"]
    writer.close()


@pytest.mark.parametrize(
    "sql",
    """commit; BEGIN; rollback; end; attach ':memory:' as a; detach main; pragma journal_mode=delete
    pragma synchronous=off; rollback to commute_block; release commute_block; savepoint commute_more
    insert or rollback into t values (1)""".replace("\n", ";").split(";"),
)
def test_statements_that_would_end_the_shared_transaction_are_refused(writer: Writer, sql: str) -> None:
    with writer.block_sync() as block:
        block.execute("insert into t values ('before')")
        with pytest.raises(UsageError) as caught:
            block.execute(sql)
        assert caught.value.slug == "block-statement"
        assert sql.strip()[:20] in str(caught.value)
        with pytest.raises(UsageError):  # again, now that the statement may be in a cache
            block.execute(sql)
        block.execute("insert into t values ('after')")
        assert block.execute("pragma table_info(t)")[0][1] == "x"
    writer.submit(lambda c: None).result(BOUND_S)
    assert rows(writer) == ["before", "after"]


def test_a_block_inside_a_block_is_refused_instead_of_waiting_for_itself(writer: Writer) -> None:
    async def main() -> None:
        async with writer.block():
            with pytest.raises(UsageError, match="end it before"):
                async with writer.block():
                    pass

    asyncio.run(main())
    with writer.block_sync():
        with pytest.raises(UsageError) as caught, writer.block_sync():
            pass
        assert caught.value.slug == "block-inside"
    with writer.block_sync() as block:
        block.execute("insert into t values (1)")
    with pytest.raises(UsageError, match="has ended"):
        block.execute("insert into t values (2)")
    with writer.block_sync() as block:
        found: list[object] = []
        block.at_end(lambda c: found.extend(c.execute("select count(*) from t").fetchall()))
        assert found == [(1,)]
