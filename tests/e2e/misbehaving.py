"""A shop whose handlers misbehave on demand, and a shell around its worker processes, for `test_bad_input`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
from click.testing import CliRunner

from commute import App, NamedEvent
from commute.cli import main
from commute.transports.base import Message

SHOP = """
import asyncio, os, sqlite3, sys, time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from commute import App, Context, Event, Retry
from commute.errors import CommuteError

class Step(Event):
    key: str
    n: int
    do: str = ""

class Call(Event):
    key: str
    n: int
    do: str = ""

class Hang(Event):
    key: str
    n: int

class Hold(Event):
    key: str
    n: int

class Fill(Event):
    key: str
    n: int

@asynccontextmanager
async def narrow() -> AsyncIterator[None]:
    pages = int(os.environ.get("ROOM_PAGES", 0))
    if not pages:
        yield
        return
    writer = app.connect().file.writer
    def allow(connection) -> None:
        used = connection.execute("pragma page_count").fetchall()[0][0]
        connection.execute(f"pragma max_page_count = {used + pages}").fetchall()
    async def widen() -> None:
        nonlocal pages
        while not os.path.exists("space"):
            await asyncio.sleep(0.02)
        pages = 1_000_000
        while True:
            try:
                return await asyncio.wrap_future(writer.submit(allow))
            except CommuteError:
                await asyncio.sleep(0.02)  # it refuses all until the next session
    await asyncio.wrap_future(writer.submit(allow))
    widening = asyncio.create_task(widen())
    yield
    widening.cancel()

app = App("shop", "sqlite:///shop.db", lifespan=narrow)
mended = os.path.exists("mended")

def mark(name: str, text: object = "x") -> None:
    with open(name, "a") as file:
        file.write(f"{text}\\n")

def act(event) -> None:
    mark("began")
    if mended:
        pass
    elif event.do == "exits":
        sys.exit(3)
    elif event.do == "opens":
        sqlite3.connect("shop.db").close()
    elif event.do == "blocks":
        time.sleep(1.5)  # the line that is named
    mark("ran", event.n)

async def gate() -> None:
    while os.path.exists("wait"):
        await asyncio.sleep(0.01)

@app.on(Step, writes="key/{key}", retry=Retry(attempts=1))
async def step(event: Step) -> None:
    await gate()
    act(event)

@app.on(Call, writes="key/{key}", retry=Retry(attempts=1))
def call(event: Call) -> None:
    act(event)

@app.on(Hang, writes="key/{key}", timeout_s=0.3)
async def hang(event: Hang) -> None:
    mark("began")
    while not mended:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
    mark("ran", event.n)

@app.on(Hold, writes="key/{key}", timeout_s=0.3)
def hold(event: Hold) -> None:
    mark("began")
    while not mended:
        time.sleep(0.1)
    mark("ran", event.n)

@app.on(Fill, writes="key/{key}", retry=Retry(attempts=1))
async def fill(event: Fill, ctx: Context[None]) -> None:
    await gate()
    async with ctx.transaction() as tx:
        tx.execute("create table if not exists filler(n, pad)")
        tx.execute("insert into filler values(?, zeroblob(8000))", (event.n,))

@app.on("moved", writes="{area}/{name}")
async def move(event: dict[str, object]) -> None:
    mark("ran", event["n"])

@app.on("deep", writes=lambda event: "/".join(str(part) for part in event["path"]))
async def dive(event: dict[str, object]) -> None:
    mark("ran", event["n"])
"""
SECONDS_MAX = 60.0
MIB = 1 << 20


class Shell:
    """A directory with an app, and the workers that a test began; what they say goes to the file "said"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/shop.db"
        (folder / "shop.py").write_text(SHOP)
        self.workers: list[subprocess.Popen[bytes]] = []

    def __call__(self, *arguments: str, status: int = 0, **environment: str) -> str:
        """What a command in a process of its own says."""
        done = subprocess.run(
            [sys.executable, "-m", "commute", *arguments], cwd=self.folder, capture_output=True, text=True,
            timeout=SECONDS_MAX, check=False, env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == status, (arguments, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        """The document of a command that only looks, run in this process."""
        done = CliRunner().invoke(main, [*arguments, self.url, "--group", "shop", "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    def send(self, *messages: Message) -> None:
        """Messages as a foreign producer may write them, past every check of ours."""
        app: App[None] = App("shop", self.url)
        try:
            app.log.send_sync(messages)
        finally:
            app.close()

    def publish(self, *events: tuple[str, dict[str, object]], first: int = 1) -> None:
        """Confirmed events with the ids e1, e2 and so on."""
        app: App[None] = App("shop", self.url)
        try:
            for number, (type_, data) in enumerate(events, first):
                app.publish_sync(NamedEvent(type=type_, data=data), id=f"e{number}")
        finally:
            app.close()

    def run(
        self, *arguments: str, limit: Callable[[], None] | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """A worker that is ready."""
        said = len(self.said())
        with (self.folder / "said").open("ab") as out:
            worker = subprocess.Popen(
                [sys.executable, "-m", "commute", "run", "shop:app", *arguments],
                cwd=self.folder, stdout=out, stderr=out,
                env={**os.environ, **environment}, preexec_fn=limit,  # noqa: PLW1509 - no thread of ours holds a lock
            )  # fmt: skip
        self.workers.append(worker)
        until(lambda: "ready in" in self.said()[said:] or worker.poll() is not None, self.said)
        assert worker.poll() is None, self.said()
        return worker

    def end(self, worker: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
        worker.send_signal(number)
        return worker.wait(timeout=SECONDS_MAX)

    def said(self) -> str:
        path = self.folder / "said"
        return path.read_text() if path.exists() else ""

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def to_do(self) -> int:
        return int(self.json("status")["to_do"])

    def filler(self) -> list[int]:
        """The effects, in the sequence in which they were committed. Only while no worker runs."""
        connection = apsw.Connection(str(self.folder / "shop.db"))
        try:
            return [int(str(n)) for (n,) in connection.execute("select n from filler order by rowid").fetchall()]
        finally:
            connection.close()


def until(condition: Callable[[], object], told: Callable[[], object] = lambda: "") -> None:
    end_s = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end_s, told()
        time.sleep(0.02)
