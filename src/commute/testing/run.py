"""`commute.testing.run`: an app's handlers over some events, in a plain function.

See `rehearsal.course`, which does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import TypeVar

from commute.app import App
from commute.errors import UsageError
from commute.rehearsal.course import Course, DeadEvent, Ground, Result
from commute.rehearsal.virtual import nothing_real
from commute.testing.sanitizing import sanitizing

S = TypeVar("S")

__all__ = ["DeadEvent", "Result", "run"]


def run(
    app: App[S],
    events: Iterable[object],
    *,
    state: S | None = None,
    concurrency: int = 8,
    seed: int = 0,
    tables: Sequence[str] = (),
    sanitize: bool = False,
) -> Result:
    """Put `events` into a log, run the app's handlers until nothing is left to do, and say what came of it.

    `events` are event objects, which are validated as on publish, or ``(type name, data)`` and `NamedEvent`,
    which arrive as they are, as from a foreign producer. `state` is what ``lifespan`` would yield; lifespan
    is not run. Waiting takes no time: sleeps, timeouts, retries and breakers follow a virtual clock that
    starts at 0. `def` handlers and functions for threads run inline. `seed` decides every chance, and which
    of several waits that end at one moment ends first. Published events are handled too if the app has a
    handler for their type; others are only listed. The app's own broker is not touched: ``ctx.transaction()``
    works on a database in memory, where the SQL statements `tables` are run first. With `sanitize`, handlers may touch
    only what they declare, see `sanitizing`.

    Raises UsageError: in a running event loop (``running-loop``), for a real socket (``real-socket``), for a
    handler that waits for what nothing brings about (``never-ends``); RejectedError for an event object that
    is not valid; UndeclaredAccessError with `sanitize`.
    """
    refuse_a_loop("run")
    course = Course(app, events, Ground(state, tables), concurrency, seed)
    with (
        sanitizing(app) if sanitize else nullcontext(),
        nothing_real(),
        asyncio.Runner(loop_factory=course.make_loop) as runner,
    ):
        return runner.run(course.run())


def refuse_a_loop(name: str) -> None:
    """UsageError (``running-loop``) where an event loop runs already; `name` is the function that has its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"commute.testing.{name} has a loop of its own: call it from a plain def test", slug="running-loop"
    )
