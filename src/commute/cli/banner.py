"""What a worker says before it begins: broker, store, limits, the table of handlers, and what is probably not meant.

Invariant: everything here is read from the app and the store; showing it changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from commute import __version__
from commute.cli.derivation import not_followed, proposals
from commute.cli.output import clean, paint, plural, size, table, warning_text
from commute.core.footprint import ADD, READ, WRITE
from commute.core.retry import describe
from commute.core.watermark import BLOCK_POSITIONS, BLOCK_SHIFT
from commute.errors import UsageError
from commute.footprints.declared import Declared
from commute.footprints.template import Site, Template, check
from commute.link import promises_of
from commute.store.reading import count_dead, find_scope, read_partitions

if TYPE_CHECKING:
    from commute.app import App
    from commute.cloudevents import PlainJson
    from commute.database import Connection
    from commute.handler import Handler, HandlerEvent
    from commute.link import BrokerUrl, Link


def banner(app: App[Any], link: Link, *, from_end: bool) -> str:
    """The lines before "ready in": see docs/cli.md."""
    limits = app.limits
    to_do, parked = counts(app, link, from_end=from_end)
    store = app.db or app.url
    lines = [
        f"commute {__version__}  {clean(app.name)}  pid {os.getpid()}",
        f"  broker   {clean(app.url.text)}  stream {clean(app.url.stream)}, group {clean(app.group)}: {to_do:,} to do, "
        f"{parked:,} parked",
        *server_lines(app.url, app.decode),
        f"  db       {clean(store.text)}  (inbox, outbox, attempts, dead letters)",
        f"  limits   {plural(app.concurrency, 'handler')} at once, {plural(limits.descriptors_max, 'event')} or "
        f"{size(limits.payload_bytes_max)} looked ahead",
        *handler_table(app.handlers),
        *(warning_text(warning, sys.stderr) for warning in app.check()),
        *undeclared(app.handlers, proposals(app)),
    ]
    return "\n".join(lines)


def server_lines(url: BrokerUrl, decode: PlainJson | None) -> Iterator[str]:
    """Where a broker server's stream is journalled, what that server does not promise, and what is known of events of
    foreign producers that come again."""
    if url.server is None:
        return
    promises = promises_of(url)
    reach = "" if url.file is None else "this machine only; "
    yield f"  journal  {clean(url.place)}  ({reach}acknowledged to {promises.name} once it is there)"
    if promises.note:
        yield f"  promise  {clean(promises.note)}"
    if decode is None or decode.id is not None:
        return
    if promises.stable_id:
        yield f"  ids      a body without one is known as {promises.stable_id}, the same whenever it comes again"
        return
    own = f"the producer sets {promises.own_id}, or " if promises.own_id else ""
    yield (
        f"  ids      at least once only: a body without one is a new event each time {promises.name} delivers it. "
        f'Remedy: {own}a field of the body holds it: PlainJson(id="FIELD")'
    )


def counts(app: App[Any], link: Link, *, from_end: bool = False) -> tuple[int, int]:
    """(events that this group has still to do, parked events)."""
    log = link.transport()
    last = log.last_position()
    mark = next((state.watermark for state in log.groups() if state.group == app.group), None)
    scope = link.file.read(lambda c: find_scope(c, app.group, app.url.stream))
    if scope is None:
        if mark is None:
            first = last + 1 if from_end else next((d.position for d in log.range(1, last)[:1]), last + 1)
            mark = first
        return last - mark + 1, 0
    settled = link.file.read(lambda c: settled_beyond(c, scope, mark or 1))
    parked = link.file.read(lambda c: count_dead(c, scope)).get("parked", 0)
    return max(0, last - (mark or 1) + 1 - settled), parked


def settled_beyond(connection: Connection, scope: int, position: int) -> int:
    """How many positions from `position` on the store knows to be settled; one partition."""
    count = 0
    for state in read_partitions(connection, scope):
        count += max(0, state.watermark - position)
        first = max(state.watermark, position)
        for block, data in state.blocks:
            bits = int.from_bytes(data, "little")
            start = block << BLOCK_SHIFT
            if start + BLOCK_POSITIONS > first:
                count += (bits >> max(0, first - start)).bit_count()
    return count


def handler_table(handlers: Sequence[Handler]) -> list[str]:
    """A line for every handler and event type: what it touches, what happens when it fails, and who says what it
    touches."""
    head = ["HANDLER", "EVENT", "READS", "WRITES", "ADDS"]
    pairs = [(handler, event) for handler in handlers for event in handler.events]
    named = any(_named(event.declared) for _, event in pairs)
    head += ["COMMUTES", "FAILS", "FOOTPRINT"] if named else ["FAILS", "FOOTPRINT"]
    rows = []
    for handler, event in pairs:
        declared = event.declared
        if declared.everything:
            touched = ["EVERYTHING", "", ""]
        elif declared.unordered:
            touched = ["unordered" if handler.unordered else "nothing", "", ""]
        else:
            touched = [declared.shown(READ), declared.shown(WRITE), declared.shown(ADD)]
        fails = f"{describe(handler.retry)}, {handler.on_exhausted}"
        others = [_named(declared)] if named else []
        rows.append([handler.name, event.type, *touched, *others, fails, _origin(declared)])
    return table(head, rows)


def _origin(declared: Declared) -> str:
    """Who says what is touched: ``declared``, ``derived``, or nobody."""
    if declared.everything:
        return "EVERYTHING"
    return "declared" if declared.derivation is None else "derived"


def _named(declared: Declared) -> str:
    """The application's own commutative classes: ``max: price/{sku}``."""
    known = declared.modes if declared.derivation is None else [key.mode for key in declared.derivation.keys]
    others = dict.fromkeys(mode for mode in known if mode not in (READ, WRITE, ADD))
    return ", ".join(f"{mode}: {declared.shown(mode)}" for mode in others)


def undeclared(handlers: Sequence[Handler], proposals: Callable[[Handler, HandlerEvent], str | None]) -> Iterator[str]:
    """A warning for each handler that declares nothing, with the line that would probably be right."""
    word = paint("warning:", "warning", sys.stderr)
    unread = False
    for handler in handlers:
        for event in handler.events:
            if event.declared.everything and event.declared.derivation is not None:
                yield from not_followed(handler, event)
            elif event.declared.everything:
                head = (
                    f"{word} {handler.name} ({clean(event.type)}) declares nothing, so each run waits for all before "
                    "it and holds all after it. If it touches only"
                )
                cls = event.codec.cls
                name = cls.__name__ if cls is not None else f'"{clean(event.type)}"'
                found = _likely(event, handlers)
                line = proposals(handler, event)
                unread = unread or line is None
                if line:
                    yield f"{head} what its\n  code says: @app.on({name}, {line})   {clean(handler.where)}"
                elif found is None:
                    yield f'{head}\n  some keys: @app.on({name}, writes="...")   {clean(handler.where)}'
                else:
                    noun = found.segments[0][0]
                    yield f'{head} its\n  {noun}: @app.on({name}, writes="{found}")   {clean(handler.where)}'
    if unread:
        yield '  what their code says is printed here once it can be read: pip install "commute[derive]"'


def _likely(event: HandlerEvent, handlers: Sequence[Handler]) -> Template | None:
    """A key that another handler writes and that this event has the fields for."""
    for handler in handlers:
        for other in handler.events:
            for mode, template in other.declared.templates:
                if mode == WRITE and template.fields and isinstance(template.segments[0][0], str):
                    try:
                        check(template, event.codec.cls, Site(handler.name, "writes"))
                    except UsageError:
                        continue  # this event has no such field
                    if event.codec.cls is not None:
                        return template
    return None
