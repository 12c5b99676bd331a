"""`commute replay`: a log through the real engine, and the verdict."""

from __future__ import annotations

import math
import sys

import click
import msgspec

from commute.cli.commands import NO, YES
from commute.cli.output import clean, note, paint, say, say_json
from commute.cli.target import load
from commute.errors import UsageError
from commute.logs import Log, read_log
from commute.replay import Replayed, Report
from commute.replay import replay as run_replay

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
    "--service-ms", type=click.FloatRange(0), default=5.0, show_default=True, help="How long each handler waits."
)
@click.option("--concurrency", type=click.IntRange(1), default=32, show_default=True, help="Handlers at once.")
@click.option("--lookahead", type=click.IntRange(1), help="Events looked ahead (descriptors_max).  [default: 50000]")
@click.option("--memory", is_flag=True, help="On the memory transport instead of a temporary SQLite file.")
@click.option("--app-dir", metavar="DIR", help="Where TARGET's module lies.")
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
    as_json: bool,
) -> None:
    """Run a log of events through the real engine and judge the run.

    LOG is a file, or - for stdin: JSON lines, CSV, OCEL 1.0 (jsonocel), OCEL 2.0 (SQLite, JSON), gzipped or not.
    Without TARGET every object that an event names is a written key, unless --read or --add says otherwise or the
    log carries modes. Exit status 1 if dependent events overtake each other or independent ones waited.
    """
    if not math.isfinite(service_ms):
        raise click.BadParameter("give a number of milliseconds", param_hint="--service-ms")
    known = read_log(log, type_field=type_field, time_field=time_field, key_fields=key)
    _say_problems(known)
    _check_types(known, read, add)
    bar = _Bar(len(known.events))
    replayed = run_replay(
        known.events,
        app=load(target, app_dir).app if target else None,
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
    report = replayed.report
    if as_json:
        say_json(msgspec.to_builtins(report))
    else:
        _say(log, known, replayed)
    sys.exit(NO if report.violations or report.false_waits else YES)


def _say_problems(log: Log) -> None:
    for remark in log.notes:
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


def _say(name: str, log: Log, replayed: Replayed) -> None:
    report: Report = replayed.report
    chain = replayed.bounds.chain_key()
    through = "" if chain is None else f", {chain[1]:,} of them through {clean(chain[0] or 'EVERYTHING')}"
    bad = report.violations or report.false_waits
    say(f"{clean(name)}: {log.format}, {report.events:,} events, {report.concurrency} handlers at once")
    say(f"  longest chain       {report.chain_events:,} dependent events{through}")
    say(f"  bound               {report.bound:.4g} x: no number of workers can do better")
    say(f"  lower bound         {report.lower_bound_s:.3f} s at {report.concurrency} at once")
    say(f"  makespan            {report.makespan_s:.3f} s    efficiency {report.efficiency:.2f}")
    say(f"  speed-up            {report.speedup:.4g} x over one at a time")
    say(
        paint(
            f"  order violations    {report.violations} of {replayed.verdict.dependent_pairs:,} dependent pairs; "
            f"false waits {report.false_waits}",
            "error" if bad else "good",
            sys.stdout,
        )
    )
    say(f"  dead letters        {report.dead:,}")
