"""The first words of keys, over all handlers of an app: names that were probably meant to be one, types
that differ.

Keys meet only if they are spelled alike. ``orders/42`` and ``order/42`` never conflict, nor do ``42`` and
``"042"``: each handler is right by itself, and together they lose the sequence of events without an error.
Only a view over all handlers can see it, and only the author knows what was meant: hence warnings, and a
way to close the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations

from commute.core.footprint import ADD, READ, WRITE
from commute.errors import CommuteWarning, UsageError
from commute.footprints.declared import Declared
from commute.footprints.schema import ABSENT, OPEN, Place
from commute.footprints.template import Field, Segment, Template

_VERBS = {READ: "reads", WRITE: "writes", ADD: "adds to"}


@dataclass(frozen=True, slots=True)
class _Use:
    declared: Declared
    mode: str
    template: Template
    places: Sequence[Place]

    def __str__(self) -> str:
        return f"{self.declared.handler} {_VERBS.get(self.mode, f'touches ({self.mode})')} {self.template}"


def check_vocabulary(declared: Sequence[Declared], keys: Collection[str] | None = None) -> tuple[CommuteWarning, ...]:
    """Warnings ``lonely-key`` and ``key-types`` about the keys of all handlers of an app, each pair of
    names once.

    With `keys`, the first segments allowed: others raise UsageError (``unknown-key``, with did-you-mean),
    and names that merely look alike are not warned of, since all are meant. O(templates squared).
    """
    uses = [
        _Use(one, mode, template, places)
        for one in declared
        for (mode, template), places in zip(one.templates, one.places, strict=True)
    ]
    warnings: list[CommuteWarning] = []
    if keys is None:
        warnings += _lonely_keys(uses)
    else:
        _check_closed(uses, declared, keys)
    return (*warnings, *_key_types(uses))


def _check_closed(uses: Sequence[_Use], declared: Sequence[Declared], keys: Collection[str]) -> None:
    for use in uses:
        _check_first(str(use), use.template, use.declared, keys)
    for one in declared:
        for template in one.publishes or ():
            _check_first(f"{one.handler} publishes {template}", template, one, keys)


def _check_first(text: str, template: Template, declared: Declared, keys: Collection[str]) -> None:
    first = template.segments[0] if template.segments else ()
    if not first or (_is_text(first) and first[0] in keys):
        return
    if not _is_text(first):
        hint = "with App(keys=[...]) a key starts with one of the names listed"
    else:
        close = get_close_matches(str(first[0]), sorted(keys), n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(keys)) or 'none'}"
        hint = f"App(keys=[...]) has no {first[0]}; {hint}"
    raise UsageError(f"{text}: {hint}", slug="unknown-key", where=declared.where)


def _lonely_keys(uses: Sequence[_Use]) -> Iterator[CommuteWarning]:
    seen: set[frozenset[str]] = set()
    for a, b in combinations(uses, 2):
        names = _lookalikes(a.template, b.template)
        if names and names not in seen:
            seen.add(names)
            yield CommuteWarning(
                f"{b}, {a}: these never conflict. Same thing? Use one name; else App(keys=[...]).",
                slug="lonely-key",
                where=b.declared.where,
            )


def _lookalikes(a: Template, b: Template) -> frozenset[str]:
    """The two names, if the templates differ first in names that differ by a plural, case or ``_``/``-``
    only.
    """
    for left, right in zip(a.segments, b.segments, strict=False):
        if left != right and _is_text(left) and _is_text(right):
            x, y = str(left[0]), str(right[0])
            return frozenset((x, y)) if family(x) & family(y) else frozenset()
    return frozenset()


def family(name: str) -> frozenset[str]:
    """What `name` may be the plural or another spelling of: names whose families meet look alike."""
    word = name.casefold().replace("-", "").replace("_", "")
    forms = {word}
    if word.endswith("ies") and len(word) > 4:
        forms.add(word[:-3] + "y")
    if word.endswith("es") and len(word) > 3:
        forms.add(word[:-2])
    if word.endswith("s") and not word.endswith("ss") and len(word) > 2:
        forms.add(word[:-1])
    return frozenset(forms)


def _key_types(uses: Sequence[_Use]) -> Iterator[CommuteWarning]:
    seen: set[tuple[str, frozenset[str]]] = set()
    for a, b in combinations(uses, 2):
        for depth, (left, right) in enumerate(_side_by_side(a, b)):
            kinds = frozenset((left[1], right[1]))
            place = "/".join(map(_shape, a.template.segments[: depth + 1]))
            if len(kinds) < 2 or OPEN in kinds or (place, kinds) in seen:
                continue
            seen.add((place, kinds))
            yield CommuteWarning(_types_text(a, left[1], b, right[1]), slug="key-types", where=b.declared.where)


def _side_by_side(a: _Use, b: _Use) -> Iterator[tuple[tuple[Segment, str], tuple[Segment, str]]]:
    """The segments of two templates with the kinds of their values, as far as the keys could overlap."""
    for left, right in zip(_kinds(a), _kinds(b), strict=False):
        if _is_text(left[0]) and _is_text(right[0]) and left[0] != right[0]:
            return
        yield left, right


def _kinds(use: _Use) -> Iterator[tuple[Segment, str]]:
    places = iter(use.places)
    for parts in use.template.segments:
        found = [next(places).kinds - {ABSENT} for part in parts if isinstance(part, Field)]
        alone = len(parts) == 1 and len(found) == 1 and len(found[0]) == 1
        yield parts, next(iter(found[0])) if alone else OPEN


def _types_text(a: _Use, left: str, b: _Use, right: str) -> str:
    text = f"{a.template} is {_article(left)} in {a.declared.handler} and {_article(right)} in "
    text += f"{b.declared.handler}: "
    if {left, right} == {"int", "str"}:
        return text + '"042" and 42 are different keys ("42" and 42 are one). Use one type.'
    return text + "these may spell one thing in two ways, as different keys. Use one type."


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeio' else 'a'} {kind}"


def _shape(parts: Segment) -> str:
    return "".join("{}" if isinstance(part, Field) else part for part in parts)


def _is_text(parts: Segment) -> bool:
    return not any(isinstance(part, Field) for part in parts)
