"""Whether events that are said to be independent do commute: an assertion for tests, by running them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from commute.app import App
from commute.core.footprint import conflicts
from commute.errors import UsageError
from commute.rehearsal.course import Ground
from commute.verify.footprints import footprint_of, kinds_of
from commute.verify.orders import Counterexample, Effort, two_orders
from commute.verify.trial import Numbered, Scene


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
) -> None:
    """AssertionError with what differs, if two neighbours among `events` that the footprints call independent do not
    commute.

    Each such pair is run in both orders and together, after all events before it, from a fresh store: `tables` are SQL
    statements to begin with, `set_up(app)` may use ``app.transaction()``. State outside the store: `clear` makes it as
    it was before, `look` returns it, comparable with ``==``. `state` is what ``lifespan`` would yield; None: the app's
    own lifespan is run. Events are those of `run`. A pair that conflicts is not run: it keeps its sequence anyway.

    Raises UsageError where no two neighbours are independent (``nothing-to-test``): then nothing would be asserted.
    """
    ground = Ground(state, tables, lifespan=state is None, set_up=set_up)
    scene = Scene(ground, clear, look)
    numbered = [Numbered(f"event-{number}", event) for number, event in enumerate(events, 1)]
    kinds = kinds_of(app)
    footprints = [footprint_of(app, one.event, kinds)[1] for one in numbered]
    pairs = [at for at in range(len(numbered) - 1) if not conflicts(footprints[at], footprints[at + 1])]
    if not pairs:
        raise UsageError(
            "no two neighbours of these events are independent, so there is nothing to try; assert_conflict says that",
            slug="nothing-to-test",
        )
    for at in pairs:
        found = two_orders(app, numbered[:at], numbered[at], numbered[at + 1], scene, Effort(seeds=seeds))
        if found is not None:
            raise AssertionError(_said(found))


def _said(found: Counterexample) -> str:
    lines = [f"  {difference}" for difference in found.differences]
    return "\n".join(
        [
            f"a {found.a.event!r:.200}",
            f"b {found.b.event!r:.200}",
            f"are independent by their footprints, and do not commute. {found.one} and {found.other} differ:",
            *lines,
        ]
    )
