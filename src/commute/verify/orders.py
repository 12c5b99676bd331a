"""The two-order test: two events that are said to be independent, in both orders and together, from the same state.

    before ─▶ a ─▶ b ─┐                           what can be seen afterwards has to be the same:
    before ─▶ b ─▶ a ─┼─ same tables, results     an independent pair commutes, and its parts do not
    before ─▶ a ∥ b  ─┘  and emissions            see each other half done

Two whose ``publishes=`` meet are not swapped: their children leave in log sequence, which is promised and may be seen.
What comes before is run in sequence each time, so that what differs is the pair's doing. Together means: with other
interleavings at each await, by seeds; and for a `def` handler, with the other event run as a whole before each line
that it executes. A difference refutes independence; that there is none proves nothing.

Source: Clements et al., "The Scalable Commutativity Rule" (2013), SIM commutativity from a reachable state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from commute.app import App
from commute.errors import UsageError
from commute.verify.difference import Difference, differences
from commute.verify.footprints import chain_of, kinds_of
from commute.verify.interleave import interleavings
from commute.verify.trial import End, Numbered, Scene, trial

SEEDS = 4


@dataclass(frozen=True, slots=True)
class Counterexample:
    """Two events that are not independent: after `before`, two ways of running them, `one` and `other`, differ."""

    before: tuple[Numbered, ...]
    a: Numbered
    b: Numbered
    one: str
    other: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried for one pair. `seeds` of interleavings at awaits, `lines_max` of a `def` handler's."""

    seeds: int = SEEDS
    lines_max: int = 40
    wait_s: float = 0.3  # at most, for which the one event is held up so that the other can end


def two_orders(
    app: App[Any], before: Sequence[Numbered], a: Numbered, b: Numbered, scene: Scene, effort: Effort
) -> Counterexample | None:
    """The first way in which the two do not commute after `before`, None if none was found.

    Costs 2 runs of the events, and as many more as `effort` says. Raises NotRepeatableError.
    """
    expected = trial(app, [*before, a, b], scene)
    for name, end in _others(app, before, a, b, scene, effort):
        found = differences(expected, end)
        if found:
            refuse_chance(app, [*before, a, b], scene, expected)
            return Counterexample(tuple(before), a, b, "a, then b", name, tuple(found))
    return None


class NotRepeatableError(UsageError):
    """The same events in the same sequence end differently, so that a difference says nothing of their sequence."""


def refuse_chance(app: App[Any], events: Sequence[Numbered], scene: Scene, expected: End) -> None:
    """Raise NotRepeatableError if a second run of `events`, one after the other, does not end as `expected`. One run,
    asked for only when something differs."""
    found = differences(expected, trial(app, events, scene))
    if found:
        raise NotRepeatableError(
            f"{events[-1].event!r:.100}: the same events, run twice one after the other, end differently: {found[0]}. "
            "Let clear make state outside the store as it was before each run; leave out of what is compared what is "
            "made up anew in each run, or make it by ctx.now(), ctx.new_id() and ctx.random",
            slug="not-repeatable",
        )


def _others(
    app: App[Any], before: Sequence[Numbered], a: Numbered, b: Numbered, scene: Scene, effort: Effort
) -> Iterator[tuple[str, End]]:
    kinds = kinds_of(app)
    if chain_of(app, a.event, kinds).isdisjoint(chain_of(app, b.event, kinds)):
        yield "b, then a", trial(app, [*before, b, a], scene)
    for seed in range(effort.seeds):
        yield f"together, seed {seed}", trial(app, [*before, a, b], scene, concurrency=2, seed=seed, alone=len(before))
    for first, second, names in ((a, b, "ab"), (b, a, "ba")):
        for line, end in interleavings(app, [*before, a, b], first, second, scene, effort.lines_max, effort.wait_s):
            yield f"{names[1]} while {names[0]} is at {line}", end


def shrink(app: App[Any], found: Counterexample, scene: Scene, effort: Effort) -> Counterexample:
    """The same refutation with as few events before it as can be: one is left out as long as it still holds.

    O(events before, squared) pairs of runs at worst.
    """
    smaller = True
    while smaller:
        smaller = False
        for at in range(len(found.before)):
            before = found.before[:at] + found.before[at + 1 :]
            try:
                again = two_orders(app, before, found.a, found.b, scene, effort)
            except NotRepeatableError:
                continue
            if again is not None:
                found, smaller = again, True
                break
    return found
