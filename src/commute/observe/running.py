"""Whose handler runs here, and what it has declared for its event."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import NamedTuple

from commute.runtime.entry import Job
from commute.runtime.slot import CURRENT, Slot

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
_LIBRARIES = ("sqlalchemy", "redis", "sqlite3", "contextlib", "asyncio")


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
        event = job.entry.event
        modes = {access.key: access.mode for access in declared.footprint(event)}
        found = known[slot.index] = Running(
            job, job.bound.name, job.bound.handler.where, job.entry.kind.type, event, modes
        )
    return found


def here(otherwise: str) -> str:
    """``file:line`` of the statement of the application that leads to this call; `otherwise` where none is seen."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "")
        if not file.startswith(_OURS) and module.partition(".")[0] not in _LIBRARIES and file[0] != "<":
            inside = os.path.relpath(file)
            return f"{file if inside.startswith('..') else inside}:{frame.f_lineno}"
        frame = frame.f_back
    return otherwise
