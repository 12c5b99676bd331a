"""The readers against logs that no one here wrote, and figures that an independent program computed from
them. What follows from the events is held against the figures in tests/analysis.

``COMMUTE_LOGS`` names the folder of the logs; they are not part of this repository.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from commute.logs import LogEvent, read_log
from tests.logs import adapters

ROOT = Path(__file__).parents[2]
LOGS = Path(os.environ.get("COMMUTE_LOGS", ROOT.parent / "shared" / "data"))

pytestmark = pytest.mark.skipif(
    not (LOGS / "facts.json").is_file(), reason="the folder of event logs is absent (COMMUTE_LOGS names it)"
)

ADAPTED: dict[str, Callable[[Path], list[LogEvent]]] = {
    "retail-uci-2010-12": adapters.retail,
    "iot-ampds2": adapters.meters,
    "iot-mqtt-lab": adapters.lab,
}
# The format that must be recognised; none of them has a record that cannot be read.
READ = {
    "eth-bal-a": "JSON lines",
    "git-pm4py": "JSON lines",
    "oltp-rubis": "JSON lines",
    "oltp-twitter": "JSON lines",
    "ocel1-bpi2017-extract": "OCEL 1.0 JSON",
    "ocel1-order-process": "OCEL 1.0 JSON",
    "ocel1-p2p-normal": "OCEL 1.0 JSON",
    "ocel1-recruiting": "OCEL 1.0 JSON",
    "ocel2-order-management": "OCEL 2.0 SQLite",
    "ocel-order-simulated": "OCEL 1.0 CSV",
    "ocel2-inventory-qel": "OCEL 2.0 XML",
    "xes-bpic2013-incidents": "XES",
    "xes-bpic2020-permit": "XES",
    "xes-helpdesk": "XES",
    "xes-sepsis": "XES",
    "xes-teleclaims": "XES",
    "xes-receipt": "CSV",
    "xes-roadtraffic100": "CSV",
    "xes-running-example": "CSV",
}
LARGEST = "xes-bpic2019"  # left to benchmarks/analyze.py
# Logs without figures, too small to have any: read, and nothing in them is a problem.
TOYS = {
    "ocel1-newocel": ("OCEL 1.0 JSON", 20),
    "ocel2-example": ("OCEL 2.0 JSON", 13),
    "ocel2-pallet-logistics": ("OCEL 2.0 SQLite", 14),
}


def _file(name: str) -> Path:
    (path,) = (p for p in (LOGS / name).iterdir() if p.name != "PROVENANCE")
    return path


@functools.cache
def _facts() -> dict[str, dict[str, object]]:
    facts: dict[str, dict[str, object]] = json.loads((LOGS / "facts.json").read_bytes())
    return facts


def _assert_facts(name: str, events: list[LogEvent], declared: Mapping[str, int]) -> None:
    """The figures count declared objects too, of which in one log a type takes no part in any event."""
    facts = _facts()[name]
    touched = {(kind, identity) for e in events for kind, identity, _ in e.objects}
    kinds = {kind for kind, _ in touched} | declared.keys()
    objects = sum(declared.values()) + sum(kind not in declared for kind, _ in touched)
    keys = sum(len({o[:2] for o in e.objects}) for e in events)
    assert len(events) == facts["events"]
    assert len({e.type for e in events}) == facts["event_types"]
    assert len(kinds) == facts["object_types"]
    assert objects == facts["objects"]
    assert keys / len(events) == pytest.approx(facts["keys_per_event"], abs=0.001)


@pytest.mark.parametrize("name", READ)
def test_a_log_gives_the_events_and_the_objects(name: str) -> None:
    log = read_log(_file(name))
    assert (log.format, log.problems) == (READ[name], [])
    assert len({e.id for e in log.events}) == len(log.events)
    _assert_facts(name, log.events, log.declared)


@pytest.mark.parametrize("name", ADAPTED)
def test_an_adapted_log_gives_the_events_and_the_objects(name: str) -> None:
    _assert_facts(name, ADAPTED[name](LOGS / name), {})


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_log_is_read_whole(name: str) -> None:
    log = read_log(_file(name))
    assert (log.format, len(log.events), log.problems, log.notes) == (*TOYS[name], [], [])
    assert all(e.objects and e.time_s is not None for e in log.events)


def test_every_log_with_figures_is_read() -> None:
    assert _facts().keys() == READ.keys() | ADAPTED.keys() | {LARGEST}
