"""Every broker server, journalled, passes the public suite: real servers, real sockets, real processes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from commute.limits import Limits
from commute.link import Link, discard, features, parse_url, with_stream
from commute.testing.conformance import Check, checks
from commute.transports.base import Features, Transport
from tests.brokers import broker_url
from tests.transports.measured import measured

READER = "conformance"
SAMPLES = {  # a URL of each kind; what the transport promises is known without a server
    "rabbitmq": "amqp://host/",
    "kafka": "kafka://host/",
    "mqtt": "mqtt://host/topic",
    "zeromq": "zmq+tcp://127.0.0.1:1",
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def features_of(name: str) -> Features:
    return features(parse_url(SAMPLES[name]))


class Server:
    """A harness: every stream has a link of its own, all of them one journal."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.features = features_of(name)
        self.path = folder / "journal.db"
        self.base = "" if name == "zeromq" else broker_url(name)
        self.urls: dict[str, str] = {}
        self.links: dict[str, Link] = {}

    def url(self, stream: str) -> str:
        if stream not in self.urls:
            base = self.base or f"zmq+tcp://127.0.0.1:{free_port()}"
            self.urls[stream] = with_stream(base, stream)
        return self.urls[stream]

    def make(self, stream: str) -> Transport:
        if stream not in self.links:
            url = parse_url(self.url(stream), str(self.path))
            self.links[stream] = Link.open(url, None, Limits(), reader=READER)
        return self.links[stream].transport()

    def program(self, stream: str) -> str | None:
        return f"""
            from commute.limits import Limits
            from commute.link import Link, parse_url

            async def connect():
                url = parse_url({self.url(stream)!r}, {str(self.path)!r})
                return Link.open(url, None, Limits(), reader={READER!r}).transport()
            """

    def close(self) -> None:
        for link in self.links.values():
            link.close()
        for url in self.urls.values():
            discard(parse_url(url), READER)


CASES = [(name, check) for name in SAMPLES for check in checks(features_of(name))]


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    made = Server(request.param, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("server", "check"), CASES, indirect=["server"], ids=[f"{name}-{check.__name__}" for name, check in CASES]
)
def test_server(server: Server, check: Check) -> None:
    async def run() -> None:
        with measured(server.name, check.__name__):
            await check(server)

    asyncio.run(run())
