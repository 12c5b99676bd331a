"""Run an app's handlers over some events in a plain function: no broker, no waiting, the same for the same
seed.

The engine is the real one, with its schedule, retries, breakers and held cone, over a log in memory and on a
loop in virtual time. So a test sees what a worker would do, and sees it at once.

    events → log in memory → Worker → handlers … children ─┐
                 └────────────────── of handled types ◄────┘

Invariant: the run ends when nothing is left that could happen: no handler runs, no retry is due, nothing is
queued."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import apsw
import msgspec

from commute.app import App
from commute.context import SqlValue
from commute.embedded.file import EmbeddedFile
from commute.errors import UsageError
from commute.runtime.encoder import NamedEvent
from commute.runtime.engine import Engine
from commute.runtime.entry import Entry
from commute.runtime.sweep import frames_of
from commute.runtime.worker import Worker
from commute.runtime.world import SeededWorld
from commute.store.reading import find_scope, read_dead
from commute.store.records import Ended, Finished, Record
from commute.store.schema import SCHEMA
from commute.testing.virtual import VirtualLoop, nothing_real
from commute.transports.base import Delivery, Message, Sent
from commute.transports.memory import MemoryBroker, MemoryTransport

S = TypeVar("S")

DeadStatus = Literal["parked", "held", "skipped", "dropped", "rejected", "waiting"]

STREAM = "events"
BREAKER_S_MAX = 86_400.0  # virtual time for which an open breaker may go on probing before the run gives up


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """An event without success. `reason`: what happened; for held ones, behind which event they wait.

    ``waiting``: it never had its turn, because intake was paused or the breaker of its handler stayed open.
    """

    event: object
    status: DeadStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has come to. Events are the objects that were given or published; a type name with data
    gives a `NamedEvent`."""

    processed: list[object]  # in the sequence in which they ended, published ones too
    dead: list[DeadEvent]  # in log sequence
    published: list[object]  # in the sequence in which they left
    concurrency_max: int  # most handlers at once
    tables: dict[str, list[tuple[SqlValue, ...]]] = field(default_factory=dict)  # name → rows, sorted


def run(
    app: App[S],
    events: Iterable[object],
    *,
    state: S | None = None,
    concurrency: int = 8,
    seed: int = 0,
    tables: Sequence[str] = (),
) -> Result:
    """Put `events` into a log, run the app's handlers until nothing is left to do, and say what came of it.

    `events` are event objects, which are validated as on publish, or ``(type name, data)`` and `NamedEvent`,
    which arrive as they are, as from a foreign producer. `state` is what ``lifespan`` would yield; lifespan
    is not run. Waiting takes no time: sleeps, timeouts, retries and breakers follow a virtual clock that
    starts at 0. `def` handlers and functions for threads run inline. `seed` decides every chance, and which
    of several waits that end at one moment ends first. Published events are handled too if the app has a
    handler for their type; others are only listed. The app's own broker is not touched: ``ctx.transaction()``
    works on a database in memory, where the SQL statements `tables` are run first.

    Raises UsageError: in a running event loop (``running-loop``), for a real socket (``real-socket``), for a
    handler that waits for what nothing brings about (``never-ends``); RejectedError for an event object that
    is not valid.
    """
    if _in_a_loop():
        raise UsageError(
            "commute.testing.run has a loop of its own: call it from a plain def test", slug="running-loop"
        )
    course = _Course(app, events, state, concurrency, seed, tables)
    with nothing_real(), asyncio.Runner(loop_factory=course.make_loop) as runner:
        return runner.run(course.run())


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Log:
    """The memory transport, and the children sent through it; those that nobody handles end here."""

    features = MemoryTransport.features

    def __init__(self, handled: Mapping[str, object]) -> None:
        self._log = MemoryTransport(MemoryBroker(), STREAM)
        self._handled = handled
        self.children: list[Message] = []
        self.open = self._log.open
        self.receive = self._log.receive
        self.reread = self._log.reread
        self.settle = self._log.settle
        self.close = self._log.close
        self.range = self._log.range

    async def send(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        return self.send_sync(messages, to=to)

    def send_sync(self, messages: Sequence[Message], *, to: str | None = None) -> Sequence[Sent]:
        known = {message.id for message in self.children}
        self.children.extend(message for message in messages if message.id not in known)
        if to is None:
            self._log.send_sync([message for message in messages if message.type in self._handled])
        return [Sent(None)] * len(messages)

    def given(self, messages: Sequence[Message]) -> None:
        self._log.send_sync(messages)

    def deliveries(self) -> list[Delivery]:
        return self._log.range(1, self._log.last_position())


class _Link:
    """A store and a log in memory, as a worker takes them."""

    dead_letters_to: str | None = None

    def __init__(self, log: _Log, tables: Sequence[str]) -> None:
        self.file = EmbeddedFile.open(None)
        self._log = log
        self.file.schema(SCHEMA)
        self._own = self.file.read(_tables)
        for statement in tables:
            self.file.schema(statement)

    def rows(self) -> dict[str, list[tuple[SqlValue, ...]]]:
        """The tables of the application, by name; rows sorted."""
        return self.file.read(
            lambda connection: {
                name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
                for name in _tables(connection)
                if name not in self._own
            }
        )

    def transport(self, stream: str | None = None, partition: int | None = None) -> _Log:
        return self._log

    def appender(self, _transport: object) -> None:
        return None


def _tables(connection: apsw.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name")
    return [str(name) for (name,) in rows]


class _Course:
    """One run, from the events to the result."""

    def __init__(
        self,
        app: App[Any],
        events: Iterable[object],
        state: object,
        concurrency: int,
        seed: int,
        tables: Sequence[str],
    ) -> None:
        self._tables = tables
        self._state = state
        self._seed = seed
        self._objects: dict[tuple[str, bytes], object] = {}  # what was given or published, by type and bytes
        plan = app.plan()
        self._encode = plan.encode
        self._plan = replace(plan, stream=STREAM, concurrency=concurrency, lifespan=None, encode=self._encode_child)
        self._given = [self._bytes_of(event) for event in events]
        self._log = _Log({event.type: event for handler in app.handlers for event in handler.events})
        self._ended: dict[int, bool] = {}  # position → whether a handler took it; in the sequence of the ends
        self._done = False
        self._stuck: list[str] = []

    def make_loop(self) -> VirtualLoop:
        self._loop = VirtualLoop(self._seed)
        return self._loop

    async def run(self) -> Result:
        world = SeededWorld(self._seed, self._loop.time)
        source = self._plan.source
        self._log.given([Message(world.new_id(), source, type_, world.now_s(), data) for type_, data in self._given])
        link = _Link(self._log, self._tables)
        self._worker = Worker(
            self._plan, link, world=world, state=self._state, on_outcome=self._outcome, inline_threads=True,
            watch=False,
        )  # fmt: skip
        self._finished = asyncio.Event()
        self._loop.quiet.on_quiet = self._quiet
        self._loop.quiet.on_stuck = self._stand_still
        try:
            await self._worker.start()
            if self._worker.session is None:
                await self._worker.wait()  # raises what was wrong at the start
            await self._until_finished()
            engine = self._engine()
            reasons = self._why_waiting(engine)
            await self._worker.stop()
            if self._stuck:
                raise UsageError(
                    f"{'; '.join(self._stuck)}: waits for something that nothing in this run brings about",
                    slug="never-ends",
                )
            return self._result(link, engine, reasons)
        finally:
            link.file.close()

    async def _until_finished(self) -> None:
        ended = asyncio.create_task(self._worker.wait())
        finished = asyncio.create_task(self._finished.wait())
        await asyncio.wait((ended, finished), return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()
        if ended.done():
            ended.result()
        self._done = True

    # -- when is it over -------------------------------------------------------------------------------------

    def _engine(self) -> Engine:
        session = self._worker.session
        assert session is not None, "the worker has started"
        return session.engine

    def _quiet(self) -> bool:
        """Nothing can run at this moment; True if that is the end."""
        session = self._worker.session
        if self._done or session is None or not self._worker.ready.is_set():
            return False
        engine = session.engine
        if engine.running or engine.failing.retrying:
            return False
        if any(bound.queue for bound in engine.kinds.bounds) and not self._gave_up(engine):
            return False
        self._end()
        return True

    def _gave_up(self, engine: Engine) -> bool:
        """Only breakers with events behind them are left, and they have probed for long enough."""
        since_s = max(bound.breaker.next_probe_s for bound in engine.kinds.bounds)
        return since_s > BREAKER_S_MAX

    def _end(self) -> None:
        self._done = True
        self._finished.set()

    def _stand_still(self) -> None:
        """No timer is left and a handler still runs: it would never end."""
        if self._done:
            raise RuntimeError("the run in virtual time stands still while it ends")
        for slot in self._engine().slots:
            if slot.job is not None:
                job = slot.job
                line = next((f":{f.f_lineno}" for f in frames_of(slot) if f.f_code is job.bound.code), "")
                self._stuck.append(f"{job.bound.name}{line} ({job.entry.kind.type})")
        self._end()

    # -- events in and out -----------------------------------------------------------------------------------

    def _bytes_of(self, event: object) -> tuple[str, bytes]:
        if isinstance(event, tuple) and len(event) == 2 and isinstance(event[0], str):
            event = NamedEvent(type=event[0], data=event[1])
        if isinstance(event, NamedEvent):
            found = (event.type, msgspec.json.encode(event.data))
        else:
            found = self._encode(event)
        self._objects[found] = event
        return found

    def _encode_child(self, event: object) -> tuple[str, bytes]:
        found = self._encode(event)
        self._objects[found] = event
        return found

    def _object(self, message: Message) -> object:
        return self._objects[message.type, message.data]

    # -- the result ------------------------------------------------------------------------------------------

    def _outcome(self, batch: Sequence[Record]) -> None:
        for record in batch:
            if isinstance(record, Finished | Ended):
                assert isinstance(record.token, Entry)
                self._ended[record.position] = record.token.kind is not None

    def _why_waiting(self, engine: Engine) -> str:
        """Why events that have no outcome have none."""
        paused = next((partition.why for partition in engine.partitions.values() if partition.pause), "")
        broken = [bound.name for bound in engine.kinds.bounds if bound.breaker.open]
        return paused or (f"the breaker of {', '.join(broken)} is open: every event failed" if broken else "")

    def _result(self, link: _Link, engine: Engine, reason: str) -> Result:
        file = link.file
        scope = file.read(lambda connection: find_scope(connection, self._plan.group, STREAM))
        rows = [] if scope is None else file.read(lambda connection: read_dead(connection, scope))
        messages = {delivery.position: delivery.message for delivery in self._log.deliveries()}
        buried = {row.position: DeadEvent(self._object(messages[row.position]), row.status, row.reason) for row in rows}
        dead = [
            buried.get(position) or DeadEvent(self._object(message), "waiting", reason)
            for position, message in messages.items()
            if position in buried or position not in self._ended
        ]
        processed = [self._object(messages[position]) for position, handled in self._ended.items() if handled]
        published = [self._object(message) for message in self._log.children]
        return Result(processed, dead, published, engine.running_max, link.rows())
