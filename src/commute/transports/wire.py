"""The contract of a broker server's client: it brings messages in, takes messages out, and is told what to forget.

Brokers differ in what they remember: positions, sequence after a redelivery, how long an acknowledgement may be owed.
`transports.journal` makes them alike: what arrives is written into the store's log, and the wire is told to forget it
after the sync. So a wire needs no positions and knows no outcome.

A wire works in a thread of its own: the broker's heartbeats go on whatever the event loop is busy with, and
producers need no loop. Everything here may be called from any thread, and nothing but `connect` and `close` waits for
the network.

    wire's thread ── arrived(batch) ──▶ journal (writer's thread, sync) ── ack(tokens) ──▶ wire ──▶ broker
    send(messages) ──▶ wire's thread ──▶ broker ── confirmed ──▶ future

Invariants: arrivals of one partition come in the broker's sequence; a token is acknowledged at most once and in the
sequence of arrival; a token of a connection that is gone is forgotten in silence, since its message comes again. A
wire reconnects by itself, with backoff and jitter, until it is closed, and says so in the log (``commute``); it holds
at most `ahead_max` arrivals that are not acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, Self

import msgspec

from commute.errors import UsageError
from commute.transports.base import Message


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One message as it came. `token` is the wire's own: hand it to `ack`, once."""

    message: Message
    token: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What a broker really keeps, as the documentation's table says it; the conformance suite checks each claim."""

    name: str  # "rabbitmq"
    confirmed: str  # where a message is once it is confirmed, in a few words
    durable: bool  # a confirmed message survives kill -9 of the broker
    ordered: bool  # one producer's messages arrive in the sequence of sending, redeliveries included
    queued: bool  # messages wait in the broker while no worker is connected
    message_bytes_max: int | None = None  # the broker's own bound, where it is below ours
    stable_id: str = ""  # what a message that names no id is known by whenever it comes; empty: a new id each time
    own_id: str = ""  # the protocol's own field for an id, where it has one
    note: str = ""  # one sentence of what is not promised, for the start and the docs


class StreamOptions:
    """What the options of each client say of their stream; a client whose broker has partitions says more."""

    __slots__ = ()

    @property
    def labelled(self) -> bool:
        """Whether events have to carry their partition label."""
        return False

    @property
    def dead_letters_to(self) -> str | None:
        """Where copies of dead letters go, as `Wire.send` takes it; None: nobody has asked for any."""
        return None

    def aside(self, stream: str) -> Self:
        """Another stream of the same broker, to be read beside this one. Raises UsageError where there is none."""
        raise UsageError(
            f"there is no broker here that could keep {stream}: ask where the workers' store lies, or give all one "
            'that both reach, App(db="postgresql://HOST/DATABASE")',
            slug="receipts",
        )

    def readers(self) -> list[Self]:
        """What has to be consumed for the whole stream, each by a wire of its own."""
        return [self]


class Wire(Protocol):
    """One connection to one broker, for one stream. Made unconnected; `connect` opens it."""

    promises: Promises

    def connect(self) -> None:
        """Be connected; blocks at most some seconds. Raises NotReachableError (``not-reachable``), UsageError."""

    def partitions(self) -> int:
        """How many logs the stream has at the broker; after `connect`. May ask, and block. Raises NotReachableError."""

    def consume(
        self, group: str, arrived: Callable[[Sequence[Arrival]], None], *, ahead_max: int, from_end: bool = False
    ) -> None:
        """From now on call `arrived` on the wire's thread with each batch, one call after the other. After `connect`,
        once. `from_end`: a group that is new to the broker gets only what is sent from now on, where it can be told."""

    def ack(self, tokens: Sequence[object]) -> None:
        """The broker may forget these; takes effect soon, several at once where the protocol can."""

    def send(self, messages: Sequence[Message], to: str | None = None) -> Future[None]:
        """Send in this sequence, to the wire's own stream or another of the broker; resolved when all are confirmed.
        NotReachableError: the connection went before the last confirm, and any part may have been stored (sending the
        same ids again is harmless)."""

    def claim(self, group: str, store: str) -> str:
        """The store that serves the group on the stream: `store` if none did, and from then on that one, whoever else
        asks; of two that ask at once, one is first. `store`: 1 to 100 visible characters of ASCII without quotes, the
        same each time. Unconnected wires can do it. Blocks. Raises NotReachableError; UsageError where the broker keeps
        no such note."""

    def claimed(self, group: str) -> str | None:
        """The store that serves the group on the stream; None: none does. Otherwise as `claim`."""

    def release(self, group: str) -> None:
        """Forget which store serves the group. Otherwise as `claim`."""

    def discard(self, group: str) -> None:
        """Delete what the broker keeps of the wire's stream, the group's place in it and its claim, as tests and
        measurements want it of streams of their own. Unconnected wires can do it too. Blocks. Raises NotReachableError,
        UsageError."""

    def close(self) -> None:
        """Send what acknowledgements are owed, and disconnect; blocks shortly. Idempotent."""
