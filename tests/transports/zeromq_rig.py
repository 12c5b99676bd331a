"""Workers and producers on real ZeroMQ sockets, for the tests of that transport."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from commute.transports.base import Message
from commute.transports.wire import Arrival
from commute.transports.zeromq import ZeromqOptions, ZeromqWire, parse

DEADLINE_S = 30.0
ROOT = Path(__file__).parents[2]


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until it is true; fails after the deadline."""
    end_s = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end_s, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.005)


def messages(count: int, start: int = 0) -> list[Message]:
    return [Message(f"e{n}", "/test", "order_created", 1.5, b'{"n":%d}' % n) for n in range(start, start + count)]


class Worker:
    """A wire that consumes, and what came; acknowledges by itself unless told not to."""

    def __init__(self, url: str | ZeromqOptions, *, acks: bool = True, ahead_max: int = 1_000) -> None:
        self.wire = ZeromqWire(parse(url) if isinstance(url, str) else url)
        self.arrivals: list[Arrival] = []
        self.acks = acks
        self.wire.connect()
        self.wire.consume("g", self.arrived, ahead_max=ahead_max)

    def arrived(self, batch: Sequence[Arrival]) -> None:
        self.arrivals.extend(batch)
        if self.acks:
            self.wire.ack([a.token for a in batch])

    @property
    def ids(self) -> list[str]:
        return [a.message.id for a in self.arrivals]


class Rig:
    """A free address; makes workers and producers there, and closes all of them."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        self.url = f"zmq+tcp://127.0.0.1:{self.port}"
        self.wires: list[ZeromqWire] = []

    def worker(self, *, acks: bool = True, ahead_max: int = 1_000, url: str = "") -> Worker:
        made = Worker(url or self.url, acks=acks, ahead_max=ahead_max)
        self.wires.append(made.wire)
        return made

    def producer(self, url: str = "", **options: float) -> ZeromqWire:
        wire = ZeromqWire(replace(parse(url or self.url), **options))  # type: ignore[arg-type]
        wire.connect()
        self.wires.append(wire)
        return wire

    def close(self) -> None:
        for wire in self.wires:
            wire.close()
