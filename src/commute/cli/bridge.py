"""``commute bridge FROM TO``: store and forward between two streams."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import click

from commute.bridge import Bridge, Pace, Progress
from commute.cli.output import clean, note, plural, say_json, span
from commute.cli.terminal import Live, routed_logs
from commute.errors import UsageError
from commute.limits import Limits
from commute.link import BrokerUrl, is_server, parse_url

TICK_S = 1.0
PIPED_TICK_S = 10.0  # where each line stays
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|min|h))?")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3_600.0}

EPILOG = """\b
Examples:
  commute bridge mqtt://127.0.0.1/plant/+device/temperature kafka://centre:9092/temperature
  commute bridge sqlite:///till.db amqp://user:password@centre/?queue=sales --rate 50/s
  commute bridge sqlite:///till.db amqp://user:password@centre/?queue=sales --once
"""


def _rate(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    found = _RATE.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise click.BadParameter("write a number above 0 and /s, /min or /h, such as 50/s")
    return float(found[1]) / _SECONDS[found[2] or "s"]


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--db", metavar="URL", help="Where a broker server's stream is kept meanwhile; default: GROUP.commute.db."
)
@click.option("--group", metavar="NAME", default="bridge", show_default=True, help="As whom FROM is read.")
@click.option("--rate", "per_s", metavar="N/s", callback=_rate, help="Send no faster; also N/min, N/h.")
@click.option("--journal-events-max", type=click.IntRange(1), metavar="N", help="Beyond it, FROM keeps the rest.")
@click.option("--once", is_flag=True, help="End when nothing is left to forward.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line on stdout.")
def bridge(
    source: str,
    target: str,
    db: str | None,
    group: str,
    per_s: float | None,
    journal_events_max: int | None,
    once: bool,
    as_json: bool,
) -> None:
    """Store and forward: every event of FROM to TO, in sequence, also after days without a link.

    What a broker server brings is kept in a SQLite file until TO has confirmed it. Ctrl-C ends it; the next start goes
    on where it was.

    Exit status: 0 stopped or, with --once, all forwarded; 2 wrong use, or TO refuses an event for good; 3 with --once:
    something cannot be reached."""
    begin, end = _source(source, db, group), parse_url(target)
    limits = Limits() if journal_events_max is None else replace(Limits(), journal_events_max=journal_events_max)
    made = Bridge(begin, end, group=group, limits=limits, pace=Pace(per_s), once=once)
    live = Live()
    with routed_logs(live, clean(begin.text)):
        if not as_json:
            note(f"bridge {clean(begin.text)} -> {clean(end.text)}")
            note(f"  group {clean(group)}, kept in {clean(begin.path)}. Ctrl-C ends")
        asyncio.run(_run(made, live, as_json=as_json))


def _source(text: str, db: str | None, group: str) -> BrokerUrl:
    if not is_server(text):
        if db is not None:
            raise UsageError(f"{text} is a file itself: leave --db {db} out", slug="option")
        url = parse_url(text)
        if url.path is not None and not Path(url.path).exists():
            raise UsageError(f"there is no file {url.path}: its producers make it; three slashes are relative, four "
                             "absolute", slug="broker-url")  # fmt: skip
        return url
    store = parse_url(db or f"sqlite:///{group}.commute.db")
    if store.path is None:
        raise UsageError("--db is a file, sqlite:///FILE: what waits must be kept", slug="option")
    return parse_url(text, store.path)


async def _run(made: Bridge, live: Live, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopped() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # the second one ends it at once

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped)
    telling = asyncio.create_task(_tell(made, live, as_json=as_json))
    began_s = time.monotonic()
    try:
        await made.run(stop)
    finally:
        telling.cancel()
        await asyncio.wait((telling,))
        live.end()
    last = await asyncio.to_thread(made.progress)
    if as_json:
        say_json({"what": "end", **asdict(last)})
    else:
        note(
            f"{plural(last.forwarded, 'event')} forwarded in {span(time.monotonic() - began_s)}, {last.waiting:,} wait"
        )


async def _tell(made: Bridge, live: Live, *, as_json: bool) -> None:
    before, interval_s = 0, TICK_S if live.rewrites or as_json else PIPED_TICK_S
    while True:
        await asyncio.sleep(interval_s)
        now = await asyncio.to_thread(made.progress)
        if as_json:
            say_json({"what": "progress", **asdict(now)})
        else:
            live.show(_line(now, (now.forwarded - before) / interval_s))
        before = now.forwarded


def _line(now: Progress, per_s: float) -> str:
    """``14:02:11  120/s  forwarded 12,040  waiting 300  oldest 4.1 s``"""
    parts = [time.strftime("%H:%M:%S"), f"{per_s:,.0f}/s", f"forwarded {now.forwarded:,}", f"waiting {now.waiting:,}"]
    if now.oldest_s is not None:
        parts.append(f"oldest {span(now.oldest_s)}")
    if now.away:
        parts.append(f"away: {now.away}")
    return "  ".join(parts)
