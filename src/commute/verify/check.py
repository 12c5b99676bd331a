"""All that can be checked of an app without knowing what it means: see `check`.

    events ─▶ pairs that the footprints call independent ─▶ both orders, and together ─▶ counterexamples, shrunk
           └▶ all of them, one after the other and in parallel ─▶ the same end?

Invariant: of two types no more than one counterexample is kept, the first one found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from commute.app import App
from commute.core.footprint import conflicts
from commute.errors import CommuteError
from commute.runtime.encoder import named
from commute.verify.difference import Difference, differences
from commute.verify.footprints import footprint_of, kinds_of
from commute.verify.generate import CannotMakeError, make
from commute.verify.orders import Counterexample, Effort, NotRepeatableError, refuse_chance, shrink, two_orders
from commute.verify.pairs import Candidate, choose, field_values
from commute.verify.trial import End, Numbered, Scene, compares_nothing, failures, trial

if TYPE_CHECKING:
    from commute.observe.lacking import Lacking

Progress = Callable[[str, int, int], None]  # stage, done, of


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much is tried: `pairs_max` of each two types, from `events_max` events, `before_max` events before a pair."""

    events_max: int = 60
    pairs_max: int = 6
    before_max: int = 12
    seeds: int = 3  # of parallel runs against the serial one
    effort: Effort = Effort()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Tried:
    """Two types: how many independent pairs of theirs were tried, and why none, if none."""

    a: str
    b: str
    pairs: int
    why_none: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check has found. `ok` where nothing was refuted, which is no proof."""

    events: int
    tried: tuple[Tried, ...]
    counterexamples: tuple[Counterexample, ...]
    parallel: tuple[Difference, ...]  # between the serial run of all events and parallel ones
    empty: tuple[str, ...]  # handlers that are said to touch nothing
    unmade: dict[str, str]  # event types without an event, and why
    undeclared: tuple[Lacking, ...]  # what handlers touched outside of their footprints
    watched: bool  # whether that was looked at: statements could be read
    rejected: tuple[str, ...]  # why events are rejected on arrival: they have no place in the order, and no pair
    failed: tuple[str, ...]  # why events did not succeed in the serial run: what comes after that was not tried
    chance: tuple[str, ...]  # why runs that differ say nothing: they do so too without another sequence
    blind: bool  # whether the serial run left nothing to be compared but which events succeed

    @property
    def ok(self) -> bool:
        return not self.counterexamples and not self.parallel and not self.undeclared


def check(
    app: App[Any],
    events: Sequence[object] | None,
    scene: Scene,
    *,
    budget: Budget = Budget(),
    seed: int = 0,
    state: bool = False,
    progress: Progress = lambda stage, done, of: None,
) -> Checked:
    """Try to refute what the app's footprints say. `events` in log sequence; None: made up from their classes. What
    their handlers touch is held to the footprints in every run, where sqlglot is installed; with `state` what they do
    to the program's own dicts and lists too (`watching`).

    The cost is that of the runs: for each pair that is tried, 2 serial ones and those of `budget.effort`.
    """
    with _watched(app, state) as undeclared:
        found = _check(app, events, scene, budget, seed, progress)
        if undeclared is None:
            return found
        return replace(found, undeclared=tuple(undeclared()), watched=True)


@contextmanager
def _watched(app: App[Any], state: bool) -> Iterator[Callable[[], list[Lacking]] | None]:
    """What was undeclared until now; None where statements cannot be read."""
    try:
        from commute.observe.lacking import put_together
        from commute.observe.watch import watching
    except ImportError:
        yield None
        return
    with watching(app, state=state) as watch:
        yield lambda: put_together(app, watch.undeclared)


def _check(
    app: App[Any], events: Sequence[object] | None, scene: Scene, budget: Budget, seed: int, progress: Progress
) -> Checked:
    unmade: dict[str, str] = {}
    given = list(events) if events is not None else made_up(app, budget.events_max, seed, unmade)
    numbered = [Numbered(f"event-{number}", event) for number, event in enumerate(given[: budget.events_max], 1)]
    rejected: list[str] = []
    candidates = _candidates(app, numbered, rejected)
    serial = trial(app, numbered, scene)
    chosen = choose(candidates, _used(app), budget.pairs_max)
    tried: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, str], Counterexample] = {}
    chance: dict[tuple[str, str], str] = {}
    for done, (a, b) in enumerate(chosen):
        progress("pairs", done, len(chosen))
        types = (candidates[a].type, candidates[b].type)
        if types in found or types in chance:
            continue
        try:
            counterexample = _tried_alone(app, numbered, candidates, (a, b), scene, budget)
        except NotRepeatableError as error:
            chance[types] = error.message
            continue
        tried[types] = tried.get(types, 0) + 1
        if counterexample is not None:
            found[types] = shrink(app, counterexample, scene, budget.effort)
    progress("parallel", len(chosen), len(chosen))
    try:
        parallel = _parallel(app, numbered, scene, budget.seeds, serial)
    except NotRepeatableError as error:
        parallel = []
        chance["", ""] = error.message
    return Checked(
        events=len(numbered),
        tried=tuple(_tried(candidates, tried, chance)),
        counterexamples=tuple(found.values()),
        parallel=tuple(parallel),
        empty=tuple(h.name for h in app.handlers if h.unordered or all(e.declared.unordered for e in h.events)),
        unmade=unmade,
        undeclared=(),
        watched=False,
        rejected=tuple(rejected),
        failed=failures(serial),
        chance=tuple(chance.values()),
        blind=compares_nothing(serial),
    )


def made_up(app: App[Any], count: int, seed: int, unmade: dict[str, str]) -> list[object]:
    """`count` events of all types in turn, the same for the same seed; types that cannot be made go to `unmade`."""
    chance = Random(seed)
    codecs = {event.type: event.codec for handler in app.handlers for event in handler.events}
    events: list[object] = []
    while len(events) < count and len(unmade) < len(codecs):
        for name, codec in codecs.items():
            if name not in unmade:
                try:
                    events.append(make(codec, chance))
                except CannotMakeError as error:
                    unmade[name] = str(error)
    return events[:count]


def _candidates(app: App[Any], events: Sequence[Numbered], rejected: list[str]) -> list[Candidate]:
    found, kinds = [], kinds_of(app)
    for numbered in events:
        try:
            type_, footprint = footprint_of(app, numbered.event, kinds)
            if kinds.get(type_) is not None:
                data = app.encoder.encode(named(numbered.event))[1]
                found.append(Candidate(type_, footprint, field_values(data)))
                continue
            rejected.append(f"no handler takes {type_!r}")
        except CommuteError as error:
            rejected.append(error.message)
        found.append(Candidate("", (), {}))
    return found


def _used(app: App[Any]) -> set[str]:
    """The fields out of which footprints make keys."""
    declared = [event.declared for handler in app.handlers for event in handler.events]
    return {field.name for one in declared for _, template in one.templates for field in template.fields}


def _tried_alone(
    app: App[Any],
    events: Sequence[Numbered],
    candidates: Sequence[Candidate],
    pair: tuple[int, int],
    scene: Scene,
    budget: Budget,
) -> Counterexample | None:
    """As `two_orders`, after what leads up to the pair: without the events just before, where with them chance plays a
    part."""
    a, b = (events[at] for at in pair)

    def past(near_max: int) -> list[Numbered]:
        return [events[at] for at in _past(candidates, *pair, budget.before_max, near_max)]

    try:
        return two_orders(app, past(budget.before_max // 3), a, b, scene, budget.effort)
    except NotRepeatableError:
        return two_orders(app, past(0), a, b, scene, budget.effort)


def _past(events: Sequence[Candidate], a: int, b: int, before_max: int, near_max: int) -> list[int]:
    """What leads up to the two: the nearest earlier events that they depend on, directly or not, in log sequence.

    What they do not depend on cannot matter to them if the footprints are right, and is a second witness if they are
    not: so some of the room goes to the `near_max` events just before.
    """
    wanted, past = [events[a].footprint, events[b].footprint], list[int]()
    for at in range(a - 1, -1, -1):
        if len(past) >= before_max:
            break
        near = a - at <= near_max
        if near or any(conflicts(events[at].footprint, footprint) for footprint in wanted):
            past.append(at)
            wanted.append(events[at].footprint)
    return past[::-1]


def _tried(
    events: Sequence[Candidate], tried: Mapping[tuple[str, str], int], chance: Collection[tuple[str, str]]
) -> Iterator[Tried]:
    types = sorted({one.type for one in events if one.type})
    for at, a in enumerate(types):
        for b in types[at:]:
            pairs = tried.get((a, b), 0) + (tried.get((b, a), 0) if a != b else 0)
            unsaid = "runs of the same sequence differ" if (a, b) in chance or (b, a) in chance else ""
            yield Tried(a, b, pairs, "" if pairs else unsaid or "no two of these events are independent")


def _parallel(app: App[Any], events: Sequence[Numbered], scene: Scene, seeds: int, serial: End) -> list[Difference]:
    for seed in range(seeds):
        found = differences(serial, trial(app, events, scene, concurrency=8, seed=seed))
        if found:
            refuse_chance(app, events, scene, serial)
            return found
    return []
