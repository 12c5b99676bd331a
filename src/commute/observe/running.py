"""Whose handler runs here, and what it has declared for its event."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from random import Random
from types import CodeType, FrameType
from typing import Any, NamedTuple

from commute.core.footprint import Access
from commute.runtime.entry import Job
from commute.runtime.slot import CURRENT, Slot

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
_LIBRARIES = (
    "sqlalchemy",
    "redis",
    "sqlite3",
    "psycopg",
    "psycopg_pool",
    "asyncpg",
    "aiosqlite",
    "contextlib",
    "asyncio",
    "threading",
    "concurrent",
    "copy",
    "json",
    "pickle",
    "collections",
    "heapq",
)

_FOREIGN: dict[str, bool] = {}  # files that are not the application's
FILES_MAX = 10_000
SLOTS_MAX = 1_000

_CHANCE = Random()  # of its own, so that nobody's seed decides who is watched
_BEGUN_IN: ContextVar[Job | None] = ContextVar("commute_begun_in", default=None)  # whose handler began this thread
_CALLED_AT: ContextVar[Place | None] = ContextVar(
    "commute_called_at", default=None
)  # where, for what has no frame of it


class Running:
    """One attempt. `modes` is the footprint of this handler for this event, by key; `seen` what it has touched until
    now, and where, if that is kept; `made` the key of the row just added whose number the database makes,
    `own` such keys with their numbers.
    """

    __slots__ = ("event", "handler", "made", "modes", "own", "seen", "type", "where")

    def __init__(self, job: Job) -> None:
        declared = job.bound.declared(job.entry.kind.type)
        event, message = job.entry.event, job.entry.message
        if event is None and message is not None:  # the engine keeps it only where it is needed again
            event = job.entry.kind.codec.decode(message.data)
        self.handler = job.bound.name
        self.where = job.bound.handler.where
        self.type = job.entry.kind.type
        self.event: object = event
        self.modes = {access.key: access.mode for access in declared.footprint(event)}
        self.seen: dict[Access, Place | None] = {}
        self.made = ""
        self.own: set[tuple[str, object]] = set()


class Attempts:
    """Whose attempts of an app are watched: a share of them, chosen when an attempt is first met."""

    def __init__(self, source: str, share: float | None) -> None:
        self._source = source
        self._share = share
        # By slot, what was found of its last attempt: a job is tried again, and begins at another time then.
        self._known: dict[int, tuple[Slot, Job, float, Running | None]] = {}

    def now(self) -> Running | None:
        """The attempt that runs here and may be held to its word.

        None outside of handlers, in one that is `unordered`, which has said that it does not care, and in attempts
        that are not of the share.
        """
        found = CURRENT.get()
        known = self._known.get(id(found))
        if known is None:
            return self._first(found)
        slot, job, started_s, running = known
        if slot.job is not job or slot.started_s != started_s:
            return self._first(slot)
        begun = _BEGUN_IN.get()
        return running if begun is None or begun is job else None

    def _first(self, slot: object) -> Running | None:
        """The same for an attempt that was not met yet."""
        if type(slot) is not Slot or slot.source != self._source:
            return None
        job, begun = slot.job, _BEGUN_IN.get()
        if job is None or (begun is not None and begun is not job):
            return None
        if len(self._known) >= SLOTS_MAX:
            self._known.clear()
        running = self._chosen(job)
        self._known[id(slot)] = (slot, job, slot.started_s, running)
        return running

    def _chosen(self, job: Job) -> Running | None:
        if job.bound.handler.unordered or (self._share is not None and _CHANCE.random() >= self._share):
            return None
        return Running(job)


def carried(function: Callable[..., Any], place: Place | None = None) -> Callable[..., Any]:
    """`function` for another thread, or one that the handler begins here: what it touches is the handler's, as long as
    that runs. `place` is the line that calls, where the thread runs none of the application's."""
    slot = CURRENT.get()
    if not isinstance(slot, Slot) or slot.job is None:
        return function
    context, job = copy_context(), _BEGUN_IN.get() or slot.job

    def inside(*given: Any, **named: Any) -> Any:
        _BEGUN_IN.set(job)
        _CALLED_AT.set(place)
        return function(*given, **named)

    return lambda *given, **named: context.run(inside, *given, **named)


class Place(NamedTuple):
    """A line of the application; which one is told when it is asked for, since that takes longer than to note it."""

    code: CodeType
    at: int

    def __str__(self) -> str:
        file = self.code.co_filename
        lines = (line for begin, end, line in self.code.co_lines() if begin <= self.at < end)
        inside = os.path.relpath(file)
        return f"{file if inside.startswith('..') else inside}:{next(lines, self.code.co_firstlineno)}"


def here() -> Place | None:
    """The line of the application that leads to this call; None where none is seen. About 1 µs."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        foreign = _FOREIGN.get(code.co_filename)
        if foreign is None:
            module = frame.f_globals.get("__name__", "").partition(".")[0]
            foreign = code.co_filename.startswith((_OURS, "<")) or module in _LIBRARIES
            if len(_FOREIGN) >= FILES_MAX:
                _FOREIGN.clear()
            _FOREIGN[code.co_filename] = foreign
        if not foreign:
            return Place(code, frame.f_lasti)
        frame = frame.f_back
    return _CALLED_AT.get()
