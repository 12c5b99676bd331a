"""``commute status``: what a group has done, what it does, what waits and why; beside a worker or after it.

Two sources are put together: the store, which is exact and always there, and the file that a running worker writes
every second. Where no worker runs, the second part says so instead of showing what was once true.

Invariant: looking changes nothing and takes no lock that a worker waits for.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commute.cli.banner import settled_beyond
from commute.cli.output import clean, clock, paint, plural, say, say_json, size, span, table
from commute.cli.place import Place, json_option, known_groups, only_one, open_place, where_options
from commute.store.reading import count_dead, find_scope, read_attempts, read_partitions
from commute.transports.rows import find_stream

if TYPE_CHECKING:
    from commute.database import Connection

WATCH_S = 1.0
STALE_S = 5.0  # a worker that has not reported for so long is stopped, or its loop is blocked
SHOWN_MAX = 10  # keys, handlers, retries


@click.command()
@click.argument("target", required=False, metavar="[TARGET|URL]")
@where_options
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@json_option
def status(
    target: str | None,
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    partition: int | None,
    watch: bool,
    as_json: bool,
) -> None:
    """What is done, running, waiting, retrying and parked, and which keys most events wait for.

    Works beside a running worker, after it, and from a broker URL alone.

    \b
    Example:
      commute status shop:app --watch
      commute status sqlite:///shop.db --group shop --json
    """
    with open_place(
        target, app_dir=app_dir, broker=broker, db=db, group=group, partition=partition, any_group=True,
        any_partition=True,
    ) as place:  # fmt: skip
        place.group = place.group or _group(place)
        if (numbers := place.partitions()) and place.partition is None:
            say_partitions(place, numbers, as_json=as_json)
            return
        while True:
            found = look(place)
            if as_json:
                say_json(found)
            else:
                lines = show(found, place.shown)
                if watch and sys.stdout.isatty():
                    lines = [f"\x1b[H\x1b[2J{lines[0]}", *lines[1:]]
                say("\n".join(lines))
            if not watch:
                return
            time.sleep(WATCH_S)


def _group(place: Place) -> str:
    """The group to show; "" while the stream has none: its events are there to be counted all the same."""
    found = known_groups(place)
    return only_one(found, place.stream) if found else ""


def look(place: Place) -> dict[str, Any]:
    """Everything that status knows, as plain data: what ``--json`` prints."""
    last, floor, mark = place.broker.read(lambda c: stream_ends(c, place.stream, place.group))
    found: dict[str, Any] = {
        "at_s": time.time(),
        "broker": place.url.text,
        "stream": place.stream,
        "group": place.group,
        "last": last,
        **place.store.read(lambda c: _progress(c, place, last, mark if mark is not None else floor + 1)),
    }
    found["worker"] = worker(place)
    return found


def say_partitions(place: Place, numbers: Sequence[int], *, as_json: bool) -> None:
    """A line for each partition, and the sum."""
    rows = []
    for number in numbers:
        place.at(number)
        rows.append(look(place))
    place.at(None)
    if as_json:
        say_json({"stream": place.stream, "group": place.group, "partitions": rows})
        return
    lines = [["PARTITION", "TO DO", "RUNNING", "WAITING", "RETRYING", "PARKED", "HELD", "WORKER"]]
    for number, row in zip(numbers, rows, strict=True):
        its, dead = row["worker"] or {}, row["dead"]
        whose = f"pid {its['pid']} on {its['host']}" if its else "none"
        counts = (row["to_do"], its.get("running", 0), its.get("waiting", 0), row["retrying"])
        parked = (dead.get("parked", 0), dead.get("held", 0))
        lines.append([str(number), *(f"{count:,}" for count in (*counts, *parked)), whose])
    to_do = sum(row["to_do"] for row in rows)
    say(f"group {clean(place.group)} on {clean(place.url.text)}, {plural(len(numbers), 'partition')}: {to_do:,} to do")
    say("\n".join(table(lines[0], lines[1:])))
    say(f"One of them: commute status {clean(place.shown)} --partition {numbers[0]}")


def stream_ends(connection: Connection, stream: str, group: str) -> tuple[int, int, int | None]:
    """(last position, deleted up to, the group's first unsettled position)."""
    found = find_stream(connection, stream)
    if found is None:
        return 0, 0, None
    rows = connection.execute(
        "select watermark from commute_groups where stream = ? and name = ?", (found.number, group)
    ).fetchall()
    return found.last, found.floor, int(str(rows[0][0])) if rows else None


def _progress(connection: Connection, place: Place, last: int, watermark: int) -> dict[str, Any]:
    scope = find_scope(connection, place.group, place.stream)
    if scope is None:
        return {
            "to_do": max(0, last - watermark + 1), "watermark": watermark, "dead": {}, "retrying": 0, "paused": None,
            "known": False,
        }  # fmt: skip
    settled = settled_beyond(connection, scope, watermark)
    dead = count_dead(connection, scope)
    paused = next((state.paused for state in read_partitions(connection, scope) if state.paused is not None), None)
    stopped = connection.execute(
        "select type, id from dead where scope = ? and stopped = 1 and status = 'parked' limit 1", (scope,)
    ).fetchall()
    if stopped:
        paused = f"stopped at {stopped[0][0]} {stopped[0][1]}"
    return {
        "to_do": max(0, last - watermark + 1 - settled), "watermark": watermark, "dead": dead,
        "retrying": len({(row.partition, row.position) for row in read_attempts(connection, scope)}), "paused": paused,
        "known": True,
    }  # fmt: skip


def worker(place: Place) -> dict[str, Any] | None:
    """What the running worker last wrote, with ``pid``, ``host`` and ``stale_s``; None while none runs."""
    owner = place.store.owner(place.seat)
    if owner is None:
        return None
    pid, host = owner
    found: dict[str, Any] = {"pid": pid, "host": host, "stale_s": None}
    told = read_report(place.side_path("status"))
    if told is not None and told.get("pid") == found["pid"]:
        found |= told
        found["stale_s"] = max(0.0, time.time() - float(told["at_s"]))
    return found


def read_report(path: Path) -> dict[str, Any] | None:
    """The worker's own file; None where there is none, or one of another version."""
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("at_s"), int | float) else None


# -- for people -------------------------------------------------------------------------------------------------------


def show(found: Mapping[str, Any], shown: str) -> list[str]:
    """The lines that status prints."""
    dead: Mapping[str, int] = found["dead"]
    whose = f"group {clean(found['group'])}" if found["group"] else "no group yet"
    head = (
        f"{whose} on {clean(found['broker'])}, stream {clean(found['stream'])}: {found['to_do']:,} to do, "
        f"{dead.get('parked', 0):,} parked"
    )
    lines = [head]
    told = found["worker"]
    if told is None:
        lines.append(f"  worker   none runs. Start one: commute run {clean(shown)}" + _target_hint(shown))
    elif told["stale_s"] is None:
        lines.append(f"  worker   pid {told['pid']} on {clean(told['host'])}, starting")
    else:
        lines += _worker_lines(told)
    if found["paused"]:
        lines.append(f"  {paint('paused', 'error', sys.stdout)}   {clean(found['paused'])}{_how_on(found, shown)}")
    elif told is not None:
        lines += [f"  {paint('paused', 'error', sys.stdout)}   {clean(why)}" for why in told.get("paused", {}).values()]
    if dead:
        counts = ", ".join(f"{number:,} {clean(name)}" for name, number in sorted(dead.items()))
        lines.append(f"  dead     {counts}.  commute dead list {clean(shown)}")
    if told is None and found["retrying"]:
        lines.append(f"  retries  {plural(found['retrying'], 'event')} failed; the next worker tries again")
    if not found["known"] and told is None:
        lines.append("           no worker of this group has run yet")
    return lines


def _target_hint(shown: str) -> str:
    return "" if "://" not in shown else "  (with the app's MODULE:APP)"


def _how_on(found: Mapping[str, Any], shown: str) -> str:
    if str(found["paused"]).startswith("stopped at"):
        return f".  commute dead retry, skip or drop {clean(shown)} {clean(str(found['paused']).rpartition(' ')[2])}"
    return f".  Go on: commute run {clean(shown)} --resume"


def _worker_lines(told: Mapping[str, Any]) -> list[str]:
    stale_s = float(told["stale_s"])
    late = f", {paint(f'silent for {span(stale_s)}', 'error', sys.stdout)}" if stale_s > STALE_S else ""
    lines = [
        f"  worker   pid {told['pid']} on {clean(told['host'])}{late}",
        f"  now      done {told['done']:,}  running {told['running']:,}  ready {told['ready']:,}  waiting "
        f"{told['waiting']:,}  retrying {told['retrying']:,}" + _oldest(told),
        f"  ahead    {plural(told['admitted'], 'event')}, {size(told['payload_bytes'])}"
        + (f"; {paint('full', 'warning', sys.stdout)}: nothing more comes in until some end" if told["full"] else ""),
    ]
    if told["overdue"]:
        lines.append(f"  overdue  {plural(told['overdue'], 'handler')} past the timeout and not ended")
    for name, waiting in told["behind_breakers"].items():
        lines.append(f"  breaker  {clean(name)} fails always: {plural(waiting, 'event')} wait, one is tried at a time")
    if told["keys"]:
        rows = [[key or "everything", f"{count:,}"] for key, count in told["keys"][:SHOWN_MAX]]
        lines += table(["KEY", "WAITING"], rows, right=[1])
    lines += _handler_lines(told["handlers"], told["running"])
    lines += _retry_lines(told["retries"], told["retrying"])
    return lines


def _oldest(told: Mapping[str, Any]) -> str:
    if told.get("oldest_s") is None:
        return ""
    key = told.get("oldest_key")
    return f"  oldest {span(told['oldest_s'])}" + (f" ({clean(key)})" if key else "")


def _handler_lines(handlers: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    longest = sorted(handlers, key=lambda one: -float(one["running_s"]))[:SHOWN_MAX]
    rows = [
        [one["handler"], f"{one['type']} {one['event']}", span(one["running_s"]) + " overdue" * one["overdue"]]
        for one in longest
    ]
    return [*table(["RUNNING", "EVENT", "FOR"], rows), *_more(count - len(rows))] if rows else []


def _retry_lines(retries: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    rows = [
        [
            one["handler"],
            f"{one['type']} {one['event']}",
            f"{one.get('attempt', 0) + 1} of {one.get('attempts_max', '?')}",
            clock(one["due_s"]) if one.get("due_s") else "",
            str(one.get("error", "")),
        ]
        for one in retries[:SHOWN_MAX]
    ]
    head = ["RETRYING", "EVENT", "ATTEMPT", "AT", "ERROR"]
    return [*table(head, rows), *_more(count - len(rows))] if rows else []


def _more(count: int) -> list[str]:
    return [f"  and {count:,} more"] if count > 0 else []
