"""Which keys have touched relatives above or below, learnt while running: only these need more than a lane.

Whether a key is ever touched together with keys below it cannot be read off the key. It follows well enough
from the depths that were seen under each first segment: where only ``order/{id}`` occurs, no such key is an
ancestor of another, and nobody pays for ancestors. Depths are never unlearnt: they will come again.

Invariants: a key has a shape if and only if its depth was learnt. A key of the last depth of its family has
nothing below it. First segments that are values instead of words would fill the memory: beyond FAMILIES_MAX
they share one pool of depths, which costs speed where depths differ, never the right answer.

Source: the levels of Gray et al. (1976), found instead of declared.
"""

from __future__ import annotations

from typing import TypeAlias

FAMILIES_MAX = 1_000  # distinct first segments that are told apart

# Of a depth: whether keys there are nodes, and the numbers of segments of their ancestors that are.
Shape: TypeAlias = tuple[bool, tuple[int, ...]]


class Levels:
    """The depths touched under each first segment, with the shape of keys there. Bounded by FAMILIES_MAX."""

    __slots__ = ("families", "pool", "rooted")

    def __init__(self) -> None:
        self.families: dict[str, dict[int, Shape]] = {}  # first segment -> slashes in the key -> shape
        self.pool: dict[int, Shape] = {}  # for all first segments, when there were too many
        self.rooted = False  # whether the root was touched: it lies under the first segment ""

    def learn(self, key: str) -> bool:
        """Take note of `key`'s depth; True if chains that were built before may now be wrong."""
        if not key:
            known, self.rooted = self.rooted, True
            self.families[""] = {0: (True, ())}
            for family in self.families:
                if family:
                    self._reshape(self.families[family])
            self._reshape(self.pool)
            return not known
        family = key.partition("/")[0]
        shapes = self.families.get(family, self.pool)
        depth = key.count("/")
        if depth in shapes:
            return False
        if shapes is self.pool and not self.pool:
            if len(self.families) < FAMILIES_MAX:
                # A family of its own: no older key can be an ancestor or a descendant.
                self.families[family] = {depth: (False, ())}
                self._reshape(self.families[family])
                return False
            for family in [family for family in self.families if family]:
                self.pool.update(self.families.pop(family))
            shapes = self.pool
        shapes[depth] = (False, ())
        self._reshape(shapes)
        return True

    def _reshape(self, shapes: dict[int, Shape]) -> None:
        depths = sorted(shapes)
        roots = (0,) if self.rooted else ()
        for at, depth in enumerate(depths):
            shapes[depth] = (depth != depths[-1], roots + tuple(above + 1 for above in depths[:at]))
