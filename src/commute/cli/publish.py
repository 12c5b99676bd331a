"""``commute publish``: one event from the command line, or many from a file or stdin, one JSON object a line.

A file is checked whole before its first event is sent, so that a bad line in the middle leaves nothing behind. Lines
from stdin cannot be read twice: there each batch is all or nothing, and the message says how many went out before.

Invariant: what is reported as published has been confirmed by the broker.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import click

from commute.cli.commands import NO, NOT_YET, YES
from commute.cli.output import Passing, clean, note, plural, say, say_json, span
from commute.cli.place import BUSY_S_MAX, json_option, only_group_of
from commute.cli.target import is_target, is_url, load
from commute.errors import NotReachableError, RejectedError, UsageError
from commute.limits import Limits
from commute.link import BrokerUrl, Link, Log, claimed, open_file, parse_db, parse_url
from commute.receiving import Receiving
from commute.runtime.encoder import Encoder
from commute.runtime.receipts import Desk, State
from commute.runtime.world import SystemWorld
from commute.store.identity import identity, shown
from commute.transports.base import Message, Sent

BATCH_EVENTS = 1_000
SOURCE = "/commute"  # of events that are published by a URL: there is no app whose name they could carry
POLL_S = 0.02


@click.command()
@click.argument("arguments", nargs=-1, metavar="[TARGET|URL] TYPE JSON|FILE|-")
@click.option("--app-dir", metavar="DIR", type=click.Path(), help="Where the app's module lies.")
@click.option("--broker", metavar="URL", help="The broker, instead of the app's.")
@click.option("--db", metavar="URL", help="Where the group keeps its progress, for --wait.")
@click.option("--group", metavar="NAME", help="Whose outcome --wait waits for; default: the app's.")
@click.option("--id", "event_id", metavar="ID", help="The event's id: the same one again stores nothing twice.")
@click.option("--to", metavar="STREAM", help="Another stream of the same broker.")
@click.option("--wait", "wait_s", metavar="S", type=click.FloatRange(min=0), help="Wait for the outcome, in seconds.")
@json_option
def publish(
    arguments: tuple[str, ...],
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    event_id: str | None,
    to: str | None,
    wait_s: float | None,
    as_json: bool,
) -> None:
    """Put events of TYPE into the log: a JSON object, a FILE, or - for stdin, with one object a line.

    With a TARGET the data is checked by the app's classes before anything is sent. With --wait the exit status is 0
    for processed, 1 for another outcome, 4 for not yet.

    \b
    Example:
      commute publish shop:app order_created '{"order_id": 42, "sku": "tea-9"}' --wait 5
      commute publish sqlite:///shop.db order_created orders.jsonl
    """
    target, type_, what = _split(arguments)
    if event_id is not None and not 0 < len(event_id) <= 256:
        raise UsageError("an event's id has 1 to 256 characters", slug="event-id")
    producer = _producer(target, app_dir, broker, db, group, to)
    source = _Lines.of(what)
    if source.single is None and event_id is not None:
        raise UsageError("--id names one event; a file or stdin may hold many", slug="event-id")
    # Checked before anything is opened: what is refused leaves no new file behind.
    single = None if source.single is None else producer.message(type_, source.single, event_id)
    if source.path is not None:
        with source.open() as file:
            for _ in _checked(producer, type_, _numbered(file), 0):
                pass
    with _opened(producer):
        _warn_unlabelled(producer)
        desk = None if wait_s is None else producer.desk()
        if single is not None:
            status = _one(producer, single, desk, wait_s or 0.0, as_json=as_json)
        else:
            status = _many(producer, source, type_, desk, wait_s or 0.0, as_json=as_json)
    sys.exit(status)


def _split(arguments: Sequence[str]) -> tuple[str | None, str, str]:
    if len(arguments) == 3:
        return arguments[0], arguments[1], arguments[2]
    if len(arguments) == 2 and not is_target(arguments[0]):
        return None, arguments[0], arguments[1]
    raise click.UsageError("give [TARGET|URL] TYPE JSON|FILE|-, such as: shop:app order_created '{\"order_id\": 42}'")


# -- what sends -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Producer:
    """Where events go and how they are checked. The link is open while `_opened` is entered."""

    url: BrokerUrl
    db: BrokerUrl | None
    group: str | None
    stream: str
    source: str
    limits: Limits
    encoder: Encoder
    unhandled: str | None  # says that nobody in the app takes the type; formatted with it
    known: frozenset[str] = frozenset()
    ignored: tuple[str, ...] = ()
    handlers: dict[str, list[str]] | None = None
    made_by: Callable[..., Message] | None = None  # `App.message`, which knows the partition labels
    reader: str = "commute"  # as whom a broker server knows the workers
    receives: Callable[[], Receiving | None] = lambda: None  # `App.receiving`
    receiving: Receiving | None = None  # where workers with another store tell the outcome
    link: Link | None = None
    log: Log | None = None
    world: SystemWorld = field(default_factory=SystemWorld)

    def message(self, type_: str, data: bytes, event_id: str | None = None) -> Message:
        """One checked message. Raises RejectedError."""
        if self.made_by is not None:
            return self.made_by(type_, data, id=event_id)
        type_, data = self.encoder.encode_named(type_, data)
        return Message(event_id or self.world.new_id(), self.source, type_, self.world.now_s(), data)

    def send(self, messages: Sequence[Message]) -> Sequence[Sent]:
        if self.log is not None:
            return self.log.send_sync(messages)
        assert self.link is not None
        sender = self.link.sender()
        assert sender is not None
        # Named only where it is another one: a stream of several partitions is no queue of that name.
        sender().send(messages, None if self.stream == self.url.stream else self.stream).result()
        return [Sent(None)] * len(messages)

    def desk(self) -> Desk:
        """Who knows the outcome. Raises UsageError where no group was named and several read the stream."""
        assert self.link is not None
        if self.log is None:
            raise UsageError(
                f"{self.url.text} does not tell what becomes of an event: name the store of its app, "
                "--db sqlite:///NAME.commute.db",
                slug="which-store",
            )
        group = self.group or only_group_of(self.link, self.log)
        handlers = self.handlers or {}
        return Desk(
            self.link.file, partial(self.link.logs, self.stream), group, retain_s=self.limits.retain_s,
            handlers_of=lambda type_: handlers.get(type_, []), inbox=self.receiving,
        )  # fmt: skip


def _producer(
    target: str | None, app_dir: str | None, broker: str | None, db: str | None, group: str | None, to: str | None
) -> _Producer:
    if target is not None and is_url(target):
        if broker is not None:
            raise UsageError(f"two brokers: {target} and --broker {broker}. Give one", slug="broker-url")
        store = None if db is None else parse_db(db)
        limits, url = Limits(), parse_url(target, None if store is None else store.path)
        return _Producer(url, store, group, to or url.stream, SOURCE, limits, Encoder([], limits.event_bytes_max), None)
    app = load(target, app_dir).app
    app.override(broker=broker, db=db, group=group)
    handlers: dict[str, list[str]] = {}
    for handler in app.handlers:
        for event in handler.events:
            handlers.setdefault(event.type, []).append(handler.name)
    return _Producer(
        app.url, app.db, app.group, to or app.url.stream, app.source, app.limits, app.encoder, app.name,
        frozenset(handlers), app.ignore, handlers, app.message, app.name, app.receiving,
    )  # fmt: skip


@contextmanager
def _opened(producer: _Producer) -> Iterator[None]:
    url = producer.url
    if url.path is None and url.server is not None:
        producer.link = Link.open(url, None, producer.limits)
        try:
            yield
        finally:
            producer.link.close()
        return
    if url.path is None:
        raise UsageError(
            "memory:// ends with this process, so nobody would ever see the event. Name a file, such as --broker "
            "sqlite:///shop.db",
            slug="database-in-memory",
        )
    new = url.file is not None and not url.file.exists()
    # Shared with the link, which would wait for longer.
    file = open_file(url.path, producer.limits, busy_s_max=BUSY_S_MAX)
    try:
        producer.link = Link.open(url, producer.db, producer.limits, reader=producer.reader)
        try:
            producer.log = producer.link.transport(producer.stream)
            if new:
                note(f"made {clean(url.place)}")
            producer.receiving = producer.receives()
            if producer.receiving is not None:
                producer.receiving.start()
            yield
        finally:
            if producer.receiving is not None:
                producer.receiving.close()
            producer.link.close()
    finally:
        file.close()


def _warn_unlabelled(producer: _Producer) -> None:
    """Labels are read off an app's footprints. Without one, events that depend on each other may be parted."""
    server, link = producer.url.server, producer.link
    if producer.made_by is not None or link is None or server is None or not server.labelled:
        return
    if producer.stream == producer.url.stream and (partitions := link.partitions()) > 1:
        note(
            f"warning[no-label] {clean(producer.url.text)} has {partitions} partitions, and from a URL alone events "
            "have no label: dependent ones may come to lie on different ones, out of sequence. Name the app: "
            "commute publish MODULE:APP"
        )


def _warn_unhandled(producer: _Producer, type_: str) -> None:
    """The type may be for another group; it may also be misspelt."""
    from difflib import get_close_matches
    from fnmatch import fnmatchcase

    if producer.unhandled is None or type_ in producer.known or any(fnmatchcase(type_, p) for p in producer.ignored):
        return
    like = get_close_matches(type_, producer.known, 1)
    hint = f" (did you mean {clean(like[0])}?)" if like else ""
    note(
        f'warning[unknown-type] "{clean(type_)}": no handler of {clean(producer.unhandled)} takes it{hint}; '
        "its workers will reject it"
    )


# -- what is read ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lines:
    """JSON objects, one a line. `single`: there is just one, given on the command line or filling a whole file."""

    path: Path | None = None  # None: stdin
    single: bytes | None = None

    @classmethod
    def of(cls, what: str) -> _Lines:
        """What the argument means: JSON text, a file, or ``-``. Raises UsageError."""
        if what == "-":
            return cls()
        if what.lstrip().startswith("{"):
            return cls(single=what.encode("utf-8", "surrogateescape"))
        path = Path(what)
        if not path.is_file():
            raise UsageError(
                f"{what!r} is neither a JSON object nor a file here. Write '{{\"field\": 1}}' in single quotes",
                slug="event-data",
            )
        text = _whole_document(path)
        return cls(single=text) if text is not None else cls(path)

    def open(self) -> BinaryIO:
        return sys.stdin.buffer if self.path is None else self.path.open("rb")


def _whole_document(path: Path) -> bytes | None:
    """The file's bytes if it is one JSON object over several lines; None if it has one object a line."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    if first.strip() and not first.rstrip().endswith(b"}"):
        return path.read_bytes()
    return None


def _numbered(file: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(file, start=1):
        text = line.strip()
        if text:
            yield number, text


def _checked(producer: _Producer, type_: str, lines: Iterable[tuple[int, bytes]], sent: int) -> Iterator[Message]:
    for number, text in lines:
        try:
            yield producer.message(type_, text)
        except RejectedError as error:
            before = (
                f"{plural(sent, 'event')} before it went out; this and the rest did not" if sent else "nothing was sent"
            )
            raise RejectedError(f"line {number:,}: {error}. {before}", slug=error.slug) from error


# -- sending ----------------------------------------------------------------------------------------------------------


def _one(producer: _Producer, message: Message, desk: Desk | None, wait_s: float, *, as_json: bool) -> int:
    _warn_unhandled(producer, message.type)
    sent = producer.send([message])[0]
    same = sent.duplicate_of is not None and sent.position == sent.duplicate_of
    told: dict[str, object] = {
        "id": message.id, "type": message.type, "source": message.source, "stream": producer.stream,
        "position": sent.position, "duplicate": same,
    }  # fmt: skip
    if not as_json:
        place = "confirmed" if sent.position is None else f"at position {sent.position:,}"
        text = f"{clean(message.type)} {clean(message.id)} {place}"
        say(f"{text}: there already, nothing stored" if same else text)
    if sent.duplicate_of is not None and not same:
        note(
            f"warning[id-twice] this id is at position {sent.duplicate_of:,} with other bytes: workers will reject "
            f"the new "
            "event. Ids must be unique per source."
        )
    status = YES
    if desk is not None:
        state = _waited(desk, message, sent.position, wait_s)
        status = _status(state)
        if status == NOT_YET:
            _warn_elsewhere(producer)
        told |= {"status": state.status, "reason": state.reason, "handlers": dict(state.handlers)}
        if not as_json:
            say(_told(state, wait_s))
    if as_json:
        say_json(told)
    return status


def _many(producer: _Producer, source: _Lines, type_: str, desk: Desk | None, wait_s: float, *, as_json: bool) -> int:
    began_s = time.monotonic()
    _warn_unhandled(producer, type_)
    first: int | None = None
    last: int | None = None
    count = 0
    pending: list[tuple[Message, int | None]] = []
    file = source.open()
    try:
        with _Progress(source.path) as progress:
            lines = _numbered(progress.watching(file))
            while chunk := list(islice(lines, BATCH_EVENTS)):
                messages = list(_checked(producer, type_, chunk, count))
                sent = producer.send(messages)
                first = sent[0].position if first is None else first
                last = sent[-1].position
                count += len(messages)
                progress.sent(count)
                if desk is not None:
                    pending += [(m, one.position) for m, one in zip(messages, sent, strict=True)]
    finally:
        if source.path is not None:
            file.close()
    if not count:
        raise UsageError(f"{source.path or 'stdin'} holds no event", slug="event-data")
    took_s = time.monotonic() - began_s
    outcomes, status = _outcomes(desk, pending, wait_s)
    if status == NOT_YET:
        _warn_elsewhere(producer)
    if as_json:
        told: dict[str, object] = {"events": count, "first": first, "last": last, "took_s": round(took_s, 3)}
        say_json(told | ({"outcomes": outcomes} if desk is not None else {}))
    else:
        where = f", positions {first:,} to {last:,}" if first is not None and last is not None else ""
        say(f"{plural(count, 'event')} published{where}, in {span(took_s)}")
        if desk is not None:
            say(", ".join(f"{number:,} {name}" for name, number in outcomes.items()) or "nothing to wait for")
    return status


class _Progress:
    """A bar on a terminal, on stderr; nothing elsewhere."""

    def __init__(self, path: Path | None) -> None:
        self._line = Passing()
        self._size_bytes = 0 if path is None else os.path.getsize(path)  # noqa: PTH202
        self._read_bytes = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._line.wipe()

    def watching(self, file: Iterable[bytes]) -> Iterator[bytes]:
        for line in file:
            self._read_bytes += len(line)
            yield line

    def sent(self, count: int) -> None:
        bar = ""
        if self._size_bytes:
            part = min(1.0, self._read_bytes / self._size_bytes)
            bar = f"{'#' * round(20 * part):<20} {part:4.0%}  "
        self._line.say(f"  {bar}{plural(count, 'event')}")


# -- waiting ----------------------------------------------------------------------------------------------------------


def _waited(desk: Desk, message: Message, position: int | None, wait_s: float) -> State:
    end_s = time.monotonic() + wait_s
    while True:
        desk.look()
        state = desk.state(message.id, position, message.type)
        left_s = end_s - time.monotonic()
        if state.outcome is not None or left_s <= 0:
            return state
        time.sleep(min(POLL_S, left_s))


def _warn_elsewhere(producer: _Producer) -> None:
    """Nothing was heard of an event: because nothing happened, or because another store is told."""
    assert producer.link is not None
    if producer.receiving is not None:
        return
    try:
        held = claimed(producer.url, producer.reader)
    except (NotReachableError, UsageError):
        return
    own = producer.link.file.read(identity)
    if held is not None and (own is None or held != shown(own)):
        note(
            f"warning[other-store] workers of {clean(producer.reader)} use {clean(held)}, and what becomes of events "
            'is told there. Have it told here too: App(receipts="NAME.receipts"), a name of this producer\'s own; or '
            "ask where that store lies, or give all one: --db postgresql://HOST/DATABASE"
        )


def _outcomes(
    desk: Desk | None, pending: Sequence[tuple[Message, int | None]], wait_s: float
) -> tuple[dict[str, int], int]:
    """How many events ended how, and the exit status for all together."""
    if desk is None:
        return {}, YES
    end_s = time.monotonic() + wait_s
    counts: dict[str, int] = {}
    statuses = {YES}
    for message, position in pending:
        state = _waited(desk, message, position, max(0.0, end_s - time.monotonic()))
        counts[state.status] = counts.get(state.status, 0) + 1
        statuses.add(_status(state))
    return counts, NO if NO in statuses else max(statuses)


def _status(state: State) -> int:
    if state.outcome is None:
        return NOT_YET
    return YES if state.status == "processed" else NO


def _told(state: State, wait_s: float) -> str:
    reason = f": {clean(state.reason)}" if state.reason else ""
    if state.outcome is not None:
        return f"{state.status}{reason}"
    return f"not yet after {span(wait_s)}: {state.status}{reason}"
