"""What an analysis comes to, in at most five plain sentences, and the three best remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commute.analysis.analysis import Analysis
from commute.analysis.components import Components
from commute.analysis.hubs import ENOUGH, Hub
from commute.analysis.speedup import Curve
from commute.analysis.workload import family_name
from commute.wording import plural

CASE = "case"
SENTENCES_MAX = 5
REMEDIES_MAX = 3
SAME = 0.9  # of a figure: what reaches so much of another one is as good
WORTH = 1.2  # a smaller gain is not named as a remedy

PROVES = (
    "A log can only rule independence out: it lists what was involved, so that something is only read, or that nothing "
    "else is touched, is for the handlers to say."
)

NO_KEYS = (
    "No field of these events is known to be a key, so nothing is known of what depends on what: name the fields that "
    "are keys (--key FIELD) and look again."
)


@dataclass(frozen=True, slots=True)
class Remedy:
    """`families`, or one object, to be read, or added to atomically, in place of written; `bound` that is left then."""

    families: tuple[str, ...]
    bound: float

    def __str__(self) -> str:
        names = listed([family_name(name) for name in self.families])
        return f"{names}: read, or added to atomically, in place of written: bound {ratio(self.bound)}"


def sentences(found: Analysis) -> list[str]:
    """At most `SENTENCES_MAX`, the most important first; the last says what a log can prove."""
    if not found.events:
        return ["There is no event."]
    if not found.known:
        return [NO_KEYS]
    said = [_bound(found), *([_partitions(found)] if found.events > 1 else [])]
    said += [text for text in (_hub(found), _lookahead(found.curves)) if text]
    return [*said[: SENTENCES_MAX - 1], PROVES]


def remedies(found: Analysis) -> list[Remedy]:
    """At most `REMEDIES_MAX`, the one that changes fewest things to reach enough first; none where none is needed."""
    if needless(found) or not found.known:
        return []
    hubs = found.hubs
    # With the only family read nothing would be written, so there it is single objects that may be.
    keys = [hub for hub in hubs.keys if hub.chain_if_read > 1]
    single = hubs.families if len(hubs.families) > 1 else keys
    best = sorted(single, key=lambda hub: -hub.bound_if_read)[:2]
    ranked = [*_enough(hubs.steps), *sorted((*hubs.pairs, *best), key=_rank), *reversed(hubs.steps)]
    chosen: dict[tuple[str, ...], Remedy] = {}
    for hub in ranked:
        names = tuple(sorted(hub.names))
        if hub.names == (CASE,):  # every event changes its case: that is what a case log is a log of
            continue
        if hub.bound_if_read >= WORTH * found.bound and not _idle(hub, hubs.families):
            chosen.setdefault(names, Remedy(hub.names, hub.bound_if_read))
    return list(chosen.values())[:REMEDIES_MAX]


def needless(found: Analysis) -> bool:
    """Whether no remedy is needed: no number of workers that was looked at is held up."""
    return found.bound >= ENOUGH or found.chain.length <= 1


def ratio(value: float) -> str:
    """A speed-up for people: ``9.42 x``, ``2,276 x``."""
    return f"{value:,.0f} x" if value >= 100 else f"{value:.3g} x"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def hang_together(connected: Components) -> str:
    """Why fixed partitions reach what they reach: ``353 events hang together``."""
    most = connected.sizes[0] if connected.sizes else 0
    return f"{plural(most, 'event')} hang together" if most > 1 else "no two events hang together"


def _enough(steps: Sequence[Hub]) -> list[Hub]:
    return [hub for hub in steps if hub.bound_if_read >= ENOUGH][:1]


def _rank(hub: Hub) -> tuple[float, int]:
    return -min(hub.bound_if_read, ENOUGH), len(hub.names)


def _idle(hub: Hub, families: Sequence[Hub]) -> bool:
    """Whether one of a pair's families alone brings the same: then the other one is no remedy."""
    return len(hub.names) > 1 and any(
        one.names[0] in hub.names and one.bound_if_read >= SAME * hub.bound_if_read for one in families
    )


def _bound(found: Analysis) -> str:
    length = found.chain.length
    if found.events == 1:
        return "There is one event only."
    if length <= 1:
        return f"None of the {found.events:,} events depends on another: any number of workers helps."
    return (
        f"The longest chain has {length:,} of {found.events:,} events, each dependent on the one before it, so no "
        f"number of workers is more than {ratio(found.bound)} as fast as one."
    )


def _partitions(found: Analysis) -> str:
    fixed = found.components.bound
    reached = found.curves[-1].speedup_at if found.curves else {}
    most = max(reached.values(), default=0.0)
    if most and fixed >= SAME * min(most, ENOUGH):
        return (
            f"Fixed partitions, one queue for all events that hang together, reach {ratio(fixed)} already: nothing can "
            "be won by anything finer."
        )
    workers = next((n for n, s in reached.items() if s >= SAME * most), None)
    beside = (
        f"; running all that is independent reaches {ratio(reached[workers])} with {workers} workers" if workers else ""
    )
    return f"Fixed partitions reach at most {ratio(fixed)}, since {hang_together(found.components)}{beside}."


def _hub(found: Analysis) -> str:
    hubs = found.hubs
    heavy = hubs.families[0] if hubs.families else None
    if heavy is None or found.chain.length < 2 or found.bound >= ENOUGH:
        return ""
    name = family_name(heavy.names[0])
    made = f"{name} makes {heavy.share_of_chain:.0%} of the chain"
    if len(hubs.families) == 1:
        key = hubs.keys[0] if hubs.keys else None
        return f"{made}, {key.share_of_chain:.0%} of it through {key.names[0]} alone." if key else ""
    steps = hubs.steps or (heavy,)
    text = f"{made}; if it is only read the bound is {ratio(steps[0].bound_if_read)}"
    if len(steps) > 1:
        others = listed([family_name(one) for one in steps[-1].names[1:]])
        text += f", if {others} too {ratio(steps[-1].bound_if_read)}"
    return f"{text}."


def _lookahead(curves: Sequence[Curve]) -> str:
    if len(curves) < 2:
        return ""
    near, far = curves[0], curves[-1]
    for workers, reached in far.speedup_at.items():
        little = near.speedup_at.get(workers, reached)
        if workers >= 8 and little < SAME * reached:
            return (
                f"Looking ahead matters: {workers} workers reach {ratio(little)} with {near.lookahead:,} events looked "
                f"ahead and {ratio(reached)} with {far.lookahead:,}."
            )
    return ""
