"""The events that a person names on the command line, and what each of them touches.

An event is named by its id or a beginning of it, by ``SOURCE#ID``, by ``LOG:line`` (a line of a log file), or by two
words, ``TYPE JSON``: the last two need not be in the broker's log. Footprints are computed with the app's own handlers,
as a worker does when the event arrives; an event that the intake would reject or pass over touches nothing, here as
there.

Invariant: looking for an event reads what was last committed, and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from commute.cli.output import plural
from commute.cli.place import Place
from commute.core.footprint import Footprint
from commute.errors import RejectedError, UsageError
from commute.logs.options import LogOptions
from commute.runtime.kinds import Kind, Kinds
from commute.store.reading import read_dead
from commute.store.records import DeadRow
from commute.transports.base import Delivery, Message
from commute.transports.rows import find_stream, read_rows

if TYPE_CHECKING:
    from commute.app import App
    from commute.database import Connection
    from commute.logs import Log

Parts: TypeAlias = tuple[tuple[str, Footprint], ...]

FOUND_MAX = 6  # events that an ambiguous beginning of an id is said to mean
LOG_ENDINGS = (
    ".jsonl",
    ".ndjson",
    ".csv",
    ".tsv",
    ".json",
    ".jsonocel",
    ".sqlite",
    ".xes",
    ".xml",
    ".gz",
)  # no id ends so
_LINE = re.compile(r"(?P<log>.+):(?P<line>[0-9]{1,18})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Named:
    """An event as it was written: an id, a type name and its `data`, or the `line` of a `log` that is a file."""

    text: str
    data: bytes | None = None
    log: str | None = None
    line: int = 0

    @property
    def by_id(self) -> bool:
        """Whether only the broker's log knows the event."""
        return self.data is None and self.log is None


@dataclass(frozen=True, slots=True)
class Subject:
    """An event and what it touches. `position` is None for one that is not of the broker's log.

    `line`: the log file of an event that was named by it, and its place in the time sequence there. `parts`: each
    handler that keeps a sequence, and what it touches. `footprint`: their union, which is what the schedule sees.
    `refusal`: why the intake would reject it or pass it over; then both are empty.
    """

    type: str
    id: str
    source: str
    position: int | None
    time_s: float
    parts: Parts
    footprint: Footprint
    refusal: str = ""
    dead: DeadRow | None = None  # its row among the dead letters
    line: tuple[str, int] | None = None
    written: str = ""  # LOG:line, as a person named it

    def handlers(self, key: str) -> list[str]:
        """The handlers that touch exactly this key."""
        return [name for name, footprint in self.parts if any(access.key == key for access in footprint)]


class Missing(Exception):
    """No event has the name that was given. `why`: what stands there instead; empty for an id."""

    def __init__(self, identity: str, why: str = "") -> None:
        super().__init__(identity)
        self.identity = identity
        self.why = why


def parse(words: Sequence[str]) -> list[Named]:
    """The events that the words name: a word before a JSON document is its type, ``FILE:number`` a line of a log where
    there is such a file or its name is that of a log or a path, any other one an id."""
    named: list[Named] = []
    clean = [word.encode("utf-8", "backslashreplace").decode() for word in words]
    at = 0
    while at < len(clean):
        following = clean[at + 1].lstrip() if at + 1 < len(clean) else ""
        if following[:1] in ("{", "["):
            named.append(Named(clean[at], following.encode()))
            at += 2
        else:
            named.append(_line(words[at], clean[at]) or Named(clean[at]))
            at += 1
    return named


def _line(word: str, shown: str) -> Named | None:
    found = _LINE.fullmatch(word)
    if found is None:
        return None
    try:
        is_log = (
            found["log"] == "-"
            or Path(found["log"]).is_file()
            or found["log"].endswith(LOG_ENDINGS)
            or _is_path(found["log"])
        )
    except (OSError, ValueError):  # a name that no file can have
        return None
    return Named(shown, log=found["log"], line=int(found["line"])) if is_log else None


def _is_path(name: str) -> bool:
    """Whether a name leads through a folder: then a file that is not there is missing, and no id. An id that looks so
    can be said as SOURCE#ID."""
    return "/" in name and "#" not in name and "://" not in name


class Reader:
    """Turns names and messages into subjects, with the handlers of one app."""

    def __init__(self, app: App[Any], said: LogOptions | None = None) -> None:
        """`said`: how the log files among the events are to be read; None: find out."""
        self.kinds = Kinds(app.handlers, app.ignore, app.limits.accesses_max)
        self._event_bytes_max = app.limits.event_bytes_max
        self._said = said or LogOptions()
        self._logs: dict[str, Log] = {}

    def given(self, named: Named) -> Subject:
        """An event given as JSON. Raises UsageError (``unknown-type``) and RejectedError for data that is wrong."""
        assert named.data is not None
        kind = self._kind(named.text)
        return Subject(named.text, "", "", None, 0.0, *_touched(kind, kind.codec.decode(named.data)))

    def recorded(self, named: Named) -> Subject:
        """An event of a log file: on that line (JSON lines, CSV), or the one of that number. O(log).

        Raises Missing where no event stands there, UsageError (``bad-log``, ``unknown-type``), and RejectedError for
        data that is wrong.
        """
        assert named.log is not None
        log = self._log(named.log)
        at = next((at for at, event in enumerate(log.events) if event.number == named.line), None)
        if at is None:
            places = (f"line {named.line}", f"event {named.line}")
            bad = [problem for problem in log.problems if problem.where in places]
            raise Missing(named.text, str(bad[0]) if bad else f"the log has {plural(len(log.events), 'event')}")
        event = log.events[at]
        type_ = self.kinds.recorded_type(event.type)
        try:
            kind = self._kind(type_)
            parts, footprint = _touched(kind, kind.codec.decode(self.kinds.recorded(event)))
        except (UsageError, RejectedError) as error:
            raise type(error)(f"{named.text}: {error.message}", slug=error.slug) from error
        except (ValueError, TypeError) as error:  # text that is half a character, a value that JSON does not know
            raise RejectedError(f"{named.text}: {error}", slug="invalid-data") from error
        line = (named.log, at)
        return Subject(type_, event.id, "", None, event.time_s or 0.0, parts, footprint, "", None, line, named.text)

    def _log(self, name: str) -> Log:
        """The log, read once: two events of it may be asked for, and stdin can be read only once."""
        from commute.logs import read_log

        if name not in self._logs:
            self._logs[name] = read_log(name, self._said)
        return self._logs[name]

    def _kind(self, type_: str) -> Kind:
        kind = self.kinds.get(type_)
        if kind is None:
            like = self.kinds.like(type_)
            hint = f"; did you mean {like}?" if like else ""
            raise UsageError(f'no handler takes "{type_}"{hint}', slug="unknown-type")
        return kind

    def find(self, place: Place, named: Named) -> Subject:
        """The event with that id, or the only one whose id begins so.

        Raises Missing, and UsageError (``which-event``) where it means several.
        """
        source, _, identity = named.text.rpartition("#")
        if not identity:
            raise UsageError(f"{named.text!r} is no event: give an id, SOURCE#ID, or TYPE JSON", slug="which-event")
        positions = place.broker.read(lambda c: _positions(c, place.stream, identity, source))
        scope = place.scope
        rows = [] if scope is None else place.store.read(lambda c: _dead(c, scope, identity, source))
        dead = {row.position: row for row in rows}
        found: dict[int, tuple[str, str]] = positions | {r.position: (r.message.id, r.message.source) for r in rows}
        exact = {position: name for position, name in found.items() if name[0] == identity}
        found = exact or found
        # An id that was used twice has a second position, and is rejected there: the first one is the event.
        first = {name: position for position, name in sorted(found.items(), reverse=True)}
        if not first:
            raise Missing(named.text)
        if len(first) > 1:
            shown = ", ".join(f"{its}#{one}" for one, its in sorted(first)[: FOUND_MAX - 1])
            many = f"{len(first)}" if len(first) < FOUND_MAX else "many"
            raise UsageError(f"{named.text} means {many} events: {shown}. Write more of it", slug="which-event")
        (position,) = first.values()
        kept = place.broker.read(lambda c: read_rows(c, place.stream, position, last=position))
        row = dead.get(position)
        if kept:
            return self.subject(kept[0], row)
        if row is None:  # deleted between the two looks
            raise Missing(named.text)
        return self.subject(Delivery(0, position, _whole(place, row), None), row)

    def subject(self, delivery: Delivery, row: DeadRow | None = None) -> Subject:
        """The event of a delivery; with its dead-letter row, what that keeps counts."""
        message = delivery.message
        refusal = ""
        parts: Parts = ()
        footprint: Footprint = ()
        try:
            parts, footprint = self._touched(message, delivery.duplicate_of)
        except RejectedError as error:
            refusal = str(error)
        if row is not None and row.status in ("parked", "held"):
            footprint = row.footprint  # as it was computed when the event arrived
        return Subject(
            message.type, message.id, message.source, delivery.position, message.time_s, parts, footprint, refusal, row
        )

    def footprint(self, delivery: Delivery) -> Footprint:
        """What an event of the log touches; nothing where the intake would not admit it."""
        try:
            return self._touched(delivery.message, delivery.duplicate_of)[1]
        except RejectedError:
            return ()

    def _touched(self, message: Message, duplicate_of: int | None) -> tuple[Parts, Footprint]:
        if duplicate_of is not None:
            raise RejectedError(f"its id was used at position {duplicate_of} already", slug="id-twice")
        kind = self.kinds.get(message.type)
        if kind is None:
            why = "passed over: ignore= lists its type" if self.kinds.ignored(message.type) else "no handler takes it"
            raise RejectedError(why, slug="unknown-type")
        if len(message.data) > self._event_bytes_max:
            raise RejectedError(f"its data has {len(message.data):,} bytes", slug="too-large")
        return _touched(kind, kind.codec.decode(message.data))


def _touched(kind: Kind, event: object) -> tuple[Parts, Footprint]:
    """What each of its handlers touches, and the union. Raises RejectedError where a key does not resolve."""
    parts = tuple((bound.name, bound.declared(kind.type).footprint(event)) for bound in kind.ordered)
    return parts, kind.footprint(event) if kind.ordered else ()


def _whole(place: Place, row: DeadRow) -> Message:
    """The message of a dead letter, with its bytes."""
    scope = place.scope
    assert scope is not None, "a dead letter has a scope"
    where = (row.partition, row.position)
    rows = place.store.read(lambda c: read_dead(c, scope, "partition=? AND position=?", where))
    return rows[0].message if rows else row.message


def _positions(connection: Connection, stream: str, beginning: str, source: str) -> dict[int, tuple[str, str]]:
    """position -> (id, source) of a few events whose ids begin so, the exact one first. Index reads only."""
    found = find_stream(connection, stream)
    if found is None:
        return {}
    rows = connection.execute(
        f"select position, id, source from {found.table} where id >= ? and id <= ? and duplicate_of is null"
        " and ? in ('', source) order by id limit ?",
        (beginning, beginning + "\U0010ffff", source, FOUND_MAX),
    ).fetchall()
    return {position: (identity, its) for position, identity, its in cast("list[tuple[int, str, str]]", rows)}


def _dead(connection: Connection, scope: int, beginning: str, source: str) -> list[DeadRow]:
    return read_dead(
        connection, scope, "id >= ? AND id <= ? AND (? = '' OR source = ?)",
        (beginning, beginning + "\U0010ffff", source, source), data=False,
    )  # fmt: skip
