"""XES (IEEE 1849): traces of events; each event touches its case, and the resource that did it.

Cases are written one after the other, so only times give the sequence of the log: a file without any is refused.
Attributes within attributes say something of an attribute, not of the event, and are passed over.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

from commute.logs.base import Builder, Log, bad_log, examples, no_field, note_empty
from commute.logs.modes import note_classes
from commute.logs.options import LogOptions
from commute.logs.raw import Raw
from commute.logs.roles import RESOURCE, Roles, keys_of
from commute.logs.xml import Xml
from commute.wording import plural

FORMAT = "XES"

_NAME, _TIME = "concept:name", "time:timestamp"
_CASE = "case"  # where the name of the trace is put beside the attributes of an event
_NOT_ATTRIBUTES = frozenset({"log", "trace", "event", "global", "classifier", "extension"})


def read(raw: Raw, options: LogOptions) -> Log:
    """The log of the document in `raw`. O(bytes); about 10 µs an event of two attributes.

    A number is the ordinal of the event in the file. The name of a trace is a key of type ``case``, ``org:resource``,
    else ``org:group``, one of type ``resource``, unless the options say otherwise. Raises UsageError where no event has
    a time or a named attribute.
    """
    builder = Builder("event", options.time_format)
    builder.text = True
    collect = _Collect(raw, builder, options)
    broken = collect.xml.run()
    if broken:
        if not collect.events:
            raise bad_log(raw.name, f"XES that breaks off at {broken[0]} ({broken[1].partition(';')[0]})")
        builder.problem(*broken)
    collect.check(raw.name)
    if options.guess or collect.roles.case != _CASE:
        builder.note(
            f"type: {collect.type}; time: {collect.time}; keys: case = {options.case_field or _NAME} of the trace, "
            f"resource = {' else '.join(collect.roles.resource)} (--type-field, --time-field, --case-field, "
            "--resource-field and --key name others)"
        )
    if collect.unnamed:
        builder.note(
            f"{plural(collect.unnamed, 'trace')} without {collect.case_name}: the ordinal of the trace is the case"
        )
    return builder.finish(FORMAT)


class _Collect:
    """Hands the events to the builder, a trace at a time: its name may stand after them."""

    def __init__(self, raw: Raw, builder: Builder, options: LogOptions) -> None:
        self.type = options.type_field or _NAME
        self.time = options.time_field or _TIME
        self.case_name = options.case_field or _NAME
        resource = (options.resource_field,) if options.resource_field else RESOURCE
        keys = tuple((field, field) for field in options.key_fields)
        self.roles = Roles(keys=keys, case=_CASE, resource=resource, mode=options.mode_field)
        if keys:  # as of a table: named keys replace those that would be taken by themselves
            self.roles = replace(
                self.roles,
                case=_CASE if options.case_field else None,
                resource=(options.resource_field,) if options.resource_field else (),
            )
        self.id = options.id_field
        self.events = self.timed = self.traces = self.unnamed = 0
        self.fields: dict[str, None] = {}
        self.first_line = 0
        self.xml = Xml(raw, self._start, self._end)
        self._builder = builder
        self._wanted = {f for f in (options.resource_field, options.mode_field, self.id, *options.key_fields) if f}
        self._empty: dict[str, int] = {}
        self._event: dict[str, object] | None = None
        self._trace: dict[str, object] | None = None
        self._pending: list[tuple[int, dict[str, object]]] = []
        self._inside = 0  # attributes and declarations around the place that is read

    def check(self, name: str) -> None:
        """Raise UsageError for what makes the log useless; note the rest."""
        if not self.events:
            raise bad_log(name, "XES without an event")
        for field in sorted(self._wanted - self.fields.keys()):
            raise no_field(name, field, self.fields)
        if not self.timed:
            known = examples((f for f in self.fields if f != self.type), len(self.fields))
            raise bad_log(
                name,
                f"XES in which no event has {self.time} (the first one stands at line {self.first_line}), so the "
                f"sequence of events of different cases is not known; --time-field names another attribute, of: "
                f"{known or 'none'}",
            )
        note_empty(self._builder, {f: n for f, n in self._empty.items() if f != _CASE}, self.events)
        note_classes(self._builder, self.roles.classes)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._inside or tag in ("global", "classifier", "extension"):
            self._inside += 1
        elif tag == "event":
            self._event = {}
            self.first_line = self.first_line or self.xml.line
        elif tag == "trace":
            self._trace = {}
            self.traces += 1
        elif tag not in _NOT_ATTRIBUTES:
            self._inside += 1
            owner = self._event if self._event is not None else self._trace
            key = attributes.get("key")
            if owner is not None and key is not None:
                owner[sys.intern(key)] = attributes.get("value")

    def _end(self, tag: str) -> None:
        if self._inside:
            self._inside -= 1
        elif tag == "event" and self._event is not None:
            self.events += 1
            self._pending.append((self.events, self._event))
            self._event = None
            if self._trace is None:
                self._flush({})
        elif tag == "trace" and self._trace is not None:
            self._flush(self._trace)
            self._trace = None

    def _flush(self, trace: Mapping[str, object]) -> None:
        case = trace.get(self.case_name)
        if case is None and self._trace is not None:
            self.unnamed += 1
            case = f"#{self.traces}"
        for number, event in self._pending:
            self.fields.update(dict.fromkeys(event))
            kind, time = event.pop(self.type, None), event.pop(self.time, None)
            self.timed += time is not None
            try:
                if not isinstance(kind, str) or not kind.strip():
                    raise ValueError(f"no type: {self.type} is missing or empty")
                lookup = {**event, self.type: kind, _CASE: case}
                objects = keys_of(self.roles, lookup.get, self._empty)
            except ValueError as error:
                self._builder.problem(f"event {number}", str(error), event)
                continue
            identity = event.pop(self.id, None) if self.id else None
            self._builder.event(number, str(identity or number), kind, time, objects, event)
        self._pending.clear()
