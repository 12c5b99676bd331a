"""A log of events run through the real engine, recorded and judged: what it allows, and what was reached.

    log ─▶ published to a broker of its own (a temporary file, or memory) ─▶ worker, handlers wait `service_s`
        ─▶ recorded: admissions, releases, starts, ends; measured service times
        ─▶ `core.history` judges the sequence, `core.bounds` gives what is the least possible

Without an app, every object that an event names is a written key, unless the caller says that its type is only read or
added to, or the log carries modes: a log lists the objects involved, not write sets, so that is an assumption.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from commute.analysis.workload import workload_of
from commute.app import App
from commute.core.bounds import Bounds
from commute.core.footprint import Access, Footprint
from commute.core.history import Ending, History, Verdict
from commute.errors import CommuteError, UsageError
from commute.event import Event
from commute.limits import Limits
from commute.logs import LogEvent
from commute.report.timeline import Span
from commute.store.reading import count_dead, find_scope
from commute.trail import Passage, spans_of
from commute.transports.base import Message

if TYPE_CHECKING:
    from commute.runtime.worker import Worker
from commute.runtime.kinds import Kinds

BATCH_EVENTS = 1_000
POLL_S = 0.02
TYPES_SHOWN_MAX = 6
QUANTILES = 50  # of the service times that a report keeps
STALL_S = 20.0  # a run in which nothing ends for this long, and nothing runs, is given up

Progress = Callable[[str, int], None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found. Times in seconds; `bound` and `speedup` are ratios; `dead` counts dead letters. None where
    nothing is known of what the events touch: that no event of a log without keys waits says nothing."""

    events: int
    chain_events: int | None
    bound: float | None
    lower_bound_s: float
    makespan_s: float
    efficiency: float
    speedup: float
    violations: int
    false_waits: int
    dead: int
    concurrency: int
    peak_rss_mb: float
    service_s: dict[str, list[float]]  # type -> measured times at 1, 3, 5, ... 99 % of its events, ascending


class Recording:
    """A `History` that also measures: when each event was admitted, started last, and ended."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.history = History()
        self._clock = clock
        self.first_s: float | None = None
        self.last_s = 0.0
        self.ended = 0
        self.left = 0  # events that a pause of the intake kept out
        self.pause = ""
        self.admitted_s: dict[int, float] = {}
        self.started_s: dict[int, float] = {}
        self.ended_s: dict[int, float] = {}
        self.service_s: dict[int, float] = {}

    def admit(self, position: int, footprint: Footprint, id_: str = "", type_: str = "") -> None:
        now_s = self._clock()
        if self.first_s is None:
            self.first_s = now_s
        self.admitted_s.setdefault(position, now_s)
        self.history.admit(position, footprint)

    def release(self, position: int) -> None:
        self.history.release(position)

    def start(self, position: int) -> None:
        self.history.start(position)
        self.started_s[position] = self._clock()

    def end(self, position: int, ending: Ending) -> None:
        self.last_s = now_s = self._clock()
        self.history.end(position, ending)
        self.ended_s[position] = now_s
        self.service_s[position] = now_s - self.started_s.setdefault(position, now_s)
        self.ended += 1

    def hold(self, position: int, footprint: Footprint | None = None) -> None:
        self.history.hold(position, footprint)

    @property
    def makespan_s(self) -> float:
        """From the first admission to the last end."""
        return 0.0 if self.first_s is None else max(0.0, self.last_s - self.first_s)

    def quantiles(self, types: Sequence[str]) -> dict[str, list[float]]:
        """The measured service times of each type; `types`: of the events in log sequence, without children."""
        found: dict[str, list[float]] = {}
        for position, kind in zip(sorted(self.history.footprints), types, strict=False):
            if position in self.service_s:
                found.setdefault(kind, []).append(self.service_s[position])
        for times in found.values():
            times.sort()
        # The middle of each part: an extreme would stand for far more events than it is.
        return {
            kind: [_at(times, (step + 0.5) / QUANTILES) for step in range(QUANTILES)] for kind, times in found.items()
        }

    def bounds(self) -> Bounds:
        """What is the least possible, from the measured service times, in log sequence."""
        bounds = Bounds()
        footprints = self.history.footprints
        for position in sorted(footprints):
            bounds.add(footprints[position], self.service_s.get(position, 0.0))
        return bounds

    def spans(self, names: Sequence[tuple[str, str]]) -> list[Span]:
        """What each event did, in log sequence, and for whom it waited; `names` are id and type, in that sequence too.

        Events beyond `names`, the children, are known by their position alone.
        """
        first_s, footprints = self.first_s or 0.0, self.history.footprints
        passages = []
        for rank, position in enumerate(sorted(footprints)):
            admitted_s = self.admitted_s.get(position, first_s)
            started_s = self.started_s.get(position, admitted_s)
            ended_s = self.ended_s.get(position, started_s)
            name, kind = names[rank] if rank < len(names) else (str(position), "")
            passages.append(Passage(name, kind, footprints[position], admitted_s, started_s, ended_s))
        return spans_of(passages, first_s)


def _at(ascending: Sequence[float], part: float) -> float:
    return round(ascending[min(len(ascending) - 1, int(part * len(ascending)))], 6)


class LogStep(Event, type="log_step"):
    """One event of a log without an app: `n` is its place in the log."""

    n: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """A finished replay: the report, the verdict behind it, the bounds, and what was not run.

    `refused` are log events that could not be sent; `left` counts those behind a pause of the intake, `pause` says why.
    """

    report: Report
    verdict: Verdict
    bounds: Bounds
    refused: Sequence[tuple[LogEvent, str]]
    left: int
    pause: str
    spans: Sequence[Span]


def replay(
    events: Sequence[LogEvent],
    *,
    app: App[Any] | None = None,
    read: Collection[str] = (),
    add: Collection[str] = (),
    service_s: float = 0.005,
    concurrency: int = 32,
    lookahead: int | None = None,
    memory: bool = False,
    progress: Progress = lambda stage, done: None,
) -> Replayed:
    """Run `events` in their sequence; blocks for about the makespan. `progress(stage, done)` is called now and then.

    `lookahead` is `descriptors_max`. Raises UsageError and StoreError; a failing handler of `app` makes dead letters.
    """
    with tempfile.TemporaryDirectory(prefix="commute-replay-") as folder:
        broker = "memory://" if memory else f"sqlite:///{Path(folder) / 'replay.db'}"
        refused: list[tuple[LogEvent, str]] = []
        declared = app is not None
        if app is None:
            app, messages = _plain_app(events, frozenset(read), frozenset(add), service_s, refused)
        else:
            messages = _messages_for(app, events, refused)
        app.override(broker=broker, db=broker, concurrency=concurrency, descriptors_max=lookahead)
        recording = Recording()
        dead = asyncio.run(run_messages(app, messages, recording, progress))
    progress("check", len(events))
    verdict = recording.history.check()
    unsent = {id(event) for event, _ in refused}
    named = [(event.id, event.type) for event in events if id(event) not in unsent]
    bounds = recording.bounds()
    known = declared or any(recording.history.footprints.values())
    quantiles = recording.quantiles([kind for _, kind in named])
    report = _report(recording, bounds, verdict, dead, concurrency, quantiles, known=known)
    spans = recording.spans(named)
    return Replayed(report, verdict, bounds, refused, recording.left, recording.pause, spans)


def _plain_app(
    events: Sequence[LogEvent],
    read: frozenset[str],
    add: frozenset[str],
    service_s: float,
    refused: list[tuple[LogEvent, str]],
) -> tuple[App[None], list[Message]]:
    workload, left_out = workload_of(events, read=read, add=add)
    refused += left_out
    footprints = workload.footprints
    gone = {id(event) for event, _ in left_out}
    kept = [event for event in events if id(event) not in gone]
    messages = [Message(str(n), "/log", "log_step", _time_of(event), b'{"n":%d}' % n) for n, event in enumerate(kept)]
    # A log may name more objects in one event than an application should: the limit is not what is measured here.
    keys_max = max((len(footprint) for footprint in footprints), default=1)
    app: App[None] = App("replay", limits=Limits(accesses_max=max(Limits().accesses_max, keys_max)))

    def objects(event: LogStep) -> Sequence[Access]:
        return footprints[event.n]

    if service_s > 0:

        @app.on(LogStep, accesses=objects)
        async def step(event: LogStep) -> None:
            await asyncio.sleep(service_s)

    else:

        @app.on(LogStep, accesses=objects)
        async def step_at_once(event: LogStep) -> None:
            return

    return app, messages


def _time_of(event: LogEvent) -> float:
    return event.time_s if event.time_s is not None else 0.0


def _messages_for(app: App[Any], events: Sequence[LogEvent], refused: list[tuple[LogEvent, str]]) -> list[Message]:
    """The log's events as messages of the app's types; what no handler takes is for the engine to reject.

    Raises UsageError where no handler takes any of them: then it is another app's log.
    """
    taken = {handled.type for handler in app.handlers for handled in handler.events}
    types = dict.fromkeys(event.type for event in events)
    if (
        types
        and taken.isdisjoint(types)
        and not any(fnmatchcase(type_, glob) for type_ in types for glob in app.ignore)
    ):
        raise UsageError(
            f"no handler of {app.name} takes an event of this log: its types are {_some(types)}; "
            f"those of {app.name} are {_some(taken)}",
            slug="unknown-type",
        )
    kinds = Kinds(app.handlers, app.ignore, app.limits.accesses_max)
    messages = []
    for number, event in enumerate(events):
        try:
            data = kinds.recorded(event)
        except (TypeError, ValueError) as error:
            refused.append((event, str(error)))
            continue
        messages.append(Message(f"{event.id}-{number}", "/log", event.type, _time_of(event), data))
    if not messages and events:
        raise UsageError("no event of the log can be sent as JSON", slug="bad-log")
    return messages


def _some(types: Iterable[str]) -> str:
    names = sorted(types)
    return ", ".join(names[:TYPES_SHOWN_MAX]) + (", …" if len(names) > TYPES_SHOWN_MAX else "")


async def run_messages(app: App[Any], messages: Sequence[Message], recording: Recording, progress: Progress) -> int:
    """Publish the messages, run a worker until all have ended, recorded; returns how many are dead letters."""
    async with app:
        queued = app.log.features.queued  # else what is sent while no worker runs reaches nobody
        if queued:
            await _publish(app, messages, progress)
        async with _working(app, recording) as worker:
            if not queued:
                await _publish(app, messages, progress)
            await _until_done(worker, recording, len(messages), progress)
        link = app.connect()
        scope = link.file.read(lambda connection: find_scope(connection, app.group, app.url.stream))
        counts = {} if scope is None else link.file.read(lambda connection: count_dead(connection, scope))
        return sum(counts.values())


async def _publish(app: App[Any], messages: Sequence[Message], progress: Progress) -> None:
    for start in range(0, len(messages), BATCH_EVENTS):
        await app.log.send(messages[start : start + BATCH_EVENTS])
        progress("publish", min(len(messages), start + BATCH_EVENTS))


@asynccontextmanager
async def _working(app: App[Any], recording: Recording) -> AsyncIterator[Worker]:
    worker = app.worker(recorder=recording)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def _until_done(worker: Worker, recording: Recording, count: int, progress: Progress) -> None:
    """Return when every event has ended, or is parked, held or rejected for good."""
    last, since_s = -1, time.monotonic()
    while True:
        await asyncio.sleep(POLL_S)
        session = worker.session
        if session is None or session.engine.failure is not None:
            await worker.wait()
            raise CommuteError("the worker has ended before the log did", slug="internal")
        engine, taken = session.engine, session.intake.taken
        progress("run", engine.done)
        idle = not len(engine.schedule) and not engine.unsynced
        paused = [partition for partition in engine.partitions.values() if partition.pause]
        if idle and (taken >= count or paused):
            recording.left = max(0, count - taken) + sum(len(partition.waiting_room) for partition in paused)
            recording.pause = "; ".join(partition.why for partition in paused)
            return
        now = (taken, engine.done, recording.ended)
        if hash(now) != last or engine.running or engine.failing.retrying:
            last, since_s = hash(now), time.monotonic()
        elif time.monotonic() - since_s > STALL_S:
            raise CommuteError(
                f"nothing has ended for {STALL_S:.0f} s, {len(engine.schedule)} events wait", slug="internal"
            )


def _report(
    recording: Recording, bounds: Bounds, verdict: Verdict, dead: int, concurrency: int,
    service_s: dict[str, list[float]], *, known: bool,
) -> Report:  # fmt: skip
    total_s = bounds.total_s
    lower_s = bounds.lower_bound_s(concurrency)
    makespan_s = recording.makespan_s
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Report(
        events=bounds.events,
        chain_events=bounds.chain_events if known else None,
        bound=round(bounds.bound, 3) if known else None,
        lower_bound_s=round(lower_s, 6),
        makespan_s=round(makespan_s, 6),
        efficiency=round(lower_s / makespan_s, 4) if makespan_s else 0.0,
        speedup=round(total_s / makespan_s, 4) if makespan_s else 0.0,
        violations=len(verdict.violations),
        false_waits=len(verdict.false_waits),
        dead=dead,
        concurrency=concurrency,
        peak_rss_mb=round(peak_kib / (1024 * 1024 if sys.platform == "darwin" else 1024), 1),
        service_s=service_s,
    )
