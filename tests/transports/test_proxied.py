"""Every broker server behind a bad network: nothing is lost or overtaken, and each event has one row in the journal."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from commute.errors import NotReachableError
from commute.limits import Limits
from commute.link import Link, Log, discard, parse_url, with_stream
from commute.transports.base import Message
from tests.brokers import broker_url
from tests.transports.proxy import Proxy
from tests.transports.wires import DEADLINE_S, messages, names

READER = "proxied"
BATCHES, BATCH, EVERY = 24, 25, 4  # a fault at each fourth batch


class Network:
    """One stream of a broker, reached through a proxy and directly."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.direct = with_stream(broker_url(name), f"proxied-{uuid.uuid4().hex[:12]}")
        place = urlsplit(self.direct)
        port = place.port or 0
        self.proxy = Proxy((place.hostname or "", port))
        self.proxied = urlunsplit(place._replace(netloc=place.netloc.replace(f":{port}", f":{self.proxy.port}")))
        if name == "kafka":  # it tells clients where to go
            self.proxy.rewriting[b"127.0.0.1" + port.to_bytes(4)] = b"127.0.0.1" + self.proxy.port.to_bytes(4)
        self.folder = folder
        self.links: list[Link] = []

    def link(self, url: str, file: str) -> Link:
        made = Link.open(parse_url(url, str(self.folder / file)), None, Limits(), reader=READER)
        self.links.append(made)
        return made

    def close(self) -> None:
        for link in self.links:
            link.close()
        self.proxy.close()
        discard(parse_url(self.direct), READER)


@pytest.fixture
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    made = Network(request.param, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("fault", ["delayed", "cut in mid-frame", "not acknowledged"])
@pytest.mark.parametrize("network", ["rabbitmq", "kafka", "mqtt"], indirect=True)
async def test_the_journal_is_what_was_sent(network: Network, fault: str) -> None:
    proxy, lonely = network.proxy, fault == "not acknowledged"  # then the producer has a good network
    reading = network.link(network.proxied, "journal.db").transport()
    sending = network.link(network.direct if lonely else network.proxied, "producer.db").transport()
    await reading.open("g")
    try:
        await sent(sending, messages(1))
        await journalled(reading, 1)
        begun = len(proxy.pairs)
        for batch in range(BATCHES):
            proxy.delay_s = 0.01 if fault == "delayed" else 0.0
            strikes = batch % EVERY == EVERY - 1
            if strikes and fault == "cut in mid-frame":
                proxy.cut_in_mid_frame()
            elif strikes and lonely:
                proxy.deafen()
            await sent(sending, messages(BATCH, 1 + batch * BATCH))
            if strikes and lonely:
                if network.name != "kafka":  # there a consumer asks for each piece, and is not heard
                    await journalled(reading, 1 + (batch + 1) * BATCH)
                proxy.cut()
        proxy.delay_s = 0.0
        count = 1 + BATCHES * BATCH
        await sent(sending, messages(1, count))
        await journalled(reading, count + 1)
        assert [delivery.message.id for delivery in reading.range(1, 2 * count)] == names(0, count + 1)
        assert fault == "delayed" or len(proxy.pairs) > begun + 2, "nothing was cut"
    finally:
        await reading.close()


async def sent(transport: Log, some: list[Message]) -> None:
    """Confirmed, at whichever try."""
    end_s = time.monotonic() + 2 * DEADLINE_S
    while True:
        try:
            await transport.send(some)
            return
        except NotReachableError:
            assert time.monotonic() < end_s, "nothing is confirmed"


async def journalled(transport: Log, count: int) -> None:
    end_s = time.monotonic() + 2 * DEADLINE_S
    while transport.last_position() < count:
        assert time.monotonic() < end_s, f"{transport.last_position()} of {count}"
        await asyncio.sleep(0.005)
