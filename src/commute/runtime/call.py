"""What crosses between a worker and a process that runs handlers for it: bytes of a few nouns, never pickled objects.

    Spec    once: which handlers there are and where they are imported from
    Call    worker → process: one handler, one event with its encoded bytes
    Reply   process → worker: what it published, and what it raised

Functions and event classes go by name, ``module:qualname``, and are imported on the other side.
"""

from __future__ import annotations

import functools
from importlib import import_module

import msgspec

from commute.transports.base import Message


class NamedCodec(msgspec.Struct, frozen=True, array_like=True):
    """An event type and the name of its class; None: its events are dicts."""

    type: str
    cls: str | None


class NamedHandler(msgspec.Struct, frozen=True, array_like=True):
    """A handler by the name of its function."""

    function: str
    takes_context: bool
    events: list[NamedCodec]


class Spec(msgspec.Struct, frozen=True):
    """All that a process has to know of an app to run its handlers."""

    source: str
    handlers: dict[str, NamedHandler]
    codecs: list[NamedCodec]  # of all events of the app that can be found by name: for `ctx.publish`
    event_bytes_max: int
    has_state: bool  # the app has a lifespan, whose state stays with the worker
    protected: str | None  # the embedded file, which the standard sqlite3 must not open
    log_levels: dict[str, int]  # of the worker, by the logger's name


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One attempt at running one handler for one event."""

    handler: str
    position: int
    attempt: int
    message: Message


class Published(msgspec.Struct, frozen=True, array_like=True):
    """What the handler gave to `ctx.publish`, encoded and checked."""

    type: str
    data: bytes
    to: str | None


class Raised(msgspec.Struct, frozen=True, array_like=True):
    """What the handler raised, in words: see `RemoteError`."""

    name: str
    text: str
    kinds: frozenset[str]
    where: str
    trace: str


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """How the attempt ended."""

    published: list[Published]
    raised: Raised | None


class Logged(msgspec.Struct, frozen=True, array_like=True):
    """A log record of the process, to be written where the worker writes its own."""

    name: str
    level: int
    text: str
    created_s: float
    extra: dict[str, str | int | float]


def name_of(found: object) -> str:
    """``module:qualname`` of a function or class."""
    return f"{getattr(found, '__module__', '')}:{getattr(found, '__qualname__', '')}"


def find(name: str) -> object:
    """What the name means here; imports its module. Raises ImportError, AttributeError, and what the import raises."""
    module, _, path = name.partition(":")
    return functools.reduce(getattr, path.split("."), import_module(module))
