"""Which pairs of events the two-order test tries: of each two types those that meet in other ways, then near ones.

What a footprint leaves out is some field's object: a lost update shows only if both events name the same till. In few
made-up values neighbours agree in a given field now and then only, so pairs are told apart by their *pattern*, the
fields in which they agree, and each new pair is the one that shows most that has not been seen:

    a field that is the same         also one that no footprint uses, since that may be the fault
    a pattern of the used fields     the same order and another customer; both the same; …
    a pattern of all fields

Invariant: chosen pairs are independent by their footprints, and of each two types no more than asked for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from commute.core.footprint import Footprint, conflicts

FIELDS_MAX = 64  # of one event: a long payload has no more of them that are told apart

_Pattern = frozenset[str]
_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An event: its type, ``""`` for one that is not tried, its footprint, and the values of each field, by path."""

    type: str
    footprint: Footprint
    fields: Mapping[str, frozenset[str]]


def field_values(data: bytes) -> dict[str, frozenset[str]]:
    """The values in a JSON document by the path of their field, ``lines.*.sku`` for those in a list."""
    found: dict[str, set[str]] = {}
    for path, value in _leaves(json.loads(data), ""):
        if path in found or len(found) < FIELDS_MAX:
            found.setdefault(path, set()).add(value)
    return {path: frozenset(values) for path, values in found.items()}


def choose(events: Sequence[Candidate], used: Collection[str], pairs_max: int) -> list[_Pair]:
    """Independent pairs in log sequence, at most `pairs_max` of each two types, which are told apart by which of them
    comes first. `used`: the fields that footprints use.

    O(events²), and O(patterns · pairs_max) for each two types.
    """
    near: dict[tuple[str, str], dict[_Pattern, list[_Pair]]] = {}
    for a, b in sorted(combinations(range(len(events)), 2), key=lambda pair: (pair[1] - pair[0], pair)):
        one, other = events[a], events[b]
        if not one.type or not other.type:
            continue
        kept = near.setdefault((one.type, other.type), {}).setdefault(_pattern(one, other), [])
        if len(kept) < pairs_max and not conflicts(one.footprint, other.footprint):
            kept.append((a, b))
    fields = frozenset(used)
    return [pair for patterns in near.values() for pair in _most_different(patterns, fields, pairs_max)]


def side_by_side(events: Sequence[Footprint]) -> Iterator[tuple[list[int], int, int]]:
    """All pairs that a schedule may run at once, nearest first: ``(what is run before them, a, b)``, in log sequence.

    Two may if neither waits for the other, be it by way of events between them. Before them comes what precedes the
    later one and does not wait for the earlier one: by the footprints a worker may have come to that point.
    O(events²) comparisons.
    """
    waiting: list[set[int]] = []  # for each event those before it that it waits for, directly or not
    for at, footprint in enumerate(events):
        direct = [earlier for earlier in range(at) if conflicts(events[earlier], footprint)]
        waiting.append(set(direct).union(*(waiting[earlier] for earlier in direct)))
    for a, b in sorted(combinations(range(len(events)), 2), key=lambda pair: (pair[1] - pair[0], pair)):
        if a not in waiting[b]:
            yield [at for at in range(b) if at != a and a not in waiting[at]], a, b


def _pattern(a: Candidate, b: Candidate) -> _Pattern:
    """The fields in which two events agree; of lists, in some element."""
    return frozenset(path for path, values in a.fields.items() if not values.isdisjoint(b.fields.get(path, ())))


def _most_different(patterns: Mapping[_Pattern, list[_Pair]], used: _Pattern, pairs_max: int) -> Iterator[_Pair]:
    """Up to so many pairs, each the one that shows most that those before it have not; nearest ones where equal."""
    left = {pattern: list(pairs) for pattern, pairs in patterns.items() if pairs}
    fields: set[str] = set()
    of_used: set[_Pattern] = set()
    seen: set[_Pattern] = set()

    def shows(pattern: _Pattern) -> tuple[int, bool, bool, int]:
        a, b = left[pattern][0]
        return len(pattern - fields), pattern & used not in of_used, pattern not in seen, a - b

    for _ in range(pairs_max):
        if not left:
            return
        best = max(left, key=shows)
        yield left[best].pop(0)
        if not left[best]:
            del left[best]
        fields |= best
        of_used.add(best & used)
        seen.add(best)


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, held in value.items():
            yield from _leaves(held, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for held in value:
            yield from _leaves(held, f"{path}.*" if path else "*")
    else:
        yield path, json.dumps(value)
