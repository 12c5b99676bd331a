"""The worker's terminal: log lines with time and level, and below them one live line that is rewritten.

The runtime logs and does not know how it was started; here its messages get their time, their colour, and the TARGET
in the commands that they recommend. Lines of level info come a few a second at most: a gateway that is down must not
bury what matters.

Invariants: all of it goes to stderr; nothing from an event or an error reaches the terminal uncleaned.
"""

from __future__ import annotations

import logging
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from commute.cli.output import clean, clean_lines, paint

INFO_LINES_MAX = 5  # a second
_SLUG = re.compile(r"(error|warning)\[([a-z0-9-]+)\] ")
_ADVICE = re.compile(r"\bcommute (dead (?:list|show|retry|skip|drop)|run|status|explain)\b")
_SAY_THEIR_STATE: Final = frozenset({"parked", "stopped", "skipped"})  # "…: parked." needs no slug beside it


class Live:
    """One line at the bottom of a terminal. Elsewhere every line is printed and stays."""

    def __init__(self) -> None:
        self.rewrites = sys.stderr.isatty()
        self._shown = ""

    def show(self, line: str) -> None:
        """Put `line` in the place of the last one."""
        line = clean(line)
        if not self.rewrites:
            self._write(f"{line}\n")
            return
        columns = shutil.get_terminal_size().columns
        self._shown = line[: columns - 1]
        self._write(f"\r\x1b[K{self._shown}")

    def above(self, text: str) -> None:
        """Print lines that stay; the live line goes on below them."""
        if self._shown:
            self._write(f"\r\x1b[K{text}\n{self._shown}")
        else:
            self._write(f"{text}\n")

    def end(self) -> None:
        """The last live line stays; what follows begins on a new one."""
        if self._shown:
            self._shown = ""
            self._write("\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class LogLines(logging.Handler):
    """Records of the logger "commute" as lines of a terminal."""

    def __init__(self, live: Live, shown: str) -> None:
        super().__init__(logging.INFO)
        self._live = live
        self._shown = shown  # what a person types to name this app
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.levelno <= logging.INFO and self._too_many():
                return
            self._live.above(self.line(record))
        except Exception:  # noqa: BLE001 - as logging has it: a line that cannot be written stops nobody
            self.handleError(record)

    def line(self, record: logging.LogRecord) -> str:
        """``14:02:31 error  order_created 01J9A: parked. …``, or ``14:02:31 warning[slug] …``."""
        text = record.getMessage()
        level = record.levelname.lower()
        found = _SLUG.match(text)
        if found is not None:
            text = text[found.end() :]
            if found[2] not in _SAY_THEIR_STATE:
                level = found[0].strip()
        if record.exc_info:
            text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
        text = clean_lines(_ADVICE.sub(lambda advice: f"commute {advice[1]} {self._shown}", text))
        head = level.ljust(6)
        if level.startswith(("error", "warning")):
            head = paint(head, level.partition("[")[0], sys.stderr)
        return f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {head} {text}"

    def _too_many(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            if self._left_out:
                self._live.above(paint(f"         ({self._left_out:,} more lines of level info)", "dim", sys.stderr))
            self._second, self._lines, self._left_out = second, 0, 0
        self._lines += 1
        if self._lines > INFO_LINES_MAX:
            self._left_out += 1
            return True
        return False


@contextmanager
def routed_logs(live: Live, shown: str) -> Iterator[None]:
    """Show what commute logs meanwhile, unless the app's own code has given its logger a handler."""
    logger = logging.getLogger("commute")
    if logger.handlers:
        yield
        return
    before = logger.level, logger.propagate
    lines = LogLines(live, shown)
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.setLevel(before[0])
        logger.propagate = before[1]
