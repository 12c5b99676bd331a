"""An event of a log file as the handlers of an app take it: under which type, and with which fields.

Logs of other systems name types and objects for people ("place order", "Customer Order"), and list the objects of an
event beside its fields. An app has one word for a type, and gets fields:

    place order, Place Order, PlaceOrder   ─▶ place_order, where no handler takes the log's own name
    objects of type Customer Order         ─▶ field customer_order: one id, or a list, as the event's class has it

Invariant: what the log has as a field of the event stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import msgspec

from commute.codec import Codec
from commute.event import snake_case
from commute.footprints.schema import fields_of

if TYPE_CHECKING:
    from commute.logs import LogEvent

OBJECTS = "objects"  # the field with all of them, as [type, id] or [type, id, mode]

_NO_WORD = re.compile(r"\W+")


def one_word(name: str) -> str:
    """``place_order`` for ``Place Order``."""
    return _NO_WORD.sub("_", snake_case(name)).strip("_")


def type_here(type_: str, taken: Collection[str]) -> str:
    """What an app that takes these types calls the log's: its own name, else one word, where the app takes that or the
    name is none that an event could have."""
    if type_ in taken:
        return type_
    word = one_word(type_)
    return word if word in taken or (word and len(type_.split()) > 1) else type_


def with_objects(event: LogEvent, codec: Codec) -> Mapping[str, object]:
    """The data of the event with its objects as fields, where there is no field of that name; of a class only fields
    that it has. O(objects)."""
    named: dict[str, list[str]] = {}
    for kind, identity, _ in event.objects:
        named.setdefault(kind, []).append(identity)
    beside = {kind: list(dict.fromkeys(ids)) for kind, ids in named.items() if kind not in event.data}
    if not beside:
        return event.data
    listed = [[*one[:2], *([one[2]] if one[2] is not None else [])] for one in event.objects]
    fields = None if codec.cls is None else fields_of(codec.cls)
    if fields is None:
        return {OBJECTS: listed, **{_field(kind, ()): ids for kind, ids in beside.items()}, **event.data}
    given: dict[str, object] = {OBJECTS: listed} if OBJECTS in fields else {}
    for kind, ids in beside.items():
        hint = fields.get(_field(kind, fields))
        if hint is not None:
            given[_field(kind, fields)] = _fitting(ids, hint.annotation)
    return {**given, **event.data}


def _field(kind: str, fields: Collection[str]) -> str:
    """The field that holds objects of this type."""
    return kind if kind in fields or kind.isidentifier() else one_word(kind)


def _fitting(ids: list[str], annotation: object) -> object:
    """The ids as the field takes them: a list, or the only one; numbers where it has numbers."""
    for value in (ids, ids[0]) if len(ids) == 1 else (ids,):
        try:
            return msgspec.to_builtins(msgspec.convert(value, annotation, strict=False))
        except (msgspec.ValidationError, TypeError):
            continue
    return ids[0] if len(ids) == 1 else ids
