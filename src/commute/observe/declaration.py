"""What to add to a handler's declaration so that it covers an access: ``writes="order/{order_id}"``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from commute.derive.routing import NEW
from commute.errors import RejectedError
from commute.footprints.segment import segment
from commute.footprints.vocabulary import family

_OPTIONS = {"read": "reads", "write": "writes", "add": "adds", "insert": "adds"}
JOINT = ":"  # between the parts of what is one segment, as Redis' keys have it: user:{user_id}
DEPTH_MAX = 4
ELEMENTS_MAX = 1_000  # of a list in an event


def declaration(key: str, mode: str, event: object) -> str:
    """The option, with a field of the event for each segment that equals it: first one that is called like the key."""
    if not key:
        return "nothing: a handler without a declaration is EVERYTHING"
    first, *rest = key.split("/")
    if rest and rest[-1] == NEW:
        rest.pop()
    fields = spelled_leaves(event)
    parts = [first]
    used: set[str] = set()

    def named(text: str) -> str:
        fitting = [name for name, own in fields if own == text and name not in used]
        fitting.sort(key=lambda name: not any(family(first) & family(word) for word in name.split("_")))
        used.update(fitting[:1])
        return f"{{{fitting[0]}}}" if fitting else text

    for one in rest:
        whole = named(one)
        parts.append(whole if whole != one else JOINT.join(map(named, one.split(JOINT))))
    return f'{_OPTIONS.get(mode, "writes")}="{"/".join(parts)}"'


def leaves(event: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """The fields of an event by dotted name, down to plain values; ``lines.*.sku`` once for each element of a list."""
    if isinstance(event, dict):
        fields = list(event.items())
    else:
        names = getattr(event, "__struct_fields__", None) or getattr(type(event), "model_fields", None) or ()
        if dataclasses.is_dataclass(event):
            names = [field.name for field in dataclasses.fields(event)]
        fields = [(one, getattr(event, one)) for one in names]
    if not fields and name:
        yield name, event
    for one, value in fields if depth < DEPTH_MAX else ():
        path = f"{name}.{one}" if name else str(one)
        for each, inner in [(path, value)] if not isinstance(value, list | tuple) else _elements(path, value):
            yield from leaves(inner, each, depth + 1)


def _elements(path: str, several: Sequence[object]) -> list[tuple[str, object]]:
    return [(f"{path}.*", one) for one in several[:ELEMENTS_MAX]]


def spelled_leaves(event: object) -> list[tuple[str, str]]:
    """The fields of an event that can stand in a key, each with its segment."""
    return [(name, text) for name, value in leaves(event) if (text := _text(value)) is not None]


def _text(value: object) -> str | None:
    try:
        return segment(value)
    except RejectedError:
        return None
