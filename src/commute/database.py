"""What a database is to those who keep something in it, whichever it is: `embedded` or `postgres`.

Statements are written once, for both: ``?`` for a value, ``ON CONFLICT``, plain types; what differs is translated by
the connection.

Invariants: nothing that a writer has confirmed can be lost; when a commit fails, nothing since the last sync counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from commute.errors import StoreError

R = TypeVar("R")


class Cursor(Protocol):
    """The rows of one statement, as tuples."""

    def fetchall(self) -> list[tuple[Any, ...]]: ...
    def fetchone(self) -> Any: ...
    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...


class Connection(Protocol):
    """One connection; ``with`` it, reads see one snapshot."""

    def execute(self, sql: str, params: Any = ..., /) -> Cursor: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object: ...
    def changes(self) -> int: ...
    def total_changes(self) -> int: ...
    def __enter__(self) -> object: ...
    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> Any: ...


class Reader(Connection, Protocol):
    """A connection of one's own that only reads."""

    def close(self) -> None: ...


class Block(Protocol):
    """One open transaction of a caller's own statements; `changes`: rows that the last one changed."""

    @property
    def changes(self) -> int: ...
    def execute(self, sql: str, params: Any = ...) -> list[tuple[Any, ...]]: ...
    def at_end(self, job: Callable[[Connection], None]) -> None:
        """Run `job`, which only writes, as the last statements of the block: now, or when the block ends."""


Source: TypeAlias = Callable[[Connection], Callable[[], None] | None]
Before: TypeAlias = Callable[[Connection], None]


class Writer(Protocol):
    """Group commit: many writers, one transaction, one sync. See `embedded.writer` for each promise."""

    name: str
    failure: StoreError | None  # set: everything is refused until `reset`

    def submit(self, job: Callable[[Connection], R]) -> Future[R]: ...
    def attach(self, source: Source) -> None: ...
    def detach(self, source: Source) -> None: ...
    def wake(self, *, urgent: bool = False) -> None: ...
    def on_failure(self, callback: Callable[[StoreError], None]) -> None: ...
    def off_failure(self, callback: Callable[[StoreError], None]) -> None: ...
    def reset(self) -> None: ...
    def block(self, before: Before | None = None) -> AbstractAsyncContextManager[Block]: ...
    def block_sync(self, before: Before | None = None) -> AbstractContextManager[Block]: ...


class Ownership(Protocol):
    """Who runs a group: one at a time, and an epoch for those who have lost it. Blocking calls."""

    def try_take(self) -> bool:
        """Whether the group is ours now, for a session that begins; never waits for the one who has it."""

    def holder(self) -> tuple[int, str] | None:
        """(pid, host) of the last one that took the group; None if nobody ever did."""

    def check_epoch(self, connection: Connection) -> None:
        """Nothing while the group is ours; else raises OwnershipLostError: the transaction must not commit."""

    def fileno(self) -> int | None:
        """The descriptor that keeps the group ours, to be inherited by handler processes; None where a connection
        does."""

    def release(self) -> None:
        """Give the group up; idempotent."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """An ownership as others see it. `last`: (pid, host) of the last process that took it, None if nobody ever did;
    `now`: whether somebody has it at this moment."""

    last: tuple[int | None, str] | None
    now: bool


class Record(Protocol):
    """Where the engine notes what it runs; what was running when the process died can be read afterwards."""

    def note(self, slot: int, partition: int, position: int, alone: bool = False) -> None: ...
    def clear(self, slot: int) -> None: ...
    def read_and_reset(self) -> list[tuple[int, int, bool]]: ...
    def clean_close(self) -> None: ...


class Database(Protocol):
    """One open database, shared by all of a process; every opening needs its `close`.

    `path`: what messages call it, None in memory. `blocks_apart`: each block is a transaction of its own and durable
    at its end; else blocks share the group's transaction.
    """

    blocks_apart: bool

    @property
    def path(self) -> str | None: ...
    @property
    def writer(self) -> Writer: ...
    def schema(self, sql: str) -> None: ...
    def reader(self) -> Reader: ...
    def read(self, job: Callable[[Connection], R]) -> R: ...
    def data_version(self) -> int: ...
    def announce(self, topic: str) -> None: ...
    def listen(self, topic: str, callback: Callable[[], None]) -> Callable[[], None]: ...
    def ownership(self, name: str) -> Ownership: ...
    def owner(self, name: str) -> tuple[int | None, str] | None:
        """(pid, host) of the process that runs the group `name` at this moment; None while none does."""

    def tenures(self, names: Sequence[str]) -> list[Tenure]:
        """Of each of these ownerships who had it last, and whether it is held. Blocks: one short look for all."""

    def record(self, name: str, slots_max: int) -> Record:
        """The record of what the worker of group `name` runs, with room for `slots_max` events."""

    def side_path(self, name: str, suffix: str) -> str: ...
    def close(self) -> None: ...


class Announcing:
    """The part of a database that tells who listens: both of ours are one. `tell_listeners` is for the writer."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._announced: set[str] = set()  # topics since the last sync; touched while the writer's connection is

    def announce(self, topic: str) -> None:
        """Inside a job, source or block: those who `listen` to `topic` are called after the sync of this commit."""
        self._announced.add(topic)

    def listen(self, topic: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each commit of this process that announced `topic`, on the writer's thread (in memory:
        inline); it must return at once. Returns the function that ends it."""
        listeners = self._listeners.setdefault(topic, [])
        listeners.append(callback)
        return lambda: listeners.remove(callback)

    def tell_listeners(self, _connection: object) -> Callable[[], None] | None:
        """A writer's source: nothing to write, and those to call after the sync."""
        if not self._announced:
            return None
        topics, self._announced = self._announced, set()

        def tell() -> None:
            for topic in topics:
                for callback in tuple(self._listeners.get(topic, ())):
                    callback()

        return tell
