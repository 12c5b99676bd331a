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
        self.settled: list[int] = []  # since it was sorted out
        self.touched = False

    def settle(self, position: int) -> None:
        self.settled.append(position)
        self.touched = True

    def sort_out(self) -> int:
        """Move the watermark past what was settled, and put what lies beyond it into `done`; returns the watermark."""
        self.take_admitted()
        settled, watermark = self.settled, self.watermark
        watermark.settle(*settled)
        watermark.pass_by(self.done)
        below = watermark.position
        add = self.done.add
        for position in settled:
            if position >= below:  # most are not: the watermark has passed them
                add(position)
        settled.clear()
        return below

    def take_admitted(self) -> None:
        admitted = self.admitted
        if admitted:
            positions = [admitted.popleft() for _ in range(len(admitted))]
            self.watermark.admit(*positions)
            # After a restart, positions come again that an earlier life had passed: its mark must not go back, for
            # up to it the inbox is asked what has been done already.
            self.admitted_max = max(self.admitted_max, positions[-1])
            self.touched = True
