"""Threads that a handler begins: what they touch is the handler's, though Python gives them no context of it."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any

from commute.observe.running import carried
from commute.observe.watches import Undo

_POOLS = ("concurrent.futures.thread", "aiosqlite.core")


def trace() -> Undo:
    """From now on threads, and functions that are given to pools of them, are their handler's."""
    pool, thread = concurrent.futures.ThreadPoolExecutor, threading.Thread
    submit, start = pool.submit, thread.start

    def carried_submit(self: Any, function: Any, /, *given: Any, **named: Any) -> Any:
        return submit(self, carried(function), *given, **named)

    def carried_start(self: Any) -> None:
        # A thread of a pool or a connection outlives the handler that made it; what it is given is carried by itself.
        if not _is_of_pool(self):
            self.run = carried(self.run)
        start(self)

    pool.submit = carried_submit  # type: ignore[method-assign]
    thread.start = carried_start  # type: ignore[method-assign]

    def undo() -> None:
        pool.submit = submit  # type: ignore[method-assign]
        thread.start = start  # type: ignore[method-assign]

    return undo


def _is_of_pool(thread: Any) -> bool:
    kinds = getattr(thread, "_target", None), type(thread)
    return any(getattr(kind, "__module__", "") in _POOLS for kind in kinds)
