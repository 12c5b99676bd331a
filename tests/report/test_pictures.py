"""What the pictures say, without a browser: no overlap, nothing unescaped, every figure from the data."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from commute.analysis.analysis import analyze
from commute.analysis.chain import Stretch
from commute.analysis.workload import workload_of
from commute.core.blockers import Blockers
from commute.core.bounds import Bounds
from commute.core.footprint import ADD, READ, WRITE, Access, Footprint, conflicts
from commute.logs import LogEvent
from commute.report.analysis import analysis_page
from commute.report.chain import chain
from commute.report.curve import curve
from commute.report.markup import element, short, ticks
from commute.report.matrix import Cell, matrix
from commute.report.network import NODES_MAX, components, network
from commute.report.page import Page, Section
from commute.report.run import Run, run_page
from commute.report.timeline import Span, lanes, timeline
from commute.report.waterfall import Step, waterfall

EVIL = "</script><img src=x onerror=alert(1)>\"'&"


def footprints(count: int, seed: int) -> list[Footprint]:
    chance = random.Random(seed)
    keys = ["a", "a/1", "a/2", "b/1", "b/1/c", ""]
    return [
        tuple(Access(key, chance.choice([READ, WRITE, ADD])) for key in chance.sample(keys, chance.randint(1, 2)))
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_blocker_is_the_conflicting_predecessor_that_ended_last(seed: int) -> None:
    events, chance, blockers = footprints(40, seed), random.Random(seed), Blockers()
    ends = [chance.random() for _ in events]
    for number, footprint in enumerate(events):
        before = [other for other in range(number) if conflicts(events[other], footprint)]
        found = blockers.add(number, footprint, ends[number])
        assert (found and found.event) == (max(before, key=lambda other: ends[other]) if before else None)


@pytest.mark.parametrize("seed", range(10))
def test_the_chain_is_as_long_as_it_says_and_each_link_is_a_conflict(seed: int) -> None:
    events, bounds = footprints(30, seed), Bounds()
    for footprint in events:
        bounds.add(footprint)
    numbers = [number for number, _ in bounds.chain()]
    assert len(numbers) == bounds.chain_events
    assert all(a < b and conflicts(events[a], events[b]) for a, b in pairwise(numbers))


@pytest.mark.parametrize("seed", range(10))
def test_no_two_spans_of_a_lane_overlap_and_there_are_no_more_lanes_than_ran_at_once(seed: int) -> None:
    chance = random.Random(seed)
    starts = sorted(chance.random() for _ in range(200))
    spans = [Span(str(at), "t", start, start, start + chance.random() / 20) for at, start in enumerate(starts)]
    placed = lanes(spans)
    until: dict[int, float] = {}
    for span, lane in zip(spans, placed, strict=True):
        assert until.get(lane, 0.0) <= span.started_s
        until[lane] = span.ended_s
    most = max(sum(a.started_s <= b.started_s < a.ended_s for a in spans) for b in spans)
    assert max(placed) + 1 == most


def test_components_are_what_lines_connect() -> None:
    assert components(["a", "b", "c", "d"], {("a", "c"): 1.0, ("b", "b"): 1.0}) == [["a", "c"], ["b"], ["d"]]


def test_the_curve_names_the_knee() -> None:
    assert "knee: 4" in curve({1: 1.0, 2: 2.0, 4: 3.9, 8: 4.2, 16: 4.3}, bound=5.0, partitions=None, measured=None)


@pytest.mark.parametrize("largest", [0.0, 0.003, 1.0, 7.0, 19.4, 123_456.0])
def test_ticks_reach_the_largest_value_and_are_few(largest: float) -> None:
    found = ticks(largest)
    assert found[0] == 0
    assert found[-1] >= largest
    assert 2 <= len(found) <= 7


def test_long_names_are_shortened_in_the_middle() -> None:
    assert short("a" * 20 + "b" * 20, 11) == "aaaaa…bbbbb"
    assert short("ab", 11) == "ab"


def test_nothing_from_the_data_becomes_markup() -> None:
    span = Span(EVIL, EVIL, 0.0, 0.1, 0.2, EVIL, EVIL, 0.1)
    parts = [
        matrix([EVIL], {(EVIL, EVIL): Cell("=", EVIL, 3, 0.5)}),
        timeline([span]),
        chain([Stretch(EVIL, 1, (EVIL,))], 1),
        waterfall([Step(EVIL, 1.0, EVIL)]),
        element("p", title=EVIL),
    ]
    page = Page(EVIL, EVIL, [(EVIL, EVIL)], [Section(EVIL, EVIL, part, EVIL) for part in parts], [EVIL]).html()
    assert "<img" not in page
    assert len(re.findall(r"</script>", page)) == 1
    assert not re.search(r"(?:src|href)=", page.replace("src=x", ""))


def test_the_page_of_a_run_has_its_figures_and_names_the_blocker() -> None:
    bounds = Bounds()
    bounds.add((Access("order/1", WRITE),), 0.2)
    bounds.add((Access("order/1", WRITE),), 0.2)
    bounds.add((Access("order/2", WRITE),), 0.2)
    spans = [
        Span("e1", "created", 0.0, 0.0, 0.2),
        Span("e2", "paid", 0.0, 0.2, 0.4, "e1", "order/1", 0.2),
        Span("e3", "created", 0.0, 0.0, 0.2),
    ]
    run = Run(title="t", lead="l", spans=spans, bounds=bounds, concurrency=2, makespan_s=0.4, violations=0)
    page = run_page(run).html()
    assert "order/1 ← e1" in page
    assert "waited 200 ms for e1 over order/1" in page
    assert "1.5 x" in page
    assert "order/1: 2 events" in page
    empty = Run(title="t", lead="l", spans=[], bounds=Bounds(), concurrency=2, makespan_s=0.0, violations=0)
    assert "No event has run" in run_page(empty).html()


def shapes(markup: str, name: str) -> list[dict[str, str]]:
    """The attributes of all shapes of one kind, in the sequence of the picture."""
    return [dict(re.findall(r'([a-z-]+)="([^"]*)"', found)) for found in re.findall(rf"<{name} ([^>]*)>", markup)]


def test_a_waterfall_goes_down_step_by_step_and_the_last_bar_is_the_whole() -> None:
    first, second, last = shapes(waterfall([Step("a", 1.0, ""), Step("b", 3.0, ""), Step("c", 3.0, "")]), "rect")
    assert float(second["x"]) == pytest.approx(float(first["x"]) + float(first["width"]), abs=0.02)
    assert float(second["width"]) == pytest.approx(2 * float(first["width"]), abs=0.02)
    assert last["x"] == first["x"]
    assert float(last["width"]) == pytest.approx(3 * float(first["width"]), abs=0.02)


def test_a_pair_says_the_same_on_both_sides_of_the_map() -> None:
    drawn = matrix(["a", "b"], {("a", "b"): Cell("=", "order is the same", 3, 0.5)})
    assert [cell["data-tip"].partition("\n")[0] for cell in shapes(drawn, "td")] == [
        "a and a: never dependent", "a and b: order is the same", "b and a: order is the same",
        "b and b: never dependent",
    ]  # fmt: skip


def test_the_longest_wait_is_the_first_that_is_shown() -> None:
    spans = [Span(f"e{n}", "t", 0.0, float(n), n + 0.5, "x", "k", float(n)) for n in range(1, 50)]
    shown = re.findall(r">t (e\d+)<", timeline(spans).partition("The longest waits")[2])
    assert shown[:3] == ["e49", "e48", "e47"]
    assert len(shown) == 30


def test_a_bound_within_the_picture_is_a_line_and_one_beyond_it_is_none() -> None:
    reach = {1: 1.0, 2: 2.0, 4: 3.0}
    assert "bound 3.2 x" in re.sub("<[^>]*>", " ", curve(reach, bound=3.2, partitions=None, measured=None))
    assert "bound" not in re.sub("<[^>]*>", " ", curve(reach, bound=300.0, partitions=None, measured=None))
    assert "knee" not in curve(reach, bound=300.0, partitions=None, measured=None), "more would bring more"


def test_a_stretch_is_as_wide_as_it_has_events() -> None:
    drawn = chain([Stretch("a/1", 30, ("t",)), Stretch("b/1", 10, ("t",))], 40)
    first, second = (float(one["width"]) for one in shapes(drawn, "rect"))
    assert first == pytest.approx(3 * second, abs=3)
    assert re.findall(r"</i>([^<]*)<", drawn) == ["a", "b"]


def test_a_line_is_as_thick_as_its_weight_and_what_finds_no_room_is_counted() -> None:
    many = [f"x{n}" for n in range(NODES_MAX - 3)]
    nodes = ["a", "b", "c", *many, "y", "z"]
    edges = {("a", "b"): 10.0, ("b", "c"): 1.0, ("y", "z"): 1.0, **{("x0", name): 1.0 for name in many}}
    drawn = network(nodes, edges, {})
    assert "and 1 more component" in drawn
    thick, thin = (float(one["stroke-width"]) for one in shapes(drawn, "line")[-2:])
    assert thick > 2 * thin
    assert "Dependent on nothing: d, e" in network(["a", "b", "d", "e"], {("a", "b"): 1.0}, {})


def test_groups_beyond_those_that_are_drawn_are_one_bar() -> None:
    events = [LogEvent(n, str(n), "t", float(n), (("o", str(n % 50), None),), {}) for n in range(100)]
    page = analysis_page(analyze(workload_of(events)[0], events), "t", "l").html()
    assert "10 smaller groups: 20 events, 20% of all" in page
    assert "50 groups, the largest of 2 events, 2% of all" in page


def test_names_in_a_picture_of_many_types_lie_within_it() -> None:
    nodes = [f"{'event type of a long name':24} {n:02}" for n in range(27)]
    drawn = network(nodes, {(a, b): 1.0 for a in nodes for b in nodes if a < b}, {})
    width = float(re.findall(r'viewBox="0 0 ([\d.]+)', drawn)[0])
    for attributes in shapes(drawn, "text"):
        reach = 24 * 6.5 / (2 if attributes["text-anchor"] == "middle" else 1)
        left = reach if attributes["text-anchor"] != "start" else 0.0
        right = reach if attributes["text-anchor"] != "end" else 0.0
        assert left <= float(attributes["x"]) <= width - right
