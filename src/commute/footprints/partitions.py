"""Which partition an event belongs to, from what the handlers declare; and where that is not enough.

Several engines may share a stream only if events that conflict are on one partition, since between partitions there is
no order. An event's partition is decided by its **label**, a text made of its fields: here a label is chosen for each
type, such that events which conflict have the same one. A key *crosses* where there is no such choice.

Invariant: two events of types that do not cross have equal labels, or they are independent. A function without a
template may give any key, so it counts as the root; what a user says by ``partition_by=`` is held to the same rule,
since a word that is wrong would cost order in silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, TypeAlias

from commute.core.footprint import ADD, READ, WRITE
from commute.errors import UsageError
from commute.footprints.declared import Declared, Labels, label_template
from commute.footprints.labelling import choose, disagreements
from commute.footprints.meeting import Label, Meeting, Touch, meetings
from commute.footprints.template import Field, Site, Template, keys

SHOWN_MAX = 3
_VERBS = {READ: "reads", WRITE: "writes", ADD: "adds to"}
_ROOT = Template(())

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Accesses of events of two types (or of two of one) that conflict and may come from different partitions."""

    types: tuple[str, str]
    mine: Touch
    yours: Touch

    def __str__(self) -> str:
        a, b = self.types
        return f"{a} {_verb(self.mine)} {self.mine}, {'another one' if a == b else b} {_verb(self.yours)} {self.yours}"


@dataclass(frozen=True, slots=True)
class Partitioning:
    """A label for each event type, and what crosses all the same.

    `labels`: the template of the label's text; None where none holds what the type touches, or none is needed.
    `anywhere`: the types of which no event conflicts with any other, so that all partitions are alike to them.
    """

    labels: Mapping[str, Template | None]
    anywhere: frozenset[str]
    crossings: tuple[Crossing, ...]
    _declared: tuple[str, ...]

    def label_of(self, type_: str, event: object) -> str | None:
        """The text whose hash is the event's partition (`core.murmur2`); None: any partition will do.

        Segments as in keys, so that equal keys have equal labels. A few µs. Raises RejectedError where a field does
        not resolve: such an event is rejected by every worker too.
        """
        template = self.labels.get(type_)
        return next(iter(keys(template, event)), None) if template is not None else None

    def fields(self, type_: str) -> tuple[str, ...]:
        """The names of the fields that the label of a type is made of."""
        template = self.labels.get(type_)
        return () if template is None else tuple(field.name for field in template.fields)

    def shown(self, type_: str) -> str:
        """The label of a type for people: its template, ``any``, or ``none`` where nothing holds what it touches."""
        template = self.labels.get(type_)
        return str(template) if template is not None else "any" if type_ in self.anywhere else "none"

    def __str__(self) -> str:
        """For the banner: ``order_created by {order_id}, restocked anywhere``."""
        said = {"any": "anywhere", "none": "by no label"}
        texts = ((type_, self.shown(type_)) for type_ in self.labels)
        return ", ".join(f"{type_} {said.get(text, f'by {text}')}" for type_, text in texts)

    def check(self, stream: str, partitions: int) -> None:
        """Returns if several engines may share the `partitions` of a stream. Raises UsageError (``crosses``)."""
        if not self.crossings or partitions == 1:
            return
        crossed = dict.fromkeys(type_ for crossing in self.crossings for type_ in crossing.types)
        held = ", ".join(f"{type_} by {self.labels[type_]}" for type_ in crossed if self.labels[type_] is not None)
        shown = "; ".join(map(str, self.crossings[:SHOWN_MAX]))
        more = len(self.crossings) - SHOWN_MAX
        raise UsageError(
            f'{shown}{f"; and {more} more" if more > 0 else ""}: no partition label of "{stream}" ({partitions} '
            f"partitions) holds both{f' (best: {held})' if held else ''}, so their order would be lost. Narrow the "
            "footprint, or begin its keys with the label (customer/{customer_id}/order/{order_id}); make it an add "
            "where the store adds atomically (adds=); choose another label (partition_by=); give the stream one "
            "partition; or run one owner: --single-owner",
            slug="crosses",
        )

    def fingerprint(self, partitions: int) -> str:
        """A digest of labels, footprints and the number of partitions: what all engines of a stream must share.

        The same on every machine and after a change of handlers' bodies. Functions without a template count by their
        bytecode, which differs between versions of Python.
        """
        digest = hashlib.blake2b(digest_size=16)
        for text in (
            str(partitions),
            *self._declared,
            *(f"{type_} {self.shown(type_)}" for type_ in sorted(self.labels)),
        ):
            digest.update(text.encode() + b"\n")
        return digest.hexdigest()


def partitioning(declared: Sequence[Declared], partition_by: Labels | None = None) -> Partitioning:
    """The labels of all types of an app, and what crosses. `partition_by`: the app's own, for the types that have its
    fields; that of a handler wins.

    Deterministic. Raises UsageError: ``partition-by``, ``unknown-field`` if no type has the app's field.
    """
    by_type: dict[str, list[Declared]] = {}
    for one in declared:
        by_type.setdefault(one.event_type, []).append(one)
    fields = {type_: _fields(many) for type_, many in by_type.items()}
    touches = {type_: _touches(many, fields[type_]) for type_, many in by_type.items()}
    links: dict[tuple[str, str], list[Meeting]] = {}
    for a, b in combinations_with_replacement(by_type, 2):
        if found := meetings(touches[a], touches[b]):
            links[a, b] = found
            links[b, a] = found if a == b else [meeting.turned() for meeting in found]
    fixed = {type_: _spelled(label, fields[type_]) for type_, label in _fixed(by_type, partition_by).items()}
    labels = choose(list(by_type), links, fixed)
    crossings = {
        frozenset(((a, meeting.mine), (b, meeting.yours))): Crossing((a, b), meeting.mine, meeting.yours)
        for a, b in combinations_with_replacement(by_type, 2)
        for meeting in disagreements(a, b, labels, links)
    }
    meeting_types = {type_ for pair in links for type_ in pair}
    return Partitioning(
        {type_: None if label is None else Template(label) for type_, label in labels.items()},
        frozenset(by_type.keys() - meeting_types),
        tuple(crossings.values()),
        tuple(sorted(map(_declaration, declared))),
    )


def _fixed(by_type: Mapping[str, Sequence[Declared]], partition_by: Labels | None) -> dict[str, Label]:
    """The labels that were given, by type."""
    fixed: dict[str, Label] = {}
    refused: UsageError | None = None
    for type_, many in by_type.items():
        given = {one.label: one for one in many if one.label is not None}
        if len(given) > 1:
            a, b = list(given.values())[:2]
            raise UsageError(
                f"{a.handler} partitions {type_} by {a.label}, {b.handler} by {b.label}: an event has one partition",
                slug="partition-by",
                where=b.where,
            )
        template = next(iter(given), None)
        if template is None and partition_by is not None:
            try:
                template = label_template(partition_by, many[0].cls, Site("App", "partition_by", None))
            except UsageError as error:
                if error.slug != "unknown-field":
                    raise
                refused = error
        if template is not None:
            fixed[type_] = template.segments
    if refused is not None and not fixed:
        raise refused
    return fixed


def _touches(declared: Sequence[Declared], known: Mapping[Path, Field]) -> list[Touch]:
    """All that events of one type may touch."""
    found: dict[Touch, None] = {}
    for one in declared:
        for mode, template in one.templates:
            found[Touch(mode, Template(_spelled(template.segments, known)))] = None
        if one.publishes is not None:
            published = one.publishes or (_ROOT,)  # none: its function has no template
            found.update((Touch(WRITE, Template(_spelled(t.segments, known)), True), None) for t in published)
        for function in one.computed:
            found.update(dict.fromkeys(Touch(mode, template) for mode, template in function.within))
        modes = [mode for f in one.computed if not f.within for mode in f.modes] + [WRITE] * one.everything
        found.update(dict.fromkeys(Touch(WRITE if mode == "any" else mode, _ROOT) for mode in modes))
    return list(found)


def _fields(declared: Sequence[Declared]) -> dict[Path, Field]:
    """One spelling for each field of a type: what one template needs is there, whatever another says."""
    templates = [template for one in declared for template in (*(t for _, t in one.templates), *(one.publishes or ()))]
    fields = [field for template in templates for field in template.fields]
    return {field.path: field for field in sorted(fields, key=lambda field: not field.optional)}


def _spelled(label: Label, known: Mapping[Path, Field]) -> Label:
    return tuple(
        tuple(known.get(piece.path, piece) if isinstance(piece, Field) else piece for piece in part) for part in label
    )


def _declaration(declared: Declared) -> str:
    texts = sorted(f"{mode} {template}" for mode, template in declared.templates)
    functions = [f"{one.modes} {_code(one.function)}" for one in declared.computed]
    publishes = None if declared.publishes is None else sorted(map(str, declared.publishes))
    return repr((declared.event_type, declared.everything, texts, functions, publishes))


def _code(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    if code is None:
        return type(function).__qualname__
    return f"{code.co_code.hex()} {code.co_names} {[one for one in code.co_consts if isinstance(one, str | int)]}"


def _verb(touch: Touch) -> str:
    return "publishes in the sequence of" if touch.publishes else _VERBS.get(touch.mode, f"touches ({touch.mode})")
