"""Apps with a footprint that is wrong in one way, and apps that are right, for the two-order test.

Each entry is a maker of an app and the events to try; the last two of them are the pair. State outside the store is in
`World`, which `clear` empties.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from commute import App, Context, Event


class Put(Event):
    key: str
    other: str = "o"
    n: int = 1


class Take(Event):
    key: str
    other: str = "o"
    n: int = 1


class Done(Event):
    key: str
    n: int = 0


@dataclass
class World:
    """State that no database guards."""

    values: dict[str, int] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def clear(self) -> None:
        self.values.clear()
        self.lists.clear()

    def look(self) -> object:
        return dict(self.values), {name: list(items) for name, items in self.lists.items()}


WORLD = World()
TABLES = (
    "CREATE TABLE stock(sku TEXT PRIMARY KEY, quantity INTEGER)",
    "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER)",
    "CREATE TABLE entry(id INTEGER PRIMARY KEY, account TEXT, amount INTEGER)",
    "CREATE TABLE invoice(n INTEGER, key TEXT)",
    "CREATE TABLE name(name TEXT PRIMARY KEY, owner TEXT)",
    "CREATE TABLE pointer(key TEXT, entry INTEGER)",
    "INSERT INTO stock VALUES('a', 1), ('b', 1)",
    "INSERT INTO account VALUES('x', 10), ('y', 10)",
)


@dataclass(frozen=True)
class Case:
    """`make` gives the app; `events` are tried."""

    name: str
    make: Callable[[], App[Any]]
    events: Sequence[object]


Body = Callable[..., Any]
WRONG: list[Case] = []
RIGHT: list[Case] = []


def case(where: list[Case], *events: object, **keys: Any) -> Callable[[Body], Body]:
    """Registers a handler for Put, Take and Done under `keys`, as one case."""

    def register(body: Body) -> Body:
        def make() -> App[Any]:
            app: App[Any] = App("planted", "memory://")
            app.on(Put, Take, **keys)(body)
            return app

        where.append(Case(body.__name__, make, events))
        return body

    return register


# -- wrong: said to be independent, and not -------------------------------------------------------------------------


@case(WRONG, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def last_writer_wins(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET quantity = ? WHERE sku = 'a'", (int(event.key),))


@case(WRONG, Put(key="1"), Put(key="2"), adds="counter")
def lost_update_in_a_thread(event: Put | Take) -> None:
    known = WORLD.values.get("n", 0)
    WORLD.values["n"] = known + 1


def count_one() -> None:
    known = WORLD.values.get("n", 0)
    WORLD.values["n"] = known + 1


@case(WRONG, Put(key="1"), Put(key="2"), adds="counter")
def lost_update_in_a_function(event: Put | Take) -> None:
    count_one()


@case(WRONG, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def succeeds_only_after_the_other(event: Put | Take) -> None:
    """A second attempt would hide it."""
    if event.key == "2" and "1" not in WORLD.values:
        raise ValueError("not yet")
    WORLD.values[event.key] = 1


@case(WRONG, Put(key="1"), Put(key="2"), adds="counter")
async def lost_update_over_an_await(event: Put | Take) -> None:
    known = WORLD.values.get("n", 0)
    await asyncio.sleep(0.01)
    WORLD.values["n"] = known + 1


@case(WRONG, Put(key="x"), Put(key="y"), writes="account/{key}")
async def write_skew(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        ((total,),) = tx.execute("SELECT sum(balance) FROM account")
        assert isinstance(total, int)
        if total >= 20:
            tx.execute("UPDATE account SET balance = balance - 15 WHERE id = ?", (event.key,))


@case(WRONG, Put(key="1"), Put(key="2"), writes="person/{key}")
async def unique_collision(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT INTO name VALUES('taken', ?)", (event.key,))


@case(WRONG, Put(key="1"), Put(key="2"), writes="person/{key}")
async def first_one_wins(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT OR IGNORE INTO name VALUES('taken', ?)", (event.key,))


@case(WRONG, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def number_from_max(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT INTO invoice SELECT coalesce(max(n), 0) + 1, ? FROM invoice", (event.key,))


@case(WRONG, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def generated_id_that_is_kept(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT INTO entry(account, amount) VALUES(?, 1)", (event.key,))
        ((number,),) = tx.execute("SELECT last_insert_rowid()")
        tx.execute("INSERT INTO pointer VALUES(?, ?)", (event.key, number))


@case(WRONG, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def generated_id_that_is_published(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT INTO entry(account, amount) VALUES(?, 1)", (event.key,))
        ((number,),) = tx.execute("SELECT last_insert_rowid()")
        assert isinstance(number, int)
        ctx.publish(Done(key=event.key, n=number))


@case(WRONG, Put(key="1"), Put(key="2"), adds="stock/a")
async def guarded_decrement(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET quantity = quantity - 1 WHERE sku = 'a' AND quantity >= 1")
        if tx.changes:
            ctx.publish(Done(key=event.key))


@case(WRONG, Put(key="a"), Take(key="a"), writes="thing/{key}/{n}", reads="nothing")
async def two_types_one_row(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        value = 5 if isinstance(event, Put) else 7
        tx.execute("UPDATE stock SET quantity = ? WHERE sku = ?", (value, event.key))


WRONG[-1] = Case("two_types_one_row", WRONG[-1].make, [Put(key="a", n=1), Take(key="a", n=2)])


@case(WRONG, Put(key="1", other="s"), Put(key="2", other="s"), writes="thing/{key}")
async def shared_parent(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT OR REPLACE INTO name VALUES(?, ?)", (event.other, event.key))


@case(WRONG, Put(key="1"), Put(key="2"), reads="thing/{key}")
async def reader_that_writes(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET quantity = quantity * 2 + ? WHERE sku = 'a'", (int(event.key),))


@case(WRONG, Put(key="1"), Put(key="2"), adds="list")
async def append_is_no_add(event: Put | Take) -> None:
    WORLD.lists.setdefault("all", []).append(event.key)


@case(WRONG, Put(key="1"), Put(key="2"), writes=())
async def touches_nothing_it_says(event: Put | Take) -> None:
    WORLD.values["last"] = int(event.key)


@case(WRONG, Put(key="B"), Put(key="b"), writes="name/{key}")
async def keys_that_differ_by_case(event: Put | Take) -> None:
    WORLD.lists[event.key.lower()] = [event.key]


@case(WRONG, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def count_of_all(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        ((count,),) = tx.execute("SELECT count(*) FROM invoice")
        tx.execute("INSERT INTO invoice VALUES(?, ?)", (count, event.key))


@case(WRONG, Put(key="1"), Put(key="2"), writes="thing/{key}")
def check_then_act_in_a_thread(event: Put | Take) -> None:
    free = "seat" not in WORLD.values
    if free:
        WORLD.values["seats"] = WORLD.values.get("seats", 0) + 1
        WORLD.values["seat"] = 1


@case(WRONG, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def fails_unless_first(event: Put | Take) -> None:
    if WORLD.values.get("first", event.key) != event.key:
        raise ValueError("not the first")
    WORLD.values["first"] = event.key  # type: ignore[assignment]


@case(WRONG, Put(key="x"), Take(key="x"), commutes={"max": "account/{key}"})
async def max_and_add_are_two_classes(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        if isinstance(event, Put):
            tx.execute("UPDATE account SET balance = max(balance, 12) WHERE id = ?", (event.key,))
        else:
            tx.execute("UPDATE account SET balance = balance + 5 WHERE id = ?", (event.key,))


def publishing(**keys: Any) -> Callable[[], App[Any]]:
    """Makes apps whose events bring about others that depend on each other."""

    def make() -> App[Any]:
        app: App[Any] = App("planted", "memory://")

        @app.on(Put, writes="thing/{key}", **keys)
        def put(event: Put, ctx: Context) -> None:
            ctx.publish(Done(key=event.other, n=int(event.key)))

        @app.on(Done, writes="done/{key}")
        async def done(event: Done) -> None:
            WORLD.lists.setdefault(event.key, []).append(str(event.n))

        return app

    return make


PARENTS = (Put(key="1"), Put(key="2"))
WRONG.append(Case("emission_sequence", publishing(), PARENTS))

# -- right: nothing to complain about -----------------------------------------------------------------------------

RIGHT.append(Case("emission_sequence_that_is_kept", publishing(publishes="to/{other}"), PARENTS))


@case(RIGHT, Put(key="a"), Put(key="b"), writes="stock/{key}")
async def rows_of_their_own(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET quantity = quantity * 3 + 1 WHERE sku = ?", (event.key,))


@case(RIGHT, Put(key="a", n=2), Put(key="a", n=3), adds="stock/{key}")
async def adds_to_one_row(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET quantity = quantity + ? WHERE sku = ?", (event.n, event.key))


@case(RIGHT, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def generated_ids_that_nobody_looks_at(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT INTO entry(account, amount) VALUES(?, 1)", (event.key,))


@case(RIGHT, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def emissions_of_independent_events(event: Put | Take, ctx: Context) -> None:
    ctx.publish(Done(key=event.key))


@case(RIGHT, Put(key="1"), Put(key="2"), reads="stock/a", writes="thing/{key}")
async def readers_of_one_row(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        ((quantity,),) = tx.execute("SELECT quantity FROM stock WHERE sku = 'a'")
        tx.execute("INSERT INTO invoice VALUES(?, ?)", (quantity, event.key))


@case(RIGHT, Put(key="1"), Put(key="2"), writes="thing/{key}")
def own_values_in_a_thread(event: Put | Take) -> None:
    known = WORLD.values.get(event.key, 0)
    WORLD.values[event.key] = known + 1


@case(RIGHT, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def own_values_over_an_await(event: Put | Take) -> None:
    known = WORLD.values.get(event.key, 0)
    await asyncio.sleep(0.01)
    WORLD.values[event.key] = known + 1


@case(RIGHT, Put(key="1"), Put(key="2"), writes="name/{key}")
async def names_of_their_own(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT OR REPLACE INTO name VALUES(?, 'me')", (event.key,))


@case(RIGHT, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def fails_by_itself(event: Put | Take) -> None:
    raise ValueError(event.key)


@case(RIGHT, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def ids_from_the_event(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT INTO name VALUES(?, ?)", (ctx.event_id, str(ctx.random.random())))


@case(RIGHT, Put(key="1"), Put(key="2"), writes=())
async def touches_nothing(event: Put | Take) -> None:
    await asyncio.sleep(0.01)


@case(RIGHT, Put(key="x", n=3), Take(key="x", n=4), adds="account/{key}")
async def adds_of_two_types(event: Put | Take, ctx: Context) -> None:
    amount = event.n if isinstance(event, Put) else -event.n
    async with ctx.transaction() as tx:
        tx.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, event.key))


@case(RIGHT, Put(key="x", n=30), Put(key="x", n=40), commutes={"max": "account/{key}"})
async def maxima_of_one_row(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE account SET balance = max(balance, ?) WHERE id = ?", (event.n, event.key))


@case(RIGHT, Put(key="1"), Put(key="2"), writes="thing/{key}")
async def the_time_is_the_same(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT INTO name VALUES(?, ?)", (event.key, str(ctx.time)))


@case(RIGHT, Put(key="1", other="a"), Put(key="2", other="b"), writes="stock/{other}")
async def the_row_of_another_field(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET quantity = ? WHERE sku = ?", (int(event.key), event.other))


@case(RIGHT, Put(key="a"), Put(key="a"), Put(key="b"), writes="stock/{key}")
async def what_conflicts_is_not_tried(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET quantity = quantity * 2 + 1 WHERE sku = ?", (event.key,))


@case(RIGHT, Put(key="1"), Put(key="2"), adds="set")
async def union_of_sets(event: Put | Take) -> None:
    WORLD.lists["all"] = sorted({*WORLD.lists.get("all", []), event.key})


@case(RIGHT, Put(key="1"), Put(key="2"), writes="thing/{key}")
def delete_of_ones_own(event: Put | Take) -> None:
    WORLD.values[event.key] = 1
    del WORLD.values[event.key]


@case(RIGHT, Put(key="1"), Take(key="2"), writes="thing/{key}")
async def children_that_do_not_meet(event: Put | Take, ctx: Context) -> None:
    if isinstance(event, Put):
        ctx.publish(Take(key="30"))
    WORLD.values[event.key] = 1


@case(RIGHT, Put(key="x"), Put(key="y"), reads="account", writes="thing/{key}")
async def readers_of_a_table(event: Put | Take, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        ((total,),) = tx.execute("SELECT sum(balance) FROM account")
        tx.execute("INSERT INTO name VALUES(?, ?)", (event.key, str(total)))
