"""One key that everything waits for: what a million waiting events cost, and whether other keys notice.

    idle       a worker with nothing to do: the memory that everything is compared with
    bounded    descriptors_max as it is: the intake stops there, the status names the key
    unbounded  descriptors_max beyond the log: all is taken in, and what touches other keys, though it lies behind all
               of it in the log, is processed

Each is a process of its own on the same durable log; the handler of the hot key waits until the end. Memory is the
resident set, after a collection, over that of the idle one. `--where` says which lines hold the bytes of a waiting
event, by tracemalloc in a fourth process.

    python benchmarks/hot_key.py [--events 1000000] [--others 20000] [--where] [--json]

Reads /proc: Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from commute import App, Event, Limits
from commute.runtime.status import snapshot
from commute.runtime.worker import Worker

BATCH = 5_000
IDLE_S = 0.3
TAKEN_S_MAX = 300.0
WHERE_LINES = 14
OTHERS_S_MAX = 60.0  # after everything was taken in; then they count as stuck
MIB = 1 << 20


class Hot(Event):
    product_id: int
    n: int


class Other(Event):
    product_id: int
    n: int


def make_app(path: Path, descriptors_max: int) -> tuple[App[None], set[int], asyncio.Event]:
    """The app, the numbers of the others that were processed, and what lets the hot ones go."""
    # Each part ends in the middle of the hot event, which is no death that it should be suspected for.
    limits = Limits(descriptors_max=descriptors_max, deaths_max=0)
    app: App[None] = App("bench", f"sqlite:///{path}", limits=limits)
    done: set[int] = set()
    gate = asyncio.Event()

    @app.on(Hot, writes="product/{product_id}")
    async def hot(event: Hot) -> None:
        await gate.wait()

    @app.on(Other, writes="product/{product_id}")
    async def other(event: Other) -> None:
        done.add(event.n)

    return app, done, gate


async def publish(path: Path, events: int, others: int) -> None:
    """All hot ones first, then the others: the worst sequence for them."""
    app, _, _ = make_app(path, 1)
    async with app:
        for begin in range(0, events, BATCH):
            await app.publish_many([Hot(product_id=7, n=n) for n in range(begin, min(begin + BATCH, events))])
        for begin in range(0, others, BATCH):
            numbers = range(begin, min(begin + BATCH, others))
            await app.publish_many([Other(product_id=1_000 + n % 5_000, n=n) for n in numbers])


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def until_full(worker: Worker, wanted: int, *, bounded: bool) -> None:
    """Wait until the worker has taken in all, or, where it is bounded, as much as it will."""
    assert worker.session is not None
    intake, until_s = worker.session.intake, time.monotonic() + TAKEN_S_MAX
    while intake.taken < wanted and time.monotonic() < until_s and not (bounded and intake.full_since_s is not None):
        await asyncio.sleep(0.02)


async def child(part: str, path: Path, asked: argparse.Namespace) -> dict[str, object]:
    """One part, in this process."""
    bounded = min(Limits().descriptors_max, asked.events)  # so that no part but the last comes to the others
    descriptors_max = 2 * asked.events if part == "unbounded" else bounded
    total = 0 if part == "idle" else asked.events + asked.others
    app, done, _ = make_app(path, descriptors_max)
    if part == "where":
        tracemalloc.start()
    async with app:
        worker = app.worker()
        before = tracemalloc.take_snapshot() if part == "where" else None
        await worker.start()
        assert worker.session is not None
        began_s = time.perf_counter()
        if part == "idle":
            await asyncio.sleep(IDLE_S)
        else:
            await until_full(worker, total, bounded=part != "unbounded")
        taken_s = time.perf_counter() - began_s
        until_s = time.perf_counter() + OTHERS_S_MAX
        while part == "unbounded" and len(done) < asked.others and time.perf_counter() < until_s:
            await asyncio.sleep(0.02)
        others_s = time.perf_counter() - began_s
        gc.collect()
        now = snapshot(worker.session, time.time())
        found: dict[str, object] = {
            "rss_bytes": rss_bytes(),
            "rss_max_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "waiting": now["waiting"],
            "keys": now["keys"][:1],
            "full": now["full"],
            "others": len(done),
            "taken_in_s": round(taken_s, 2),
            "others_s": round(others_s, 2),
        }
        if before is not None:
            waiting = max(1, int(now["waiting"]))
            found["lines"] = _lines(tracemalloc.take_snapshot(), before, waiting)
        print(json.dumps(found), flush=True)
        os._exit(0)  # the pending events stay as they are for the next part


def _lines(after: tracemalloc.Snapshot, before: tracemalloc.Snapshot, waiting: int) -> dict[str, float]:
    """Bytes a waiting event by the line that made them, largest first."""
    differences = after.compare_to(before, "lineno")
    differences.sort(key=lambda one: -one.size_diff)
    found: dict[str, float] = {}
    for one in differences[:WHERE_LINES]:
        frame = one.traceback[0]
        found[f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"] = round(one.size_diff / waiting, 1)
    found["all lines"] = round(sum(one.size_diff for one in differences) / waiting, 1)
    return found


def run(part: str, path: Path, asked: argparse.Namespace) -> dict[str, object]:
    """One part in a process of its own."""
    print(f"  {part}", file=sys.stderr)
    arguments = ["--part", part, "--path", path, "--events", asked.events, "--others", asked.others]
    ended = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True, timeout=900
    )
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def ask() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="example: python benchmarks/hot_key.py --events 200000 --where",
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the hot key")
    parser.add_argument("--others", type=int, default=20_000, help="events of other keys, behind them in the log")
    parser.add_argument("--where", action="store_true", help="also which lines hold the bytes")
    parser.add_argument("--directory", type=Path, help="where the file is made; default: a temporary one")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(directory: Path, asked: argparse.Namespace) -> dict[str, object]:
    idle = run("idle", directory / "empty.db", asked)
    path = directory / "hot.db"
    print(f"  publishing {asked.events + asked.others:,} events", file=sys.stderr)
    asyncio.run(publish(path, asked.events, asked.others))
    parts = {"bounded": run("bounded", path, asked)}
    if asked.where:
        parts["where"] = run("where", path, asked)
    parts["unbounded"] = run("unbounded", path, asked)
    result: dict[str, object] = {"events": asked.events, "idle_mib": _mib(idle["rss_bytes"])}
    for part, found in parts.items():
        over = int(str(found["rss_bytes"])) - int(str(idle["rss_bytes"]))
        result[part] = {
            "over_idle_mib": _mib(over),
            "peak_over_idle_mib": _mib(int(str(found["rss_max_bytes"])) - int(str(idle["rss_max_bytes"]))),
            "waiting": found["waiting"],
            "bytes_each": round(over / max(1, int(str(found["waiting"])))),
            "fullest_key": found["keys"],
            "full": found["full"],
            "others_processed": found["others"],
            "taken_in_s": found["taken_in_s"],
            "others_s": found["others_s"],
            **({"lines": found["lines"]} if "lines" in found else {}),
        }
    return result


def _mib(size_bytes: object) -> float:
    return round(int(str(size_bytes)) / MIB, 1)


def main() -> int:
    asked = ask()
    logging.basicConfig(level=logging.ERROR)
    if asked.part:
        asyncio.run(child(asked.part, asked.path, asked))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        directory = asked.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        result = measure(directory, asked)
    if asked.json:
        print(json.dumps(result))
        return 0
    for name, value in result.items():
        if isinstance(value, dict):
            print(name)
            for part, figure in value.items():
                if part == "lines":
                    for line, size_bytes in figure.items():
                        print(f"    {line:40} {size_bytes:8} bytes an event")
                else:
                    print(f"  {part:20} {figure}")
        else:
            print(f"{name:22} {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
