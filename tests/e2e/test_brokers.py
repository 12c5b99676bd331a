"""The brokers that tests talk to: started once, known again, and back after kill -9.

What they keep then is a matter of tests/transports/test_proxied.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import URLS, broker_url, control, given_url, kill_and_restart
from tests.house.tree import ROOT

NAMES = ("rabbitmq", "kafka", "mqtt", "postgresql")


def state_file(name: str) -> Path:
    return URLS.parent / name / "state.json"


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_broker_comes_back_at_its_address(name: str) -> None:
    url = broker_url(name)
    before = None if given_url(name) else state_file(name).read_text()
    assert kill_and_restart(name) == url
    assert state_file(name).read_text() != before, "the same process: nothing was killed"


def test_a_second_start_starts_nothing() -> None:
    if any(given_url(name) for name in NAMES):
        pytest.skip("some brokers are given by the environment")
    addresses = {name: broker_url(name) for name in NAMES}
    before = [state_file(name).read_text() for name in NAMES]
    lines = control("start").splitlines()
    assert dict(line.split() for line in lines) == addresses
    assert [state_file(name).read_text() for name in NAMES] == before


def test_a_process_that_only_has_the_pid_is_left_alone() -> None:
    """The script's `Process` is a pid and a start: a stranger with a reused pid must live."""
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    script = (
        "import json, sys, signal\n"
        "from machine import Process, end, start_of\n"
        "pid = int(sys.argv[1])\n"
        "ours, reused = Process('server', pid, start_of(pid)), Process('server', pid, 'earlier')\n"
        "end(reused, signal.SIGKILL, patience_s=0)\n"
        "spared = ours.lives()\n"
        "end(ours, signal.SIGKILL, patience_s=10)\n"
        "print(json.dumps([reused.lives(), spared, ours.lives()]))\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(stranger.pid)],
            cwd=ROOT / ".ci",
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        stranger.communicate()
    assert json.loads(done.stdout) == [False, True, False]
