"""`commute replay`: a log through the real engine, and the verdict."""

from __future__ import annotations

import math
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.core import ParameterSource

from commute.cli.commands import NO, YES
from commute.cli.output import clean, note, paint, plural, say, say_json
from commute.cli.picture import draw_asked, matrix_of, picture_option
from commute.cli.reading import (
    NOT_KNOWN,
    PROBLEMS_SHOWN_MAX,
    Bar,
    assumption_options,
    check_types,
    log_name,
    log_options,
    taken_as,
)
from commute.cli.reading import read as read_log
from commute.cli.target import load
from commute.logs import Log, LogOptions
from commute.replay import Replayed, Report
from commute.replay import replay as run_replay
from commute.report.page import Page
from commute.report.run import Run, run_page

if TYPE_CHECKING:
    from commute.app import App

EPILOG = """\b
Examples:
  commute replay orders.jsonl
  commute replay running-example.sqlite --read employees --concurrency 8
  commute replay cases.csv --key case --type-field activity --time-field at
  zcat big.jsonl.gz | commute replay - --json
"""


@click.command(epilog=EPILOG)
@click.argument("log", metavar="LOG")
@click.argument("target", required=False)
@assumption_options
@log_options
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
    said: LogOptions,
    service_ms: float,
    concurrency: int,
    lookahead: int | None,
    memory: bool,
    app_dir: str | None,
    picture: str | None,
    as_json: bool,
) -> None:
    """Run a log of events through the real engine and judge the run.

    LOG is a file, or - for stdin: JSON lines or arrays, CloudEvents, CSV, XES, OCEL 1.0 (JSON, CSV), OCEL 2.0
    (SQLite, JSON, XML), gzipped or not.
    Without TARGET every object that an event names is a written key, unless --read or --add says otherwise or the
    log carries modes. With TARGET the app's own handlers run, on a temporary store, with all their effects elsewhere.
    Exit status 1 if dependent events overtake each other, independent ones waited, or the run stopped half way.
    """
    if not math.isfinite(service_ms):
        raise click.BadParameter("give a number of milliseconds", param_hint="--service-ms")
    known = read_log(log, said, keys=target is None)
    check_types(known, read, add)
    _say_idle(target)
    bar = Bar(len(known.events))
    app = load(target, app_dir).app if target else None
    with redirect_stdout(sys.stderr):  # what handlers print is no part of the result
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
    assumed = f"footprints of {clean(target)}" if target else taken_as(known, read, add)
    drawn = draw_asked(picture, lambda: _page(log, assumed, replayed, app), as_json=as_json)
    if as_json:
        say_json(msgspec.to_builtins(report))
    else:
        _say(log, known, replayed, assumed)
        if drawn:
            say(f"picture: {clean(drawn)}")
    sys.exit(NO if report.violations or report.false_waits or replayed.left else YES)


def _page(log: str, assumed: str, replayed: Replayed, app: App[Any] | None) -> Page:
    report = replayed.report
    types, relation = ([], None) if app is None else matrix_of(app)
    return run_page(
        Run(
            title=f"Replay of {Path(log).name}",
            lead=f"{plural(report.events, 'event')}, {plural(report.concurrency, 'handler')} at once; {assumed}",
            spans=replayed.spans,
            bounds=replayed.bounds,
            concurrency=report.concurrency,
            makespan_s=report.makespan_s,
            violations=report.violations,
            types=types,
            relation=relation,
        )
    )


def _say_idle(target: str | None) -> None:
    """Say which of the options given do nothing, since the app itself says what is touched and how long it takes."""
    given = click.get_current_context().get_parameter_source
    idle = [name for name in ("read", "add", "key", "service_ms") if given(name) is ParameterSource.COMMANDLINE]
    if target and idle:
        options = ", ".join("--" + name.replace("_", "-") for name in idle)
        note(
            f"note: {options} without effect: the handlers of {clean(target)} say what they touch, and take their time"
        )


def _ratio(value: float) -> str:
    return f"{value:,.0f} x" if value >= 1_000 else f"{value:.4g} x"


def _say(name: str, log: Log, replayed: Replayed, assumed: str) -> None:
    report: Report = replayed.report
    chain = replayed.bounds.chain_key()
    through = "" if chain is None else f", {chain[1]:,} of them through {clean(chain[0] or 'EVERYTHING')}"
    bad = report.violations or report.false_waits
    at_once = plural(report.concurrency, "handler")
    say(f"{log_name(name)}: {log.format}, {plural(report.events, 'event')}, {at_once} at once")
    say(f"  taken as            {assumed}")
    if report.chain_events is None or report.bound is None:
        say(f"  bound               {NOT_KNOWN}")
    else:
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
