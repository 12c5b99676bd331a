"""From a URL to an open broker and store: the one place that knows which transport belongs to which scheme.

    sqlite:///FILE?stream=events     three slashes: relative to the working directory, four: absolute
    memory://                        in this process, gone with it
    amqp://HOST/VHOST?queue=QUEUE    RabbitMQ (amqps: over TLS): docs/rabbitmq.md
    kafka://HOST:9092/TOPIC          docs/kafka.md
    mqtt://HOST/TOPIC                MQTT 5 and 3.1.1 (mqtts: over TLS): docs/mqtt.md
    zmq+tcp://HOST:PORT              producers connect to the worker: docs/zeromq.md

What a broker server brings is journalled in the store before it is acknowledged.
The store (`db`) is the broker's own file unless another one is named; for a broker server ``NAME.commute.db``, or
``postgresql://HOST/DATABASE``, which several machines reach: docs/postgresql.md.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from commute.database import Database
from commute.embedded.file import EmbeddedFile
from commute.errors import NotReachableError, UsageError
from commute.limits import Limits
from commute.postgres.address import SCHEMES as POSTGRES_SCHEMES
from commute.postgres.address import parse as parse_address
from commute.store.agreement import ONE_LOG, agree, agreed, changed, kept
from commute.store.identity import identify, identity, new_identity, shown
from commute.store.schema import SCHEMA
from commute.transports.base import Delivery, Features, Transport, part_name
from commute.transports.finding import Finding, good
from commute.transports.journal import Journal, Outbound, journal_features
from commute.transports.rows import find_positions, open_events, partition_logs, read_rows

if TYPE_CHECKING:
    from commute.cloudevents import PlainJson
    from commute.runtime.receipts import Finder
    from commute.store.store import Appender
    from commute.transports.groups import GroupState
    from commute.transports.memory import MemoryBroker
    from commute.transports.wire import Promises, Wire

LOGGER = logging.getLogger("commute")

_DEFAULT_STREAM = "events"


# scheme -> (module of commute.transports and extra that brings its client, its class, the option of the URL that names
# the stream; None: its path)
_WIRES = {
    "amqp": ("rabbitmq", "RabbitmqWire", "queue"),
    "amqps": ("rabbitmq", "RabbitmqWire", "queue"),
    "kafka": ("kafka", "KafkaWire", None),
    "mqtt": ("mqtt", "MqttWire", None),
    "mqtts": ("mqtt", "MqttWire", None),
    "zmq+tcp": ("zeromq", "ZeromqWire", "stream"),
}


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A parsed URL of a broker or a store. `path`: the file that holds it, absolute, or the URL of a PostgreSQL
    store; None for memory, and for a broker server without a store. `server`: the options of a broker server's client,
    else None. `text` is what messages show, `place` what they call `path`."""

    scheme: str
    path: str | None
    stream: str
    server: Any = None

    @property
    def text(self) -> str:
        if self.server is not None:
            return str(self.server.shown)
        if self.path is None:
            return "memory://"
        return self.place if is_postgres(self.path) else f"sqlite:///{self.path}"

    @property
    def place(self) -> str:
        if self.path is None or not is_postgres(self.path):
            return self.path or ""
        return parse_address(self.path).shown

    @property
    def file(self) -> Path | None:
        """The file at `path`, if that is one."""
        return None if self.path is None or is_postgres(self.path) else Path(self.path)


class Log(Transport, Protocol):
    """A transport whose log can also be looked into: both embedded ones."""

    stream: str

    def find(self, event_id: str, source: str | None = None) -> list[int]: ...
    def read(self, position: int) -> Delivery | None: ...
    def range(self, first: int, last: int) -> list[Delivery]: ...
    def last_position(self) -> int: ...
    def groups(self) -> list[GroupState]: ...
    async def drop_group(self, group: str) -> bool: ...
    async def retain(self, now_s: float) -> int: ...


def is_server(text: str) -> bool:
    """Whether the URL names a broker server, which keeps no state of ours: that needs a store of its own."""
    return urlsplit(text).scheme in _WIRES


def with_stream(text: str, stream: str) -> str:
    """The same broker, another of its streams. `stream` has letters, digits, ``.``, ``_`` and ``-`` only."""
    place, _, query = text.partition("?")
    option = _WIRES[urlsplit(text).scheme][2] if is_server(text) else "stream"
    if option is None:
        place = "/".join(place.split("/")[:3]) + "/" + stream
    else:
        options = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != option]
        query = urlencode([*options, (option, stream)])
    return f"{place}?{query}" if query else place


def discard(url: BrokerUrl, reader: str) -> None:
    """Delete what a broker server keeps of the stream and of the place of `reader` in it, for streams that were made to
    be thrown away; nothing for embedded brokers. Blocks. Where that cannot be done, it is said in the log."""
    if url.server is None:
        return
    try:
        _wire(url).discard(reader)
    except (NotReachableError, UsageError) as error:
        LOGGER.warning("warning[%s] %s was not deleted: %s", error.slug, url.text, error)


def is_postgres(text: str) -> bool:
    """Whether the URL names a PostgreSQL database: a store, and no broker."""
    return urlsplit(text).scheme in POSTGRES_SCHEMES


def parse_db(text: str) -> BrokerUrl:
    """The parts of a store's URL. Raises UsageError (``broker-url``, ``db-url``)."""
    if not is_postgres(text):
        return parse_url(text)
    parse_address(text)
    return BrokerUrl("postgresql", text, _DEFAULT_STREAM)


def parse_url(text: str, journal: str | None = None) -> BrokerUrl:
    """The parts of a broker URL; `journal`: the store's file, in which a broker server's stream is journalled.

    Raises UsageError: ``broker-url`` says what is accepted, ``no-extra`` which client is missing.
    """
    parts = urlsplit(text)
    if is_server(text):
        options = _wire_module(parts.scheme).parse(text)
        return BrokerUrl(parts.scheme, journal, options.stream, options)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    stream = options.pop("stream", _DEFAULT_STREAM)
    if options or not stream:
        raise _refused(text, f"it has {', '.join(options) or 'an empty stream'}; the only option is ?stream=NAME")
    if parts.scheme == "memory":
        if parts.netloc or parts.path.strip("/"):
            raise _refused(text, "memory:// has no path")
        return BrokerUrl("memory", None, stream)
    if is_postgres(text):
        raise _refused(text, "PostgreSQL keeps an app's state: give it as db=, beside a broker")
    if parts.scheme != "sqlite":
        raise _refused(
            text,
            f"there is no {parts.scheme or 'such'} broker; there are sqlite:///FILE, memory://, "
            f"{', '.join(f'{scheme}://' for scheme in _WIRES)}",
        )
    if parts.netloc or len(parts.path) < 2:
        raise _refused(text, "write sqlite:///FILE (relative) or sqlite:////FILE (absolute)")
    return BrokerUrl("sqlite", os.path.realpath(Path(unquote(parts.path[1:]))), stream)


def promises_of(url: BrokerUrl) -> Promises:
    """What a broker server keeps, by its client; nothing is connected."""
    promises: Promises = _wire_class(url.scheme).promises
    return promises


def features(url: BrokerUrl) -> Features:
    """What the transport of a broker server promises; nothing is connected."""
    return journal_features(promises_of(url))


def partitions(url: BrokerUrl) -> int:
    """How many logs the stream has. Blocks: a broker server may be asked. Raises NotReachableError, UsageError."""
    return 1 if url.server is None else _wire(url).partitions()


def claimed(url: BrokerUrl, reader: str) -> str | None:
    """The store that serves the workers whom a broker server knows as `reader`, in words; None: none is known. Blocks.
    Raises NotReachableError, UsageError."""
    held = None if url.server is None else _wire(url).claimed(reader)
    return None if held is None else shown(held)


def release(url: BrokerUrl, reader: str) -> None:
    """Forget at a broker server which store serves the workers of `reader`. Blocks. Raises as `claimed`."""
    if url.server is not None:
        _wire(url).release(reader)


def examine(url: BrokerUrl, reader: str | None, store: str | None = None) -> list[Finding]:
    """What is right and wrong with a broker. `reader`: as whom a server knows the workers, if it is known; `store`:
    the file in which their owners are noted, if not the broker's. Blocks for seconds. Raises NotReachableError,
    UsageError."""
    if url.server is not None:
        _wire_module(url.scheme)
        found: list[Finding] = import_module(f"commute.transports.{_WIRES[url.scheme][0]}_doctor").examine(
            url.server, reader
        )
        held = None if reader is None else claimed(url, reader)
        return found if held is None else [*found, good("claim", f"{reader} is served with {held}")]
    if url.path is None:
        return [good("broker", "in this process, gone with it: nothing can be wrong with it, nor be looked at")]
    from commute.transports.sqlite_doctor import examine

    return examine(url.path, url.stream, store=store)


def examine_store(path: str, stream: str) -> list[Finding]:
    """What is right and wrong with the store of an app on a broker server, which journals `stream`. Blocks."""
    if is_postgres(path):
        from commute.postgres.doctor import examine as examine_postgres

        return examine_postgres(path)
    from commute.transports.sqlite_doctor import examine

    if not Path(path).exists():
        return [good("file", f"there is no file {path} yet: the first worker makes it")]
    return examine(path, stream, feeds=True)


def _wire(url: BrokerUrl, plain: PlainJson | None = None) -> Wire:
    """A new client of a broker server, not yet connected."""
    assert url.server is not None
    wire: Wire = _wire_class(url.scheme)(url.server, plain=plain)
    return wire


def _wire_class(scheme: str) -> Any:
    return getattr(_wire_module(scheme), _WIRES[scheme][1])


def _wire_module(scheme: str) -> ModuleType:
    module = _WIRES[scheme][0]
    try:
        return import_module(f"commute.transports.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("commute"):
            raise
        raise UsageError(
            f'{scheme}:// needs a client that is not installed: pip install "commute[{module}]"', slug="no-extra"
        ) from None


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"{text!r} is no broker URL: {why}", slug="broker-url")


class LogView:
    """Looks into one log of a store, and never writes, not even its tables."""

    def __init__(self, file: Database, stream: str) -> None:
        self._file = file
        self._stream = stream

    def find(self, event_id: str, source: str | None = None) -> list[int]:
        """The positions of the events with that id, ascending. Blocks shortly."""
        return self._file.read(partial(find_positions, stream=self._stream, event_id=event_id, source=source))

    def read(self, position: int) -> Delivery | None:
        """The event at `position`; None where none is kept. Blocks shortly."""
        found = self._file.read(partial(read_rows, stream=self._stream, first=position, last=position))
        return found[0] if found else None


class Link:
    """One app's broker and store, open. Use `open`; close it when the last user has gone. Thread-safe to share."""

    def __init__(
        self,
        url: BrokerUrl,
        broker_file: Database | None,
        file: Database,
        memory: MemoryBroker | None,
        limits: Limits,
        reader: str = "commute",
        plain: PlainJson | None = None,
    ) -> None:
        self.url = url
        self.file = file  # the store
        self._broker_file = broker_file
        self._memory = memory
        self._limits = limits
        self._reader = reader
        self._plain = plain
        self._outbound = None if url.server is None else Outbound(self._make_wire)
        self._claimed = False
        self._claiming = threading.Lock()
        self._closed = False

    @classmethod
    def open(
        cls,
        url: BrokerUrl,
        db: BrokerUrl | None,
        limits: Limits,
        memory: MemoryBroker | None = None,
        *,
        reader: str = "commute",
        plain: PlainJson | None = None,
    ) -> Link:
        """Open broker and store; makes files that are missing. Blocks for milliseconds: a broker server is connected
        at the first use.

        `memory`: the streams of a ``memory://`` broker, so that several links of one app see the same ones. `reader`:
        the name by which a broker server knows the store's workers. `plain`: how bodies of foreign producers are read.
        Raises UsageError and StoreError of the embedded file.
        """
        broker_file = None if url.path is None else open_file(url.path, limits)
        if db is None or db.path == url.path:
            file = broker_file if broker_file is not None else open_file(None, limits)
        else:
            file = open_file(db.path, limits)
        link = cls(url, broker_file, file, memory, limits, reader, plain)
        try:
            file.schema(SCHEMA)
        except BaseException:
            link.close()
            raise
        return link

    def partitions(self) -> int:
        """How many logs the stream has. May ask the broker, and block. Raises NotReachableError, UsageError."""
        return 1 if self._outbound is None else self._outbound().partitions()

    def agree(self, group: str, logs: int, fingerprint: str, there: int) -> None:
        """Have all workers of the group use as many logs of the stream, by the same labels, of the partitions that are
        `there`. Blocks.

        Raises UsageError (``partitions-changed``) where that would change while events are not finished.
        """
        stream, file = self.url.stream, self.file
        before = file.read(lambda c: agreed(c, group, stream))
        if before == (logs, fingerprint) or self._broker_file is None:
            return
        undone = unfinished(self._broker_file, file, stream, group)
        if undone and (before or ONE_LOG) != (logs, fingerprint):
            raise changed(group, stream, before or ONE_LOG, logs, there, undone)
        file.writer.submit(lambda c: agree(c, group, stream, logs, fingerprint)).result()

    def definitions(self) -> Sequence[str]:
        """The CREATE statements of the application's tables in the store; none where that is no SQLite. Blocks."""
        return self.file.definitions() if isinstance(self.file, EmbeddedFile) else ()

    def claim(self) -> None:
        """Have the broker server note that this store journals the stream for its reader; done once. Blocks.

        Two stores would each have a part of the stream, and neither could tell what is a duplicate, or what comes
        before what. Raises UsageError (``other-store``), NotReachableError.
        """
        with self._claiming:
            if self._claimed or self._outbound is None or self.file.path is None:
                return
            own = self._identity()
            try:
                held = _wire(self.url).claim(self._reader, own)
            except UsageError as error:
                LOGGER.warning(
                    "warning[store-unchecked] whether another store serves %s on %s cannot be told: %s. Run its "
                    "workers with one store only", self._reader, self.url.text, error,
                )  # fmt: skip
                held = own
            if held != own:
                raise UsageError(
                    f"{self._reader} on {self.url.text} is served with {shown(held)}; this is {shown(own)}. Two stores "
                    "would each get a part of the stream, and duplicates and order would be lost in silence. Give all "
                    'machines one store: App(db="postgresql://HOST/DATABASE"). If that machine is gone for good: '
                    "commute groups release",
                    slug="other-store",
                )
            self._claimed = True

    def _identity(self) -> str:
        """Who the store is; made at the first question."""
        found = self.file.read(identity)
        if found is None:
            at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            new = new_identity(secrets.token_hex(8), platform.node(), at)
            self.file.writer.submit(lambda connection: identify(connection, new)).result()
            found = self.file.read(identity)
        assert found is not None
        return found

    def transport(self, stream: str | None = None, partition: int | None = None) -> Log:
        """A new view of the stream, of one partition of it as a log of its own, or of another stream of the same
        broker; each user opens and closes its own."""
        stream = stream or self.url.stream
        whole = stream == self.url.stream
        stream = part_name(stream, partition)
        if self._broker_file is None:
            from commute.transports.memory import MemoryTransport

            return MemoryTransport(self._memory, stream, retain_s=self._limits.retain_s)
        from commute.transports.sqlite import SqliteTransport

        # Looking into a file costs nothing; looking into a server's database a way there and back.
        poll_s = 0.05 if self._broker_file.blocks_apart else 0.02
        log = SqliteTransport(self._broker_file, stream, poll_s=poll_s, retain_s=self._limits.retain_s)
        if self._outbound is None:
            return log
        return Journal(
            log, feeds=self.feeds(partition), outbound=self._outbound, promises=promises_of(self.url),
            reader=self._reader, journal_events_max=self._limits.journal_events_max, to=None if whole else stream,
            claim=self.claim,
        )  # fmt: skip

    def logs(self, stream: str) -> Mapping[str, Finder]:
        """The logs of a stream that the store has, by their names there: its own, and those of its partitions. Reads
        only, and shortly: it may be called while a block is open on the same loop."""
        file = self._broker_file
        if file is None:
            return {stream: self.transport(stream)}
        names = [stream]
        if self.url.server is not None:
            names += file.read(lambda connection: partition_logs(connection, stream))
        return {name: LogView(file, name) for name in names}

    def feeds(self, partition: int | None = None) -> list[Callable[[], Wire]]:
        """What makes the clients that together bring the stream, or one partition of it."""
        server = self.url.server
        readers = server.readers() if partition is None else [server.of_partition(partition)]
        return [partial(_wire, replace(self.url, server=reader), self._plain) for reader in readers]

    @property
    def dead_letters_to(self) -> str | None:
        """Where the broker is to get copies of dead letters, as a transport's `send` takes it; None: nowhere."""
        return None if self.url.server is None else self.url.server.dead_letters_to

    def sender(self) -> Outbound | None:
        """The client that sends to a broker server; None for the embedded brokers. For producers without a store."""
        return self._outbound

    def _make_wire(self) -> Wire:
        return _wire(self.url, self._plain)

    def appender(self, transport: Transport) -> Appender | None:
        """The transport as one that appends inside the store's transactions, if its log lies in the store's file."""
        if self._broker_file is None or self._broker_file is not self.file or self.url.server is not None:
            return None
        from commute.transports.sqlite import SqliteTransport

        assert isinstance(transport, SqliteTransport)
        return transport

    def close(self) -> None:
        """Commit what is queued and close the files, unless others use them. Blocks; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._outbound is not None:
            self._outbound.close()
        if self._broker_file is not None and self._broker_file is not self.file:
            self._broker_file.close()
        self.file.close()


def unfinished(journal: Database, store: Database, stream: str, group: str) -> int:
    """At most so many events of the stream are not finished for the group, in all of its logs. Blocks."""
    names = journal.read(lambda c: [stream, *partition_logs(c, stream)])
    undone = journal.read(lambda c: sum(open_events(c, name, group) for name in names))
    return undone + store.read(lambda c: sum(kept(c, group, name) for name in names))


def open_file(path: str | None, limits: Limits, *, busy_s_max: float = 30.0) -> Database:
    """The database at `path`: a file, a PostgreSQL URL, or None: one in memory. Each opening needs its `close`."""
    if path is not None and is_postgres(path):
        from commute.postgres.store import PostgresStore

        return PostgresStore.open(path, limits)
    return EmbeddedFile.open(
        path, commit_s_max=limits.commit_s_max, transaction_s_max=limits.transaction_s_max, busy_s_max=busy_s_max
    )
