"""The page of one run: what it allowed, what it reached, and who waited for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from commute.analysis.chain import Stretch
from commute.core.bounds import Bounds
from commute.report.chain import chain
from commute.report.curve import curve
from commute.report.markup import count, seconds
from commute.report.matrix import Cell, legend_of, matrix
from commute.report.network import network
from commute.report.page import Page, Section
from commute.report.timeline import Span, timeline
from commute.report.waterfall import Step, waterfall
from commute.wording import plural

LEGEND = legend_of("= fields agree", "~ they share an element of a list", "? other data decides", "· never", "! always")
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was recorded. `spans` are in log sequence and belong one by one to the events of `bounds`.

    `violations` None: nobody has looked. `arrived_s`: when the last event came, 0 where all were there from the start;
    then the bounds are those of events that come by and by.
    """

    title: str
    lead: str
    spans: Sequence[Span]
    bounds: Bounds
    concurrency: int
    makespan_s: float
    violations: int | None
    arrived_s: float = 0.0
    types: Sequence[str] = ()  # of the matrix; empty where nothing is known but the log
    relation: Mapping[tuple[str, str], Cell] | None = None


def run_page(run: Run) -> Page:
    """The page. O(events * log events)."""
    bounds = run.bounds
    facts = [
        ("events", count(bounds.events)),
        ("longest chain", count(bounds.chain_events)),
        ("speed-up", f"{count(round(bounds.speedup(run.makespan_s), 2))} x"),
        ("efficiency", f"{bounds.efficiency(run.makespan_s, run.concurrency):.2f}"),
    ]
    if run.violations is not None:
        facts.append(("order violations", count(run.violations)))
    return Page(run.title, run.lead, facts, _sections(run))


def _sections(run: Run) -> list[Section]:
    sections = []
    if run.relation is not None:
        edges = {pair: 1.0 if cell.pairs is None else float(cell.pairs) for pair, cell in run.relation.items()
                 if cell.symbol != "."}  # fmt: skip
        said = {pair: cell.condition for pair, cell in run.relation.items()}
        sections += [
            Section("What depends on what", "Two events of these types keep their sequence if the condition holds.",
                    matrix(run.types, run.relation), LEGEND),
            Section("Types that may depend on each other", "What has no line between it never waits for each other.",
                    network(run.types, edges, said)),
        ]  # fmt: skip
    bounds, total_s = run.bounds, run.bounds.total_s
    if total_s > 0 and run.makespan_s > 0:
        sections += [
            Section("What more handlers at once could bring", "By the service times of this run: at least the longest "
                    "chain, at least the work divided by the handlers.", _curve(run)),
            Section("Where the time went", f"{run.concurrency} handlers at once, {seconds(run.makespan_s)} in all.",
                    waterfall(_steps(run))),
            Section("The longest chain", f"{plural(bounds.chain_events, 'event')}, each waiting for the one before it: "
                    "no number of workers makes this shorter.", chain(_stretches(run), bounds.chain_events)),
        ]  # fmt: skip
    sections.append(
        Section("Timeline", "A lane for each handler at work; the colour is the event's type.", timeline(run.spans))
    )
    return sections


def _curve(run: Run) -> str:
    bounds = run.bounds
    known = [workers for workers in WORKERS if workers <= 2 * run.concurrency] or [1]
    reach = {workers: bounds.total_s / bounds.lower_bound_s(workers) for workers in known}
    most = bounds.total_s / bounds.heaviest_chain_s if bounds.heaviest_chain_s else 0.0
    return curve(reach, bound=most, partitions=None, measured=(run.concurrency, bounds.speedup(run.makespan_s)))


def _steps(run: Run) -> list[Step]:
    bounds = run.bounds
    ideal_s = bounds.total_s / run.concurrency
    least_s = bounds.lower_bound_s(run.concurrency)
    run_s = max(run.makespan_s, least_s)
    arrived_s = max(ideal_s, run.arrived_s)
    arrivals = [Step("arrivals", arrived_s, "nothing is handled before it has come")] if run.arrived_s else []
    return [
        Step("all independent", ideal_s, "the work divided by the handlers at once"),
        *arrivals,
        Step("dependences", least_s, "the longest chain, where it is longer than that"),
        Step("schedule and runtime", run_s, "handlers without work, and what the engine itself took"),
        Step("measured", run_s, "from the first admission to the last end"),
    ]


def _stretches(run: Run) -> list[Stretch]:
    members = run.bounds.chain()
    linked = [(number, key if at else members[1][1]) for at, (number, key) in enumerate(members)] if members[1:] else []
    found = []
    for key, stretch in groupby(linked, key=lambda member: member[1]):
        numbers = [number for number, _ in stretch]
        found.append(Stretch(key, len(numbers), tuple(sorted({run.spans[number].type for number in numbers}))))
    return found
