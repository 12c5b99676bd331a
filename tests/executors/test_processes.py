"""executor="processes": the order is the engine's, a child that dies is the death of the one event that it ran."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from commute import App, Context, Limits, Receipt, Retry, UsageError
from tests.executors import heavy
from tests.executors.heavy import Done, Other, Refused, Work
from tests.runtime.shop import until

ROOT = Path(__file__).resolve().parents[2]
QUICK = Retry(attempts=3, first_s=0.01, max_s=0.02, fatal=(Refused,))
TWO = Limits(processes_max=2, deaths_max=3)


def make(folder: Path, *, limits: Limits = TWO, timeout_s: float | None = None, memory: bool = False) -> App[None]:
    app: App[None] = App("shop", "memory://" if memory else f"sqlite:///{folder}/shop.db", limits=limits)
    app.on(Work, writes="key/{key}", executor="processes", retry=QUICK, timeout_s=timeout_s)(heavy.work)
    return app


def lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


async def processed(*receipts: Receipt) -> None:
    for receipt in receipts:
        outcome = await receipt.outcome(timeout_s=20)
        assert outcome is not None and outcome.status == "processed"


async def parked(receipt: Receipt) -> str:
    """Why it is parked, once it is."""
    found: list[str] = []

    async def look() -> bool:
        state = await receipt.state()
        found[:] = [state.reason]
        return state.status == "parked"

    await until(look, timeout_s=20)
    return found[0]


@pytest.mark.parametrize("memory", [False, True])
async def test_dependent_events_keep_their_order_and_independent_ones_run_at_once(tmp_path: Path, memory: bool) -> None:
    app = make(tmp_path, memory=memory)
    folder = str(tmp_path)
    async with app, app.running():
        hot = [Work(key="hot", n=n, folder=folder) for n in range(60)]
        both = [Work(key=key, n=100, folder=folder, do="meet") for key in "ab"]
        receipts = await app.publish_many([*hot, *both])
        await processed(*receipts)
    wanted = [str(n) for n in range(60)]
    assert lines(tmp_path, "began hot") == lines(tmp_path, "ended hot") == wanted
    pids = {int(pid) for pid in lines(tmp_path, "pids")}
    assert len(pids) == 2 and os.getpid() not in pids


async def test_an_event_waits_for_its_predecessor_in_another_process(tmp_path: Path) -> None:
    app = make(tmp_path)
    folder = str(tmp_path)
    async with app, app.running():
        await app.publish_many([Work(key="k", n=1, folder=folder, do="wait"), Work(key="k", n=2, folder=folder)])
        other = await app.publish(Work(key="free", n=3, folder=folder))
        await processed(other)  # by the other child, while the first is busy
        assert lines(tmp_path, "began k") == ["1"]
        (tmp_path / "go on").touch()
        await until(lambda: lines(tmp_path, "ended k") == ["1", "2"])


async def test_waiting_for_a_child_takes_no_slot_from_other_handlers(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db", concurrency=2, limits=Limits(processes_max=1))
    app.on(Work, writes="key/{key}", executor="processes")(heavy.work)
    done = asyncio.Event()

    @app.on(Done, writes="done/{key}")
    async def on_loop(event: Done) -> None:
        done.set()

    folder = str(tmp_path)
    async with app, app.running():
        receipts = await app.publish_many([Work(key=str(n), n=n, folder=folder, do="wait") for n in range(5)])
        await app.publish(Done(key="x", n=0))
        async with asyncio.timeout(20):
            await done.wait()
        (tmp_path / "go on").touch()
        await processed(*receipts)


@pytest.mark.parametrize(("do", "how"), [("kill", "SIGKILL"), ("exit", "status 7")])
async def test_a_child_that_dies_is_the_death_of_its_one_event(tmp_path: Path, do: str, how: str) -> None:
    app = make(tmp_path)
    folder = str(tmp_path)
    async with app, app.running():
        poison = await app.publish(Work(key="bad", n=1, folder=folder, do=do))
        behind = await app.publish(Work(key="bad", n=2, folder=folder))
        innocent = await app.publish_many([Work(key=f"good{n % 3}", n=n, folder=folder) for n in range(10, 40)])
        reason = await parked(poison)
        assert "died 3 times" in reason and how in reason
        await processed(*innocent)
        assert (await behind.state()).status == "held"
        await processed(await app.publish(Work(key="new", n=3, folder=folder)))  # the children were replaced
    assert len(lines(tmp_path, "tries 1")) == 3
    assert lines(tmp_path, "tries 10") and len(lines(tmp_path, "tries 10")) == 1


async def test_an_event_that_kills_once_is_run_again_in_its_place(tmp_path: Path) -> None:
    app = make(tmp_path)
    folder = str(tmp_path)
    async with app, app.running():
        receipts = await app.publish_many(
            [Work(key="k", n=1, folder=folder, do="die once"), Work(key="k", n=2, folder=folder)]
        )
        await processed(*receipts)
    assert lines(tmp_path, "began k") == ["1", "1", "2"]


async def test_a_timeout_kills_the_child_and_is_a_failure(tmp_path: Path) -> None:
    app = make(tmp_path, timeout_s=0.4)
    folder = str(tmp_path)
    async with app, app.running():
        once = await app.publish(Work(key="k", n=1, folder=folder, do="hang once"))
        behind = await app.publish(Work(key="k", n=2, folder=folder))
        always = await app.publish(Work(key="l", n=3, folder=folder, do="hang"))
        await processed(once, behind)
        reason = await parked(always)
        assert reason == "failed 3 times: TimeoutError: longer than timeout_s=0.4"
        assert not any(alive(int(pid)) for pid in lines(tmp_path, "hangs"))
    assert lines(tmp_path, "began k") == ["1", "1", "2"]


async def test_what_a_handler_raises_is_judged_as_if_it_ran_here(tmp_path: Path) -> None:
    app = make(tmp_path)
    folder = str(tmp_path)
    async with app, app.running():
        plain, fatal, dead = await app.publish_many(
            [Work(key=do, n=n, folder=folder, do=do) for n, do in enumerate(["raise", "fatal", "dead letter"])]
        )
        assert await parked(plain) == "failed 3 times: KeyError: 'tea-9'"
        assert await parked(fatal) == "fatal: Refused: no more"
        assert await parked(dead) == "the card is stolen"
        found = app.connect().file.read(lambda c: c.execute("SELECT detail FROM dead ORDER BY position").fetchall())
    assert 'heavy.py", line' in str(found[0][0]) and "raise KeyError" in str(found[0][0])
    assert [len(lines(tmp_path, f"began {do}")) for do in ("raise", "fatal", "dead letter")] == [3, 1, 1]


async def test_published_events_leave_with_the_success_and_logs_come_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = make(tmp_path)
    got: list[Done] = []

    @app.on(Done, writes="done/{key}")
    async def done(event: Done, ctx: Context) -> None:
        got.append(event)
        assert ctx.causation_id is not None

    folder = str(tmp_path)
    with caplog.at_level(logging.WARNING, "commute.handler"):
        async with app, app.running():
            await processed(await app.publish(Work(key="k", n=5, folder=folder, do="publish")))
            await until(lambda: got == [Done(key="k", n=5)])
    (record,) = [record for record in caplog.records if record.name == "commute.handler"]
    assert record.getMessage() == "published 5" and record.__dict__["handler"] == "work"


async def test_a_probe_that_finds_no_child_free_is_made_when_one_is(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db", limits=Limits(processes_max=1))
    app.on(Work, writes="key/{n}", executor="processes", retry=Retry(attempts=1))(heavy.work)
    app.on(Other, writes="other", executor="processes")(heavy.hold)
    folder = str(tmp_path)
    async with app:
        worker = app.worker()
        await worker.start()
        assert worker.session is not None
        engine = worker.session.engine
        breaker = engine.kinds.bounds[0].breaker
        await app.publish_many([Work(key="k", n=n, folder=folder, do="gateway") for n in range(20)])
        await until(lambda: breaker.open)
        (tmp_path / "mended").touch()
        busy = await app.publish(Other(folder=folder))
        await until(lambda: bool(lines(tmp_path, "holds")))
        waiting = await app.publish(Work(key="k", n=99, folder=folder, do="gateway"))
        await until(lambda: breaker.may_probe(engine.loop.time()))
        await until(lambda: bool(engine.kinds.bounds[0].queue))
        (tmp_path / "go on").touch()
        await processed(busy, waiting)
        assert not breaker.open
        await worker.stop()


async def test_a_coroutine_handler_and_its_context(tmp_path: Path) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db", limits=TWO)
    app.on(Work, writes="key/{key}", executor="processes")(heavy.work_async)
    async with app, app.running():
        receipt = await app.publish(Work(key="k", n=1, folder=str(tmp_path)), id="e1")
        await processed(receipt, await app.publish(Work(key="k", n=2, folder=str(tmp_path))))
    number, attempt, key, position, type_, pid = lines(tmp_path, "seen")[0].split()
    assert (number, attempt, key, position, type_) == ("1", "1", "e1/work_async", "1", "work")
    assert int(pid) != os.getpid()


async def test_what_another_process_could_not_run_is_refused_at_start(tmp_path: Path) -> None:
    def local(event: Work) -> None: ...

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[int]:
        yield 1

    cases: list[tuple[Any, Any, str, str]] = [
        (local, None, "not-importable", "cannot import"),
        (lambda event: None, None, "not-importable", "cannot import"),
        (heavy.bare_transaction, None, "transaction-elsewhere", "executor"),
        (heavy.bare_state, lifespan, "state-elsewhere", "in the module"),
    ]
    for function, life, slug, text in cases:
        app: App[int] = App("shop", f"sqlite:///{tmp_path}/{slug}.db", lifespan=life)
        app.on(Work, writes="key/{key}", executor="processes")(function)
        async with app:
            with pytest.raises(UsageError, match=text) as refused:
                async with app.running():
                    pass
        assert refused.value.slug == slug and refused.value.where


async def test_what_cannot_be_seen_at_start_says_so_when_it_runs(tmp_path: Path) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[int]:
        yield 1

    cases: list[tuple[Any, str]] = [
        (heavy.sly_transaction, "UsageError: sly_transaction"),
        (heavy.sly_state, "ctx.state"),
    ]
    for function, text in cases:
        app: App[int] = App("shop", f"sqlite:///{tmp_path}/{function.__name__}.db", lifespan=lifespan, limits=TWO)
        app.on(Work, writes="key/{key}", executor="processes", retry=Retry(attempts=1))(function)
        async with app, app.running():
            assert text in await parked(await app.publish(Work(key="k", n=1, folder=str(tmp_path))))


async def test_a_module_that_cannot_be_imported_there_is_refused_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import os\nfrom tests.executors.heavy import Work\nif os.getpid() != {}: raise OSError('no disk')\n"
    (tmp_path / "elsewhere_only.py").write_text(source.format(os.getpid()) + "def run(event: Work) -> None: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import elsewhere_only  # type: ignore[import-not-found]

    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db", limits=TWO)
    app.on(Work, writes="key/{key}", executor="processes")(elsewhere_only.run)
    async with app:
        with pytest.raises(UsageError, match="OSError: no disk"):
            async with app.running():
                pass


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


WORKER = """
import sys
sys.path[:] = {path!r}
from pathlib import Path
from tests.executors.test_processes import make
make(Path({folder!r})).run()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("ending", ["SIGKILL", "SIGTERM"])
async def test_no_child_outlives_its_worker_and_its_event_is_nobodys_death(tmp_path: Path, ending: str) -> None:
    folder = str(tmp_path)
    app = make(tmp_path, limits=Limits(processes_max=2, deaths_max=1, grace_s=0.1))
    async with app:
        await app.publish(Work(key="k", n=1, folder=folder, do="wait"), id="e1")
    code = WORKER.format(path=sys.path, folder=folder)
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL,
                              env={**os.environ, "COMMUTE_GRACE_S": "0.1"})  # fmt: skip
    try:
        await until(lambda: len(lines(tmp_path, "pids")) == 1)
        (pid,) = map(int, lines(tmp_path, "pids"))
        worker.send_signal(getattr(signal, ending))
        worker.wait(timeout=20)
    finally:
        worker.kill()
    if ending == "SIGTERM":
        assert not alive(pid)
    await until(lambda: not alive(pid))
    (tmp_path / "go on").touch()
    async with app, app.running():
        await processed(app.receipt("e1"))
    assert lines(tmp_path, "began k") == ["1", "1"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
async def test_a_child_that_is_killed_while_it_waits_is_replaced(tmp_path: Path) -> None:
    app = make(tmp_path)
    folder = str(tmp_path)
    async with app, app.running():
        for n in range(4):
            await processed(await app.publish(Work(key="k", n=n, folder=folder)))
            for pid in {int(pid) for pid in lines(tmp_path, "pids")}:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
    assert lines(tmp_path, "ended k") == ["0", "1", "2", "3"]
