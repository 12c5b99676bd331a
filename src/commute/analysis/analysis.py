"""One log, analysed: everything that a person is shown or a picture is drawn of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from commute.analysis.chain import Chain, Stretch, longest_chain
from commute.analysis.components import Components, components
from commute.analysis.edges import edges, watched
from commute.analysis.hubs import Hubs, find_hubs
from commute.analysis.keys import Key, find_keys
from commute.analysis.relation import SAMPLE_EVENTS, Related, relations
from commute.analysis.speedup import WORKERS, Curve, curve
from commute.analysis.workload import Workload
from commute.logs import LogEvent

# stage, done, of how many
Progress = Callable[[str, int, int], None]

# What other readers look ahead, and what a worker does by default (descriptors_max).
LOOKAHEADS = (256, 50_000)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found. `types` and `objects` count events and distinct objects, the most first; `curves` one for each
    number of events looked ahead. All bounds are ratios, for events that take equally long.

    `known`: whether any event names a key. If none does, nothing is known of what depends on what: no bound means
    anything, and there are no curves and no relation."""

    types: Mapping[str, int]
    objects: Mapping[str, int]
    chain: Chain
    stretches: tuple[Stretch, ...]
    components: Components
    curves: tuple[Curve, ...]
    hubs: Hubs
    relation: tuple[Related, ...]
    keys: tuple[Key, ...]
    known: bool

    @property
    def events(self) -> int:
        return self.chain.events

    @property
    def bound(self) -> float:
        return self.chain.bound


def analyze(
    workload: Workload,
    events: Sequence[LogEvent] = (),
    *,
    declared: Mapping[str, int] | None = None,
    lookaheads: Sequence[int] = LOOKAHEADS,
    workers: Sequence[int] = WORKERS,
    hub_types: int = 12,
    hub_pairs: int = 30,
    sample_events: int = SAMPLE_EVENTS,
    progress: Progress = lambda stage, done, total: None,
) -> Analysis:
    """The analysis of a workload; `events` it was made of and objects `declared` beside them say what the keys are.

    Cost in passes over the log of about 10 µs an event of two keys: one for the chain, one for each family, pair of
    families and step of the hubs (at most `hub_types`, `hub_pairs`, `hub_types`), two for each number of workers and
    look-ahead. Memory: the log, and a few numbers an access.
    """
    total = workload.events
    known = any(workload.footprints)
    chain = longest_chain(workload.footprints, lambda done: progress("chain", done, total))
    connected = components(workload.footprints)
    met = watched(edges(workload.footprints), lambda done: progress("relation", done, total))
    related = relations(workload, met, sample_events=sample_events) if known else []
    progress("relation", total, total)
    keys = find_keys(events)
    steps = len(lookaheads) * len(workers)
    curves: list[Curve] = []
    for lookahead in lookaheads if known else ():
        before = len(curves) * len(workers)

        def through(done: int, before: int = before) -> None:
            progress("speed-up", before + done, steps)

        curves.append(curve(workload.footprints, lookahead, workers, through))
    hubs = find_hubs(
        workload.footprints, chain, families_max=hub_types, pairs_max=hub_pairs,
        tick=lambda done: progress("hubs", done, total),
    )  # fmt: skip
    return Analysis(
        types=dict(Counter(workload.types).most_common()),
        objects=_objects(events, declared or {}),
        chain=chain,
        stretches=_stretches(chain, workload.types),
        components=connected,
        curves=tuple(curves),
        hubs=hubs,
        relation=tuple(related),
        keys=keys,
        known=known,
    )


def _objects(events: Sequence[LogEvent], declared: Mapping[str, int]) -> dict[str, int]:
    touched = dict.fromkeys((kind, one) for event in events for kind, one, _ in event.objects)
    counts = Counter(kind for kind, _ in touched if kind not in declared)
    return dict((counts + Counter(declared)).most_common())


def _stretches(chain: Chain, types: Sequence[str]) -> tuple[Stretch, ...]:
    """The chain cut where the key that links it changes: as long as one key of a link goes on, it is taken."""
    named: list[tuple[str, str]] = []
    current = ""
    for member, keys in zip(chain.members[1:], chain.links, strict=True):
        current = current if current in keys else keys[0]
        named.append((current, types[member]))
    found = []
    for key, run in groupby(named, key=lambda pair: pair[0]):
        kinds = [kind for _, kind in run]
        found.append(Stretch(key, len(kinds), tuple(dict.fromkeys(kinds))))
    return tuple(found)
