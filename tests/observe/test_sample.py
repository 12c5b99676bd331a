"""`commute observe`: what a sample touches becomes a declaration that covers it, beside the one that is there."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec
import pytest
from click.testing import CliRunner

from commute import App, Context, Event
from commute.cli import main
from commute.core.footprint import Access
from commute.observe.cover import covers
from commute.observe.proposal import proposed
from commute.observe.running import Running
from commute.rehearsal.course import Ground
from commute.verify.sample import sample
from commute.verify.trial import Scene
from tests.observe.planted import DDL, PLANTED, ROWS, Changed, Row, on_block, on_sqlalchemy, on_sqlite3


class Line(Event):
    sku: str
    depot: int


class Ordered(Event):
    order_id: int
    customer_id: int
    quantity: int = 1
    coupon: str | None = None
    lines: list[Line] = msgspec.field(default_factory=list)


def attempt(event: Event, *seen: tuple[str, str]) -> Running:
    made = Running.__new__(Running)
    made.event = event
    made.seen = {Access(key, mode): None for key, mode in seen}
    return made


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([(Ordered(order_id=1, customer_id=1), [("customer/1", "read")])], [("read", "customer/{customer_id}")]),
        (
            [
                (Ordered(order_id=1, customer_id=1), [("order/1", "read"), ("order/1", "write")]),
                (Ordered(order_id=2, customer_id=1), [("order/2", "read")]),
            ],
            [("write", "order/{order_id}")],
        ),
        (  # each container of the program is a family by itself
            [
                (Ordered(order_id=1, customer_id=5), [("state/m.open/1", "write"), ("state/m.seen/5", "write")]),
                (Ordered(order_id=2, customer_id=7), [("state/m.open/2", "write"), ("state/m.seen/7", "write")]),
            ],
            [("write", "state/m.open/{order_id}"), ("write", "state/m.seen/{customer_id}")],
        ),
        (  # one value is that of a field by chance, the other is not
            [
                (Ordered(order_id=1, customer_id=5), [("account/1", "add")]),
                (Ordered(order_id=2, customer_id=5), [("account/9", "add")]),
                (Ordered(order_id=3, customer_id=5), [("account/8", "add")]),
            ],
            [("add", "account")],
        ),
        (
            [(Ordered(order_id=1, customer_id=5, lines=[Line(sku="a", depot=3), Line(sku="b", depot=4)]),
              [("stock/3/a", "add"), ("stock/4/b", "add")])],
            [("add", "stock/{lines.*.depot}/{lines.*.sku}")],
        ),
        (
            [
                (Ordered(order_id=1, customer_id=5, coupon="x"), [("coupon/x", "write")]),
                (Ordered(order_id=2, customer_id=5), [("order/2/line", "write"), ("audit/+new", "insert")]),
            ],
            [("write", "coupon/{coupon?}"), ("write", "order/{order_id}/line"), ("add", "audit")],
        ),
        (
            [(Ordered(order_id=1, customer_id=5), [("order/1", "read"), ("order/1", "add")])],
            [("write", "order/{order_id}")],
        ),
        (  # unique values beside rows that get their numbers from the database
            [
                (
                    Ordered(order_id=1, customer_id=5),
                    [("users/+new", "insert"), ("users/+ref/1", "write"), ("users/+mark/5", "write")],
                ),
                (
                    Ordered(order_id=2, customer_id=7),
                    [("users/+new", "insert"), ("users/+ref/2", "write"), ("users/+mark/7", "write")],
                ),
                (Ordered(order_id=3, customer_id=7), [("users/3", "write"), ("users/+ref", "read")]),
            ],
            [
                ("write", "users/+mark/{customer_id}"),
                ("write", "users/+ref/{order_id}"),
                ("write", "users/{order_id}"),
                ("add", "users/+new"),
                ("read", "users/+ref"),
            ],
        ),
        (  # keys of several parts, as Redis' are; 5 is a constant by its looks, and a field by the other event
            [
                (Ordered(order_id=1, customer_id=5), [("redis/of:5", "add"), ("redis/c:5:1/last", "write")]),
                (Ordered(order_id=2, customer_id=6), [("redis/of:6", "add"), ("redis/c:6:2/last", "write")]),
            ],
            [("write", "redis/c:{customer_id}:{order_id}/last"), ("add", "redis/of:{customer_id}")],
        ),
        ([(Ordered(order_id=1, customer_id=5), [("", "write")])], None),
        ([], []),
    ],
)  # fmt: skip
def test_what_is_proposed(attempts: Any, expected: list[tuple[str, str]] | None) -> None:
    assert proposed([attempt(event, *seen) for event, seen in attempts], Ordered) == expected


@pytest.mark.parametrize("row", PLANTED, ids=str)
@pytest.mark.parametrize("place", [on_block, on_sqlite3, on_sqlalchemy])
def test_a_handler_that_declares_what_is_proposed_is_left_in_peace(
    row: Row, place: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "commute")
    scene = Scene(Ground(tables=(*DDL, *ROWS)))
    events = [Changed(), Changed(order_id=3, customer_id=8, ref="r-3", sku="mug", other="tea")]
    (found,) = sample(place(row.statements, row.wrong), events, scene, events_max=10).handlers
    assert found.undeclared
    if found.proposal is None:
        assert row.lacks.startswith("nothing")
        return
    options: dict[str, Any] = {"reads": [], "writes": [], "adds": []}
    for mode, text in found.proposal:
        options[{"read": "reads", "write": "writes", "add": "adds"}[mode]].append(text)
    again = sample(place(row.statements, options), events, scene, events_max=10)
    assert again.ok
    assert not again.handlers[0].untouched
    assert all(covers({"": "write"}, one.key, one.mode) for one in found.seen)


SHOP = """
from commute import App, Context, Event

class Ordered(Event):
    order_id: int
    customer_id: int

class Paid(Event):
    order_id: int

class Lost(Event):
    order_id: int

app = App("shop", "memory://")

@app.on(Ordered, writes=["order/{order_id}", "customer/{customer_id}"], reads="rate/{customer_id}")
async def reserve(event: Ordered, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT OR REPLACE INTO orders VALUES(?, ?)", (event.order_id, event.customer_id))
        tx.execute("SELECT points FROM customer WHERE id = ?", (event.customer_id,))
        tx.execute("UPDATE goods SET stock = stock - 1 WHERE id = ?", (event.customer_id,))

@app.on(Paid)
async def pay(event: Paid, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        for (customer,) in tx.execute("SELECT customer_id FROM orders WHERE id = ?", (event.order_id,)):
            tx.execute("UPDATE customer SET points = 1 WHERE id = ?", (customer,))

@app.on(Lost, unordered=True)
async def lose(event: Lost) -> None:
    raise KeyError(event.order_id)

async def make(app):
    async with app.transaction() as tx:
        tx.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER)")
        tx.execute("CREATE TABLE customer(id INTEGER PRIMARY KEY, points INTEGER)")
        tx.execute("CREATE TABLE goods(id INTEGER PRIMARY KEY, stock INTEGER)")
"""
LOG = [
    {"type": "ordered", "order_id": 1, "customer_id": 70},
    {"type": "ordered", "order_id": 2, "customer_id": 80},
    {"type": "paid", "order_id": 1},
    {"type": "paid", "order_id": 2},
    {"type": "lost", "order_id": 2},
]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> str:
    caplog.set_level(logging.CRITICAL, "commute")  # as the command sets it, and as it was afterwards
    name = f"observed_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in LOG))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_the_command_says_what_to_paste(shop: str) -> None:
    ran = CliRunner().invoke(main, ["observe", f"{shop}:app", "log.jsonl", "--set-up", f"{shop}:make"])
    assert ran.exit_code == 1, ran.output
    order = 'writes="order/{order_id}"'
    assert f'@app.on(Ordered, reads="customer/{{customer_id}}", {order}, adds="goods/{{customer_id}}")' in ran.output
    assert "not declared: adds goods/70" in ran.output
    assert 'never touched: reads="rate/{customer_id}"' in ran.output
    assert 'only read: writes="customer/{customer_id}"' in ran.output
    assert '@app.on(Paid, reads="order/{order_id}", writes="customer")' in ran.output
    assert "declared: nothing, so EVERYTHING; 2 events" in ran.output
    assert "it touches nothing by its declaration, so it is not watched" in ran.output
    assert "nothing runs in parallel for it" in ran.output


def test_the_command_in_json_and_without_a_log(shop: str) -> None:
    ran = CliRunner().invoke(main, ["observe", f"{shop}:app", "--events", "30", "--set-up", f"{shop}:make", "--json"])
    assert ran.exit_code == 1, ran.output
    found = json.loads(ran.stdout)
    assert found["proves_independence"] is False
    assert found["events"] == 30
    assert found["failed"] == 10
    reserve, pay, _ = found["handlers"]
    assert reserve["undeclared"][0]["mode"] == "add"
    assert {"mode": "write", "key": "order/{order_id}"} in reserve["proposal"]
    assert pay["undeclared"] == []


def test_what_is_declared_in_full_is_said_to_be(shop: str, tmp_path: Path) -> None:
    path = tmp_path / f"{shop}.py"
    path.write_text(path.read_text().replace('reads="rate/{customer_id}"', 'adds="goods/{customer_id}"'))
    ran = CliRunner().invoke(main, ["observe", f"{shop}:app", "log.jsonl", "--set-up", f"{shop}:make"])
    assert ran.exit_code == 0, ran.output
    assert "not declared" not in ran.output


def test_what_handlers_print_is_not_in_the_midst_of_the_result(shop: str, tmp_path: Path) -> None:
    path = tmp_path / f"{shop}.py"
    path.write_text(path.read_text().replace("    async with ctx", "    print('reserved')\n    async with ctx"))
    arguments = ["observe", f"{shop}:app", "log.jsonl", "--set-up", f"{shop}:make", "--json"]
    ran = CliRunner().invoke(main, arguments)
    assert json.loads(ran.stdout)["events"] == 5
    assert "reserved" not in ran.stderr


def test_a_log_is_read_as_one_says_and_a_bad_line_is_told(shop: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"what": "paid", "order_id": 1}\nno json\n{"what": "paid", "order_id": 2}\n')
    arguments = ["observe", f"{shop}:app", "log.jsonl", "--set-up", f"{shop}:make", "--type-field", "what"]
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 0, ran.output
    assert "problem: line 2: no JSON" in ran.stderr
    assert "shop: 2 events" in ran.stdout
    (tmp_path / "log.jsonl").write_text("no json\n")
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 2
    assert "error[bad-log]" in ran.stderr


def test_what_another_thread_or_socket_answers_is_awaited(tmp_path: Path) -> None:
    """Handlers run in virtual time, where a wait that nothing ends is an error, and their database is outside of it."""
    app: App[Any] = App("async", "memory://")
    path = tmp_path / "own.db"

    def clear() -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS goods(id INTEGER PRIMARY KEY, n INTEGER)")

    @app.on(Ordered, writes="goods/{order_id}")
    async def order(event: Ordered) -> None:
        await asyncio.sleep(3600)
        async with aiosqlite.connect(path) as connection, asyncio.timeout(3600):
            await connection.execute("REPLACE INTO goods VALUES(?, 1)", (event.order_id,))
            await connection.commit()

    events = [Ordered(order_id=number, customer_id=1) for number in (1, 2)]
    found = sample(app, events, Scene(clear=clear), events_max=2)
    assert (found.ok, found.failed) == (True, ())
    assert found.handlers[0].proposal == [("write", "goods/{order_id}")]


def test_an_event_that_fails_does_not_hide_what_depends_on_it() -> None:
    app: App[Any] = App("failing", "memory://")

    @app.on(Ordered)
    async def order(event: Ordered, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("UPDATE goods SET stock = 1 WHERE id = ?", (event.order_id,))
            if event.order_id == 1:
                raise KeyError("sold out")

    ground = Ground(tables=["CREATE TABLE goods(id INTEGER PRIMARY KEY, stock INTEGER)"])
    found = sample(app, [Ordered(order_id=number, customer_id=9) for number in (1, 2, 3)], Scene(ground), events_max=9)
    assert len(found.failed) == 1
    assert "sold out" in found.failed[0]
    assert [one.key for one in found.handlers[0].seen] == ["goods/1", "goods/2", "goods/3"]


def test_rows_that_a_declaration_covers_are_proposed_as_it_names_them() -> None:
    """A line is deleted by its own number, and is found to lie under its order."""
    app: App[Any] = App("lines", "memory://")

    @app.on(Ordered, writes=["order/{order_id}", "order/{order_id}/line"])
    async def cancel(event: Ordered, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for (line,) in tx.execute("SELECT id FROM line WHERE order_id = ?", (event.order_id,)):
                tx.execute("DELETE FROM line WHERE id = ?", (line,))

    tables = [
        "CREATE TABLE orders(id INTEGER PRIMARY KEY)",
        "CREATE TABLE line(id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders(id))",
        "INSERT INTO orders VALUES(1), (2)",
        "INSERT INTO line VALUES(11, 1), (12, 2)",
    ]
    events = [Ordered(order_id=number, customer_id=9) for number in (1, 2)]
    found = sample(app, events, Scene(Ground(tables=tables)), events_max=9)
    assert found.ok
    assert found.handlers[0].proposal == [("write", "order/{order_id}/line")]


def test_what_is_read_by_its_declaration_is_nothing_to_mention() -> None:
    app: App[Any] = App("reading", "memory://")

    @app.on(Ordered, reads=["goods/{order_id}", "customer/{customer_id}"], writes="order/{order_id}")
    async def order(event: Ordered, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.execute("SELECT stock FROM goods WHERE id = ?", (event.order_id,))

    ground = Ground(tables=["CREATE TABLE goods(id INTEGER PRIMARY KEY, stock INTEGER)"])
    (found,) = sample(app, [Ordered(order_id=1, customer_id=9)], Scene(ground), events_max=9).handlers
    assert found.only_read == ()
    assert found.untouched == (("read", "customer/{customer_id}"), ("write", "order/{order_id}"))
