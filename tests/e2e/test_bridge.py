"""`commute bridge` on real brokers: nothing is lost, nothing comes twice, and nothing overtakes, whatever breaks."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from commute.bridge import Bridge, Pace
from commute.errors import NotReachableError, UsageError
from commute.limits import DAY_S, Limits
from commute.link import Link, discard, parse_url, with_stream
from commute.runtime.world import SystemWorld
from commute.transports.base import Message
from commute.transports.mqtt import MqttWire
from commute.transports.mqtt import parse as parse_mqtt
from tests.brokers import broker_url
from tests.transports.proxy import Proxy

DEADLINE_S = 60.0
READER = "bridge-test"


def messages(count: int, start: int = 0) -> list[Message]:
    """Not what any app would take: a bridge does not look."""
    return [
        Message(f"e{n}", "/edge", "reading", 1_700_000_000.0 + n, b'{"n": %d, "raw":  true}' % n,
                {"partitionkey": "one", "correlationid": f"c{n}"})
        for n in range(start, start + count)
    ]  # fmt: skip


def fill(path: Path, batch: Sequence[Message]) -> str:
    link = Link.open(parse_url(f"sqlite:///{path}"), None, Limits())
    link.transport().send_sync(batch)
    link.close()
    return f"sqlite:///{path}"


def nobody() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


async def until(true: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.01)
    assert true(), what


@pytest.fixture
def centre() -> Iterator[Callable[[str], str]]:
    """Makes addresses of streams of their own, which are deleted afterwards."""
    made: list[str] = []

    def make(name: str) -> str:
        made.append(with_stream(broker_url(name), f"bridge-{uuid.uuid4().hex[:8]}"))
        return made[-1]

    yield make
    for url in made:
        discard(parse_url(url), READER)


async def received(url: str, count: int, folder: Path) -> list[Message]:
    """All that the receiving journal has once `count` events are there and nothing else comes."""
    link = Link.open(parse_url(url, str(folder / "centre.db")), None, Limits(), reader=READER)
    log = link.transport()
    try:
        await log.open("centre")
        found: list[Message] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < count:
                found += [delivery.message for delivery in await log.receive(1_000)]
        try:
            late = await asyncio.wait_for(log.receive(1_000), 0.5)
            found += [delivery.message for delivery in late]
        except TimeoutError:
            pass
        return found
    finally:
        await log.close()
        await asyncio.to_thread(link.close)


def edge(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "commute", "bridge", *arguments, "--json"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate()[1])
    found: dict[str, Any] = json.loads(line)
    return found


def ended(process: subprocess.Popen[str], status: int = 0) -> dict[str, Any]:
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == status, (process.returncode, out, err)
    return {**(json.loads(out.splitlines()[-1]) if out else {}), "error": err}


@asynccontextmanager
async def running(bridge: Bridge) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The bridge, and how to stop it."""
    stop = asyncio.Event()
    work = asyncio.create_task(bridge.run(stop))

    async def end() -> None:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)

    try:
        yield end
    finally:
        await end()


# The rate, with a clock of its own


def test_a_pace_is_kept_over_any_time_and_saves_nothing_up() -> None:
    pace, now_s, sent = Pace(50.0), 1_000.0, 0
    for _ in range(100):
        now_s += pace.wait_s(now_s)
        assert pace.wait_s(now_s) == pytest.approx(0.0)
        pace.sent(10, now_s)
        sent += 10
        assert sent - 10 <= 50.0 * (now_s - 1_000.0) + 1e-6
    assert now_s - 1_000.0 == pytest.approx((sent - 10) / 50.0)
    now_s += 3_600.0  # a pause earns no burst
    assert pace.wait_s(now_s) == 0.0
    pace.sent(50, now_s)
    assert pace.wait_s(now_s) == pytest.approx(1.0)


def test_no_more_than_a_second_goes_at_once() -> None:
    assert Pace(50.0).batch_max == 50
    assert Pace(0.1).batch_max == 1
    assert Pace().batch_max == Pace(1e9).batch_max > 50
    free = Pace()
    free.sent(1_000_000, 5.0)
    assert free.wait_s(5.0) == 0.0


# Real brokers


async def test_sqlite_to_rabbitmq_as_it_is(tmp_path: Path, centre: Callable[[str], str]) -> None:
    url, sent = centre("rabbitmq"), messages(1_200)
    source = fill(tmp_path / "till.db", sent)
    bridge = Bridge(parse_url(source), parse_url(url), once=True)
    await bridge.run(asyncio.Event())
    assert (bridge.progress().forwarded, bridge.progress().waiting) == (1_200, 0)
    twice = Bridge(parse_url(source), parse_url(url), group="twice", once=True)
    await twice.run(asyncio.Event())
    assert twice.progress().forwarded == 1_200
    assert await received(url, 1_200, tmp_path) == sent
    again = Bridge(parse_url(source), parse_url(url), once=True)
    await again.run(asyncio.Event())
    assert again.progress().forwarded == 0


async def test_the_target_is_away_and_comes_back(tmp_path: Path, centre: Callable[[str], str]) -> None:
    url = centre("rabbitmq")
    place = urlsplit(url)
    port = nobody()
    through = url.replace(f":{place.port}/", f":{port}/")
    source = fill(tmp_path / "till.db", messages(3_000))
    bridge = Bridge(parse_url(source), parse_url(through), pace=Pace(1_000.0))
    async with running(bridge):
        await until(lambda: bool(bridge.progress().away), "it says that the target is away")
        before = bridge.progress()
        assert (before.forwarded, before.waiting) == (0, 3_000)
        assert before.oldest_s is not None
        proxy = Proxy(("127.0.0.1", place.port or 0), port)
        try:
            for upto in (1, 1_500):
                await until(lambda upto=upto: bridge.progress().forwarded >= upto, "it goes on")  # type: ignore[misc]
                proxy.cut()
            await until(lambda: bridge.progress().waiting == 0, "all is forwarded")
            assert bridge.progress().away == ""
        finally:
            await asyncio.to_thread(proxy.close)
    assert await received(url, 3_000, tmp_path) == messages(3_000)


async def test_kill_9_from_sqlite_to_rabbitmq(tmp_path: Path, centre: Callable[[str], str]) -> None:
    url, sent = centre("rabbitmq"), messages(2_000)
    source = fill(tmp_path / "till.db", sent)
    for _ in range(3):
        process = edge(source, url, "--rate", "300/s", folder=tmp_path)
        assert await asyncio.to_thread(first_line, process)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.communicate)
    assert ended(edge(source, url, "--once", folder=tmp_path))["waiting"] == 0
    assert await received(url, 2_000, tmp_path) == sent


async def test_mqtt_to_kafka_over_kill_9(tmp_path: Path, centre: Callable[[str], str]) -> None:
    url, sent = centre("kafka"), messages(1_500)
    source = f"{broker_url('mqtt')}/bridge-{uuid.uuid4().hex[:8]}"
    group = f"edge-{uuid.uuid4().hex[:8]}"
    wire = MqttWire(parse_mqtt(source))
    wire.connect()
    try:
        process = edge(source, url, "--group", group, "--rate", "200/s", folder=tmp_path)
        await asyncio.to_thread(first_line, process)  # it has subscribed
        await asyncio.wrap_future(wire.send(sent[:1_000]))
        while (await asyncio.to_thread(first_line, process))["forwarded"] == 0:
            pass
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.communicate)
        await asyncio.wrap_future(wire.send(sent[1_000:]))  # the broker keeps these for its session
        port = nobody()
        process = edge(source, re.sub(r":\d+/", f":{port}/", url), "--group", group, folder=tmp_path)
        while not (await asyncio.to_thread(first_line, process))["away"]:
            pass
        proxy = Proxy(("127.0.0.1", urlsplit(url).port or 0), port)  # to begin with; Kafka tells its own address
        try:
            found = await received(url, 1_500, tmp_path)
        finally:
            await asyncio.to_thread(proxy.close)
        process.send_signal(signal.SIGINT)
        last = await asyncio.to_thread(ended, process)
        assert last["what"] == "end"
        assert last["waiting"] == 0
    finally:
        wire.close()
        discard(parse_url(source), group)
    assert [message.id for message in found] == [message.id for message in sent]
    assert [message.data for message in found] == [message.data for message in sent]
    assert found[0].attributes == sent[0].attributes


class Ahead(SystemWorld):
    """Some days ahead, and a minute later at each look."""

    __slots__ = ("days", "looked")

    def __init__(self, days: int) -> None:
        super().__init__()
        self.days = days
        self.looked = 0

    def now_s(self) -> float:
        return super().now_s() + self.days * DAY_S

    def monotonic_s(self) -> float:
        self.looked += 1
        return 60.0 * self.looked


async def test_what_was_forwarded_is_kept_for_a_week_and_then_deleted(tmp_path: Path) -> None:
    source = parse_url(fill(tmp_path / "a.db", messages(1_500)))

    async def kept_after(days: int) -> int:
        bridge = Bridge(
            source, parse_url(f"sqlite:///{tmp_path / 'b.db'}"), group=f"after-{days}", once=True, world=Ahead(days)
        )
        await bridge.run(asyncio.Event())
        assert bridge.progress().forwarded == 1_500
        link = Link.open(source, None, Limits())
        kept = link.transport().range(1, 1_500)
        link.close()
        return len(kept)

    assert await kept_after(0) == 1_500
    assert await kept_after(6) == 1_500
    assert await kept_after(30) < 1_500


# What is refused


async def test_a_group_has_one_bridge(tmp_path: Path) -> None:
    source = fill(tmp_path / "a.db", messages(1))
    target = f"sqlite:///{tmp_path / 'b.db'}"
    process = edge(source, target, folder=tmp_path)
    await asyncio.to_thread(first_line, process)
    assert "group-in-use" in ended(edge(source, target, folder=tmp_path), status=2)["error"]
    process.send_signal(signal.SIGINT)
    assert ended(process)["forwarded"] == 1


async def test_what_cannot_be_a_bridge(tmp_path: Path) -> None:
    source = parse_url(fill(tmp_path / "a.db", messages(1)))
    for begin, end in ((source, source), (source, parse_url("memory://")), (parse_url("memory://"), source)):
        with pytest.raises(UsageError):
            Bridge(begin, end)
    away = Bridge(source, parse_url(f"amqp://127.0.0.1:{nobody()}/"), once=True)
    with pytest.raises(NotReachableError):
        await away.run(asyncio.Event())


async def test_an_event_that_the_target_refuses_ends_it_with_its_name(
    tmp_path: Path, centre: Callable[[str], str]
) -> None:
    url, sent = centre("kafka"), messages(3)
    large = Message("huge", "/edge", "reading", 1.0, b'"%s"' % (b"x" * 3_000_000))
    source = fill(tmp_path / "till.db", [*sent, large, *messages(3, start=10)])
    process = edge(source, url, "--once", folder=tmp_path)
    error = (await asyncio.to_thread(ended, process, 2))["error"]
    assert "too-large" in error
    assert "huge" in error
    assert await received(url, 3, tmp_path) == sent


async def test_events_without_a_label_for_several_partitions_are_said_once(
    centre: Callable[[str], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = [Message(f"b{n}", "/edge", "reading", 1.0, b"{}") for n in range(3)]
    from_ = fill(tmp_path / "edge.db", [*messages(2), *bare])
    for partitions, said in ((1, 0), (2, 1)):
        to = f"{centre('kafka')}?partitions={partitions}"
        bridge = Bridge(parse_url(from_), parse_url(to), group=f"to{partitions}", once=True)
        await bridge.run(asyncio.Event())
        assert bridge.progress().forwarded == 5
        assert caplog.text.count("warning[no-label]") == said
    assert "has 2 partitions, and reading b0 (position 3) has no partitionkey" in caplog.text
