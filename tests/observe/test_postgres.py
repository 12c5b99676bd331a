"""PostgreSQL: what handlers touch through psycopg, SQLAlchemy and blocks of the store, against a real server.

Rows lie in tables whose names are the tests' own; what goes along unseen (triggers, cascades, views, partitions) comes
from the catalogue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.schema import ForeignKey

from commute import App, Event, Retry
from commute.core.footprint import conflicts
from commute.observe.postgres_catalogue import read
from commute.observe.watch import watching
from commute.testing import sanitizing
from commute.verify.trial import Numbered, Scene, trial
from tests.brokers import broker_url
from tests.observe.planted import Changed, Options

TABLES = """
DROP TABLE IF EXISTS seen_line, seen_goods, seen_audit, seen_orders, seen_customer, seen_part CASCADE;
CREATE TABLE seen_customer(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE, points int);
CREATE TABLE seen_orders(id int PRIMARY KEY, ref text UNIQUE, customer_id int REFERENCES seen_customer, status text);
CREATE TABLE seen_line(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id int REFERENCES seen_orders ON DELETE CASCADE, sku text);
CREATE TABLE seen_goods(sku text PRIMARY KEY, stock int);
CREATE TABLE seen_audit(id bigserial PRIMARY KEY, word text);
CREATE TABLE seen_part(id int, day date) PARTITION BY RANGE (day);
CREATE TABLE seen_part_one PARTITION OF seen_part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW seen_open AS SELECT id FROM seen_orders WHERE status = 'open';
CREATE OR REPLACE FUNCTION seen_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.stock = 0 THEN INSERT INTO seen_audit(word) VALUES (NEW.sku); END IF; RETURN NEW; END $$;
CREATE TRIGGER emptied AFTER UPDATE ON seen_goods FOR EACH ROW EXECUTE FUNCTION seen_emptied();
INSERT INTO seen_customer(email, points) VALUES ('ann@x', 0);
INSERT INTO seen_orders VALUES (1, 'r-1', 1, 'open'), (2, 'r-2', 1, 'open');
INSERT INTO seen_line(order_id, sku) VALUES (1, 'tea'), (2, 'tea');
INSERT INTO seen_goods VALUES ('tea', 5), ('mug', 5);
"""
NAMES = {f"seen_{name}": name for name in ("customer", "line", "goods", "audit", "part")} | {"seen_orders": "order"}

Use = Callable[[str, str, Sequence[object]], None]


@pytest.fixture
def url(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    caplog.set_level(logging.CRITICAL, "commute")
    found = broker_url("postgresql")
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    yield found
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute(TABLES.split(";")[0].encode())
        connection.execute("DROP FUNCTION IF EXISTS seen_emptied CASCADE")


def by_cursor(url: str, statement: str, given: Sequence[object]) -> None:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement.encode(), given)


def by_connection(url: str, statement: str, given: Sequence[object]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement), given)


def by_many(url: str, statement: str, given: Sequence[object]) -> None:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany(statement.encode(), (row for row in [given]), returning=False)


def by_pipeline(url: str, statement: str, given: Sequence[object]) -> None:
    with psycopg.connect(url) as connection, connection.pipeline():
        connection.execute(statement.encode(), given)


def by_sqlalchemy(url: str, statement: str, given: Sequence[object]) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement, tuple(given))
    finally:
        engine.dispose()


WAYS = [by_cursor, by_connection, by_many, by_pipeline, by_sqlalchemy]
Case = tuple[str, str, Sequence[object], set[tuple[str, str]]]
CASES: list[Case] = [
    ("row", "UPDATE seen_orders SET status = 'paid' WHERE id = %s", (1,), {("write", "order/1")}),
    ("other column", "UPDATE seen_orders SET status = 'paid' WHERE ref = %s", ("r-1",), {("write", "order")}),
    ("addition", "UPDATE seen_customer SET points = points + %s WHERE id = %s", (2, 1), {("add", "customer/1")}),
    (
        "generated",
        "INSERT INTO seen_customer(email, points) VALUES (%s, 0)",
        ("bo@x",),
        {("insert", "customer/+new"), ("write", "customer")},
    ),
    ("cascade", "DELETE FROM seen_orders WHERE id = %s", (2,), {("write", "order/2"), ("write", "line")}),
    (
        "trigger",
        "UPDATE seen_goods SET stock = 0 WHERE sku = %s",
        ("tea",),
        {("write", "goods/tea"), ("insert", "audit/+new")},
    ),
    (
        "list",
        "SELECT stock FROM seen_goods WHERE sku = ANY(%s)",
        (["tea", "mug"],),
        {("read", "goods/tea"), ("read", "goods/mug")},
    ),
    ("view", "SELECT id FROM seen_open WHERE id = %s", (1,), {("read", "order")}),
    ("partition", "SELECT id FROM seen_part_one WHERE id = %s", (1,), {("read", "part")}),
    ("lock", "SELECT pg_try_advisory_xact_lock(%s)", (7,), {("write", "lock")}),
    ("numbers", "SELECT nextval('seen_audit_id_seq')", (), {("write", "seen_audit_id_seq")}),
    ("message", "NOTIFY seen_news, 'x'", (), {("write", "notify")}),
    ("emptied", "TRUNCATE seen_orders CASCADE", (), {("write", "order"), ("write", "line")}),
    ("change of a partition", "DELETE FROM seen_part_one WHERE id = %s", (1,), {("write", "")}),
]  # fmt: skip


def app_for(use: Callable[[], None], options: Options) -> App[Any]:
    app: App[Any] = App("seen", "memory://", tables=NAMES)

    @app.on(Changed, retry=Retry(attempts=1), **options)
    def change(event: Changed) -> None:
        use()

    return app


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "statement", "given", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_statements_touch(
    url: str, way: Use, name: str, statement: str, given: Sequence[object], expected: set[tuple[str, str]]
) -> None:
    if way is by_many and statement.startswith("SELECT"):
        pytest.skip("only changes are run for many rows")
    app = app_for(lambda: way(url, statement, given), {})
    with watching(app, keep=True) as watch:
        assert trial(app, [Numbered("e", Changed())], Scene()).results == {"e": "processed"}
    assert {(one.mode, one.key) for one in watch.observed} == expected
    assert {one.where.partition(":")[0] for one in watch.observed} == {"tests/observe/test_postgres.py"}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_refused_before_it_is_sent(url: str, way: Use) -> None:
    statement = "UPDATE seen_goods SET stock = 1 WHERE sku = %s"
    app = app_for(lambda: way(url, statement, ("tea",)), {"reads": "goods/{sku}"})
    with watching(app, refuse=True) as watch:
        trial(app, [Numbered("e", Changed())], Scene())
    assert [one.add for one in watch.undeclared] == ['writes="goods/{sku}"']
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT stock FROM seen_goods WHERE sku = 'tea'").fetchone() == (5,)


@pytest.mark.parametrize("way", WAYS)
def test_a_row_by_another_unique_column_is_looked_up(url: str, way: Use) -> None:
    statement = "UPDATE seen_orders SET status = 'sent' WHERE ref = %s"
    for options, caught in (({"writes": "order/{order_id}"}, False), ({"writes": "order/{quantity}"}, True)):
        app = app_for(lambda: way(url, statement, ("r-1",)), options)
        with watching(app) as watch:
            assert trial(app, [Numbered("e", Changed())], Scene()).results == {"e": "processed"}
        assert bool(watch.undeclared) == caught


def test_asyncio(url: str) -> None:
    """psycopg's own connections, and SQLAlchemy's over them; other tasks are watched while the database is asked."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    app: App[Any] = App("seen", "memory://", tables=NAMES)

    @app.on(Changed, writes="order/{order_id}", retry=Retry(attempts=1), on_exhausted="skip")
    async def change(event: Changed) -> None:
        if event.quantity == 1:
            async with await psycopg.AsyncConnection.connect(url) as connection:
                await connection.execute("UPDATE seen_orders SET status = 'a' WHERE ref = %s", ("r-1",))
                await connection.execute("UPDATE seen_orders SET status = 'b' WHERE ref = %s", ("r-2",))
        else:
            async with engine.begin() as opened:
                await opened.execute(text("UPDATE seen_orders SET status = 'c' WHERE ref = :ref"), {"ref": "r-1"})
                await opened.execute(text("DELETE FROM seen_goods WHERE sku = :sku"), {"sku": event.sku})

    async def real() -> None:
        async with app.running():
            for quantity in (1, 2):
                receipt = await app.publish(Changed(quantity=quantity))
                await receipt.outcome(timeout_s=20)
        await engine.dispose()

    with watching(app, refuse=True) as watch:
        asyncio.run(real())
    assert [(one.access.mode, one.access.key) for one in watch.undeclared] == [
        ("write", "order"),
        ("write", "goods/tea"),
    ]


class Base(DeclarativeBase):
    """The tables as an application maps them."""


class Order(Base):
    __tablename__ = "seen_orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str]
    lines: Mapped[list[Line]] = relationship(cascade="all, delete-orphan")


class Line(Base):
    __tablename__ = "seen_line"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("seen_orders.id"))
    sku: Mapped[str]


def _flush(session: Session, order_id: int) -> None:
    order = session.get_one(Order, order_id)
    order.lines[0].sku = "cup"  # changed by its own key
    order.lines.append(Line(sku="pot"))


@pytest.mark.parametrize("order_id", [1, 2])
def test_rows_of_a_flush_are_under_the_row_that_they_belong_to(url: str, order_id: int) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def use() -> None:
        with Session(engine) as session, session.begin():
            _flush(session, order_id)

    app = app_for(use, {"reads": "order/{order_id}", "writes": "order/{order_id}/line"})
    with watching(app, keep=True) as watch:
        assert trial(app, [Numbered("e", Changed())], Scene()).results == {"e": "processed"}
    engine.dispose()
    lacking = {one.access.key for one in watch.undeclared}
    assert lacking == (set() if order_id == 1 else {"order/2", "order/2/line", "order"})


def test_the_sanitizer_names_what_is_lacking(url: str) -> None:
    app = app_for(lambda: by_cursor(url, "DELETE FROM seen_goods WHERE sku = %s", ("mug",)), {"writes": "goods/{sku}"})
    with (
        pytest.raises(Exception, match=r'^change writes goods/mug .*declare writes="goods/\{other\}"'),
        sanitizing(app),
    ):
        trial(app, [Numbered("e", Changed())], Scene())


GUESTS = """
DROP TABLE IF EXISTS seen_guest, seen_host CASCADE;
CREATE TABLE seen_guest(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE, name text);
CREATE TABLE seen_host(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE, name text);
INSERT INTO seen_guest(email, name) VALUES ('a@x', ''), ('b@x', '');
"""


@pytest.mark.parametrize(
    ("change", "strict"),
    [
        ("SELECT 1", True),
        ("CREATE UNIQUE INDEX ON seen_host(name)", True),
        ("CREATE INDEX ON seen_host(lower(name)) WHERE id > 7", True),
        ("CREATE UNIQUE INDEX ON seen_host(lower(name))", False),
        ("CREATE UNIQUE INDEX ON seen_host(name) WHERE id > 7", False),
        ("CREATE UNIQUE INDEX ON seen_host(name) NULLS NOT DISTINCT", False),
        ("ALTER TABLE seen_host ADD CONSTRAINT one UNIQUE NULLS NOT DISTINCT (name)", False),
        ("ALTER TABLE seen_host ADD CONSTRAINT one EXCLUDE (name WITH =)", False),
        ("ALTER TABLE seen_host ADD COLUMN mark text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE", False),
        (
            "CREATE COLLATION IF NOT EXISTS seen_any (provider = icu, locale = 'und-u-ks-level2', "
            "deterministic = false); CREATE UNIQUE INDEX ON seen_host(name COLLATE seen_any)",
            False,
        ),
        (
            "CREATE TRIGGER t BEFORE INSERT ON seen_host FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            False,
        ),
    ],
)
def test_the_catalogue_tells_what_makes_rows_collide(url: str, change: str, strict: bool) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(GUESTS.encode())
        connection.execute(change.encode())

        def ask(question: str, given: Sequence[object]) -> list[tuple[Any, ...]]:
            return connection.execute(question.replace("%", "%%").encode() if given else question.encode()).fetchall()

        assert read(ask).is_strict("seen_host") is strict


class Joined(Event):
    email: str


class Renamed(Event):
    id: int


class Moved(Event):
    id: int
    email: str


class Left(Event):
    id: int


def guests(url: str, options: Options) -> App[Any]:
    """Who takes a unique value, changes one, and makes one free, each in a transaction of its own."""
    app: App[Any] = App("guests", "memory://", tables={"seen_guest": "guest"})

    @app.on(Joined, **options)
    def join(event: Joined) -> None:
        with suppress(psycopg.errors.UniqueViolation), psycopg.connect(url) as connection:
            connection.execute("INSERT INTO seen_guest(email) VALUES (%s)", (event.email,))

    @app.on(Renamed, **options)
    def rename(event: Renamed) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE seen_guest SET name = 'new' WHERE id = %s", (event.id,))

    @app.on(Moved, **options)
    def move(event: Moved) -> None:
        with suppress(psycopg.errors.UniqueViolation), psycopg.connect(url) as connection:
            connection.execute("UPDATE seen_guest SET email = %s WHERE id = %s", (event.email, event.id))

    @app.on(Left, **options)
    def leave(event: Left) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("DELETE FROM seen_guest WHERE id = %s", (event.id,))

    return app


PAIRS: list[tuple[object, object, bool]] = [
    (Joined(email="n@x"), Joined(email="n@x"), False),
    (Joined(email="n@x"), Moved(id=1, email="n@x"), True),
    (Joined(email="a@x"), Moved(id=1, email="n@x"), True),
    (Joined(email="a@x"), Left(id=1), True),
    (Moved(id=1, email="n@x"), Moved(id=2, email="a@x"), True),
    (Joined(email="m@x"), Joined(email="n@x"), False),
    (Joined(email="n@x"), Renamed(id=1), False),
    (Renamed(id=2), Moved(id=1, email="n@x"), False),
    (Left(id=2), Left(id=1), False),
]


@pytest.mark.parametrize(("a", "b", "differ"), PAIRS)
def test_unique_values_beside_the_rows(url: str, a: object, b: object, *, differ: bool) -> None:
    """What is derived meets where a run in both orders differs, and what is observed lies inside of it."""
    app = guests(url, {"derive": True})
    app.definitions = lambda: []  # type: ignore[method-assign]

    def clear() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(GUESTS.encode())

    def look() -> object:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT email, name FROM seen_guest ORDER BY email").fetchall()

    clear()
    ends = []
    with watching(app) as watch:
        for pair in ((a, b), (b, a)):
            clear()
            trial(
                app, [Numbered(str(number), event) for number, event in enumerate(pair)], Scene(clear=clear, look=look)
            )
            ends.append(look())
    assert not watch.undeclared
    assert (ends[0] != ends[1]) is differ
    declared = {event.codec.cls: event.declared for handler in app.handlers for event in handler.events}
    assert not any(one.derivation.everything for one in declared.values())
    met = conflicts(declared[type(a)].footprint(a), declared[type(b)].footprint(b))
    assert met is (differ or a == b)
