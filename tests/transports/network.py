"""A broker of each kind behind a bad network: an app that works, a producer, and a proxy on the way of each.

Every proxy is on one side only, so that a fault can strike the producer or the worker alone. ZeroMQ has no broker
between: there the worker is what the producer's proxy leads to, and it has none of its own.
"""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from commute import App, Context, Event
from commute.errors import NotReachableError
from commute.limits import Limits
from commute.link import BrokerUrl, Link, Log, discard, parse_url, with_stream
from commute.transports.base import Message
from tests.brokers import broker_url
from tests.transports.proxy import Proxy
from tests.transports.wires import DEADLINE_S

READER = "proxied"
IMPATIENT: dict[str, dict[str, Any]] = {  # so that silence is noticed, and what is lost tried again, within seconds
    "amqp": {"heartbeat_s": 1, "retry_s_max": 0.3},
    "kafka": {"session_s": 6.0, "confirm_s_max": 4.0},
    "mqtt": {"keepalive_s": 1, "retry_s_max": 0.3},
    "zmq+tcp": {"silence_s": 0.2, "retry_s_max": 0.3},
}


class OrderCreated(Event):
    """What `wires.messages` sends."""

    n: int


class Impatient(App[None]):
    """An app whose client notices soon."""

    @property
    def url(self) -> BrokerUrl:
        return impatient(super().url)


def impatient(url: BrokerUrl) -> BrokerUrl:
    return replace(url, server=replace(url.server, **IMPATIENT[url.scheme]))


class Network:
    """One stream of a broker. `app` writes the number of each event into a table; `outward` is the producer's proxy,
    `inward` the worker's."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.direct = with_stream(base_url(name), f"proxied-{uuid.uuid4().hex[:12]}")
        self.outward = self.proxy()
        self.inward = None if name == "zeromq" else self.proxy()
        self.proxies = [self.outward] if self.inward is None else [self.outward, self.inward]
        reached = self.direct if self.inward is None else self.through(self.inward)
        self.app = Impatient(READER, reached, db=f"sqlite:///{folder}/store.db")
        self.gate = numbering(self.app)  # handlers wait while it is not set
        self.sent = 0  # confirmed
        url = parse_url(self.through(self.outward), str(folder / "producer.db"))
        self.link = Link.open(impatient(url), None, Limits(), reader=READER)
        self.producer: Log = self.link.transport()

    def proxy(self) -> Proxy:
        place = urlsplit(self.direct)
        port = place.port or 0
        made = Proxy((place.hostname or "", port))
        if self.name == "kafka":  # it tells clients where to go
            made.rewriting[b"127.0.0.1" + port.to_bytes(4)] = b"127.0.0.1" + made.port.to_bytes(4)
        return made

    def through(self, proxy: Proxy) -> str:
        place = urlsplit(self.direct)
        return urlunsplit(place._replace(netloc=place.netloc.replace(f":{place.port}", f":{proxy.port}")))

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """The app runs, the producer is connected."""
        async with self.app.transaction() as tx:
            tx.execute("create table effect(place integer primary key, n integer)")
        await self.producer.open(None)
        try:
            async with self.app.running():
                yield
        finally:
            await self.producer.close()

    async def send(self, messages: Sequence[Message]) -> None:
        """Confirmed, at whichever try; the same again is harmless."""
        end_s = time.monotonic() + 2 * DEADLINE_S
        while True:
            try:
                await self.producer.send(messages)
                self.sent += len(messages)
                return
            except NotReachableError:
                assert time.monotonic() < end_s, "nothing is confirmed"

    def effects(self) -> list[int]:
        """The numbers of the events whose effects are durable, in the sequence in which they came to be."""
        found = self.app.connect().file.read(lambda c: c.execute("select n from effect order by place").fetchall())
        return [int(str(n)) for (n,) in found]

    async def stored(self, count: int) -> None:
        """Wait until the worker has so many events in its journal."""
        await eventually(lambda: self.app.log.last_position() >= count, f"{count} events in the journal")

    async def done(self, count: int) -> None:
        """Wait for the effects of so many events."""
        await eventually(lambda: len(self.effects()) >= count, f"{count} effects")

    def close(self) -> None:
        self.link.close()
        self.app.close()
        for proxy in self.proxies:
            proxy.close()
        discard(parse_url(self.direct), READER)


async def eventually(true: Callable[[], bool], what: str) -> None:
    """As `wires.until`, while the loop runs."""
    end_s = time.monotonic() + 2 * DEADLINE_S
    while not true():
        assert time.monotonic() < end_s, f"not within {2 * DEADLINE_S:.0f} s: {what}"
        await asyncio.sleep(0.01)


def base_url(name: str) -> str:
    if name != "zeromq":
        return broker_url(name)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"zmq+tcp://127.0.0.1:{found.getsockname()[1]}"


def numbering(app: Impatient) -> asyncio.Event:
    """The open gate of a handler, the app's, whose events all depend on each other: their effects are a log."""
    gate = asyncio.Event()
    gate.set()

    @app.on(OrderCreated, writes="effects")
    async def note(event: OrderCreated, ctx: Context) -> None:
        await gate.wait()
        async with ctx.transaction() as tx:
            tx.execute("insert into effect(n) values(?)", (event.n,))

    return gate
