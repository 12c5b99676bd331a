"""Events and handlers that other processes import; what they do is seen in files of the folder that an event names."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from commute import Context, DeadLetter, Event

SECONDS_MAX = 20.0


class Work(Event):
    """One write of one key. `do` says how the handler behaves."""

    key: str
    n: int
    folder: str
    do: str = ""


class Other(Event):
    """Waits until the file "go on" is there."""

    folder: str


class Done(Event):
    key: str
    n: int


class Refused(Exception):
    pass


def mark(folder: str, name: str, text: object) -> None:
    """Append a line; short ones of several processes do not mix."""
    with (Path(folder) / name).open("a") as file:
        file.write(f"{text}\n")


def wait_for(path: Path) -> None:
    end_s = time.monotonic() + SECONDS_MAX
    while not path.exists():
        assert time.monotonic() < end_s, f"{path.name} never came"
        time.sleep(0.005)


def meet(event: Work) -> None:
    """Returns only where another one runs at the same time."""
    for other in ("a", "b"):
        if other == event.key:
            mark(event.folder, f"here {other}", event.n)
    wait_for(Path(event.folder) / f"here {'b' if event.key == 'a' else 'a'}")


def die(event: Work) -> None:
    tries = Path(event.folder) / f"tries {event.n}"
    mark(event.folder, tries.name, os.getpid())
    if event.do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if event.do == "exit":
        os._exit(7)
    if event.do == "die once" and len(tries.read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGSEGV)


def work(event: Work, ctx: Context) -> None:
    mark(event.folder, f"began {event.key}", event.n)
    mark(event.folder, "pids", os.getpid())
    mark(event.folder, f"attempts {event.key}", ctx.attempt)
    if event.do == "meet":
        meet(event)
    if event.do == "hang":
        mark(event.folder, "hangs", os.getpid())
        time.sleep(3600)
    if event.do == "hang once" and ctx.attempt == 1:
        time.sleep(3600)
    if event.do == "wait":
        wait_for(Path(event.folder) / "go on")
    if event.do == "raise" or (event.do == "gateway" and not (Path(event.folder) / "mended").exists()):
        raise KeyError("tea-9")
    if event.do == "fatal":
        raise Refused("no more")
    if event.do == "dead letter":
        raise ExceptionGroup("several", [DeadLetter("the card is stolen")])
    die(event)
    if event.do == "publish":
        ctx.publish(Done(key=event.key, n=event.n))
        ctx.log.warning("published %d", event.n)
    mark(event.folder, f"ended {event.key}", event.n)


async def work_async(event: Work, ctx: Context) -> None:
    await asyncio.sleep(0)
    work(event, ctx)
    what = [event.n, ctx.attempt, ctx.idempotency_key, ctx.position, ctx.type, os.getpid()]
    mark(event.folder, "seen", " ".join(map(str, what)))


def hold(event: Other) -> None:
    mark(event.folder, "holds", os.getpid())
    wait_for(Path(event.folder) / "go on")


def sly_transaction(event: Work, ctx: Context) -> None:
    here = ctx
    here.transaction()


def sly_state(event: Work, ctx: Context) -> None:
    here = ctx
    mark(event.folder, "state", here.state)


def bare_transaction(event: Work, ctx: Context) -> None:
    with ctx.transaction():
        pass


def bare_state(event: Work, ctx: Context) -> None:
    mark(event.folder, "state", ctx.state)
