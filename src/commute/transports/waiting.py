"""How much a client holds that is not confirmed yet, bounded. What alone is more than the bound is let in by itself."""

from __future__ import annotations

import threading


class Waiting:
    """Thread-safe counts of messages and their bytes."""

    def __init__(self, messages_max: int, bytes_max: float) -> None:
        self.messages = 0
        self._bytes = 0
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()

    def enter(self, messages: int, size_bytes: int) -> bool:
        """Count them in, if they fit; they `leave` when they are confirmed or have failed."""
        with self._lock:
            more, size = self.messages + messages, self._bytes + size_bytes
            if self.messages and (more > self._messages_max or size > self._bytes_max):
                return False
            self.messages, self._bytes = more, size
            return True

    def leave(self, messages: int, size_bytes: int) -> None:
        with self._lock:
            self.messages -= messages
            self._bytes -= size_bytes
