"""Object-centric event logs in JSON: OCEL 1.0 (``.jsonocel``) and OCEL 2.0.

An event names objects by id alone; their types stand in another section, which may come later. The
document is decoded element by element rather than at once, so that a file that breaks off keeps all
events before the break, each problem has its line, and an id that stands there twice is seen (a decoder
would keep the last in silence).

Sources: OCEL 1.0 (Ghahfarokhi et al., 2021), OCEL 2.0 (Berti et al., 2024), sections on the JSON format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from commute.logs.base import Builder, Log, Touched, bad_log, examples, note_empty, object_id
from commute.logs.raw import Raw
from commute.logs.roles import Roles, keys_of, must_occur, named_keys

FORMAT_1 = "OCEL 1.0 JSON"
FORMAT_2 = "OCEL 2.0 JSON"

UNKNOWN_TYPE = "?"  # of an object that an event names and no section declares

_SECTIONS = ("ocel:events", "ocel:objects", "events", "objects")
_BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class _Element:
    section: str
    key: str | None  # in a section that is an object
    value: object
    at: int  # index in the text


@dataclass(frozen=True, slots=True)
class _Related:
    """An event before the types of its objects are known."""

    id: str
    type: str
    time: object
    objects: tuple[str, ...]
    data: dict[str, object]


def read(raw: Raw, format_name: str, *, key_fields: Sequence[str]) -> Log:
    """The log of the OCEL document in `raw`. O(bytes); about 10 µs an event. Raises UsageError for no
    UTF-8 at all.

    `key_fields` name attributes of events that are keys too. A number is the ordinal of the event in the
    file.
    """
    builder = Builder("event")
    text, suspect = _decoded(raw.read())
    walk = _Walk(text)
    lines = _Lines(text)
    types: dict[str, str] = {}
    events: list[tuple[int, _Related]] = []
    seen: set[str] = set()
    ordinal = 0
    for element in walk.elements():
        is_event = element.section.endswith("events")
        ordinal += is_event
        try:
            if suspect:
                _check_text(element)
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
    roles = named_keys(key_fields)
    must_occur(raw.name, roles, (event.data for _, event in events))
    _resolve(events, types, builder, roles)
    return builder.finish(format_name)


def _resolve(events: list[tuple[int, _Related]], types: dict[str, str], builder: Builder, roles: Roles) -> None:
    """Give each object its type and hand the events to the builder."""
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


def _event_1(element: _Element) -> _Related:
    event = _mapping(element.value)
    related = event.get("ocel:omap")
    if not isinstance(related, list):
        raise ValueError("the event has no list ocel:omap of objects")
    identity = _text(element.key, "id of the event")
    ids = tuple(object_id(item, "ocel:omap") for item in related)
    data = _mapping(event.get("ocel:vmap", {}))
    return _Related(
        identity, _text(event.get("ocel:activity"), "ocel:activity"), event.get("ocel:timestamp"), ids, data
    )


def _event_2(element: _Element) -> _Related:
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
    return _Related(identity, _text(event.get("type"), "type"), event.get("time"), ids, data)


def _declare(element: _Element, types: dict[str, str]) -> None:
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


def _decoded(packed: bytes) -> tuple[str, bool]:
    """The text, and whether it may hold what is no Unicode: bytes that are no UTF-8, halves of surrogate
    pairs."""
    packed = packed.removeprefix(b"\xef\xbb\xbf")
    try:
        return packed.decode("utf-8"), b"\\ud" in packed or b"\\uD" in packed
    except UnicodeDecodeError:
        return packed.decode("utf-8", "surrogateescape"), True


def _check_text(element: _Element) -> None:
    """Raises ValueError for an element that cannot be written as UTF-8 again."""
    try:
        json.dumps((element.key, element.value), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("invalid UTF-8") from error


class _Lines:
    """Line numbers of ascending places in a text: each character is counted once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._number = 1

    def number(self, at: int) -> int:
        self._number += self._text.count("\n", self._at, at)
        self._at = max(at, self._at)
        return self._number


class _Broken(Exception):
    """The text is no JSON from `at` on."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at


class _Walk:
    """One pass over a document: the elements of its sections, up to the first place that is no JSON.

    Afterwards `fault` says what was wrong there, and `at` is the place; `found` tells whether there was a
    section of events.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._decode = json.JSONDecoder(parse_constant=self._no_number).raw_decode
        self.at = 0
        self.found = False
        self.fault: str | None = None
        self.not_numbers = 0

    def elements(self) -> Iterator[_Element]:
        try:
            self._take("{")
            for section in self._keys():
                if section in _SECTIONS and self._next() in "{[":
                    self.found = self.found or section.endswith("events")
                    yield from self._members(section)
                else:
                    self._value()
            if self._next():
                raise _Broken(self.at, "text after the end of the document")
        except _Broken as broken:
            self.at = broken.at
            self.fault = f"the document breaks off: {broken}; what came before is kept"

    def _members(self, section: str) -> Iterator[_Element]:
        if self._next() == "{":
            self._take("{")
            for key in self._keys():
                self._next()
                start = self.at
                yield _Element(section, key, self._value(), start)
            return
        self._take("[")
        if self._next() == "]":
            self._take("]")
            return
        while True:
            self._next()
            start = self.at
            yield _Element(section, None, self._value(), start)
            if self._take(",]") == "]":
                return

    def _keys(self) -> Iterator[str]:
        """The keys of the object that was just entered; its value must be read before the next is asked
        for."""
        if self._next() == "}":
            self._take("}")
            return
        while True:
            if self._next() != '"':
                raise _Broken(self.at, "expected a name in quotes")
            key = self._value()
            assert isinstance(key, str)
            self._take(":")
            yield key
            if self._take(",}") == "}":
                return

    def _next(self) -> str:
        """The next character that is no blank, empty at the end; stands on it."""
        text, at = self._text, self.at
        while at < len(text) and text[at] in _BLANKS:
            at += 1
        self.at = at
        return text[at : at + 1]

    def _take(self, expected: str) -> str:
        found = self._next()
        if not found:
            raise _Broken(self.at, "unexpected end")
        if found not in expected:
            raise _Broken(self.at, "expected " + " or ".join(expected))
        self.at += 1
        return found

    def _value(self) -> object:
        self._next()
        try:
            value: object
            value, self.at = self._decode(self._text, self.at)
        except json.JSONDecodeError as error:
            raise _Broken(self.at, f"{error.msg} (line {error.lineno})") from error
        except RecursionError as error:
            raise _Broken(self.at, "nested too deeply") from error
        return value

    def _no_number(self, _: str) -> None:
        self.not_numbers += 1
