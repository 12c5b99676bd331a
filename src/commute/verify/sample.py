"""What the handlers of an app touch while they run a sample of events, beside what they declare.

One serial run from a fresh beginning, as the trials of `check` are. It sees what these events did, and no more: that
something was not touched is no reason to let events run in parallel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from commute.app import App
from commute.core.footprint import READ
from commute.errors import CommuteError
from commute.footprints.template import keys
from commute.handler import Handler, HandlerEvent
from commute.sanitizer import statements_read
from commute.verify.check import made_up
from commute.verify.footprints import footprint_of, kinds_of
from commute.verify.trial import Numbered, Scene, failures, trial

if TYPE_CHECKING:
    from commute.observe.lacking import Lacking
    from commute.observe.proposal import Proposal
    from commute.observe.running import Running
    from commute.observe.watch import Observation

Progress = Callable[[str, int, int], None]  # stage, done, of


@dataclass(frozen=True, slots=True)
class Observed:
    """One handler and event type. `proposal` covers all that was `seen`; None: it may be anything. `untouched` and
    `only_read` are declared keys, by mode, that no event of the sample has touched, or changed."""

    handler: Handler
    event: HandlerEvent
    events: int
    failed: int  # of them, those that did not succeed
    seen: tuple[Observation, ...]
    proposal: list[Proposal] | None
    undeclared: tuple[Lacking, ...]
    untouched: tuple[Proposal, ...]
    only_read: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sample has shown. `failed`: why events did not succeed; what came after the failure in their handlers is
    not seen."""

    events: int
    handlers: tuple[Observed, ...]
    unmade: dict[str, str]
    rejected: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all that was seen is declared."""
        return not any(one.undeclared for one in self.handlers)


def sample(
    app: App[Any],
    events: Sequence[object] | None,
    scene: Scene,
    *,
    events_max: int,
    seed: int = 0,
    state: bool = False,
    progress: Progress = lambda stage, done, of: None,
) -> Sample:
    """Run `events` in log sequence, None: made up from their classes, one after the other, and watch their handlers;
    with `state` what they do to the program's own dicts and lists too (`watching`).

    Raises UsageError (``no-extra``) without sqlglot.
    """
    with statements_read():
        from commute.observe.lacking import put_together
        from commute.observe.watch import watching
    unmade: dict[str, str] = {}
    given = list(events) if events is not None else made_up(app, events_max, seed, unmade)
    numbered = [Numbered(f"event-{number}", event) for number, event in enumerate(given[:events_max], 1)]
    types, rejected = _types(app, numbered)
    counts = Counter(types.values())
    begun = _Begun(len(numbered), progress)
    with watching(app, keep=True, state=state) as watch:
        end = trial(app, numbered, scene, each=begun.counted)
        lacking = put_together(app, watch.undeclared)
        failed = Counter(types[id_] for id_ in end.reasons if id_ in types)
        handlers = tuple(
            _observed(handler, event, (counts[event.type], failed[event.type]), watch.attempts, lacking)
            for handler in app.handlers
            for event in handler.events
        )
    return Sample(len(numbered), handlers, unmade, tuple(rejected), failures(end))


class _Begun:
    """Counts runs of handlers, for people who wait."""

    def __init__(self, of: int, progress: Progress) -> None:
        self._done = 0
        self._of = of
        self._progress = progress

    def counted(self, handler: Handler) -> Handler:
        function = handler.function

        @wraps(function)
        def counted(*given: Any) -> Any:
            self._done += 1
            self._progress("runs", min(self._done, self._of), self._of)
            return function(*given)

        return replace(handler, function=counted)


def _types(app: App[Any], events: Sequence[Numbered]) -> tuple[dict[str, str], list[str]]:
    """The type of each event by its id, and why some are rejected on arrival."""
    found: dict[str, str] = {}
    rejected: list[str] = []
    kinds = kinds_of(app)
    for one in events:
        try:
            found[one.id] = footprint_of(app, one.event, kinds)[0]
        except CommuteError as error:
            rejected.append(error.message)
    return found, rejected


def _observed(
    handler: Handler,
    event: HandlerEvent,
    counts: tuple[int, int],
    attempts: Sequence[Running],
    lacking: Sequence[Lacking],
) -> Observed:
    from commute.observe.proposal import proposed
    from commute.observe.watch import observation

    own = [one for one in attempts if one.handler == handler.name and one.type == event.type]
    seen: dict[tuple[str, str], Observation] = {}
    for attempt in own:
        for access, place in attempt.seen.items():
            seen.setdefault((access.key, access.mode), observation(access, attempt, place))
    untouched, only_read = _beyond(event, own) if counts[0] else ([], [])
    return Observed(
        handler, event, *counts, tuple(seen.values()), proposed(own, event.codec.cls),
        tuple(one for one in lacking if (one.handler, one.type) == (handler.name, event.type)),
        tuple(untouched), tuple(only_read),
    )  # fmt: skip


def _beyond(event: HandlerEvent, attempts: Sequence[Running]) -> tuple[list[Proposal], list[Proposal]]:
    """The declared keys that were not touched, and those that were only read though more is declared."""
    untouched: list[Proposal] = []
    only_read: list[Proposal] = []
    for mode, template in event.declared.templates:
        modes: set[str] = set()
        for attempt in attempts:
            own = keys(template, attempt.event)
            modes |= {access.mode for access in attempt.seen if any(_meet(access.key, key) for key in own)}
        if not modes:
            untouched.append((mode, str(template)))
        elif modes == {READ} and mode != READ:
            only_read.append((mode, str(template)))
    return untouched, only_read


def _meet(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
