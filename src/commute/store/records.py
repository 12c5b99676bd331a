"""What the engine tells the store, one small record each; the store writes them in the sequence in which they came.

A record is durable when the sync after it has ended; what is durable is always a prefix of what was told. `token` is
the engine's own (the event's entry): it comes back with the sync, so that the delivery can be settled then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from commute.core.footprint import Footprint
from commute.transports.base import Message

DeadStatus = Literal["parked", "held", "skipped", "dropped", "rejected"]


class Child(msgspec.Struct, frozen=True, gc=False):
    """A message that a handler published, and the stream it goes to (None: the app's own)."""

    message: Message
    to: str | None


class ReplyTo(msgspec.Struct, frozen=True, gc=False):
    """A producer that wants a receipt of its event, and where. `group`: only of that one; empty: of any."""

    stream: str
    group: str
    id: str
    source: str
    type: str


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The plain and frequent end: processed, no children, nothing to forget, nobody to tell."""

    partition: int
    position: int
    token: object


class Ended(msgspec.Struct, frozen=True):
    """Processed, with something to write or forget besides: children, failed attempts, a dead-letter row."""

    partition: int
    position: int
    token: object
    children: Sequence[Child] = ()
    chain: Sequence[str] = ()  # not empty: the children wait in the outbox until `Released`
    had_failures: bool = False
    was_dead: bool = False
    reply_to: ReplyTo | None = None
    at_s: float = 0.0  # given with `reply_to`


class Buried(msgspec.Struct, frozen=True):
    """The event goes to the dead letters: parked, held, skipped or rejected, with its bytes.

    For skipped and rejected ones this is the outcome. `footprint` and `chain` are what it keeps while parked or held.
    """

    partition: int
    position: int
    token: object
    status: DeadStatus
    message: Message
    at_s: float
    footprint: Footprint = ()
    chain: Sequence[str] = ()
    handlers_done: Sequence[str] = ()
    handler: str = ""
    slug: str = ""
    reason: str = ""
    detail: str = ""
    attempts: int = 0
    stopped: bool = False


class Failed(msgspec.Struct, frozen=True):
    """One attempt failed and the event keeps its place; or, with `deaths`, the process died of it."""

    partition: int
    position: int
    handler: str
    failures: int
    deaths: int
    first_s: float
    due_s: float
    error: str


class Handled(msgspec.Struct, frozen=True):
    """One of several handlers of an event has succeeded: it is not run again."""

    partition: int
    position: int
    source: str
    id: str
    handler: str
    at_s: float
    children: Sequence[Child] = ()
    chain: Sequence[str] = ()  # not empty: the children wait in the outbox until `Released`


class Paused(msgspec.Struct, frozen=True):
    """The partition takes nothing more in, over restarts too; `why` None resumes it."""

    partition: int
    why: str | None
    fingerprint: str = ""


class Marked(msgspec.Struct, frozen=True):
    """Nothing to write: comes back when everything that was told before it is on the disk."""

    entry: object


class Released(msgspec.Struct, frozen=True):
    """The children of this event may leave the outbox now."""

    partition: int
    position: int


class Relayed(msgspec.Struct, frozen=True):
    """These outbox rows have been sent and confirmed."""

    numbers: Sequence[int]


class Asked(msgspec.Struct, frozen=True):
    """A person asked for retry, skip or drop of a dead letter; `number` is the request's row, 0 without one."""

    number: int
    verb: str
    partition: int
    position: int
    at_s: float
    refusal: str = ""  # the engine's reason not to do it now
    answers: list[str] = msgspec.field(default_factory=list)  # what was done, once it was written


Record = Finished | Ended | Buried | Failed | Handled | Paused | Marked | Released | Relayed | Asked


class DeadRow(msgspec.Struct, frozen=True):
    """A dead letter as it lies in the store; `message` without data where only the head was asked for."""

    partition: int
    position: int
    status: DeadStatus
    message: Message
    at_s: float
    footprint: Footprint
    chain: Sequence[str]
    handlers_done: Sequence[str]
    handler: str
    slug: str
    reason: str
    detail: str
    attempts: int
    stopped: bool
    asked: str


class AttemptRow(msgspec.Struct, frozen=True):
    partition: int
    position: int
    handler: str
    failures: int
    deaths: int
    first_s: float
    due_s: float
    error: str
