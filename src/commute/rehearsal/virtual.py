"""An event loop in which waiting takes no time: when nothing can run, the clock goes to the next timer.

A run in virtual time depends on nothing but its seed, so whatever would bring the real world in is kept out:
threads (functions for an executor run inline), sockets, pipes and child processes.

Invariants: the clock moves only while no callback is ready and no coroutine can go on; timers that are due at
one moment fire in a sequence that the seed decides, since a real clock would not keep them apart either.

Source: the autojump clock of trio's testing module.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from random import Random
from typing import Any, TypeVar, TypeVarTuple

from commute.errors import UsageError

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

OUTSIDE_S_MAX = 10.0  # for which an answer from outside is awaited, where no timer says less
TIE_S = 1e-6  # timers that are nearer to each other than this fire in a seeded sequence
_REACHING_OUT = frozenset(
    (
        *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
        *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "subprocess.Popen"),
    )
)


class Quiet(selectors.BaseSelector):
    """The loop's selector: never waits, but moves the clock. Where it is not `sealed` and something outside may answer
    (a socket, or a thread that wakes the loop), that is waited for in real time, as long as the next timer allows.

    `on_quiet` is called with nothing ready; whatever it makes ready runs first. `on_stuck` is called when
    there is no timer either: without it the loop would stand still for ever."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sealed = False
        self.on_quiet: Callable[[], bool] = lambda: False  # True: something may be ready now
        self.on_stuck: Callable[[], None] = lambda: None
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = self._real.select(0)  # the loop's own pipe, by which it wakes itself
        if found or (timeout is not None and timeout <= 0) or self.on_quiet():
            return found
        if not self.sealed and self._may_be_answered():
            found = self._real.select(OUTSIDE_S_MAX if timeout is None else min(timeout, OUTSIDE_S_MAX))
            if found:
                return found
        if timeout is None:
            self.on_stuck()
        else:
            self.now_s += timeout
        return found

    def _may_be_answered(self) -> bool:
        return len(self._real.get_map()) > 1 or threading.active_count() > 1  # one is the loop's own pipe

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.sealed:
            raise _GUARD.refuse("a pipe or a socket in the event loop")
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop with the clock of a `Quiet` selector, which starts at 0. One seed, one run."""

    def __init__(self, seed: int) -> None:
        self.quiet = Quiet()
        self._ties = Random(seed)
        super().__init__(self.quiet)
        self.quiet.sealed = True

    def time(self) -> float:
        return self.quiet.now_s

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return super().call_at(when + self._ties.random() * TIE_S, callback, *args, context=context)

    def run_in_executor(self, _executor: object, func: Callable[..., R], *args: Any) -> asyncio.Future[R]:  # type: ignore[override]
        """Run the function now, here: a thread would bring real time in."""
        future: asyncio.Future[R] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it goes to the one who awaits it
            future.set_exception(error)
        return future


class _Guard:
    """Who may not reach out now: the thread that runs in virtual time. An audit hook cannot be taken off
    again."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.refused: UsageError | None = None
        self._installed = False

    def install(self) -> None:
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._look)

    def refuse(self, what: str) -> UsageError:
        """Why it is not to be had; remembered."""
        error = UsageError(
            f"{what} was asked for in a run in virtual time, where nothing outside the process is reached. "
            "Give the handlers a stand-in for their client: run(app, events, state=...)",
            slug="real-socket",
        )
        self.refused = self.refused or error
        return error

    def _look(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.thread is None or event not in _REACHING_OUT or threading.get_ident() != self.thread:
            return
        aim = next((part for part in arguments if isinstance(part, str | bytes | tuple)), "")
        what = "a child process" if event == "subprocess.Popen" else "a real socket"
        raise self.refuse(f"{what} ({event} {aim!r})")


_GUARD = _Guard()


@contextmanager
def nothing_real() -> Iterator[None]:
    """Refuse sockets in this thread; at the end the first refusal is raised, whoever has caught it
    meanwhile."""
    _GUARD.install()
    _GUARD.thread, _GUARD.refused = threading.get_ident(), None
    try:
        yield
    except BaseException:
        _GUARD.refused = None
        raise
    finally:
        _GUARD.thread = None
    if _GUARD.refused is not None:
        raise _GUARD.refused
