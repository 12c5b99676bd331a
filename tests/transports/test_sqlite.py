"""The SQLite transport beyond the common suite: files, damage, retention, kills, other processes."""

import asyncio
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commute.embedded.database import connect_writer
from commute.embedded.file import EmbeddedFile
from commute.errors import StoreError, UsageError
from commute.transports import rows
from commute.transports.base import Message, Sent
from commute.transports.sqlite import SqliteTransport

DAY_S = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now_s


def messages(first: int, number: int) -> list[Message]:
    return [
        Message(f"id-{n}", "/test", "made", n + 0.25, b'{"n": %d, "pad": "%s"}' % (n, b"x" * 100), {"k": str(n)})
        for n in range(first, first + number)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def file(path: Path) -> Iterator[EmbeddedFile]:
    made = EmbeddedFile.open(path)
    yield made
    made.close()


async def receive(transport: SqliteTransport, number: int) -> list[int]:
    arrived: list[int] = []
    async with asyncio.timeout(20):
        while len(arrived) < number:
            arrived += [d.position for d in await transport.receive(number - len(arrived))]
    return arrived


# -- publishing


@settings(max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 1)), max_size=8), max_size=6))
def test_the_fast_way_in_gives_what_the_plain_one_gives(batches: list[list[tuple[int, bool, int]]]) -> None:
    """Few identities, several sources, types and data, so that all kinds of repetition are met."""
    fast, plain = connect_writer(None), connect_writer(None)
    for connection in (fast, plain):
        connection.execute(rows.SCHEMA)
    for batch in batches:
        sent = [Message(f"{id_}", "/a" if a else "/b", "t", 0.0, b"%d" % data) for id_, a, data in batch]
        found = rows.make_stream(plain, "s")
        expected, last = rows._publish_one_by_one(plain, found, sent)
        rows.move_stream(plain, found, last=last, floor=0)
        assert rows.publish_rows(fast, sent, "s", now_s=0.0) == expected
    everything = "select * from commute_log_1 order by position"
    if batches:
        assert fast.execute(everything).fetchall() == plain.execute(everything).fetchall()
    fast.close()
    plain.close()


def test_text_that_is_not_unicode_is_refused_and_stores_nothing(file: EmbeddedFile) -> None:
    transport = SqliteTransport(file)
    good = messages(0, 3)
    for bad in (Message("\ud800", "/s", "t", 0.0, b""), Message("x", "/s", "t", 0.0, b"", {"k": "\udfff"})):
        with pytest.raises((UsageError, UnicodeEncodeError)):
            transport.send_sync([*good, bad])
    assert transport.last_position() == 0
    assert transport.send_sync(good) == [Sent(1), Sent(2), Sent(3)]


def test_a_block_publishes_with_its_effects_or_not_at_all(file: EmbeddedFile) -> None:
    async def main() -> None:
        transport = SqliteTransport(file, poll_s=60.0)
        await transport.open("g")
        waiting = asyncio.ensure_future(transport.receive(10))
        with pytest.raises(KeyError):
            async with file.writer.block() as block:
                transport.publish_rows(block.connection, messages(0, 2))
                raise KeyError
        async with file.writer.block() as block:
            block.execute("create table effects (x)")
            sent = transport.publish_rows(block.connection, messages(2, 1))
        assert sent == [Sent(1)]
        # Woken by the commit itself: polling would take a minute.
        arrived = await asyncio.wait_for(waiting, 20)
        assert [d.message.id for d in arrived] == ["id-2"]
        await transport.close()

    asyncio.run(main())


# -- looking


def test_find_read_and_range_look_without_a_group(file: EmbeddedFile) -> None:
    transport = SqliteTransport(file)
    assert transport.find("id-3") == [] and transport.read(1) is None and transport.last_position() == 0
    transport.send_sync(messages(0, 10))
    transport.send_sync([Message("id-3", "/test", "other", 0.0, b""), Message("id-3", "/else", "made", 0.0, b"")])
    assert transport.find("id-3") == [4, 11, 12]
    assert transport.find("id-3", "/else") == [12]
    assert transport.find("id") == []
    found = transport.read(4)
    assert found is not None and found.message == messages(3, 1)[0]
    assert transport.read(0) is None and transport.read(13) is None
    assert [d.position for d in transport.range(9, 99)] == [9, 10, 11, 12]
    assert transport.last_position() == 12


def test_groups_show_their_backlog_and_can_be_dropped(file: EmbeddedFile) -> None:
    async def main() -> None:
        transport, other = SqliteTransport(file), SqliteTransport(file, "elsewhere")
        transport.send_sync(messages(0, 10))
        await transport.open("g")
        await other.open("h")
        arrived = await transport.receive(10)
        transport.settle([d.handle for d in arrived[:4]])
        transport.settle([arrived[6].handle])
        await transport.close()
        await other.close()
        (state,) = transport.groups()
        assert (state.stream, state.group, state.watermark, state.last, state.backlog) == (
            "events",
            "g",
            5,
            10,
            6,
        )
        assert [s.group for s in other.groups()] == ["h"]
        assert await transport.drop_group("g") and not await transport.drop_group("g")
        assert transport.groups() == [] and len(other.groups()) == 1

    asyncio.run(main())


# -- retention


def test_events_go_when_every_group_has_settled_them_and_their_time_is_over(file: EmbeddedFile) -> None:
    async def main() -> None:
        clock = Clock()
        transport = SqliteTransport(file, retain_s=DAY_S, clock=clock)
        other = SqliteTransport(file, retain_s=DAY_S, clock=clock)
        transport.send_sync(messages(0, 5000))
        clock.now_s += 100
        transport.send_sync(messages(5000, 10))
        assert await transport.retain(clock.now_s + 9 * DAY_S) == 0, "a stream without groups keeps all"
        await transport.open("g")
        await other.open("h")
        handles = [d.handle for d in await transport.receive(6000)]
        transport.settle(handles)
        others = [d.handle for d in await other.receive(6000)]
        other.settle(others[:4500])
        await transport.close()
        await other.close()
        assert await transport.retain(clock.now_s) == 0, "settled, but young"
        clock.now_s += 2 * DAY_S
        assert await transport.retain(clock.now_s) == 4500, "old, but one group has not settled the rest"
        assert transport.read(4500) is None and transport.read(4501) is not None
        await other.open("h")
        other.settle([d.handle for d in await other.receive(6000)])
        await other.close()
        transport.send_sync(messages(6000, 1))
        assert await transport.retain(clock.now_s) == 510
        assert [d.position for d in transport.range(1, 9999)] == [5011]
        # A new group begins at the oldest kept, positions go on, and an identity that is gone may come again.
        late = SqliteTransport(file, clock=clock)
        await late.open("late")
        assert await receive(late, 1) == [5011]
        assert transport.send_sync(messages(0, 1)) == [Sent(5012)]
        assert await receive(late, 1) == [5012]
        await late.close()

    asyncio.run(main())


def test_positions_are_not_given_again_when_all_events_are_gone(path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        file = EmbeddedFile.open(path)
        transport = SqliteTransport(file, retain_s=0.0, clock=clock)
        transport.send_sync(messages(0, 3))
        await transport.open("g")
        transport.settle([d.handle for d in await transport.receive(3)])
        await transport.close()
        clock.now_s += 1000
        # The first look notes that all three are there by now; their time counts from then on.
        await transport.retain(clock.now_s)
        await transport.retain(clock.now_s)
        assert transport.range(1, 9) == []
        file.close()
        file = EmbeddedFile.open(path)
        transport = SqliteTransport(file)
        await transport.open("g")
        assert transport.send_sync(messages(0, 1)) == [Sent(4)]
        assert await receive(transport, 1) == [4]
        await transport.close()
        file.close()

    asyncio.run(main())


# -- damage


def test_a_flipped_byte_is_found_or_does_no_harm(path: Path, tmp_path: Path) -> None:
    """Wherever it is: what is read is what was stored, or an error that says so; never less, never other."""
    file = EmbeddedFile.open(path)
    transport = SqliteTransport(file)
    transport.send_sync(messages(0, 150))

    async def settle() -> None:
        await transport.open("g")
        transport.settle([d.handle for d in await transport.receive(20)])
        await transport.close()

    asyncio.run(settle())
    whole = transport.range(1, 150)
    file.close()
    original = path.read_bytes()
    chance = random.Random(7)
    found = 0
    for n in range(150):
        broken = tmp_path / f"broken-{n}.db"
        content = bytearray(original)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        broken.write_bytes(content)
        try:
            damaged = EmbeddedFile.open(broken)
        except StoreError:
            found += 1
            continue
        try:
            transport = SqliteTransport(damaged)

            async def read(transport: SqliteTransport = transport) -> None:
                await transport.open("g")
                assert await receive(transport, 130) == list(range(21, 151))
                await transport.close()

            assert transport.range(1, 150) == whole
            asyncio.run(read())
        except StoreError as error:
            assert error.slug == "database-damaged"
            found += 1
        finally:
            damaged.close()
    assert found > 50


@pytest.mark.parametrize(
    "damage",
    [
        "delete from commute_log_1 where position = 7",
        "delete from commute_log_1 where position = 30",
        "update commute_log_1 set data = x'00' where position = 7",
        "update commute_log_1 set time_s = 0 where position = 7",
        "update commute_log_1 set position = 31 where position = 7",
        "update commute_streams set last = 29",
        "update commute_streams set last = 31",
        "update commute_streams set floor = 7",
        "update commute_groups set watermark = 8",
    ],
)
def test_what_is_missing_or_changed_is_not_skipped(file: EmbeddedFile, damage: str) -> None:
    async def main() -> None:
        transport = SqliteTransport(file)
        transport.send_sync(messages(0, 30))
        await transport.open("g")
        await transport.close()
        file.writer.submit(lambda c: c.execute(damage)).result()
        with pytest.raises(StoreError) as caught:
            await transport.open("g")
            await receive(transport, 30)
        assert caught.value.slug == "database-damaged"
        await transport.close()

    asyncio.run(main())


def test_a_full_disk_refuses_the_batch_whole_and_the_next_one_goes(file: EmbeddedFile) -> None:
    transport = SqliteTransport(file)
    transport.send_sync(messages(0, 5))

    def fill(connection: apsw.Connection) -> None:
        pages = connection.execute("pragma page_count").fetchall()[0][0]
        connection.execute(f"pragma max_page_count={pages}").fetchall()

    file.writer.submit(fill).result()
    with pytest.raises(StoreError) as caught:
        transport.send_sync(messages(5, 2000))
    assert caught.value.slug == "database-full"
    assert transport.last_position() == 5
    file.writer.submit(lambda c: c.execute("pragma max_page_count=1000000").fetchall()).result()
    assert transport.send_sync(messages(5, 1)) == [Sent(6)]


def test_settlements_that_a_failed_commit_took_back_are_written_by_the_next(file: EmbeddedFile) -> None:
    async def main() -> None:
        transport = SqliteTransport(file)
        transport.send_sync(messages(0, 5))
        await transport.open("g")
        arrived = await transport.receive(5)

        def spoil(_connection: apsw.Connection) -> None:
            raise StoreError("no", slug="database-io")

        file.writer.attach(spoil)
        transport.settle([d.handle for d in arrived[:3]])
        with pytest.raises(StoreError):
            await asyncio.wrap_future(file.writer.submit(lambda c: None))
        file.writer.detach(spoil)
        assert transport.groups()[0].watermark == 1
        await transport.close()
        assert transport.groups()[0].watermark == 4

    asyncio.run(main())


# -- kills

_PUBLISHER = """
import random, sys
from commute.embedded.file import EmbeddedFile
from commute.transports.base import Message
from commute.transports.sqlite import SqliteTransport
path, round_ = sys.argv[1:]
file = EmbeddedFile.open(path)
transport = SqliteTransport(file)
number = 0
while True:
    size = random.randint(1, 40)
    batch = [Message(f"{round_}-{number + n}", "/kill", "t", 0.0, b"x" * 300) for n in range(size)]
    number += len(batch)
    for message, sent in zip(batch, transport.send_sync(batch)):
        sys.stdout.write(f"{sent.position} {message.id}\\n")
    sys.stdout.flush()
"""


def test_what_was_confirmed_survives_twenty_kills(path: Path) -> None:
    chance = random.Random(3)
    confirmed: dict[int, str] = {}
    for round_ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", _PUBLISHER, str(path), str(round_)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(chance.randint(1, 300))]
        child.kill()
        lines += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        child.wait()
        child.stdout.close()
        for line in lines:
            position, id_ = line.split()
            assert int(position) not in confirmed, "a position was given twice"
            confirmed[int(position)] = id_
    file = EmbeddedFile.open(path)
    transport = SqliteTransport(file)
    stored = {d.position: d.message.id for d in transport.range(1, transport.last_position())}
    assert sorted(stored) == list(range(1, len(stored) + 1))
    assert {position: stored.get(position) for position in confirmed} == confirmed
    assert file.read(lambda c: c.execute("pragma integrity_check").fetchall()) == [("ok",)]
    file.close()


def test_a_copy_of_a_file_that_was_killed_is_whole(path: Path, tmp_path: Path) -> None:
    """The state on disk at any moment after a confirmation holds what was confirmed: no close is needed."""
    file = EmbeddedFile.open(path)
    transport = SqliteTransport(file)
    for n in range(20):
        transport.send_sync(messages(n * 50, 50))
        if n % 5 == 4:
            copied = tmp_path / f"copy-{n}.db"
            # In another process: closing the files in this one would drop our locks.
            program = f"import shutil; [shutil.copy({str(path)!r} + s, {str(copied)!r} + s) for s in ('', '-wal')]"
            subprocess.run([sys.executable, "-c", program], check=True)
            again = EmbeddedFile.open(copied)
            assert SqliteTransport(again).last_position() == (n + 1) * 50
            again.close()
    file.close()


def test_a_reader_that_polls_hears_of_other_processes(file: EmbeddedFile) -> None:
    async def main() -> None:
        transport = SqliteTransport(file, poll_s=0.005)
        await transport.open("g")
        version = file.data_version()
        program = f"""
            from commute.embedded.file import EmbeddedFile
            from commute.transports.base import Message
            from commute.transports.sqlite import SqliteTransport
            transport = SqliteTransport(EmbeddedFile.open({file.path!r}))
            transport.send_sync([Message("far", "/far", "t", 0.0, b"1")])
            """
        waiting = asyncio.ensure_future(transport.receive(1))
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(program))
        arrived = await asyncio.wait_for(waiting, 20)
        assert arrived[0].message.id == "far"
        assert await child.wait() == 0
        assert file.data_version() != version
        await transport.close()

    asyncio.run(main())
