"""What an event touches, and whether two events must keep their sequence.

A footprint is a tuple of accesses; an access is a key and a mode. A key is a path of percent-encoded segments
joined by ``/``; the access covers the whole subtree below it. The empty key is the root: writing it is EVERYTHING,
the footprint of which nothing is known. Modes: ``read``, ``write``, or the name of a commutative class (``add`` is
built in, applications name others).

Source: Bernstein, "Analysis of Programs for Parallel Processing", IEEE Trans. EC-15 (1966), generalised from
read/write sets to trees and commutative classes. Conflict is symmetric and **not transitive**: a graph, never a
shard key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

READ = "read"
WRITE = "write"
ADD = "add"


class Access(NamedTuple):
    """One key and how it is touched. ``key`` has no trailing ``/*``: `normalise` removes it."""

    key: str
    mode: str


Footprint: TypeAlias = tuple[Access, ...]  # Invariant: keys are distinct (see `normalise`)

EVERYTHING: Footprint = (Access("", WRITE),)


def overlap(a: str, b: str) -> bool:
    """Whether one key is the other or lies below it: ``order`` and ``order/42``, not ``order/4`` and ``order/42``."""
    if len(a) > len(b):
        a, b = b, a
    return b.startswith(a) and (len(a) == len(b) or not a or b[len(a)] == "/")


def compatible(a: str, b: str) -> bool:
    """Whether two modes on overlapping keys may run in either sequence: equal, and not ``write``."""
    return a == b and a != WRITE


def conflicts(a: Footprint, b: Footprint) -> bool:
    """Whether `a` and `b` must keep their log sequence. Symmetric. O(len(a) * len(b)): the oracle, not the schedule."""
    return any(overlap(x.key, y.key) and not compatible(x.mode, y.mode) for x in a for y in b)


def conflicting(a: Footprint, b: Footprint) -> list[tuple[Access, Access]]:
    """Every pair of accesses, one of each, that makes `a` and `b` dependent; empty when they are independent."""
    return [(x, y) for x in a for y in b if overlap(x.key, y.key) and not compatible(x.mode, y.mode)]


def join(a: str, b: str) -> str:
    """The mode of one event that touches one key in both modes: the same, else ``write``."""
    return a if a == b else WRITE


def normalise(accesses: Iterable[tuple[str, str]]) -> Footprint:
    """The accesses with ``/*`` taken off and modes of equal keys joined, in order of first appearance. O(n)."""
    modes: dict[str, str] = {}
    for key, mode in accesses:
        path = "" if key == "*" else key.removesuffix("/*")
        known = modes.get(path)
        modes[path] = mode if known is None else join(known, mode)
    return tuple(Access(key, mode) for key, mode in modes.items())
