"""Object-centric event logs in JSON: OCEL 1.0 (``.jsonocel``) and OCEL 2.0.

An event names objects by id alone; their types stand in another section, which may come later. The
document is decoded element by element rather than at once, so that a file that breaks off keeps all
events before the break, each problem has its line, and an id that stands there twice is seen (a decoder
would keep the last in silence).

Sources: OCEL 1.0 (Ghahfarokhi et al., 2021), OCEL 2.0 (Berti et al., 2024), sections on the JSON format.
"""

from __future__ import annotations

from commute.logs.base import Builder, Log, bad_log, object_id
from commute.logs.ocel import Related, resolve
from commute.logs.options import LogOptions
from commute.logs.raw import Raw
from commute.logs.roles import must_occur, named_keys
from commute.logs.walk import Element, Lines, Walk, check_text, decoded

FORMAT_1 = "OCEL 1.0 JSON"
FORMAT_2 = "OCEL 2.0 JSON"

_SECTIONS = ("ocel:events", "ocel:objects", "events", "objects")


def read(raw: Raw, options: LogOptions, *, format_name: str) -> Log:
    """The log of the OCEL document in `raw`. O(bytes); about 10 µs an event. Raises UsageError for no
    UTF-8 at all.

    `options.key_fields` name attributes of events that are keys too. A number is the ordinal of the event in the
    file.
    """
    builder = Builder("event", options.time_format)
    text, suspect = decoded(raw.read())
    walk = Walk(text, _SECTIONS)
    lines = Lines(text)
    types: dict[str, str] = {}
    events: list[tuple[int, Related]] = []
    seen: set[str] = set()
    ordinal = 0
    for element in walk.elements():
        is_event = element.section.endswith("events")
        ordinal += is_event
        try:
            if suspect:
                check_text(element)
            if is_event:
                event = _event_1(element) if format_name == FORMAT_1 else _event_2(element)
                if event.id in seen:
                    raise ValueError(f"a second event with the id {event.id!r}")
                seen.add(event.id)
                events.append((ordinal, event))
            else:
                _declare(element, types)
        except ValueError as error:
            builder.problem(f"line {lines.number(element.at)}", str(error), text[element.at : walk.at])
    if raw.fault:
        builder.problem("end of file", raw.fault)
    if walk.fault:
        builder.problem(f"line {lines.number(walk.at)}", walk.fault, text[walk.at : walk.at + 200])
    if not walk.found:
        reason = (walk.fault or "no such field").partition(";")[0]
        raise bad_log(raw.name, f"a JSON document without a section of events ({reason})")
    if walk.not_numbers:
        builder.note(f"{walk.not_numbers} values NaN or Infinity, which are no JSON, are read as null")
    roles = named_keys(options.key_fields)
    must_occur(raw.name, roles, (event.data for _, event in events))
    resolve(events, types, builder, roles)
    return builder.finish(format_name)


def _event_1(element: Element) -> Related:
    event = _mapping(element.value)
    related = event.get("ocel:omap")
    if not isinstance(related, list):
        raise ValueError("the event has no list ocel:omap of objects")
    identity = _text(element.key, "id of the event")
    ids = tuple(object_id(item, "ocel:omap") for item in related)
    data = _mapping(event.get("ocel:vmap", {}))
    return Related(identity, _text(event.get("ocel:activity"), "ocel:activity"), event.get("ocel:timestamp"), ids, data)


def _event_2(element: Element) -> Related:
    event = _mapping(element.value)
    related = event.get("relationships")
    if related is None:
        related = []  # the schema lets an event without objects leave it out
    if not isinstance(related, list):
        raise ValueError("relationships must be a list")
    ids = tuple(object_id(_mapping(item).get("objectId"), "objectId") for item in related)
    attributes = event.get("attributes")
    if attributes is None:
        attributes = []
    if not isinstance(attributes, list):
        raise ValueError("attributes must be a list")
    data = {_text(pair.get("name"), "name of an attribute"): pair.get("value") for pair in map(_mapping, attributes)}
    identity = object_id(event.get("id"), "id of the event")
    return Related(identity, _text(event.get("type"), "type"), event.get("time"), ids, data)


def _declare(element: Element, types: dict[str, str]) -> None:
    """Note the type of an object. Raises ValueError where it has none, or another one than before."""
    declared = _mapping(element.value)
    if element.section.startswith("ocel:"):
        identity, kind = _text(element.key, "id of the object"), _text(declared.get("ocel:type"), "ocel:type")
    else:
        identity, kind = (
            object_id(declared.get("id"), "id of the object"),
            _text(declared.get("type"), "type"),
        )
    known = types.setdefault(identity, kind)
    if known != kind:
        raise ValueError(f"object {identity!r} is declared as {known!r} and again as {kind!r}; the first counts")


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"no {what}")
    return value
