"""Group commit: who shares a sync, who is undone alone, and what a failed sync takes back."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import apsw
import pytest

from commute.embedded.writer import Writer
from commute.errors import CommuteError, StoreError

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


# -- jobs


def test_jobs_run_in_submit_sequence_and_are_durable_when_resolved(writer: Writer) -> None:
    futures = [writer.submit(insert(n)) for n in range(200)]
    futures[-1].result(BOUND_S)
    assert rows(writer) == list(range(200))
    assert all(future.done() for future in futures)


def test_jobs_that_gather_share_one_sync(on_file: Writer) -> None:
    blocker = Blocker(on_file)
    before = on_file.commits
    futures = [on_file.submit(insert(n)) for n in range(100)]
    assert not any(future.done() for future in futures)
    blocker.go.set()
    futures[-1].result(BOUND_S)
    assert on_file.commits == before + 2  # the blocker's, and one for all the others


def test_a_job_that_raises_undoes_itself_alone(writer: Writer) -> None:
    def bad(connection: apsw.Connection) -> None:
        insert("half")(connection)
        raise KeyError("mine")

    def wrong(connection: apsw.Connection) -> None:
        insert("also half")(connection)
        connection.execute("no such statement")

    blocker = Blocker(writer) if writer.name.startswith("/") else None
    futures = [writer.submit(job) for job in (insert(1), bad, insert(2), wrong, insert(3))]
    if blocker is not None:
        blocker.go.set()
    assert isinstance(futures[1].exception(BOUND_S), KeyError)
    assert isinstance(futures[3].exception(BOUND_S), apsw.SQLError)
    assert [futures[n].exception(BOUND_S) for n in (0, 2, 4)] == [None] * 3
    assert rows(writer) == [1, 2, 3]
    assert writer.failure is None


def test_a_cancelled_job_that_has_not_begun_writes_nothing(on_file: Writer) -> None:
    blocker = Blocker(on_file)
    gone, stays = on_file.submit(insert("gone")), on_file.submit(insert("stays"))
    assert gone.cancel()
    blocker.go.set()
    stays.result(BOUND_S)
    assert rows(on_file) == ["stays"]


def test_after_close_everything_is_refused_and_what_was_queued_is_there(on_file: Writer) -> None:
    blocker = Blocker(on_file)
    queued = [on_file.submit(insert(n)) for n in range(5)]
    threading.Timer(0.01, blocker.go.set).start()
    on_file.close()
    on_file.close()
    assert all(future.done() and future.exception() is None for future in queued)
    assert rows(on_file) == list(range(5))
    refused = on_file.submit(insert(9)).exception(BOUND_S)
    assert isinstance(refused, StoreError) and refused.slug == "database-closed"
    with pytest.raises(StoreError, match="closed"), on_file.block_sync():
        pass


# -- sources


def test_sources_write_at_each_commit_and_hear_of_it_after_the_sync(writer: Writer) -> None:
    queued = ["a", "b"]
    heard = threading.Event()
    seen: list[object] = []

    def source(connection: apsw.Connection) -> Callable[[], None] | None:
        if not queued:
            return None
        mine = tuple(queued)
        insert(*mine)(connection)

        def after() -> None:
            del queued[: len(mine)]
            seen.extend(rows(writer) if writer.name.startswith("/") else mine)
            heard.set()

        return after

    writer.attach(source)
    writer.wake()
    assert heard.wait(BOUND_S)
    assert seen == ["a", "b"]
    writer.submit(insert("c")).result(BOUND_S)
    writer.detach(source)
    assert rows(writer) == ["a", "b", "c"]


def test_a_source_that_raises_fails_the_commit(writer: Writer) -> None:
    def source(_connection: apsw.Connection) -> None:
        raise StoreError("taken over", slug="ownership-lost")

    writer.attach(source)
    refused = writer.submit(insert(1)).exception(BOUND_S)
    assert isinstance(refused, StoreError) and refused.slug == "ownership-lost"
    writer.detach(source)
    writer.submit(insert(2)).result(BOUND_S)
    assert rows(writer) == [2]


# -- failures


def fill(connection: apsw.Connection) -> None:
    pages = connection.execute("pragma page_count").fetchall()[0][0]
    connection.execute(f"pragma max_page_count={pages}").fetchall()


def unfill(connection: apsw.Connection) -> None:
    connection.execute("pragma max_page_count=1000000").fetchall()


def test_a_full_database_takes_back_all_since_the_last_sync_until_reset(on_file: Writer) -> None:
    writer = on_file
    failures: list[CommuteError] = []
    told = threading.Event()

    def listener(error: StoreError) -> None:
        failures.append(error)
        told.set()

    writer.on_failure(listener)
    writer.submit(insert("kept")).result(BOUND_S)
    writer.submit(fill).result(BOUND_S)
    before = writer.current_commit
    blocker = Blocker(writer)
    jobs = [
        writer.submit(insert("small")),
        writer.submit(insert("x" * 1_000_000)),
        writer.submit(insert("s")),
    ]
    blocker.go.set()
    for future in jobs:
        error = future.exception(BOUND_S)
        assert isinstance(error, StoreError) and error.slug == "database-full"
    assert told.wait(BOUND_S)
    assert [error.slug for error in failures] == ["database-full"]
    assert writer.current_commit > before + 1, "a failed commit's number must not be used again"
    assert rows(writer) == ["kept"]
    # Until reset everything is refused, in every way in.
    refused = writer.submit(insert("refused")).exception(BOUND_S)
    assert isinstance(refused, StoreError) and refused.slug == "database-full"
    with pytest.raises(StoreError), writer.block_sync():
        pass
    assert len(failures) == 1
    writer.reset()
    writer.submit(unfill).result(BOUND_S)
    writer.submit(insert("again")).result(BOUND_S)
    assert rows(writer) == ["kept", "again"]


def test_a_block_that_meets_a_full_disk_takes_the_other_blocks_of_its_group_with_it(tmp_path: Path) -> None:
    writer = make(str(tmp_path / "w.db"), commit_s_max=60.0)
    told: Future[StoreError] = Future()
    writer.on_failure(told.set_result)
    writer.submit(fill).result(BOUND_S)
    with writer.block_sync() as block:
        block.execute("insert into t values ('sibling')")
    with pytest.raises(StoreError) as caught, writer.block_sync() as block:
        try:
            block.execute("insert into t values (?)", ("x" * 1_000_000,))
        except StoreError:
            with pytest.raises(StoreError):
                block.execute("select 1")
    assert caught.value.slug == "database-full"
    assert told.result(BOUND_S).slug == "database-full"
    writer.reset()
    writer.submit(lambda c: None).result(BOUND_S)
    assert rows(writer) == []
    writer.close()


def test_where_nobody_listens_the_writer_resets_itself(writer: Writer) -> None:
    writer.submit(fill).result(BOUND_S)
    assert isinstance(writer.submit(insert("x" * 1_000_000)).exception(BOUND_S), StoreError)
    writer.submit(unfill).result(BOUND_S)
    writer.submit(insert(1)).result(BOUND_S)
    assert rows(writer) == [1]


def test_a_commit_that_the_system_refuses_loses_nothing_confirmed(tmp_path: Path) -> None:
    """A file size limit fails inside COMMIT, where the log is written."""
    path = tmp_path / "w.db"
    program = f"""
        import resource
        from commute.embedded.writer import Writer
        from commute.errors import StoreError
        writer = Writer({str(path)!r}, commit_s_max=0.002, transaction_s_max=5)
        writer.submit(lambda c: c.execute("create table t (x)")).result(9)
        failures = []
        writer.on_failure(failures.append)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        kept = 0
        for n in range(1000):
            with_block = n % 2
            try:
                if with_block:
                    with writer.block_sync() as block:
                        block.execute("insert into t values (?)", ("y" * 5000,))
                        number = block.commit
                    writer.submit(lambda c: None).result(9)
                else:
                    writer.submit(lambda c: c.execute("insert into t values (?)", ("x" * 5000,))).result(9)
            except StoreError as error:
                assert error.slug == "database-io", error.slug
                break
            kept += 1
        else:
            raise SystemExit("the limit was never met")
        assert len(failures) == 1, failures
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        writer.reset()
        writer.submit(lambda c: c.execute("insert into t values ('again')")).result(9)
        writer.close()
        print(kept)
        """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    other = apsw.Connection(str(path))
    assert other.execute("select count(*), max(x = 'again') from t").fetchall() == [(int(child.stdout) + 1, 1)]
    assert other.execute("pragma integrity_check").fetchall() == [("ok",)]
    other.close()


# -- other processes


def test_a_locked_file_is_waited_for_off_the_loop(on_file: Writer) -> None:
    other = apsw.Connection(on_file.name)

    async def main() -> None:
        other.execute("begin immediate")
        enter = on_file.block()
        entering = asyncio.ensure_future(enter.__aenter__())
        job = asyncio.wrap_future(on_file.submit(insert("job")))
        for _ in range(20):
            await asyncio.sleep(0.001)  # the loop runs on
        assert not entering.done() and not job.done()
        other.execute("rollback")
        block = await asyncio.wait_for(entering, BOUND_S)
        block.execute("insert into t values ('block')")
        await enter.__aexit__(None, None, None)
        await asyncio.wait_for(job, BOUND_S)

    asyncio.run(main())
    other.close()
    on_file.submit(lambda c: None).result(BOUND_S)
    assert sorted(map(str, rows(on_file))) == ["block", "job"]


def test_one_that_is_cancelled_while_the_file_is_locked_leaves_no_transaction_open(tmp_path: Path) -> None:
    writer = make(str(tmp_path / "w.db"), commit_s_max=0.1)
    other = apsw.Connection(writer.name)

    async def main() -> None:
        other.execute("begin immediate")
        entering = asyncio.ensure_future(writer.block().__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    asyncio.run(main())
    other.execute("rollback")
    # The writer still begins, for the one that has gone; nobody else asks it to commit.
    until_s = time.monotonic() + BOUND_S
    while time.monotonic() < until_s:
        try:
            other.execute("begin immediate")
        except apsw.BusyError:
            break
        other.execute("rollback")
        time.sleep(0.001)  # leave it the moment that it needs
    other.set_busy_timeout(5000)
    other.execute("insert into t values (2)")
    other.close()
    writer.submit(insert(1)).result(BOUND_S)
    assert rows(writer) == [2, 1]
    writer.close()


def test_a_file_that_stays_locked_is_an_error(tmp_path: Path) -> None:
    writer = make(str(tmp_path / "w.db"), busy_s_max=0.05)
    other = apsw.Connection(writer.name)
    other.execute("begin immediate")
    error = writer.submit(insert(1)).exception(BOUND_S)
    assert isinstance(error, StoreError) and error.slug == "database-locked"
    with pytest.raises(StoreError) as caught, writer.block_sync():
        pass
    assert caught.value.slug == "database-locked"
    other.execute("rollback")
    other.close()
    writer.submit(insert(2)).result(BOUND_S)
    assert rows(writer) == [2]
    writer.close()


_HOLDER = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("begin immediate")
print("held", flush=True)
sys.stdin.read()
"""


def test_what_has_written_nothing_closes_beside_one_that_holds_the_lock(tmp_path: Path) -> None:
    make(str(tmp_path / "w.db")).close()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / "w.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        errors: dict[bool, list[StoreError]] = {False: [], True: []}
        for woken, told in errors.items():
            writer = Writer(str(tmp_path / "w.db"), commit_s_max=60, transaction_s_max=5, busy_s_max=0.05)
            writer.on_failure(told.append)
            if woken:
                writer.wake()
            writer.close()
        assert errors[False] == []  # it has not asked for the lock: that would have been an error
        assert [error.slug for error in errors[True]] == ["database-locked"]
    finally:
        holder.communicate()


_BUSY_NEIGHBOUR = """
import sys, threading
from commute.embedded.writer import Writer
writer = Writer(sys.argv[1], commit_s_max=0.001, transaction_s_max=5)
print("ready", flush=True)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
number = 0
while not stop.is_set():
    with writer.block_sync() as block:
        for n in range(100):
            block.execute("insert into t values (?)", (number,))
            number += 1
writer.close()
"""


def test_a_busy_neighbour_leaves_room(on_file: Writer) -> None:
    """The other process opens its next block as soon as one has ended; ours still get through, quickly."""
    child = subprocess.Popen(
        [sys.executable, "-c", _BUSY_NEIGHBOUR, on_file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdin is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        waits_s = []
        for n in range(30):
            began_s = time.monotonic()
            on_file.submit(insert(f"mine {n}")).result(BOUND_S)
            waits_s.append(time.monotonic() - began_s)
    finally:
        child.stdin.close()
        assert child.wait(BOUND_S) == 0
        child.stdout.close()
    mine = [value for value in rows(on_file) if str(value).startswith("mine")]
    assert len(mine) == 30
    # One that leaves no room keeps others out for seconds; the bound is loose, since the machine is shared.
    assert sorted(waits_s)[15] < 0.25, sorted(waits_s)
