"""One partition as the engine sees it: its held cone, why it is paused, and what it must not take in twice."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from commute.core.cone import Cone
from commute.core.watermark import Done

if TYPE_CHECKING:
    from commute.runtime.entry import Failures, Job, Past, Placed
    from commute.runtime.outbox import Place

Pause = Literal["", "cone", "stop", "rejects"]

REJECTS_LOOKED_AT = 100  # semantics.md G6: more than half of the last hundred


class Partition:
    """State of one partition, owned by the engine's loop."""

    __slots__ = (
        "children",
        "cone",
        "cut",
        "failures",
        "ids",
        "lingering",
        "number",
        "pause",
        "places",
        "reached",
        "recovered_max",
        "rejects",
        "seen",
        "stalled",
        "stopped",
        "waiting_room",
        "watermark",
        "why",
    )

    def __init__(self, number: int, held_events_max: int, watermark: int, recovered_max: int, seen: Done) -> None:
        self.number = number
        self.cone = Cone(held_events_max)
        self.watermark = watermark  # where this session began: everything below was settled
        self.recovered_max = recovered_max  # positions up to here may have been touched by an earlier life
        self.reached = watermark - 1  # everything up to here has been taken in, or was settled before
        while self.reached < recovered_max and self.reached + 1 in seen:
            self.reached += 1  # the log does not give these again, unless one before them is unsettled
        self.seen = seen  # settled positions at or beyond the watermark when this session began
        self.ids: dict[int, str] = {}  # the event ids of what is in the cone
        self.places: dict[int, Place] = {}  # the chain places of what is in the cone
        self.children: set[int] = set()  # positions of earlier lives, to be run again, with rows in the outbox
        self.failures: dict[int, dict[str, Failures]] = {}  # attempts of earlier lives, until their event comes
        self.pause: Pause = ""
        self.why = ""
        self.cut = ""  # why the intake broke off amid what it had received: only a new session can go on with that
        self.stopped: set[int] = set()  # parked events at which the partition was stopped
        self.lingering: dict[int, Past] = {}  # in the cone, with handlers that wait for no one still at work
        self.waiting_room: deque[Placed] = deque()  # taken in, but without a place while the partition is paused
        self.stalled: deque[Job] = deque()  # ready when the partition was stopped
        self.rejects: deque[bool] = deque(maxlen=REJECTS_LOOKED_AT)  # empty unless one of the last was rejected

    def settled_before(self, position: int) -> bool:
        """Whether an earlier life has settled this position already."""
        return position < self.watermark or (position <= self.recovered_max and position in self.seen)

    def accepted(self) -> None:
        """Note an arrival that was not rejected, while one of the last hundred was."""
        rejects = self.rejects
        rejects.append(False)
        if True not in rejects:
            rejects.clear()

    def rejected(self) -> bool:
        """Note an arrival that was; True when so many were that the partition must pause."""
        self.rejects.append(True)
        return self.rejects.count(True) * 2 > REJECTS_LOOKED_AT

    def overtakes_from(self) -> int | None:
        """The position from which on a replay might overtake an event that has no place yet; None: none would."""
        first = min((placed.entry.position for placed in self.waiting_room), default=None)
        if self.reached < self.recovered_max:  # an event before it may still come out of the log
            return self.reached + 1 if first is None else min(first, self.reached + 1)
        return first
