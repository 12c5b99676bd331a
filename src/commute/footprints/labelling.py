"""One label for each event type, such that events which conflict have equal labels, if there is such a choice.

A label of a type has to be seen in every access by which its events conflict; so the candidates come from single
accesses, and what one type chooses decides most for those that it meets. Types that meet, directly or through others,
are searched together: exactly, by backtracking, up to `STEPS_MAX`; where nothing fits, the choice is improved type by
type until fewest meetings disagree. The finest label that fits is taken: it spreads the load best.

Invariant: the result depends on the declarations and their sequence alone. Source: label choice as a cover problem;
Curino et al., "Schism" (2010).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, islice
from typing import TypeAlias

from commute.footprints.meeting import Label, Meeting, is_text, single
from commute.footprints.template import Field, Segment

STEPS_MAX = 20_000  # labels tried
CANDIDATES_MAX = 64  # of one type
_SWEEPS_MAX = 8

Links: TypeAlias = Mapping[tuple[str, str], Sequence[Meeting]]  # of each pair of types that meet, both ways round
Labels: TypeAlias = dict[str, Label | None]


def choose(types: Sequence[str], links: Links, fixed: Mapping[str, Label]) -> Labels:
    """A label for each of `types`, None where none is of use; those in `fixed` are given. About 0.3 s for 50 types."""
    candidates = _candidates(types, links, fixed)
    labels: Labels = {type_: fixed.get(type_) for type_ in types}
    for component in _components(types, links):
        labels |= _search(component, links, candidates) or _fewest(component, links, candidates)
    return labels


def disagreements(a: str, b: str, labels: Labels, links: Links) -> list[Meeting]:
    """The meetings of two types in which events with different labels may conflict."""
    return [meeting for meeting in links.get((a, b), ()) if not meeting.agree(labels[a], labels[b])]


def _components(types: Sequence[str], links: Links) -> Iterator[list[str]]:
    """The types that meet any, in groups that meet no other; each type after one that it meets."""
    near: dict[str, list[str]] = {}
    for a, b in links:
        near.setdefault(a, []).append(b)
    seen: set[str] = set()
    for first in types:
        if first in near and first not in seen:
            found = [first]
            seen.add(first)
            for known in found:  # grows while it is walked
                fresh = [other for other in near[known] if other not in seen]
                seen.update(fresh)
                found += fresh
            yield found


def _search(component: Sequence[str], links: Links, candidates: Mapping[str, Sequence[Label]]) -> Labels | None:
    """Labels under which no meeting disagrees; None if there are none, or none was found in `STEPS_MAX`."""
    viable = {a: [one for one in candidates[a] if _viable(one, links.get((a, a), ()))] for a in component}
    if not all(viable.values()):
        return None
    chosen: Labels = {}
    untried = [iter(viable[component[0]])]
    for _ in range(STEPS_MAX):
        type_ = component[len(untried) - 1]
        chosen[type_] = next(untried[-1], None)
        if chosen[type_] is None:
            untried.pop()
            if not untried:
                return None
        elif not any(disagreements(type_, other, chosen, links) for other in component[: len(untried)]):
            if len(untried) == len(component):
                return chosen
            untried.append(iter(viable[component[len(untried)]]))
    return None


def _fewest(component: Sequence[str], links: Links, candidates: Mapping[str, Sequence[Label]]) -> Labels:
    """Labels under which few meetings disagree: each type in turn takes what is best beside the others."""
    labels: Labels = {}
    for _ in range(_SWEEPS_MAX):
        before = dict(labels)
        for type_ in component:

            def cost(label: Label, type_: str = type_) -> int:
                trial = {**labels, type_: label}
                return sum(len(disagreements(type_, other, trial, links)) for other in trial)

            labels[type_] = min(candidates[type_], key=cost, default=None)
        if labels == before:
            break
    return labels


def _candidates(types: Sequence[str], links: Links, fixed: Mapping[str, Label]) -> dict[str, list[Label]]:
    """The labels worth trying, finest first: of each type's own accesses, and what others' labels mean to it."""
    found: dict[str, dict[Label, None]] = {}
    constant: dict[str, bool] = {}
    for type_ in types:
        paths = [meeting.mine.template.segments for (a, _), many in links.items() if a == type_ for meeting in many]
        constant[type_] = all(path and all(map(is_text, path)) for path in paths)
        own = chain.from_iterable(_subsets(_atoms(path, constant=constant[type_])) for path in dict.fromkeys(paths))
        found[type_] = dict.fromkeys([fixed[type_]] if type_ in fixed else islice(own, CANDIDATES_MAX))
    grew = True
    while grew:
        grew = False
        for (a, b), many in links.items():
            for label in [label for label in found[a] if _viable(label, links.get((a, a), ()))]:
                for other in chain.from_iterable(meeting.translate(label) for meeting in many):
                    fits = constant[b] or not all(map(is_text, other))
                    if fits and b not in fixed and other not in found[b] and len(found[b]) < CANDIDATES_MAX:
                        found[b][other] = None
                        grew = True
    return {type_: sorted(labels, key=_coarseness) for type_, labels in found.items()}


def _viable(label: Label, own: Sequence[Meeting]) -> bool:
    return all(meeting.agree(label, label) for meeting in own)


def _coarseness(label: Label) -> tuple[int, int]:
    """First what tells most fields apart, of these what is shortest to write; of texts the longest."""
    pieces = [piece for part in label for piece in part]
    fields = len({piece for piece in pieces if isinstance(piece, Field)})
    return -fields, len(pieces) if fields else -len(pieces)


def _atoms(path: Sequence[Segment], *, constant: bool) -> list[Segment]:
    """What a label may be made of: segments with one value, and a field that stands in one beside text.

    Texts only where a type has nothing else: events that differ in nothing belong on one partition.
    """
    atoms: dict[Segment, None] = {}
    for part in path:
        if is_text(part) == constant and single(part):
            atoms[part] = None
            fields = [piece for piece in part if isinstance(piece, Field)]
            if len(fields) == 1:
                atoms[fields[0],] = None
    return list(atoms)


def _subsets(atoms: Sequence[Segment]) -> Iterator[Label]:
    """All of them, each one alone, then what lies between."""
    sizes = dict.fromkeys([len(atoms), 1, *range(2, len(atoms))]) if atoms else {}
    return chain.from_iterable(combinations(atoms, size) for size in sizes)
