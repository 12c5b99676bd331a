"""``commute run --workers N``: N worker processes of one command, looked after.

A worker that dies, or that cannot reach broker or store, is started again, after a pause that grows while it dies
young; one that ends by itself for another reason ends all, since it would fail again: its message stands on the
terminal, and its status is the command's. A signal goes to all of them.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import FrameType

from commute.cli.commands import UNREACHABLE
from commute.cli.output import note

ENDS = (signal.SIGINT, signal.SIGTERM)
LOOK_S = 0.1
PAUSE_S_MIN = 0.2
PAUSE_S_MAX = 10.0
YOUNG_S = 10.0  # who lives longer has not died young


class _Place:
    """One of the N, whoever fills it."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.pause_s = PAUSE_S_MIN
        self.born_s = 0.0
        self.due_s = 0.0  # when it is to be started; 0 while it runs
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)
        self.born_s, self.due_s = time.monotonic(), 0.0


def run_workers(count: int, *, pictures: bool = False) -> int:
    """Run this very command `count` times, each with its share of the partitions; the exit status of the worst.

    `pictures`: they draw at SIGUSR1, which goes to all of them too.
    """
    base = _without_workers(sys.argv[1:])
    places = [
        _Place([sys.executable, "-m", "commute", *base, "--share", f"{number}/{count}"])
        for number in range(1, count + 1)
    ]
    asked: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if number in ENDS:
            asked.append(number)
        for place in places:
            if place.process.poll() is None:
                place.process.send_signal(number)

    heard = (*ENDS, signal.SIGUSR1) if pictures and hasattr(signal, "SIGUSR1") else ENDS
    before = {number: signal.signal(number, pass_on) for number in heard}
    try:
        return _look_after(places, asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for place in places:
            if place.process.poll() is None:
                place.process.kill()


def _look_after(places: list[_Place], asked: list[int]) -> int:
    failed = 0  # the status of the one for which the others were stopped
    while True:
        now_s = time.monotonic()
        for place in places:
            status = place.process.poll()
            if status is None:
                continue
            if asked:
                if all(each.process.poll() is not None for each in places):
                    return failed or max(abs(int(each.process.returncode)) for each in places)
            elif status >= 0 and status != UNREACHABLE:
                note(f"a worker has ended with status {status}: the others are stopped")
                failed = status
                asked.append(signal.SIGTERM)
                for other in places:
                    if other.process.poll() is None:
                        other.process.send_signal(signal.SIGTERM)
            elif not place.due_s:
                if now_s - place.born_s > YOUNG_S:
                    place.pause_s = PAUSE_S_MIN
                how = f"died of {signal.Signals(-status).name}" if status < 0 else "has nothing to reach"
                note(f"worker {place.process.pid} {how}; another one starts in {place.pause_s:.1f} s")
                place.due_s = now_s + place.pause_s
                place.pause_s = min(2 * place.pause_s, PAUSE_S_MAX)
            elif now_s >= place.due_s:
                place.start()
        time.sleep(LOOK_S)


def _without_workers(arguments: list[str]) -> list[str]:
    """The command line that each worker gets."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--workers":
            skip = True
        elif not argument.startswith("--workers="):
            kept.append(argument)
    return kept
