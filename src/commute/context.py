"""What a handler is given beside its event: who and when, deterministic chance and ids, publishing, a transaction.

Everything here is the same on every attempt at one event, except `attempt` itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from commute.ids import derived_id, derived_random
from commute.transports.base import Message

if TYPE_CHECKING:
    import typing_extensions

    S = typing_extensions.TypeVar("S", default=None)  # `ctx: Context` is enough where there is no state
else:
    S = TypeVar("S")

SqlValue = None | int | float | str | bytes
_LOGGER = logging.getLogger("commute.handler")


class Rows(Protocol):
    """An open block of the embedded store."""

    def execute(self, sql: str, params: Sequence[SqlValue] | Mapping[str, SqlValue] = ()) -> list[tuple[SqlValue, ...]]:
        """All rows of one statement; a plain call, in `async` handlers too. DDL is allowed, COMMIT is not."""

    @property
    def changes(self) -> int:
        """Rows that the last statement changed."""


class Transaction(Protocol):
    """`async with` or `with`: effects, inbox row and published events commit together at the block's end."""

    async def __aenter__(self) -> Rows: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __enter__(self) -> Rows: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Attempt(Protocol):
    """What a context needs of the running attempt."""

    @property
    def handler_name(self) -> str: ...

    @property
    def number(self) -> int: ...

    @property
    def log_position(self) -> int: ...

    def publish(self, event: object, to: str | None) -> None: ...

    def transaction(self) -> Transaction: ...


class Context(Generic[S]):
    """One handler's view of one event. Valid while the handler runs."""

    __slots__ = ("_attempt", "_ids", "_message", "_random", "state")

    def __init__(self, attempt: Attempt, message: Message, state: S) -> None:
        self._attempt = attempt
        self._message = message
        self.state = state
        self._random: Random | None = None
        self._ids = 0

    @property
    def event_id(self) -> str:
        return self._message.id

    @property
    def type(self) -> str:
        return self._message.type

    @property
    def source(self) -> str:
        return self._message.source

    @property
    def position(self) -> int:
        """The event's place in its log."""
        return self._attempt.log_position

    @property
    def time(self) -> datetime:
        """When the producer made the event, UTC."""
        return datetime.fromtimestamp(self._message.time_s, UTC)

    @property
    def attempt(self) -> int:
        """1 on the first run of this handler for this event; failed runs count, over restarts too."""
        return self._attempt.number

    @property
    def attributes(self) -> Mapping[str, str]:
        """CloudEvents attributes and extensions beside id, source, type and time."""
        return self._message.attributes or {}

    @property
    def raw(self) -> bytes:
        """The event's data as it arrived."""
        return self._message.data

    @property
    def correlation_id(self) -> str:
        """The id of the event with which all this began: this one's own if it has no cause."""
        return self.attributes.get("correlationid", self._message.id)

    @property
    def causation_id(self) -> str | None:
        """The id of the event whose handler published this one."""
        return self.attributes.get("causationid")

    @property
    def idempotency_key(self) -> str:
        """Event id and handler: hand it to gateways that take one, so that a second run charges nobody twice."""
        return f"{self._message.id}/{self._attempt.handler_name}"

    @property
    def random(self) -> Random:
        """A generator seeded by event and handler."""
        if self._random is None:
            self._random = derived_random(self._message.source, self._message.id, self._attempt.handler_name)
        return self._random

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger `commute.handler`, with event, type, handler and attempt in `extra`."""
        return logging.LoggerAdapter(
            _LOGGER,
            {
                "event_id": self._message.id,
                "event_type": self._message.type,
                "handler": self._attempt.handler_name,
                "attempt": self._attempt.number,
            },
        )

    def now(self) -> datetime:
        """The event's own time: a second run decides by the same clock as the first."""
        return self.time

    def new_id(self) -> str:
        """A new id, derived from event, handler and how many were taken before."""
        self._ids += 1
        m = self._message
        return derived_id(m.time_s, m.source, m.id, self._attempt.handler_name, "id", str(self._ids))

    def publish(self, event: object, *, to: str | None = None) -> None:
        """Send an event when this handler has succeeded; with a transaction, together with its effects.

        Validated now: raises RejectedError. After the block of `transaction` has ended it raises UsageError.
        """
        self._attempt.publish(event, to)

    def transaction(self) -> Transaction:
        """A block of the embedded store, once an attempt. Do slow things before it: others wait meanwhile."""
        return self._attempt.transaction()
