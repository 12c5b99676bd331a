"""Two events held against each other: on which keys they conflict, why, and how often their types do.

Source: the conflict relation of `core.footprint` for events, that of `footprints.relation` for types. The share of
dependent pairs is counted over a bounded sample, the end of the log, since all pairs of a log are too many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

from commute.cli.derivation import derivation_document
from commute.cli.output import clean, plural, table
from commute.cli.place import Place
from commute.cli.subject import Reader, Subject
from commute.core.footprint import READ, WRITE, Access, Footprint, compatible, conflicting, conflicts
from commute.footprints.declared import Declared
from commute.footprints.relation import Relation, relation
from commute.handler import Handler
from commute.runtime.kinds import Kinds
from commute.transports.rows import find_stream, read_rows

SAMPLE_EVENTS_MAX = 5_000  # of the end of the log, of all types
SAMPLE_TYPE_MAX = 200  # of each of the two types: their pairs are compared
SAMPLE_BYTES = 64 << 20
KEYS_SHOWN_MAX = 20
EVERYTHING_SHOWN = "EVERYTHING"


@dataclass(frozen=True, slots=True)
class Dependence:
    """The accesses that conflict, one of each event, and why each pair does. No pair: independent."""

    pairs: tuple[tuple[Access, Access], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """How many pairs of events of two types depend. `events` of the log were read, `whole`: all that there are."""

    events: int
    pairs: int
    dependent: int
    whole: bool


def compare(a: Subject, b: Subject) -> Dependence:
    """What makes two events dependent. O(accesses of a * accesses of b)."""
    pairs = conflicting(a.footprint, b.footprint)
    return Dependence(tuple(pairs), tuple(_why(a, x, b, y) for x, y in pairs))


def related(kinds: Kinds, a: str, b: str) -> Relation:
    """How two types are related by their templates; never, where no handler takes one of them."""
    return relation(_declared(kinds, a), _declared(kinds, b))


def sample(place: Place, reader: Reader, a: str, b: str) -> Sample:
    """The share of dependent pairs among the newest events of both types. Less than a second."""
    found = place.broker.read(lambda c: find_stream(c, place.stream))
    last = 0 if found is None else found.last
    known: dict[str, list[Footprint]] = {a: [], b: []}
    read, first, size_bytes = 0, 0 if found is None else found.floor + 1, 0
    chunk_events = 250
    while last >= first > 0 and read < SAMPLE_EVENTS_MAX and size_bytes < SAMPLE_BYTES:
        start = max(first, last - chunk_events + 1)
        end = last
        chunk = place.broker.read(lambda c, start=start, end=end: read_rows(c, place.stream, start, last=end))  # type: ignore[misc]
        for delivery in reversed(chunk):
            size_bytes += len(delivery.message.data)
            of_type = known.get(delivery.message.type)
            if of_type is not None and len(of_type) < SAMPLE_TYPE_MAX:
                of_type.append(reader.footprint(delivery))
        read += len(chunk)
        last = start - 1
        if all(len(of_type) >= SAMPLE_TYPE_MAX for of_type in known.values()):
            break
    pairs = list(combinations(known[a], 2) if a == b else product(known[a], known[b]))
    return Sample(read, len(pairs), sum(conflicts(x, y) for x, y in pairs), last < first)


def key_table(a: Subject, b: Subject, dependence: Dependence) -> list[str]:
    """The keys of both events, those that conflict first, with the mode of each handler and a verdict."""
    if not (a.parts or b.parts):
        return []
    names = [name for name, _ in (*a.parts, *b.parts)]
    places = ("earlier", "later") if a.position is not None or a.line is not None else ("first", "second")
    heads = [
        name if names.count(name) == 1 else f"{name} ({places[at >= len(a.parts)]})" for at, name in enumerate(names)
    ]
    columns = [{access.key: access.mode for access in keys} for _, keys in (*a.parts, *b.parts)]
    verdicts: dict[str, str] = {}
    for (x, y), why in zip(dependence.pairs, dependence.reasons, strict=True):
        inner, outer = (x.key, y.key) if len(x.key) >= len(y.key) else (y.key, x.key)
        within = "" if inner == outer else f" (it lies below {key_shown(outer)})"
        verdicts.setdefault(inner, f"conflict: {why}{within}")
    together = {x.key for x in a.footprint for y in b.footprint if x.key == y.key and compatible(x.mode, y.mode)}
    every = dict.fromkeys([*verdicts, *(key for column in columns for key in column)])
    rows = [
        [
            key_shown(key),
            *(column.get(key, "-") for column in columns),
            verdicts.get(key) or ("these go together" if key in together else ""),
        ]
        for key in every
    ]
    lines = table(["KEY", *heads, ""], rows[:KEYS_SHOWN_MAX])
    more = len(rows) - KEYS_SHOWN_MAX
    return [*lines, f"  and {plural(more, 'more key')}"] if more > 0 else lines


def key_shown(key: str) -> str:
    """The key as people read it."""
    return clean(key) or EVERYTHING_SHOWN


def relation_document(found: Relation) -> dict[str, object]:
    """A relation of types as plain data."""
    return {
        "kind": found.kind,
        "symbol": found.symbol,
        "text": str(found),
        "conditions": [
            {"equal": [list(pair) for pair in one.equalities], "key": one.key, "modes": list(one.modes), "why": one.why}
            for one in found.conditions
        ],
    }


def footprints_document(handlers: Sequence[Handler]) -> list[dict[str, object]]:
    """What each handler declares about each of its types, by mode."""
    return [
        {
            "handler": handler.name,
            "event": event.type,
            "everything": event.declared.everything,
            "unordered": handler.unordered,
            "modes": {mode: _templates(event.declared, mode) for mode in event.declared.modes},
            "computed": sorted({mode for function in event.declared.computed for mode in function.modes}),
            "where": handler.where,
            "derived": derivation_document(event),
        }
        for handler in handlers
        for event in handler.events
    ]


def _templates(declared: Declared, mode: str) -> list[str]:
    return [str(template) for known, template in declared.templates if known == mode]


def _declared(kinds: Kinds, type_: str) -> list[Declared]:
    kind = kinds.get(type_)
    return [] if kind is None else [bound.declared(type_) for bound in kind.ordered]


def _why(a: Subject, x: Access, b: Subject, y: Access) -> str:
    if WRITE in (x.mode, y.mode):
        for event, access in ((a, x), (b, y)):
            joined = {m for _, keys in event.parts for k, m in keys if k == access.key}
            if access.mode == WRITE and joined and WRITE not in joined:
                both = " and ".join(sorted(joined))
                return f"{both} by one event make a write, which goes with nothing"
        return "a write goes with nothing"
    if READ in (x.mode, y.mode):
        return f"a read does not go with {clean(y.mode if x.mode == READ else x.mode)}"
    return f"{clean(x.mode)} and {clean(y.mode)} are two commutative classes: they do not go together"
