"""The table of what each transport promises, made of what the conformance suite checks.

python -m tests.house.promises        writes it into docs/guarantees.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from commute.cli.output import size
from commute.limits import Limits
from commute.link import parse_url, promises_of
from commute.transports.base import Features
from commute.transports.memory import MemoryTransport
from commute.transports.sqlite import SqliteTransport
from tests.house.tree import ROOT
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


def lines() -> Iterator[str]:
    """The table, and below it what each broker does not promise."""
    yield "| " + " | ".join(HEADS) + " |"
    yield "|" + "---|" * len(HEADS)
    for features in (SqliteTransport.features, MemoryTransport.features, *map(features_of, SAMPLES)):
        yield "| " + " | ".join(cells(features)) + " |"
    yield ""
    for url in SAMPLES.values():
        promises = promises_of(parse_url(url))
        yield f"- {promises.name}: {promises.note}."


def cells(features: Features) -> list[str]:
    """One row."""
    bytes_max = min(features.message_bytes_max or Limits().event_bytes_max, Limits().event_bytes_max)
    return [
        features.name,
        features.confirmed,
        "nothing confirmed is lost" if features.durable else "what was confirmed may be lost",
        "kept" if features.ordered else "may be lost",
        "yes" if features.queued else "no",
        "yes" if features.stable_positions else "no",
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
