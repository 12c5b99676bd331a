"""How two types of events are related in a log: never dependent, always, or when which objects are the same.

*Never* is exact for this log, and holds for no other: a log can rule independence out and cannot prove it. How often
two events of two types depend is counted over pairs of events spread evenly over the log, since all pairs are too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from commute.analysis.edges import Edge
from commute.analysis.workload import Workload, family, family_name, is_deep
from commute.core.footprint import Footprint, compatible
from commute.core.history import ancestors, rivals

Kind = Literal["never", "when", "always"]

SAMPLE_EVENTS = 5_000


@dataclass(frozen=True, slots=True)
class Condition:
    """`pairs` of the pairs compared depend because they touch the same object of this family."""

    family: str
    pairs: int


@dataclass(frozen=True, slots=True)
class Related:
    """Two types, `a` first in the alphabet. Of `pairs` pairs compared, `dependent` depend. `waits`: so often, in the
    whole log, an event of one type directly followed one of the other on an object that both touch."""

    a: str
    b: str
    kind: Kind
    conditions: tuple[Condition, ...]
    pairs: int
    dependent: int
    waits: int

    @property
    def share(self) -> float:
        """The part of the pairs that depend, 0 to 1."""
        return self.dependent / self.pairs if self.pairs else 0.0

    @property
    def symbol(self) -> Literal[".", "=", "!"]:
        """For matrices: ``.`` never, ``=`` when an object is the same, ``!`` always."""
        return "." if self.kind == "never" else "!" if self.kind == "always" else "="

    def __str__(self) -> str:
        """``never``, ``always``, or ``when order is the same, or item is``."""
        if self.kind != "when":
            return self.kind
        names = [family_name(one.family) for one in self.conditions]
        return f"when {' or '.join(names)} is the same"


def relations(workload: Workload, waits: Iterable[Edge], *, sample_events: int = SAMPLE_EVENTS) -> list[Related]:
    """Every pair of types that occur, in the alphabet's sequence; of one type, pairs of two of its events.

    O(accesses + keys * types at a key squared), and for the sample O(sample squared / 64 * types).
    """
    names = sorted(set(workload.types))
    met = _met(workload)
    counted: dict[tuple[str, str], int] = {}
    for earlier, later, _ in waits:
        pair = _pair(workload.types[earlier], workload.types[later])
        counted[pair] = counted.get(pair, 0) + 1
    sample = _Sample(workload, sample_events)
    sample.count()
    found: list[Related] = []
    for at, a in enumerate(names):
        for b in names[at:]:
            by_family = met.get((a, b), set())
            seen = sample.by_family.get((a, b), {})
            ranked = sorted(by_family, key=lambda one: (-seen.get(one, 0), one))
            pairs, dependent = sample.pairs(a, b), sample.dependent.get((a, b), 0)
            kind: Kind = "never" if not by_family else "always" if pairs > 1 and dependent == pairs else "when"
            conditions = tuple(Condition(one, seen.get(one, 0)) for one in ranked)
            found.append(Related(a, b, kind, conditions, pairs, dependent, counted.get((a, b), 0)))
    return found


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a <= b else (b, a)


def _met(workload: Workload) -> dict[tuple[str, str], set[str]]:
    """The pairs of types of which two events conflict anywhere in the log, with the families of the keys."""
    direct: dict[str, dict[tuple[str, str], tuple[int, ...]]] = {}  # key -> (type, mode) -> events, up to two
    for event, (kind, footprint) in enumerate(zip(workload.types, workload.footprints, strict=True)):
        for key, mode in footprint:
            at = direct.setdefault(key, {})
            at[kind, mode] = (*at.get((kind, mode), ())[:1], event)
    found: dict[tuple[str, str], set[str]] = {}
    deep = is_deep(workload.footprints)
    for key, here in direct.items():
        name = family(key)
        for one, events in here.items():
            for other in here:
                if not compatible(one[1], other[1]) and (one != other or len(events) > 1):
                    found.setdefault(_pair(one[0], other[0]), set()).add(name)
            for above in ancestors(key) if deep else ():
                for other, others in direct.get(above, {}).items():
                    if not compatible(one[1], other[1]) and len({*events, *others}) > 1:
                        found.setdefault(_pair(one[0], other[0]), set()).add(name)
    return found


class _Sample:
    """Pairs of sampled events, counted by sets of bits: bit n stands for the nth event of the sample."""

    def __init__(self, workload: Workload, events_max: int) -> None:
        step = max(1, -(-workload.events // events_max))
        chosen = range(0, workload.events, step)
        self._types = [workload.types[event] for event in chosen]
        self._footprints: Sequence[Footprint] = [workload.footprints[event] for event in chosen]
        self._number = {name: self._types.count(name) for name in set(self._types)}
        self.dependent: dict[tuple[str, str], int] = {}
        self.by_family: dict[tuple[str, str], dict[str, int]] = {}

    def pairs(self, a: str, b: str) -> int:
        """How many pairs of events of two types were compared."""
        n = self._number.get(a, 0)
        return n * (n - 1) // 2 if a == b else n * self._number.get(b, 0)

    def count(self) -> None:
        direct: dict[str, dict[str, int]] = {}  # key -> mode -> the events before
        below: dict[str, dict[str, int]] = {}
        of_type: dict[str, int] = {}
        deep = is_deep(self._footprints)
        for at, (kind, footprint) in enumerate(zip(self._types, self._footprints, strict=True)):
            families: dict[str, int] = {}
            for key, mode in footprint:
                bits = 0
                for _, events in rivals(direct, below, key, mode, deep=deep):
                    bits |= events
                families[family(key)] = families.get(family(key), 0) | bits
            self._add(kind, families, of_type)
            bit = 1 << at
            for key, mode in footprint:
                here = direct.setdefault(key, {})
                here[mode] = here.get(mode, 0) | bit
                for above in ancestors(key) if deep else ():
                    under = below.setdefault(above, {})
                    under[mode] = under.get(mode, 0) | bit
            of_type[kind] = of_type.get(kind, 0) | bit

    def _add(self, kind: str, families: Mapping[str, int], of_type: Mapping[str, int]) -> None:
        every = 0
        for bits in families.values():
            every |= bits
        for pair, number in _split(kind, every, of_type):
            self.dependent[pair] = self.dependent.get(pair, 0) + number
        for name, bits in families.items():
            for pair, number in _split(kind, bits, of_type):
                counts = self.by_family.setdefault(pair, {})
                counts[name] = counts.get(name, 0) + number


def _split(kind: str, bits: int, of_type: Mapping[str, int]) -> Iterator[tuple[tuple[str, str], int]]:
    if bits:
        for other, events in of_type.items():
            if common := (bits & events).bit_count():
                yield _pair(kind, other), common
