"""`commute demo`: a seeded shop, serially and in parallel, and whether both have come to the same."""

from __future__ import annotations

import math
import sys

import click
import msgspec

from commute.cli.commands import NO, YES
from commute.cli.output import Passing, clean, paint, plural, say, say_json
from commute.cli.picture import cell, draw_asked, picture_option
from commute.demo.compare import (
    LEGEND,
    SHORT,
    Comparison,
    compare,
    independent_pairs,
    relations,
    symbol,
)
from commute.demo.run import Options, Pass, run_both, traffic_of
from commute.event import event_type
from commute.report.page import Page
from commute.report.run import Run, run_page

BAR = 10  # characters
MARGIN = 20  # where the second column begins
EPILOG = """\b
Examples:
  commute demo
  commute demo --events 10000 --concurrency 64 --seed 1
  commute demo --broker memory:// --json
"""


@click.command(epilog=EPILOG)
@click.option("--events", type=click.IntRange(1), default=2_000, show_default=True, help="How many.")
@click.option("--concurrency", type=click.IntRange(1), default=32, show_default=True, help="Handlers at once.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed, the same events.")
@click.option(
    "--service-ms",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="What each handler waits for.",
)
@click.option(
    "--broker",
    metavar="URL",
    help="Where the parallel run goes: sqlite:///FILE, memory://, amqp://…, kafka://…  [default: a temporary file]",
)
@picture_option("commute-demo.html")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def demo(
    events: int, concurrency: int, seed: int, service_ms: float, broker: str | None, picture: str | None, as_json: bool
) -> None:
    """Run a shop serially and in parallel, and compare the two databases row by row.

    Orders, payments, shipments, restocking and customers that move, some of them hot. Each handler waits as
    for a payment gateway, then changes real tables in a transaction. Exit status 1 if the states differ or an
    event started before one that it depends on."""
    if not math.isfinite(service_ms):
        raise click.BadParameter("give a number of milliseconds", param_hint="--service-ms")
    options = Options(events, concurrency, seed, service_ms / 1000, broker)
    if not as_json:
        say(
            f"{plural(events, 'event')} of a shop, seed {seed}, each handler waits {service_ms:g} ms, "
            f"{concurrency} at once; dependent ones must keep their order"
        )
    line = Passing()
    serial, parallel = run_both(options, lambda name, done: line.say(_pass_line(name, done, events)))
    line.wipe()
    found = compare(serial, parallel, concurrency)
    drawn = draw_asked(picture, lambda: _page(options, parallel, found), as_json=as_json)
    if as_json:
        say_json(msgspec.to_builtins(found.report))
    else:
        say(f"{_pass_line('serial', events, events)} {serial.makespan_s:6.1f} s")
        say(f"{_pass_line('parallel', events, events)} {parallel.makespan_s:6.1f} s")
        _say(found, concurrency)
        if drawn:
            say(f"picture: {clean(drawn)}")
    sys.exit(YES if found.report.states_equal and not found.report.violations else NO)


def _page(options: Options, parallel: Pass, found: Comparison) -> Page:
    names = [(str(number), event_type(type(event))) for number, event in enumerate(traffic_of(options), 1)]
    return run_page(
        Run(
            title="commute demo",
            lead=f"{plural(options.events, 'event')} of a shop, seed {options.seed}, each handler waits "
            f"{options.service_s * 1000:g} ms, {options.concurrency} at once",
            spans=parallel.recording.spans(names),
            bounds=found.bounds,
            concurrency=options.concurrency,
            makespan_s=parallel.makespan_s,
            violations=found.report.violations,
            types=[event_type(cls) for cls in SHORT],
            relation={(event_type(a), event_type(b)): cell(related) for (a, b), related in relations().items()},
        )
    )


def _pass_line(name: str, done: int, total: int) -> str:
    full = BAR * min(done, total) // total
    return f"  {name:9} {'#' * full:{BAR}} {done:>{len(f'{total:,}')},}"


def _say(found: Comparison, concurrency: int) -> None:
    report = found.report
    equal = "identical" if report.states_equal else "DIFFERENT"
    good = report.states_equal and not report.violations
    verdict = (
        f"{'the two databases':{MARGIN}}{equal} ({plural(found.tables, 'table')}, {plural(found.rows, 'row')})"
        f"{'':10}"
        f"order violations {report.violations:,} of {plural(found.verdict.dependent_pairs, 'dependent pair')}"
    )
    say(paint(verdict, "good" if good else "error", sys.stdout))
    for difference in found.differences:
        say(f"  {clean(difference)}")
    if found.dead:
        say(f"  {plural(found.dead, 'dead letter')}")
    chain = found.bounds.chain_key()
    through = "" if chain is None else f": {clean(chain[0])}"
    say(
        f"{'speed-up':{MARGIN}}{report.speedup:.1f} x of at most {report.bound:.1f} x ({concurrency} at once; the "
        f"longest chain has {plural(found.bounds.chain_events, 'event')}{through}); efficiency {report.efficiency:.2f}"
    )
    _say_relations()
    apart, together = independent_pairs(one_order=False), independent_pairs(one_order=True)
    say(
        '  "order created, payment processed, order shipped are independent": of two orders, '
        f"{_answer(apart)}; of one order, {_answer(together)} ({together} of 3 pairs)"
    )


def _say_relations() -> None:
    table = relations()
    heads = list(SHORT.values())
    lines = [f"{'':{MARGIN}}{'  '.join(heads)}       {LEGEND}"]
    for a, name in SHORT.items():
        cells = "  ".join(f"{symbol(table[a, b]):^{len(head)}}" for b, head in SHORT.items())
        lines.append(f"  {name:{MARGIN - 2}}{cells}".rstrip())
    for line in lines:
        say(line)


def _answer(pairs: int) -> str:
    return "yes" if pairs == 3 else "no"
