"""Room for other processes: who waits is seen, and gets its gap; who does not wait costs nothing."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import apsw
import pytest

from commute.embedded.neighbours import Neighbours
from commute.embedded.writer import Writer

BOUND_S = 20.0
GAP_S = 0.010


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "w.db")


@pytest.fixture
def writer(path: str) -> Iterator[Writer]:
    made = Writer(path, commit_s_max=0.002, transaction_s_max=5.0)
    yield made
    made.close()


@pytest.fixture
def other(path: str) -> Iterator[Neighbours]:
    """As another process has it: the lock belongs to one opening of the side file, not to the process."""
    made = Neighbours(path)
    yield made
    made.close()


def insert(connection: apsw.Connection) -> None:
    connection.execute("create table if not exists t (x)")
    connection.execute("insert into t values (1)")


def test_those_who_wait_are_seen_until_the_last_has_left(path: str, other: Neighbours) -> None:
    busy, third = Neighbours(path), Neighbours(path)
    assert not busy.somebody_waits()
    other.stand_in_line()
    other.stand_in_line()
    third.stand_in_line()
    assert busy.somebody_waits()
    other.leave_line()
    assert busy.somebody_waits()
    third.leave_line()
    assert not busy.somebody_waits()
    other.leave_line()
    busy.close()
    third.close()


def test_a_gap_ends_when_nobody_waits_any_more(path: str, other: Neighbours) -> None:
    busy = Neighbours(path)
    other.stand_in_line()
    leaving = threading.Timer(0.002, other.leave_line)
    leaving.start()
    busy.leave_gap()
    leaving.join()
    other.stand_in_line()
    assert busy.somebody_waits(), "a gap that was used is left again"
    busy.leave_gap()
    assert not busy.somebody_waits(), "one that nobody used is not left again soon: who waits may be stopped"
    busy.close()


def test_a_writer_leaves_a_gap_after_a_commit_while_somebody_waits(writer: Writer, other: Neighbours) -> None:
    other.stand_in_line()
    began_s = time.monotonic()
    writer.submit(insert).result(BOUND_S)
    writer.submit(insert).result(BOUND_S)
    assert time.monotonic() - began_s >= GAP_S
    other.leave_line()


def test_a_writer_alone_leaves_none(writer: Writer) -> None:
    taken_s = []
    for _ in range(30):
        began_s = time.monotonic()
        writer.submit(insert).result(BOUND_S)
        writer.submit(insert).result(BOUND_S)
        taken_s.append(time.monotonic() - began_s)
    assert median(taken_s) < GAP_S or min(taken_s) < GAP_S / 2


def test_a_writer_that_waits_for_the_lock_shows_it(writer: Writer, other: Neighbours, path: str) -> None:
    holder = apsw.Connection(path)
    holder.execute("begin immediate")
    assert not other.somebody_waits()
    job = writer.submit(insert)
    until_s = time.monotonic() + BOUND_S
    while not other.somebody_waits():
        assert time.monotonic() < until_s, "it waits, and nobody can see it"
    assert not job.done()
    holder.execute("rollback")
    job.result(BOUND_S)
    assert not other.somebody_waits()
    holder.close()
