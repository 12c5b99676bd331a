"""What was just stored comes from memory, and nothing else about what a reader gets is changed by that."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commute.database import Connection
from commute.embedded.file import EmbeddedFile
from commute.transports.base import Delivery, Message, Sent
from commute.transports.offers import Offers
from commute.transports.sqlite import SqliteTransport


def messages(first: int, number: int, pad: str = "") -> list[Message]:
    return [
        Message(f"id-{n}", "/test", "made", n + 0.25, b'{"n": %d, "pad": "%s"}' % (n, pad.encode()), {"k": str(n)})
        for n in range(first, first + number)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[EmbeddedFile]:
    made = EmbeddedFile.open(tmp_path / "broker.db")
    yield made
    made.close()


def test_offers_are_bounded_by_rows_and_by_bytes_and_room_comes_back() -> None:
    offers = Offers(rows_max=5, size_bytes_max=1_000_000)
    assert offers.put(messages(0, 4), 1) and offers.put(messages(4, 4), 5)
    assert not offers.put(messages(8, 1), 9)
    assert [delivery.position for delivery in offers.take(3)] == [3, 4]
    assert offers.put(messages(9, 1), 10)

    offers = Offers(rows_max=1_000, size_bytes_max=30)
    assert offers.put(messages(0, 1), 1) and offers.put(messages(1, 1), 2)
    assert not offers.put(messages(2, 1), 3)


def test_what_lies_before_the_reader_is_forgotten_and_a_gap_is_seen() -> None:
    offers = Offers(rows_max=100, size_bytes_max=1_000_000)
    assert offers.first() is None and offers.take(1) == []
    for first in (1, 4, 10):
        assert offers.put(messages(first, 3), first)
    assert [delivery.position for delivery in offers.take(5)] == [5, 6]
    assert offers.first() == 10 and offers.take(7) == []
    assert offers.take(13) == [] and offers.first() is None


class Feeder:
    """Stores and offers as the journal does."""

    def __init__(self, transport: SqliteTransport) -> None:
        self._transport = transport

    def feed(self, batch: list[Message], error: type[Exception] | None = None) -> None:
        def job(connection: Connection) -> list[Sent]:
            sent = self._transport.publish_offered(connection, batch)
            if error is not None:
                raise error
            return sent

        future = self._transport.file.writer.submit(job)
        offered = threading.Event()

        def stored(done: Future[list[Sent]]) -> None:
            self._transport.offer(batch, done.result() if done.exception() is None else ())
            offered.set()

        future.add_done_callback(stored)
        assert offered.wait(20)


async def idle(transport: SqliteTransport) -> tuple[asyncio.Task[Sequence[Delivery]], list[list[int]]]:
    """A `receive` that has found nothing in the file, and the positions that each fetch gets from now on."""
    reading = transport._reading
    assert reading is not None
    fetches: list[list[int]] = []
    read_ahead = reading._read_ahead

    def count(connection: Connection, first: int, limit: int) -> list[Delivery]:
        found = read_ahead(connection, first, limit)
        fetches.append([delivery.position for delivery in found])
        return found

    waiting = asyncio.create_task(transport.receive(100))
    while reading._stir is None:
        await asyncio.sleep(0)
    reading._read_ahead = count  # type: ignore[method-assign]
    return waiting, fetches


def test_what_is_offered_is_delivered_without_a_look_into_the_file(file: EmbeddedFile) -> None:
    async def main() -> None:
        transport = SqliteTransport(file, poll_s=60.0)
        await transport.open("g")
        feeder = Feeder(transport)
        waiting, fetches = await idle(transport)
        for first in range(0, 90, 30):
            await asyncio.to_thread(feeder.feed, messages(first, 30))
            assert [d.message for d in await asyncio.wait_for(waiting, 20)] == messages(first, 30)
            waiting = asyncio.create_task(transport.receive(100))
            await asyncio.sleep(0)
        assert fetches == []
        waiting.cancel()
        await transport.close()

    asyncio.run(main())


def test_what_finds_no_room_is_read_and_nothing_else_is(file: EmbeddedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commute.transports.sqlite._OFFERED_ROWS", 5)

    async def main() -> None:
        transport = SqliteTransport(file, poll_s=60.0)
        await transport.open("g")
        feeder = Feeder(transport)
        waiting, fetches = await idle(transport)
        for first in range(0, 12, 3):  # of four offers there is room for two; nothing is taken meanwhile
            feeder.feed(messages(first, 3))
        arrived = [*await asyncio.wait_for(waiting, 20)]
        feeder.feed(messages(12, 3))
        while len(arrived) < 15:
            arrived += await asyncio.wait_for(transport.receive(100), 20)
        assert [d.message for d in arrived] == messages(0, 15)
        assert fetches == [[7, 8, 9, 10, 11, 12]]

        waiting, fetches = await idle(transport)
        for first in range(15, 24, 3):
            feeder.feed(messages(first, 3))
        arrived = [*await asyncio.wait_for(waiting, 20)]
        while len(arrived) < 9:
            arrived += await asyncio.wait_for(transport.receive(100), 20)
        assert fetches == [[22, 23, 24]]
        await transport.close()

    asyncio.run(main())


def test_nothing_is_offered_of_what_was_undone(file: EmbeddedFile) -> None:
    async def main() -> None:
        transport = SqliteTransport(file, poll_s=60.0)
        await transport.open("g")
        await asyncio.to_thread(Feeder(transport).feed, messages(0, 5), KeyError)
        await asyncio.to_thread(transport.send_sync, messages(5, 5))
        assert [d.message for d in await asyncio.wait_for(transport.receive(10), 20)] == messages(5, 5)
        await transport.close()

    asyncio.run(main())


STEPS = st.one_of(
    st.tuples(st.just("feed"), st.integers(1, 7)),
    st.tuples(st.just("again"), st.integers(1, 7)),  # some of it was stored before
    st.tuples(st.just("other"), st.integers(1, 7)),  # some of it was, with other bytes
    st.tuples(st.just("send"), st.integers(1, 7)),
    st.tuples(st.just("receive"), st.integers(1, 9)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=25))
def test_offered_read_and_repeated_events_come_once_and_in_the_sequence_of_the_log(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, int]]
) -> None:
    monkeypatch.setattr("commute.transports.sqlite._OFFERED_ROWS", 10)
    monkeypatch.setattr("commute.transports.sqlite._AHEAD_ROWS", 3)
    file = EmbeddedFile.open(tmp_path_factory.mktemp("offers") / "broker.db")

    async def main() -> None:
        transport = SqliteTransport(file, poll_s=60.0)
        await transport.open("g")
        feeder, made, arrived = Feeder(transport), 0, list[Delivery]()
        for what, count in steps:
            if what == "receive":
                if len(arrived) < transport.last_position():
                    arrived += await asyncio.wait_for(transport.receive(count), 20)
                continue
            first = made if what in ("feed", "send") else max(0, made - 3)
            batch, made = messages(first, count, pad="other" if what == "other" else ""), max(made, first + count)
            await asyncio.to_thread(transport.send_sync if what == "send" else feeder.feed, batch)
        while len(arrived) < transport.last_position():
            arrived += await asyncio.wait_for(transport.receive(100), 20)
        assert arrived == transport.range(1, len(arrived) + 1)
        await transport.close()

    asyncio.run(main())
    file.close()
