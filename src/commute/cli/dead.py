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
from commute.core.cone import Cone
from commute.database import Ownership
from commute.errors import UsageError
from commute.store.reading import count_dead, read_dead
from commute.store.records import Asked, DeadRow
from commute.store.store import Store

if TYPE_CHECKING:
    from commute.database import Connection

ANSWER_S_MAX = 5.0  # how long a running worker may take to answer
POLL_S = 0.05
DATA_SHOWN_BYTES = 2_000
NO_ANSWER = "not yet: the worker has not answered; commute dead list shows when it has"

EPILOG = """\b
Examples:
  commute dead list shop:app
  commute dead show shop:app 01J9A
  commute dead retry shop:app 01J9A
  commute dead skip shop:app --type payment_processed --dry-run
  commute dead drop sqlite:///shop.db 01J9C --yes
"""

WHY_CHARACTERS_MAX = 90  # of a reason in the list; `dead show` has it whole


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
    partition: int | None,
    as_json: bool,
) -> None:
    """All dead letters, in log order."""
    with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group, partition=partition) as place:
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
            r.reason if len(r.reason) <= WHY_CHARACTERS_MAX else f"{r.reason[: WHY_CHARACTERS_MAX - 1]}…",
        ]
        for r in rows
    ]
    for line in table(["POSITION", "ID", "TYPE", "STATUS", "WHY"], lines, right=(0,)):
        say(line)
    parked = sum(1 for row in rows if row.status == "parked")
    if parked:
        note(f"look: commute dead show {clean(shown)} ID    bring back: commute dead retry {clean(shown)} ID")


@dead.command(
    short_help="One in full: bytes, attempts, traceback.", epilog="Example:  commute dead show shop:app 01J9A"
)
@click.argument("words", nargs=-1, required=True, metavar="[TARGET|URL] ID...")
@where_options
@json_option
def show(
    words: tuple[str, ...],
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    partition: int | None,
    as_json: bool,
) -> None:
    """Everything about some dead letters: bytes, attempts, the last traceback, what they hold."""
    target, ids = split_target(words)
    with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group, partition=partition) as place:
        rows = _chosen(place, ids, None, everything=False, data=True)
        behind = _behind(place, rows)
    if as_json:
        say_json({"dead": [{**_head(row), **_body(row), "holds": behind[row.position]} for row in rows]})
        return
    for row in rows:
        _say_one(row, behind[row.position])


def _action(verb: str, short: str, help_text: str, example: str) -> click.Command:
    @dead.command(verb, short_help=short, epilog=f"Example:  {example}", help=help_text)
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
        partition: int | None,
        as_json: bool,
    ) -> None:
        target, ids = split_target(words)
        with open_place(target, app_dir=app_dir, broker=broker, db=db, group=group, partition=partition) as place:
            rows = _chosen(place, ids, type_, everything=everything, data=False)
            if dry_run:
                answers = _would(place, verb, rows)
            else:
                if rows and (verb == "drop" or (verb == "retry" and everything)):
                    confirm(f"{verb} {plural(len(rows), 'dead letter')}?", yes=yes)
                answers = _ask(place, verb, rows)
        _say_answers(verb, rows, answers, dry_run=dry_run, as_json=as_json)
        refused = any(answer.startswith("refused") for answer in answers)
        late = any(answer == NO_ANSWER for answer in answers)
        sys.exit(NO if refused else NOT_YET if late else YES)

    return act


retry = _action(
    "retry",
    "Run again, in their place.",
    "Run parked events again, in their place; what they held follows in order. Skipped and rejected ones are appended "
    "as new events.",
    "commute dead retry shop:app 01J9A",
)
skip = _action(
    "skip",
    "Give up; what they held goes on.",
    "Give parked events up: what only they held goes on without them. Their bytes are kept for retain_s.",
    "commute dead skip shop:app 01J9A",
)
drop = _action(
    "drop",
    "Give up, and delete the bytes.",
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
    """What became of each request, beside a running worker or without one."""
    if not rows:
        return []
    scope = place.scope
    assert scope is not None
    ownership = place.link().file.ownership(place.seat)
    if ownership.try_take():
        return _do_it(place, ownership, scope, verb, rows)
    numbers = _leave_requests(place, scope, verb, rows)
    end_s = time.monotonic() + ANSWER_S_MAX
    answered = 0
    while True:
        answers = _answers(place, numbers)
        if len(answers) > answered:  # it is at work: many take their time
            answered, end_s = len(answers), time.monotonic() + ANSWER_S_MAX
        left = [(number, row) for number, row in zip(numbers, rows, strict=True) if number not in answers]
        if left and ownership.try_take():  # the worker has ended without an answer
            done = _do_it(place, ownership, scope, verb, [row for _, row in left], [number for number, _ in left])
            answers |= zip((number for number, _ in left), done, strict=True)
            left = []
        if not left or time.monotonic() > end_s:
            return [answers.get(number, NO_ANSWER) for number in numbers]
        time.sleep(POLL_S)


def _do_it(
    place: Place,
    ownership: Ownership,
    scope: int,
    verb: str,
    rows: Sequence[DeadRow],
    numbers: Sequence[int] = (),
) -> list[str]:
    """No worker runs: the same code that a worker's store uses, in one commit; gives the group up again.

    `numbers`: the requests' rows, where they have been left for a worker already.
    """
    link = place.link()
    writer, now_s = link.file.writer, time.time()
    store = Store(
        writer, scope, appender=link.appender(link.transport()), check_epoch=ownership.check_epoch,
        copies=link.dead_letters_to is not None, answers=place.answers(),
    )  # fmt: skip
    asked = [
        Asked(number, verb, row.partition, row.position, now_s)
        for number, row in zip(numbers or [0] * len(rows), rows, strict=True)
    ]
    try:
        return writer.submit(lambda c: [store.do_as_asked(c, one) for one in asked]).result()
    finally:
        store.close()
        writer.detach(store.source)
        ownership.release()


def _leave_requests(place: Place, scope: int, verb: str, rows: Sequence[DeadRow]) -> list[int]:
    """Ask the running worker; returns the numbers of the requests."""

    def insert(connection: Connection) -> list[int]:
        numbers = []
        for row in rows:
            found = connection.execute(
                "INSERT INTO request(scope, verb, partition, position, at_s) VALUES(?,?,?,?,?) RETURNING n",
                (scope, verb, row.partition, row.position, time.time()),
            ).fetchall()
            numbers.append(int(found[0][0]))
        return numbers

    return place.link().file.writer.submit(insert).result()


def _answers(place: Place, numbers: Sequence[int]) -> dict[int, str]:
    found = place.store.read(
        lambda c: c.execute(
            "SELECT n, answer FROM request WHERE n BETWEEN ? AND ? AND answer IS NOT NULL", (numbers[0], numbers[-1])
        ).fetchall()
    )
    return {int(str(number)): str(answer) for number, answer in found}


def _would(place: Place, verb: str, rows: Sequence[DeadRow]) -> list[str]:
    """What each request would do, by today's state."""
    cones = _cones(place)
    answers = []
    for row in rows:
        cone, names = cones.get(row.partition, (None, {}))
        if row.status == "held":
            answers.append("refused: it is held behind a parked event; act on that one")
        elif row.status != "parked" or cone is None:
            answers.append(f"would {verb}")
        elif verb == "retry":
            answers.append(f"would retry it{_and(len(cone.behind(row.position)), 'then run', ', in order')}")
        else:
            freed = [names[position] for position in cone.freed_by(row.position)]
            shown = f": {' '.join(freed[:5])}{' …' if len(freed) > 5 else ''}" if freed else ""
            answers.append(f"would {verb} it{_and(len(freed), 'free', shown)}")
    return answers


def _and(count: int, verb: str, rest: str) -> str:
    return f" and {verb} {plural(count, 'held event')}{rest}" if count else "; nothing is held behind it alone"


def _say_answers(verb: str, rows: Sequence[DeadRow], answers: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        done = [{**_head(row), "answer": answer or None} for row, answer in zip(rows, answers, strict=True)]
        say_json({"verb": verb, "dry_run": dry_run, "dead": done})
        return
    if not rows:
        say("no parked events of that kind. Those with another end are named by their id: commute dead list")
    for row, answer in zip(rows, answers, strict=True):
        text = {"retry": "will be run again in its place"}.get(answer, answer)
        say(f"{clean(row.message.type)} {clean(row.message.id)} (position {row.position}, {row.status}): {clean(text)}")


def _cones(place: Place) -> dict[int, tuple[Cone, dict[int, str]]]:
    """By partition: its parked and held events, and their ids."""
    found: dict[int, tuple[Cone, dict[int, str]]] = {}
    for row in _rows(place):
        if row.status in ("parked", "held"):
            cone, names = found.setdefault(row.partition, (Cone(place.limits.held_events_max), {}))
            (cone.park if row.status == "parked" else cone.hold)(row.position, row.footprint)
            names[row.position] = row.message.id
    return found


def _behind(place: Place, rows: Sequence[DeadRow]) -> dict[int, list[str]]:
    """By position: the ids of the held events that wait for this one, directly or through others."""
    cones = _cones(place)
    behind: dict[int, list[str]] = {}
    for row in rows:
        behind[row.position] = []
        if row.status == "parked":
            cone, names = cones[row.partition]
            behind[row.position] = [names[position] for position in cone.behind(row.position)]
    return behind


def _head(row: DeadRow) -> dict[str, object]:
    return {
        "position": row.position,
        "id": row.message.id,
        "source": row.message.source,
        "type": row.message.type,
        "status": row.status,
        "slug": row.slug,
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
    slug = f" ({row.slug})" if row.slug not in ("", row.status) else ""
    say(f"{clean(m.type)} {clean(m.id)} (position {row.position}): {row.status}{clean(slug)} {clock(row.at_s)}")
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
