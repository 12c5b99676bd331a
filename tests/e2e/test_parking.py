"""Parks, retries, skips, drops, arrivals, stops and failing stores in random sequence: a short run of
benchmarks/parking.py, which says what it judges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_random_lives_keep_the_sequence_and_none_is_stuck() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks/parking.py", "--runs", "150", "--seed", "700", "--json"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr + run.stdout
    found = json.loads(run.stdout)
    assert (found["violations"], found["stuck"]) == (0, 0)
    for met in ("retry", "skip", "drop", "stop", "fault", "failed"):
        assert found[met] > 50  # else it met nothing to be judged
