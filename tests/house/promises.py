"""The tables of what each transport promises and of what runs found, made of tests/transports/measured.json.

python -m tests.house.promises        writes it into docs/guarantees.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from commute.cli.output import size
from commute.limits import Limits
from commute.link import parse_url, promises_of
from commute.testing.conformance import checks
from commute.transports.base import Features
from commute.transports.memory import MemoryTransport
from commute.transports.sqlite import SqliteTransport
from tests.house.tree import ROOT
from tests.transports.measured import KEPT, outcomes
from tests.transports.test_proxied import CASES as FAULT_CASES
from tests.transports.test_proxied import FAULTS, KILLED
from tests.transports.test_servers import SAMPLES, features_of

PAGE = ROOT / "docs" / "guarantees.md"
PART = re.compile(r"(?<=<!-- promises: python -m tests.house.promises -->\n).*?(?=<!-- promises end -->)", re.DOTALL)
HEADS = (
    "",
    "confirmed means",
    "kill -9 of the broker",
    "one producer's sequence",
    "kept while no worker runs",
    "stable positions",
    "largest event",
    "the broker may forget",
)
TRANSPORTS = (SqliteTransport.features, MemoryTransport.features, *map(features_of, SAMPLES))


def lines() -> Iterator[str]:
    """The table, and below it what each broker does not promise."""
    yield "| " + " | ".join(HEADS) + " |"
    yield "|" + "---|" * len(HEADS)
    for features in TRANSPORTS:
        yield "| " + " | ".join(cells(features)) + " |"
    yield ""
    for url in SAMPLES.values():
        promises = promises_of(parse_url(url))
        yield f"- {promises.name}: {promises.note}."
    yield ""
    yield "What runs found; a dash where a transport does not promise it, or has no such thing:"
    yield ""
    yield from measurements()


def measurements() -> Iterator[str]:
    """Case by case."""
    found = outcomes()
    yield "| case | " + " | ".join(features.name for features in TRANSPORTS) + " |"
    yield "|" + "---|" * (1 + len(TRANSPORTS))
    for case, title in titles().items():
        yield f"| {title} | " + " | ".join(found.get(t.name, {}).get(case, "—") for t in TRANSPORTS) + " |"


def expected() -> dict[str, set[str]]:
    """The cases that are run on each transport."""
    of_suite = {features.name: {check.__name__ for check in checks(features)} for features in TRANSPORTS}
    return {
        name: cases | {fault for broker, fault in FAULT_CASES if broker == name} for name, cases in of_suite.items()
    }


def titles() -> dict[str, str]:
    """Each case and what it is called in the table, from plain to hard."""
    suite = checks(SqliteTransport.features)  # it promises everything
    said = {check.__name__: " ".join((check.__doc__ or "").split()).split(".")[0] for check in suite}
    return said | {fault: f"{fault}: each effect once and in sequence" for fault in FAULTS}


def cells(features: Features) -> list[str]:
    """One row. What was measured goes before what is declared."""
    found = outcomes().get(features.name, {})

    # Without a broker's own process it is ours that is killed: the file's or, for ZeroMQ, the worker's (its own tests).
    kill = KILLED if (features.name, KILLED) in FAULT_CASES else "check_confirmed_survives_kill"

    def kept(case: str, declared: bool) -> bool:
        return declared and found.get(case, KEPT) == KEPT

    bytes_max = min(features.message_bytes_max or Limits().event_bytes_max, Limits().event_bytes_max)
    return [
        features.name,
        features.confirmed,
        "nothing confirmed is lost" if kept(kill, features.durable) else "what was confirmed may be lost",
        "kept" if kept("check_concurrent_producers", features.ordered) else "may be lost",
        "yes" if kept("check_every_message_arrives_in_sequence", features.queued) else "no",
        "yes" if kept("check_positions_are_stable", features.stable_positions) else "no",
        size(bytes_max) if bytes_max % 1024 == 0 else f"{bytes_max:,} bytes",
        "once it is in the journal" if features.settles == "journal" else "after the outcome",
    ]


def part() -> str:
    """What stands between the marks."""
    return "\n" + "\n".join(lines()) + "\n\n"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    assert PART.search(text), "the marks are gone"
    PAGE.write_text(PART.sub(lambda _: part(), text), encoding="utf-8")
