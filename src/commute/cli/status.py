"""`commute status`: what is done, what waits and why; beside a running worker, or after one."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from commute.cli.banner import settled_beyond
from commute.cli.commands import YES
from commute.cli.dead import dead_counts
from commute.cli.output import clean, clock, paint, plural, say, say_json, span
from commute.cli.place import Place, is_owned, json_option, open_place, where_options
from commute.store.reading import read_partitions

FRESH_S = 5.0  # a worker writes what it does each second; older than this is not the present
KEYS_SHOWN_MAX = 5

EPILOG = """\b
Examples:
  commute status shop:app
  commute status sqlite:///shop.db --group shop --json
  commute status shop:app --watch
"""


@click.command(epilog=EPILOG)
@click.argument("target", required=False, metavar="[TARGET|URL]")
@click.option("--watch", is_flag=True, help="Again each second, until Ctrl-C.")
@where_options
@json_option
def status(
    target: str | None,
    watch: bool,
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    as_json: bool,
) -> None:
    """Progress, dead letters, what runs and waits, which keys most events wait for."""
    with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group) as place:
        while True:
            found = look(place)
            if as_json:
                say_json(found)
            else:
                if watch and sys.stdout.isatty():
                    click.clear()
                _say(place, found)
            if not watch:
                break
            try:
                time.sleep(1.0)
            except KeyboardInterrupt:
                break
    sys.exit(YES)


def look(place: Place) -> dict[str, Any]:
    """What there is to know about a group, as plain data."""
    log = place.link().transport()
    state = next((one for one in log.groups() if one.group == place.group), None)
    scope = place.scope
    mark = 1 if state is None else state.watermark
    last = log.last_position()
    settled = 0 if scope is None else place.store.read(lambda c: settled_beyond(c, scope, mark))
    paused = (
        [] if scope is None else place.store.read(lambda c: [p.paused for p in read_partitions(c, scope) if p.paused])
    )
    return {
        "broker": place.url.text,
        "stream": place.stream,
        "group": place.group,
        "to_do": max(0, last - mark + 1 - settled),
        "last_position": last,
        "watermark": mark,
        "paused": paused,
        **{name: dead_counts(place).get(name, 0) for name in ("parked", "held", "skipped", "rejected", "dropped")},
        "worker": _worker(place),
    }


def _worker(place: Place) -> dict[str, Any] | None:
    """What the group's worker said last, or None if none runs."""
    if not is_owned(place.side_path("owner")):
        return None
    try:
        found: dict[str, Any] = json.loads(place.side_path("status").read_text())
    except (OSError, ValueError):
        return {}
    return found if time.time() - found.get("at_s", 0.0) < FRESH_S else {"pid": found.get("pid"), "silent": True}


def _say(place: Place, found: dict[str, Any]) -> None:
    say(f"{clean(place.shown)}  group {clean(place.group)} on {clean(place.url.text)}, stream {clean(place.stream)}")
    say(
        f"  to do     {found['to_do']:,} of {found['last_position']:,}    parked {found['parked']:,}, "
        f"held {found['held']:,}, skipped {found['skipped']:,}, rejected {found['rejected']:,}"
    )
    for why in found["paused"]:
        say(paint(f"  paused    {clean(why)}   go on: commute run {clean(place.shown)} --resume", "error", sys.stdout))
    worker = found["worker"]
    if worker is None:
        say("  worker    none runs")
    elif not worker:
        say("  worker    is starting, or has not said anything yet")
    elif worker.get("silent"):
        say(
            paint(
                f"  worker    pid {worker['pid']} has been silent for {FRESH_S:.0f} s: stopped, or blocked",
                "warning",
                sys.stdout,
            )
        )
    else:
        _say_worker(worker)
    if found["parked"]:
        say(f"  look      commute dead list {clean(place.shown)}")


def _say_worker(worker: dict[str, Any]) -> None:
    say(
        f"  worker    pid {worker['pid']}: done {worker['done']:,}, running {worker['running']}, "
        f"ready {worker['ready']:,}, waiting {worker['waiting']:,}, retrying {worker['retrying']}"
    )
    for number, why in worker["paused"].items():
        say(paint(f"  paused    partition {clean(number)}: {clean(why)}", "error", sys.stdout))
    if worker["full"]:
        say(
            paint(
                f"  full      {plural(worker['admitted'], 'event')} looked ahead: the limit; the intake waits",
                "warning",
                sys.stdout,
            )
        )
    for key, count in worker["keys"][:KEYS_SHOWN_MAX]:
        say(f"  waited for  {clean(key) or 'EVERYTHING'}: {plural(count, 'event')}")
    for name, count in worker["behind_breakers"].items():
        say(
            paint(
                f"  breaker   {clean(name)} fails always: {plural(count, 'event')} wait, one is tried at a time",
                "error",
                sys.stdout,
            )
        )
    for one in worker["handlers"][:KEYS_SHOWN_MAX]:
        late = ", overdue" if one["overdue"] else ""
        event = f"{clean(one['type'])} {clean(one['event'])}"
        say(f"  running   {clean(one['handler'])} on {event} for {span(one['running_s'])}{late}")
    for one in worker["retries"][:KEYS_SHOWN_MAX]:
        say(
            f"  retrying  {clean(one['handler'])} on {clean(one['type'])} {clean(one['event'])}: attempt "
            f"{one.get('attempt', 0)} of {one.get('attempts_max', 0)} failed, again {clock(one.get('due_s', 0.0))}: "
            f"{clean(one.get('error', ''))}"
        )
