"""Two accesses of two event types that conflict on some events, and what those events then have in common.

``order/{order_id}`` and ``order/{id}`` overlap for events with order_id = id. So a label that is order_id on one side
and id on the other is the same for both, whatever the events; any other pair of labels may differ. That is decided
here from the templates alone, by congruence of their segments side by side.

Source: most general unification without nesting (Robinson, 1965), as `relation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, product
from typing import NamedTuple, TypeAlias

from commute.core.footprint import compatible
from commute.footprints.template import Field, Segment, Template

Label: TypeAlias = tuple[Segment, ...]  # one value for each event: no field of it leads through a list
_Node: TypeAlias = tuple[int, Segment]  # a segment and its side, 0 or 1; texts are on both: -1

TRANSLATIONS_MAX = 8


class Touch(NamedTuple):
    """What events of a type touch: a mode and a template, the root where nothing more is known.

    With `publishes` the template is of keys in whose log sequence children leave: written, and met by equal keys only.
    """

    mode: str
    template: Template
    publishes: bool = False

    def __str__(self) -> str:
        return str(self.template) or ("computed per event" if self.publishes else "EVERYTHING")

    def may_conflict(self, other: Touch) -> bool:
        """Whether keys that overlap would conflict."""
        if self.publishes != other.publishes:
            return False
        lengths = {len(touch.template.segments) for touch in (self, other)} - {0}
        return not compatible(self.mode, other.mode) and not (self.publishes and len(lengths) > 1)


@dataclass(frozen=True, slots=True)
class Meeting:
    """A touch of each of two types that conflict where `classes` hold: sets of segments with equal text."""

    mine: Touch
    yours: Touch
    classes: tuple[frozenset[_Node], ...]

    def agree(self, mine: Label | None, yours: Label | None) -> bool:
        """Whether two events that conflict here have the same label for certain; None is no label."""
        if mine is None or yours is None or len(mine) != len(yours):
            return False
        return all(map(self._same, mine, yours))

    def translate(self, label: Label) -> Iterator[Label]:
        """The labels of the other side that agree with this one of ours, the first few."""
        yield from islice(product(*map(self._equals, label)), TRANSLATIONS_MAX)

    def _same(self, mine: Segment, yours: Segment) -> bool:
        a, b = _node(0, mine), _node(1, yours)
        if a == b or any(a in known and b in known for known in self.classes):
            return True
        return len(mine) == len(yours) > 1 and all(
            x == y if isinstance(x, str) or isinstance(y, str) else self._same((x,), (y,))
            for x, y in zip(mine, yours, strict=True)
        )

    def _equals(self, mine: Segment) -> list[Segment]:
        node = _node(0, mine)
        known = next((known for known in self.classes if node in known), None)
        if known is not None:
            fields = [part for at, part in known if at == 1 and single(part)]
            return sorted(fields or [part for at, part in known if at == -1], key=repr)
        if len(mine) > 1:
            pieces = [[(piece,)] if isinstance(piece, str) else self._equals((piece,)) for piece in mine]
            return [tuple(piece for part in parts for piece in part) for parts in product(*pieces) if _flat(parts)]
        return [mine] if is_text(mine) else []

    def turned(self) -> Meeting:
        """The same seen from the other side."""
        swap = {0: 1, 1: 0, -1: -1}
        classes = tuple(frozenset((swap[at], part) for at, part in known) for known in self.classes)
        return Meeting(self.yours, self.mine, classes)


def meetings(a: Sequence[Touch], b: Sequence[Touch]) -> list[Meeting]:
    """Every way in which an event of one type conflicts with an event of the other. O(touches squared)."""
    found = []
    for mine, yours in product(a, b):
        if mine.may_conflict(yours):
            classes = _classes(mine.template, yours.template)
            if classes is not None:
                found.append(Meeting(mine, yours, classes))
    return found


def is_text(part: Segment) -> bool:
    """Whether a segment is the same text in every event."""
    return not any(isinstance(piece, Field) for piece in part)


def single(part: Segment) -> bool:
    """Whether a segment has one value in each event: none of its fields leads through a list."""
    return not any(isinstance(piece, Field) and "*" in piece.path for piece in part)


def _flat(parts: Sequence[Segment]) -> bool:
    """Whether the parts make a segment: no two texts side by side."""
    return not any(isinstance(a[-1], str) and isinstance(b[0], str) for a, b in pairwise(parts))


def _node(side: int, part: Segment) -> _Node:
    return (-1 if is_text(part) else side, part)


def _classes(a: Template, b: Template) -> tuple[frozenset[_Node], ...] | None:
    """What has equal text where a key of `a` and a key of `b` overlap; None if they never do."""
    classes: list[frozenset[_Node]] = []
    for left, right in zip(a.segments, b.segments, strict=False):
        if not _may_equal(left, right):
            return None
        for x, y in _equalities(left, right):
            joined = frozenset((_node(0, x), _node(1, y)))
            apart = [known for known in classes if not known & joined]
            classes = [*apart, joined.union(*(known for known in classes if known & joined))]
    if any(sum(at == -1 for at, _ in known) > 1 for known in classes):
        return None  # one field would have to be two texts
    return tuple(known for known in classes if len(known) > 1)


def _equalities(left: Segment, right: Segment) -> Iterator[tuple[Segment, Segment]]:
    """The segments, and their only fields if all else is alike: ``v{a}`` = ``v{b}`` where a = b."""
    yield left, right
    bare = [[piece for piece in part if isinstance(piece, Field)] for part in (left, right)]
    if len(bare[0]) == len(bare[1]) == 1 and len(left) > 1 and _around(left) == _around(right):
        yield (bare[0][0],), (bare[1][0],)


def _around(part: Segment) -> tuple[str, str]:
    """The texts that a segment begins and ends with."""
    first, last = part[0], part[-1]
    return (first if isinstance(first, str) else "", last if isinstance(last, str) else "")


def _may_equal(left: Segment, right: Segment) -> bool:
    if is_text(left) and is_text(right):
        return left == right
    (left_start, left_end), (right_start, right_end) = _around(left), _around(right)
    starts = left_start.startswith(right_start) or right_start.startswith(left_start)
    return starts and (left_end.endswith(right_end) or right_end.endswith(left_end))
