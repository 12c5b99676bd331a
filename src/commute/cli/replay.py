"""`commute replay`: a log through the real engine, and the verdict."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.core import ParameterSource

from commute.cli.commands import NO, YES
from commute.cli.dependence import related
from commute.cli.output import clean, note, paint, plural, say, say_json
from commute.cli.picture import PICTURE, asked, cell, draw, picture_option
from commute.cli.subject import Reader
from commute.cli.target import load
from commute.errors import UsageError
from commute.logs import Log, read_log
from commute.replay import Replayed, Report
from commute.replay import replay as run_replay
from commute.report.matrix import Cell
from commute.report.page import Page
from commute.report.run import Run, run_page

if TYPE_CHECKING:
    from commute.app import App

PROBLEMS_SHOWN_MAX = 5

EPILOG = """\b
Examples:
  commute replay orders.jsonl
  commute replay running-example.sqlite --read employees --concurrency 8
  commute replay cases.csv --key case --type-field activity --time-field at
  zcat big.jsonl.gz | commute replay - --json
"""


class _Bar:
    """Progress on a terminal, one bar a stage; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._stage = ""
        self._shown = sys.stderr.isatty()

    def __call__(self, stage: str, done: int) -> None:
        if not self._shown:
            return
        if stage != self._stage and self._stage:
            click.echo(err=True)
        self._stage = stage
        part = 1.0 if not self._total else min(1.0, done / self._total)
        click.echo(f"\r  {stage:8} {'#' * int(24 * part):24} {done:,} of {self._total:,}", err=True, nl=False)

    def end(self) -> None:
        if self._shown and self._stage:
            click.echo(err=True)


@click.command(epilog=EPILOG)
@click.argument("log", metavar="LOG")
@click.argument("target", required=False)
@click.option("--read", "read", multiple=True, metavar="TYPE", help="Objects of this type are only read; repeatable.")
@click.option("--add", "add", multiple=True, metavar="TYPE", help="Objects of this type are only added to; repeatable.")
@click.option("--key", "key", multiple=True, metavar="FIELD", help="This field of each event is a key; repeatable.")
@click.option("--type-field", metavar="F", help="The field that holds the event's type.")
@click.option("--time-field", metavar="F", help="The field that holds the event's time.")
@click.option(
    "--service-ms",
    type=click.FloatRange(0),
    metavar="X",
    default=5.0,
    show_default="5",
    help="How long each handler waits; without TARGET.",
)
@click.option(
    "--concurrency", type=click.IntRange(1), metavar="N", default=32, show_default="32", help="Handlers at once."
)
@click.option(
    "--lookahead", type=click.IntRange(1), metavar="N", help="Events looked ahead (descriptors_max).  [default: 50000]"
)
@click.option("--memory", is_flag=True, help="On the memory transport instead of a temporary SQLite file.")
@click.option("--app-dir", metavar="DIR", help="Where TARGET's module lies.")
@picture_option("commute-replay.html")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def replay(
    log: str,
    target: str | None,
    read: tuple[str, ...],
    add: tuple[str, ...],
    key: tuple[str, ...],
    type_field: str | None,
    time_field: str | None,
    service_ms: float,
    concurrency: int,
    lookahead: int | None,
    memory: bool,
    app_dir: str | None,
    picture: str | None,
    as_json: bool,
) -> None:
    """Run a log of events through the real engine and judge the run.

    LOG is a file, or - for stdin: JSON lines, CSV, OCEL 1.0 (jsonocel), OCEL 2.0 (SQLite, JSON), gzipped or not.
    Without TARGET every object that an event names is a written key, unless --read or --add says otherwise or the
    log carries modes. With TARGET the app's own handlers run, on a temporary store, with all their effects elsewhere.
    Exit status 1 if dependent events overtake each other, independent ones waited, or the run stopped half way.
    """
    if not math.isfinite(service_ms):
        raise click.BadParameter("give a number of milliseconds", param_hint="--service-ms")
    known = read_log(log, type_field=type_field, time_field=time_field, key_fields=key)
    _say_problems(known, keys=target is None)
    if not known.events:
        raise UsageError(f"{_name(log)}: read as {known.format}, and there is no event in it", slug="bad-log")
    _check_types(known, read, add)
    _say_idle(target)
    bar = _Bar(len(known.events))
    app = load(target, app_dir).app if target else None
    replayed = run_replay(
        known.events,
        app=app,
        read=read,
        add=add,
        service_s=service_ms / 1000,
        concurrency=concurrency,
        lookahead=lookahead,
        memory=memory,
        progress=bar,
    )
    bar.end()
    for event, reason in replayed.refused[:PROBLEMS_SHOWN_MAX]:
        note(f"not run: event {clean(event.id)} ({clean(event.type)}): {clean(reason)}")
    if replayed.left:
        note(f"not run: the last {plural(replayed.left, 'event')}. The intake paused: {clean(replayed.pause)}")
    report = replayed.report
    taken_as = f"footprints of {clean(target)}" if target else _taken_as(known, read, add)
    drawn = None if as_json and not asked(PICTURE) else draw(picture, lambda: _page(log, taken_as, replayed, app))
    if as_json:
        say_json(msgspec.to_builtins(report))
    else:
        _say(log, known, replayed, taken_as)
        if drawn:
            say(f"picture: {clean(drawn)}")
    sys.exit(NO if report.violations or report.false_waits or replayed.left else YES)


def _page(log: str, taken_as: str, replayed: Replayed, app: App[Any] | None) -> Page:
    report = replayed.report
    types: list[str] = []
    relation: dict[tuple[str, str], Cell] = {}
    if app is not None:
        kinds = Reader(app).kinds
        types = [kind.type for kind in kinds]
        relation = {(a, b): cell(related(kinds, a, b)) for at, a in enumerate(types) for b in types[at:]}
    return run_page(
        Run(
            title=f"Replay of {Path(log).name}",
            lead=f"{plural(report.events, 'event')}, {plural(report.concurrency, 'handler')} at once; {taken_as}",
            spans=replayed.spans,
            bounds=replayed.bounds,
            concurrency=report.concurrency,
            makespan_s=report.makespan_s,
            violations=report.violations,
            types=types,
            relation=relation if types else None,
        )
    )


def _name(log: str) -> str:
    return "standard input" if log == "-" else clean(log)


def _say_idle(target: str | None) -> None:
    """Say which of the options given do nothing, since the app itself says what is touched and how long it takes."""
    given = click.get_current_context().get_parameter_source
    idle = [name for name in ("read", "add", "key", "service_ms") if given(name) is ParameterSource.COMMANDLINE]
    if target and idle:
        options = ", ".join("--" + name.replace("_", "-") for name in idle)
        note(
            f"note: {options} without effect: the handlers of {clean(target)} say what they touch, and take their time"
        )


def _taken_as(log: Log, read: tuple[str, ...], add: tuple[str, ...]) -> str:
    """What was assumed of the objects, so that nobody takes the figures for a property of the log alone."""
    if any(mode for event in log.events for _, _, mode in event.objects):
        rest = "the rest as the log says" if read or add else "objects as the log says: read, written, added to"
    else:
        rest = "the rest written" if read or add else "every object written; --read TYPE, --add TYPE say what you know"
    known = ({*read} - {*add}, "only read"), ({*add} - {*read}, "only added to"), ({*read} & {*add}, "written")
    return "; ".join([*(f"{clean(', '.join(sorted(types)))} {word}" for types, word in known if types), rest])


def _say_problems(log: Log, *, keys: bool) -> None:
    for remark in log.notes:
        if keys or not remark.startswith(("keys:", "no keys:")):
            note(f"note: {clean(remark)}")
    for problem in log.problems[:PROBLEMS_SHOWN_MAX]:
        note(f"problem: {clean(problem)}")
    more = len(log.problems) - PROBLEMS_SHOWN_MAX
    if more > 0:
        note(f"problem: and {more:,} more")


def _check_types(log: Log, read: tuple[str, ...], add: tuple[str, ...]) -> None:
    types = {kind for event in log.events for kind, _, _ in event.objects}
    for given in (*read, *add):
        if types and given not in types:
            raise UsageError(
                f"the log has no objects of type {given}; it has {', '.join(sorted(types)[:12])}", slug="option"
            )


def _ratio(value: float) -> str:
    return f"{value:,.0f} x" if value >= 1_000 else f"{value:.4g} x"


def _say(name: str, log: Log, replayed: Replayed, taken_as: str) -> None:
    report: Report = replayed.report
    chain = replayed.bounds.chain_key()
    through = "" if chain is None else f", {chain[1]:,} of them through {clean(chain[0] or 'EVERYTHING')}"
    bad = report.violations or report.false_waits
    at_once = plural(report.concurrency, "handler")
    say(f"{_name(name)}: {log.format}, {plural(report.events, 'event')}, {at_once} at once")
    say(f"  taken as            {taken_as}")
    say(f"  longest chain       {plural(report.chain_events, 'dependent event')}{through}")
    bound = _ratio(report.bound)
    say(f"  bound               {bound}: no number of workers can do better where all events take equally long")
    say(f"  lower bound         {report.lower_bound_s:.3f} s at {report.concurrency} at once")
    say(f"  makespan            {report.makespan_s:.3f} s    efficiency {report.efficiency:.2f}")
    say(f"  speed-up            {_ratio(report.speedup)} over one at a time, by the service times measured")
    say(
        paint(
            f"  order violations    {report.violations} of {replayed.verdict.dependent_pairs:,} dependent pairs; "
            f"false waits {report.false_waits}",
            "error" if bad else "good",
            sys.stdout,
        )
    )
    say(f"  dead letters        {report.dead:,}")
