"""`commute analyze`: what an event log allows, and what is in the way."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import click

from commute.analysis import document as rows
from commute.analysis.analysis import LOOKAHEADS, Analysis
from commute.analysis.analysis import analyze as analyse
from commute.analysis.conclusions import hang_together, needless, ratio, remedies, sentences
from commute.analysis.relation import Related
from commute.analysis.speedup import Curve
from commute.analysis.workload import family_name
from commute.cli.output import clean, note, plural, say, say_json, table
from commute.cli.picture import draw_asked, picture_option
from commute.cli.place import json_option
from commute.cli.reading import NOT_KNOWN, Bar, assumption_options, log_name, log_options, taken_as
from commute.cli.workloads import of_log
from commute.errors import UsageError
from commute.logs import Log, LogOptions
from commute.report.analysis import analysis_page

TYPES_SHOWN_MAX = 12
RELATED_SHOWN_MAX = 8
KEYS_SHOWN_MAX = 10

EPILOG = """\b
Examples:
  commute analyze orders.xes.gz
  commute analyze orders.csv --case-field "Order No" --time-format "%d.%m.%Y %H:%M"
  commute analyze running-example.sqlite --read employees --json
  commute analyze orders.jsonl --csv tables
"""


@click.command(epilog=EPILOG)
@click.argument("log", metavar="LOG")
@assumption_options
@log_options
@click.option(
    "--lookahead",
    type=click.IntRange(1),
    multiple=True,
    metavar="N",
    help="Events looked ahead; repeatable.  [default: 256 and 50000]",
)
@click.option(
    "--hub-types",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    metavar="N",
    help="Types of objects that are tried as hubs: a pass over the log each.",
)
@click.option(
    "--hub-pairs",
    type=click.IntRange(0),
    default=30,
    show_default=True,
    metavar="N",
    help="Pairs of them: a pass each.",
)
@click.option(
    "--sample",
    type=click.IntRange(2),
    default=5_000,
    show_default=True,
    metavar="N",
    help="Events whose pairs are compared for the relation of types.",
)
@click.option("--csv", "folder", type=click.Path(), metavar="DIR", help="Write the tables there, as CSV.")
@picture_option("commute-analyze.html")
@json_option
def analyze(
    log: str, read: tuple[str, ...], add: tuple[str, ...], said: LogOptions, lookahead: tuple[int, ...],
    hub_types: int, hub_pairs: int, sample: int, folder: str | None, picture: str | None, as_json: bool,
) -> None:  # fmt: skip
    """What of an event log depends on what, how fast it could go, and what is in the way.

    LOG is a file, or - for stdin: JSON lines or arrays, CloudEvents, CSV, XES, OCEL 1.0 (JSON, CSV), OCEL 2.0
    (SQLite, JSON, XML), gzipped or not. What is not said by an option is guessed, and each guess is printed. Every
    object that an event names is taken as written, unless the log says otherwise, or --read or --add. Nothing is run.
    """
    source = of_log(log, said, read, add, service=None)
    known, bar = source.log, Bar()
    assert known is not None, "it was read from one"
    found = analyse(
        source.workload, source.events, declared=known.declared, lookaheads=lookahead or LOOKAHEADS,
        hub_types=hub_types, hub_pairs=hub_pairs, sample_events=sample, progress=bar,
    )  # fmt: skip
    bar.end()
    assumed = taken_as(known, read, add)
    lead = f"{known.format}; {assumed}"
    drawn = draw_asked(picture, lambda: analysis_page(found, f"Analysis of {Path(log).name}", lead), as_json=as_json)
    if folder is not None:
        _write_tables(Path(folder), found)
    if as_json:
        said_by = {"log": log, "format": known.format, "taken_as": assumed, "notes": known.notes}
        problems = [str(problem) for problem in known.problems]
        say_json({**said_by, "problems": problems, **rows.document(found)})
    else:
        _say(log, known, found, assumed)
        if drawn:
            say(f"picture: {clean(drawn)}")


def _say(log: str, known: Log, found: Analysis, assumed: str) -> None:
    say(f"{log_name(log)}: {known.format}, {plural(found.events, 'event')} of {plural(len(found.types), 'type')}")
    say(f"  taken as            {assumed}")
    if found.known:
        _say_figures(found)
    else:
        say(f"  bound               {NOT_KNOWN}")
        say()
    if fields := [key for key in found.keys if key.candidate][:KEYS_SHOWN_MAX]:
        body = [
            [key.name, f"{key.values:,}", f"{key.heaviest_events:,}", ", ".join(name for name, _ in key.included_in)]
            for key in fields
        ]
        _say_table(["FIELDS LIKE KEYS (--key)", "VALUES", "MOST OF ONE", "VALUES ARE THOSE OF"], body, range(1, 3))
    if found.known:
        _say_relation(found)
    say("In short")
    for number, text in enumerate(sentences(found), 1):
        say(f"  {number}. {clean(text)}")
    if not found.known:
        return
    best = remedies(found)
    say("Remedies, if that is true of the handlers" if best else "Remedies: none is needed" if needless(found) else
        "Remedies: none among the objects of this log; look for what events touch needlessly")  # fmt: skip
    for number, remedy in enumerate(best, 1):
        say(f"  {number}. {clean(remedy)}")


def _say_figures(found: Analysis) -> None:
    say(f"  longest chain       {plural(found.chain.length, 'dependent event')}{_made_of(found)}")
    say(f"  bound               {ratio(found.bound)}: no number of workers is faster")
    say(f"  fixed partitions    {ratio(found.components.bound)}: {hang_together(found.components)}")
    say()
    head = ["LOOKED AHEAD", *(f"{workers} workers" for workers in found.curves[0].speedup_at), "KNEE"]
    body = [
        [plural(one.lookahead, "event"), *(ratio(value) for value in one.speedup_at.values()), _knee(one)]
        for one in found.curves
    ]
    _say_table(head, body, range(1, len(head)))
    _say_table(
        ["OBJECTS", "NUMBER", "EVENTS", "MOST OF ONE", "IN THE CHAIN", "BOUND IF ONLY READ", "BELONGS TO"],
        _objects(found), range(1, 6),
    )  # fmt: skip


def _knee(one: Curve) -> str:
    """The knee; with a plus where more workers than were looked at would still bring something."""
    return f"{one.knee or '-'}{'+' if one.knee == max(one.speedup_at, default=0) else ''}"


def _say_table(head: Sequence[str], body: Sequence[Sequence[str]], right: Sequence[int]) -> None:
    if body:
        for line in table(head, body, right=right):
            say(line)
        say()


def _made_of(found: Analysis) -> str:
    shares = [f"{family_name(name)} {share:.0%}" for name, share in list(found.chain.shares().items())[:3]]
    return f", linked by {clean(', '.join(shares))}" if shares else ""


def _objects(found: Analysis) -> list[list[str]]:
    hubs = {family_name(hub.names[0]): hub for hub in found.hubs.families}
    lines = []
    for key in found.keys:
        if key.is_object:
            hub = hubs.get(key.name)
            chain = [f"{hub.share_of_chain:.0%}", ratio(hub.bound_if_read)] if hub else ["-", "-"]
            lines.append(
                [key.name, f"{key.values:,}", f"{key.events:,}", f"{key.heaviest_events:,}", *chain,
                 ", ".join(key.determines)]
            )  # fmt: skip
    return lines[:TYPES_SHOWN_MAX]


def _say_relation(found: Analysis) -> None:
    names = sorted(found.types, key=lambda name: -found.types[name])[:TYPES_SHOWN_MAX]
    symbols = {(one.a, one.b): one for one in found.relation}

    def cell(a: str, b: str) -> Related:
        return symbols.get((a, b)) or symbols[b, a]

    body = [
        [str(at), name, f"{found.types[name]:,}", *(cell(name, other).symbol for other in names)]
        for at, name in enumerate(names, 1)
    ]
    _say_table(["", "TYPE", "EVENTS", *(str(at) for at in range(1, len(names) + 1))], body, (0, 2))
    say("  = dependent when an object is the same   . never in this log   ! always")
    if len(found.types) > len(names):
        say(f"  and {plural(len(found.types) - len(names), 'more type')}: --json, --csv")
    busiest = sorted((one for one in found.relation if one.waits), key=lambda one: -one.waits)[:RELATED_SHOWN_MAX]
    for one in busiest:
        often = "hardly any pair"
        if one.dependent:
            often = f"{one.share:.0%} of pairs" if one.share > 0.1 else f"1 pair in {1 / one.share:,.0f}"
        both = f"two {one.a}" if one.a == one.b else f"{one.a} and {one.b}"
        say(clean(f"  {both}: {one} ({often}; {one.waits:,} follow each other directly)"))
    say()


def _write_tables(folder: Path, found: Analysis) -> None:
    """Raises UsageError where the folder cannot be written."""
    tables = {
        "relation": rows.relation_rows(found),
        "hubs": rows.hub_rows(found.hubs.families),
        "keys": rows.key_rows(found),
        "speedup": rows.speedup_rows(found),
        "chain": rows.chain_rows(found),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in tables.items():
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(lines[0]) if lines else ["empty"])
                writer.writeheader()
                writer.writerows({field: _cell(value) for field, value in line.items()} for line in lines)
    except OSError as error:
        raise UsageError(f"--csv {clean(folder)}: {error.strerror or error}", slug="option") from error
    note(f"tables: {', '.join(f'{name}.csv' for name in tables)} in {clean(folder)}")


def _cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
