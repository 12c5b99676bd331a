"""Kill -9 and restart of real brokers under load: what was confirmed, lost, and doubled, and how long nothing went.

A producer sends events in batches, each again by the same ids until it is confirmed; a journal is fed as a worker's is.
Every few seconds the broker's process gets SIGKILL and is started again on its data. At the end the journal is held
against what was confirmed. The brokers are this run's own, with their own ports and data.

    python benchmarks/broker_kill.py [--kills 5] [--within-s 240] [--broker "RabbitMQ quorum" ...]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from commute.errors import CommuteError
from commute.limits import Limits
from commute.link import Link, parse_url, with_stream
from commute.transports.base import Message

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "brokers.py"
BATCH = 50
LOAD_S = 4.0  # between "publishing goes on" and the next kill
CATCH_UP_S = 30.0
BROKERS = {  # which server, further options of the URL, environment of the server
    "RabbitMQ quorum": ("rabbitmq", "?kind=quorum", {}),
    "RabbitMQ classic": ("rabbitmq", "?kind=classic", {}),
    "Kafka": ("kafka", "", {}),
    "Mosquitto default": ("mqtt", "", {"COMMUTE_MOSQUITTO": "default"}),
    "Mosquitto autosave": ("mqtt", "", {}),
}


@dataclass
class Run:
    """One broker, its load, and what came of it."""

    url: str
    folder: Path
    env: dict[str, str]
    name: str
    confirmed: list[str] = field(default_factory=list)
    answers_s: list[float] = field(default_factory=list)  # of the broker, after each kill
    pauses_s: list[float] = field(default_factory=list)  # until the next confirm, after each kill
    stopping: bool = False

    def link(self, file: str) -> Link:
        return Link.open(parse_url(self.url, str(self.folder / file)), None, Limits(), reader="kill")

    def produce(self) -> None:
        link = self.link("producer.db")
        log = link.transport()
        number = 0
        while not self.stopping:
            batch = [Message(f"e{number + n}", "/bench", "b", 1.5, b"{}") for n in range(BATCH)]
            while not self.stopping:
                try:
                    log.send_sync(batch)
                except CommuteError:
                    time.sleep(0.05)
                    continue
                self.confirmed += [message.id for message in batch]
                number += BATCH
                break
        link.close()

    def kill_and_wait(self, deadline_s: float) -> bool:
        """Whether publishing went on before the deadline."""
        control("kill", self.name, self.env)
        before, killed_s = len(self.confirmed), time.monotonic()
        control("start", self.name, self.env)
        self.answers_s.append(time.monotonic() - killed_s)
        while len(self.confirmed) == before:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.02)
        self.pauses_s.append(time.monotonic() - killed_s)
        return True


def control(verb: str, name: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), verb, name], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


async def measure(run: Run, options: argparse.Namespace) -> list[str]:
    """The rows of the journal, as ids in their sequence."""
    link = run.link("journal.db")
    log = link.transport()
    await log.open("kill")  # MQTT keeps messages only for those who have subscribed
    producer = threading.Thread(target=run.produce, daemon=True)
    producer.start()
    end_s = time.monotonic() + options.within_s
    while not run.confirmed and time.monotonic() < end_s:
        await asyncio.sleep(0.05)
    while len(run.pauses_s) < options.kills and time.monotonic() < end_s:
        await asyncio.sleep(LOAD_S)
        if not await asyncio.to_thread(run.kill_and_wait, end_s):
            break
    await asyncio.sleep(LOAD_S)
    run.stopping = True
    await asyncio.to_thread(producer.join, 60)
    end_s = time.monotonic() + CATCH_UP_S
    seen, wanted = -1, len(run.confirmed)
    while (there := log.last_position()) < wanted or there != seen:
        seen = there
        if time.monotonic() > end_s:
            break
        await asyncio.sleep(1.0)
    ids = [delivery.message.id for delivery in log.range(1, log.last_position())]
    await log.close()
    link.close()
    return ids


def judged(run: Run, ids: list[str], title: str) -> str:
    confirmed = set(run.confirmed)
    doubled = sum(count - 1 for count in Counter(ids).values())
    moved = sum(int(a[1:]) > int(b[1:]) for a, b in pairwise(ids))
    return (
        f"{title:<20} {len(run.pauses_s):>5} {len(confirmed):>9,} {len(confirmed - set(ids)):>6,} {doubled:>8,} "
        f"{moved:>10,} {shown(run.answers_s):>16} {shown(run.pauses_s):>16}"
    )


def shown(times_s: list[float]) -> str:
    return f"{median(times_s):.1f} ({max(times_s):.1f})" if times_s else "never"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="for each broker (5)")
    parser.add_argument("--within-s", type=float, default=240.0, help="for each broker (240)")
    parser.add_argument("--broker", action="append", choices=BROKERS, help="only these")
    options = parser.parse_args()
    logging.getLogger("commute").setLevel(logging.CRITICAL)
    print(f"{'broker':<20} {'kills':>5} {'confirmed':>9} {'lost':>6} {'doubled':>8} {'overtaken':>10} "
          f"{'answers again s':>16} {'goes on s (max)':>16}", flush=True)  # fmt: skip
    for title in options.broker or BROKERS:
        name, query, more = BROKERS[title]
        with tempfile.TemporaryDirectory(prefix="commute-kill-") as folder:
            env = {**os.environ, **more, "COMMUTE_BROKERS": f"{folder}/brokers"}
            try:
                url = with_stream(control("start", name, env).split()[1] + query, "kill")
                run = Run(url, Path(folder), env, name)
                print(judged(run, asyncio.run(measure(run, options)), title), flush=True)
            finally:
                control("stop", name, env)


if __name__ == "__main__":
    main()
