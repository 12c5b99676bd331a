"""Workers on the partitions of one stream, effects in PostgreSQL, workers killed all the time; then a judgement.

An app partitioned by customer with stock as adds, one event in `--poison` fails for good. Every few seconds a worker
is killed (its supervisor starts another one). At the end: lost, double effects, order violations, parked and held
events as they should be, and how long it took until a killed worker's successor was ready.

    python benchmarks/scale_out.py --broker amqp://127.0.0.1/ --db postgresql://USER:PASSWORD@HOST/DATABASE
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from commute.link import discard, is_server, parse_url, with_stream
from commute.postgres.address import parse
from commute.postgres.connection import Settings
from commute.postgres.schema import create

ROOT = Path(__file__).resolve().parents[1]
BATCH = 200
STALL_S = 60.0


class Bench:
    """One run on a stream and a schema of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.schema = f"bench_{secrets.token_hex(4)}"
        url = with_stream(options.broker, f"bench-{secrets.token_hex(4)}")
        self.broker = f"{url}{'&' if '?' in url else '?'}partitions={options.partitions}"
        self.db = f"{options.db}?schema={self.schema}&options=-csearch_path%3D{self.schema}"
        self.environment = {
            **os.environ, "BENCH_BROKER": self.broker, "BENCH_DB": self.db,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        }  # fmt: skip
        create(f"{options.db}?schema={self.schema}")
        self.connection = Settings(parse(self.db), transaction_s_max=600.0, vanished_s=15.0).connect().raw
        from benchmarks.apps.orders import TABLES

        for statement in TABLES:
            self.connection.execute(statement)
        self.connection.commit()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.connection.execute(sql.encode()).fetchall()
        self.connection.commit()
        return found

    def done(self) -> int:
        return int(self.rows("select count(*) from trail")[0][0])

    def publish(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, str(Path(__file__)), "--produce", *sys.argv[1:]]
        return subprocess.Popen(program, env=self.environment)

    def close(self) -> None:
        self.connection.execute(f"drop schema {self.schema} cascade".encode())
        self.connection.commit()
        self.connection.close()
        discard(parse_url(self.broker), "orders")


async def produce(options: argparse.Namespace) -> None:
    from benchmarks.apps.orders import Ordered, app

    made: dict[int, int] = {}
    batch: list[Ordered] = []
    chance = random.Random(1)
    async with app:
        for n in range(options.events):
            poisoned = n % options.poison == options.poison - 1
            # A poisoned customer's later orders are held behind it, so it has customers of its own.
            customer = 1_000_000 + n if poisoned else chance.randrange(options.customers)
            made[customer] = made.get(customer, 0) + 1
            batch.append(Ordered(customer=customer, number=made[customer] - 1, sku=-1 if poisoned else n % 50))
            if len(batch) == BATCH:
                await app.publish_many(batch)
                batch = []
        if batch:
            await app.publish_many(batch)


def run(options: argparse.Namespace) -> dict[str, Any]:
    bench = Bench(options)
    poisoned = options.events // options.poison
    kills, gaps_s = 0, []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [
            sys.executable,
            "-m",
            "commute",
            "run",
            "benchmarks.apps.orders:app",
            "--workers",
            str(options.workers),
        ]
        with out.open("w") as log:
            workers = subprocess.Popen(command, env=bench.environment, cwd=ROOT, stdout=log, stderr=log)
        try:
            while out.read_text().count("ready in") < options.workers:
                time.sleep(0.1)
            began_s = time.perf_counter()
            producer = bench.publish()
            next_kill_s, last, moved_s = time.monotonic() + options.kill_every, 0, time.monotonic()
            while (done := bench.done()) < options.events - poisoned:
                if done != last:
                    last, moved_s = done, time.monotonic()
                if time.monotonic() - moved_s > STALL_S:
                    break
                if time.monotonic() > next_kill_s:
                    pids = [int(pid) for pid in re.findall(r"pid (\d+)$", out.read_text(), re.MULTILINE)]
                    alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
                    if not alive:
                        raise SystemExit(f"no worker is left:\n{out.read_text()[-3_000:]}")
                    before = out.read_text().count("ready in")
                    os.kill(random.choice(alive), signal.SIGKILL)
                    kills += 1
                    killed_s = time.perf_counter()
                    while out.read_text().count("ready in") == before:
                        time.sleep(0.02)
                    gaps_s.append(time.perf_counter() - killed_s)
                    next_kill_s = time.monotonic() + options.kill_every
                print(f"\r  {done:,} of {options.events - poisoned:,}, {kills} killed", end="", file=sys.stderr)
                time.sleep(0.2)
            took_s = time.perf_counter() - began_s
            producer.wait()
            time.sleep(2.0)  # the last parked ones
        finally:
            workers.send_signal(signal.SIGTERM)
            workers.wait()
    print(file=sys.stderr)
    found = judged(bench, poisoned, kills, gaps_s, took_s)
    bench.close()
    return found


def judged(bench: Bench, poisoned: int, kills: int, gaps_s: Sequence[float], took_s: float) -> dict[str, Any]:
    dead = dict(bench.rows(f"select status, count(*) from {bench.schema}.dead group by 1"))
    done = bench.done()
    return {
        "broker": bench.options.broker.split(":")[0], "events": bench.options.events,
        "partitions": bench.options.partitions,
        "workers": bench.options.workers, "killed": kills,
        "lost": bench.options.events - poisoned - int(bench.rows(
            "select count(*) from (select distinct customer, number from trail) t")[0][0]),
        "double_effects": done - int(bench.rows(
            "select count(*) from (select distinct customer, number from trail) t")[0][0]),
        "order_violations": int(bench.rows("select count(*) from trail where number != step")[0][0]),
        "stock_is_right": int(bench.rows("select coalesce(sum(quantity), 0) from stock")[0][0]) == done,
        "parked": dead.get("parked", 0), "should_be_parked": poisoned, "held": dead.get("held", 0),
        "per_s": round(done / took_s), "again_after_a_kill_s": round(median(gaps_s), 2) if gaps_s else None,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default=os.environ.get("COMMUTE_TEST_RABBITMQ", ""))
    parser.add_argument("--db", default=os.environ.get("COMMUTE_TEST_POSTGRESQL", ""))
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--poison", type=int, default=1_000, help="one event in so many fails for good")
    parser.add_argument("--kill-every", type=float, default=4.0, metavar="S")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--produce", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.produce:
        asyncio.run(produce(options))
        return
    if not options.broker or not is_server(options.broker) or not options.db:
        print("left out: it needs --broker (amqp:// or kafka://) and --db postgresql://…")
        return
    found = run(options)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"  {name:22} {value}")
    if found["lost"] or found["double_effects"] or found["order_violations"] or not found["stock_is_right"]:
        raise SystemExit("something is wrong")


if __name__ == "__main__":
    main()
