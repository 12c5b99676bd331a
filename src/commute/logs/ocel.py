"""What all readers of object-centric logs share: an event names objects by id alone, their types stand elsewhere.

Sources: OCEL 1.0 (Ghahfarokhi et al., 2021), OCEL 2.0 (Berti et al., 2024).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from commute.logs.base import Builder, Touched, examples, note_empty
from commute.logs.roles import Roles, keys_of

UNKNOWN_TYPE = "?"  # of an object that an event names and no section declares


@dataclass(frozen=True, slots=True)
class Related:
    """An event before the types of its objects are known."""

    id: str
    type: str
    time: object
    objects: tuple[str, ...]
    data: dict[str, object]


def resolve(events: list[tuple[int, Related]], types: dict[str, str], builder: Builder, roles: Roles) -> None:
    """Give each object its type and hand the events to the builder."""
    builder.declared = dict(Counter(types.values()))
    empty: dict[str, int] = {}
    unknown: dict[str, None] = {}
    for number, event in events:
        objects: list[Touched] = []
        for identity in event.objects:
            kind = types.get(identity)
            if kind is None:
                unknown[identity] = None
            objects.append((UNKNOWN_TYPE if kind is None else kind, identity, None))
        try:
            keys = keys_of(roles, event.data.get, empty)
        except ValueError as error:
            builder.problem(f"event {event.id}", str(error), event.data)
            continue
        builder.event(number, event.id, event.type, event.time, (*objects, *keys), event.data)
    note_unknown(builder, unknown)
    note_empty(builder, empty, len(events))


def note_unknown(builder: Builder, unknown: dict[str, None]) -> None:
    """Say which objects no section declares: they are keys all the same, under one type."""
    if unknown:
        shown = examples(unknown, len(unknown))
        builder.note(f"{len(unknown)} objects are declared nowhere; their type is {UNKNOWN_TYPE!r} ({shown})")
