"""Real worker processes for the tests that kill them, and a look into the store that they write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

WAIT_S_MAX = 60.0


def environment() -> dict[str, str]:
    """This process's, without what would change an app."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COMMUTE_")}


class Worker:
    """`commute run` in `folder`, one process after the other. What it says goes to ``worker.log`` there."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._command = [sys.executable, "-m", "commute", "run", *arguments, "--limit", "deaths_max=0"]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self.folder / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """SIGKILL: nothing is drained, nothing is said to the broker."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: drains. Fails the test where it does not end well."""
        assert self._end(signal.SIGTERM) == 0, self.said()

    def killed(self) -> None:
        """Wait until it has killed itself. Fails the test where it ends otherwise."""
        process, self._process = self._process, None
        assert process is not None and process.wait(WAIT_S_MAX) == -signal.SIGKILL, self.said()

    def said(self) -> str:
        return (self.folder / "worker.log").read_text()

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(WAIT_S_MAX)


@contextmanager
def working(folder: Path, *arguments: str) -> Iterator[Worker]:
    """A worker that is gone at the end, whatever the test did."""
    worker = Worker(folder, *arguments)
    try:
        yield worker
    finally:
        worker.kill()


def wait_for(true: Callable[[], bool], what: str = "", *, poll_s: float = 0.01) -> None:
    """Until other processes have brought it about; fails the test when it does not come."""
    end_s = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < end_s, what or "it did not come"
        time.sleep(poll_s)


def rows(path: Path, table: str, by: str = "rowid") -> list[tuple[object, ...]]:
    """The rows of a table of the store, in the sequence of their making; none where it is not made yet."""
    if not path.exists():
        return []
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(30_000)  # the file may just be made, or recovered after a kill
    try:
        if not connection.execute("select 1 from sqlite_schema where name = ?", (table,)).fetchall():
            return []
        return list(connection.execute(f"select * from {table} order by {by}").fetchall())
    finally:
        connection.close()
