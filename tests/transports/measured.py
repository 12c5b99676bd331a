"""What runs of the conformance suite and of the faults found on each transport: docs/guarantees.md is made of it.

A run that finds something else than what is kept in measured.json fails; with COMMUTE_MEASURE=write it is kept instead:

    COMMUTE_MEASURE=write python .ci/brokers.py around python -m pytest tests/transports
    python -m tests.house.promises
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

FILE = Path(__file__).with_name("measured.json")
KEPT, BROKEN = "kept", "broken"
Outcomes: TypeAlias = dict[str, dict[str, str]]  # transport -> case -> outcome


def outcomes(file: Path = FILE) -> Outcomes:
    found: Outcomes = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


@contextmanager
def measured(transport: str, case: str, file: Path = FILE) -> Iterator[None]:
    """The outcome of the case on the transport is how the block ends: `KEPT`, or `BROKEN` where an assertion fails."""
    try:
        yield
    except AssertionError:
        _found(transport, case, BROKEN, file)
        raise
    _found(transport, case, KEPT, file)


def _found(transport: str, case: str, outcome: str, file: Path) -> None:
    kept = outcomes(file)
    if os.environ.get("COMMUTE_MEASURE") == "write":
        kept.setdefault(transport, {})[case] = outcome
        text = json.dumps({name: dict(sorted(cases.items())) for name, cases in sorted(kept.items())}, indent=1)
        file.write_text(text + "\n", encoding="utf-8")
        return
    told = kept.get(transport, {}).get(case, "nothing")
    assert outcome == told, f"{transport}, {case}: {outcome}, but {file.name} says {told}; see {Path(__file__).name}"
