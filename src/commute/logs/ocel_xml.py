"""Object-centric event logs in XML: OCEL 2.0.

Source: OCEL 2.0 (Berti et al., 2024), section on the XML format.
"""

from __future__ import annotations

from commute.logs.base import Builder, Log, bad_log
from commute.logs.ocel import Related, resolve
from commute.logs.options import LogOptions
from commute.logs.raw import Raw
from commute.logs.roles import must_occur, named_keys
from commute.logs.xml import Xml

FORMAT = "OCEL 2.0 XML"


def read(raw: Raw, options: LogOptions) -> Log:
    """The log of the document in `raw`. O(bytes); about 15 µs an event. `options.key_fields` name attributes of events
    that are keys too. A number is the ordinal of the event in the file."""
    builder = Builder("event", options.time_format)
    builder.text = True
    collect = _Collect(raw, builder)
    broken = collect.xml.run()
    if broken:
        if not collect.events:
            raise bad_log(raw.name, f"OCEL 2.0 XML that breaks off at {broken[0]} ({broken[1].partition(';')[0]})")
        builder.problem(*broken)
    roles = named_keys(options.key_fields)
    must_occur(raw.name, roles, (event.data for _, event in collect.events))
    resolve(collect.events, collect.types, builder, roles)
    return builder.finish(FORMAT)


class _Collect:
    """The events and the types of objects of a document; what is wrong goes to the builder with its line."""

    def __init__(self, raw: Raw, builder: Builder) -> None:
        self.events: list[tuple[int, Related]] = []
        self.types: dict[str, str] = {}
        self.xml = Xml(raw, self._start, self._end, self._text)
        self._builder = builder
        self._ordinal = 0
        self._seen: set[str] = set()
        self._event: dict[str, str] | None = None
        self._line = 0
        self._related: list[str] = []
        self._data: dict[str, object] = {}
        self._attribute: str | None = None
        self._value: list[str] = []

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "event":
            self._ordinal += 1
            self._event, self._related, self._data = attributes, [], {}
            self._line = self.xml.line
        elif tag == "object" and self._event is None:
            self._declare(attributes)
        elif tag == "relationship" and self._event is not None:
            # An event that loses a relation would run with fewer keys: it is refused at its end.
            self._related.append(attributes.get("object-id") or "")
        elif tag == "attribute" and self._event is not None:
            self._attribute, self._value = attributes.get("name"), []

    def _text(self, text: str) -> None:
        if self._attribute is not None:
            self._value.append(text)

    def _end(self, tag: str) -> None:
        if tag == "attribute" and self._attribute is not None:
            self._data[self._attribute] = "".join(self._value)
            self._attribute = None
        elif tag == "event" and self._event is not None:
            self._take(self._event)
            self._event = None

    def _take(self, event: dict[str, str]) -> None:
        identity, kind = event.get("id"), event.get("type")
        reason = ""
        if not identity or not kind:
            reason = "the event has no id or no type"
        elif identity in self._seen:
            reason = f"a second event with the id {identity!r}"
        elif not all(self._related):
            reason = "a relationship without object-id"
        if reason or not identity or not kind:
            self._builder.problem(f"line {self._line}", reason, event)
            return
        self._seen.add(identity)
        related = Related(identity, kind, event.get("time"), tuple(self._related), self._data)
        self.events.append((self._ordinal, related))

    def _declare(self, declared: dict[str, str]) -> None:
        identity, kind = declared.get("id"), declared.get("type")
        if not identity or not kind:
            # Within objects, <object> elements without a type are relations of other dialects.
            return
        known = self.types.setdefault(identity, kind)
        if known != kind:
            reason = f"object {identity!r} is declared as {known!r} and again as {kind!r}; the first counts"
            self._builder.problem(f"line {self.xml.line}", reason)
