"""What could be changed, and what each change, and each pair of changes, would bring.

Every remedy is an assumption about handlers that the log cannot show: that an object is only read, that what is added
to it is added atomically, that each type of event has columns of its own, that the slow part of a handler needs no
keys, that a part may follow later. Changes interact: what brings nothing alone may bring all beside another one, so
pairs are ranked with the singles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from commute.analysis.chain import longest_chain
from commute.analysis.hubs import GAIN_MIN
from commute.analysis.prediction import LOOKAHEAD, at_best, makespan_s, ratio_of
from commute.analysis.workload import CASE, Workload, family, family_name, written_families
from commute.core.footprint import ADD, READ, WRITE, Access, Footprint
from commute.wording import listed

Kind = Literal["read", "add", "finer", "prepare", "saga"]

FAMILIES_MAX = 5  # that make the chain, and are changed
PAIRS_MAX = 30
SIMULATED_MAX = 12  # the best by their bound, run through the schedule

_FOLLOWS = "#follows"  # no family of a log: its # would be a column
_EFFORT = {"read": 0, "add": 1, "finer": 2, "prepare": 3, "saga": 4}  # of two that bring the same, the easier first


@dataclass(frozen=True, slots=True)
class Change:
    """One change: `name` is a family, or for ``prepare`` a type of events. `share` of the service time that `prepare`
    moves before the keys are needed."""

    kind: Kind
    name: str
    share: float = 0.0

    def __str__(self) -> str:
        name = family_name(self.name)
        return {
            "read": f"read {name} in place of writing it",
            "add": f"add to {name} atomically in place of writing it",
            "finer": f"a finer key of {name}: each type of event writes its own column",
            "prepare": f"{self.name}: do {self.share:.0%} of the work before the keys are needed",
            "saga": f"touch {name} in a follow-up event of its own (saga: others may see one without the other)",
        }[self.kind]


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change, two, or one for each family that makes the chain. `speedup` is predicted by the schedule, `bound`
    holds for any schedule with those workers; `gain` over the log as it is."""

    changes: tuple[Change, ...]
    speedup: float
    bound: float
    gain: float

    def __str__(self) -> str:
        reads = [family_name(change.name) for change in self.changes if change.kind == "read"]
        if len(reads) < 2:
            return "; and ".join(map(str, self.changes))
        rest = [str(change) for change in self.changes if change.kind != "read"]
        return "; and ".join([f"read {listed(reads)} in place of writing them", *rest])


@dataclass(frozen=True, slots=True)
class _Changed:
    workload: Workload
    service_s: Sequence[float]
    prepare_s: Sequence[float] | None


def find_remedies(
    workload: Workload,
    service_s: Sequence[float],
    workers: int,
    *,
    lookahead: int = LOOKAHEAD,
    prepare_share: float = 0.5,
    pairs_max: int = PAIRS_MAX,
    tick: Callable[[int, int], None] | None = None,
) -> list[Remedy]:
    """The remedies that gain something, the best first: singles, pairs, and three or more families of the chain read.

    A pass over the log for each, and one more, through the schedule, for the best `SIMULATED_MAX`. `prepare_share`: the
    part of the service time that needs no keys.
    """
    before = ratio_of(sum(service_s), makespan_s(workload, service_s, workers, lookahead=lookahead))
    singles = [(change,) for change in _candidates(workload, prepare_share)]
    written = written_families(workload.footprints)
    reads = [change for (change,) in singles if change.kind == "read"]  # as they make the chain, one after the other
    bounds: dict[tuple[Change, ...], float] = {}

    def look(changes: tuple[Change, ...], of: int) -> None:
        made = apply(workload, service_s, changes)
        bounds[changes] = at_best(made.workload, made.service_s, workers, made.prepare_s)
        if tick is not None:
            tick(len(bounds), of)

    for one in singles:
        look(one, len(singles) + pairs_max)
    singles.sort(key=lambda one: -bounds[one])
    pairs = [(*a, *b) for a, b in combinations(singles, 2) if _goes_with(a[0], b[0], len(written))][:pairs_max]
    several = [tuple(reads[:end]) for end in range(3, len(reads) + 1) if end < len(written)]
    for more in (*pairs, *several):
        look(more, len(singles) + len(pairs) + len(several))
    ranked = sorted(bounds, key=lambda changes: (-round(bounds[changes], 1), len(changes)))[:SIMULATED_MAX]
    found: list[Remedy] = []
    for changes in ranked:
        made = apply(workload, service_s, changes)
        took_s = makespan_s(made.workload, made.service_s, workers, lookahead=lookahead, prepare_s=made.prepare_s)
        total_s = sum(made.service_s) + sum(made.prepare_s or ())
        speedup = ratio_of(total_s, took_s)
        found.append(Remedy(changes, speedup, bounds[changes], speedup / before))
    found.sort(key=lambda one: (-round(one.speedup, 1), len(one.changes), [_EFFORT[c.kind] for c in one.changes]))
    return [one for one in found if one.gain >= GAIN_MIN and not _idle(one, found)]


def apply(workload: Workload, service_s: Sequence[float], changes: Sequence[Change]) -> _Changed:
    """The log as it would be after the changes. O(accesses)."""
    made = _Changed(workload, service_s, None)
    # Sagas last: they add events, and what they split off is touched as the other changes say.
    for change in sorted(changes, key=lambda one: one.kind == "saga"):
        if change.kind in ("read", "add"):
            mode = READ if change.kind == "read" else ADD
            made = _Changed(made.workload.with_modes({change.name: mode}), made.service_s, made.prepare_s)
        elif change.kind == "finer":
            made = _Changed(_finer(made.workload, change.name), made.service_s, made.prepare_s)
        elif change.kind == "prepare":
            made = _prepare(made, change)
        else:
            made = _saga(made, change.name)
    return made


def _candidates(workload: Workload, prepare_share: float) -> list[Change]:
    """What to try: the families that make the chain, those that make what is left when they are read, and the types
    that occur most often on it."""
    written = written_families(workload.footprints)
    written.pop("", None)
    mixed = {family(k) for footprint in workload.footprints for k, mode in footprint if mode != WRITE}
    chain = longest_chain(workload.footprints)
    names: list[str] = []
    at, left = chain, dict(written)
    while left and len(names) < FAMILIES_MAX:
        name = next((name for name in at.shares() if name in left), None)
        if name is None:
            break
        names.append(name)
        left.pop(name)
        at = longest_chain(workload.with_modes(dict.fromkeys(names, READ)).footprints)
    found: list[Change] = []
    several = len(set(workload.types)) > 1
    for name in names:
        if len(written) > 1 and name != CASE:  # that every event changes its case is what a case log is
            found.append(Change("read", name))
        if name in mixed or len(written) == 1:
            found.append(Change("add", name))
        if several:
            found.append(Change("finer", name))
        if len(written) > 1 and any(len(footprint) > 1 for footprint in workload.footprints):
            found.append(Change("saga", name))
    counts: dict[str, int] = {}
    for member in chain.members:
        counts[workload.types[member]] = counts.get(workload.types[member], 0) + 1
    common = sorted(counts, key=lambda one: -counts[one])[:2]
    return [*found, *(Change("prepare", kind, prepare_share) for kind in common)]


def _goes_with(a: Change, b: Change, written: int) -> bool:
    """Whether the two can be made together: not two ways to touch one family, and not so that nothing is `written`."""
    return a.name != b.name and not (a.kind == b.kind == "read" and written == 2)


def _idle(one: Remedy, others: Sequence[Remedy]) -> bool:
    """Whether a part of the changes brings as much by itself."""
    return any(set(other.changes) < set(one.changes) and GAIN_MIN * other.speedup >= one.speedup for other in others)


def _finer(workload: Workload, name: str) -> Workload:
    number = {kind: at for at, kind in enumerate(dict.fromkeys(workload.types))}

    def finer(kind: str, access: Access) -> Access:
        if family(access.key) != name or access.mode == READ:
            return access
        # A column of its own below the object: reading the whole still meets all columns.
        return Access(f"{access.key}/#{number[kind]}", access.mode)

    footprints: list[Footprint] = [
        tuple(finer(kind, access) for access in footprint)
        for kind, footprint in zip(workload.types, workload.footprints, strict=True)
    ]
    return Workload(workload.types, footprints, workload.service_s)


def _prepare(made: _Changed, change: Change) -> _Changed:
    before = made.prepare_s or [0.0] * len(made.service_s)
    service_s, prepare_s = list(made.service_s), list(before)
    for event, kind in enumerate(made.workload.types):
        if kind == change.name:
            moved_s = service_s[event] * change.share
            service_s[event] -= moved_s
            prepare_s[event] += moved_s
    return _Changed(made.workload, service_s, prepare_s)


def _saga(made: _Changed, name: str) -> _Changed:
    """Each event that touches the family beside others is followed by one of its own, with its part of the time."""
    types: list[str] = []
    footprints: list[Footprint] = []
    service_s: list[float] = []
    prepare_s: list[float] = []
    before = made.prepare_s or [0.0] * len(made.service_s)
    for event, (kind, footprint) in enumerate(zip(made.workload.types, made.workload.footprints, strict=True)):
        kept = tuple(access for access in footprint if family(access.key) != name)
        split = tuple(access for access in footprint if family(access.key) == name) if kept else ()
        part = len(split) / len(footprint) if split else 0.0
        # The follow-up waits for the event that it comes from.
        link = (Access(f"{_FOLLOWS}-{name}/{event}", WRITE),)
        types.append(kind)
        footprints.append((*kept, *link) if split else footprint)
        service_s.append(made.service_s[event] * (1 - part))
        prepare_s.append(before[event])
        if split:
            types.append(f"{kind} ({family_name(name)})")
            footprints.append((*split, *link))
            service_s.append(made.service_s[event] * part)
            prepare_s.append(0.0)
    return _Changed(Workload(types, footprints), service_s, prepare_s if made.prepare_s is not None else None)
