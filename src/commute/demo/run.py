"""One pass of the shop over its traffic on a fresh store, recorded; and the two passes that are compared.

traffic ─┬─▶ fresh store, 1 handler at once: the log's own sequence, the specification
         └─▶ fresh store, `concurrency` at once: as the footprints allow
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from commute.demo.shop import APP_NAME, Gateway, make_app, read_tables, set_up, shop
from commute.demo.traffic import make_traffic
from commute.errors import UsageError
from commute.event import Event
from commute.link import discard, parse_url, with_stream
from commute.replay import Recording, run_messages
from commute.router import Router
from commute.transports.base import Message

Tables = Mapping[str, Sequence[tuple[object, ...]]]
Progress = Callable[[str, int], None]  # name of the pass, events done


@dataclass(frozen=True, slots=True)
class Options:
    """What the demonstration is run with; `broker` None: SQLite in a temporary directory."""

    events: int = 2_000
    concurrency: int = 32
    seed: int = 7
    service_s: float = 0.005
    broker: str | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of all events: what the tables hold afterwards, and what happened in which sequence."""

    tables: Tables
    recording: Recording
    dead: int

    @property
    def makespan_s(self) -> float:
        return self.recording.makespan_s


def traffic_of(options: Options) -> Sequence[Event]:
    """The events of these options, the same at each call."""
    return make_traffic(options.events, options.seed)


def run_both(options: Options, progress: Progress) -> tuple[Pass, Pass]:
    """The serial pass and the parallel one, each on a store of its own; blocks for about the serial time.

    The parallel pass goes to `broker`, and a named file stays there. Raises UsageError (``option``) where
    that file exists already.
    """
    traffic = traffic_of(options)
    passes = []
    with _stores(options.broker) as stores:
        for name, (url, db) in stores.items():
            concurrency = 1 if name == "serial" else options.concurrency
            passes.append(
                run_pass(
                    url, traffic, db=db, service_s=options.service_s, concurrency=concurrency,
                    progress=lambda done, name=name: progress(name, done),  # type: ignore[misc]
                )
            )  # fmt: skip
    serial, parallel = passes
    ends = list(serial.recording.service_s)
    assert ends == sorted(ends), "one handler at once has kept the log's sequence"
    return serial, parallel


def run_pass(
    url: str,
    traffic: Sequence[Event],
    *,
    service_s: float,
    concurrency: int,
    db: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
    router: Router[Gateway] = shop,
) -> Pass:
    """The events of `traffic` through the engine, by the broker at `url`; it and the store, `db`, must be fresh."""
    app = make_app(url, db or url, service_s=service_s, concurrency=concurrency, router=router)
    recording = Recording()

    async def run() -> Pass:
        async with app:
            await set_up(app)
            encode = app.encoder.encode
            messages = [
                Message(f"{number:06}", app.source, *_stamped(number, encode(event)))
                for number, event in enumerate(traffic, 1)
            ]
            dead = await run_messages(
                app, messages, recording, lambda stage, done: progress(done if stage == "run" else 0)
            )
            return Pass(await read_tables(app), recording, dead)

    return asyncio.run(run())


def _stamped(number: int, encoded: tuple[str, bytes]) -> tuple[str, float, bytes]:
    type_, data = encoded
    return type_, float(number), data


@contextmanager
def _stores(broker: str | None) -> Iterator[dict[str, tuple[str, str]]]:
    """Broker and store for each pass, both fresh. A broker server gets a stream of its own, deleted afterwards."""
    with ExitStack() as after:
        folder = after.enter_context(tempfile.TemporaryDirectory(prefix="commute-demo-"))
        files = {name: f"sqlite:///{Path(folder) / name}.db" for name in ("serial", "parallel")}
        stores = {name: (file, file) for name, file in files.items()}
        if broker is not None:
            url = parse_url(broker, str(Path(folder) / "parallel.db"))
            if url.server is not None:
                own = with_stream(broker, f"commute-demo-{secrets.token_hex(4)}")
                stores["parallel"] = (own, files["parallel"])
                after.callback(lambda: discard(parse_url(own), APP_NAME))
            elif url.path is None:
                stores = dict.fromkeys(stores, (broker, broker))
            elif Path(url.path).exists():
                raise UsageError(
                    f"{url.path} exists already: the demo needs a fresh file, and deletes none", slug="option"
                )
            else:
                stores["parallel"] = (broker, broker)
        yield stores
