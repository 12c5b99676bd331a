"""``commute bench URL``: what this broker does on this machine."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from commute.cli.output import Passing, clean, note, plural, say, say_json
from commute.cli.place import json_option
from commute.measure import measure

EPILOG = """\b
Examples:
  commute bench sqlite:///shop.db
  commute bench amqp://127.0.0.1/ --events 50000
  commute bench zmq+tcp://127.0.0.1:5555 --json
"""


@click.command(epilog=EPILOG)
@click.argument("url", metavar="URL")
@click.option("--events", type=click.IntRange(1), default=20_000, show_default=True, help="How many.")
@click.option("--bytes", "size_bytes", type=click.IntRange(8), default=200, show_default=True, help="Size of each.")
@json_option
def bench(url: str, events: int, size_bytes: int, as_json: bool) -> None:
    """Measure a broker from this machine: confirmed publishing, consuming, latency.

    With the journal and the syncs that an app has, and without handlers. A named file is not touched, one beside it
    is. Figures of two brokers compare only if they were taken one after the other."""
    passing = Passing()
    last = ""

    def progress(what: str, done: int, of: int) -> None:
        nonlocal last
        line = f"  {what:10} {100 * done // of:3} %"
        if line != last:
            last = line
            passing.say(line)

    found = asyncio.run(measure(url, events, size_bytes, progress))
    passing.wipe()
    if as_json:
        say_json(asdict(found))
        return
    say(f"{clean(found.broker)}: {plural(found.events, 'event')} of {plural(found.size_bytes, 'byte')}")
    say(f"  publish, confirmed          {found.publish_per_s:>12,.0f} /s   many in flight")
    say(f"  publish, one after another  {found.publish_singly_per_s:>12,.0f} /s")
    say(f"  consume and settle          {found.consume_per_s:>12,.0f} /s")
    say(f"  latency of a lone event     {found.latency_ms_p50:>12,.1f} ms  (99 %: {found.latency_ms_p99:,.1f} ms)")
    note("without handlers; an app's own figures are lower by what those take")
