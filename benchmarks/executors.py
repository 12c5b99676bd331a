"""Handlers that compute, on one strictly ordered log: what a second process, or Dask worker, brings.

Every event writes one key, a tenth of them one hot key. Each run is checked: `core.history` judges the recorded
schedule, and the lines that the handlers have written give, for every key, the sequence in which its events really ran.

    threads       `def` handlers in the worker itself: one core, whatever their number
    processes N   executor="processes", processes_max=N
    dask N        a local cluster of N Dask workers with one thread each (needs the extra dask)

The runs alternate; medians over the rounds. Ratios are of events a second, two against one.

    python benchmarks/executors.py [--events 400] [--ms 20] [--rounds 5] [--no-dask] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.apps.heavy import Compute, compute

from commute import App, Limits
from commute.core.history import History
from commute.replay import Recording

HOT = 10  # every so manieth event is of the hot key
KEYS = 40
START_S_MAX = 60.0
POLL_S = 0.002


def rounds_for(milliseconds: float) -> int:
    """How many hashes take this long on one core here."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Compute(key="probe", n=0, rounds=20_000, log=f"{folder}/log")
        best_s = min(_seconds(probe) for _ in range(5))
    return max(1, int(probe.rounds * milliseconds / 1000 / best_s))


def _seconds(event: Compute) -> float:
    began_s = time.perf_counter()
    compute(event)
    return time.perf_counter() - began_s


def make_events(count: int, rounds: int, log: str) -> list[Compute]:
    numbers: defaultdict[str, int] = defaultdict(int)
    found = []
    for at in range(count):
        key = "hot" if at % HOT == 0 else f"key{at % KEYS}"
        numbers[key] += 1
        found.append(Compute(key=key, n=numbers[key], rounds=rounds, log=log))
    return found


async def measure(executor: str, processes: int, count: int, rounds: int) -> float:
    """Events a second of one run. Raises AssertionError where a sequence was not kept."""
    with tempfile.TemporaryDirectory() as folder:
        limits = Limits(processes_max=processes)
        app: App[None] = App("bench", f"sqlite:///{folder}/bench.db", limits=limits)
        app.on(Compute, writes="key/{key}", executor=executor)(compute)
        recording = Recording()
        async with app:
            worker = app.worker(recorder=recording)
            await worker.start()
            if worker.ended:
                await worker.wait()  # raises why it could not begin
            assert worker.session is not None
            engine = worker.session.engine
            began_s = time.perf_counter()
            await app.publish_many(make_events(count, rounds, f"{folder}/log"))
            while engine.done < count:
                await asyncio.sleep(POLL_S)
            took_s = time.perf_counter() - began_s
            await worker.stop()
        check(recording.history, Path(folder) / "log", count)
    return count / took_s


def check(history: History, log: Path, count: int) -> None:
    verdict = history.check()
    assert not verdict.violations, verdict.violations[:3]
    ran: defaultdict[str, list[int]] = defaultdict(list)
    for line in log.read_text().splitlines():
        key, n = line.split()
        ran[key].append(int(n))
    assert sum(map(len, ran.values())) == count, "an event ran twice or not at all"
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in ran.values()), "a key's sequence was not kept"


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A scheduler and so many workers on loopback, as the URL for `executor=`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    parts: list[subprocess.Popen[bytes]] = []
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}

    def start(kind: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
        parts.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True))

    with tempfile.TemporaryDirectory() as folder:
        try:
            start("scheduler", "--host", "127.0.0.1", "--port", str(port))
            for _ in range(workers):
                start("worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--local-directory", folder)
            asyncio.run(until_there(port, workers))
            yield f"dask://127.0.0.1:{port}"
        finally:
            for part in parts:
                os.killpg(part.pid, signal.SIGKILL)
                part.wait()


async def until_there(port: int, workers: int) -> None:
    import distributed

    make_client: Any = distributed.Client
    address = f"tcp://127.0.0.1:{port}"
    async with make_client(address, asynchronous=True, set_as_default=False, timeout=START_S_MAX) as client:
        await client.wait_for_workers(workers, timeout=START_S_MAX)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--ms", type=float, default=20.0, help="of computing an event")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-dask", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    logging.getLogger("commute").setLevel(logging.ERROR)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    hashes = rounds_for(asked.ms)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(asked.rounds):
        found["threads"].append(asyncio.run(measure("threads", 1, asked.events, hashes)))
        for count in (1, 2):
            found[f"processes {count}"].append(asyncio.run(measure("processes", count, asked.events, hashes)))
        for count in () if asked.no_dask else (1, 2):
            with cluster(count) as url:
                found[f"dask {count}"].append(asyncio.run(measure(url, 1, asked.events, hashes)))
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        name: statistics.median(two / one for one, two in zip(found[f"{name} 1"], found[f"{name} 2"], strict=True))
        for name in ("processes", "dask")
        if f"{name} 2" in found
    }
    if asked.json:
        print(json.dumps({"events_per_s": medians, "ratios": ratios}))
        return
    for name, per_s in medians.items():
        low, high = min(found[name]), max(found[name])
        print(f"{name:12} {per_s:8.1f}/s   ({low:.1f} to {high:.1f})")
    for name, ratio in ratios.items():
        print(f"{name}: two are {ratio:.2f} x one, every key's sequence kept")


if __name__ == "__main__":
    main()
