"""What can go wrong, as one tree; every leaf is a message that a person can act on.

    CommuteError                 has a slug: printed as ``error[slug] text``, a heading of docs/errors.md
    ├── UsageError               wrong use, or refused at import or at start        (exit status 2)
    ├── RejectedError            this event can never be handled; kept as a dead letter
    ├── UndeclaredAccessError    a handler touches what it does not declare; said by the sanitizer of tests
    ├── NotReachableError        broker or database does not answer                 (exit status 3)
    └── StoreError               the durable file said no: full, locked, other version, damaged (exit status 3)
        └── OwnershipLostError   another worker has taken the group over; nothing more is written

    DeadLetter                   raised by a handler: no further attempts. Not a CommuteError: it is the user's word.
    RemoteError                  what a handler raised in another process, as it is known here
    DiedError                    the process in which a handler ran has died under it

A message says what happened, to which event and handler, and what to do next. Lower-case, no full stop needed.
"""

from __future__ import annotations


class CommuteError(Exception):
    """An error of commute's own; ``str()`` is the message without its slug.

    ``slug`` names the heading in docs/errors.md; ``where`` is ``file:line`` of the user's code, where known.
    """

    slug: str
    where: str | None

    def __init__(self, message: str, *, slug: str, where: str | None = None) -> None:
        super().__init__(message)
        self.slug = slug
        self.where = where

    @property
    def message(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.message}   {self.where}" if self.where else self.message

    def render(self) -> str:
        """The line that the terminal shows: ``error[slug] message   file:line``."""
        return f"error[{self.slug}] {self}"


class UsageError(CommuteError):
    """Wrong use, found at import, at start or on the command line; nothing has been done."""


class RejectedError(CommuteError):
    """This event can never be handled: bytes, data, key, size or type are wrong. It is kept as a dead letter."""


class UndeclaredAccessError(CommuteError):
    """A handler is about to touch what its footprint does not cover; it has not yet. Raised only while somebody watches
    (`commute.testing.sanitizing`)."""


class NotReachableError(CommuteError):
    """A broker or database does not answer."""


class StoreError(CommuteError):
    """The durable file refused a write or cannot be read; nothing since its last sync counts."""


class OwnershipLostError(StoreError):
    """Another worker owns this group now; what this one had not yet committed is left to it."""


class DeadLetter(Exception):
    """Raise in a handler: this event gets no further attempts and is treated as exhausted.

    A business refusal is no failure: publish a ``PaymentRefused`` event instead.
    """


class RemoteError(Exception):
    """What a handler raised in another process; ``str()`` is its text. The exception itself stays there: its class may
    not exist here, and reading a pickled one would run what another machine has sent.

    `name` is the class's, `kinds` are all the names (`kind_name`) of it, its bases and the leaves of a group, `where`
    is `` (file:line)`` in the handler's file or empty.
    """

    def __init__(self, name: str, text: str, kinds: frozenset[str], where: str, trace: str) -> None:
        super().__init__(text)
        self.name = name
        self.kinds = kinds
        self.where = where
        self.add_note(trace)


class DiedError(Exception):
    """The process in which a handler ran, and nothing else did, has ended under it."""


def kind_name(kind: type) -> str:
    """How processes call an exception class among themselves."""
    return f"{kind.__module__}:{kind.__qualname__}"


class CommuteWarning(UserWarning):
    """Something that works and is probably not meant; ``slug`` as for errors."""

    slug: str

    def __init__(self, message: str, *, slug: str, where: str | None = None) -> None:
        super().__init__(f"{message}   {where}" if where else message)
        self.slug = slug
        self.where = where

    def render(self) -> str:
        return f"warning[{self.slug}] {self}"
