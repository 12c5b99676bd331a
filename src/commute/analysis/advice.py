"""Advice on one workload: what more workers bring, how to part the events, what to change, whether to bother."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commute.analysis.components import Components, components
from commute.analysis.conclusions import NO_KEYS, SAME, listed, ratio
from commute.analysis.edges import edges
from commute.analysis.labels import Labels, find_labels
from commute.analysis.placement import Placement, place_objects
from commute.analysis.prediction import LOOKAHEAD, REPLICATES, Prediction, Services, predict
from commute.analysis.remedies import PAIRS_MAX, Remedy, find_remedies
from commute.analysis.workload import Workload, family_name

if TYPE_CHECKING:
    from random import Random

WORKERS = (1, 2, 4, 8, 16, 32, 64)
EVENTS_DRAWN_MAX = 400_000  # events of all repeats of one prediction: a large log is repeated less often
GAIN = 1.5  # of the best remedy: below it nothing is worth a change

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Advice:
    """`predictions` for each number of workers; `placement` only where no labelling is safe; `measured`: the service
    times are those of events, else all are taken to be equally long; `verdict` in plain words. `known`: whether
    anything is known of what events touch; if not, no figure means anything."""

    workers: int
    measured: bool
    predictions: tuple[Prediction, ...]
    components: Components
    labels: Labels
    placement: Placement | None
    remedies: tuple[Remedy, ...]
    verdict: tuple[str, ...]
    known: bool


def advise(
    workload: Workload,
    services: Services,
    chance: Random,
    *,
    declared: bool = False,
    workers: int = 32,
    partitions: int = 12,
    lookahead: int = LOOKAHEAD,
    prepare_share: float = 0.5,
    remedy_pairs: int = PAIRS_MAX,
    replicates: int = REPLICATES,
    progress: Progress = lambda stage, done, total: None,
) -> Advice:
    """The advice for `workers` handlers at once and as many `partitions`, were there some. `declared`: the
    footprints are those of handlers, so that an empty one says that nothing is touched; else it says nothing.

    Passes over the log of about 10 µs an event of two keys: `replicates` for each number of workers where service times
    differ (at most `EVENTS_DRAWN_MAX` events in all), one for each of a dozen changes and `remedy_pairs` pairs of them.
    """
    replicates = min(replicates, EVENTS_DRAWN_MAX // max(1, workload.events))
    numbers = sorted({*WORKERS, workers})
    predictions = []
    for at, number in enumerate(numbers, 1):
        predictions.append(predict(workload, services, number, chance, lookahead=lookahead, replicates=replicates))
        progress("predict", at, len(numbers))
    connected = components(workload.footprints)
    labels = find_labels(workload, edges(workload.footprints))
    placement = None if labels.best.safe else place_objects(workload.footprints, partitions)
    progress("labels", 1, 1)
    remedies = find_remedies(
        workload, services.expected(), workers, lookahead=lookahead, prepare_share=prepare_share,
        pairs_max=remedy_pairs, tick=lambda done, total: progress("remedies", done, total),
    )  # fmt: skip
    known = declared or any(workload.footprints)
    now = next(one for one in predictions if one.workers == workers)
    return Advice(
        workers=workers,
        measured=services.measured,
        predictions=tuple(predictions),
        components=connected,
        labels=labels,
        placement=placement,
        remedies=tuple(remedies),
        verdict=tuple(_verdict(now, connected, labels, remedies)) if known else (NO_KEYS,),
        known=known,
    )


def _verdict(now: Prediction, connected: Components, labels: Labels, remedies: Sequence[Remedy]) -> list[str]:
    said = []
    best = remedies[0] if remedies and remedies[0].gain >= GAIN else None
    if labels.best.safe and connected.bound >= SAME * now.speedup:
        said.append(
            f"Fixed partitions suffice ({_by(labels)}): no events that depend on each other are parted, and they reach "
            f"as much as any schedule, {ratio(min(connected.bound, now.speedup))} with {now.workers} at once."
        )
    if now.speedup >= SAME * now.workers:
        said.append(
            f"As it is, {now.workers} at once reach {ratio(now.speedup)} of at most {now.workers}: no change is needed."
            + ("" if labels.best.safe else " Fixed partitions would lose the order of events, whatever the label.")
        )
    elif best is None:
        said.append(
            f"{ratio(now.speedup)} is what this log allows with {now.workers} at once, and no change that was tried "
            "brings half as much again: nothing can be won without changing what the events mean."
        )
    else:
        said.append(
            f"With {now.workers} at once this log allows {ratio(now.speedup)}, and {ratio(best.speedup)} with the best "
            f"change, if that is true of the handlers: {best}."
        )
    if not labels.best.safe:
        worst = labels.best.cuts[0]
        said.append(
            f"No partition label is safe: the best parts {labels.best.cut:,} of {labels.best.total:,} dependent "
            f"neighbours, most of all {worst.between}."
        )
    return said


def _by(labels: Labels) -> str:
    names = sorted({family_name(name) for name in labels.best.labels.values() if name is not None})
    return f"by {listed(names)}" if names else "by anything"
