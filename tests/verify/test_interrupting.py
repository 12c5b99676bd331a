"""Ctrl-C ends `commute check` and `commute observe` in the midst of a handler that hangs, and says where that is."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
import sys
import time

from commute import App, Event

class Asked(Event):
    n: int

app = App("hanging", "memory://")

@app.on(Asked, writes="asked/{n}")
def ask(event: Asked) -> None:
    print("here", file=sys.stderr, flush=True)
    time.sleep(10_000)
"""


@pytest.mark.parametrize("command", ["check", "observe"])
def test_one_is_enough_and_the_line_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "hanging.py").write_text(APP)
    with subprocess.Popen(
        [sys.executable, "-m", "commute", command, "hanging:app"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            while process.stderr.readline() != "here\n":
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    said = [
        "stopped while a handler was at hanging.py:14, in ask",
        "stopped while a handler was at hanging.py:15, in ask",
    ]
    assert errors in [f"{one}\nstopped\n" for one in said], "at the print, or asleep behind it"
