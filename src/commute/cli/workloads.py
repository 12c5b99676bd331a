"""Workloads for `commute analyze` and `commute advise`: of a log by the objects that it names, of an app by the
footprints of its handlers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from commute.analysis.workload import Workload, workload_of
from commute.cli.output import clean, note, plural
from commute.cli.reading import PROBLEMS_SHOWN_MAX, check_types, log_name
from commute.cli.reading import read as read_log
from commute.cli.subject import Reader
from commute.core.footprint import Footprint
from commute.errors import RejectedError, UsageError
from commute.logs import Log, LogEvent, LogOptions
from commute.transports.rows import find_stream, read_rows

if TYPE_CHECKING:
    from commute.app import App
    from commute.cli.place import Place

EVENTS_MAX = 100_000  # of a broker's log: the newest
_CHUNK_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Source:
    """A workload, what it is called for people, and the log that it came from, if it was a file. `events`: what stands
    in a log, one by one beside those of the workload; empty where handlers take it."""

    workload: Workload
    shown: str
    log: Log | None
    events: Sequence[LogEvent] = ()


def of_log(path: str, said: LogOptions, read: Sequence[str], add: Sequence[str], service: str | None) -> Source:
    """Every object that an event names is a key. `service`: the field that holds how long it took, in milliseconds."""
    log = read_log(path, replace(said, guess=True), keys=True)
    check_types(log, tuple(read), tuple(add))
    workload, refused = workload_of(log.events, read=frozenset(read), add=frozenset(add))
    for event, reason in refused[:PROBLEMS_SHOWN_MAX]:
        note(f"left out: event {clean(event.id)} ({clean(event.type)}): {clean(reason)}")
    left_out = {id(event) for event, _ in refused}
    kept = [event for event in log.events if id(event) not in left_out]
    if service is not None:
        workload = replace(workload, service_s=_service_s(path, kept, service))
    return Source(workload, log_name(path), log, kept)


def of_app_log(app: App[Any], path: str, said: LogOptions) -> Source:
    """The events of a log file that the app's handlers take, with their footprints."""
    log = read_log(path, said, keys=False)
    reader = Reader(app)
    types: list[str] = []
    footprints: list[Footprint] = []
    rejected: dict[str, int] = {}
    for event in log.events:
        type_ = reader.kinds.recorded_type(event.type)
        kind = reader.kinds.get(type_)
        try:
            if kind is None:
                raise RejectedError("no handler takes it", slug="unknown-type")
            footprints.append(kind.footprint(kind.codec.decode(reader.kinds.recorded(event))))
            types.append(type_)
        except (RejectedError, ValueError, TypeError) as error:
            why = f"{clean(event.type)}: {clean(error)}"
            rejected[why] = rejected.get(why, 0) + 1
    _say_rejected(rejected)
    return _checked(Workload(types, footprints), f"{app.name} on {log_name(path)}", log)


def of_broker(app: App[Any], place: Place) -> Source:
    """The newest events of the app's own stream, with their footprints."""
    reader = Reader(app)
    types: list[str] = []
    footprints: list[Footprint] = []
    for kind, footprint in _stored(place, reader):
        types.append(kind)
        footprints.append(footprint)
    return _checked(Workload(types, footprints), f"{place.shown}, stream {place.stream}", None)


def _stored(place: Place, reader: Reader) -> Iterator[tuple[str, Footprint]]:
    found = place.broker.read(lambda c: find_stream(c, place.stream))
    if found is None:
        return
    first = max(found.floor + 1, found.last - EVENTS_MAX + 1)
    while first <= found.last:
        last = min(found.last, first + _CHUNK_EVENTS - 1)
        rows = place.broker.read(lambda c, at=first, end=last: read_rows(c, place.stream, at, last=end))  # type: ignore[misc]
        for delivery in rows:
            subject = reader.subject(delivery)
            if not subject.refusal:
                yield subject.type, subject.footprint
        first = last + 1


def measured(path: str) -> dict[str, list[float]]:
    """The service times of each type in a document of ``commute replay --json``. Raises UsageError (``option``)."""
    try:
        document = msgspec.json.decode(Path(path).read_bytes(), type=_Measured)
    except OSError as error:
        raise UsageError(f"--service {clean(path)}: {error.strerror or error}", slug="option") from error
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"--service {clean(path)}: no document of commute replay --json with service_s ({error})", slug="option"
        ) from error
    return document.service_s


class _Measured(msgspec.Struct):
    service_s: dict[str, list[float]]


def _checked(workload: Workload, shown: str, log: Log | None) -> Source:
    if not workload.events:
        raise UsageError(f"{shown}: there is no event that a handler takes", slug="bad-log")
    return Source(workload, shown, log)


def _say_rejected(rejected: dict[str, int]) -> None:
    for why, count in sorted(rejected.items(), key=lambda pair: -pair[1])[:PROBLEMS_SHOWN_MAX]:
        note(f"left out: {count:,} of {why}")


def _service_s(path: str, events: Sequence[LogEvent], field: str) -> list[float]:
    found: list[float | None] = []
    for event in events:
        try:
            value = float(str(event.field(field)))
            found.append(value / 1000 if 0 <= value < float("inf") else None)
        except ValueError:
            found.append(None)
    known = [value for value in found if value is not None]
    if not known:
        raise UsageError(f"{log_name(path)}: no event has a number of milliseconds in {field}", slug="bad-log")
    mean_s = sum(known) / len(known)
    if len(known) < len(found):
        note(f"note: {plural(len(found) - len(known), 'event')} without {clean(field)}: the mean is taken")
    return [mean_s if value is None else value for value in found]
