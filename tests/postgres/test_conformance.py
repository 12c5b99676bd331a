"""The log of a broker server's journal in PostgreSQL passes the public suite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from commute.limits import Limits
from commute.postgres.store import PostgresStore
from commute.testing.conformance import Check, Harness, checks
from commute.transports.base import Features, Transport
from commute.transports.sqlite import SqliteTransport
from tests.postgres.server import Server


class Log:
    features: Features = SqliteTransport.features

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = PostgresStore.open(url, Limits())

    def make(self, stream: str) -> Transport:
        return SqliteTransport(self.store, stream, poll_s=0.005)

    def program(self, stream: str) -> str | None:
        return f"""
            from commute.limits import Limits
            from commute.postgres.store import PostgresStore
            from commute.transports.sqlite import SqliteTransport

            async def connect():
                return SqliteTransport(PostgresStore.open({self.url!r}, Limits()), {stream!r})
            """


@pytest.fixture
def log(server: Server) -> Iterator[Harness]:
    harness = Log(server.url)
    yield harness
    harness.store.close()


@pytest.mark.parametrize("check", checks(SqliteTransport.features), ids=lambda check: check.__name__)
def test_the_log_in_postgresql(check: Check, log: Harness) -> None:
    asyncio.run(_run(check, log))


async def _run(check: Check, harness: Harness) -> None:
    await check(harness)
