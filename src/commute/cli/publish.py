"""`commute publish`: one event or many, from the command line, a file or a pipe; checked before anything is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from commute.cli.commands import NO, NOT_YET, YES
from commute.cli.output import clean, note, plural, say, say_json
from commute.cli.place import where_options
from commute.cli.target import is_url, load
from commute.errors import RejectedError, UsageError

if TYPE_CHECKING:
    from commute.app import App
    from commute.runtime.receipts import Outcome
    from commute.transports.base import Message, Sent

BATCH_EVENTS = 1_000

EPILOG = """\b
Examples:
  commute publish shop:app order_created '{"order_id": 42, "customer_id": 7}'
  commute publish shop:app payment_processed payment.json --wait 5
  zcat orders.jsonl.gz | commute publish shop:app order_created -
  commute publish sqlite:///shop.db order_created '{"order_id": 42}'
"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="TARGET|URL")
@click.argument("type_", metavar="TYPE")
@click.argument("data", metavar="JSON|FILE|-")
@click.option("--id", "identity", metavar="ID", help="The event's id: publishing it again changes nothing.")
@click.option("--to", metavar="STREAM", help="Another stream of the same broker.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), metavar="S", help="Wait so long for the outcome of all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@where_options
def publish(
    target: str,
    type_: str,
    data: str,
    identity: str | None,
    to: str | None,
    wait_s: float | None,
    as_json: bool,
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
) -> None:
    """Put events of one TYPE into the log; returns when they are on disk.

    The data is JSON, or a file, or - for stdin; files and stdin hold one JSON document, or one event a line.
    With TARGET they are checked by the app's own classes first. Exit status with --wait: 0 all processed, 1 another
    outcome, 4 not yet.
    """
    app = _app(target, app_dir, broker, db, group)
    try:
        messages = _messages(app, type_, data, identity)
        sent = _send(app, messages, to)
        outcomes = None if wait_s is None else _wait(app, messages, sent, wait_s)
    finally:
        app.close()
    if as_json:
        say_json(
            {"events": [_document(*row) for row in zip(messages, sent, outcomes or [None] * len(sent), strict=True)]}
        )
    else:
        _say(type_, messages, sent, outcomes)
    if outcomes is None:
        return
    if any(one is None for one in outcomes):
        sys.exit(NOT_YET)
    sys.exit(YES if all(one is not None and one.status == "processed" for one in outcomes) else NO)


def _app(target: str, app_dir: str | None, broker: str | None, db: str | None, group: str | None) -> App[Any]:
    if not is_url(target):
        app = load(target, app_dir).app
        app.override(broker=broker, db=db, group=group)
    else:
        from commute.app import App

        app = App("cli", target)
        app.override(db=db, group=group)
    if app.url.path is None:
        raise UsageError(
            "memory:// is seen by its own process alone: an event published from here would be gone at once. Give a "
            "file, such as --broker sqlite:///shop.db",
            slug="database-in-memory",
        )
    return app


def _messages(app: App[Any], type_: str, data: str, identity: str | None) -> list[Message]:
    documents = list(_documents(data))
    if identity is not None and len(documents) > 1:
        raise UsageError(f"--id names one event, and there are {len(documents):,}", slug="event-id")
    messages = []
    for number, document in enumerate(documents, 1):
        try:
            messages.append(app.message(type_, document, id=identity))
        except RejectedError as error:
            where = f"event {number} of {len(documents):,}: " if len(documents) > 1 else ""
            raise RejectedError(f"{where}{error} Nothing was sent.", slug=error.slug) from error
    return messages


def _documents(data: str) -> Iterator[bytes]:
    """The JSON documents that an argument, a file or stdin holds. Raises UsageError."""
    if data == "-":
        raw, name = sys.stdin.buffer.read(), "stdin"
    elif data.lstrip()[:1] in ("{", "["):
        yield data.encode()
        return
    else:
        path = Path(data)
        if not path.is_file():
            raise UsageError(f"{data!r} is neither JSON nor a file", slug="event-data")
        raw, name = path.read_bytes(), data
    if _is_document(raw):
        yield raw
        return
    lines = [line for line in raw.splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"{name} holds no event", slug="event-data")
    yield from lines


def _is_document(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _send(app: App[Any], messages: list[Message], to: str | None) -> list[Sent]:
    sent: list[Sent] = []
    starts = range(0, len(messages), BATCH_EVENTS)
    if len(starts) < 2:
        return list(app.log.send_sync(messages, to=to))
    with click.progressbar(starts, label="  publish", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for start in bar:
            sent.extend(app.log.send_sync(messages[start : start + BATCH_EVENTS], to=to))
    return sent


def _wait(app: App[Any], messages: list[Message], sent: list[Sent], wait_s: float) -> list[Outcome | None]:
    import time

    end_s = time.monotonic() + wait_s
    return [
        app.desk.wait_sync(message.id, one.position, message.type, max(0.0, end_s - time.monotonic()))
        for message, one in zip(messages, sent, strict=True)
    ]


def _document(message: Message, sent: Sent, outcome: Outcome | None) -> dict[str, object]:
    return {
        "id": message.id,
        "type": message.type,
        "position": sent.position,
        "duplicate_of": sent.duplicate_of,
        "outcome": None if outcome is None else outcome.status,
        "reason": None if outcome is None else outcome.reason,
    }


def _say(type_: str, messages: list[Message], sent: list[Sent], outcomes: list[Outcome | None] | None) -> None:
    if len(messages) == 1:
        again = " (it was there already)" if sent[0].duplicate_of == sent[0].position else ""
        if sent[0].duplicate_of is not None and not again:
            again = f" (id used twice: other bytes than at {sent[0].duplicate_of}; it will be rejected)"
        say(f"{clean(type_)} {clean(messages[0].id)} at position {sent[0].position}{again}")
    else:
        where = f"positions {sent[0].position} to {sent[-1].position}"
        say(f"{plural(len(messages), 'event')} of type {clean(type_)}, {where}")
    if outcomes is None:
        return
    counts: dict[str, int] = {}
    for outcome in outcomes:
        name = "not yet" if outcome is None else outcome.status
        counts[name] = counts.get(name, 0) + 1
        if outcome is not None and outcome.reason:
            note(f"  {outcome.status}: {clean(outcome.reason)}")
    say("  " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
