"""The app: handlers, a broker, and what they are run with. The composition root: all rooms meet here.

app = App("shop")                        nothing is opened until it is needed
@app.on(OrderCreated, writes="…")        registration, with all import-time checks
await app.publish(OrderCreated(…))       connects at first use
app.run() / async with app.running()     a worker
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import fields, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from commute.cloudevents import PlainJson
from commute.errors import CommuteWarning, UsageError
from commute.footprints.declared import Labels
from commute.footprints.partitions import Partitioning, partitioning
from commute.footprints.vocabulary import check_vocabulary
from commute.handler import Handler, names_for
from commute.inference import Inference
from commute.limits import Limits, seconds, whole_number
from commute.link import BrokerUrl, Link, Log, is_server, parse_db, parse_url
from commute.receiving import Receiving, attributes_of, checked_receipts
from commute.router import Router, S
from commute.runtime.encoder import Encoder
from commute.runtime.fleet import Fleet
from commute.runtime.plan import Plan
from commute.runtime.receipts import Desk, Receipt, SyncReceipt
from commute.runtime.setup import SetupTransaction
from commute.runtime.slot import CURRENT
from commute.runtime.wiring import Recorder
from commute.runtime.worker import Worker
from commute.runtime.world import SystemWorld, World
from commute.sanitizer import sanitized, share_of
from commute.store.receipts import REPLY_GROUP, REPLY_TO
from commute.transports.base import Message, Sent
from commute.transports.memory import MemoryBroker

if TYPE_CHECKING:
    from commute.derive.application import Derived
    from commute.derive.run import Plugin

CONCURRENCY = 32
ID_CHARACTERS_MAX = 256
_R = TypeVar("_R", Receipt, SyncReceipt)
F = TypeVar("F", bound=Callable[..., Any])


class App(Router[S]):
    """A named set of handlers on one stream of a broker; also the producer of its events.

    Environment (``COMMUTE_BROKER``, ``COMMUTE_DB``, ``COMMUTE_GROUP``, ``COMMUTE_CONCURRENCY``,
    ``COMMUTE_SANITIZE`` and ``COMMUTE_<LIMIT>``) overrides what is written here, and command-line flags override both.
    `sanitize` is the share of attempts that are held to their footprints while they run, see `sanitizing`. Raises
    UsageError for options that are wrong.
    """

    def __init__(
        self,
        name: str,
        broker: str = "sqlite:///{name}.db",
        *,
        db: str | None = None,
        group: str | None = None,
        receipts: str | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[S]] | None = None,
        keys: Collection[str] | None = None,
        ignore: Sequence[str] = (),
        decode: PlainJson | None = None,
        partition_by: Labels | None = None,
        derive: bool = False,
        tables: Mapping[str, str] | None = None,
        plugins: Sequence[Plugin] = (),
        concurrency: int = CONCURRENCY,
        sanitize: float = 0.0,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(derive=derive or None)
        if not name or "/" in name:
            raise UsageError(f"{name!r} cannot be the name of an app: give a word without a slash", slug="app-name")
        self.name = name
        self.source = f"/{name}"
        self.keys = None if keys is None else frozenset(keys)
        self.ignore = tuple(ignore)
        self.decode = decode
        self.partition_by = partition_by
        self.tables = dict(tables or {})
        self._inference = Inference(plugins)
        self._lifespan = lifespan
        self._code: dict[str, Any] = {
            "broker": broker, "db": db, "group": group, "receipts": receipts, "concurrency": concurrency,
            "sanitize": sanitize,
        }  # fmt: skip
        self._limits = limits if limits is not None else Limits()
        self._flags: dict[str, Any] = {}
        self._world: World = SystemWorld()
        self._memory = MemoryBroker()
        self._lock = threading.RLock()
        self._link: Link | None = None
        self._users = 0
        self._log: Log | None = None
        self._desk: Desk | None = None
        self._receiving: Receiving | None = None
        self._encoder: Encoder | None = None
        self._encoder_for: tuple[Any, ...] = ()
        self._labels: Callable[[str, bytes], str | None] | None = None
        self._labels_for: tuple[Any, ...] = ()

    # -- footprints out of code ---------------------------------------------------------------------------------

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """All handlers in registration sequence, with the footprints that were derived for those that want it.

        Derives at the first use, when all modules are loaded; about 10 ms a handler. Raises UsageError (``no-extra``).
        """
        return self._inference.handlers(self, tuple(self._handlers))

    @property
    def declared_handlers(self) -> tuple[Handler, ...]:
        """All handlers as they were registered: nothing is derived."""
        return tuple(self._handlers)

    def trust(self, *names: str) -> None:
        """Inference takes these functions, ``"pkg.module.function"``, to touch nothing that an event can change."""
        self._inference.trust(names)

    def accesses(
        self, *, reads: str | Sequence[str] = (), writes: str | Sequence[str] = (), adds: str | Sequence[str] = ()
    ) -> Callable[[F], F]:
        """A decorator for a function or method that inference need not look into: it touches these keys.

        Placeholders are its parameters: ``writes="order/{order_id}"``, ``"order/{order.id}"``.
        """
        return self._inference.declares(reads, writes, adds)

    @property
    def lifespan(self) -> Callable[[], AbstractAsyncContextManager[S]] | None:
        """What makes the state of the handlers, None for nothing."""
        return self._lifespan

    def definitions(self) -> Sequence[str]:
        """The CREATE statements of the app's own tables in its store, as far as that exists. Blocks for
        milliseconds."""
        return self._link.definitions() if self._link is not None else ()

    def derived(self) -> Derived:
        """What inference finds in all handlers, also in those that declare their footprint. Raises UsageError."""
        return self._inference.derived(self, tuple(self._handlers))

    # -- settings -----------------------------------------------------------------------------------------------

    def override(self, **flags: Any) -> None:
        """What the command line says: broker, db, group, concurrency, and limits by name. None says nothing."""
        self._flags.update({name: value for name, value in flags.items() if value is not None})

    def _setting(self, name: str) -> Any:
        if name in self._flags:
            return self._flags[name]
        return os.environ.get(f"COMMUTE_{name.upper()}") or self._code[name]

    @property
    def url(self) -> BrokerUrl:
        """Where the events are. Raises UsageError."""
        text = self._broker
        if not is_server(text):
            return parse_url(text)
        db = self.db
        return parse_url(text, None if db is None else db.path)

    @property
    def _broker(self) -> str:
        return str(self._setting("broker")).replace("{name}", self.name)

    @property
    def db(self) -> BrokerUrl | None:
        """Where the app's own durable state is; None: in the broker's file."""
        text = self._setting("db")
        if text is None:
            return parse_url(f"sqlite:///{self.name}.commute.db") if is_server(self._broker) else None
        return parse_db(str(text).replace("{name}", self.name))

    @property
    def group(self) -> str:
        """The group whose progress the workers of this app share."""
        return str(self._setting("group") or self.name)

    @property
    def receipts(self) -> str | None:
        """The stream on which workers with another store tell this one what becomes of its events; None: it does not
        ask, as on an embedded broker, whose file tells. Raises UsageError (``receipts``)."""
        name = self._setting("receipts")
        return checked_receipts(str(name)) if name is not None and is_server(self._broker) else None

    @property
    def concurrency(self) -> int:
        """Handlers at once in one worker."""
        return whole_number("concurrency", self._setting("concurrency"), least=1)

    @property
    def sanitize(self) -> float:
        """The share of attempts that are watched, 0 for none. Raises UsageError (``option``)."""
        return share_of(self._setting("sanitize"))

    @property
    def limits(self) -> Limits:
        """The bounds, with environment and flags applied. Raises UsageError (``option``)."""
        changed: dict[str, Any] = {}
        for field in fields(Limits):
            text = self._flags.get(field.name, os.environ.get(f"COMMUTE_{field.name.upper()}"))
            if text is not None:
                whole = isinstance(getattr(self._limits, field.name), int)
                least = 0 if field.name in ("deaths_max", "overdue_max") else 1
                changed[field.name] = whole_number(field.name, text, least) if whole else seconds(field.name, text)
        return replace(self._limits, **changed) if changed else self._limits

    def check(self) -> Sequence[CommuteWarning]:
        """The vocabulary of all handlers together: raises UsageError, returns what is probably not meant."""
        return check_vocabulary([event.declared for handler in self.handlers for event in handler.events], self.keys)

    def partitioning(self) -> Partitioning:
        """The partition label of each event type, and what crosses. Raises UsageError (``partition-by``)."""
        declared = [event.declared for handler in self.handlers for event in handler.events]
        return partitioning(declared, self.partition_by)

    def plan(self) -> Plan:
        """What a worker of this app is told. Raises UsageError for anything that is wrong."""
        self.check()
        return Plan(
            name=self.name, group=self.group, stream=self.url.stream, source=self.source, handlers=self.handlers,
            ignore=self.ignore, concurrency=self.concurrency, limits=self.limits, encode=self.encoder.encode,
            lifespan=self._lifespan, label=self._label(),
        )  # fmt: skip

    def _label(self) -> Callable[[str, bytes], str | None] | None:
        """How the partition label of an event is told; None: the broker does not ask for it.

        Kept, since publishing asks each time and the search for labels may take half a second.
        """
        made_for = (self._broker, self.partition_by, tuple(self._handlers))
        if self._labels_for != made_for:
            self._labels = self._find_labels()
            self._labels_for = made_for
        return self._labels

    def _find_labels(self) -> Callable[[str, bytes], str | None] | None:
        if not is_server(self._broker) or not self.url.server.labelled:
            return None
        label_of, decode = self.partitioning().label_of, self.encoder.decode
        return lambda type_, data: label_of(type_, decode(type_, data))

    @property
    def encoder(self) -> Encoder:
        """The codecs of all handlers registered so far. Derives nothing: whoever only publishes needs no footprints."""
        registered = tuple(self._handlers)
        if self._encoder is None or self._encoder_for != registered:
            codecs = [event.codec for handler in registered for event in handler.events]
            self._encoder, self._encoder_for = Encoder(codecs, self.limits.event_bytes_max), registered
        return self._encoder

    # -- the connection -----------------------------------------------------------------------------------------

    def connect(self) -> Link:
        """Open broker and store, once; blocks for milliseconds. Raises UsageError, StoreError."""
        with self._lock:
            if self._link is None:
                self._receiving = self.receiving()
                self._link = Link.open(
                    self.url, self.db, self.limits, self._memory, reader=self.name, plain=self.decode
                )
                self._log = self._link.transport()
                self._desk = self._desk_of(self._link, self.url.stream)
            return self._link

    def receiving(self) -> Receiving | None:
        """The app's receipts from elsewhere, not yet connected, to be closed; None: there are none. Raises UsageError
        (``receipts``)."""
        name = self.receipts
        return None if name is None else Receiving(self.url, self.db, self.limits, name)

    def _desk_of(self, link: Link, stream: str) -> Desk:
        return Desk(
            link.file, partial(link.logs, stream), self.group, retain_s=self.limits.retain_s,
            handlers_of=self._handlers_of, inbox=self._receiving,
        )  # fmt: skip

    def close(self) -> None:
        """Close what was opened; what was confirmed stays. Blocks; the next use opens again."""
        with self._lock:
            link, self._link = self._link, None
            desk, self._desk = self._desk, None
            receiving, self._receiving = self._receiving, None
            self._log = None
            if desk is not None:
                desk.close()
            if receiving is not None:
                receiving.close()
            if link is not None:
                link.close()

    @contextmanager
    def lent(self, link: Any) -> Iterator[None]:
        """For tools: what the app opens is `link` until the end, and its own broker is not touched. Raises UsageError
        (``app-open``) where that is open already."""
        with self._lock:
            if self._link is not None:
                raise UsageError(
                    f"{self.name} is connected to its broker: close it before a run without", slug="app-open"
                )
            self._link, self._log = link, link.transport()
        try:
            yield
        finally:
            with self._lock:
                self._link = self._log = None

    async def __aenter__(self) -> Self:
        """Producer only: connect now, close at the end."""
        await asyncio.to_thread(self.connect)
        with self._lock:
            self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            await asyncio.to_thread(self.close)

    def _handlers_of(self, type_: str) -> list[str]:
        return names_for(self._handlers, type_)

    @property
    def desk(self) -> Desk:
        """Who answers about receipts."""
        self.connect()
        assert self._desk is not None
        return self._desk

    @property
    def log(self) -> Log:
        """The stream, for those who look into it."""
        self.connect()
        assert self._log is not None
        return self._log

    # -- publishing ---------------------------------------------------------------------------------------------

    async def publish(self, event: object, *, to: str | None = None, id: str | None = None) -> Receipt:
        """Validate one event and store it durably; returns when it is confirmed. `to`: another stream of the broker.

        `id` makes a repeated call harmless: one identity with the same bytes is stored once. Raises RejectedError
        (wrong data, too large), StoreError, UsageError (inside a handler: use ctx.publish).
        """
        messages = self._messages([event], id)
        await self._connect()
        sent = await self.log.send(messages, to=to)
        return self._receipts(Receipt, messages, sent, to)[0]

    async def publish_many(self, events: Iterable[object], *, to: str | None = None) -> Sequence[Receipt]:
        """Validate all events, then store them in this sequence in one commit: all or none; a receipt each."""
        messages = self._messages(events, None)
        await self._connect()
        sent = await self.log.send(messages, to=to)
        return self._receipts(Receipt, messages, sent, to)

    def publish_sync(self, event: object, *, to: str | None = None, id: str | None = None) -> SyncReceipt:
        """`publish` for programs without an event loop: Django, Flask, scripts. Blocks until confirmed."""
        messages = self._messages([event], id)
        self.connect()
        self._receive()
        sent = self.log.send_sync(messages, to=to)
        return self._receipts(SyncReceipt, messages, sent, to)[0]

    def receipt(self, event_id: str) -> Receipt:
        """The receipt of an event by its id, from any process that reaches the app's store."""
        return Receipt(self.desk, event_id)

    def message(self, type_: str, data: bytes, *, id: str | None = None) -> Message:
        """JSON bytes of an event known by its type name, validated, as `send` takes them."""
        type_, data = self.encoder.encode_named(type_, data)
        attributes = attributes_of(self._label(), type_, data, self._wanted())
        return Message(id or self._world.new_id(), self.source, type_, self._world.now_s(), data, attributes)

    async def _connect(self) -> None:
        if self._link is None:
            await asyncio.to_thread(self.connect)
        if self._receiving is not None and self._receiving.due:
            await asyncio.to_thread(self._receive)

    def _receive(self) -> None:
        """Before anything is sent: a broker may keep receipts only for those who have been there once."""
        if self._receiving is not None:
            self._receiving.start()

    def _messages(self, events: Iterable[object], id: str | None) -> list[Message]:
        """The events as they are sent, all of them checked before the first is."""
        place = CURRENT.get()
        if place is not None and place.source == self.source and (name := place.handler_name) is not None:
            raise UsageError(
                f"{name} called app.publish: it would be sent even if {name} fails. Use ctx.publish.",
                slug="publish-inside",
            )
        if id is not None and not 0 < len(id) <= ID_CHARACTERS_MAX:
            raise UsageError(f"an event's id has 1 to {ID_CHARACTERS_MAX} characters", slug="event-id")
        encode, new_id, source, now_s = self.encoder.encode, self._world.new_id, self.source, self._world.now_s()
        messages = []
        label, wanted = self._label(), self._wanted()
        for event in events:
            type_, data = encode(event)
            attributes = attributes_of(label, type_, data, wanted)
            messages.append(Message(id or new_id(), source, type_, now_s, data, attributes))
        return messages

    def _wanted(self) -> dict[str, str] | None:
        """The attributes by which workers know where receipts are wanted, and whose; None: nowhere."""
        name, group = self.receipts, self._setting("group")
        return None if name is None else {REPLY_TO: name} | ({REPLY_GROUP: str(group)} if group else {})

    def _receipts(self, kind: type[_R], messages: Sequence[Message], sent: Sequence[Sent], to: str | None) -> list[_R]:
        desk = self.desk
        if to is not None and to != self.url.stream and self._link is not None:
            desk = self._desk_of(self._link, to)
        return [kind(desk, m.id, one.position, m.type) for m, one in zip(messages, sent, strict=True)]

    # -- running ------------------------------------------------------------------------------------------------

    def worker(
        self,
        *,
        recorder: Recorder | None = None,
        resume: bool = False,
        from_end: bool = False,
        watch: bool = True,
        world: World | None = None,
        inline_threads: bool = False,
    ) -> Worker:
        """A worker of this app, not yet started; its link is open. For tools and tests: users call `run`."""
        plan = self.plan()
        return Worker(
            plan, self.connect(), world=world or self._world, recorder=recorder, resume=resume, from_end=from_end,
            watch=watch, inline_threads=inline_threads,
        )  # fmt: skip

    def partitions(self) -> int:
        """How many logs the stream has. Blocks: a broker server is asked. Raises NotReachableError, UsageError."""
        return self.connect().partitions()

    def fleet(
        self, partitions: int, share: tuple[int, int] = (0, 1), *, resume: bool = False, from_end: bool = False,
        recorder: Callable[[int], Recorder] | None = None,
    ) -> Fleet:  # fmt: skip
        """An engine for each partition that this process owns, not yet started. Raises UsageError (``crosses``)."""
        plan, found = self.plan(), self.partitioning()
        found.check(plan.stream, partitions)
        self.connect().agree(plan.group, partitions, found.fingerprint(partitions), partitions)
        link = self.connect()
        return Fleet(
            plan, link, partitions, share=share, count=link.partitions, recorder=recorder, world=self._world,
            resume=resume, from_end=from_end,
        )  # fmt: skip

    def own_all(self, partitions: int) -> None:
        """Note that one engine has all partitions of the stream. Blocks. Raises UsageError (``partitions-changed``)."""
        if is_server(self._broker):  # one partition too: the group may have had more
            self.connect().agree(self.group, 1, "", partitions)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A worker inside another asyncio program: handlers run on its loop; the end drains."""
        async with self:
            worker = self.worker()
            with sanitized(self, self.sanitize):
                await worker.start()
                if worker.ended:
                    await worker.wait()  # raises why it could not begin
                try:
                    yield
                finally:
                    await worker.stop()

    def run(self) -> None:
        """Run a worker until a signal: the same as ``commute run``. Returns when it has drained."""
        from commute.cli.run import run_app

        raise SystemExit(run_app(self))

    def transaction(self) -> SetupTransaction:
        """`ctx.transaction()` for set-up and `lifespan`: a block of the embedded store without an inbox row."""
        return SetupTransaction(self.connect)
