"""Where a group of workers stands in a stream, as `commute groups` and `commute status` show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupState:
    """`watermark` is the group's first unsettled position, `last` the highest position of the stream."""

    stream: str
    group: str
    watermark: int
    last: int

    @property
    def backlog(self) -> int:
        """Events from the watermark on; those that are settled beyond it are counted too."""
        return self.last - self.watermark + 1
