"""How commands read a log: options that are the same for all of them, a bar meanwhile, and what was found wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
import msgspec

from commute.cli.output import clean, note
from commute.errors import UsageError
from commute.logs import Log, LogOptions, read_log
from commute.runtime.kinds import Kinds

if TYPE_CHECKING:
    from commute.app import App

PROBLEMS_SHOWN_MAX = 5
NOT_KNOWN = "not known: no field is known to be a key"  # a bound, of a log in which no event names one

_OPTIONS = (
    ("key", "FIELD", "This field of each event is a key; repeatable."),
    ("type-field", "F", "The field that holds the event's type."),
    ("time-field", "F", "The field that holds the event's time."),
    ("id-field", "F", "The field that identifies the event."),
    ("data-field", "F", "The field that holds the event, where a record is an envelope."),
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


def assumption_options(command: Callable[..., None]) -> Callable[..., None]:
    """--read and --add: what a person knows of the objects."""
    found = click.option(
        "--add", "add", multiple=True, metavar="TYPE", help="Objects of this type are only added to; repeatable."
    )(command)
    return click.option(
        "--read", "read", multiple=True, metavar="TYPE", help="Objects of this type are only read; repeatable."
    )(found)


def read(path: str, said: LogOptions, *, keys: bool) -> Log:
    """The log; what was assumed and what could not be read goes to stderr, with a bar while it is read. `keys`: also
    which fields were taken for keys. Raises UsageError (``bad-log``), also for a log without an event."""
    bar = Bar()
    log = read_log(path, said, progress=lambda done, size: bar("read", done, size or done))
    bar.end()
    say_problems(log, keys=keys)
    if not log.events:
        raise UsageError(f"{log_name(path)}: read as {log.format}, and there is no event in it", slug="bad-log")
    return log


def events_for(app: App[Any], path: str, said: LogOptions) -> list[tuple[str, object]]:
    """The types and the data of a log's events, as the handlers of the app take them."""
    kinds = Kinds(app.handlers, app.ignore, app.limits.accesses_max)
    found: list[tuple[str, object]] = []
    for event in read(path, said, keys=False).events:
        type_ = kinds.recorded_type(event.type)
        try:
            found.append((type_, msgspec.json.decode(kinds.recorded(event))))
        except (ValueError, TypeError):  # what is no JSON is refused where it is sent
            found.append((type_, event.data))
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


def taken_as(log: Log, read: tuple[str, ...], add: tuple[str, ...]) -> str:
    """What was assumed of the objects, so that nobody takes the figures for a property of the log alone."""
    if any(mode for event in log.events for _, _, mode in event.objects):
        rest = "the rest as the log says" if read or add else "objects as the log says: read, written, added to"
    else:
        rest = "the rest written" if read or add else "every object written; --read TYPE, --add TYPE say what you know"
    known = ({*read} - {*add}, "only read"), ({*add} - {*read}, "only added to"), ({*read} & {*add}, "written")
    return "; ".join([*(f"{clean(', '.join(sorted(types)))} {word}" for types, word in known if types), rest])


def check_types(log: Log, read: tuple[str, ...], add: tuple[str, ...]) -> None:
    """Raise UsageError for a type in --read or --add that no object of the log has."""
    types = {kind for event in log.events for kind, _, _ in event.objects}
    for given in (*read, *add):
        if types and given not in types:
            raise UsageError(
                f"the log has no objects of type {given}; it has {', '.join(sorted(types)[:12])}", slug="option"
            )


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
