"""Events per second through journal, store and effects: on PostgreSQL beside SQLite, in one run.

Producers send over ZeroMQ on loopback; a worker journals, runs a handler with one block (an update and an insert) for
each event, and the run ends when all effects are committed. Handlers are `async` and `def`, keys many and one.

    python benchmarks/postgres.py postgresql://USER:PASSWORD@HOST/DATABASE [--events 5000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import socket
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from commute import App, Context, Event, Limits
from commute.postgres.address import parse
from commute.postgres.connection import Settings
from commute.postgres.schema import create

TABLES = (
    "create table account (key text primary key, value bigint)",
    "create table effect (n bigint, key text)",
)
UPSERT = "insert into account values (?, ?) on conflict (key) do update set value = account.value + excluded.value"
INSERT = "insert into effect values (?, ?)"


class Paid(Event):
    key: str
    n: int


def make_app(db: str, limits: Limits, *, threads: bool) -> App[None]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        app: App[None] = App("bench", f"zmq+tcp://127.0.0.1:{found.getsockname()[1]}", db=db, limits=limits)

    if threads:

        @app.on(Paid, writes="account/{key}")
        def paid(event: Paid, ctx: Context[None]) -> None:
            with ctx.transaction() as tx:
                tx.execute(UPSERT, (event.key, event.n))
                tx.execute(INSERT, (event.n, event.key))

    else:

        @app.on(Paid, writes="account/{key}")
        async def pay(event: Paid, ctx: Context[None]) -> None:
            async with ctx.transaction() as tx:
                tx.execute(UPSERT, (event.key, event.n))
                tx.execute(INSERT, (event.n, event.key))

    return app


def settled(app: App[None]) -> int:
    """The first position without a durable outcome; events are counted from one."""
    rows = app.connect().file.read(lambda c: c.execute("select max(watermark) from progress").fetchall())
    return int(rows[0][0] or 0)


async def measure(db: str, limits: Limits, events: int, keys: int, *, threads: bool) -> float:
    """Events per second, from the first publish to the last outcome."""
    app = make_app(db, limits, threads=threads)
    async with app:
        async with app.transaction() as tx:
            for sql in TABLES:
                tx.execute(sql)
        async with app.running():
            began_s = time.perf_counter()
            for at in range(0, events, 500):
                await app.publish_many([Paid(key=f"k{n % keys}", n=n) for n in range(at, at + 500)])
            while await asyncio.to_thread(settled, app) <= events:
                await asyncio.sleep(0.02)
            taken_s = time.perf_counter() - began_s
        async with app.transaction() as tx:
            if tx.execute("select count(*) from effect") != [(events,)]:
                raise SystemExit("effects are missing")
    return events / taken_s


def on_sqlite(events: int, keys: int, *, threads: bool) -> float:
    with tempfile.TemporaryDirectory(prefix="commute-bench-", dir=Path.cwd()) as folder:
        return asyncio.run(measure(f"sqlite:///{folder}/store.db", Limits(), events, keys, threads=threads))


def on_postgres(base: str, limits: Limits, events: int, keys: int, *, threads: bool) -> float:
    schema = f"bench_{secrets.token_hex(4)}"
    url = f"{base}?schema={schema}&options=-csearch_path%3D{schema}"
    create(url)
    try:
        return asyncio.run(measure(url, limits, events, keys, threads=threads))
    finally:
        connection = Settings(parse(url), 60.0, 15.0).connect()
        connection.raw.execute(f"drop schema {schema} cascade".encode())
        connection.close()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    ask.add_argument("url")
    ask.add_argument("--events", type=int, default=5_000)
    ask.add_argument("--repeats", type=int, default=3)
    asked = ask.parse_args()
    logging.disable(logging.WARNING)
    events = max(500, asked.events // 500 * 500)
    print(f"{'handlers':<10}{'keys':>6}{'sqlite':>12}{'postgresql':>12}{'with 24 connections':>22}   events/s, medians")
    for threads in (False, True):
        for keys in (1_000, 1):
            runs = (
                partial(on_sqlite, events, keys, threads=threads),
                partial(on_postgres, asked.url, Limits(), events, keys, threads=threads),
                partial(on_postgres, asked.url, Limits(transactions_max=24), events, keys, threads=threads),
            )
            rates = [statistics.median(run() for _ in range(asked.repeats)) for run in runs]
            row = f"{rates[0]:>12,.0f}{rates[1]:>12,.0f}{rates[2]:>22,.0f}"
            print(f"{'def' if threads else 'async':<10}{keys:>6,}{row}", flush=True)


if __name__ == "__main__":
    main()
