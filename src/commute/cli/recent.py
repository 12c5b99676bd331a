"""The picture of a worker's last events: written when it ends, and whenever it is asked for with SIGUSR1.

A worker may run for months, so what it remembers is bounded; see `trail`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commute.cli.output import clean, plural
from commute.cli.picture import draw, matrix_of
from commute.report.page import Page
from commute.report.run import Run, run_page
from commute.trail import Excerpt, Trail

if TYPE_CHECKING:
    from commute.app import App


class Recent:
    """What `commute run --picture` keeps and draws. `say` prints a line."""

    def __init__(self, app: App[Any], path: str, events_max: int, say: Callable[[str], None]) -> None:
        self.trail = Trail(events_max, app.limits.descriptors_max)
        self._app = app
        self._path = path
        self._say = say
        self._drawing: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Draw at each SIGUSR1, where the system has it; in the loop, the main thread only."""
        if hasattr(signal, "SIGUSR1"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._asked)

    def _asked(self) -> None:
        if self._drawing is None or self._drawing.done():
            self._drawing = asyncio.create_task(self.draw(), name="commute picture")

    async def draw(self) -> None:
        """Write the picture of what is kept now, in a thread: handlers go on meanwhile."""
        excerpt = self.trail.excerpt()
        if await asyncio.to_thread(draw, self._path, lambda: self._page(excerpt)):
            self._say(f"picture: {clean(self._path)}: {self._last(excerpt)}")

    def _last(self, excerpt: Excerpt) -> str:
        return f"the last {plural(len(excerpt.passages), 'event')}"

    def _page(self, excerpt: Excerpt) -> Page:
        app = self._app
        types, relation = matrix_of(app)
        return run_page(
            Run(
                title=f"Run of {app.name}",
                lead=f"{self._last(excerpt)} of {app.url.stream}, {plural(app.concurrency, 'handler')} at once",
                spans=excerpt.spans(),
                bounds=excerpt.bounds(),
                concurrency=app.concurrency,
                makespan_s=excerpt.makespan_s,
                violations=None,
                arrived_s=excerpt.arrived_s,
                types=types,
                relation=relation,
            )
        )


def numbered(path: str, share: tuple[int, int]) -> str:
    """The file of one of several processes: ``run.html`` becomes ``run-2.html`` for the second of them."""
    number, of = share
    file = Path(path)
    return path if of == 1 else str(file.with_name(f"{file.stem}-{number + 1}{file.suffix}"))
