"""The journal between a wire and the store: what is acknowledged, and when, whatever becomes of a commit.

The wire is a stand-in that says nothing by itself: here only the sequence of write, sync and acknowledgement counts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from commute.database import Connection
from commute.embedded.file import EmbeddedFile
from commute.errors import OwnershipLostError, StoreError
from commute.transports.base import Message
from commute.transports.journal import Journal
from commute.transports.sqlite import SqliteTransport
from commute.transports.wire import Arrival, Promises
from tests.transports.wires import messages, names, until


class Mute:
    """A `Wire` that brings what it is told to, and notes what it may forget."""

    promises = Promises(name="mute", confirmed="nowhere", durable=True, ordered=True, queued=True)

    def __init__(self) -> None:
        self.arrived: Callable[[Sequence[Arrival]], None] = lambda _batch: None
        self.acked: list[object] = []

    def connect(self) -> None: ...

    def partitions(self) -> int:
        return 1

    def consume(
        self, group: str, arrived: Callable[[Sequence[Arrival]], None], *, ahead_max: int, from_end: bool = False
    ) -> None:
        del group, ahead_max, from_end
        self.arrived = arrived

    def bring(self, first: int, count: int) -> None:
        self.arrived([Arrival(message, int(message.id[1:])) for message in messages(count, first)])

    def ack(self, tokens: Sequence[object]) -> None:
        self.acked += tokens

    def send(self, messages: Sequence[Message], to: str | None = None) -> Future[None]:
        raise NotImplementedError

    def claim(self, group: str, store: str) -> str:
        del group
        return store

    def claimed(self, group: str) -> str | None:
        del group
        return None

    def release(self, group: str) -> None: ...

    def discard(self, group: str) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def file(tmp_path: Path) -> Iterator[EmbeddedFile]:
    made = EmbeddedFile.open(tmp_path / "journal.db")
    yield made
    made.close()


def journal(file: EmbeddedFile, wire: Mute) -> Journal:
    return Journal(
        SqliteTransport(file, "events"), feeds=[lambda: wire], outbound=lambda: wire, promises=wire.promises,
        reader="g", journal_events_max=1_000,
    )  # fmt: skip


async def test_nothing_is_acknowledged_before_it_is_on_disk(file: EmbeddedFile) -> None:
    wire = Mute()
    log = journal(file, wire)
    await log.open("g")
    begun, go_on = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        begun.set()
        assert go_on.wait(20)

    held = file.writer.submit(hold)
    assert begun.wait(20)
    wire.bring(0, 10)
    assert wire.acked == [], "the writer has not even begun"
    go_on.set()
    held.result()
    until(lambda: wire.acked == list(range(10)), "all are acknowledged, in sequence")
    assert [delivery.message.id for delivery in log.range(1, 20)] == names(0, 10)
    await log.close()


async def test_who_has_lost_the_journal_stores_and_acknowledges_nothing(file: EmbeddedFile) -> None:
    wire = Mute()
    log = journal(file, wire)
    await log.open("g")
    wire.bring(0, 3)
    until(lambda: len(wire.acked) == 3, "the journal is ours")
    taken = "update commute_owners set epoch = epoch + 1 where name = 'journal events'"
    file.writer.submit(lambda connection: connection.execute(taken)).result()
    failures: list[StoreError] = []
    file.writer.on_failure(failures.append)
    wire.bring(3, 3)
    until(lambda: bool(failures), "the session is told, and ends")
    assert isinstance(failures[0], OwnershipLostError)
    assert log.last_position() == 3
    assert wire.acked == [0, 1, 2]
    file.writer.off_failure(failures.append)
    await log.close()
