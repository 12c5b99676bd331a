"""An app whose final state tells in which sequence its events ran, and the same computed serially from the log.

Every account is a number into which each event that touches it is stirred: two events in the wrong sequence, one
that is missing, or one that ran twice give another number. So equality with `serial` is the whole oracle, and the
table of effects says what went wrong.

    Move   two accounts are written and mixed; some send a Note; a second handler notes it in a ledger of its own
    Note   one account is written (children come back as events of the same log)
    Tally  one total is added to, by a `def` handler
    Link   sends a Linked; `publishes=` keeps those in log sequence, though Links themselves are independent
    Poison ends the process, once everything that can run beside it does

Invariant: the table of effects has no unique column, so that a second run shows.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable
from zlib import crc32

from commute import App, Context, Event, Limits, Retry, Rows

TABLES = (
    "create table if not exists effect (n integer primary key, event text, handler text, position integer, key text)",
    "create table if not exists account (key text primary key, value integer, changes integer)",
    "create table if not exists total (key text primary key, value integer)",
)
PRIME = (1 << 61) - 1
NOTE_EVERY = 7  # moves between two that send a Note
FAIL_EVERY = 13  # moves between two whose first attempt fails in the middle of its block

Effects = dict[str, int]


class Move(Event):
    left: str
    right: str
    n: int


class Note(Event):
    key: str
    n: int


class Tally(Event):
    key: str
    n: int


class Link(Event):
    key: str
    n: int


class Linked(Event):
    key: str
    n: int


class Poison(Event):
    n: int


def stir(value: int, number: int) -> int:
    """A number that depends on both and on their sequence."""
    return (value * 6_364_136_223_846_793_005 + number + 1) % PRIME


def _effect(tx: Rows, ctx: Context[None], handler: str, *keys: str) -> None:
    for key in keys:
        tx.execute(
            "insert into effect (event, handler, position, key) values (?, ?, ?, ?)",
            (ctx.event_id, handler, ctx.position, key),
        )


def _value(tx: Rows, key: str) -> int:
    rows = tx.execute("select value from account where key = ?", (key,))
    return int(str(rows[0][0])) if rows else 0


def _store(tx: Rows, key: str, value: int) -> None:
    tx.execute(
        "insert into account values (?, ?, 1) on conflict (key) do update set value = excluded.value,"
        " changes = account.changes + 1",
        (key, value),
    )


def make_app(
    url: str,
    *,
    deaths_max: int,
    ran: Callable[[], None] = lambda: None,
    concurrency: int = 32,
    db: str | None = None,
) -> App[None]:
    """The app on the broker at `url`; `ran` is called after each effect of a Move."""
    app: App[None] = App("accounts", url, db=db, limits=Limits(deaths_max=deaths_max), concurrency=concurrency)
    soon = Retry(first_s=0.002, max_s=0.01)

    @app.on(Move, writes=("account/{left}", "account/{right}"), retry=soon)
    async def move(event: Move, ctx: Context[None]) -> None:
        await asyncio.sleep((crc32(ctx.event_id.encode()) % 4) / 1000)  # so that independent ones end as they like
        async with ctx.transaction() as tx:
            left, right = _value(tx, event.left), _value(tx, event.right)
            _store(tx, event.left, stir(left, right + event.n))
            if event.n % FAIL_EVERY == 0 and ctx.attempt == 1:
                raise OSError("in the middle of the block")
            _store(tx, event.right, stir(right, left - event.n))
            _effect(tx, ctx, "move", event.left, event.right)
            if event.n % NOTE_EVERY == 0:
                ctx.publish(Note(key=event.right, n=event.n))
        ran()

    @app.on(Move, writes="ledger/{left}", retry=soon)
    async def ledger(event: Move, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            _store(tx, f"ledger {event.left}", stir(_value(tx, f"ledger {event.left}"), event.n))
            _effect(tx, ctx, "ledger", f"ledger {event.left}")

    @app.on(Note, writes="account/{key}", retry=soon)
    async def note(event: Note, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            _store(tx, event.key, stir(_value(tx, event.key), event.n))
            _effect(tx, ctx, "note", event.key)

    @app.on(Tally, adds="total/{key}", retry=soon)
    def tally(event: Tally, ctx: Context[None]) -> None:
        with ctx.transaction() as tx:
            tx.execute(
                "insert into total values (?, ?) on conflict (key) do update set value = total.value + excluded.value",
                (event.key, event.n),
            )
            _effect(tx, ctx, "tally", "")

    @app.on(Link, writes=(), publishes="chain/{key}", retry=soon)
    async def link(event: Link, ctx: Context[None]) -> None:
        await asyncio.sleep((crc32(ctx.event_id.encode()) % 5) / 1000)
        async with ctx.transaction() as tx:
            _effect(tx, ctx, "link", "")
            ctx.publish(Linked(key=event.key, n=event.n))

    @app.on(Linked, writes="chain/{key}", retry=soon)
    async def linked(event: Linked, ctx: Context[None]) -> None:
        async with ctx.transaction() as tx:
            _store(tx, f"chain {event.key}", stir(_value(tx, f"chain {event.key}"), event.n))
            _effect(tx, ctx, "linked", f"chain {event.key}")

    @app.on(Poison, writes="poison/{n}", retry=soon)
    async def poison(event: Poison, ctx: Context[None]) -> None:
        await asyncio.sleep(0.002)  # the others have begun meanwhile
        os._exit(9)

    return app


def handlers_of(type_: str) -> tuple[str, ...]:
    return ("move", "ledger") if type_ == "move" else (type_,)


def serial(log: Iterable[tuple[str, bytes]]) -> tuple[Effects, Effects]:
    """(accounts, totals) after the events, given as type and data, were run one after the other."""
    accounts: Effects = {}
    totals: Effects = {}
    for type_, data in log:
        event = json.loads(data)
        n = event["n"]
        if type_ == "move":
            left, right = accounts.get(event["left"], 0), accounts.get(event["right"], 0)
            accounts[event["left"]] = stir(left, right + n)
            accounts[event["right"]] = stir(right, left - n)
            key = f"ledger {event['left']}"
            accounts[key] = stir(accounts.get(key, 0), n)
        elif type_ == "note":
            accounts[event["key"]] = stir(accounts.get(event["key"], 0), n)
        elif type_ == "tally":
            totals[event["key"]] = totals.get(event["key"], 0) + n
        elif type_ == "linked":
            key = f"chain {event['key']}"
            accounts[key] = stir(accounts.get(key, 0), n)
    return accounts, totals
