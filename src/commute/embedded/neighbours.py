"""Room for the other processes that write the same file: a busy writer sees that somebody waits, and
pauses.

SQLite's write lock has no queue: a process that begins its next transaction at once after a commit keeps
all others out for as long as it is busy. So a waiting process holds a shared ``flock(2)`` on the side file
``FILE-writers``; after a commit the busy one tries an exclusive lock there, which fails exactly while
somebody waits, and then stays away from the database until the waiting ones have been served.

Invariants: the exclusive lock is only ever tried, and held for an instant; nobody blocks on the side file.
"""

from __future__ import annotations

import fcntl
import os
import time

_LOOK_S = 0.0005
_GAP_S_MAX = 0.010  # a waiting process tries several times within it
_FRUITLESS_S = 0.100  # after a gap that nobody used (a stopped process waits), none is left for so long


class Neighbours:
    """The side file of one database, as one process sees it. Used by the writer's thread alone."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(f"{path}-writers", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._wait_for_none_until_s = 0.0

    def stand_in_line(self) -> None:
        """Show the others that this process waits; tried again at each attempt, so a miss does not matter."""
        self._try(fcntl.LOCK_SH)

    def leave_line(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def somebody_waits(self) -> bool:
        """Whether another process waits for the write lock. Two system calls."""
        if time.monotonic() < self._wait_for_none_until_s:
            return False
        if not self._try(fcntl.LOCK_EX):
            return True
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return False

    def leave_gap(self) -> None:
        """Return when nobody waits any more, or when the longest gap is over. Holds no lock on the
        database."""
        until_s = time.monotonic() + _GAP_S_MAX
        while time.monotonic() < until_s:
            time.sleep(_LOOK_S)
            if not self.somebody_waits():
                return
        self._wait_for_none_until_s = time.monotonic() + _FRUITLESS_S

    def close(self) -> None:
        os.close(self._fd)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
