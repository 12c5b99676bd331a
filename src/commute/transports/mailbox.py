"""What other threads leave for a wire's thread, which waits for the network and is rung for it.

Invariants: commands are run in the sequence in which they were left, all of them, the last by `shut`; one ring stands
for all that was left since the thread looked; once shut, nothing more is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

Command = Callable[[], None]


class Mailbox:
    """Closed until `open`. `post` may be called from any thread, `obey` and `shut` from the wire's own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the rest; held for instants
        self._commands: list[Command] = []
        self._rung = False
        self._ring: Callable[[], object] | None = None

    def open(self, ring: Callable[[], object]) -> None:
        """Take commands from now on. `ring` wakes the wire's thread; it must not block."""
        with self._lock:
            self._ring = ring

    def post(self, command: Command) -> bool:
        """Run this on the wire's thread, soon; False if that has not begun, or has ended."""
        with self._lock:
            if self._ring is None:
                return False
            self._commands.append(command)
            if not self._rung:
                self._rung = True
                self._ring()
            return True

    def obey(self) -> None:
        """Run what was left."""
        with self._lock:
            self._rung = False
            commands, self._commands = self._commands, []
        for command in commands:
            command()

    def shut(self) -> None:
        """Take nothing more, and run what was left before."""
        with self._lock:
            self._ring = None
        self.obey()
