"""A slot: one handler at once. It knows what runs in it, since when, and until when that may take."""

from __future__ import annotations

import asyncio
import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

    from commute.runtime.entry import Job


class Place(Protocol):
    """Where a handler runs, as it is asked by `app.publish`."""

    source: str

    @property
    def handler_name(self) -> str | None: ...


CURRENT: ContextVar[Place | None] = ContextVar("commute_slot", default=None)  # the slot whose handler runs here


class Slot:
    """Invariant: `job` is None between runs. `replaced`: its handler is overdue and another slot stands in."""

    __slots__ = ("deadline_s", "index", "job", "replaced", "source", "started_s", "thread", "timed_out", "wake", "work")

    def __init__(self, index: int, source: str) -> None:
        self.index = index
        self.source = source  # of the app whose handlers it runs
        self.job: Job | None = None
        self.started_s = 0.0
        self.deadline_s = math.inf
        self.timed_out = False  # the sweep has found the running handler overdue
        self.replaced = False
        self.thread: threading.Thread | None = None  # where a `def` handler runs
        self.wake: asyncio.Future[None] | None = None
        self.work: asyncio.Task[None] | None = None

    @property
    def handler_name(self) -> str | None:
        """Of the handler that runs in it."""
        return None if self.job is None else self.job.bound.name

    def begin(self, job: Job, now_s: float, timeout_s: float | None) -> None:
        self.job = job
        self.started_s = now_s
        self.deadline_s = math.inf if timeout_s is None else now_s + timeout_s

    def end(self) -> None:
        self.job = None
        self.deadline_s = math.inf
        self.timed_out = False
        self.thread = None
