"""What every reader of event logs gives back: events in time sequence, and an account of all that was not
read.

A log that someone else wrote is dirty: cut off, badly encoded, with ties and holes in its times. Readers
therefore never fail on a single record and never pass over one in silence. What cannot become an event
becomes a `Problem` with its place, its reason and its raw bytes; what had to be assumed becomes a note.
Only a file that is no log at all is refused (`bad_log`).

Invariants of a `Log`: events are sorted by time, those without a readable time first, ties as in the
file; every record of the file is either one event or one problem; identities are distinct.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from commute.errors import UsageError
from commute.logs.times import Clock

FORMATS = (
    "JSON lines, JSON arrays, JSON documents with a list of events, CloudEvents, CSV, XES, OCEL 1.0 JSON and CSV, "
    "OCEL 2.0 JSON, XML and SQLite; each may be gzipped"
)

# Bytes of the file read so far, and bytes in all (None: not known, as on standard input).
Progress: TypeAlias = Callable[[int, int | None], None]

# Object type, object id, and the mode that the log itself carries (None: it carries none).
Touched: TypeAlias = tuple[str, str, str | None]

# With its number in the file.
Record: TypeAlias = tuple[int, dict[str, object]]

INVALID_UTF8 = "invalid UTF-8; --encoding names another encoding"

_RAW_CHARS = 160
_EXAMPLES = 3


class LogEvent(msgspec.Struct, frozen=True, gc=False):
    """One record of a log.

    `number` is its line (JSON lines, CSV) or its ordinal from 1 (OCEL); `id` is distinct within the log.
    `time_s` is seconds since 1970, UTC; None where the log gives none that can be read. `objects` may
    name one object twice. `data` holds every field that is not the id, type, time or list of objects;
    fields used as keys stay in it. `around`: what stands on an envelope beside the data, None where there is no
    envelope. `spare`: the fields of `data` that were taken for the id or the time by their names alone, so that they
    may be the event's own. `text`: the values are text whatever they mean, as in a table.
    """

    number: int
    id: str
    type: str
    time_s: float | None
    objects: tuple[Touched, ...]
    data: dict[str, object]
    around: dict[str, object] | None = None
    spare: tuple[str, ...] = ()
    text: bool = False

    def field(self, name: str) -> object:
        """The value of a field, of the data or around it; None where there is none."""
        found = self.data.get(name)
        return found if found is not None or self.around is None else self.around.get(name)


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that did not become an event, or a place where the file breaks off."""

    where: str  # "line 12", "event e17", "end of file"
    reason: str
    raw: str  # the beginning of what stood there; empty where nothing did

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f"   {self.raw}" if self.raw else "")


@dataclass(frozen=True, slots=True)
class Log:
    """A log that was read: see the invariants at the top of this module."""

    events: list[LogEvent]
    format: str
    notes: list[str]  # what was assumed: which field is the type, the time, the keys; what is missing
    problems: list[Problem]  # as found in the file
    declared: Mapping[str, int] = field(default_factory=dict)  # objects that the log lists apart from events, by type


def excerpt(raw: object) -> str:
    """The beginning of `raw` on one line, for a person to recognise it."""
    if isinstance(raw, (bytes, bytearray)):
        text = bytes(raw[: _RAW_CHARS * 4]).decode("utf-8", "backslashreplace")
    else:
        text = raw if isinstance(raw, str) else str(raw)
        text = text[: _RAW_CHARS * 4].encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(c if c.isprintable() else " " for c in text.strip())
    return text if len(text) <= _RAW_CHARS else text[:_RAW_CHARS] + "…"


def bad_log(name: str, found: str) -> UsageError:
    """The refusal of a whole file: what was found, and what can be read."""
    return UsageError(f"{name}: {found}. These are read: {FORMATS}", slug="bad-log")


def no_field(name: str, field: str, fields: Iterable[str]) -> UsageError:
    """The refusal of a field that the user named and no record has: with the nearest name and all that there are."""
    known = list(fields)
    near = difflib.get_close_matches(field, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return UsageError(
        f"{name}: no record has a field {field}{hint}. Fields: {', '.join(known) or 'none'}", slug="bad-log"
    )


def examples(items: Iterable[object], total: int) -> str:
    """The first few of `items`, with an ellipsis if `total` is more."""
    shown = [str(item) for _, item in zip(range(_EXAMPLES), items, strict=False)]
    return ", ".join(shown) + (", …" if total > len(shown) else "")


class Builder:
    """Collects events, problems and notes in file sequence; `finish` sorts them into a `Log`.

    `unit` says what a record's number is, for messages: "line" or "event". `time_format`: how times are written, as of
    strptime, where they are not in a shape that is known.
    """

    def __init__(self, unit: str, time_format: str | None = None) -> None:
        self.unit = unit
        self.text = False  # set by a reader whose values all are text
        self._events: list[LogEvent] = []
        self._clock = Clock(time_format)
        # What no time could be read under, for the notes.
        self._asked = "" if time_format is None else f" as --time-format {time_format!r} says"
        # The same few types and objects occur over and over: one copy of each.
        self._types: dict[str, str] = {}
        self._touched: dict[Touched, Touched] = {}
        self._untimed: list[tuple[int, object]] = []  # index, and what stood there
        self.notes: list[str] = []
        self.problems: list[Problem] = []
        self.declared: dict[str, int] = {}

    def event(
        self,
        number: int,
        identity: str,
        kind: str,
        time: object,
        objects: tuple[Touched, ...],
        data: dict[str, object],
        around: dict[str, object] | None = None,
        spare: tuple[str, ...] = (),
    ) -> None:
        """Add one event; `time` as it stands in the log, None where it is missing."""
        time_s = self._clock.read(len(self._events), time)
        if time_s is None:
            self._untimed.append((len(self._events), time))
        kind = self._types.setdefault(kind, kind)
        objects = tuple([self._touched.setdefault(touched, touched) for touched in objects])
        self._events.append(LogEvent(number, identity, kind, time_s, objects, data, around, spare, self.text))

    def problem(self, where: str, reason: str, raw: object = "") -> None:
        self.problems.append(Problem(where, reason, excerpt(raw)))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finish(self, format_name: str) -> Log:
        """The log: times in one unit, identities distinct, sorted. O(n log n), O(n) where it is sorted
        already."""
        events = self._events
        scaled = self._clock.scaled()
        for index, time_s in scaled.items():
            events[index] = msgspec.structs.replace(events[index], time_s=time_s)
        self._untimed = [(events[at].number, time) for at, time in self._untimed if at not in scaled]
        self._distinct()
        self._note_times()
        # sorted() is stable, so ties keep the sequence of the file.
        events = sorted(events, key=lambda e: (e.time_s is not None, e.time_s or 0.0))
        return Log(events, format_name, self.notes, self.problems, self.declared)

    def _distinct(self) -> None:
        """Replace all identities by numbers if one occurs twice: then the field is no identity of events,
        and a broker would take the second event for a duplicate of the first."""
        events = self._events
        seen: set[str] = set()
        for event in events:
            if event.id in seen:
                break
            seen.add(event.id)
        else:
            return
        self.note(
            f"ids are no identities ({excerpt(event.id)!r} occurs twice): the {self.unit} number is the id; "
            "if they name objects, --key says so"
        )
        events[:] = [msgspec.structs.replace(e, id=str(e.number)) for e in events]

    def _note_times(self) -> None:
        events, missing = self._events, self._untimed
        if unit := self._clock.unit():
            self.note(f"times are numbers, read as {unit} since 1970")
        if shape := self._clock.shape:
            self.note(f"times are written {shape}")
        if missing and len(missing) == len(events):
            given = next((time for _, time in missing if time is not None), None)
            why = "no times" if given is None else f"no readable time{self._asked} (such as {excerpt(given)!r})"
            self.note(f"{why}: events keep the sequence of the file")
        elif missing:
            shown = examples(
                (f"{self.unit} {n}: {'none' if t is None else repr(excerpt(t))}" for n, t in missing), len(missing)
            )
            self.note(f"{len(missing)} of {len(events)} events have no readable time{self._asked} and come "
                      f"first ({shown})")  # fmt: skip
        late, latest = 0, float("-inf")
        for event in events:
            if event.time_s is not None:
                late += event.time_s < latest
                latest = max(latest, event.time_s)
        if late:
            self.note(f"the file is not in time sequence: {late} of {len(events)} events stand after a later one")


def object_id(value: object, what: str) -> str:
    """The text of an id: text, whole numbers and booleans have one. Raises ValueError for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer():  # JSON knows no difference; tables of numbers write 7 as 7.0
        return str(int(value))
    raise ValueError(f"{what}: {type(value).__name__} is no id; it must be text or an integer")


def note_empty(builder: Builder, empty: Mapping[str, int], total: int) -> None:
    """Say which key fields had no value in some events: those events do not touch that key."""
    for name, count in empty.items():
        builder.note(f"{count} of {total} events have no {name}, so no key of it")
