"""Kills workers with SIGKILL at random moments, for as many rounds as asked, and counts what that broke.

A worker, a real process with a durable broker, is killed a few milliseconds after it has begun to work (every tenth
while it still starts), while another process publishes. At the end, one worker runs what is left, and the log, the
table of effects and the final state are compared: nothing that was confirmed may be lost, no effect may be there
twice, every key must have seen its events in log sequence, children must be there once, and the final state must be
that of a serial run over the log.

Afterwards, with deaths counted: one event whose handler ends the process, among as many as run at once. A loop
restarts the worker; that event alone may end up parked.

    python benchmarks/crash.py [--rounds 500] [--seed 0] [--deaths-max 5] [--json]

Processes are forked from a parent that has everything imported and nothing opened, so a round costs a start without
the interpreter's. Needs fork(2): Linux, macOS.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.apps.accounts import (
    NOTE_EVERY,
    TABLES,
    Link,
    Move,
    Poison,
    Tally,
    handlers_of,
    make_app,
    serial,
)

import commute.runtime.worker
import commute.transports.sqlite
from commute import App, Event
from commute.store.reading import count_dead, find_scope, read_outbox_parents, read_partitions

KEYS = 40
BACKLOG = 400  # moves that the producer keeps ahead of the workers
DEADLINE_S = 120.0  # for what takes seconds if all is well
DONE, PUBLISHED, STOP = range(3)


class Board:
    """Numbers that all processes see: memory mapped before the forks, one word each, one writer a word."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, 64)).cast("Q")

    def __getitem__(self, at: int) -> int:
        return self._words[at]

    def __setitem__(self, at: int, value: int) -> None:
        self._words[at] = value


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a new process; returns its id. An exception ends it with status 1 and its traceback."""
    gc.freeze()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def finish(pid: int, what: str) -> None:
    """Wait for a process that must end well."""
    until_s = time.monotonic() + DEADLINE_S
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > until_s:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise SystemExit(f"{what} did not end within {DEADLINE_S:.0f} s")
        time.sleep(0.002)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{what} ended with {os.waitstatus_to_exitcode(status)}")


def set_up(url: str) -> None:
    async def tables() -> None:
        app = make_app(url, deaths_max=0)
        async with app, app.transaction() as tx:
            for sql in TABLES:
                tx.execute(sql)

    asyncio.run(tables())


def make_event(chance: random.Random, n: int) -> Event:
    kind = chance.random()
    left, right = (f"k{key}" for key in chance.sample(range(KEYS), 2))
    if kind < 0.7:
        return Move(left=left, right=right, n=n)
    if kind < 0.9:
        return Tally(key=left, n=n)
    return Link(key=f"c{n % 5}", n=n)


def produce(url: str, board: Board, confirmed: Path, seed: int) -> None:
    """Publish in small batches, note what was confirmed, and never be far ahead."""
    chance = random.Random(seed)

    async def publish() -> None:
        n = moves = 0
        with confirmed.open("w") as notes:
            async with make_app(url, deaths_max=0) as app:
                while not board[STOP]:
                    if board[PUBLISHED] > board[DONE] + BACKLOG:
                        await asyncio.sleep(0.001)
                        continue
                    batch = [make_event(chance, n + i) for i in range(chance.randint(1, 40))]
                    receipts = await app.publish_many(batch)
                    n += len(batch)
                    moves += sum(type(event) is Move for event in batch)
                    for receipt in receipts:
                        notes.write(receipt.event_id + "\n")
                    notes.flush()
                    board[PUBLISHED] = moves

    asyncio.run(publish())


def work(url: str, board: Board, deaths_max: int) -> None:
    """A worker that runs until it is killed."""

    def ran() -> None:
        board[DONE] += 1

    async def run() -> None:
        app = make_app(url, deaths_max=deaths_max, ran=ran)
        async with app, app.running():
            await asyncio.Event().wait()

    asyncio.run(run())


def drain(url: str, deaths_max: int) -> None:
    """A worker that runs until everything in the log has its outcome, or is parked or held; then ends in order."""

    async def run() -> None:
        app = make_app(url, deaths_max=deaths_max)
        async with app, app.running():
            while not _all_settled(app):
                await asyncio.sleep(0.01)

    asyncio.run(run())


def _all_settled(app: App[None]) -> bool:
    file, last = app.connect().file, app.log.last_position()
    scope = file.read(lambda c: find_scope(c, app.group, app.url.stream))
    if scope is None:
        return False
    states = file.read(lambda c: read_partitions(c, scope))
    waiting = file.read(lambda c: read_outbox_parents(c, scope))
    # Read last: a child that was appended meanwhile moves it.
    return bool(states) and states[0].watermark > last == app.log.last_position() and not waiting


def kill_rounds(url: str, board: Board, rounds: int, chance: random.Random) -> dict[str, float]:
    """Start and kill; returns how many were killed when, and how long they took to the first effect."""
    starts: list[float] = []
    during_start = 0
    for number in range(rounds):
        began_s = time.monotonic()
        before = board[DONE]
        pid = fork(lambda: work(url, board, 0))
        if chance.random() < 0.1:
            during_start += 1
            time.sleep(chance.uniform(0, 0.06))
        else:
            until_s = time.monotonic() + DEADLINE_S
            while board[DONE] == before:
                if time.monotonic() > until_s:
                    os.kill(pid, signal.SIGKILL)
                    raise SystemExit(f"round {number}: nothing was done for {DEADLINE_S:.0f} s")
                time.sleep(0.0005)
            starts.append(time.monotonic() - began_s)
            time.sleep(chance.uniform(0.002, 0.06))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if number % 25 == 24:
            print(f"  {number + 1} of {rounds} killed, {board[DONE]:,} moves", file=sys.stderr)
    starts.sort()
    return {
        "killed": rounds,
        "killed_while_starting": during_start,
        "start_to_first_effect_s": round(starts[len(starts) // 2], 3) if starts else 0.0,
    }


def judge(url: str, confirmed: set[str], db: str | None = None) -> dict[str, int | bool]:
    """What the log, the effects and the state say against each other. Opens the file: no fork after it."""
    app = make_app(url, deaths_max=0, db=db)
    file = app.connect().file
    log = app.log.range(1, app.log.last_position())
    found: dict[str, int | bool] = {"events": len(log), "confirmed": len(confirmed)}
    ids = [delivery.message.id for delivery in log]
    found["stored_twice"] = len(ids) - len(set(ids))
    effects = [
        (str(event), str(handler), int(str(position)), str(key))
        for event, handler, position, key in file.read(
            lambda c: c.execute("select event, handler, position, key from effect order by n").fetchall()
        )
    ]
    times = Counter((event, handler, key) for event, handler, _, key in effects)
    found["effects"] = len(effects)
    found["double_effects"] = sum(count - 1 for count in times.values())
    handled = {(event, handler) for event, handler, _ in times}
    poisons = {d.message.id for d in log if d.message.type == "poison"}
    lost = [
        delivery.message.id
        for delivery in log
        for handler in handlers_of(delivery.message.type)
        if (delivery.message.id, handler) not in handled and delivery.message.id not in poisons
    ]
    found["lost"] = len(confirmed - set(ids)) + len(lost)
    last: dict[str, int] = {}
    found["order_violations"] = 0
    for _, _, position, key in effects:
        if key:
            found["order_violations"] += position < last.get(key, 0)
            last[key] = max(last.get(key, 0), position)
    found |= _judge_children(log)
    accounts, totals = serial((d.message.type, d.message.data) for d in log)
    accounts_found = set(file.read(lambda c: c.execute("select key, value from account").fetchall()))
    totals_found = set(file.read(lambda c: c.execute("select key, value from total").fetchall()))
    found["state_equal"] = accounts_found == set(accounts.items()) and totals_found == set(totals.items())
    scope = file.read(lambda c: find_scope(c, app.group, app.url.stream))
    found["dead"] = sum(file.read(lambda c: count_dead(c, scope or 0)).values())
    app.close()
    return found


def _judge_children(log: list[commute.transports.base.Delivery]) -> dict[str, int]:
    """Children that are missing, twice there, or, where a chain keeps them in sequence, out of it."""
    wrong = out_of_sequence = 0
    parents = {d.message.id: d for d in log}
    children: Counter[str] = Counter()
    last: dict[str, int] = {}
    for delivery in log:
        message = delivery.message
        if message.type in ("note", "linked"):
            cause = (message.attributes or {})["causationid"]
            children[cause] += 1
            if message.type == "linked":
                key, position = json.loads(message.data)["key"], parents[cause].position
                out_of_sequence += position < last.get(key, 0)
                last[key] = position
    for delivery in log:
        type_ = delivery.message.type
        sends = type_ == "link" or (type_ == "move" and json.loads(delivery.message.data)["n"] % NOTE_EVERY == 0)
        wrong += children[delivery.message.id] != int(sends)
    return {"wrong_children": wrong, "children_out_of_sequence": out_of_sequence}


def running_at_death(path: Path) -> int:
    """How many events the in-flight record says ran when its process died."""
    words = struct.unpack(f"={path.stat().st_size // 8}Q", path.read_bytes())
    return sum(1 for word in words[1::2] if word)


def poison_rounds(url: str, broker: Path, events: int, deaths_max: int) -> dict[str, object]:
    """One event whose handler ends the process, in the middle of others: how a loop of restarts ends."""

    def publish() -> None:
        async def send() -> None:
            chance = random.Random(3)
            batch = [make_event(chance, n) for n in range(events)]
            batch.insert(events // 2, Poison(n=0))
            async with make_app(url, deaths_max=deaths_max) as app:
                await app.publish_many(batch)

        asyncio.run(send())

    set_pid = fork(lambda: set_up(url))
    finish(set_pid, "the set-up")
    finish(fork(publish), "the producer")
    deaths: list[int] = []
    began_s = time.monotonic()
    while True:
        pid = fork(lambda: drain(url, deaths_max))
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            break
        if code != 9 or len(deaths) > 10 * deaths_max + 10:
            raise SystemExit(f"the worker ended with {code} after {len(deaths)} deaths")
        deaths.append(running_at_death(Path(f"{broker}-accounts.running")))
        print(f"  the worker died with {deaths[-1]} events running", file=sys.stderr)
    return {"deaths": len(deaths), "running_at_death": deaths, "seconds": round(time.monotonic() - began_s, 2)}


def parked_types(url: str) -> list[str]:
    app = make_app(url, deaths_max=0)
    rows = app.connect().file.read(lambda c: c.execute("select type, status from dead order by position").fetchall())
    app.close()
    return [f"{type_} {status}" for type_, status in rows]


def ask() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="example: python benchmarks/crash.py --rounds 50 --seed 7 --json",
    )
    parser.add_argument("--rounds", type=int, default=500, help="workers to kill (0: only the poison)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deaths-max", type=int, default=5, help="of the poison; 0 leaves that part out")
    parser.add_argument("--events", type=int, default=600, help="events around the poison")
    parser.add_argument("--directory", type=Path, help="where the files are made (and kept); default: a temporary one")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    parser.add_argument("--verbose", action="store_true", help="the workers' own messages")
    return parser.parse_args()


def crash(directory: Path, asked: argparse.Namespace) -> dict[str, object]:
    """All rounds and their verdict. Everything is forked before anything is opened here."""
    result: dict[str, object] = {}
    began_s = time.monotonic()
    if asked.rounds:
        broker, confirmed = directory / "crash.db", directory / "confirmed"
        url, board, chance = f"sqlite:///{broker}", Board(), random.Random(asked.seed)
        finish(fork(lambda: set_up(url)), "the set-up")
        producer = fork(lambda: produce(url, board, confirmed, asked.seed))
        result |= kill_rounds(url, board, asked.rounds, chance)
        board[STOP] = 1
        finish(producer, "the producer")
        finish(fork(lambda: drain(url, 0)), "the last worker")
    if asked.deaths_max:
        poisoned = directory / "poison.db"
        poison: dict[str, object] = poison_rounds(f"sqlite:///{poisoned}", poisoned, asked.events, asked.deaths_max)
        poison |= judge(f"sqlite:///{poisoned}", set())
        poison["dead"] = parked_types(f"sqlite:///{poisoned}")
        result["poison"] = poison
    if asked.rounds:
        result |= judge(url, set(confirmed.read_text().split()))
    result["seconds"] = round(time.monotonic() - began_s, 1)
    return result


def sound(found: dict[str, object]) -> bool:
    """Whether nothing that `judge` counts was broken."""
    wrong = ("lost", "double_effects", "order_violations", "wrong_children", "children_out_of_sequence", "stored_twice")
    return bool(found["state_equal"]) and not any(found[name] for name in wrong)


def main() -> int:
    asked = ask()
    logging.basicConfig(level=logging.INFO if asked.verbose else logging.CRITICAL)
    with tempfile.TemporaryDirectory() as temporary:
        directory = asked.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        result = crash(directory, asked)
    poison = result.get("poison")
    assert poison is None or isinstance(poison, dict)
    good = (not asked.rounds or (sound(result) and result["dead"] == 0)) and (
        poison is None or (sound(poison) and poison["dead"] == ["poison parked"])
    )
    result["sound"] = good
    if asked.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:28} {value}")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
