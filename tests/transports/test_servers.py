"""ZeroMQ, journalled, passes the public suite, with real sockets and real processes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from commute.limits import Limits
from commute.link import Link, features, parse_url
from commute.testing.conformance import Check, checks
from commute.transports.base import Features, Transport

FEATURES = features(parse_url("zmq+tcp://127.0.0.1:1"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """A harness: every stream has a port and a link of its own, all of them one journal file."""

    features: Features = FEATURES

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.urls: dict[str, str] = {}
        self.links: dict[str, Link] = {}

    def url(self, stream: str) -> str:
        return self.urls.setdefault(stream, f"zmq+tcp://127.0.0.1:{free_port()}?stream={stream}")

    def make(self, stream: str) -> Transport:
        if stream not in self.links:
            url = parse_url(self.url(stream), str(self.path))
            self.links[stream] = Link.open(url, None, Limits(), reader="conformance")
        return self.links[stream].transport()

    def program(self, stream: str) -> str | None:
        return f"""
            from commute.limits import Limits
            from commute.link import Link, parse_url

            async def connect():
                return Link.open(parse_url({self.url(stream)!r}, {str(self.path)!r}), None, Limits()).transport()
            """

    def close(self) -> None:
        for link in self.links.values():
            link.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("check", checks(FEATURES), ids=lambda check: check.__name__)
def test_zeromq(server: Server, check: Check) -> None:
    async def run() -> None:
        await check(server)

    asyncio.run(run())
