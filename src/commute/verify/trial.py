"""One trial: some events of an app from a fresh beginning, and all that can be seen of it afterwards.

Invariants: an event keeps its id in whatever sequence it is tried, so that what is derived from the id stays the same;
no trial sees another's store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from commute.app import App
from commute.core.retry import Retry
from commute.handler import Handler
from commute.rehearsal.course import Course, Ground, Result
from commute.rehearsal.virtual import VirtualLoop
from commute.runtime.encoder import named

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with the id that it keeps. The event is an object, or ``(type name, data)``."""

    id: str
    event: object


@dataclass(frozen=True, slots=True)
class Scene:
    """What every trial begins with, and where its state can be seen.

    `look` returns what the state outside the store is, comparable with ``==``; `clear` makes that state as it was
    before, and is called first. The app's own tables in the store are always fresh and always seen.
    """

    ground: Ground = field(default_factory=lambda: Ground(lifespan=True))
    clear: Callable[[], object] | None = None
    look: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class End:
    """What a trial has come to. `results` is the status of each event, by id, `reasons` why, of those without success;
    `left` what was published, in sequence; `numbered` the tables whose first column the database fills where a row does
    not."""

    tables: Mapping[str, Rows]
    numbered: frozenset[str]
    outside: object
    results: Mapping[str, str]
    reasons: Mapping[str, str]
    left: Sequence[str]


def failures(end: End) -> tuple[str, ...]:
    """Why events that were not rejected did not succeed, in the sequence of the events."""
    return tuple(why for id_, why in end.reasons.items() if end.results[id_] != "rejected")


def compares_nothing(end: End) -> bool:
    """Whether nothing but the success of events can be seen in it."""
    return not any(end.tables.values()) and end.outside is None and not end.left


def type_of(app: App[Any], event: object) -> str:
    """The type of an event. Raises RejectedError for one that is not valid."""
    return app.encoder.encode(named(event))[0]


def trial(
    app: App[Any],
    events: Sequence[Numbered],
    scene: Scene,
    *,
    concurrency: int = 1,
    seed: int = 0,
    alone: int = 0,
    each: Callable[[Handler], Handler] = lambda handler: handler,
) -> End:
    """Run `events` in this sequence, in virtual time: the first `alone` of them, or all with `concurrency` 1, strictly
    one after the other. `each` says what runs instead of each handler.

    Raises what `commute.testing.run` raises, but that sockets are not refused: a database may be real here.
    """
    course = _course(
        app, events, scene, concurrency, seed, lambda handler: each(_once(handler)), alone=alone, real=False
    )

    def loop() -> VirtualLoop:
        made = course.make_loop()
        made.quiet.sealed = False
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        result = runner.run(course.run())
    return _end(course, result, events, scene)


def trial_in_threads(
    app: App[Any],
    events: Sequence[Numbered],
    scene: Scene,
    held: Callable[[Handler], Handler],
    *,
    concurrency: int,
    alone: int,
) -> End:
    """The same in real time, with `def` handlers in threads of their own; `held` says what runs instead of each."""

    def each(handler: Handler) -> Handler:
        return held(_once(handler))

    course = _course(app, events, scene, concurrency, 0, each, alone=alone, real=True)
    result = asyncio.run(course.run())
    return _end(course, result, events, scene)


def _course(
    app: App[Any],
    events: Sequence[Numbered],
    scene: Scene,
    concurrency: int,
    seed: int,
    each: Callable[[Handler], Handler],
    *,
    alone: int,
    real: bool,
) -> Course:
    if scene.clear is not None:
        scene.clear()
    ids = [numbered.id for numbered in events]
    given = [numbered.event for numbered in events]
    return Course(app, given, scene.ground, concurrency, seed, ids, alone=alone, real=real, each=each)


def _once(handler: Handler) -> Handler:
    """One attempt: an event that succeeds only after another one depends on it, though a retry would hide that. What
    depends on one that fails goes on, since it is to be tried too."""
    return replace(handler, retry=Retry(attempts=1), on_exhausted="skip")


def _end(course: Course, result: Result, events: Sequence[Numbered], scene: Scene) -> End:
    dead = {one.id: course.dead_by_id[one.id] for one in events if one.id in course.dead_by_id}
    results = {one.id: _result(dead[one.id].status) if one.id in dead else "processed" for one in events}
    reasons = {id_: f"{one.event!r:.100}: {one.reason}" for id_, one in dead.items()}
    outside = None if scene.look is None else scene.look()
    left = [repr(event) for event in result.published]
    return End(result.tables, course.numbered, outside, results, reasons, left)


def _result(status: str) -> str:
    return "failed" if status == "skipped" else status  # as `_once` has it
