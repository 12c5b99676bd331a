"""Both transports of this package pass the public suite."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from commute.embedded.file import EmbeddedFile
from commute.testing.conformance import Check, Harness, checks
from commute.transports.base import Features, Transport
from commute.transports.memory import MemoryBroker, MemoryTransport
from commute.transports.sqlite import SqliteTransport
from tests.transports.measured import measured


class Memory:
    features: Features = MemoryTransport.features

    def __init__(self) -> None:
        self.broker = MemoryBroker()

    def make(self, stream: str) -> Transport:
        return MemoryTransport(self.broker, stream, retain_s=1e9)

    def program(self, stream: str) -> str | None:
        return None


class Sqlite:
    features: Features = SqliteTransport.features

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = EmbeddedFile.open(path)

    def make(self, stream: str) -> Transport:
        return SqliteTransport(self.file, stream, poll_s=0.002)

    def program(self, stream: str) -> str | None:
        return f"""
            from commute.embedded.file import EmbeddedFile
            from commute.transports.sqlite import SqliteTransport

            async def connect():
                return SqliteTransport(EmbeddedFile.open({str(self.path)!r}), {stream!r})
            """


@pytest.fixture
def memory() -> Harness:
    return Memory()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Harness]:
    harness = Sqlite(tmp_path / "broker.db")
    yield harness
    harness.file.close()


@pytest.mark.parametrize("check", checks(MemoryTransport.features), ids=lambda check: check.__name__)
def test_memory(check: Check, memory: Harness) -> None:
    asyncio.run(_run(check, "memory", memory))


@pytest.mark.parametrize("check", checks(SqliteTransport.features), ids=lambda check: check.__name__)
def test_sqlite(check: Check, sqlite: Harness) -> None:
    asyncio.run(_run(check, "sqlite", sqlite))


async def _run(check: Check, name: str, harness: Harness) -> None:
    with measured(name, check.__name__):
        await check(harness)
