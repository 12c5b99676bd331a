"""What may start, in log sequence: jobs that became ready at admission, and jobs that others have released.

Admission makes jobs ready in ascending sequence, so those need no heap; what is released later goes into one. Taking
the smaller head of the two is O(1) for a run without conflicts and O(log n) otherwise, and gives log sequence in all:
the next link of a long chain starts before newer events, which is what keeps the makespan near its bound.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from commute.runtime.entry import Job


class Ready:
    """A queue of jobs, smallest sequence first. Bounded by the descriptors of the engine."""

    __slots__ = ("_fresh", "_released")

    def __init__(self) -> None:
        self._fresh: deque[Job] = deque()
        self._released: list[Job] = []

    def push(self, job: Job) -> None:
        """O(1) if it is the newest so far, else O(log n)."""
        fresh = self._fresh
        if not fresh or fresh[-1].seq < job.seq:
            fresh.append(job)
        else:
            heappush(self._released, job)

    def release(self, job: Job) -> None:
        """A job that waited: O(log n)."""
        heappush(self._released, job)

    def pop(self) -> Job | None:
        """The first job, or None."""
        released, fresh = self._released, self._fresh
        if released and (not fresh or released[0] < fresh[0]):
            return heappop(released)
        return fresh.popleft() if fresh else None

    def take_all(self) -> list[Job]:
        """Everything, in sequence; the queue is empty afterwards."""
        jobs = sorted([*self._fresh, *self._released])
        self._fresh.clear()
        self._released.clear()
        return jobs

    def __len__(self) -> int:
        return len(self._fresh) + len(self._released)
