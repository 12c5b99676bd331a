"""One run of an app's handlers over some events: no broker, no waiting, the same for the same seed.

The engine is the real one, with its schedule, retries, breakers and held cone, over a log in memory and on a
loop in virtual time. So a test sees what a worker would do, and sees it at once.

    events → log in memory → Worker → handlers … children ─┐
                 └────────────────── of handled types ◄────┘

Invariant: the run ends when nothing is left that could happen: no handler runs, no retry is due, nothing is
queued."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import apsw
import msgspec

from commute.app import App
from commute.context import SqlValue
from commute.embedded.file import EmbeddedFile
from commute.errors import UsageError
from commute.handler import Handler
from commute.rehearsal.virtual import VirtualLoop
from commute.runtime.encoder import NamedEvent, named
from commute.runtime.engine import Engine
from commute.runtime.entry import Entry
from commute.runtime.sweep import frames_of
from commute.runtime.worker import Worker
from commute.runtime.world import SeededWorld, World
from commute.store.reading import find_scope, read_dead
from commute.store.records import Ended, Finished, Record
from commute.store.schema import SCHEMA
from commute.transports.base import Delivery, Message, Sent
from commute.transports.memory import MemoryBroker, MemoryTransport

DeadStatus = Literal["parked", "held", "skipped", "dropped", "rejected", "waiting"]

STREAM = "events"
LOOK_S = 0.002
OURS = "commute_"  # tables that a store makes later begin so
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

    @property
    def last(self) -> int:
        """How many events were put into it."""
        return self._log.last_position()

    def deliveries(self) -> list[Delivery]:
        return self._log.range(1, self._log.last_position())


class _Link:
    """A store, in memory or at `path`, and a log in memory, as a worker takes them."""

    dead_letters_to: str | None = None

    def __init__(self, log: _Log, tables: Sequence[str], path: str | None) -> None:
        self.file = EmbeddedFile.open(path)
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
                if name not in self._own and not name.startswith(OURS)
            }
        )

    def definitions(self) -> list[str]:
        """The CREATE statements of all tables."""
        return self.file.definitions()

    def numbered(self) -> frozenset[str]:
        """The tables whose first column is one that SQLite numbers where a row does not give it."""
        return self.file.read(
            lambda connection: frozenset(filter(lambda name: _numbers(connection, name), _tables(connection)))
        )

    def transport(self, stream: str | None = None, partition: int | None = None) -> _Log:
        return self._log

    def appender(self, _transport: object) -> None:
        return None


def _tables(connection: apsw.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name")
    return [str(name) for (name,) in rows]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run begins with. `lifespan`: the app's own is run, else `state` is what it would yield. `tables` are SQL
    statements that are run first, then `set_up`, which may use ``app.transaction()`` and may be async."""

    state: object = None
    tables: Sequence[str] = ()
    lifespan: bool = False
    set_up: Callable[[App[Any]], object] | None = None


def _numbers(connection: apsw.Connection, table: str) -> bool:
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    keys = [column for column in columns if column[5]]
    return len(keys) == 1 and keys[0][0] == 0 and str(keys[0][2]).upper() == "INTEGER"


class Course:
    """One run, from the events to the result. `ids` are those of the events; None: new ones. `each` changes handlers.

    The first `alone` events run one after the other, each with all that it brings about, before the others are there.

    On the loop of `make_loop` it takes virtual time and `def` handlers run inline; with `real`, on any loop, in real
    time and in threads.
    """

    def __init__(
        self,
        app: App[Any],
        events: Iterable[object],
        ground: Ground,
        concurrency: int,
        seed: int,
        ids: Sequence[str] | None = None,
        *,
        alone: int = 0,
        real: bool = False,
        each: Callable[[Handler], Handler] = lambda handler: handler,
    ) -> None:
        self._real = real
        self._alone = alone
        self._app = app
        self._ground = ground
        self._ids = ids
        self._seed = seed
        self._objects: dict[tuple[str, bytes], object] = {}  # what was given or published, by type and bytes
        plan = app.plan()
        self._encode = plan.encode
        lifespan = plan.lifespan if ground.lifespan else None
        self._plan = replace(
            plan, stream=STREAM, concurrency=concurrency, lifespan=lifespan, encode=self._encode_child,
            handlers=[each(handler) for handler in plan.handlers],
        )  # fmt: skip
        self._given = [self._bytes_of(event) for event in events]
        self._log = _Log({event.type: event for handler in app.handlers for event in handler.events})
        self._ended: dict[int, bool] = {}  # position → whether a handler took it; in the sequence of the ends
        self._done = False
        self._coming: deque[list[Message]] = deque()  # what is put into the log when all before has ended
        self._stuck: list[str] = []
        self.numbered: frozenset[str] = frozenset()  # after the run: tables whose rows the database numbers
        self.dead_by_id: dict[str, DeadEvent] = {}  # after the run: events without success

    def make_loop(self) -> VirtualLoop:
        self._loop = VirtualLoop(self._seed)
        return self._loop

    async def run(self) -> Result:
        world = SeededWorld(self._seed, asyncio.get_running_loop().time)
        source = self._plan.source
        ids = self._ids or [world.new_id() for _ in self._given]
        messages = [
            Message(id_, source, type_, world.now_s(), data)
            for id_, (type_, data) in zip(ids, self._given, strict=True)
        ]
        self._coming.extend([message] for message in messages[: self._alone])
        self._coming.append(messages[self._alone :])
        self._next()
        folder = tempfile.TemporaryDirectory(prefix="commute-") if self._real else nullcontext()
        with folder as place:  # threads open blocks side by side, which a database in memory cannot
            return await self._in(None if place is None else str(Path(place) / "store.db"), world)

    async def _in(self, path: str | None, world: World) -> Result:
        link = _Link(self._log, self._ground.tables, path)
        self._worker = Worker(
            self._plan, link, world=world, state=self._ground.state, on_outcome=self._outcome,
            inline_threads=not self._real, watch=False,
        )  # fmt: skip
        self._finished = asyncio.Event()
        if not self._real:
            self._loop.quiet.on_quiet = self._quiet
            self._loop.quiet.on_stuck = self._stand_still
        try:
            with self._app.lent(link):
                await self._set_up()
                return await self._to_the_end(link)
        finally:
            link.file.close()

    async def _set_up(self) -> None:
        if self._ground.set_up is not None:
            made = self._ground.set_up(self._app)
            if inspect.isawaitable(made):
                await made

    async def _to_the_end(self, link: _Link) -> Result:
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

    async def _until_finished(self) -> None:
        ended = asyncio.create_task(self._worker.wait())
        finished = asyncio.create_task(self._look() if self._real else self._finished.wait())
        await asyncio.wait((ended, finished), return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()
        if ended.done():
            ended.result()
        self._done = True

    async def _look(self) -> bool:
        """In real time: look now and then whether it is over."""
        while not self._over() or self._next():
            await asyncio.sleep(LOOK_S)
        return True

    def _next(self) -> bool:
        """Put into the log what comes next; False if nothing does."""
        if not self._coming:
            return False
        self._log.given(self._coming.popleft())
        return True

    # -- when is it over -------------------------------------------------------------------------------------

    def _engine(self) -> Engine:
        session = self._worker.session
        assert session is not None, "the worker has started"
        return session.engine

    def _quiet(self) -> bool:
        """Nothing can run at this moment; True if that is the end."""
        if not self._over():
            return False
        if not self._next():
            self._end()
        return True

    def _over(self) -> bool:
        session = self._worker.session
        if self._done or session is None or not self._worker.ready.is_set():
            return False
        engine = session.engine
        if engine.running or engine.failing.retrying:
            return False
        if self._real and (len(engine.schedule) or engine.unsynced):
            return False
        # A partition that is paused takes in no more by itself.
        paused = any(partition.pause for partition in engine.partitions.values())
        if self._real and not paused and session.intake.taken < self._log.last:
            return False
        return not any(bound.queue for bound in engine.kinds.bounds) or self._gave_up(engine)

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
        event = named(event)
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
        self.numbered = link.numbered()
        dead = {
            position: buried.get(position) or DeadEvent(self._object(message), "waiting", reason)
            for position, message in messages.items()
            if position in buried or position not in self._ended
        }
        self.dead_by_id = {messages[position].id: event for position, event in dead.items()}
        processed = [self._object(messages[position]) for position, handled in self._ended.items() if handled]
        published = [self._object(message) for message in self._log.children]
        return Result(processed, list(dead.values()), published, engine.running_max, link.rows())
