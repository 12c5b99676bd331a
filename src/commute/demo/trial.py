"""The same traffic twice, one at a time and in parallel, recorded; and the two databases side by side."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from commute.app import App
from commute.context import SqlValue
from commute.core.bounds import Bounds
from commute.core.history import Verdict
from commute.demo.shop import TABLES, make_app, router
from commute.demo.traffic import traffic
from commute.errors import CommuteError, UsageError
from commute.event import Event
from commute.link import parse_url
from commute.replay import Recording
from commute.router import Router

if TYPE_CHECKING:
    import apsw

BATCH_EVENTS = 1_000
POLL_S = 0.02

Progress = Callable[[str, int], None]
Rows = dict[str, list[tuple[SqlValue, ...]]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `commute demo --json` prints. Times in seconds; `speedup` is serial over parallel."""

    events: int
    serial_s: float
    parallel_s: float
    speedup: float
    bound: float
    efficiency: float
    violations: int
    states_equal: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished demo. `differences` names some rows that differ, empty if the states are equal."""

    result: Result
    verdict: Verdict
    bounds: Bounds
    rows: int
    differences: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Trial:
    seconds: float
    rows: Rows
    recording: Recording


def compare(
    *,
    events: int = 2_000,
    concurrency: int = 32,
    seed: int = 7,
    service_s: float = 0.005,
    broker: str | None = None,
    handlers: Router[float] = router,
    progress: Progress = lambda stage, done: None,
) -> Comparison:
    """Run the shop serially and in parallel on fresh stores; blocks. `broker` is where the parallel run goes.

    Raises UsageError (``broker-in-use``) if that broker holds events already.
    """
    made = traffic(events, seed)
    in_memory = broker is not None and parse_url(broker).path is None
    with tempfile.TemporaryDirectory(prefix="commute-demo-") as folder:
        urls = {stage: f"sqlite:///{Path(folder) / stage}.db" for stage in ("serial", "parallel")}
        if in_memory:
            urls = dict.fromkeys(urls, "memory://")
        elif broker is not None:
            urls["parallel"] = broker
        serial = _run("serial", urls["serial"], made, 1, service_s, handlers, progress)
        parallel = _run("parallel", urls["parallel"], made, concurrency, service_s, handlers, progress)
    verdict = parallel.recording.history.check()
    bounds = parallel.recording.bounds()
    differences = [line for table in TABLES for line in _differences(table, serial.rows, parallel.rows)]
    lower_s = bounds.lower_bound_s(concurrency)
    result = Result(
        events=len(made),
        serial_s=round(serial.seconds, 4),
        parallel_s=round(parallel.seconds, 4),
        speedup=round(serial.seconds / parallel.seconds, 3),
        bound=round(bounds.bound, 3),
        efficiency=round(lower_s / parallel.seconds, 4),
        violations=len(verdict.violations),
        states_equal=not differences,
    )
    return Comparison(result, verdict, bounds, sum(map(len, parallel.rows.values())), differences)


def _run(
    stage: str,
    url: str,
    events: Sequence[Event],
    concurrency: int,
    service_s: float,
    handlers: Router[float],
    progress: Progress,
) -> _Trial:
    app = make_app("demo", url, service_s, handlers)
    app.override(broker=url, db=url, concurrency=concurrency)
    recording = Recording()
    rows = asyncio.run(_publish_and_run(app, events, recording, lambda done: progress(stage, done)))
    return _Trial(recording.makespan_s, rows, recording)


async def _publish_and_run(
    app: App[float], events: Sequence[Event], recording: Recording, progress: Callable[[int], None]
) -> Rows:
    async with app:
        if app.log.last_position():
            raise UsageError(
                f"{app.url.text} holds events already: the demo needs a fresh broker", slug="broker-in-use"
            )
        for start in range(0, len(events), BATCH_EVENTS):
            await app.publish_many(events[start : start + BATCH_EVENTS])
        worker = app.worker(recorder=recording)
        await worker.start()
        try:
            await _until_ended(recording, len(events), progress)
        finally:
            await worker.stop()
        return app.connect().file.read(_tables)


async def _until_ended(recording: Recording, count: int, progress: Callable[[int], None]) -> None:
    seen, since_s = -1, time.monotonic()
    while recording.ended < count:
        await asyncio.sleep(POLL_S)
        progress(recording.ended)
        if recording.ended != seen:
            seen, since_s = recording.ended, time.monotonic()
        elif time.monotonic() - since_s > 30:
            raise CommuteError(f"the demo has come to a stop after {seen} of {count} events", slug="internal")
    progress(count)


def _tables(connection: apsw.Connection) -> Rows:
    return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES}


def _differences(table: str, serial: Rows, parallel: Rows) -> list[str]:
    left, right = set(serial[table]), set(parallel[table])
    return [f"{table}: serial {row}" for row in sorted(left - right, key=str)[:2]] + [
        f"{table}: parallel {row}" for row in sorted(right - left, key=str)[:2]
    ]
