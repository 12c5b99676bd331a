"""The contract between a log of events and the engine: open, receive, settle, send, close, and a record of features.

A transport moves messages and remembers which deliveries it may forget. It knows nothing of handlers, footprints or
retries. Every transport passes `commute.testing.conformance`, whose checks are chosen by its declared `Features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

_PART = "#"


class Message(msgspec.Struct, frozen=True, gc=False):
    """What a producer hands over: CloudEvents attributes and the data as JSON bytes.

    `time_s` is seconds since 1970, UTC. `attributes` holds further CloudEvents attributes and extensions
    (``correlationid``, ``causationid``, ``traceparent`` …), by their CloudEvents names.
    """

    id: str
    source: str
    type: str
    time_s: float
    data: bytes
    attributes: Mapping[str, str] | None = None


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One arrival of a message. It may arrive again; `position` orders it within its partition.

    `handle` is the transport's own: give it back to `settle`, once, when the broker may forget the delivery.
    `duplicate_of` is the position of an earlier event with the same identity, where the transport knows one.
    """

    partition: int
    position: int
    message: Message
    handle: object
    duplicate_of: int | None = None


class Sent(msgspec.Struct, frozen=True, gc=False):
    """Where a message lies after it was confirmed; `position` is None where the broker does not tell.

    `duplicate_of`: the position of the event that already had this identity. With the same bytes nothing was
    stored and `position` equals it; with other bytes the message is stored at `position` and will be rejected.
    """

    position: int | None
    duplicate_of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a transport really promises; the conformance suite checks each claim, docs/guarantees.md has the table."""

    name: str
    confirmed: str  # where a message is once it is confirmed, in a few words
    durable: bool  # a confirmed message survives kill -9 of every process of ours
    stable_positions: bool  # a message has the same position at every delivery
    rereads: bool  # `reread` gives the bytes of unsettled deliveries again
    multi_process: bool  # producers in other processes reach the same stream
    settles: Literal["outcome", "journal"] = "outcome"
    ordered: bool = True  # one producer's messages arrive in the sequence of sending, redeliveries included
    queued: bool = True  # what is sent while nobody reads the stream is kept for the first who does
    tells_end: bool = True  # a new group can begin at the end of what was sent
    message_bytes_max: int | None = None  # of the broker's own; None: no bound below `Limits.event_bytes_max`


class Transport(Protocol):
    """A stream of one broker, as one process sees it. All coroutines run on one event loop.

    `send` and `send_sync` also work where nothing but `open(None)` was called before (a producer).
    """

    features: Features

    async def open(self, group: str | None, *, from_end: bool = False) -> None:
        """Connect; with a group, take its place in the stream (the oldest kept event, or the end). Raises
        NotReachableError, StoreError, UsageError. A group that is owned elsewhere is the caller's concern."""

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """The next 1 to `limit` deliveries in log order per partition; waits until there is one. Cancellable at
        any time without losing a delivery. After a new `open` all unsettled deliveries come again."""

    async def reread(self, partition: int, positions: Sequence[int]) -> Sequence[Delivery]:
        """The unsettled deliveries at these positions again, in that sequence (`Features.rereads`)."""

    def settle(self, handles: Sequence[object]) -> None:
        """These deliveries may be forgotten; returns at once, takes effect soon. Each handle once, any sequence."""

    async def send(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        """Store the messages in this sequence; returns when they are confirmed, all or none. `to` names another
        stream of the same broker. Raises StoreError or NotReachableError: then nothing is confirmed."""

    def send_sync(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        """`send` without an event loop; blocks the calling thread."""

    async def close(self) -> None:
        """Forget the connection; what was settled before takes effect first. Idempotent."""


def part_name(name: str, partition: int | None) -> str:
    """What the part of a stream or a group that belongs to one partition is called in the store; None: the whole."""
    return name if partition is None else f"{name}{_PART}{partition}"


def part_number(name: str, whole: str) -> int | None:
    """The partition whose part of `whole` is called `name`; None where it is no part of it."""
    head, mark, number = name.rpartition(_PART)
    return int(number) if mark and head == whole and number.isdecimal() else None
