"""Workers on the partitions of one stream, effects in PostgreSQL, workers killed, added and stopped all the time.

An app partitioned by customer with stock as adds; one event in `--poison` fails, and `HELD` later ones of its customer
are held behind it. Every few seconds a worker is killed (its supervisor starts another one), or one is added, or the
added one is stopped or killed. Judged before anything is retried: lost, double effects, order violations, and held
cones: nothing has run before its blocker. Then the cause is gone, `commute dead retry` brings all back beside the
workers, and it is judged again.

Times, as medians: until a killed worker's successor is ready; until the process of an added one is up, and from then on
until it has done an event, and until it has its fair share; and how long no event at all was done, at most.

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
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from commute.link import discard, is_server, parse_url, with_stream
from commute.postgres.address import parse
from commute.postgres.connection import Settings
from commute.postgres.schema import create

ROOT = Path(__file__).resolve().parents[1]
APP = "benchmarks.apps.orders:app"
BATCH = 200
HELD = 3  # events behind each poisoned one
POISONED = 1_000_000  # customers from here on have a poisoned event: what comes after it is held
STALL_S = 60.0
LOOK_S = 0.1


class Bench:
    """One run on a stream and a schema of its own."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.fixed = folder / "fixed"
        self.schema = f"bench_{secrets.token_hex(4)}"
        url = with_stream(options.broker, f"bench-{secrets.token_hex(4)}")
        self.broker = f"{url}{'&' if '?' in url else '?'}partitions={options.partitions}"
        self.db = f"{options.db}?schema={self.schema}&options=-csearch_path%3D{self.schema}"
        self.environment = {
            **os.environ, "BENCH_BROKER": self.broker, "BENCH_DB": self.db, "BENCH_FIXED": str(self.fixed),
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

    def number(self, sql: str) -> int:
        return int(self.rows(sql)[0][0])

    def done(self) -> int:
        return self.number("select count(*) from trail")

    def dead(self) -> dict[str, int]:
        return dict(self.rows(f"select status, count(*) from {self.schema}.dead group by 1"))

    def owned(self) -> dict[int, int]:
        """How many partitions each process was the last to take."""
        return dict(
            self.rows(
                f"select pid, count(*) from {self.schema}.commute_owners where name ~ '^orders#[0-9]+$' group by 1"
            )
        )

    def publish(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, str(Path(__file__)), "--produce", *sys.argv[1:]]
        return subprocess.Popen(program, env=self.environment)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "commute", *words], env=self.environment, cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    def close(self) -> None:
        self.connection.execute(f"drop schema {self.schema} cascade".encode())
        self.connection.commit()
        self.connection.close()
        discard(parse_url(self.broker), "orders")


class Crew:
    """The workers: `--workers` of them looked after by one command, and one more that comes and goes."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._out = folder / "out"
        self._added_out = folder / "added"
        self._supervisor = self._start(self._out, "--workers", str(bench.options.workers))
        self._added: subprocess.Popen[bytes] | None = None
        self.counts = dict.fromkeys(("killed", "added", "stopped", "added_killed"), 0)
        self.again_s: list[float] = []  # from a kill until the next one is ready
        self.starts_s: list[float] = []  # from the start of an added one's process until it looks for work
        self.works_s: list[float] = []  # from there until it has done an event
        self.fair_s: list[float] = []  # from there until it has its share

    def _start(self, path: Path, *options: str) -> subprocess.Popen[bytes]:
        with path.open("a") as log:
            command = [sys.executable, "-m", "commute", "run", APP, *options]
            return subprocess.Popen(command, env=self._bench.environment, cwd=ROOT, stdout=log, stderr=log)

    def ready(self) -> int:
        return self._out.read_text().count("ready in")

    def said(self) -> str:
        return "\n".join(path.read_text() for path in (self._out, self._added_out) if path.exists())

    def kill(self, wait: Callable[[Callable[[], bool]], bool]) -> None:
        pids = [int(pid) for pid in re.findall(r"pid (\d+)$", self._out.read_text(), re.MULTILINE)]
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        if not alive:
            raise SystemExit(f"no worker is left:\n{self.said()[-3_000:]}")
        before, killed_s = self.ready(), time.perf_counter()
        os.kill(random.choice(alive), signal.SIGKILL)
        self.counts["killed"] += 1
        if wait(lambda: self.ready() > before):
            self.again_s.append(time.perf_counter() - killed_s)

    def add(self, wait: Callable[[Callable[[], bool]], bool]) -> None:
        bench, began_s = self._bench, time.perf_counter()
        added = self._added = self._start(self._added_out)
        self.counts["added"] += 1
        if not wait(lambda: f"pid {added.pid}\n" in self._added_out.read_text()):
            return
        looks_s = time.perf_counter()
        self.starts_s.append(looks_s - began_s)
        if not wait(lambda: bench.number(f"select count(*) from trail where pid = {added.pid}") > 0):
            return
        self.works_s.append(time.perf_counter() - looks_s)
        fair = bench.options.partitions // (bench.options.workers + 1)
        if wait(lambda: bench.owned().get(added.pid, 0) >= fair):
            self.fair_s.append(time.perf_counter() - looks_s)

    def stop(self) -> None:
        self._end(signal.SIGTERM, "stopped")

    def kill_added(self) -> None:
        self._end(signal.SIGKILL, "added_killed")

    def _end(self, number: signal.Signals, what: str) -> None:
        added, self._added = self._added, None
        if added is not None:
            added.send_signal(number)
            added.wait()
            self.counts[what] += 1

    def close(self) -> None:
        for process in (self._added, self._supervisor):
            if process is not None:
                process.send_signal(signal.SIGTERM)
                process.wait()


async def produce(options: argparse.Namespace) -> None:
    from benchmarks.apps.orders import Ordered, app

    made: dict[int, int] = {}
    batch: list[Ordered] = []
    chance = random.Random(1)
    held: list[int] = []

    def make(customer: int, sku: int) -> None:
        made[customer] = made.get(customer, 0) + 1
        batch.append(Ordered(customer=customer, number=made[customer] - 1, sku=sku))

    async with app:
        for n in range(options.events):
            if n % options.poison == options.poison - 1:
                make(POISONED + n, -1)
                held += [POISONED + n] * HELD
            else:
                make(chance.randrange(options.customers), n % 50)
            if held and n % max(1, options.poison // (2 * HELD)) == 0:  # some time later, when owners may have changed
                make(held.pop(0), n % 50)
            if len(batch) >= BATCH:
                await app.publish_many(batch)
                batch.clear()
        for customer in held:
            make(customer, 0)
        if batch:
            await app.publish_many(batch)


class Watch:
    """How many events are done, and how long none was."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.done = 0
        self._moved_s = time.monotonic()
        self.still_s_max = 0.0

    def look(self) -> int:
        done = self._bench.done()
        now_s = time.monotonic()
        if done != self.done:
            if self.done:
                self.still_s_max = max(self.still_s_max, now_s - self._moved_s)
            self.done, self._moved_s = done, now_s
        return done

    def stalled(self) -> bool:
        return time.monotonic() - self._moved_s > STALL_S

    def until(self, done: int, true: Callable[[], bool]) -> bool:
        """Wait for it; False if all `done` events were done before, or nothing happens any more."""
        while not true():
            if self.look() >= done or self.stalled():
                return False
            time.sleep(LOOK_S)
        return True


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    bench = Bench(options, folder)
    poisoned = options.events // options.poison
    first, whole = options.events - poisoned, options.events + HELD * poisoned
    crew = Crew(bench, folder)
    try:
        while crew.ready() < options.workers:
            time.sleep(LOOK_S)
        began_s = time.perf_counter()
        producer = bench.publish()
        watch = Watch(bench)

        def wait(true: Callable[[], bool]) -> bool:
            return watch.until(first, true)

        turns: list[Callable[[], None]] = [
            partial(crew.add, wait), partial(crew.kill, wait), crew.stop,
            partial(crew.add, wait), crew.kill_added, partial(crew.kill, wait),
        ]  # fmt: skip
        turn = cycle(turns)
        next_s = time.monotonic() + options.every
        while watch.look() < first and not watch.stalled():
            if time.monotonic() > next_s:
                next(turn)()
                next_s = time.monotonic() + options.every
            if sys.stderr.isatty():
                print(f"\r  {watch.done:,} of {first:,}, {crew.counts}", end="", file=sys.stderr)
            time.sleep(LOOK_S)
        took_s = time.perf_counter() - began_s
        producer.wait()
        expected = {"parked": poisoned, "held": HELD * poisoned}
        Watch(bench).until(first + 1, lambda: bench.dead() == expected)  # the last ones may just be on their way
        found = {**measured(crew, watch, first, took_s), **judged(bench, first)}
        found["held_are_right"] = bench.dead() == expected
        found["ran_before_their_blocker"] = bench.number(f"select count(*) from trail where customer >= {POISONED}")
        bench.fixed.touch()
        for number in range(options.partitions):
            bench.command("dead", "retry", APP, "--all", "--yes", "--partition", str(number))
        Watch(bench).until(whole + 1, lambda: bench.done() >= whole)
        found |= {f"after_retry_{name}": value for name, value in judged(bench, whole).items()}
        found["after_retry_dead"] = sum(bench.dead().values())
        if not right(found):
            print(crew.said()[-8_000:], file=sys.stderr)
    finally:
        crew.close()
    print(file=sys.stderr)
    bench.close()
    return {
        "broker": options.broker.split(":")[0], "events": options.events, "poisoned": poisoned,
        "partitions": options.partitions, "workers": options.workers, **found,
    }  # fmt: skip


def measured(crew: Crew, watch: Watch, done: int, took_s: float) -> dict[str, Any]:
    times = {
        "again_after_a_kill_s": crew.again_s, "added_starts_s": crew.starts_s, "added_then_works_s": crew.works_s,
        "added_then_has_its_share_s": crew.fair_s,
    }  # fmt: skip
    return {
        **crew.counts, "per_s": round(done / took_s),
        **{name: round(median(each), 2) if each else None for name, each in times.items()},
        "nothing_done_for_s_max": round(watch.still_s_max, 2),
    }  # fmt: skip


def judged(bench: Bench, expected: int) -> dict[str, Any]:
    done = bench.done()
    different = bench.number("select count(*) from (select distinct customer, number from trail) t")
    return {
        "lost": expected - different, "double_effects": done - different,
        "order_violations": bench.number("select count(*) from trail where number != step"),
        "stock_is_right": bench.number("select coalesce(sum(quantity), 0) from stock") == done,
    }  # fmt: skip


def right(found: dict[str, Any]) -> bool:
    broken = ("lost", "double_effects", "order_violations", "after_retry_dead", "ran_before_their_blocker")
    return not any(value for name, value in found.items() if name.endswith(broken)) and all(
        value for name, value in found.items() if name.endswith("right")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default=os.environ.get("COMMUTE_TEST_RABBITMQ", ""))
    parser.add_argument("--db", default=os.environ.get("COMMUTE_TEST_POSTGRESQL", ""))
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--poison", type=int, default=1_000, help="one event in so many fails until the end")
    parser.add_argument("--every", type=float, default=3.0, metavar="S", help="a worker comes or goes so often")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--produce", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.produce:
        asyncio.run(produce(options))
        return
    if not options.broker or not is_server(options.broker) or not options.db:
        print("left out: it needs --broker (amqp:// or kafka://) and --db postgresql://…")
        return
    with tempfile.TemporaryDirectory() as folder:
        found = run(options, Path(folder))
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"  {name:30} {value}")
    if not right(found):
        raise SystemExit("something is wrong")


if __name__ == "__main__":
    main()
