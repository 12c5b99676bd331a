"""RabbitMQ, by pika's select loop in a thread of its own: one connection, a channel to consume and one to publish.

pika has neither reconnect nor topology recovery; both are here and in `transports.rabbitmq_channels`. A queue that is
not there is declared as durable, a quorum queue unless ``kind=classic`` says otherwise, with a single active consumer:
so one worker gets the sequence, and gets it again from the first unacknowledged message on. A queue that is there is
adopted as it is, and what it promises less is said once.

Messages are CloudEvents in binary mode. The specification binds them to AMQP 1.0 only; its names are used as headers
of 0-9-1 (``cloudEvents_id``), and ``cloudEvents:id`` is read too.

Invariants: the wire dials until it is closed, with backoff and full jitter. A dead connection is found by heartbeats,
within three times `heartbeat_s` (pika adds some seconds). What was written and not confirmed when a connection breaks
fails; what was not yet written is sent over the next one. Waiting and unconfirmed messages are bounded.

Source: AMQP 0-9-1; RabbitMQ's publisher confirms, quorum queues and consumer priorities as its documentation has them.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from commute import cloudevents
from commute.cloudevents import PlainJson
from commute.errors import NotReachableError, UsageError
from commute.limits import MIB
from commute.transports import rabbitmq_claim
from commute.transports.base import Message
from commute.transports.mailbox import Mailbox
from commute.transports.rabbitmq_channels import PREFETCH_MAX, Intake, Outlets, Sending
from commute.transports.rabbitmq_connection import (
    connection_class,
    delete_queue,
    not_reachable,
    parameters,
    root,
    why_refused,
)
from commute.transports.rabbitmq_frames import Properties
from commute.transports.rabbitmq_headers import PREFIX, SHORT_BYTES_MAX, death, document, encoded
from commute.transports.rabbitmq_partitions import dealt, joined
from commute.transports.rabbitmq_queues import EXCHANGE, Backoff, Session
from commute.transports.trust import checked_ca
from commute.transports.waiting import Waiting
from commute.transports.wire import Arrival, Promises, StreamOptions

LOGGER = logging.getLogger("commute")

_PREFIXES = (PREFIX, "cloudEvents:")
_TIME_S_MAX = 253_402_300_799  # the last second that has a date of four digits
_NUMBERS = ("heartbeat_s", "in_flight_max", "nack_retries_max", "partitions")
_WORDS = ("queue", "kind", "content", "dead_letter_exchange", "ca_file")
_ACCEPTED = "write amqp://USER:PASSWORD@HOST:PORT/VHOST?queue=QUEUE (or amqps://), and of kind=quorum|classic, \
content=structured, dead_letter_exchange=NAME, ca_file=FILE, {} what is needed".format(", ".join(_NUMBERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitmqOptions(StreamOptions):
    """Where the broker is, and all bounds. `stream` is the queue."""

    host: str
    port: int
    vhost: str = "/"
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    encrypted: bool = False  # TLS, with the host's name checked
    ca_file: str = ""  # of the authority that is trusted, PEM; empty: those of the system
    stream: str = "events"
    partitions: int = 1  # more: the stream is the queues STREAM.0, STREAM.1, ...
    structured: bool = False  # events are sent as one JSON document each, not with their attributes in headers
    kind: str = "quorum"  # of queues that are declared here; or "classic"
    dead_letter_exchange: str = ""  # gets a copy of each event that is rejected or skipped; empty: no copies
    heartbeat_s: int = 10
    in_flight_max: int = 1_000  # messages written and not confirmed
    in_flight_bytes_max: int = 64 * MIB  # a single message may be larger
    nack_retries_max: int = 6  # how often a refused message is sent again, after retry_s_min, doubled, with jitter
    waiting_max: int = 100_000  # messages sent and not confirmed, written or not; beyond it `send` fails
    waiting_bytes_max: int = 256 * MIB
    connect_s_max: float = 10.0  # also for the answer to whatever is asked of the broker
    confirm_s_max: float = 30.0  # without any confirm while messages wait for one
    close_s_max: float = 5.0
    retry_s_min: float = 0.1
    retry_s_max: float = 10.0

    def of_partition(self, partition: int) -> RabbitmqOptions:
        """The queue of one partition, as a stream of its own."""
        return replace(self, stream=f"{self.stream}.{partition}", partitions=1)

    def aside(self, stream: str) -> RabbitmqOptions:
        return replace(self, stream=_checked_queue(stream), partitions=1, dead_letter_exchange="")

    def readers(self) -> list[RabbitmqOptions]:
        return [self] if self.partitions == 1 else [self.of_partition(n) for n in range(self.partitions)]

    @property
    def labelled(self) -> bool:
        return self.partitions > 1

    @property
    def dead_letters_to(self) -> str | None:
        return EXCHANGE + self.dead_letter_exchange if self.dead_letter_exchange else None

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without the password."""
        scheme = "amqps" if self.encrypted else "amqp"
        vhost = "" if self.vhost == "/" else quote(self.vhost, safe="")
        return f"{scheme}://{quote(self.user, safe='')}:***@{self.address}/{vhost}?queue={quote(self.stream, safe='')}"


def parse(url: str) -> RabbitmqOptions:
    """The options in an ``amqp://`` or ``amqps://`` URL. Raises UsageError: ``broker-url``, ``no-extra``."""
    _library()
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    encrypted = parts.scheme == "amqps"
    try:
        host, port = parts.hostname or "", parts.port or (5671 if encrypted else 5672)
    except ValueError:
        raise UsageError(f"the port of an amqp:// URL is no number: {_ACCEPTED}", slug="broker-url") from None
    path = parts.path.removeprefix("/")
    alien = given.keys() - {*_WORDS, *_NUMBERS}
    if parts.scheme not in ("amqp", "amqps") or not host or "/" in path or alien:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        more = f" (there is no option {', '.join(sorted(alien))})" if alien else ""
        raise UsageError(f"{shown!r} is no RabbitMQ URL{more}: {_ACCEPTED}", slug="broker-url")
    numbers = {name: int(given[name]) if given[name].isdecimal() else 0 for name in _NUMBERS if name in given}
    kind = given.get("kind", "quorum")
    if kind not in ("quorum", "classic") or not all(numbers.values()):
        raise UsageError(f"kind is quorum or classic, {' and '.join(_NUMBERS)} a number from 1: {_ACCEPTED}",
                         slug="broker-url")  # fmt: skip
    return RabbitmqOptions(
        host=host,
        port=port,
        vhost=unquote(path) or "/",
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password if parts.password is not None else "guest"),
        encrypted=encrypted,
        ca_file=checked_ca(given.get("ca_file", "")),
        stream=_checked_queue(given.get("queue", "events")),
        kind=kind,
        structured=cloudevents.is_structured(given.get("content", cloudevents.CONTENTS[0]), _ACCEPTED),
        dead_letter_exchange=_checked_exchange(given.get("dead_letter_exchange", "")),
        **numbers,
    )


def _checked_exchange(name: str) -> str:
    """The name, if an exchange can have it. Raises UsageError (``broker-url``)."""
    if len(name.encode("utf-8", "replace")) > SHORT_BYTES_MAX - len(EXCHANGE):
        raise UsageError(f"{name!r} is no name for an exchange: it has at most {SHORT_BYTES_MAX - len(EXCHANGE)} bytes",
                         slug="broker-url")  # fmt: skip
    return name


def _checked_queue(queue: str) -> str:
    """The name, if a queue can have it. Raises UsageError (``broker-url``)."""
    if not queue or queue.startswith(("amq.", EXCHANGE)) or len(queue.encode("utf-8", "replace")) > SHORT_BYTES_MAX:
        raise UsageError(f"{queue!r} is no name for a queue: it has 1 to {SHORT_BYTES_MAX} bytes and does not begin "
                         f"with amq. or {EXCHANGE}", slug="broker-url")  # fmt: skip
    return queue


def _library() -> Any:
    try:
        import pika
    except ModuleNotFoundError:
        raise UsageError(
            'amqp:// needs a client that is not installed: pip install "commute[rabbitmq]"', slug="no-extra"
        ) from None
    library_log = logging.getLogger("pika")
    if library_log.level == logging.NOTSET:  # it logs each refused question as an error, some with a traceback
        library_log.setLevel(logging.CRITICAL)
    return pika


class RabbitmqWire:
    """A `Wire`. One thread runs pika's loop; others leave it commands and wake it, once for many."""

    promises = Promises(
        name="rabbitmq",
        confirmed="on a quorum queue, with a majority of its nodes",
        durable=True,
        ordered=True,
        queued=True,
        message_bytes_max=16 * MIB,  # RabbitMQ 4's; 3 takes 128
        own_id="message_id",
        note="of a queue that was there before, only what it promises itself: a warning at the start says what is less",
    )

    def __init__(
        self,
        options: RabbitmqOptions,
        *,
        plain: PlainJson | None = None,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._options = options
        self._plain = plain
        self._clock = clock
        self._new_id = new_id
        self._source = f"amqp://{options.address}/{quote(options.vhost, safe='')}/{quote(options.stream, safe='')}"
        self._mailbox = Mailbox()
        self._waiting = Waiting(options.waiting_max, options.waiting_bytes_max)
        self._ioloop: Any = None
        self._thread: threading.Thread | None = None
        self._connected: Future[None] = Future()  # the first connection, or why there is none
        # The wire's thread's own from here on.
        self._stopping = False
        self._aborting = False  # closed before it was open
        self._connection: Any = None
        self._session: Session | None = None
        self._judged: set[str] = set()
        self._backoff = Backoff(options.retry_s_min, options.retry_s_max)
        self._intake: Intake | None = None
        self._outlets = Outlets(options)

    # -- the contract of wire.Wire

    def connect(self) -> None:
        """Start the wire's thread and dial once. Raises NotReachableError, UsageError (``broker-url``: user, password
        or virtual host are refused; ``no-extra``)."""
        assert self._thread is None, "connect is called once"
        _library()
        from pika.adapters.select_connection import IOLoop

        self._ioloop = IOLoop()
        self._mailbox.open(lambda: self._ioloop.add_callback_threadsafe(self._mailbox.obey))
        self._thread = threading.Thread(target=self._run, name="commute rabbitmq", daemon=True)
        self._thread.start()
        try:
            self._connected.result(self._options.connect_s_max + 1.0)
        except TimeoutError:
            self.close()
            raise not_reachable(self._options, f"no answer within {self._options.connect_s_max:.0f} s") from None

    def partitions(self) -> int:
        return self._options.partitions

    def consume(
        self, group: str, arrived: Callable[[Sequence[Arrival]], None], *, ahead_max: int, from_end: bool = False
    ) -> None:
        """Consume the queue. It has one group, whose name is seen in the consumer's tag only; and it holds what was
        sent before the group was, so `from_end` cannot be told."""
        del from_end
        tag = f"commute {group}"[:100] + f" {uuid.uuid4().hex}"
        intake = Intake(self._options, tag, arrived, min(ahead_max, PREFETCH_MAX), self._read)

        def begin() -> None:
            assert self._intake is None, "consume is called once"
            self._intake = intake
            if self._session is not None:
                intake.begin(self._session)

        self._mailbox.post(begin)

    def ack(self, tokens: Sequence[object]) -> None:
        self._mailbox.post(lambda: self._intake.ack(tokens) if self._intake is not None else None)

    def send(self, messages: Sequence[Message], to: str | None = None) -> Future[None]:
        """Send to the wire's queue or to the queue `to`, which is declared like it, or, as dead letters are, to
        ``exchange:NAME``. What cannot be written now waits, over broken connections too.

        Raises UsageError (``broker-url``: no name for a queue; ``too-large``, ``invalid-text``: attributes that no
        header can hold). NotReachableError in the future: besides the contract's, too much waits already, the queue is
        full, refused, or went away.
        """
        if to is None and self._options.partitions > 1:
            return joined([self._send(part, queue) for queue, part in dealt(messages, self._options).items()])
        if to is not None and to.startswith(EXCHANGE):
            return self._send(messages, to, partial(death, queue=self._options.stream))
        return self._send(messages, self._options.stream if to is None else _checked_queue(to))

    def _send(
        self, messages: Sequence[Message], queue: str, more: Callable[[Message], bytes] = lambda _message: b""
    ) -> Future[None]:
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel what may be on its way
        if self._options.structured:
            rows = [(encoded(each, more(each), structured=True), document(each)) for each in messages]
        else:
            rows = [(encoded(message, more(message)), message.data) for message in messages]
        if not rows:
            future.set_result(None)
            return future
        size_bytes = sum(properties.size_bytes + len(body) for properties, body in rows)
        if not self._waiting.enter(len(rows), size_bytes):
            future.set_exception(not_reachable(
                self._options,
                f"{self._waiting.messages} messages wait to be confirmed already (waiting_max, waiting_bytes_max)",
            ))  # fmt: skip
            return future
        future.add_done_callback(lambda _done: self._waiting.leave(len(rows), size_bytes))
        sending = Sending(future, queue, rows)
        if not self._mailbox.post(lambda: self._outlets.add(sending)):
            sending.fail(_closed(self._options))
        return future

    def close(self) -> None:
        """Send what acknowledgements are owed, and disconnect. What is not confirmed fails with NotReachableError."""
        self._mailbox.post(self._stop)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2 * self._options.close_s_max)

    def claim(self, group: str, store: str) -> str:
        """Whoever consumes the queue has all of it, so the claim is the same for all groups."""
        del group
        return rabbitmq_claim.claim(self._options, store)

    def claimed(self, group: str) -> str | None:
        del group
        return rabbitmq_claim.claimed(self._options)

    def release(self, group: str) -> None:
        del group
        rabbitmq_claim.release(self._options)

    def discard(self, group: str) -> None:
        """Delete the queues, with what is in them."""
        self.release(group)
        try:
            for each in self._options.readers():
                delete_queue(each)
        except _library().exceptions.AMQPError as error:
            raise not_reachable(self._options, repr(root(error))) from None

    # -- the wire's thread

    def _run(self) -> None:
        try:
            self._ioloop.add_callback_threadsafe(self._dial)
            self._ioloop.start()
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must be told, and the log
            if not self._aborting:  # pika trips over itself when a connection is closed that is not open yet
                LOGGER.error("error[internal] the connection %s ends: %r", self._options.shown, error)
            self._stopping, self._intake = True, None
            self._abandon()
            self._ioloop.call_later(self._options.close_s_max, self._ioloop.stop)
            self._ioloop.start()  # until the socket is closed
        finally:
            self._shut()

    def _dial(self) -> None:
        if self._stopping:
            return
        try:
            self._connection = connection_class(self._options)(
                parameters(self._options),
                on_open_callback=self._opened,
                on_open_error_callback=self._refused,
                on_close_callback=self._lost,
                custom_ioloop=self._ioloop,
            )
        except OSError as error:  # no descriptor left, say
            self._refused(None, error)

    def _opened(self, connection: Any) -> None:
        self._backoff.began()
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._session = session = Session(connection, self._ioloop, self._options, self._judged)
        if self._connected.done():
            LOGGER.info("connected to %s again", self._options.shown)
        else:
            self._connected.set_result(None)
        self._outlets.begin(session)
        if self._intake is not None:
            self._intake.begin(session)

    def _refused(self, _connection: Any, error: BaseException) -> None:
        if self._stopping or not self._connected.done():
            if not self._connected.done():
                self._connected.set_exception(why_refused(self._options, error))
            self._ioloop.stop()
            return
        delay_s = self._backoff.delay_s()
        LOGGER.info("%s does not answer (%r); again in %.1f s", self._options.shown, root(error), delay_s)
        self._ioloop.call_later(delay_s, self._dial)

    def _lost(self, _connection: Any, reason: BaseException) -> None:
        self._session = None
        if self._intake is not None:
            self._intake.end()
        if self._stopping:
            self._ioloop.stop()
            return
        self._outlets.end(NotReachableError(
            f"the connection to {self._options.address} went before everything was confirmed ({reason!r}): sending the "
            "same again is harmless", slug="not-reachable"))  # fmt: skip
        delay_s = self._backoff.delay_s()
        LOGGER.warning("warning[not-reachable] the connection %s went: %r; again in %.1f s",
                       self._options.shown, reason, delay_s)  # fmt: skip
        self._ioloop.call_later(delay_s, self._dial)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        LOGGER.warning("warning[broker-blocked] %s takes nothing for now, and what is sent waits: %s",
                       self._options.shown, frame.method.reason)  # fmt: skip
        self._outlets.block(blocked=True)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        LOGGER.info("%s takes messages again", self._options.shown)
        self._outlets.block(blocked=False)

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        connection = self._connection
        if connection is None or connection.is_closed or connection.is_closing:
            self._ioloop.stop()  # it waits to dial again
            return
        if self._intake is not None:
            self._intake.quiesce()
        self._aborting = not connection.is_open
        connection.close()
        self._ioloop.call_later(self._options.close_s_max, self._abandon)

    def _abandon(self) -> None:
        """Close the socket without a word: the other side does not answer, or this one has failed."""
        connection = self._connection
        if connection is None or connection.is_closed:
            self._ioloop.stop()
        else:
            connection._terminate_stream(_closed(self._options))  # pika's heartbeats do the same; nothing public does

    def _shut(self) -> None:
        self._mailbox.shut()  # what was sent meanwhile fails below
        if not self._connected.done():
            self._connected.set_exception(_closed(self._options))
        self._outlets.close(_closed(self._options))
        self._ioloop.close()

    # -- from AMQP to messages

    def _read(self, routing_key: str, properties: Properties, body: bytes) -> Message:
        stamp_s = properties.timestamp
        headers = properties.headers
        if self._plain is not None and properties.type:  # AMQP's own field for it, where no header says otherwise
            headers.setdefault("type", properties.type)
        return cloudevents.read(
            body,
            headers,
            _PREFIXES,
            properties.content_type,
            name=routing_key or self._options.stream,
            source=self._source,
            now_s=self._clock() if stamp_s is None or stamp_s > _TIME_S_MAX else float(stamp_s),
            new_id=self._new_id,
            plain=self._plain,
            identity=properties.message_id or None,
        )


def _closed(options: RabbitmqOptions) -> NotReachableError:
    return NotReachableError(f"the connection to {options.address} was closed before everything was confirmed: sending "
                             "the same again is harmless", slug="not-reachable")  # fmt: skip
