"""From what a handler was seen to touch to a declaration that covers it: ``writes="order/{order_id}"``.

    accesses of one mode, family and depth ─▶ the template that spells most of them from their own events ─▶ the next …
                                            └▶ what no few templates spell: the part that is the same in all of them

Invariant: what is proposed covers all that was seen. It says nothing of what was not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, product
from typing import Protocol

from commute.core.footprint import ADD, READ, WRITE, Access
from commute.derive.python.state import STATE
from commute.derive.routing import APART, NEW
from commute.errors import CommuteError
from commute.footprints.template import Site, Template, check, keys, parse
from commute.footprints.vocabulary import family
from commute.observe.declaration import JOINT, spelled_leaves
from commute.observe.running import Place

TEMPLATES_MAX = 4  # for the accesses of one mode, family and depth; what they leave is the whole family
CANDIDATES_MAX = 64  # of one access
PIECES_MAX = 6  # of one segment

Seen = tuple[int, tuple[str, ...]]  # which attempt, and the segments of a key
Proposal = tuple[str, str]  # mode, and template


class Attempt(Protocol):
    """One run of a handler, or a part of it: its event, and what it has touched."""

    @property
    def event(self) -> object: ...

    @property
    def seen(self) -> Mapping[Access, Place | None]: ...


def place_of(key: str) -> tuple[str, ...]:
    """The table of a key; a container of the program is a family by itself, and so are unique values of a table."""
    first, second = tuple([*key.split("/"), ""][:2])
    alone = first == STATE or (second.startswith(APART) and second != NEW)
    return (first, second) if alone else (first,)


def proposed(attempts: Sequence[Attempt], cls: type | None) -> list[Proposal] | None:
    """The declarations that cover what these attempts of one handler have touched; None where that may be anything.
    `cls` is the event's class.

    O(accesses * fields that fit).
    """
    groups: dict[tuple[str, tuple[str, ...], int], list[Seen]] = {}
    places = {place_of(access.key) for attempt in attempts for access in attempt.seen}
    apart = {place[0] for place in places if len(place) > 1}  # whose new rows need not meet every row
    for number, attempt in enumerate(attempts):
        for access in attempt.seen:
            segments = tuple(access.key.split("/"))
            if not access.key:
                return None
            segments = segments[:-1] if segments[-1] == NEW and segments[0] not in apart else segments
            mode = ADD if access.mode == "insert" else access.mode
            groups.setdefault((mode, place_of(access.key), len(segments)), []).append((number, segments))
    fields = [_by_text(attempt.event) for attempt in attempts]
    found: list[Proposal] = []
    for (mode, _, _), seen in groups.items():
        found += [(mode, text) for text in _templates(list(dict.fromkeys(seen)), attempts, fields, cls)]
    return _joined(found)


def _by_text(event: object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, text in spelled_leaves(event):
        names = found.setdefault(text, [])
        if name not in names:
            names.append(name)
    return found


def _templates(
    seen: Sequence[Seen], attempts: Sequence[Attempt], fields: Sequence[Mapping[str, list[str]]], cls: type | None
) -> list[str]:
    constant = [len({segments[at] for _, segments in seen}) == 1 for at in range(len(seen[0][1]))]
    constant[0] = True
    candidates = {one: set(_candidates(one, fields[one[0]], constant)) for one in seen}
    found: list[str] = []
    left = list(seen)
    while left and len(found) < TEMPLATES_MAX:
        counts = Counter(text for one in left for text in candidates[one])
        best = max(counts, key=lambda text: (counts[text], _likely(text), text), default=None)
        if best is None:
            break
        template = _checked(best, cls)
        covered = [] if template is None else [one for one in left if _spells(template, attempts[one[0]].event, one[1])]
        if template is None or not covered:
            for each in candidates.values():
                each.discard(best)
            continue
        found.append(str(template))
        left = [one for one in left if one not in covered]
    if not left:
        return found
    same = constant.index(False) if False in constant else len(constant)
    return ["/".join(seen[0][1][:same])]


def _candidates(one: Seen, fields: Mapping[str, list[str]], constant: Sequence[bool]) -> list[str]:
    """The templates that spell a key from its event; a segment that is in no field has to be the same in all keys."""
    first, *rest = one[1]
    choices: list[list[str]] = []
    for text, same in zip(rest, constant[1:], strict=True):
        named = [f"{{{name}}}" for name in fields.get(text, ())]
        choices.append([*named, *_jointed(text, fields), *([text] if same else [])])
    count = 1
    for each in choices:
        count *= len(each)
    if count > CANDIDATES_MAX:
        choices = [sorted(each, key=lambda text: _likely(f"{first}/{text}"), reverse=True)[:2] for each in choices]
    return ["/".join((first, *parts)) for parts in product(*choices)]


def _jointed(text: str, fields: Mapping[str, list[str]]) -> list[str]:
    """The ways to spell one segment of several parts, ``user:7``, with a field for one of them at least."""
    pieces = text.split(JOINT)
    if not 1 < len(pieces) <= PIECES_MAX:
        return []
    ways = product(*([*(f"{{{name}}}" for name in fields.get(piece, ())), piece] for piece in pieces))
    return [JOINT.join(way) for way in islice(ways, CANDIDATES_MAX) if list(way) != pieces]


def _likely(text: str) -> tuple[int, int]:
    """How well a template's fields are called like its family, then how many of its segments are fields."""
    first, *rest = text.split("/")
    pieces = [piece for part in rest for piece in part.split(JOINT)]
    fields = [piece.strip("{}").rpartition(".")[2] for piece in pieces if piece.startswith("{")]
    alike = sum(any(family(first) & family(word) for word in name.split("_")) for name in fields)
    return alike, len(fields)


def _checked(text: str, cls: type | None) -> Template | None:
    """The template as the event's class allows it: with ``?`` where a field may be null; None where it does not."""
    site = Site("observe", "writes", None)
    for each in (text, text.replace("}", "?}")):
        try:
            template = parse(each, site)
            check(template, cls, site)
        except CommuteError:
            continue
        return template
    return None


def _spells(template: Template, event: object, segments: tuple[str, ...]) -> bool:
    try:
        return "/".join(segments) in keys(template, event)
    except CommuteError:
        return False


def _joined(found: Iterable[Proposal]) -> list[Proposal]:
    """Each template once, in the mode that covers all of its modes, without what lies in another one."""
    modes: dict[str, set[str]] = {}
    for mode, text in found:
        modes.setdefault(text, set()).add(mode)
    whole = {text: next(iter(several)) if len(several) == 1 else WRITE for text, several in modes.items()}

    def inside(text: str, mode: str) -> bool:
        above = text.rpartition("/")[0]
        while above:
            if whole.get(above) in (mode, WRITE):
                return True
            above = above.rpartition("/")[0]
        return False

    rank = {READ: 2, WRITE: 0, ADD: 1}
    kept = [(mode, text) for text, mode in whole.items() if not inside(text, mode)]
    return sorted(kept, key=lambda one: (rank.get(one[0], 3), one[1]))
