"""Which partition label to give each type of events, so that few that depend on each other are parted.

A label of a type is a family of which each of its events names exactly one object, or one to which all its objects
belong (an order has one customer: a functional dependency seen in the log). Labels are compared by what they cut: edges
between neighbours in the dependence graph whose ends would lie in different partitions. What is cut is not kept in
sequence by partitions; only a choice that cuts nothing is safe.

Source: label choice as a cover problem; Curino et al., "Schism" (2010), also for the fallback: a partition of the
objects themselves, by who is touched together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product, takewhile

from commute.analysis.edges import Edge
from commute.analysis.workload import Workload, family

LABELLINGS_MAX = 20_000  # tried one by one; beyond, type by type from several beginnings
COMPARED_MAX = 200  # labellings of the least cut of which the balance is looked at
_SWEEPS_MAX = 20


@dataclass(frozen=True, slots=True)
class Cut:
    """`edges` of `total` between two types would lie in different partitions."""

    a: str
    b: str
    edges: int
    total: int

    @property
    def between(self) -> str:
        """``two a``, ``a and b``."""
        return f"two {self.a}" if self.a == self.b else f"{self.a} and {self.b}"


@dataclass(frozen=True, slots=True)
class Labelling:
    """`labels`: type -> family, None where no family is a label of it. `cuts`: what is parted, the most first. `cut`
    and `total` edges. `heaviest_share`: the part of the labelled events that the most common label has."""

    labels: Mapping[str, str | None]
    cuts: tuple[Cut, ...]
    cut: int
    total: int
    heaviest_share: float
    exact: bool  # every labelling was looked at

    @property
    def safe(self) -> bool:
        return not self.cut


@dataclass(frozen=True, slots=True)
class Labels:
    """The best labelling, and for each family what it cuts to go by it alone."""

    best: Labelling
    alone: tuple[tuple[str, Labelling], ...]


def find_labels(workload: Workload, found: Iterable[Edge]) -> Labels:
    """The labelling that cuts least, the better balanced one among equals. O(accesses * families), and for the search
    O(types squared) a labelling, at most `LABELLINGS_MAX`."""
    graph = _Graph(workload, found)
    choices: list[list[str | None]] = [[*graph.candidates[kind]] or [None] for kind in graph.types]
    size = 1
    for options in choices:
        size *= len(options)
    exact = size <= LABELLINGS_MAX
    tried: Iterable[tuple[str | None, ...]] = product(*choices) if exact else _ascend(graph, choices)
    ranked = sorted(tried, key=graph.cut)
    least = graph.cut(ranked[0]) if ranked else 0
    near = list(islice(takewhile(lambda one: graph.cut(one) == least, ranked), COMPARED_MAX))
    best = min(near, key=lambda one: (graph.heaviest(one), [name or "" for name in one]), default=())
    families = sorted({name for options in graph.candidates.values() for name in options})
    alone = [
        (
            name,
            graph.labelling(
                tuple(name if name in graph.candidates[kind] else None for kind in graph.types), exact=True
            ),
        )
        for name in families
    ]
    alone.sort(key=lambda pair: (pair[1].cut, pair[1].heaviest_share))
    return Labels(graph.labelling(best, exact=exact), tuple(alone))


class _Graph:
    """Edges between types, counted by the families under which both ends have one and the same object."""

    def __init__(self, workload: Workload, found: Iterable[Edge]) -> None:
        self.types = sorted(set(workload.types))
        values = _values(workload)
        self.candidates: dict[str, list[str]] = {kind: [] for kind in self.types}
        for name, per_event in values.items():
            lacking = {kind for kind, value in zip(workload.types, per_event, strict=True) if value is None}
            for kind in self.types:
                if kind not in lacking:
                    self.candidates[kind].append(name)
        self.total: dict[tuple[str, str], int] = {}
        self.kept: dict[tuple[str, str, str], int] = {}
        for earlier, later, _ in found:
            pair = (workload.types[earlier], workload.types[later])
            self.total[pair] = self.total.get(pair, 0) + 1
            for name in self.candidates[pair[0]]:
                if name in self.candidates[pair[1]] and values[name][earlier] == values[name][later]:
                    self.kept[(*pair, name)] = self.kept.get((*pair, name), 0) + 1
        self.edges = sum(self.total.values())
        self._weights: dict[tuple[str, str], dict[str, int]] = {}
        for name, per_event in values.items():
            for kind, value in zip(workload.types, per_event, strict=True):
                if value is not None:
                    counts = self._weights.setdefault((kind, name), {})
                    counts[value] = counts.get(value, 0) + 1

    def cut(self, labels: Sequence[str | None]) -> int:
        """How many edges a labelling parts; without labels an event may lie anywhere, so all its edges count."""
        by_type = dict(zip(self.types, labels, strict=True))
        return sum(number for _, number in self._parted(by_type))

    def _parted(self, labels: Mapping[str, str | None]) -> Iterator[tuple[tuple[str, str], int]]:
        for (a, b), number in self.total.items():
            name = labels[a]
            kept = self.kept.get((a, b, name), 0) if name is not None and labels[b] == name else 0
            if number > kept:
                yield (a, b), number - kept

    def heaviest(self, labels: Sequence[str | None]) -> float:
        """The part of the labelled events that have the most common label."""
        counts: dict[str, int] = {}
        for kind, name in zip(self.types, labels, strict=True):
            for value, number in self._weights.get((kind, name), {}).items() if name is not None else ():
                counts[value] = counts.get(value, 0) + number
        return max(counts.values()) / sum(counts.values()) if counts else 0.0

    def labelling(self, labels: Sequence[str | None], *, exact: bool) -> Labelling:
        by_type = dict(zip(self.types, labels, strict=True))
        cuts: dict[tuple[str, str], tuple[int, int]] = {}
        for (a, b), number in self._parted(by_type):
            pair = (min(a, b), max(a, b))
            before = cuts.get(pair, (0, 0))
            cuts[pair] = (before[0] + number, before[1] + self.total[a, b])
        parted = tuple(sorted((Cut(a, b, *numbers) for (a, b), numbers in cuts.items()), key=lambda one: -one.edges))
        return Labelling(by_type, parted, sum(one.edges for one in parted), self.edges, self.heaviest(labels), exact)


def _values(workload: Workload) -> dict[str, list[str | None]]:
    """family -> for each event the one object of that family that it names or that all its objects belong to."""
    named: list[dict[str, set[str]]] = []
    for footprint in workload.footprints:
        objects: dict[str, set[str]] = {}
        for key, _ in footprint:
            if "/" in key:
                objects.setdefault(family(key), set()).add("/".join(key.split("/", 2)[:2]))
        named.append(objects)
    owners = _owners(named)
    found: dict[str, list[str | None]] = {}
    for name in sorted({name for objects in named for name in objects}):
        inherits = [(child, known) for (child, parent), known in owners.items() if parent == name]
        values: list[str | None] = []
        for objects in named:
            own = objects.get(name)
            if own is None:
                own = {known.get(one, "") for child, known in inherits for one in objects.get(child, ())}
            values.append(next(iter(own)) if len(own) == 1 and "" not in own else None)
        found[name] = values
    return found


def _owners(named: Sequence[Mapping[str, set[str]]]) -> dict[tuple[str, str], dict[str, str]]:
    """(child, parent) -> the one object of the parent with which each object of the child was ever seen."""
    owners: dict[tuple[str, str], dict[str, str]] = {}
    broken: set[tuple[str, str]] = set()
    for objects in named:
        for parent, ones in objects.items():
            for child, others in objects.items():
                pair = (child, parent)
                if child == parent or pair in broken:
                    continue
                known = owners.setdefault(pair, {})
                one = next(iter(ones))
                if len(ones) > 1 or any(known.setdefault(other, one) != one for other in others):
                    broken.add(pair)
    return {
        pair: known for pair, known in owners.items() if pair not in broken and len(set(known.values())) < len(known)
    }


def _ascend(graph: _Graph, choices: Sequence[Sequence[str | None]]) -> list[tuple[str | None, ...]]:
    """Labellings that no change of one type betters, from one beginning a family."""
    families = sorted({name for options in choices for name in options if name is not None})
    found: list[tuple[str | None, ...]] = []
    for name in families:
        labels = [name if name in options else options[0] for options in choices]
        for _ in range(_SWEEPS_MAX):
            before = list(labels)
            for at, options in enumerate(choices):
                labels[at] = min(options, key=lambda one: graph.cut([*labels[:at], one, *labels[at + 1 :]]))
            if labels == before:
                break
        found.append(tuple(labels))
    return found
