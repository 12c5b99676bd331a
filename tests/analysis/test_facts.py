"""The analysis of logs that no one here wrote: all figures that an independent program computed, and the hubs that are
known to be in them, found by itself.

``COMMUTE_LOGS`` names the folder of the logs; they are not part of this repository. The largest logs are left to
benchmarks/analyze.py, which checks the same figures.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commute.analysis.analysis import analyze
from commute.analysis.chain import longest_chain
from commute.analysis.components import components
from commute.analysis.conclusions import sentences
from commute.analysis.document import document
from commute.analysis.speedup import curve
from commute.analysis.workload import Workload, workload_of
from commute.core.footprint import READ
from commute.footprints.segment import text_segment
from commute.logs import Log, LogEvent, read_log
from tests.logs import adapters

ROOT = Path(__file__).parents[2]
LOGS = Path(os.environ.get("COMMUTE_LOGS", ROOT.parent / "shared" / "data"))
LARGE = {"xes-bpic2019", "xes-bpic2013-incidents", "iot-ampds2"}

pytestmark = pytest.mark.skipif(
    not (LOGS / "facts.json").is_file(), reason="the folder of event logs is absent (COMMUTE_LOGS names it)"
)

ADAPTED: dict[str, Callable[[Path], list[LogEvent]]] = {
    "retail-uci-2010-12": adapters.retail,
    "iot-ampds2": adapters.meters,
    "iot-mqtt-lab": adapters.lab,
}
FACTS: dict[str, Any] = (
    json.loads((LOGS / "facts.json").read_bytes()) if (LOGS / "facts.json").is_file() else {name: {} for name in LARGE}
)


@functools.lru_cache(maxsize=1)
def log_of(name: str) -> Log:
    """The log, read with no option but by an adapter where a log needs one."""
    if name in ADAPTED:
        return Log(ADAPTED[name](LOGS / name), "adapted", [], [])
    (path,) = (p for p in (LOGS / name).iterdir() if p.name != "PROVENANCE")
    return read_log(path)


def workload(name: str) -> Workload:
    made, refused = workload_of(log_of(name).events)
    assert refused == []
    return made


def figures(footprints: Workload) -> tuple[object, ...]:
    """What facts.json says of a cut, in its precision."""
    reached = curve(footprints.footprints, 256, (8, 32)).speedup_at
    chain = longest_chain(footprints.footprints)
    bounds = (chain.bound, components(footprints.footprints).bound, reached[8], reached[32])
    return chain.length, *(round(value + 1e-9, 2) for value in bounds)


def expected(cut: dict[str, Any]) -> tuple[object, ...]:
    lists = (cut[f"list_schedule_{workers}_lookahead_256"] for workers in (8, 32))
    return cut["longest_chain_events"], cut["bound"], cut["fixed_partition_bound"], *lists


@pytest.mark.parametrize("name", sorted(FACTS.keys() - LARGE))
def test_every_cut_has_the_chain_the_bounds_and_the_speed_ups_that_another_program_found(name: str) -> None:
    whole = workload(name)
    for cut in FACTS[name]["cuts"]:
        read = {text_segment(kind): READ for kind in cut["read_only_types"]}
        assert figures(whole.with_modes(read)) == pytest.approx(expected(cut), abs=0.0101), cut["read_only_types"]


@pytest.mark.parametrize(
    ("name", "first", "share", "steps"),
    [
        ("ocel2-order-management", "employees", 0.96, {"employees": 13.44, "customers": 2276.38}),
        (
            "ocel2-inventory-qel",
            "Physical Warehouse",
            0.7,
            {
                "Physical Warehouse": 3.36,
                "Warehouse Employee": 4.16,
                "Planning System": 6.78,
                "Administrative Employee": 905.5,
            },
        ),
        ("git-pm4py", "author", 0.9, {"author": 5.42}),
        ("retail-uci-2010-12", "product", 0.9, {"product": 54.73, "customer": 2025.0}),
        ("xes-receipt", "resource", 0.9, {"resource": 343.08}),
    ],
)
def test_the_hubs_are_found_by_itself(name: str, first: str, share: float, steps: dict[str, float]) -> None:
    found = document(
        analyze(workload(name), log_of(name).events, declared=log_of(name).declared, workers=(8,), lookaheads=(256,))
    )
    hubs: Any = found["hubs"]
    assert hubs[0]["type"] == first
    assert hubs[0]["share_of_chain"] > share
    taken: Any = found["hub_steps"]
    assert taken[-1]["types"] == list(steps)
    assert [step["bound_if_read"] for step in taken] == pytest.approx(list(steps.values()), abs=0.01)
    facts = FACTS[name]
    counted = {field: facts[field] for field in ("events", "event_types", "object_types", "objects")}
    assert {field: found[field] for field in counted} == counted
    said: Any = found["summary"]
    assert len(said) <= 5
    assert first in " ".join(said)
    remedies: Any = found["remedies"]
    assert 1 <= len(remedies) <= 3
    assert remedies[0]["bound"] >= max(steps.values()) - 0.01


def test_where_fixed_partitions_suffice_it_says_so() -> None:
    for name in ("xes-sepsis", "ocel1-recruiting"):
        found = analyze(workload(name), log_of(name).events, workers=(8, 32), lookaheads=(256, 50_000))
        assert "nothing can be won by anything finer" in " ".join(sentences(found))
