"""How far one partition has come, as the store's commits know it: what is settled, and what has been taken in."""

from __future__ import annotations

from collections import deque

from commute.core.watermark import Done, Watermark


class Progress:
    """One partition's settled positions, owned by `Store.drain`."""

    __slots__ = ("admitted", "admitted_max", "done", "partition", "settled", "touched", "watermark")

    def __init__(self, partition: int, watermark: int, admitted_max: int, done: Done) -> None:
        self.partition = partition
        self.watermark = Watermark(watermark)
        self.done = done
        self.admitted: deque[int] = deque()  # appended by the loop, taken by drain: positions in log sequence
        self.admitted_max = admitted_max
        self.settled: list[int] = []  # since progress was last written
        self.touched = False

    def settle(self, position: int) -> None:
        if self.admitted:
            self.take_admitted()
        self.watermark.settle(position)
        self.settled.append(position)
        self.touched = True

    def sort_out(self) -> int:
        """Put what was settled beyond the watermark into `done`; returns the watermark."""
        self.watermark.pass_by(self.done)
        below = self.watermark.position
        add = self.done.add
        for position in self.settled:
            if position >= below:  # most are not: the watermark has passed them
                add(position)
        self.settled.clear()
        return below

    def take_admitted(self) -> None:
        admitted = self.admitted
        if admitted:
            watermark = self.watermark
            position = -1
            while admitted:
                position = admitted.popleft()
                watermark.admit(position)
            # After a restart, positions come again that an earlier life had passed: its mark must not go back, for
            # up to it the inbox is asked what has been done already.
            self.admitted_max = max(self.admitted_max, position)
            self.touched = True
