"""Group commit without a thread, for a database in memory: on the loop's next round, else at once.

There is no disk to wait for, and a program that runs in virtual time must not have a second thread.

Invariants: a commit that found the turn taken is *missed*, and made by whoever gives the turn back; what
follows a commit is called with the turn free, in sequence, also where it causes the next commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commute.embedded.writer import Writer


class Inline:
    """The commits of one `Writer` whose database is in memory."""

    __slots__ = ("_afters", "_arranged_on", "_calling", "_loop", "_missed", "_writer")

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that was last seen to run
        self._arranged_on: asyncio.AbstractEventLoop | None = None
        self._missed = False
        self._afters: deque[Callable[[], None]] = deque()
        self._calling = False

    def loop_elsewhere(self) -> asyncio.AbstractEventLoop | None:
        """The loop that was last seen to run, if it still runs and not on this thread."""
        loop = self._loop
        if loop is None or not loop.is_running():
            return None
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            return loop
        return None if here is loop else loop

    def arrange(self) -> None:
        try:
            self._loop = loop = asyncio.get_running_loop()
        except RuntimeError:
            if self._loop is not None and self._loop.is_running():  # from a thread: keep to the loop's thread
                self._loop.call_soon_threadsafe(self._arranged)
            else:
                self.commit()
            return
        if self._arranged_on is not loop:
            self._arranged_on = loop
            loop.call_soon(self._arranged)

    def _arranged(self) -> None:
        self._arranged_on = None
        self.commit()

    def commit(self) -> None:
        if not self._writer.turn.take():
            self._missed = True
            if not self._writer.turn.take():  # else it was given back in between
                return
        self._missed = True
        self.release()

    def release(self) -> None:
        """Give the turn back, after the commit that was missed meanwhile."""
        writer = self._writer
        while True:
            if self._missed:
                self._missed = False
                self._afters.extend(writer.commit_group())
            writer.turn.release()
            self._call_afters()
            writer.tell_news()
            if not self._missed or not writer.turn.take():
                return

    def _call_afters(self) -> None:
        if self._calling:
            return  # a call below is at it: the sequence stays
        self._calling = True
        try:
            while self._afters:
                self._afters.popleft()()
        finally:
            self._calling = False
