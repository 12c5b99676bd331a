"""What the conformance checks are made of: a harness for one broker, messages, bounded waits, child processes.

Invariants: no wait without a bound; identities and names of streams never repeat within a process.
"""

from __future__ import annotations

import asyncio
import sys
import textwrap
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol
from uuid import uuid4

from commute.transports.base import Delivery, Features, Message, Transport

BOUND_S = 20.0  # longest wait for anything that must happen; a working transport needs a fraction
_numbers = count(1)
_RUN = uuid4().hex[:8]  # a broker server may still have the streams of earlier runs


class Harness(Protocol):
    """Makes transports on one broker, which starts empty and lives as long as the harness."""

    features: Features

    def make(self, stream: str) -> Transport:
        """A transport on `stream`, not yet open; it shares the broker with others and nothing else."""

    def program(self, stream: str) -> str | None:
        """Python source that defines ``async def connect() -> Transport`` on `stream` of the same broker, to
        be run in another process; None where none can reach it (`Features.multi_process` is False)."""


def make_messages(number: int, *, data: Callable[[int], bytes] | None = None) -> list[Message]:
    """`number` messages that differ in everything, with identities of their own."""
    found = []
    for n in range(number):
        serial = next(_numbers)
        content = data(n) if data is not None else b'{"number": %d}' % serial
        found.append(Message(f"id-{serial:06d}", "/conformance", f"type_{n % 5}", float(serial), content))
    return found


async def receive_all(transport: Transport, number: int) -> list[Delivery]:
    """The next `number` deliveries; AssertionError where they do not come in time."""
    arrived: list[Delivery] = []
    try:
        async with asyncio.timeout(BOUND_S):
            while len(arrived) < number:
                arrived += await transport.receive(number - len(arrived))
    except TimeoutError:
        raise AssertionError(f"{len(arrived)} of {number} deliveries came in {BOUND_S:g} s") from None
    return arrived


class Opened:
    """``async with`` around a transport that is opened and closed."""

    def __init__(self, harness: Harness, stream: str, group: str | None) -> None:
        self._transport = harness.make(stream)
        self._group = group

    async def __aenter__(self) -> Transport:
        await self._transport.open(self._group)
        return self._transport

    async def __aexit__(self, *_error: object) -> None:
        await self._transport.close()


_CHILD = """
import asyncio, json
from commute.transports.base import Message

async def main():
    transport = await connect()
    for n in range({number}):
        id_ = "{name}-%d" % n
        await transport.send([Message(id_, "/{name}", "far", float(n), b"1")])
        print(json.dumps(id_), flush=True)
    await transport.close()

asyncio.run(main())
"""


async def start_child(harness: Harness, stream: str, name: str, number: int) -> Process:
    """A process that sends `number` messages one by one and prints the id of each that was confirmed."""
    program = harness.program(stream)
    assert program is not None, "the transport claims multi_process, its harness has no program"
    source = textwrap.dedent(program) + _CHILD.format(name=name, number=number)
    return await asyncio.create_subprocess_exec(sys.executable, "-c", source, stdout=PIPE, stderr=PIPE)


async def send_slowly(transport: Transport, messages: Sequence[Message], size: int) -> None:
    for at in range(0, len(messages), size):
        await transport.send(messages[at : at + size])
        await asyncio.sleep(0)


def new_name() -> str:
    return f"stream-{_RUN}-{next(_numbers)}"


def require_equal(found: object, wanted: object, promise: str) -> None:
    if found != wanted:
        raise AssertionError(f"{promise}: got {found!r:.500}, wanted {wanted!r:.500}")


def require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)
