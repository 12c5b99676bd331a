"""What it costs to watch handlers: a statement noted, one held to the footprint, one whose text is new, lists, and a
handler with five statements through SQLAlchemy beside the same one that nobody watches.

One handler runs a statement again and again on a block of the embedded store that does nothing, so that only the
watching is measured; the loop around it is taken off. Times are those of the processor, since others may use the
machine; the handler is timed by the clock too, with and without a watch by turns, and the ratio is that of the least.

Rows differ from statement to statement where they are noted, since an access is kept once for an attempt.

    python benchmarks/observe.py [--statements 20000] [--repeats 15] [--units 40]

PostgreSQL takes part where COMMUTE_TEST_POSTGRESQL says where it is, or `make brokers` has started it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, create_engine, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from commute import App, Context, Event
from commute.observe.tables import Catalogue
from commute.observe.watch import Watch, watching
from commute.sql.ddl import schema_of
from commute.testing import run

DDL = [
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)",
    "CREATE TABLE goods(sku TEXT PRIMARY KEY, stock INTEGER)",
]
TEXT = "UPDATE orders SET status = ? WHERE id = ?"
BY_TEXT = "UPDATE goods SET stock = ? WHERE sku = ?"
URLS = Path(__file__).parents[1] / ".brokers" / "urls.json"
LISTS = (10, 1_000)
SHARES = {"tracer": 0.05, "sanitizer": 0.10}  # of the handler's time, at most


class Paid(Event):
    order_id: int


def nothing(_text: str, _given: object) -> list[tuple[object, ...]]:
    return []


Work = Callable[[Watch, Catalogue], float]


def measured(work: Work, *, keep: bool) -> float:
    """Microseconds that `work` says, called inside of a handler that is watched."""
    found: list[float] = []
    app: App[Any] = App("bench", "memory://")

    @app.on(Paid, writes=["order", "goods", "state/list"])
    async def pay(event: Paid, ctx: Context) -> None:
        catalogue = Catalogue(lambda ask: schema_of(DDL))
        for text, given in ((TEXT, ("paid", 7)), (BY_TEXT, (7, "tea"))):
            watch.statement(text, given, catalogue, nothing)
        watch.forget()
        found.append(work(watch, catalogue))

    with watching(app, keep=keep) as watch:
        run(app, [Paid(order_id=7)])
        assert not watch.undeclared
    return found[0]


def known(text: str, rows: list[tuple[Any, ...]]) -> Work:
    def work(watch: Watch, catalogue: Catalogue) -> float:
        watch.statement(text, rows[0], catalogue, nothing)
        start = time.thread_time()
        for given in rows:
            watch.statement(text, given, catalogue, nothing)
        middle = time.thread_time()
        for _ in rows:
            pass
        return (2 * middle - start - time.thread_time()) / len(rows) * 1e6

    return work


def new(round_: int) -> Work:
    def work(watch: Watch, catalogue: Catalogue) -> float:
        count = 100
        start = time.thread_time()
        for number in range(count):
            watch.statement(f"UPDATE orders SET status = 's{round_}-{number}' WHERE id = ?", (7,), catalogue, nothing)
        return (time.thread_time() - start) / count * 1e6

    return work


ENTRIES: dict[int, int] = {}


def entry(count: int, *, keep: bool | None) -> float:
    """Microseconds to set one entry of a dict of the program in a handler, by who watches; None: nobody."""
    app: App[Any] = App("bench", "memory://")
    found: list[float] = []

    @app.on(Paid, writes=[f"state/{__name__}.ENTRIES", "state/list"])  # where the figure goes, too
    def note(event: Paid) -> None:
        start = time.thread_time()
        for number in range(count):
            ENTRIES[number] = event.order_id
        found.append((time.thread_time() - start) / count * 1e6)

    if keep is None:
        run(app, [Paid(order_id=7)])
    else:
        with watching(app, keep=keep) as watch:
            run(app, [Paid(order_id=7)])
            assert not watch.undeclared
            assert bool(watch.observed) == keep
    return found[0]


def listed(keys: int, count: int) -> Work:
    marks = ", ".join("?" * keys)
    return known(f"SELECT status FROM orders WHERE id IN ({marks})", [tuple(range(keys))] * count)


class Base(DeclarativeBase):
    """The tables of the handler."""


class Customer(Base):
    __tablename__ = "bench_customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    points: Mapped[int]


class Order(Base):
    __tablename__ = "bench_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("bench_customer.id"))
    status: Mapped[int]
    customer: Mapped[Customer] = relationship()


class Stock(Base):
    __tablename__ = "bench_stock"
    sku: Mapped[str] = mapped_column(primary_key=True)
    quantity: Mapped[int]


class Note(Base):
    __tablename__ = "bench_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str]


def five(engine: Any, number: int) -> None:
    """Two selects, one of them by a lazy relation, two updates, an insert."""
    with Session(engine) as session, session.begin():
        order = session.get_one(Order, 1)
        order.status = order.customer.points + number
        session.execute(update(Stock).where(Stock.sku == "tea").values(quantity=Stock.quantity - 1))
        session.add(Note(word="sold"))


def handler(url: str, units: int, repeats: int) -> dict[str, tuple[float, float]]:
    """How much longer the handler takes, by who watches: as a share of its processor time, and of the clock's."""
    engine = create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all([Order(id=1, status=0, customer=Customer(id=1, points=0)), Stock(sku="tea", quantity=0)])
    app: App[Any] = App("bench", "memory://")
    took: list[tuple[float, float]] = []

    @app.on(Paid, writes=["bench_order", "bench_stock", "bench_note", "state/list"], reads="bench_customer")
    def pay(event: Paid) -> None:
        five(engine, -1)
        processor, clock = time.thread_time(), time.perf_counter()
        for number in range(units):
            five(engine, number)
        took.append(((time.thread_time() - processor) / units, (time.perf_counter() - clock) / units))

    def once(options: dict[str, Any] | None) -> tuple[float, float]:
        if options is None:
            run(app, [Paid(order_id=1)])
        else:
            with watching(app, **options) as watch:
                run(app, [Paid(order_id=1)])
                assert not watch.undeclared, watch.undeclared
        return took.pop()

    watches: dict[str, dict[str, Any] | None] = {
        "nobody": None,
        "tracer": {"keep": True},
        "sanitizer": {"refuse": True},
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in watches}
    for _ in range(repeats):
        for name, options in watches.items():
            found[name].append(once(options))
    Base.metadata.drop_all(engine)
    engine.dispose()
    least = {name: [min(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    processor, clock = least["nobody"]
    print(f"    nobody    {processor * 1e6:8.0f} µs of the processor, {clock * 1e6:8.0f} µs by the clock")
    return {name: (least[name][0] / processor - 1, least[name][1] / clock - 1) for name in SHARES}


def postgresql() -> str | None:
    urls = json.loads(URLS.read_text()) if URLS.exists() else {}
    return os.environ.get("COMMUTE_TEST_POSTGRESQL") or urls.get("postgresql")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--statements", type=int, default=20_000)
    options.add_argument("--repeats", type=int, default=15)
    options.add_argument("--units", type=int, default=40, help="runs of the handler that are timed together")
    given = options.parse_args()
    rounds = range(given.repeats)
    rows: list[tuple[Any, ...]] = [("paid", number) for number in range(given.statements)]
    by_text: list[tuple[Any, ...]] = [(7, f"sku-{number}") for number in range(given.statements)]
    few = max(10, given.statements // 100)
    lists = {keys: min(measured(listed(keys, few), keep=True) for _ in rounds) for keys in LISTS}
    costs = [
        ("noted", 3.0, min(measured(known(TEXT, rows), keep=True) for _ in rounds)),
        ("noted, the key a text", 3.0, min(measured(known(BY_TEXT, by_text), keep=True) for _ in rounds)),
        ("held to the footprint", 5.0, min(measured(known(TEXT, rows), keep=False) for _ in rounds)),
        ("held, the key a text", 5.0, min(measured(known(BY_TEXT, by_text), keep=False) for _ in rounds)),
        ("an entry of a dict, noted", 15.0, min(entry(given.statements, keep=True) for _ in rounds)),
        ("an entry of a dict, held", 10.0, min(entry(given.statements, keep=False) for _ in rounds)),
        ("text that is new", 2_000.0, min(measured(new(round_), keep=False) for round_ in rounds)),
        (f"a list of {LISTS[1]:,} keys", lists[LISTS[0]], lists[LISTS[1]]),
    ]
    missed = False
    for name, most, us in costs:
        print(f"{name:26} {us:10.2f} µs a statement, at most {most:.5g}")
        missed |= us > most
    with tempfile.TemporaryDirectory() as folder:
        urls = [f"sqlite:///{folder}/bench.db"]
        if found := postgresql():
            urls.append(found.replace("postgresql://", "postgresql+psycopg://"))
        for url in urls:
            print(f"a handler with five statements on {url.partition(':')[0]}")
            for name, (processor, clock) in handler(url, given.units, given.repeats).items():
                most = SHARES[name]
                print(f"    {name:9} {processor:8.1%} of the processor, {clock:8.1%} by the clock, at most {most:.0%}")
                missed |= min(processor, clock) > most
    sys.exit(missed)


if __name__ == "__main__":
    main()
