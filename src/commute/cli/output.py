"""What reaches the terminal: text without control characters, tables, JSON, colour where it is wanted.

Event types, ids, payloads and error texts come from anybody. An escape sequence in one of them could rewrite what
the reader sees, so whatever is not ours goes through `clean` before it is shown.

Invariant: no function here lets a control character of its arguments through, but those that a docstring names.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO, Final

import click

from commute.errors import CommuteError, CommuteWarning
from commute.wording import plural as plural

# Controls of both sets, what reverses or hides text (bidirectional marks, zero width), line separators, and halves
# of characters that no encoding can write.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_UNSAFE_IN_LINES: Final = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_COLOURS: Final = {"error": "red", "warning": "yellow", "good": "green", "dim": "bright_black"}


def clean(text: object) -> str:
    """The text on one line, with what is not printable spelled out: ``\\x1b``, ``\\u202e``, ``\\n``."""
    return _UNSAFE.sub(_spelled, str(text))


def clean_lines(text: object) -> str:
    """`clean`, but line ends and tabs stay."""
    return _UNSAFE_IN_LINES.sub(_spelled, str(text))


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    named = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    return named or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


class Passing:
    """A line on a terminal, on stderr, that the next one takes the place of; nothing elsewhere."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()

    def say(self, text: str) -> None:
        if self.shown:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True, color=True)

    def wipe(self) -> None:
        self.say("")


def coloured(stream: IO[str]) -> bool:
    """Whether colour belongs there: a terminal, and nobody said NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, kind: str, stream: IO[str]) -> str:
    """The text in the colour of its kind (error, warning, good, dim), where `stream` shows colours."""
    return click.style(text, fg=_COLOURS[kind]) if coloured(stream) else text


def error_text(error: CommuteError, stream: IO[str]) -> str:
    """``error[slug] message   file:line``."""
    return f"{paint(f'error[{error.slug}]', 'error', stream)} {clean_lines(error)}"


def warning_text(warning: CommuteWarning, stream: IO[str]) -> str:
    return f"{paint(f'warning[{warning.slug}]', 'warning', stream)} {clean_lines(warning)}"


def say(text: str = "") -> None:
    """One result, to stdout. The text is ours, or has been cleaned."""
    click.echo(text, color=True)


def note(text: str = "") -> None:
    """Progress or a remark, to stderr. The text is ours, or has been cleaned."""
    click.echo(text, err=True, color=True)


def say_json(document: object) -> None:
    """One document on one line, to stdout; ASCII alone, so that nothing in it can act on a terminal."""
    click.echo(json.dumps(document, default=str, ensure_ascii=True))
    sys.stdout.flush()


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, indent: str = "  ", right: Sequence[int] = ()
) -> list[str]:
    """Lines of aligned columns, the head first; columns in `right` are numbers. Cells are cleaned."""
    cells = [[clean(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        parts = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(indent + "  ".join(parts).rstrip())
    return lines


def clock(at_s: float) -> str:
    """The time of day, local; the date before it when it is not today's."""
    shown = time.strftime("%H:%M:%S", time.localtime(at_s))
    today = time.strftime("%Y-%m-%d")
    day = time.strftime("%Y-%m-%d", time.localtime(at_s))
    return shown if day == today else f"{day} {shown}"


def span(seconds: float) -> str:
    """A duration for people: ``0.2 s``, ``13 s``, ``14 min``, ``3.1 h``, ``2.0 d``."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 3_600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 86_400 else f"{seconds / 86_400:.1f} d"


def size(size_bytes: int) -> str:
    """A number of bytes for people."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.4g} {unit}"
    return f"{size_bytes} bytes"


def fields(values: Mapping[str, object]) -> str:
    """``a 1  b 2``: names and values side by side."""
    return "  ".join(f"{name} {clean(value)}" for name, value in values.items())
