"""Which objects and fields act as keys: how often their values come again, where they lie, and what they determine.

A field whose values all are ids of a known type is a foreign key (inclusion dependency); a type whose objects always
come with the same object of another one belongs to it (functional dependency: an order has one customer). Both hold in
this log; neither is proved by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from commute.core.footprint import WRITE
from commute.logs import LogEvent

FIELDS_MAX = 40
VALUES_MAX = 50_000  # distinct values of a field that are kept
OBJECTS_MAX = 64  # an event with more of them says little of who belongs to whom
INCLUDED_MIN = 0.95
REPEATS_MIN = 1.5  # events a value, on average: what hardly ever comes again orders nothing


@dataclass(frozen=True, slots=True)
class Key:
    """`values` distinct ones in `events` events; `heaviest_events` share the most common one. `modes`: how it is
    touched. `determines`: types of which each value has one object. `included_in`: the types that hold its values, with
    the part that is there. `candidate`: a field that is no key yet and looks like one."""

    name: str
    is_object: bool
    values: int
    events: int
    heaviest_events: int
    modes: Mapping[str, int]
    determines: tuple[str, ...] = ()
    included_in: tuple[tuple[str, float], ...] = ()
    candidate: bool = False


def find_keys(events: Sequence[LogEvent]) -> tuple[Key, ...]:
    """The types of objects, the most used first, then the fields. O(accesses + values); memory: `VALUES_MAX` values
    for each of `FIELDS_MAX` fields, and one number an object."""
    ids, modes, touched = _objects(events)
    parents = _parents(events)
    objects = [
        Key(
            name, True, len(counts), touched[name], max(counts.values()), modes[name],
            tuple(sorted(parent for parent, child in parents if child == name)),
        )
        for name, counts in ids.items()
    ]  # fmt: skip
    objects.sort(key=lambda key: (-key.events, key.name))
    return (*objects, *_fields(events, ids))


def _objects(
    events: Sequence[LogEvent],
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]], dict[str, int]]:
    """By type: id -> events; mode -> accesses; how many events name one."""
    ids: dict[str, dict[str, int]] = {}
    modes: dict[str, dict[str, int]] = {}
    touched: dict[str, int] = {}
    for event in events:
        for kind, one, mode in dict.fromkeys(event.objects):
            counts, by_mode = ids.setdefault(kind, {}), modes.setdefault(kind, {})
            counts[one] = counts.get(one, 0) + 1
            by_mode[mode or WRITE] = by_mode.get(mode or WRITE, 0) + 1
        for kind in {kind for kind, _, _ in event.objects}:
            touched[kind] = touched.get(kind, 0) + 1
    return ids, modes, touched


def _parents(events: Sequence[LogEvent]) -> list[tuple[str, str]]:
    """Pairs of types (parent, child): each object of the child was seen with one of the parent only, several times, and
    the parents are fewer than the children."""
    seen: dict[tuple[str, str], dict[str, str]] = {}
    again: dict[tuple[str, str], int] = {}
    broken: set[tuple[str, str]] = set()
    for event in events:
        if len(event.objects) > OBJECTS_MAX:
            continue
        by_type: dict[str, set[str]] = {}
        for kind, one, _ in event.objects:
            by_type.setdefault(kind, set()).add(one)
        for parent, ones in by_type.items():
            for child, others in by_type.items():
                pair = (parent, child)
                if child == parent or pair in broken:
                    continue
                if len(ones) > 1:
                    broken.add(pair)
                    continue
                (owner,) = ones
                known = seen.setdefault(pair, {})
                for other in others:
                    if other in known:
                        again[pair] = again.get(pair, 0) + 1
                    if known.setdefault(other, owner) != owner:
                        broken.add(pair)
                        break
    return [
        pair
        for pair, owners in seen.items()
        if pair not in broken and again.get(pair, 0) and 1 < len(set(owners.values())) < len(owners)
    ]


def _fields(events: Sequence[LogEvent], ids: Mapping[str, Mapping[str, int]]) -> list[Key]:
    """The fields that hold texts or whole numbers that come again, and are no type of objects already."""
    counts: dict[str, dict[str, int]] = {}
    unfit: set[str] = set()
    for event in events:
        for name, value in event.data.items():
            if name in unfit or name in ids:
                continue
            if value is None or value == "":
                continue
            text = _text(value)
            known = counts.setdefault(name, {}) if name in counts or len(counts) < FIELDS_MAX else None
            if text is None or known is None or len(known) >= VALUES_MAX:
                unfit.add(name)
                counts.pop(name, None)
            else:
                known[text] = known.get(text, 0) + 1
    found = []
    for name, values in counts.items():
        if any(values == held for held in ids.values()):
            continue  # the field that a type of objects was taken from
        total = sum(values.values())
        included = [(kind, _part(values, held)) for kind, held in ids.items()]
        inside = tuple(sorted((pair for pair in included if pair[1] >= INCLUDED_MIN), key=lambda pair: -pair[1]))
        if len(values) > 1 and (inside or total >= REPEATS_MIN * len(values)):
            looks_so = bool(inside) or (len(values) > 8 and max(values.values()) * 2 <= total)
            found.append(Key(name, False, len(values), total, max(values.values()), {}, (), inside, looks_so))
    return sorted(found, key=lambda key: (not key.candidate, -key.values, key.name))


def _part(values: Mapping[str, int], held: Mapping[str, int]) -> float:
    return sum(value in held for value in values) / len(values)


def _text(value: object) -> str | None:
    """What could be an id: text that is no number with a fraction and no time, or a whole number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value)
    if len(text) > 128 or (isinstance(value, str) and _is_measure(text)):
        return None
    return text


def _is_measure(text: str) -> bool:
    whole, dot, part = text.partition(".")
    if dot and whole.lstrip("-").isdigit() and part.isdigit():
        return part.strip("0") != ""
    return len(text) >= 10 and text[4:5] == "-" and text[7:8] == "-" and text[:4].isdigit()
