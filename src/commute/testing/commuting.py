"""Whether events that are said to be independent do commute: an assertion for tests, by running them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from commute.app import App
from commute.errors import CommuteWarning, UsageError
from commute.rehearsal.course import Ground
from commute.testing.footprints import footprint_here, kinds_of_app, shown
from commute.testing.run import refuse_a_loop
from commute.verify.footprints import footprint_of
from commute.verify.orders import Counterexample, Effort, two_orders
from commute.verify.pairs import side_by_side
from commute.verify.trial import Numbered, Scene, compares_nothing, failures, trial

PAIRS_MAX = 100


def assert_commutes(
    app: App[Any],
    events: Sequence[object],
    *,
    state: object = None,
    tables: Sequence[str] = (),
    set_up: Callable[[App[Any]], object] | None = None,
    clear: Callable[[], object] | None = None,
    look: Callable[[], object] | None = None,
    seeds: int = 4,
    pairs_max: int = PAIRS_MAX,
) -> None:
    """AssertionError with what differs, if two of `events` that may run side by side by their footprints do not
    commute.

    Each such pair is run in both orders and together, after all events that come before it, from a fresh store:
    `tables` are SQL statements to begin with, `set_up(app)` may use ``app.transaction()``. State outside the store:
    `clear` makes it as it was before, `look` returns it, comparable with ``==``. `state` is what ``lifespan`` would
    yield; None: the app's own lifespan is run. Events are those of `run`. Two that conflict, also by way of events
    between them, are not run: they keep their sequence anyway. Of more than `pairs_max` pairs the nearest are tried,
    with a warning (``pairs-left``).

    Raises UsageError where there is no such pair (``nothing-to-test``): then nothing would be asserted; in a running
    event loop (``running-loop``); where the same sequence does not end twice in the same way (``not-repeatable``).
    Warns where every event fails, or nothing else can be compared (``nothing-compared``).
    """
    __tracebackhide__ = True
    refuse_a_loop("assert_commutes")
    kinds = kinds_of_app(app)
    ground = Ground(state, tables, lifespan=state is None, set_up=set_up)
    scene = Scene(ground, clear, look)
    numbered = [Numbered(f"event-{number}", event) for number, event in enumerate(events, 1)]
    pairs = list(side_by_side([footprint_here(app, one.event, kinds) for one in numbered]))
    if not pairs:
        raise UsageError(
            "no two of these events are independent, so there is nothing to try; assert_conflict says that",
            slug="nothing-to-test",
        )
    said = _little_to_see(app, numbered, scene)
    if said is not None:
        warnings.warn(CommuteWarning(said, slug="nothing-compared"), stacklevel=2)
    if len(pairs) > pairs_max:
        said = f"{len(pairs)} pairs may run side by side, the nearest {pairs_max} are tried; pairs_max= tries more"
        warnings.warn(CommuteWarning(said, slug="pairs-left"), stacklevel=2)
    for past, a, b in pairs[:pairs_max]:
        before = [numbered[at] for at in past]
        found = two_orders(app, before, numbered[a], numbered[b], scene, Effort(seeds=seeds))
        if found is not None:
            raise AssertionError(_said(app, found))


def _little_to_see(app: App[Any], numbered: Sequence[Numbered], scene: Scene) -> str | None:
    """Why a comparison of runs would not say much, if so. One run."""
    end = trial(app, numbered, scene)
    failed = failures(end)
    if len(failed) == len(numbered):
        return (
            f"every event fails when they run one after the other, the first: {failed[0]}. tables= and set_up= make "
            "what is in the store before, clear= what is outside"
        )
    if compares_nothing(end):
        return (
            "these events leave no row in the store and publish nothing, so nothing is compared but whether they "
            "succeed; tables= and set_up= make first rows for them to change, look= returns their state outside the "
            "store, clear= makes it as it was before"
        )
    return None


def _said(app: App[Any], found: Counterexample) -> str:
    kinds = kinds_of_app(app)
    a, b = (shown(one.event, footprint_of(app, one.event, kinds)[1]).strip() for one in (found.a, found.b))
    after = "".join(f"\n  {one.event!r:.200}" for one in found.before)
    return "\n".join(
        [
            f"a {a}",
            f"b {b}",
            f"are independent by their footprints, and do not commute. {found.one} and {found.other} differ:",
            *(f"  {difference}" for difference in found.differences),
            *([f"after{after}"] if after else []),
        ]
    )
