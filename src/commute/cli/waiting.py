"""Why an event has not run: its state, the unsettled events before it that it conflicts with, and those after it.

Everything is read from the log and the store, with footprints computed anew; a running worker is asked only through
the file that it writes each second, for which handlers run at this moment. So the answer holds without a worker too.

Invariants: only direct conflicts are named, nearest first; no more unsettled events are looked at on either side than
a worker would have admitted (``descriptors_max``), and the answer says when that was not all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from commute.cli.place import Place
from commute.cli.status import STALE_S, stream_ends, worker
from commute.cli.subject import Reader, Subject
from commute.core.footprint import Access, conflicting
from commute.core.watermark import Done
from commute.store.reading import read_attempts, read_dead, read_partitions
from commute.store.records import AttemptRow, DeadRow
from commute.transports.base import Delivery
from commute.transports.rows import read_rows

CHUNK_POSITIONS = 512
CHUNK_BYTES = 16 << 20  # of payload held at once while the log is walked

Stage = Literal["retrying", "parked", "held", "running", "waiting"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One handler's failed attempts on an event; `number` is the next one."""

    handler: str
    number: int
    attempts_max: int | None  # None: no handler of that name is registered any more
    due_s: float
    error: str


@dataclass(frozen=True, slots=True)
class Blocker:
    """An unsettled earlier event that the event conflicts with. `pairs`: the event's access, the blocker's access."""

    event: Subject
    pairs: tuple[tuple[Access, Access], ...]
    stage: Stage
    handlers: tuple[str, ...]  # those that touch the keys; of a retry, a failure or a run, the ones concerned
    attempt: Attempt | None
    reason: str  # of a parked or held one


@dataclass(slots=True)
class Waiting:
    """What there is to say about one event. `blockers` nearest first; `followers` conflict with it directly."""

    status: str  # as receipts say it: waiting, parked, held, or the outcome
    reason: str = ""
    blockers: list[Blocker] = field(default_factory=list)
    followers: int = 0
    complete: bool = True  # False: there are more unsettled events than were looked at
    attempts: list[Attempt] = field(default_factory=list)  # its own
    running: list[str] = field(default_factory=list)  # its own handlers that run now
    worker: bool = False  # a worker holds the group
    paused: list[str] = field(default_factory=list)


class _Store:
    """One look at the group's progress: what is settled, dead, failing and running.

    Below `mark` everything is settled but what is parked or held; `last` is the last position of the log.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.done = Done()
        self.last, floor, mark = place.broker.read(lambda c: stream_ends(c, place.stream, place.group))
        self.mark = max(floor + 1, mark or 0)
        self.dead: dict[int, DeadRow] = {}
        self.attempts: dict[int, list[AttemptRow]] = {}
        self.paused: list[str] = []
        scope = place.scope
        if scope is not None:
            for state in place.store.read(lambda c: read_partitions(c, scope)):
                self.mark = max(self.mark, state.watermark)
                self.paused += [state.paused] if state.paused else []
                for block, bits in state.blocks:
                    self.done.load(block, bits)
            rows = place.store.read(lambda c: read_dead(c, scope, "status IN ('parked', 'held')", data=False))
            self.dead = {row.position: row for row in rows}
            for one in place.store.read(lambda c: read_attempts(c, scope)):
                self.attempts.setdefault(one.position, []).append(one)
        told = worker(place)
        self.worker = told is not None
        self.running = _running(told)

    def settled(self, position: int) -> bool:
        """Whether the event there has its outcome; parked and held ones have none."""
        return position not in self.dead and (position < self.mark or position in self.done)


def look(place: Place, reader: Reader, subject: Subject) -> Waiting:
    """All that can be said about why `subject`, which lies in the log, has or has not run."""
    assert subject.position is not None
    store = _Store(place)
    row = subject.dead
    if row is not None and row.status not in ("parked", "held"):
        return Waiting(row.status, row.reason)
    if store.settled(subject.position):
        return Waiting("processed", subject.refusal if reader.kinds.ignored(subject.type) else "")
    found = Waiting(
        "waiting" if row is None else row.status,
        "" if row is None else row.reason,
        attempts=[_attempt(reader, one) for one in store.attempts.get(subject.position, [])],
        running=store.running.get(subject.position, []),
        worker=store.worker,
        paused=store.paused,
    )
    if subject.footprint:
        _look_around(store, reader, subject, subject.position, found)
    return found


def _look_around(store: _Store, reader: Reader, subject: Subject, position: int, found: Waiting) -> None:
    bound = store.place.limits.descriptors_max
    for seen, event in enumerate(_before(store, reader, position)):
        if seen >= bound:
            found.complete = False
            break
        pairs = conflicting(subject.footprint, event.footprint)
        if pairs:
            found.blockers.append(_blocker(store, reader, event, pairs))
    for seen, event in enumerate(_after(store, reader, position)):
        if seen >= bound:
            found.complete = False
            break
        found.followers += bool(conflicting(subject.footprint, event.footprint))


def _before(store: _Store, reader: Reader, position: int) -> Iterator[Subject]:
    """The unsettled events before `position`, nearest first. Below the watermark only the dead letters are."""
    last = position - 1
    while last >= store.mark:
        start = max(store.mark, last - CHUNK_POSITIONS + 1)
        yield from reversed(list(_among(store, reader, range(start, last + 1))))
        last = start - 1
    for one in sorted(store.dead, reverse=True):
        if one < min(store.mark, position):
            yield from _among(store, reader, [one])


def _after(store: _Store, reader: Reader, position: int) -> Iterator[Subject]:
    """The unsettled events after `position`, nearest first."""
    for one in sorted(store.dead):
        if position < one < store.mark:
            yield from _among(store, reader, [one])
    for start in range(max(position + 1, store.mark), store.last + 1, CHUNK_POSITIONS):
        yield from _among(store, reader, range(start, min(start + CHUNK_POSITIONS, store.last + 1)))


def _among(store: _Store, reader: Reader, positions: Sequence[int]) -> Iterator[Subject]:
    """The unsettled events at some positions, all of one chunk, ascending; few bytes of them in memory at once."""
    wanted = {position for position in positions if not store.settled(position)}
    if not wanted:
        return
    for delivery in _read(store.place, min(wanted), max(wanted)):
        if delivery.position in wanted:
            wanted.discard(delivery.position)
            yield reader.subject(delivery, store.dead.get(delivery.position))
    for position in sorted(wanted & store.dead.keys()):  # the log has forgotten them, the dead letters have not
        row = store.dead[position]
        message = row.message
        yield Subject(message.type, message.id, message.source, position, message.time_s, (), row.footprint, dead=row)


def _read(place: Place, first: int, last: int) -> Iterator[Delivery]:
    while first <= last:
        start = first
        found = place.broker.read(
            lambda c, start=start: read_rows(c, place.stream, start, last=last, size_bytes_max=CHUNK_BYTES)  # type: ignore[misc]
        )
        if not found:
            return
        yield from found
        first = found[-1].position + 1


def _blocker(store: _Store, reader: Reader, event: Subject, pairs: list[tuple[Access, Access]]) -> Blocker:
    assert event.position is not None
    touching = [name for _, theirs in pairs for name in event.handlers(theirs.key)]
    row, attempts = store.dead.get(event.position), store.attempts.get(event.position)
    running = store.running.get(event.position)
    stage: Stage = "waiting"
    attempt, reason = None, ""
    if row is not None:
        stage, reason = ("parked" if row.status == "parked" else "held"), row.reason
        touching = [row.handler] if row.status == "parked" and row.handler else touching
    elif running:
        stage, touching = "running", running
    elif attempts:
        stage, attempt = "retrying", _attempt(reader, max(attempts, key=lambda one: one.due_s))
        touching = [attempt.handler]
    return Blocker(event, tuple(pairs), stage, tuple(dict.fromkeys(touching)), attempt, reason)


def _attempt(reader: Reader, row: AttemptRow) -> Attempt:
    known = next((bound.handler for bound in reader.kinds.bounds if bound.name == row.handler), None)
    most = None if known is None else known.retry.attempts
    return Attempt(row.handler, row.failures + 1, most, row.due_s, row.error)


def _running(told: Mapping[str, Any] | None) -> dict[int, list[str]]:
    """The handlers that the worker said run, unless that was long ago: position -> names."""
    running: dict[int, list[str]] = {}
    if told is not None and told["stale_s"] is not None and told["stale_s"] <= STALE_S:
        for one in told["handlers"]:
            running.setdefault(int(one["position"]), []).append(str(one["handler"]))
    return running
