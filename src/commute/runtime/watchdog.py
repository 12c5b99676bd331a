"""Notices a handler that blocks the event loop, from a thread outside it, and names the line that does.

The loop beats a counter; a thread looks at it. When the counter stands still, the thread reads the loop's stack:
the innermost frame of a handler's own file is the line to show.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from types import CodeType, FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commute.runtime.engine import Engine
    from commute.runtime.kinds import Bound

LOGGER = logging.getLogger("commute")

BEAT_S = 0.1
BLOCKED_S = 0.5  # a loop that stands still for longer is worth a warning


class Watchdog:
    """One thread a worker; `start` and `stop` from the loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._codes: dict[CodeType, Bound] = {
            bound.code: bound for bound in engine.kinds.bounds if isinstance(bound.code, CodeType)
        }
        self._beat = time.monotonic()
        self._stopped = threading.Event()
        self._loop_thread = threading.get_ident()

    async def run(self) -> None:
        """Beat until cancelled."""
        threading.Thread(target=self._look, name="commute watchdog", daemon=True).start()
        try:
            while True:
                self._beat = time.monotonic()
                await asyncio.sleep(BEAT_S)
        finally:
            self._stopped.set()

    def _look(self) -> None:
        blocked: tuple[str, Bound, float] | None = None  # where, whose, since when
        while not self._stopped.wait(BEAT_S):
            still_s = time.monotonic() - self._beat
            if still_s < BLOCKED_S + BEAT_S:
                if blocked is not None:
                    self._say(blocked[0], blocked[1], time.monotonic() - blocked[2])
                    blocked = None
            elif blocked is None:
                found = self._who()
                if found is not None:
                    blocked = (*found, self._beat)

    def _who(self) -> tuple[str, Bound] | None:
        """The handler on the loop's stack, and the line of its file that is innermost."""
        frame: FrameType | None = sys._current_frames().get(self._loop_thread)
        inner = frame
        lines: list[FrameType] = []
        while frame is not None:
            lines.append(frame)
            bound = self._codes.get(frame.f_code)
            if bound is not None:
                name = frame.f_code.co_filename
                line = next(one for one in lines if one.f_code.co_filename == name)
                called = "" if inner is None or inner is line else f", {inner.f_code.co_name}"
                return f"{name.rsplit('/', 1)[-1]}:{line.f_lineno}{called}", bound
            frame = frame.f_back
        return None

    def _say(self, where: str, bound: Bound, blocked_s: float) -> None:
        if "loop-blocked" in bound.warned:
            return
        bound.warned.add("loop-blocked")
        LOGGER.warning(
            "warning[loop-blocked] %s held the event loop for %.1f s (%s); %d handlers stood still. Make it `def`, "
            "or await.",
            bound.name, blocked_s, where, max(0, self._engine.running - 1),
        )  # fmt: skip
