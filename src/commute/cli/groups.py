"""`commute groups`: who reads a stream and how far each has come; and forgetting one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from commute.cli.commands import NO
from commute.cli.output import clean, say, say_json, table
from commute.cli.place import Place, app_options, json_option, known_groups, open_place, where_options
from commute.cli.status import stream_ends
from commute.cli.target import is_url, load
from commute.errors import UsageError
from commute.link import claimed, parse_url, release
from commute.transports.base import part_name

if TYPE_CHECKING:
    from commute.database import Connection

EPILOG = """\b
Examples:
  commute groups list shop:app
  commute groups drop sqlite:///shop.db --group old --yes
  commute groups release amqp://127.0.0.1/?queue=orders --group shop
"""


@click.group(epilog=EPILOG)
def groups() -> None:
    """The groups of a stream: each has its own progress, and events are kept until all have them settled."""


@groups.command("list", epilog="Example:  commute groups list shop:app --json")
@click.argument("target", required=False, metavar="[TARGET|URL]")
@where_options
@json_option
def list_groups(
    target: str | None,
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    partition: int | None,
    as_json: bool,
) -> None:
    """The groups of the stream, how far each is, and whether a worker runs."""
    with open_place(
        target, app_dir=app_dir, broker=broker, db=db, group=group, partition=partition, any_group=True,
        any_partition=True,
    ) as place:  # fmt: skip
        rows = [_row(place, name) for name in known_groups(place)]
    if as_json:
        say_json({"stream": place.stream, "groups": rows})
        return
    if not rows:
        say(f"stream {clean(place.stream)} has no group yet: no worker has run")
        return
    lines = [[str(r["group"]), f"{r['behind']:,}", "yes" if r["running"] else "no"] for r in rows]
    for line in table(["GROUP", "BEHIND", "WORKER"], lines, right=(1,)):
        say(line)


def _row(place: Place, name: str) -> dict[str, object]:
    """One group: how far it is in each log of the stream, which has one for each partition, and in all of them."""
    numbers = place.partitions()
    logs = place.logs()
    ends = [place.broker.read(lambda c, log=log: stream_ends(c, log, name)) for log in logs]  # type: ignore[misc]
    behind = [max(0, last - (floor + 1 if mark is None else mark) + 1) for last, floor, mark in ends]
    seats = [part_name(name, number) for number in numbers] or [part_name(name, place.partition)]
    marks = [mark for _, _, mark in ends]
    row: dict[str, object] = {
        "group": name,
        "watermark": None if numbers else marks[0],
        "behind": sum(behind),
        "running": any(place.store.owner(seat) for seat in seats),
    }
    if numbers:
        each = zip(numbers, marks, behind, strict=True)
        row["partitions"] = [{"partition": n, "watermark": mark, "behind": count} for n, mark, count in each]
    return row


@groups.command("drop", epilog="Example:  commute groups drop shop:app --group old --yes")
@click.argument("target", required=False, metavar="[TARGET|URL]")
@where_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def drop_group(
    target: str | None,
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    partition: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget a group: its progress and its dead letters. The events stay, for the other groups."""
    with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group, partition=partition) as place:
        name = place.group
        if name not in known_groups(place):
            raise UsageError(
                f"there is no group {name}; there are {', '.join(known_groups(place)) or 'none'}", slug="which-group"
            )
        confirm(f"forget group {name}, its progress and its dead letters?", yes=yes)
        ownership = place.link().file.ownership(place.seat)
        if not ownership.try_take():
            raise UsageError(f"a worker runs group {name}: stop it first", slug="group-in-use")
        try:
            _forget(place, name)
        finally:
            ownership.release()
    if as_json:
        say_json({"dropped": name})
    else:
        say(f"group {clean(name)} is forgotten")


def _forget(place: Place, name: str) -> None:
    """Progress and dead letters, then the place in the stream: in between, a new worker would only begin anew."""
    scope = place.scope
    if scope is not None:

        def forget(connection: Connection) -> None:
            for table_name in ("progress", "done", "inbox", "outbox", "attempt", "dead", "letter", "request"):
                connection.execute(f"DELETE FROM {table_name} WHERE scope=?", (scope,))
            connection.execute("DELETE FROM scope WHERE id=?", (scope,))

        place.store.writer.submit(forget).result()
    place.broker.writer.submit(
        lambda c: c.execute(
            "delete from commute_groups where name = ? and stream = "
            "(select number from commute_streams where name = ?)",
            (name, place.stream),
        ).fetchall()
    ).result()
    for suffix in ("status", "running"):  # not the owner's file: whoever waits for it has it open
        place.side_path(suffix).unlink(missing_ok=True)


@groups.command("release", epilog="Example:  commute groups release shop:app")
@click.argument("target", required=False, metavar="[TARGET|URL]")
@app_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def release_group(
    target: str | None, app_dir: str | None, broker: str | None, db: str | None, group: str | None, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Let another store serve a group on a broker server: for a machine that is gone for good, or is drained."""
    if target is not None and is_url(target):
        if broker is not None or group is None:
            raise UsageError("beside a URL say whose store, and no other broker: --group NAME", slug="which-group")
        url, reader = parse_url(target), group
    else:
        app, _ = load(target, app_dir)
        app.override(broker=broker, db=db, group=group)
        url, reader = app.url, app.name
    held = claimed(url, reader)
    if held is None:
        raise UsageError(f"no store is noted for {reader} on {url.text}: any may begin", slug="no-claim")
    confirm(
        f"{held} serves {reader} on {url.text}. What it has acknowledged and not finished (waiting, parked and held "
        "events) is in it alone: stop its worker, and let it drain, or that is never run. Let another store begin?",
        yes=yes,
    )
    release(url, reader)
    if as_json:
        say_json({"released": reader, "store": held})
    else:
        say(f"{clean(held)} is released: the next store that starts serves {clean(reader)}")


def confirm(question: str, *, yes: bool) -> None:
    """Returns if the person agrees; ends the command if not. Raises UsageError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can be asked here: say --yes", slug="confirm")
    if not click.confirm(clean(question), err=True):
        click.echo("nothing was done", err=True)
        sys.exit(NO)
