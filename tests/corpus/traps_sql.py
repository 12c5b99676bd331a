"""Traps for whoever reads SQL: each has events that meet where the text does not say so at first sight."""

from __future__ import annotations

from typing import Any

from commute import App, Context, Event
from tests.corpus.case import Options, case
from tests.corpus.styles_sql import TABLES, Counted, Line, Paid, Shipped, Visited, ordered


class Named(Event):
    number: int
    email: str


class Texted(Event):
    order: str  # digits as text
    word: str


class Moved(Event):
    first: str
    second: str
    swap: bool = False


@case(
    "one-table-under-two-keys",
    trap=True,
    tables=TABLES,
    dependent=[(Visited(email="a@x"), Named(number=1, email="c@x"))],
    independent=[],
    reach="table",
)
def one_table_under_two_keys(app: App[Any], options: Options) -> None:
    @app.on(Visited, **options)
    async def visit(event: Visited, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE person SET visits = 1 WHERE email = ?", (event.email,))

    @app.on(Named, **options)
    async def name(event: Named, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE person SET email = ?, visits = visits * 5 WHERE id = ?", (event.email, event.number))


@case(
    "parameters-in-another-sequence",
    trap=True,
    tables=TABLES,
    dependent=[(Moved(first="x", second="tea"), Moved(first="y", second="tea"))],
    independent=[(Moved(first="tea", second="tea"), Moved(first="tea", second="mug"))],
)
def parameters_in_another_sequence(app: App[Any], options: Options) -> None:
    """The key is the last parameter of the text, and a LIMIT stands before it in a subquery."""

    @app.on(Moved, **options)
    async def move(event: Moved, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(
                "UPDATE stock SET quantity = (SELECT length(?) FROM orders LIMIT ?) + quantity * 2 WHERE sku = ?",
                (event.first + ctx.event_id, 1, event.second),
            )
            tx.execute(
                "INSERT INTO payment SELECT ?, 0, quantity FROM stock WHERE sku = ?", (ctx.event_id, event.second)
            )


@case(
    "digits-as-text",
    trap=True,
    tables=TABLES,
    dependent=[(Texted(order="1", word="a"), Texted(order="01", word="b"))],
    independent=[(Texted(order="1", word="a"), Texted(order="2", word="b"))],
)
def digits_as_text(app: App[Any], options: Options) -> None:
    """An INTEGER column turns '01' into 1."""

    @app.on(Texted, **options)
    async def take(event: Texted, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = ? WHERE id = ?", (event.word, event.order))


@case(
    "replace-through-another-unique-key",
    trap=True,
    tables=TABLES,
    dependent=[(Named(number=8, email="z@x"), Named(number=9, email="z@x"))],
    independent=[],
    reach="table",
)
def replace_through_another_key(app: App[Any], options: Options) -> None:
    """REPLACE deletes whatever row has the same e-mail."""

    @app.on(Named, **options)
    async def name(event: Named, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("INSERT OR REPLACE INTO person VALUES(?, ?, 0)", (event.number, event.email))


@case(
    "unique-column-is-taken",
    trap=True,
    tables=TABLES,
    dependent=[(Named(number=1, email="z@x"), Named(number=2, email="z@x"))],
    independent=[],
    reach="table",
)
def unique_column_is_taken(app: App[Any], options: Options) -> None:
    @app.on(Named, **options)
    async def name(event: Named, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE person SET email = ? WHERE id = ?", (event.email, event.number))


TRIGGERED = (
    *TABLES,
    "CREATE TABLE tally(word TEXT, n INTEGER)",
    "INSERT INTO tally VALUES('paid', 0)",
    "CREATE TRIGGER tallied AFTER UPDATE OF status ON orders BEGIN UPDATE tally SET n = n * 2 + new.id; END",
)


@case(
    "trigger",
    trap=True,
    tables=TRIGGERED,
    dependent=[(Paid(order_id=1), Paid(order_id=2))],
    independent=[],
    reach="table",
)
def trigger(app: App[Any], options: Options) -> None:
    @app.on(Paid, **options)
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (event.order_id,))


VIEWED = (*TABLES, "CREATE VIEW open_orders AS SELECT id, customer, total FROM orders WHERE status = 'new'")


@case(
    "view",
    trap=True,
    tables=VIEWED,
    dependent=[(Paid(order_id=1), Counted(customer=7))],
    independent=[(Counted(customer=7), Counted(customer=8))],
    reach="table",
)
def view(app: App[Any], options: Options) -> None:
    @app.on(Paid, **options)
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (event.order_id,))

    @app.on(Counted, **options)
    async def count(event: Counted, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            ((n,),) = tx.execute("SELECT count(*) FROM open_orders WHERE customer = ?", (event.customer,))
            tx.execute("INSERT INTO payment VALUES(?, 0, ?)", (ctx.event_id, n))


@case(
    "common-table-expression",
    trap=True,
    tables=TABLES,
    dependent=[(Paid(order_id=1), Counted(customer=7))],
    independent=[],
    reach="table",
)
def common_table_expression(app: App[Any], options: Options) -> None:
    @app.on(Paid, **options)
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET total = total * 3 + 1 WHERE id = ?", (event.order_id,))

    @app.on(Counted, **options)
    async def count(event: Counted, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(
                "WITH mine AS (SELECT total FROM orders WHERE customer = ?) "
                "INSERT INTO payment SELECT ?, 0, sum(total) FROM mine",
                (event.customer, ctx.event_id),
            )


@case(
    "count-of-an-add-is-used",
    trap=True,
    tables=TABLES,
    dependent=[(Line(sku="new"), ordered(1, 7, "new"))],
    independent=[(Line(sku="tea"), ordered(1, 7, "new"))],
)
def count_of_an_add_is_used(app: App[Any], options: Options) -> None:
    """Whether the addition met a row decides what comes next."""

    @app.on(Line, **options)
    async def add(event: Line, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE stock SET quantity = quantity + 1 WHERE sku = ?", (event.sku,))
            if not tx.changes:
                tx.execute("INSERT INTO payment VALUES(?, 0, 0)", (ctx.event_id,))

    @app.on(type(ordered(1, 1)), **options)
    async def upsert(event: Any, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for line in event.lines:
                tx.execute("INSERT OR IGNORE INTO stock VALUES(?, 0)", (line.sku,))


@case(
    "addition-that-is-returned",
    trap=True,
    tables=TABLES,
    dependent=[(Line(sku="tea"), Line(sku="tea"))],
    independent=[(Line(sku="tea"), Line(sku="mug"))],
)
def addition_that_is_returned(app: App[Any], options: Options) -> None:
    @app.on(Line, **options)
    async def add(event: Line, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            rows = tx.execute("UPDATE stock SET quantity = quantity + 1 WHERE sku = ? RETURNING quantity", (event.sku,))
            for (quantity,) in rows:
                tx.execute("INSERT INTO payment VALUES(?, 0, ?)", (ctx.event_id, quantity))


@case(
    "either-of-two-keys",
    trap=True,
    tables=TABLES,
    dependent=[(Moved(first="tea", second="mug", swap=True), Moved(first="mug", second="tea"))],
    independent=[(Moved(first="tea", second="tea"), Moved(first="mug", second="mug"))],
)
def either_of_two_keys(app: App[Any], options: Options) -> None:
    @app.on(Moved, **options)
    async def move(event: Moved, ctx: Context) -> None:
        key = event.second if event.swap else event.first
        async with ctx.transaction() as tx:
            tx.execute("UPDATE stock SET quantity = quantity * 2 + ? WHERE sku = ?", (len(ctx.event_id), key))
            tx.execute("INSERT INTO payment SELECT ?, 0, quantity FROM stock WHERE sku = ?", (ctx.event_id, key))


@case(
    "key-made-of-two-fields",
    trap=True,
    tables=TABLES,
    dependent=[(Moved(first="te", second="a"), Moved(first="t", second="ea"))],
    independent=[(Moved(first="te", second="a"), Moved(first="mu", second="g"))],
)
def key_made_of_two_fields(app: App[Any], options: Options) -> None:
    @app.on(Moved, **options)
    async def move(event: Moved, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(
                "UPDATE stock SET quantity = quantity * 2 + ? WHERE sku = ?",
                (len(event.first), event.first + event.second),
            )


@case(
    "key-in-lower-case",
    trap=True,
    tables=TABLES,
    dependent=[(Moved(first="TEA", second="x"), Moved(first="tea", second="yy"))],
    independent=[(Moved(first="TEA", second="x"), Moved(first="mug", second="yy"))],
)
def key_in_lower_case(app: App[Any], options: Options) -> None:
    @app.on(Moved, **options)
    async def move(event: Moved, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE stock SET quantity = ? WHERE sku = ?", (len(event.second), event.first.lower()))


@case(
    "condition-on-another-row",
    trap=True,
    tables=TABLES,
    dependent=[(Paid(order_id=1), Line(sku="tea", quantity=3))],
    independent=[(Line(sku="tea"), Line(sku="mug"))],
    reach="table",
)
def condition_on_another_row(app: App[Any], options: Options) -> None:
    """An order is paid if anything at all is scarce."""

    @app.on(Paid, **options)
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute(
                "UPDATE orders SET status = 'paid' WHERE id = ? AND EXISTS (SELECT 1 FROM stock WHERE quantity > 5)",
                (event.order_id,),
            )

    @app.on(Line, **options)
    async def add(event: Line, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE stock SET quantity = quantity + ? WHERE sku = ?", (event.quantity, event.sku))


@case(
    "key-or-anything",
    trap=True,
    tables=TABLES,
    dependent=[(Shipped(order_id=1), Paid(order_id=2))],
    independent=[],
    reach="table",
)
def key_or_anything(app: App[Any], options: Options) -> None:
    @app.on(Shipped, **options)
    async def ship(event: Shipped, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = 'shipped' WHERE id = ? OR status = 'paid'", (event.order_id,))

    @app.on(Paid, **options)
    async def pay(event: Paid, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE orders SET status = 'paid' WHERE id = ?", (event.order_id,))
