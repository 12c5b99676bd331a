"""``commute run``: a worker, its banner, its live line, and its end.

    first SIGINT or SIGTERM   drain: take nothing more in, let what runs end within grace_s, exit 0
    second one                exit now with 130; what was not settled comes again
    grace_s is over           say which handlers still run, exit 1

The signal handler is Python's own and not the loop's: a handler that blocks the loop cannot keep the second signal
from being heard.

Invariant: the process never ends silently; its last line says why, and what is left.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from commute.cli.banner import banner
from commute.cli.commands import NO, STOPPED, YES, status_of
from commute.cli.output import clean, clock, error_text, note, plural, say_json, span
from commute.cli.target import load
from commute.cli.terminal import Live, routed_logs
from commute.errors import CommuteError, UsageError
from commute.limits import Limits
from commute.runtime.status import merged
from commute.sanitizer import sanitized
from commute.trail import EVENTS_MAX

if TYPE_CHECKING:
    from commute.app import App
    from commute.cli.recent import Recent
    from commute.runtime.fleet import Fleet
    from commute.runtime.worker import Worker

TICK_S = 1.0  # the live line of a terminal, and --json
PIPED_TICK_S = 10.0
LOOK_S = 0.1  # how often a drain looks at what still runs
BLOCKED_S = 1.0  # a loop that has not answered the signal by then is blocked


@click.command()
@click.argument("target", required=False)
@click.option("--app-dir", metavar="DIR", type=click.Path(), help="Where the app's module lies; default: here.")
@click.option("--broker", metavar="URL", help="The broker, instead of the app's.")
@click.option("--db", metavar="URL", help="Where progress and dead letters are kept, instead of the app's.")
@click.option("--group", metavar="NAME", help="Whose progress; default: the app's name.")
@click.option("--concurrency", metavar="N", type=int, help="Handlers at once.")
@click.option("--from", "start", type=click.Choice(["start", "end"]), help="Where a new group begins in the log.")
@click.option("--resume", is_flag=True, help="Go on where intake paused over too many rejected events.")
@click.option("--limit", "limits", metavar="NAME=VALUE", multiple=True, help="A limit, such as descriptors_max=1000.")
@click.option("--sanitize", metavar="RATE", type=float, help="Hold this share of attempts to their footprints.")
@click.option("--workers", metavar="N", type=click.IntRange(1), help="Processes that share the stream's partitions.")
@click.option("--share", metavar="I/N", help="Begin with partitions I, I+N, ... of the stream: one of N processes.")
@click.option("--single-owner", is_flag=True, help="One engine has all partitions, other workers stand by.")
@click.option("--picture", metavar="FILE", help="Where the pictures of the last events go, at the end and at SIGUSR1.")
@click.option(
    "--picture-events",
    type=click.IntRange(1),
    metavar="N",
    default=EVENTS_MAX,
    show_default=True,
    help="How many events --picture remembers.",
)
@click.option("--reload", is_flag=True, help="Restart the worker when a *.py file changes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line on stdout.")
def run(
    target: str | None,
    app_dir: str | None,
    broker: str | None,
    db: str | None,
    group: str | None,
    concurrency: int | None,
    start: str | None,
    resume: bool,
    limits: tuple[str, ...],
    sanitize: float | None,
    workers: int | None,
    share: str | None,
    single_owner: bool,
    picture: str | None,
    picture_events: int,
    reload: bool,
    as_json: bool,
) -> None:
    """Run a worker of TARGET until a signal.

    Ctrl-C (or SIGTERM) drains: what runs may end, nothing new begins. A second one stops now.

    \b
    Example:
      commute run shop:app --concurrency 64 --limit descriptors_max=10000
    """
    if reload:
        from commute.cli.reload import run_reloading

        sys.exit(run_reloading(Path(app_dir or ".")))
    if workers is not None:
        from commute.cli.workers import run_workers

        if share is not None or single_owner:
            raise UsageError("--workers goes with neither --share nor --single-owner", slug="option")
        sys.exit(run_workers(workers, pictures=picture is not None))
    began_s = time.monotonic()
    loaded = load(target, app_dir)
    loaded.app.override(
        broker=broker, db=db, group=group, concurrency=concurrency, sanitize=sanitize, **_limits(limits)
    )
    from_end = start == "end"
    sys.exit(
        run_app(
            loaded.app, shown=loaded.shown, resume=resume, from_end=from_end, as_json=as_json, began_s=began_s,
            share=_share(share), single_owner=single_owner, picture=picture, picture_events=picture_events,
        )
    )  # fmt: skip


def _share(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UsageError(f"--share {text}: write I/N, such as 2/4 for the second of four", slug="option")
    return int(number) - 1, int(of)


def _limits(given: tuple[str, ...]) -> dict[str, str]:
    known = [field.name for field in fields(Limits)]
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name not in known or not equals:
            like = get_close_matches(name, known, 1)
            hint = f" Did you mean {like[0]}?" if like and name not in known else ""
            raise UsageError(f"--limit {text}: give NAME=VALUE.{hint} There are {', '.join(known)}", slug="option")
        found[name] = value
    return found


def run_app(
    app: App[Any],
    *,
    shown: str | None = None,
    resume: bool = False,
    from_end: bool = False,
    as_json: bool = False,
    began_s: float | None = None,
    share: tuple[int, int] = (0, 1),
    single_owner: bool = False,
    picture: str | None = None,
    picture_events: int = EVENTS_MAX,
) -> int:
    """Run a worker of `app` in this process until a signal; the exit status. What ``App.run`` calls.

    `share`: (this process's number from 0, how many): the partitions that it begins with, where the stream has several.
    `single_owner`: all of them for one engine. `shown`: what a person types to name the app, for the commands that
    messages recommend. `picture`: the file for pictures of the last `picture_events` events. Blocks; the main thread
    only, since signals arrive there.
    """
    began_s = time.monotonic() if began_s is None else began_s
    live = Live()
    name = shown or _name_of(app)
    signals = Signals(live)
    signals.install()
    try:
        with routed_logs(live, name):
            recent = None if picture is None else _recent(app, picture, picture_events, share, live)
            running = _Run(
                app, name, live, signals, began_s, as_json=as_json, share=share, single_owner=single_owner,
                recent=recent,
            )  # fmt: skip
            with sanitized(app, app.sanitize):
                return asyncio.run(running.run(resume, from_end))
    except CommuteError as error:
        live.end()
        note(error_text(error, sys.stderr))
        return status_of(error)
    except KeyboardInterrupt:
        live.end()
        note("stopped")
        return STOPPED
    finally:
        signals.restore()
        app.close()


def _recent(app: App[Any], path: str, events_max: int, share: tuple[int, int], live: Live) -> Recent:
    from commute.cli.recent import Recent, numbered  # with all that draws, which no other run has to load

    if not Path(path).absolute().parent.is_dir():  # told now: the run may last for months
        raise UsageError(f"--picture {path}: there is no folder {Path(path).parent}. Make it first", slug="option")
    return Recent(app, numbered(path, share), events_max, live.above)


class Signals:
    """The first signal asks for a drain, the second one ends the process. Installed in the main thread."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}
        self.on_first: Callable[[], object] | None = None  # None: there is nothing to drain yet

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._caught)

    def restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if self.on_first is None:
            raise KeyboardInterrupt
        if self._asked:
            self._live.end()
            end_now(STOPPED, "stopped now: what was running is run again by the next worker")
        self._asked = True
        self.on_first()


def end_now(status: int, text: str) -> None:
    """Say why, and end the process without waiting for anything: threads of handlers may never end."""
    with suppress(OSError, ValueError):
        note(text)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


class _Run:
    """One worker with its terminal."""

    def __init__(
        self, app: App[Any], shown: str, live: Live, signals: Signals, began_s: float, *, as_json: bool,
        share: tuple[int, int], single_owner: bool, recent: Recent | None,
    ) -> None:  # fmt: skip
        self._app = app
        self._shown = shown
        self._live = live
        self._signals = signals
        self._began_s = began_s
        self._as_json = as_json
        self._share = share
        self._single_owner = single_owner
        self._recent = recent
        self._worker: Worker | Fleet
        self._asked = threading.Event()  # by the first signal
        self._draining = threading.Event()  # the loop has heard of it
        self._ended = threading.Event()  # there is nothing to look after any more
        self._last = (0, time.monotonic())  # events done at the last tick, and when that was

    async def run(self, resume: bool, from_end: bool) -> int:
        app, live = self._app, self._live
        if not app.handlers:
            raise UsageError(
                f"{app.name} has no handlers, so every event would be rejected. Register one with @app.on",
                slug="no-handlers",
            )
        trail = None if self._recent is None else self._recent.trail
        count = await asyncio.to_thread(app.partitions)
        if count > 1 and not self._single_owner:
            recorder = None if trail is None else trail.of
            make = partial(app.fleet, count, self._share, resume=resume, from_end=from_end, recorder=recorder)
            worker: Worker | Fleet = await asyncio.to_thread(make)
        else:
            await asyncio.to_thread(app.own_all, count)
            worker = app.worker(resume=resume, from_end=from_end, recorder=None if trail is None else trail.of(0))
        await asyncio.to_thread(app.connect().claim)  # refused before anything of the app's is done
        self._worker = worker
        live.above(banner(app, app.connect(), from_end=from_end))
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        # Begun now: a signal handler may interrupt anything, so all that it does is set what others wait for.
        threading.Thread(target=self._look_after_drain, args=(loop,), name="commute drain", daemon=True).start()

        def on_first() -> None:
            self._asked.set()
            loop.call_soon_threadsafe(asked.set)

        self._signals.on_first = on_first
        if self._recent is not None:
            self._recent.listen()
        await worker.start()
        chores = asyncio.create_task(self._tick(), name="commute terminal")
        ended = asyncio.create_task(worker.wait(), name="commute wait")
        asking = asyncio.create_task(asked.wait(), name="commute signal")
        try:
            await asyncio.wait((ended, asking), return_when=asyncio.FIRST_COMPLETED)
            if asked.is_set():
                return await self._drain()
            try:
                await ended
            finally:
                await self._draw()
            return YES
        finally:
            for work in (chores, ended, asking):
                work.cancel()
            for over in (self._ended, self._draining, self._asked):
                over.set()
            live.end()

    async def _drain(self) -> int:
        grace_s = self._app.limits.grace_s
        count = len(self._running())
        if self._live.rewrites:
            self._live.above("")  # the ^C of the terminal stands in the live line
        waits = f"{plural(count, 'handler')} may end within {span(grace_s)}; " if count else ""
        self._live.above(f"draining: {waits}nothing new begins. Once more stops now")
        self._draining.set()
        drained, last = await self._stopped()
        await self._draw()
        done = self._done()
        self._live.end()
        if self._as_json:
            say_json({"what": "end", "drained": drained, "done": done})
        if not drained:
            names = "; ".join(self._running() or last) or "some handlers"
            still = f"not drained: still running after {span(grace_s)}: {names}."
            end_now(NO, f"{still} They are run again by the next worker")
        ran_s = time.monotonic() - self._began_s
        note(f"drained: {plural(done, 'event')} done in {span(ran_s)}")
        return YES

    async def _draw(self) -> None:
        if self._recent is not None:
            await self._recent.draw()

    async def _stopped(self) -> tuple[bool, list[str]]:
        """Whether the worker has drained, and what was seen to run last: it gives threads that hang up in the end."""
        last = self._running()
        stopping = asyncio.create_task(self._worker.stop(), name="commute stop")
        while not (await asyncio.wait((stopping,), timeout=LOOK_S))[0]:
            last = self._running() or last
        return await stopping, last

    def _look_after_drain(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: the loop that should drain may be blocked by a handler, and then nothing in it can end."""
        self._asked.wait()
        if not self._draining.wait(BLOCKED_S):
            names = "; ".join(self._running()) or "a handler"
            self._live.above(f"draining: the event loop is blocked by {names}. Once more stops now")
        grace_s = self._app.limits.grace_s
        if self._ended.wait(grace_s):
            return
        while True:
            answered = threading.Event()
            with suppress(RuntimeError):  # the loop is closed: the command is about to end
                loop.call_soon_threadsafe(answered.set)
            if not answered.wait(BLOCKED_S) and not self._ended.is_set():
                names = "; ".join(self._running()) or "some handlers"
                end_now(NO, f"not drained: the event loop is still blocked after {span(grace_s)}: {names}")
            if self._ended.wait(BLOCKED_S):
                return

    def _running(self) -> list[str]:
        """``reserve (order_created 01J9A)`` for each handler that runs."""
        sessions = self._worker.sessions
        jobs = [slot.job for session in sessions for slot in tuple(session.engine.slots) if slot.job is not None]
        return [f"{job.bound.name} ({clean(job.entry.kind.type)} {clean(job.entry.id)})" for job in jobs]

    def _done(self) -> int:
        return self._worker.done

    # -- the live line ------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        await self._say_ready()
        interval_s = TICK_S if self._live.rewrites or self._as_json else PIPED_TICK_S
        while True:
            await asyncio.sleep(interval_s)
            sessions = self._worker.sessions
            if not sessions:
                continue
            found = {**merged(sessions, time.time()), "done": self._done()}
            done, now_s = int(found["done"]), time.monotonic()
            before, at_s = self._last
            rate = max(0, done - before if done >= before else done) / max(now_s - at_s, 1e-9)
            self._last = (done, now_s)
            if self._as_json:
                say_json({"what": "status", "per_s": round(rate, 1), **found})
            if not self._as_json or self._live.rewrites:
                self._live.show(live_line(found, rate))

    async def _say_ready(self) -> None:
        worker, app = self._worker, self._app
        standing_by = worker.standing_by
        while not worker.sessions:
            await asyncio.sleep(0.05)
        took_s = time.monotonic() - self._began_s
        if self._as_json:
            say_json(
                {
                    "what": "ready", "app": app.name, "pid": os.getpid(), "broker": app.url.text,
                    "stream": app.url.stream, "group": app.group, "took_s": round(took_s, 3),
                }
            )  # fmt: skip
        took = "" if standing_by else f" in {span(took_s)}"
        self._live.above(f"ready{took}. Ctrl-C drains, twice stops now. Elsewhere: commute status {clean(self._shown)}")


def live_line(found: dict[str, Any], rate: float) -> str:
    """``14:02:11  1,204/s  done 12,040  running 32  ready 118 …`` from a snapshot."""
    parts = [
        clock(float(found["at_s"])),
        f"{rate:,.0f}/s",
        f"done {found['done']:,}",
        *(f"{name} {found[name]:,}" for name in ("running", "ready", "waiting", "retrying", "parked")),
    ]
    if found["held"]:
        parts.append(f"held {found['held']:,}")
    if found["oldest_s"] is not None:
        key = f" ({found['oldest_key']})" if found["oldest_key"] else ""
        parts.append(f"oldest {span(found['oldest_s'])}{key}")
    parts += [f"paused: {why}" for why in found["paused"].values()]
    return "  ".join(parts)


def _name_of(app: App[Any]) -> str:
    """What a person may type for an app whose own program runs it: ``shop:app``, else its broker."""
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    for name, value in vars(main).items() if main is not None and path else ():
        if value is app:
            return f"{Path(str(path)).stem}:{name}"
    return f"{app.url.text} --group {app.group}"
