"""Whose turn it is with the one writing connection: first come, first served, handed over directly.

Callers are coroutines of any loop and plain threads. A free turn is taken without a hop to another thread;
a released one is *given* to the next in line, so that nobody who comes later can snatch it.

Invariants: at most one holder; a waiter is waiting, granted or abandoned, and changes state under the lock
only; an abandoned one is passed over; a granted one that goes away gives the turn on.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Literal, Protocol

from commute.errors import StoreError

State = Literal["waiting", "granted", "abandoned"]


class Waiter(Protocol):
    """Someone in line. `tell` wakes it and returns False when nobody is left to be woken."""

    state: State
    error: StoreError | None  # why its turn is worth nothing

    def tell(self) -> bool: ...


class ThreadWaiter:
    """A thread that blocks until the turn is its own."""

    __slots__ = ("_told", "error", "state")

    def __init__(self) -> None:
        self.state: State = "waiting"
        self.error: StoreError | None = None
        self._told = threading.Event()

    def tell(self) -> bool:
        self._told.set()
        return True

    def wait(self) -> None:
        self._told.wait()


class LoopWaiter:
    """A coroutine that awaits `future` until the turn is its own."""

    __slots__ = ("_loop", "_thread", "error", "future", "state")

    def __init__(self) -> None:
        self.state: State = "waiting"
        self.error: StoreError | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def tell(self) -> bool:
        if self._loop.is_closed():
            return False
        if self._thread == threading.get_ident():
            self._resolve()  # on the loop's own thread no wake-up through the selector is needed
            return True
        try:
            self._loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:  # the loop has been closed with the waiter on it
            return False
        return True

    def _resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Turn:
    """The turn itself. All methods are thread-safe, short, and never block for long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._line: deque[Waiter] = deque()  # Invariant: empty unless taken

    @property
    def taken(self) -> bool:
        return self._taken

    def take(self) -> bool:
        """Take the turn if nobody has it; never waits."""
        with self._lock:
            if self._taken:
                return False
            self._taken = True
            return True

    def line_up(self, waiter: Waiter) -> bool:
        """True: the turn is the waiter's at once. False: it will be told."""
        with self._lock:
            if self._taken:
                self._line.append(waiter)
                return False
            self._taken = True
            waiter.state = "granted"
            return True

    def come_next(self, waiter: Waiter) -> None:
        """For the holder alone: stand first in line, while somebody else uses the turn on its behalf."""
        with self._lock:
            assert self._taken
            self._line.appendleft(waiter)

    def abandon(self, waiter: Waiter) -> None:
        """The waiter goes away; a turn that it was already granted is given on."""
        with self._lock:
            if waiter.state == "waiting":
                waiter.state = "abandoned"
                return
        self.release()

    def release(self) -> None:
        """Give the turn to the first in line who is still there; else it is free."""
        with self._lock:
            while self._line:
                waiter = self._line.popleft()
                if waiter.state == "waiting":
                    waiter.state = "granted"
                    if waiter.tell():
                        return
            self._taken = False
