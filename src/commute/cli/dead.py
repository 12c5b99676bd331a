"""`commute dead`: parked, held, skipped and rejected events; look at them, and bring them back or give them up.

Beside a running worker a request is left in the store, which the worker carries out within a moment. Without one, the
command takes the group's lock and does it itself, so that no worker can begin in between.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from commute.cli.commands import NO, NOT_YET, YES
from commute.cli.groups import confirm
from commute.cli.output import clean, clean_lines, clock, note, plural, say, say_json, table
from commute.cli.place import Place, json_option, open_place, where_options
from commute.cli.target import split_target
from commute.embedded.ownership import Ownership
from commute.errors import UsageError
from commute.store.reading import count_dead, read_dead
from commute.store.records import Asked, DeadRow
from commute.store.store import Store

if TYPE_CHECKING:
    import apsw

ANSWER_S_MAX = 5.0  # how long a running worker may take to answer
POLL_S = 0.05
DATA_SHOWN_BYTES = 2_000
LISTED = ("parked", "held", "skipped", "rejected", "dropped")

EPILOG = """\b
Examples:
  commute dead list shop:app
  commute dead show shop:app 01J9A
  commute dead retry shop:app 01J9A
  commute dead skip shop:app --type payment_processed --dry-run
  commute dead drop sqlite:///shop.db 01J9C --yes
"""


@click.group(epilog=EPILOG)
def dead() -> None:
    """Dead letters: parked events, what is held behind them, and what was skipped or rejected."""


@dead.command("list", epilog="Example:  commute dead list shop:app --type payment_processed")
@click.argument("target", required=False, metavar="[TARGET|URL]")
@click.option("--type", "type_", metavar="T", help="Only events of this type.")
@click.option("--all", "everything", is_flag=True, help="Dropped ones too.")
@where_options
@json_option
def list_dead(
    target: str | None,
    type_: str | None,
    everything: bool,
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    as_json: bool,
) -> None:
    """All dead letters, in log order."""
    with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group) as place:
        rows = [r for r in _rows(place) if type_ in (None, r.message.type) and (everything or r.status != "dropped")]
        shown = place.shown
    if as_json:
        say_json({"dead": [_head(row) for row in rows]})
        return
    if not rows:
        say("no dead letters")
        return
    lines = [
        [
            str(r.position),
            r.message.id,
            r.message.type,
            r.status + (", asked" if r.asked == "retry" else ""),
            r.reason[:90],
        ]
        for r in rows
    ]
    for line in table(["POSITION", "ID", "TYPE", "STATUS", "WHY"], lines, right=(0,)):
        say(line)
    parked = sum(1 for row in rows if row.status == "parked")
    if parked:
        note(f"look: commute dead show {clean(shown)} ID    bring back: commute dead retry {clean(shown)} ID")


@dead.command(epilog="Example:  commute dead show shop:app 01J9A")
@click.argument("words", nargs=-1, required=True, metavar="[TARGET|URL] ID...")
@where_options
@json_option
def show(
    words: tuple[str, ...], app_dir: str | None, broker: str | None, db: str | None, group: str | None, as_json: bool
) -> None:
    """Everything about some dead letters: bytes, attempts, the last traceback, what they hold."""
    target, ids = split_target(words)
    with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group) as place:
        rows = _chosen(place, ids, None, everything=False, data=True)
        behind = {row.position: _behind(place, row) for row in rows}
    if as_json:
        say_json({"dead": [{**_head(row), **_body(row), "holds": behind[row.position]} for row in rows]})
        return
    for row in rows:
        _say_one(row, behind[row.position])


def _action(verb: str, help_text: str, example: str) -> click.Command:
    @dead.command(verb, epilog=f"Example:  {example}", help=help_text)
    @click.argument("words", nargs=-1, metavar="[TARGET|URL] [ID...]")
    @click.option("--type", "type_", metavar="T", help="All of this type.")
    @click.option("--all", "everything", is_flag=True, help="All parked ones.")
    @click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @where_options
    @json_option
    def act(
        words: tuple[str, ...],
        type_: str | None,
        everything: bool,
        dry_run: bool,
        yes: bool,
        app_dir: str | None,
        broker: str | None,
        db: str | None,
        group: str | None,
        as_json: bool,
    ) -> None:
        target, ids = split_target(words)
        with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group) as place:
            rows = _chosen(place, ids, type_, everything=everything, data=False)
            if dry_run:
                answers = ["" for _ in rows]
            else:
                if rows and (verb == "drop" or (verb == "retry" and everything)):
                    confirm(f"{verb} {plural(len(rows), 'dead letter')}?", yes=yes)
                answers = _ask(place, verb, rows)
        _say_answers(verb, rows, answers, dry_run=dry_run, as_json=as_json)
        refused = any(answer.startswith("refused") for answer in answers)
        sys.exit(NOT_YET if None in answers else NO if refused else YES)

    return act


retry = _action(
    "retry",
    "Run parked events again, in their place; what they held follows in order. Skipped and rejected ones are appended "
    "as new events.",
    "commute dead retry shop:app 01J9A",
)
skip = _action(
    "skip",
    "Give parked events up: what only they held goes on without them. Their bytes are kept for retain_s.",
    "commute dead skip shop:app 01J9A",
)
drop = _action(
    "drop",
    "Give events up and delete their bytes; identity and reason are kept.",
    "commute dead drop shop:app 01J9A --yes",
)


def _rows(place: Place, *, data: bool = False) -> list[DeadRow]:
    scope = place.scope
    if scope is None:
        return []
    return place.store.read(lambda connection: read_dead(connection, scope, data=data))


def _chosen(place: Place, ids: Sequence[str], type_: str | None, *, everything: bool, data: bool) -> list[DeadRow]:
    """The dead letters that are meant. Raises UsageError for an id that is none, or means several."""
    rows = _rows(place, data=data)
    if not ids and not everything and type_ is None:
        raise UsageError("which dead letters? Give ids, --type T, or --all", slug="which-event")
    if not ids:
        return [row for row in rows if row.status == "parked" and type_ in (None, row.message.type)]
    return [_one(rows, text) for text in ids]


def _one(rows: Sequence[DeadRow], text: str) -> DeadRow:
    source, _, identity = text.rpartition("#")
    found = [r for r in rows if r.message.id == identity and source in ("", r.message.source)]
    found = found or [
        r for r in rows if identity and r.message.id.startswith(identity) and source in ("", r.message.source)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{text} is no dead letter; commute dead list shows them", slug="which-event")
    shown = ", ".join(f"{r.message.source}#{r.message.id}" for r in found[:5])
    raise UsageError(f"{text} means {len(found)} dead letters: {shown}. Write more of it", slug="which-event")


def _ask(place: Place, verb: str, rows: Sequence[DeadRow]) -> list[str]:
    if not rows:
        return []
    link, scope = place.link(), place.scope
    assert scope is not None
    ownership = Ownership(link.file, place.group)
    if ownership.try_take():
        try:
            return _do_it(place, ownership, scope, verb, rows)
        finally:
            ownership.release()
    return _leave_requests(place, scope, verb, rows)


def _do_it(place: Place, ownership: Ownership, scope: int, verb: str, rows: Sequence[DeadRow]) -> list[str]:
    """No worker runs: the same code that a worker's store uses, in one commit each."""
    link = place.link()
    transport = link.transport()
    store = Store(link.file.writer, scope, appender=link.appender(transport), check_epoch=ownership.check_epoch)
    answers = []
    for row in rows:
        asked = Asked(0, verb, row.partition, row.position, time.time())
        answers.append(link.file.writer.submit(lambda c, asked=asked: store.do_as_asked(c, asked)).result())  # type: ignore[misc]
    store.close()
    link.file.writer.detach(store.source)
    return answers


def _leave_requests(place: Place, scope: int, verb: str, rows: Sequence[DeadRow]) -> list[str]:
    writer = place.link().file.writer

    def insert(connection: apsw.Connection) -> list[int]:
        numbers = []
        for row in rows:
            connection.execute(
                "INSERT INTO request(scope, verb, partition, position, at_s) VALUES(?,?,?,?,?)",
                (scope, verb, row.partition, row.position, time.time()),
            )
            numbers.append(connection.last_insert_rowid())
        return numbers

    numbers = writer.submit(insert).result()
    end_s = time.monotonic() + ANSWER_S_MAX
    marks = ",".join("?" * len(numbers))
    while True:
        rows_found = place.store.read(
            lambda c: c.execute(f"SELECT n, answer FROM request WHERE n IN ({marks})", numbers).fetchall()
        )
        found = {row[0]: row[1] for row in rows_found}
        if all(found.get(n) is not None for n in numbers) or time.monotonic() > end_s:
            return [str(found.get(n) or "not yet: the worker has not answered") for n in numbers]
        time.sleep(POLL_S)


def _say_answers(verb: str, rows: Sequence[DeadRow], answers: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        done = [{**_head(row), "answer": answer or None} for row, answer in zip(rows, answers, strict=True)]
        say_json({"verb": verb, "dry_run": dry_run, "dead": done})
        return
    if not rows:
        say("no dead letters of that kind")
    for row, answer in zip(rows, answers, strict=True):
        text = f"would {verb}" if dry_run else {"retry": "will be run again in its place"}.get(answer, answer)
        say(f"{clean(row.message.type)} {clean(row.message.id)} (position {row.position}, {row.status}): {clean(text)}")


def _behind(place: Place, row: DeadRow) -> list[str]:
    """The ids of the held events that wait for this one, directly or through others."""
    if row.status != "parked":
        return []
    from commute.core.cone import Cone

    cone = Cone(place.limits.held_events_max)
    names: dict[int, str] = {}
    for one in _rows(place):
        if one.partition != row.partition or one.status not in ("parked", "held"):
            continue
        (cone.park if one.status == "parked" else cone.hold)(one.position, one.footprint)
        names[one.position] = one.message.id
    return [names[position] for position in cone.behind(row.position)]


def _head(row: DeadRow) -> dict[str, object]:
    return {
        "position": row.position,
        "id": row.message.id,
        "source": row.message.source,
        "type": row.message.type,
        "status": row.status,
        "reason": row.reason,
        "handler": row.handler,
        "attempts": row.attempts,
        "at_s": row.at_s,
        "asked": row.asked,
    }


def _body(row: DeadRow) -> dict[str, object]:
    return {
        "data": row.message.data.decode("utf-8", "backslashreplace"),
        "attributes": dict(row.message.attributes or {}),
        "footprint": [list(access) for access in row.footprint],
        "handlers_done": list(row.handlers_done),
        "traceback": row.detail,
    }


def _say_one(row: DeadRow, behind: Sequence[str]) -> None:
    m = row.message
    say(f"{clean(m.type)} {clean(m.id)} (position {row.position}): {row.status} {clock(row.at_s)}")
    say(f"  source    {clean(m.source)}")
    say(f"  why       {clean(row.reason)}")
    if row.handler:
        say(f"  handler   {clean(row.handler)}, {plural(row.attempts, 'attempt')}")
    if row.handlers_done:
        say(f"  done      {clean(', '.join(row.handlers_done))}")
    keys = ", ".join(f"{key or 'EVERYTHING'} ({mode})" for key, mode in row.footprint)
    if keys:
        say(f"  keys      {clean(keys)}")
    if row.status == "parked":
        more = "" if len(behind) <= 5 else " …"
        say(f"  holds     {plural(len(behind), 'event')} {clean(' '.join(behind[:5]))}{more}".rstrip())
    if m.attributes:
        say(f"  with      {clean(dict(m.attributes))}")
    text = m.data[:DATA_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    cut = f" … ({len(m.data):,} bytes; --json shows all)" if len(m.data) > DATA_SHOWN_BYTES else ""
    say(f"  data      {clean(text)}{cut}" if row.status != "dropped" else "  data      dropped")
    if row.detail:
        say("  last traceback")
        for line in clean_lines(row.detail).rstrip().splitlines():
            say(f"    {line}")


def dead_counts(place: Place) -> dict[str, int]:
    """How many dead letters there are, by status."""
    scope = place.scope
    return {} if scope is None else place.store.read(lambda connection: count_dead(connection, scope))
