"""Options that say how a log file is to be read, the same for all commands that read one; and what was found wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from commute.cli.output import clean, note
from commute.logs import Log, LogOptions

PROBLEMS_SHOWN_MAX = 5

_OPTIONS = (
    ("key", "FIELD", "This field of each event is a key; repeatable."),
    ("type-field", "F", "The field that holds the event's type."),
    ("time-field", "F", "The field that holds the event's time."),
    ("id-field", "F", "The field that identifies the event."),
    ("case-field", "F", "The field that names the case: a key of type case."),
    ("resource-field", "F", "The field that names who did it: a key of type resource."),
    ("mode-field", "F", "The field that says how the keys are touched: r, w, a."),
    ("delimiter", "C", "What separates the columns of a table."),
    ("encoding", "NAME", "The encoding of the text, such as cp1252."),
    ("time-format", "FORMAT", "How times are written, such as '%d.%m.%Y %H:%M'."),
)


def log_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; the command gets them as `said`, a LogOptions that guesses nothing."""

    @wraps(command)
    def with_options(*args: Any, key: tuple[str, ...], **given: Any) -> None:
        names = [name.replace("-", "_") for name, _, _ in _OPTIONS[1:]]
        said = LogOptions(key_fields=key, **{name: given.pop(name) for name in names})
        if said.delimiter is not None and len(said.delimiter) != 1:
            raise click.BadParameter("give one character; for a tab: $'\\t'", param_hint="--delimiter")
        command(*args, said=said, **given)

    found: Callable[..., None] = with_options
    for name, metavar, text in reversed(_OPTIONS):
        found = click.option(f"--{name}", metavar=metavar, help=text, multiple=name == "key")(found)
    return found


def log_name(log: str) -> str:
    """How LOG is called for people."""
    return "standard input" if log == "-" else clean(log)


def say_problems(log: Log, *, keys: bool) -> None:
    """What was assumed and what could not be read, to stderr; `keys`: also which fields were taken for keys."""
    for remark in log.notes:
        if keys or not remark.startswith(("keys:", "no keys:")):
            note(f"note: {clean(remark)}")
    for problem in log.problems[:PROBLEMS_SHOWN_MAX]:
        note(f"problem: {clean(problem)}")
    more = len(log.problems) - PROBLEMS_SHOWN_MAX
    if more > 0:
        note(f"problem: and {more:,} more")


class Bar:
    """Progress on a terminal, one bar a stage; nothing elsewhere. `total`: what a stage counts up to by itself."""

    def __init__(self, total: int = 0) -> None:
        self._total = total
        self._stage = ""
        self._shown = sys.stderr.isatty()

    def __call__(self, stage: str, done: int, total: int | None = None) -> None:
        """`done` of `total` in this stage. Cheap enough for every few hundred events."""
        if not self._shown:
            return
        if stage != self._stage and self._stage:
            click.echo(err=True)
        self._stage = stage
        every = self._total if total is None else total
        part = 1.0 if not every else min(1.0, done / every)
        click.echo(f"\r  {stage:8} {'#' * int(24 * part):24} {done:,} of {every:,}", err=True, nl=False)

    def end(self) -> None:
        if self._shown and self._stage:
            click.echo(err=True)
        self._stage = ""
