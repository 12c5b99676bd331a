"""Workers and producers on real ZeroMQ sockets, for the tests of that transport."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

from commute.transports.zeromq import ZeromqWire, parse
from tests.transports.wires import Worker

ROOT = Path(__file__).parents[2]


class Rig:
    """A free address; makes workers and producers there, and closes all of them."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        self.url = f"zmq+tcp://127.0.0.1:{self.port}"
        self.wires: list[ZeromqWire] = []

    def worker(self, *, acks: bool = True, ahead_max: int = 1_000, url: str = "") -> Worker[ZeromqWire]:
        made = Worker(ZeromqWire(parse(url or self.url)), acks=acks, ahead_max=ahead_max)
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
