"""Ctrl-C while handlers of an app are tried: it ends them wherever they stand, and says where that was.

Handlers run inline in virtual time, where asyncio would only ask its task to end, which it cannot while a handler holds
the loop; or in threads, which nothing ends. So the first signal raises at once, and the second one ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from commute.cli.commands import STOPPED
from commute.cli.output import clean, note

_OURS = str(Path(__file__).parent.parent)
_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


@contextmanager
def stoppable() -> Iterator[None]:
    """Until the end, Ctrl-C raises KeyboardInterrupt where the main thread stands; a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def stop(_number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(STOPPED)
        asked = True
        others = [one for ident, one in sys._current_frames().items() if ident != threading.get_ident()]
        at = next((found for one in (frame, *others) if (found := _place(one))), None)
        if at is not None:
            note(f"stopped while a handler was at {clean(at)}")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _place(frame: FrameType | None) -> str | None:
    """``file:line, function`` of the innermost frame in code of the application; None where there is none."""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(("<", _OURS, *_INSTALLED)):
            return f"{os.path.relpath(file)}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return None
