"""One partition of a Kafka topic while it is ours: what came from it, and up to where it may be forgotten.

Kafka forgets by a single number for each partition, so an acknowledgement counts only once all that came before it is
acknowledged too. "Before" is what came, not the offset less one: transaction markers and compaction leave legal gaps.

Invariants: `watermark` never passes an arrival that is not acknowledged; a place that was dropped never moves again,
whatever is still acknowledged of it. The object itself is the epoch: a partition that is lost and comes back has a new
one. Nothing here knows a client, and nothing is thread-safe: one thread owns it.
"""

from __future__ import annotations

from collections import deque

UNKNOWN = -1


class Place:
    """A partition between its assignment and its end. `watermark`: the offset to commit, UNKNOWN for none yet."""

    __slots__ = ("_done", "_out", "committed", "last", "live", "partition", "watermark")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.live = True
        self.last = UNKNOWN  # the highest offset that came
        self.watermark = UNKNOWN
        self.committed = UNKNOWN  # what was sent to the broker and not refused
        self._out: deque[int] = deque()  # what came and is not below the watermark, in the sequence of arrival
        self._done: set[int] = set()  # of those, acknowledged behind one that is not

    @property
    def unacked(self) -> int:
        """Arrivals that are not acknowledged."""
        return len(self._out) - len(self._done)

    @property
    def owed(self) -> bool:
        """Whether the broker is still to be told."""
        return self.watermark not in (UNKNOWN, self.committed)

    def came(self, offset: int) -> None:
        """An arrival, above all before it."""
        self.last = offset
        self._out.append(offset)

    def ack(self, offset: int) -> bool:
        """Whether this arrival is acknowledged now and was not before; False for a place that was dropped."""
        if not self.live or offset < self.watermark or offset in self._done:
            return False
        out = self._out
        if out and out[0] == offset:
            out.popleft()
            self.watermark = offset + 1
            while out and out[0] in self._done:
                self._done.remove(out[0])
                self.watermark = out.popleft() + 1
        else:
            self._done.add(offset)
        return True

    def drop(self) -> int:
        """It is ours no longer; how many arrivals nobody acknowledged."""
        unacked, self.live = self.unacked, False
        self._out.clear()
        self._done.clear()
        return unacked
