"""`commute advise`: what more workers would bring, how to part the events, and which change is worth most."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click

from commute.analysis.advice import Advice
from commute.analysis.advice import advise as seek_advice
from commute.analysis.conclusions import ratio
from commute.analysis.labels import Labelling
from commute.analysis.prediction import LOOKAHEAD, Services
from commute.analysis.workload import family_name
from commute.cli.changes import changes_of
from commute.cli.output import clean, plural, say, say_json, table
from commute.cli.picture import draw_asked, picture_option
from commute.cli.place import app_options, json_option, open_place
from commute.cli.reading import NOT_KNOWN, Bar, assumption_options, log_options, taken_as
from commute.cli.target import is_target, is_url, load
from commute.cli.workloads import Source, measured, of_app_log, of_broker, of_log
from commute.errors import UsageError
from commute.logs import LogOptions
from commute.report.analysis import advice_page

if TYPE_CHECKING:
    from commute.app import App

CUTS_SHOWN_MAX = 5
LABELS_SHOWN_MAX = 12

EPILOG = """\b
Examples:
  commute advise orders.csv --at-once 16
  commute advise orders.jsonl --service-field took_ms
  commute replay orders.jsonl --json > run.json; commute advise orders.jsonl --service run.json
  commute advise shop:app --log yesterday.jsonl
"""


@click.command(epilog=EPILOG)
@click.argument("subject", metavar="LOG|TARGET")
@assumption_options
@log_options
@click.option("--log", "log", metavar="LOG", help="For a TARGET: these events, in place of those in its broker.")
@click.option("--at-once", type=click.IntRange(1), default=32, show_default=True, metavar="N", help="Handlers at once.")
@click.option(
    "--partitions",
    type=click.IntRange(2),
    default=12,
    show_default=True,
    metavar="N",
    help="Fixed partitions to compare with.",
)
@click.option("--service-field", metavar="F", help="The field that holds how long an event took, in milliseconds.")
@click.option("--service", metavar="FILE", help="A document of commute replay --json: its measured service times.")
@click.option(
    "--prepare-share",
    type=click.FloatRange(0, 0.99),
    default=0.5,
    show_default=True,
    metavar="X",
    help="The part of a handler's time that would need no keys, where it is split.",
)
@click.option(
    "--lookahead",
    type=click.IntRange(1),
    default=LOOKAHEAD,
    show_default=True,
    metavar="N",
    help="Events looked ahead (descriptors_max).",
)
@click.option(
    "--pairs",
    type=click.IntRange(0),
    default=30,
    show_default=True,
    metavar="N",
    help="Pairs of changes that are tried: a pass over the log each.",
)
@click.option(
    "--repeats",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Runs with service times drawn anew, for the interval.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of those draws.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="Remedies shown.")
@app_options
@picture_option("commute-advise.html")
@json_option
def advise(
    subject: str, read: tuple[str, ...], add: tuple[str, ...], said: LogOptions, log: str | None, at_once: int,
    partitions: int, service_field: str | None, service: str | None, prepare_share: float, lookahead: int, pairs: int,
    repeats: int, seed: int, top: int, app_dir: str | None, broker: str | None, db: str | None, group: str | None,
    picture: str | None, as_json: bool,
) -> None:  # fmt: skip
    """What more workers would bring, how to part the events, and which change is worth most.

    LOG as in `commute analyze`: every object that an event names is written, unless --read, --add or the log say
    otherwise. TARGET: the footprints of the app's handlers, on the events in its broker, or in --log. Events take
    equally long unless --service-field or --service say how long. Nothing is run. Each remedy is an assumption about
    handlers, which a log cannot show.
    """
    app: App[Any] | None = None
    if is_url(subject):
        raise UsageError(f"{clean(subject)} is a broker: give MODULE:APP, with --broker", slug="no-app")
    if is_target(subject) and not Path(subject).exists():
        app = load(subject, app_dir).app
        source = _of_app(subject, log, said, app_dir, broker, db, group, app)
    else:
        source = of_log(subject, said, read, add, service_field)
    bar = Bar()
    services = Services(source.workload, measured(service) if service else None)
    found = seek_advice(
        source.workload, services, Random(seed), declared=app is not None, workers=at_once, partitions=partitions,
        lookahead=lookahead, prepare_share=prepare_share, remedy_pairs=pairs, replicates=repeats, progress=bar,
    )  # fmt: skip
    bar.end()
    assumed = "the footprints of its handlers" if app else taken_as(source.log, read, add) if source.log else ""
    title = f"Advice for {subject if app else Path(subject).name}"
    drawn = draw_asked(picture, lambda: advice_page(found, title, f"taken as {assumed}"), as_json=as_json)
    if as_json:
        say_json({"subject": subject, "taken_as": assumed, **_document(found, source, app, top)})
    else:
        _say(found, source, app, assumed, top)
        if drawn:
            say(f"picture: {clean(drawn)}")


def _of_app(
    subject: str, log: str | None, said: LogOptions, app_dir: str | None, broker: str | None, db: str | None,
    group: str | None, app: App[Any],
) -> Source:  # fmt: skip
    if log is not None:
        return of_app_log(app, log, said)
    with open_place(subject, app_dir=app_dir, broker=broker, db=db, group=group) as place:
        assert place.app is not None, "a TARGET has an app"
        return of_broker(place.app, place)


def _document(found: Advice, source: Source, app: App[Any] | None, top: int) -> dict[str, object]:
    return {
        "events": source.workload.events,
        "at_once": found.workers,
        "service_times": "measured" if found.measured else "equal",
        "predictions": [] if not found.known else [
            {"at_once": one.workers, "makespan_s": round(one.makespan_s, 6), "speedup": round(one.speedup, 4),
             "low": round(one.low, 4), "high": round(one.high, 4)} for one in found.predictions
        ],
        "fixed_partition_bound": round(found.components.bound, 4) if found.known else None,
        "labels": _labelling(found.labels.best) if found.known else None,
        "labels_alone": [] if not found.known else [
            {"label": family_name(name), **_labelling(one)} for name, one in found.labels.alone
        ],
        "placement": None if found.placement is None else {
            "partitions": found.placement.partitions, "objects": found.placement.objects,
            "crossing": found.placement.crossing, "heaviest_share": round(found.placement.heaviest_share, 4),
        },
        "partitioning": None if app is None else str(app.partitioning()),
        "remedies": [
            {"changes": [{"kind": c.kind, "name": c.name} for c in one.changes], "text": str(one),
             "speedup": round(one.speedup, 4), "bound": round(one.bound, 4), "gain": round(one.gain, 4),
             "code": changes_of(app, one.changes), "assumption": True} for one in found.remedies[:top]
        ],
        "verdict": list(found.verdict),
    }  # fmt: skip


def _labelling(one: Labelling) -> dict[str, object]:
    return {
        "by_type": {kind: None if name is None else family_name(name) for kind, name in one.labels.items()},
        "safe": one.safe, "cut": one.cut, "edges": one.total, "heaviest_share": round(one.heaviest_share, 4),
        "exact": one.exact,
        "cuts": [{"a": cut.a, "b": cut.b, "edges": cut.edges, "of": cut.total} for cut in one.cuts],
    }  # fmt: skip


def _say(found: Advice, source: Source, app: App[Any] | None, assumed: str, top: int) -> None:
    say(f"{clean(source.shown)}: {plural(source.workload.events, 'event')}, {found.workers} at once")
    say(f"  taken as   {clean(assumed)}")
    times = "as measured" if found.measured else "equally long for all; --service-field, --service say how long"
    say(f"  service    {times}")
    if found.known:
        _say_figures(found, app, top)
    else:
        say(f"  speed-up   {NOT_KNOWN}")
        say()
    say("In short")
    for text in found.verdict:
        say(f"  {clean(text)}")


def _say_figures(found: Advice, app: App[Any] | None, top: int) -> None:
    say()
    body = [
        [str(one.workers), ratio(one.speedup), f"{one.low:.3g} to {one.high:.3g}" if one.low < one.high else "",
         f"{one.makespan_s:,.3f} s" if found.measured else ""]
        for one in found.predictions
    ]  # fmt: skip
    for line in table(["AT ONCE", "SPEED-UP", "BETWEEN", "TAKES"], body, right=range(4)):
        say(line)
    say()
    _say_labels(found, app)
    say("Remedies, each true only if it is true of the handlers" if found.remedies else "Remedies: none was found")
    for number, one in enumerate(found.remedies[:top], 1):
        say(f"  {number}. {ratio(one.speedup)}, {one.gain:.2g} times as fast: {clean(one)}")
        for line in changes_of(app, one.changes):
            say(f"       {clean(line)}")


def _say_labels(found: Advice, app: App[Any] | None) -> None:
    best = found.labels.best
    kept = "parts no dependent events" if best.safe else f"parts {best.cut:,} of {best.total:,} dependent neighbours"
    heavy = f"; the most common label has {best.heaviest_share:.0%} of the events" if any(best.labels.values()) else ""
    say(f"Partition label of each type: {kept}{heavy}")
    body = [[kind, family_name(name) if name else "none"] for kind, name in best.labels.items()][:LABELS_SHOWN_MAX]
    for line in table(["TYPE", "LABEL"], body):
        say(line)
    for cut in best.cuts[:CUTS_SHOWN_MAX]:
        say(f"  parts {cut.edges:,} of {cut.total:,} between {clean(cut.between)}")
    if len(found.labels.alone) > 1:
        alone = ", ".join(f"{family_name(name)} {one.cut:,}" for name, one in found.labels.alone[:LABELS_SHOWN_MAX])
        say(f"  by one family alone it would part: {clean(alone)}")
    if found.placement is not None:
        part = found.placement.crossing / (found.placement.events or 1)
        say(f"  a table that places each of {found.placement.objects:,} objects in {found.placement.partitions} "
            f"partitions would leave {part:.0%} of the events in several")  # fmt: skip
    if app is not None:
        say(f"  proved from the app's templates: {clean(app.partitioning())}")
    say()
