"""Whose handler runs here, and what it has declared for its event."""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import NamedTuple

from commute.runtime.entry import Job
from commute.runtime.slot import CURRENT, Slot

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
_LIBRARIES = ("sqlalchemy", "redis", "sqlite3", "contextlib", "asyncio")

_FOREIGN: dict[str, bool] = {}  # files that are not the application's
FILES_MAX = 10_000


class Running(NamedTuple):
    """One attempt. `modes` is the footprint of this handler for this event, by key."""

    job: Job
    handler: str
    where: str
    type: str
    event: object
    modes: dict[str, str]


def running(source: str, known: dict[int, Running]) -> Running | None:
    """What runs here for the app with this source and may be held to its word; `known` keeps the last ones.

    None outside of handlers, and in one that is `unordered`: it has said that it does not care.
    """
    slot = CURRENT.get()
    if not isinstance(slot, Slot) or slot.source != source:
        return None
    job = slot.job
    if job is None or job.bound.handler.unordered:
        return None
    found = known.get(slot.index)
    if found is None or found.job is not job:
        declared = job.bound.declared(job.entry.kind.type)
        event, message = job.entry.event, job.entry.message
        if event is None and message is not None:  # the engine keeps it only where it is needed again
            event = job.entry.kind.codec.decode(message.data)
        modes = {access.key: access.mode for access in declared.footprint(event)}
        found = known[slot.index] = Running(
            job, job.bound.name, job.bound.handler.where, job.entry.kind.type, event, modes
        )
    return found


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
    return None
