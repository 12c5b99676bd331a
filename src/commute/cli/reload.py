"""``commute run --reload``: the worker in a process of its own, begun anew whenever a Python file changes.

A new process, because modules cannot be unloaded. The old one is asked to drain first: what it ran is settled, what
waited is taken up by the new one.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

from commute.cli.commands import STOPPED
from commute.cli.output import clean, note
from commute.errors import UsageError

DEBOUNCE_MS = 400  # an editor that saves several files makes one change


def run_reloading(folder: Path) -> int:
    """Run this command without ``--reload`` again and again until a signal; the last child's exit status.

    A child that is asked to drain is waited for: it ends by itself within its own `grace_s`, which only it knows. A
    second signal kills it.

    Raises UsageError (``no-extra``) where watchfiles is not installed.
    """
    try:
        from watchfiles import PythonFilter, watch
    except ImportError as error:
        raise UsageError(
            '--reload needs a package that is not installed: pip install "commute[reload]"', slug="no-extra"
        ) from error
    arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
    stop = threading.Event()
    signals = 0

    def asked(_number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        stop.set()
        if signals > 1:
            child.kill()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, asked)
    child = _start(arguments)
    for changes in watch(
        folder.resolve(), watch_filter=PythonFilter(), debounce=DEBOUNCE_MS, stop_event=stop, raise_interrupt=False
    ):
        if stop.is_set():
            break
        names = ", ".join(sorted({Path(path).name for _, path in changes}))
        note(f"changed: {clean(names)}; the worker begins anew")
        _end(child)
        if stop.is_set():
            break
        child = _start(arguments)
    status = _end(child)
    return STOPPED if signals > 1 else status


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process alone, which then asks the worker to drain, once.
    return subprocess.Popen([sys.executable, "-m", "commute", *arguments], start_new_session=True)


def _end(child: subprocess.Popen[bytes]) -> int:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    return child.wait()
