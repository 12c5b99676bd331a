"""Two events together, one of them held up before a line of its own: what threads may do and seldom do.

The handler of the first event runs in a thread with a line tracer; at the chosen line it waits until the second event
has ended, or for a bounded time: then the second cannot end while the first stands there (a lock, say), and this
interleaving does not exist. Each line of the handler, and of functions of its own package, is chosen once.

Source: preemption bounding, Musuvathi and Qadeer, "Iterative Context Bounding" (PLDI 2007), with a bound of one.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from types import CodeType, FrameType
from typing import Any

from commute.app import App
from commute.handler import Handler
from commute.runtime.slot import CURRENT, Slot
from commute.verify.trial import End, Numbered, Scene, trial_in_threads, type_of

START_S_MAX = 2.0  # within which the second event has to be started, else they do not run together


def interleavings(
    app: App[Any],
    events: Sequence[Numbered],
    first: Numbered,
    second: Numbered,
    scene: Scene,
    lines_max: int,
    wait_s: float,
) -> Iterator[tuple[str, End]]:
    """``(file:line, what came of it)`` for each line of the first's `def` handlers before which the second ran. Both
    are the last two of `events`, in either sequence."""
    if not (any(map(_holds, _handlers(app, first))) and any(map(_plain, _handlers(app, second)))):
        return
    for at in range(lines_max):
        hold = _Hold(first.id, second.id, at, wait_s)
        end = trial_in_threads(app, events, scene, hold.on, concurrency=2, alone=len(events) - 2)
        if hold.line is None:
            return  # it has no more lines
        if hold.met:
            yield hold.line, end


class _Hold:
    """One line before which the first event waits for the second. `line` says which it was, `met` whether it came."""

    def __init__(self, first: str, second: str, at: int, wait_s: float) -> None:
        self._ids = (first, second)
        self._left = at
        self._wait_s = wait_s
        self._here = threading.Event()  # the first stands at its line, or has passed all
        self._done = threading.Event()  # the second has ended
        self.line: str | None = None
        self.met = False

    def on(self, handler: Handler) -> Handler:
        """The handler under this hold; `async def` is left as it is, since the loop interleaves its awaits."""
        return replace(handler, function=self._held(handler)) if _plain(handler) else handler

    def _held(self, handler: Handler) -> Callable[..., Any]:
        function, holds = handler.function, _holds(handler)
        own = inspect.unwrap(function).__code__

        @wraps(function)
        def held(*arguments: Any) -> Any:
            event = _running()
            if event == self._ids[0] and holds:
                return self._first(function, own, arguments)
            if event == self._ids[1]:
                self._here.wait(START_S_MAX)
                try:
                    return function(*arguments)
                finally:
                    self._done.set()
            return function(*arguments)

        return held

    def _first(self, function: Callable[..., Any], own: CodeType, arguments: tuple[Any, ...]) -> Any:
        package = own.co_filename.rpartition("/")[0]
        before = sys.gettrace()

        def trace(frame: FrameType, event: str, _argument: object) -> Any:
            if not frame.f_code.co_filename.startswith(package):
                return None
            if event == "line" and self.line is None:
                if self._left == 0:
                    self.line = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
                    self._here.set()
                    self.met = self._done.wait(self._wait_s)
                self._left -= 1
            return trace

        sys.settrace(trace)
        try:
            return function(*arguments)
        finally:
            sys.settrace(before)
            self._here.set()


def _handlers(app: App[Any], numbered: Numbered) -> list[Handler]:
    type_ = type_of(app, numbered.event)
    return [handler for handler in app.handlers if handler.event(type_) is not None]


def _plain(handler: Handler) -> bool:
    """Whether it runs in a thread here: `def`, in this process."""
    return not handler.is_async and not handler.elsewhere


def _holds(handler: Handler) -> bool:
    """Whether it is worth while to hold it up: blocks of the store run one at a time anyway."""
    return _plain(handler) and not handler.embedded


def _running() -> str | None:
    """The id of the event whose handler runs here."""
    slot = CURRENT.get()
    return slot.job.entry.id if isinstance(slot, Slot) and slot.job is not None else None
