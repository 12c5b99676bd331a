"""What the tests of all clients share: messages, a worker that remembers what came, and waiting with a limit."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from commute.transports.base import Message
from commute.transports.wire import Arrival, Wire

W = TypeVar("W", bound=Wire)

DEADLINE_S = 30.0


def until(true: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until it is true; fails after the deadline."""
    end_s = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end_s, f"not within {deadline_s:.0f} s: {what}"
        time.sleep(0.005)


def messages(count: int, start: int = 0, key: str | None = None) -> list[Message]:
    attributes = None if key is None else {"partitionkey": key}
    return [
        Message(f"{key or 'e'}{n}", "/test", "order_created", 1.5, b'{"n":%d}' % n, attributes)
        for n in range(start, start + count)
    ]


def names(start: int, stop: int) -> list[str]:
    return [f"e{n}" for n in range(start, stop)]


class Worker(Generic[W]):
    """A wire that consumes, and what came; acknowledges by itself unless told not to."""

    def __init__(
        self, wire: W, *, group: str = "g", acks: bool = True, ahead_max: int = 1_000, from_end: bool = False
    ) -> None:
        self.wire = wire
        self.arrivals: list[Arrival] = []
        self.batches = 0
        self.acks = acks
        self.group = group
        wire.connect()
        wire.consume(group, self.arrived, ahead_max=ahead_max, from_end=from_end)

    def arrived(self, batch: Sequence[Arrival]) -> None:
        self.arrivals.extend(batch)
        self.batches += 1
        if self.acks:
            self.wire.ack([a.token for a in batch])

    def ack(self, *numbers: int) -> None:
        self.wire.ack([self.arrivals[n].token for n in numbers])

    @property
    def ids(self) -> list[str]:
        return [a.message.id for a in self.arrivals]

    def has(self, count: int) -> None:
        until(lambda: len(self.arrivals) >= count, f"{count} arrivals")


def assert_structured(first: bytes, second: bytes) -> None:
    """Two events as the CloudEvents JSON format has them, read without our own decoder: JSON as data, other bytes as
    base64, extensions beside the attributes."""
    read = json.loads(first)
    assert read.pop("data") == {"n": 1}
    assert read == {
        "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": "1970-01-01T00:00:01.500000Z",
        "datacontenttype": "application/json", "partitionkey": "k", "subject": "Grüße",
    }  # fmt: skip
    bare = json.loads(second)
    assert base64.b64decode(bare["data_base64"]) == b"\xff no json" and "data" not in bare
