"""Where `def` handlers run: threads of our own, started when needed, one a running handler.

Not concurrent.futures: its threads are joined when the interpreter ends, so one hung handler would keep the process
alive for ever, and a hung one cannot be stood in for. These are daemon threads; results come back to the loop in
batches, one wake-up for all that ended meanwhile.

Invariant: at most one thread a running slot; a thread that no slot needs waits for the next call.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Protocol

_Call = tuple["asyncio.Future[None]", "HasThread", Callable[..., object], tuple[object, ...]]


class HasThread(Protocol):
    thread: threading.Thread | None


class Threads:
    """Runs functions off the loop. `spare_max` idle threads are kept; `inline` runs them on the loop instead."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spare_max: int, *, inline: bool = False) -> None:
        self._loop = loop
        self._spare_max = spare_max
        self._inline = inline
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._ended: deque[tuple[asyncio.Future[None], BaseException | None]] = deque()
        self._told = False  # the loop has been asked to look at what ended
        self._lock = threading.Lock()
        self._idle = 0
        self._count = 0
        self._busy = 0  # threads that run a handler
        self._when_idle: Callable[[], object] | None = None

    async def run(self, slot: HasThread, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        """Run `function(*arguments)` in a thread; returns or raises when it has really ended.

        A cancelled caller gives up waiting; the thread goes on. About 60 µs a call.
        """
        if self._inline:
            function(*arguments)
            return
        future: asyncio.Future[None] = self._loop.create_future()
        with self._lock:
            self._busy += 1
            if self._idle > 0:
                self._idle -= 1
            else:
                self._count += 1
                threading.Thread(target=self._serve, name=f"commute handler {self._count}", daemon=True).start()
        self._calls.put((future, slot, partial(copy_context().run, function), arguments))
        await future

    def close(self) -> None:
        """Idle threads end; those that run a handler end with it."""
        with self._lock:
            for _ in range(self._idle):
                self._calls.put(None)
            self._idle = 0
            self._spare_max = 0

    def when_idle(self, callback: Callable[[], object]) -> None:
        """Call `callback` once, as soon as no thread runs a handler: now, or on the last of them. After `close`."""
        with self._lock:
            if self._busy:
                self._when_idle = callback
                return
        callback()

    def _serve(self) -> None:
        while True:
            call = self._calls.get()
            if call is None:
                return
            future, slot, function, arguments = call
            slot.thread = threading.current_thread()
            error: BaseException | None = None
            try:
                function(*arguments)
            except BaseException as raised:  # noqa: BLE001 - it goes to the one who waits for it
                error = raised
            del call, function, arguments
            with self._lock:
                self._busy -= 1
                last = None if self._busy else self._when_idle
                stay = self._idle < self._spare_max
                if stay:
                    self._idle += 1
            if last is not None:
                last()
            self._ended.append((future, error))
            if not self._told:
                self._told = True
                try:
                    self._loop.call_soon_threadsafe(self._tell)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return
            if not stay:
                return

    def _tell(self) -> None:
        self._told = False
        ended = self._ended
        while ended:
            future, error = ended.popleft()
            if future.done():
                continue  # its caller has given up
            if error is None:
                future.set_result(None)
            elif isinstance(error, StopIteration):
                future.set_exception(RuntimeError(f"the handler raised {error!r}"))
            else:
                future.set_exception(error)
