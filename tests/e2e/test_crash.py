"""Workers killed with SIGKILL at random moments: a short run of benchmarks/crash.py, which says what it counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork(2)")
def test_killed_workers_lose_nothing_do_nothing_twice_and_keep_the_sequence() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks/crash.py", "--rounds", "15", "--seed", "5", "--deaths-max", "0", "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr + run.stdout
    found = json.loads(run.stdout)
    assert found["killed"] == 15
    assert found["confirmed"] > 100  # else the kills met nobody at work
    broken = ("lost", "double_effects", "order_violations", "wrong_children", "children_out_of_sequence", "dead")
    assert {name: found[name] for name in broken} == dict.fromkeys(broken, 0)
    assert found["state_equal"] is True
