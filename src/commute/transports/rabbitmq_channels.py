"""What one wire does over one RabbitMQ connection after the other: take messages in, and send them out.

`Intake` holds the consumer's channel and its acknowledgements, `Outlets` the publisher's channel with what waits to be
sent and what waits to be confirmed; both outlive a connection (`rabbitmq_queues.Session`).

Invariants: everything here runs on the wire's thread. Acknowledgements go out in the sequence of arrival, many with one
frame; a token is the delivery tag above its channel's epoch, so one of an earlier channel can be told and is dropped.
A consumer is never cancelled by us: a queue with a single active consumer would go on with the next one before it has
back what the old one holds. The channel is closed instead, and the queue has both at once.

Source: AMQP 0-9-1, and RabbitMQ's extensions: publisher confirms, consumer cancel notification.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from commute import cloudevents
from commute.errors import CommuteError, NotReachableError, UsageError
from commute.transports.base import Message
from commute.transports.rabbitmq_frames import Delivered, Properties
from commute.transports.rabbitmq_queues import EXCHANGE, Backoff, Session, jittered
from commute.transports.wire import Arrival

if TYPE_CHECKING:
    from commute.transports.rabbitmq import RabbitmqOptions

LOGGER = logging.getLogger("commute")

PREFETCH_MAX = 65_535  # the protocol's own
_EPOCH_BITS = 48  # below the epoch in a token; delivery tags are counted anew on each channel
# Where a quorum queue is made again within some milliseconds, RabbitMQ (3.10, tried) ties its consumers to the new one
# without a word, and they get nothing for good; told of the deletion, they consume anew.
_REMAKE_S = 0.5
_SIZE = re.compile(r"message size \d+ is larger than configured max size (\d+)")


class Intake:
    """Consumes one queue, over all connections. `read`: routing key, properties and body as a message."""

    def __init__(
        self,
        options: RabbitmqOptions,
        consumer_tag: str,
        arrived: Callable[[Sequence[Arrival]], None],
        prefetch: int,
        read: Callable[[str, Properties, bytes], Message],
    ) -> None:
        self._options = options
        self._consumer_tag = consumer_tag
        self._arrived = arrived
        self._prefetch = prefetch
        self._read = read
        self._backoff = Backoff(options.retry_s_min, options.retry_s_max)
        self._session: Session | None = None
        self._channel: Any = None
        self._epoch = 0
        self._base = 0  # what the tokens of this channel are above
        self._settled = 0  # the highest tag that is acknowledged with all before it
        self._beyond: set[int] = set()  # tags to acknowledge when those before them are
        self._batch: list[Arrival] = []  # read in this turn of the loop
        self._cancelled = False
        self._answered: Any = None  # the channel on which the broker has agreed to a consumer

    def begin(self, session: Session) -> None:
        """Consume over this connection."""
        self._session = session
        session.declare(self._options.stream, self._declared)

    def end(self) -> None:
        """The connection has gone."""
        self._session = self._channel = None
        self._batch.clear()

    def quiesce(self) -> None:
        """Before the connection is closed: the consumer must not be cancelled first (see above)."""
        if self._channel is not None and self._channel.is_open:
            # pika cancels all consumers of a channel that it closes, but for those that are cancelled already; what
            # still arrives for those is dropped. There is no public way to say so.
            self._channel._cancelled.add(self._consumer_tag)
            self._channel.connection.leave_deliveries()

    def ack(self, tokens: Sequence[object]) -> None:
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        base, top, beyond = self._base, self._settled, self._beyond
        for token in cast("Sequence[int]", tokens):
            tag = token - base
            if tag == top + 1:
                top = tag
            elif tag > top:
                beyond.add(tag)
        while beyond and top + 1 in beyond:
            top += 1
            beyond.remove(top)
        if top > self._settled:
            self._settled = top
            channel.basic_ack(top, multiple=True)

    def _declared(self, error: CommuteError | None) -> None:
        if self._session is None:
            return
        if error is None:
            self._session.open_channel(self._opened)
        else:
            self._again(error)

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        self._epoch += 1
        self._base = self._epoch << _EPOCH_BITS
        self._settled = 0
        self._beyond.clear()
        self._cancelled = False
        channel.add_on_close_callback(self._lost)
        channel.add_on_cancel_callback(self._cancelled_by_broker)
        channel.connection.take_deliveries(channel.channel_number, self._taken)
        channel.basic_qos(prefetch_count=self._prefetch)
        channel.basic_consume(
            self._options.stream,
            self._delivered,
            consumer_tag=self._consumer_tag,
            callback=lambda _frame: self._consuming(channel),
        )
        assert self._session is not None
        self._session.unless(
            lambda: self._answered is channel or self._channel is not channel,
            self._options.connect_s_max, f"does not let us consume {self._options.stream!r}",
        )  # fmt: skip

    def _consuming(self, channel: Any) -> None:
        self._answered = channel
        self._backoff.began()

    def _delivered(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        """What `rabbitmq_frames` leaves to pika."""
        if channel is self._channel:
            read = Properties(
                text(properties.content_type or ""),
                texts(properties.headers or {}),
                text(properties.message_id or ""),
                properties.timestamp,
                text(properties.type or ""),
            )
            self._taken([Delivered(method.delivery_tag, text(method.routing_key), read, body)])

    def _taken(self, found: Sequence[Delivered]) -> None:
        if self._session is None:
            return
        if not self._batch:  # pika reads a bounded number of bytes in a turn, so the batch is bounded too
            self._session.soon(self._hand_over)
        read, base = self._read, self._base
        self._batch += [Arrival(read(each.routing_key, each.properties, each.body), base + each.tag) for each in found]

    def _hand_over(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._arrived(batch)

    def _cancelled_by_broker(self, _frame: Any) -> None:
        self._cancelled = True
        if self._channel is not None and self._channel.is_open:
            self._channel.close()  # and so gives back what is not acknowledged, before it is consumed anew

    def _lost(self, channel: Any, reason: Any) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        channel.connection.leave_deliveries()
        self._batch.clear()
        if self._session is not None and self._session.alive:
            self._again("the broker cancelled the consumer: was the queue deleted?" if self._cancelled else reason)

    def _again(self, why: object) -> None:
        assert self._session is not None
        session, delay_s = self._session, self._backoff.delay_s()
        LOGGER.warning("warning[not-reachable] nothing is consumed from %s: %s; again in %.1f s",
                       self._options.shown, why, delay_s)  # fmt: skip
        session.later(delay_s, lambda: self.begin(session))


class Sending:
    """The messages of one `send`, and its future: resolved when the last one is confirmed, failed by the first."""

    __slots__ = ("_unconfirmed", "future", "queue", "refusals", "rows", "written")

    def __init__(self, future: Future[None], queue: str, rows: Sequence[tuple[Any, bytes]]) -> None:
        self.future = future
        self.queue = queue
        self.rows = rows  # properties and body of each
        self.written = 0
        self.refusals = 0  # rounds in which the broker did not take some of them
        self._unconfirmed = len(rows)

    def confirmed(self) -> None:
        self._unconfirmed -= 1
        if not self._unconfirmed and not self.future.done():
            self.future.set_result(None)

    def fail(self, error: CommuteError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Outlet:
    """What waits to be sent to one queue, or exchange."""

    def __init__(self, name: str, options: RabbitmqOptions) -> None:
        to_exchange = name.startswith(EXCHANGE)
        self.exchange = name.removeprefix(EXCHANGE) if to_exchange else ""
        self.routing_key = options.stream if to_exchange else name
        self.in_flight = 0
        self.refused: list[tuple[Sending, int]] = []  # to be sent again, before anything else is sent there
        self.waiting: deque[Sending] = deque()
        self.ready = False  # the queue is there, as far as we know
        self.declaring = False
        self.returned_at = 0  # the last tag that was written when a message came back


class Outlets:
    """Publishes to all queues of a wire over one channel with confirms, over all connections."""

    def __init__(self, options: RabbitmqOptions) -> None:
        self._options = options
        self._backoff = Backoff(options.retry_s_min, options.retry_s_max)
        self._outlets: dict[str, _Outlet] = {}
        self._session: Session | None = None
        self._channel: Any = None
        self._opening = False
        self._blocked = False
        self._tag = 0  # of the last message written on this channel
        self._first = 1  # no lower tag waits for its confirm
        self._in_flight: dict[int, tuple[Sending, int]] = {}  # by tag: whose message, and which of its rows
        self._in_flight_bytes = 0
        self._confirms = 0  # so far, on all channels
        self._watching = False

    def begin(self, session: Session) -> None:
        """Send over this connection what waits."""
        self._session, self._blocked, self._watching = session, False, False
        self._pump()

    def end(self, error: CommuteError) -> None:
        """The connection has gone: what was written fails, what was not waits for the next."""
        self._session = None
        self._reset()
        for sending, _number in self._drained():
            sending.fail(error)
        for outlet in self._outlets.values():
            outlet.ready = outlet.declaring = False

    def close(self, error: CommuteError) -> None:
        """Nothing is sent any more."""
        self.end(error)
        for outlet in self._outlets.values():
            while outlet.waiting:
                outlet.waiting.popleft().fail(error)

    def add(self, sending: Sending) -> None:
        if sending.queue not in self._outlets:
            self._outlets[sending.queue] = _Outlet(sending.queue, self._options)
        self._outlets[sending.queue].waiting.append(sending)
        self._pump()

    def block(self, *, blocked: bool) -> None:
        """The broker has a shortage, and reads nothing more until it is over."""
        self._blocked = blocked
        self._pump()

    # -- writing

    def _pump(self) -> None:
        session = self._session
        if session is None or not session.alive or self._blocked:
            return
        for queue, outlet in self._outlets.items():
            if not outlet.waiting:
                continue
            if self._channel is None:
                if not self._opening:
                    self._opening = True
                    session.open_channel(self._opened)
                return
            if outlet.ready:
                self._write(outlet)
            elif not outlet.declaring:
                outlet.declaring = True
                session.declare(queue, lambda error, queue=queue: self._declared(session, queue, error))  # type: ignore[misc]
        self._watch()

    def _write(self, outlet: _Outlet) -> None:
        options, in_flight, waiting = self._options, self._in_flight, outlet.waiting
        while waiting and not outlet.refused:
            sending = waiting[0]
            if sending.future.done():  # failed by an earlier part: the rest would only be a gap
                waiting.popleft()
                continue
            if len(in_flight) >= options.in_flight_max or self._in_flight_bytes >= options.in_flight_bytes_max:
                return
            self._publish(outlet, sending, sending.written)
            sending.written += 1
            if sending.written == len(sending.rows):
                waiting.popleft()

    def _publish(self, outlet: _Outlet, sending: Sending, number: int) -> None:
        properties, body = sending.rows[number]
        self._channel.basic_publish(outlet.exchange, outlet.routing_key, body, properties, mandatory=True)
        self._tag += 1
        self._in_flight[self._tag] = (sending, number)
        self._in_flight_bytes += len(body)
        outlet.in_flight += 1

    def _watch(self) -> None:
        """Give the connection up when nothing is confirmed for `confirm_s_max` although something waits for it."""
        if self._watching or not self._in_flight or self._session is None:
            return
        self._watching = True
        before = self._confirms

        def answered() -> bool:
            self._watching = False
            moved = self._confirms != before or self._blocked or not self._in_flight
            if moved:
                self._watch()
            return moved

        self._session.unless(answered, self._options.confirm_s_max, "confirms nothing of what was sent")

    def _declared(self, session: Session, queue: str, error: CommuteError | None) -> None:
        if session is not self._session:
            return
        outlet = self._outlets[queue]
        outlet.declaring, outlet.ready = False, error is None
        if error is not None:
            while outlet.waiting:
                outlet.waiting.popleft().fail(error)
        self._pump()

    # -- the channel

    def _opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._lost)
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed, callback=lambda _frame: self._ready(channel))

    def _ready(self, channel: Any) -> None:
        self._reset()
        self._channel = channel
        self._backoff.began()
        self._pump()

    def _reset(self) -> None:
        self._channel, self._opening = None, False
        self._tag, self._first = 0, 1
        for outlet in self._outlets.values():
            outlet.returned_at = 0

    def _drained(self) -> list[tuple[Sending, int]]:
        entries = list(self._in_flight.values())
        self._in_flight.clear()
        self._in_flight_bytes = 0
        for outlet in self._outlets.values():
            entries += outlet.refused
            outlet.refused, outlet.in_flight = [], 0
        return entries

    def _confirmed(self, frame: Any) -> None:
        self._confirms += 1
        method = frame.method
        last: int = method.delivery_tag
        refused = method.NAME == "Basic.Nack"
        for tag in range(self._first, last + 1) if method.multiple else (last,):
            entry = self._in_flight.pop(tag, None)
            if entry is None:
                continue
            sending, number = entry
            outlet = self._outlets[sending.queue]
            self._in_flight_bytes -= len(sending.rows[number][1])
            outlet.in_flight -= 1
            if refused:
                outlet.refused.append(entry)
            else:
                sending.confirmed()
            if outlet.refused and not outlet.in_flight:
                self._refuse(outlet)
        if method.multiple:
            self._first = last + 1
        self._pump()

    def _refuse(self, outlet: _Outlet) -> None:
        """Nothing is stored of what the broker refuses: it goes out again, in its sequence and before what follows.
        A quorum queue refuses while it has no leader, as in its first moments; a full one may refuse for good."""
        session, options, refusals = self._session, self._options, 0
        for sending in {id(sending): sending for sending, _number in outlet.refused}.values():
            sending.refusals += 1
            refusals = max(refusals, sending.refusals)
            if sending.refusals > options.nack_retries_max:
                sending.fail(NotReachableError(
                    f"the broker did not take a message for the queue {sending.queue!r}, {sending.refusals} times: it "
                    "is full, or has lost its leader; sending the same again later is harmless", slug="not-reachable",
                ))  # fmt: skip
        assert session is not None
        delay_s = jittered(options.retry_s_min, options.retry_s_max, refusals)
        session.later(delay_s, lambda: self._resend(outlet))

    def _resend(self, outlet: _Outlet) -> None:
        entries, outlet.refused = outlet.refused, []
        for sending, number in entries:  # none, if the channel has gone meanwhile
            if not sending.future.done():
                self._publish(outlet, sending, number)
        self._pump()

    def _returned(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        """There is no such queue any more. The message comes back without its tag, and what was written to the queue
        before it is gone with it: so all of that fails."""
        name = EXCHANGE + method.exchange if method.exchange else method.routing_key
        outlet = self._outlets.get(name)
        if outlet is None or outlet.returned_at == self._tag:
            return
        outlet.returned_at, outlet.ready = self._tag, False
        if self._session is not None:
            self._session.judged.discard(name)
            outlet.declaring = True
            self._session.later(_REMAKE_S, lambda: self._remake(outlet))
        lost, remedy = f"no queue {name!r} any more", "send it again, which declares the queue anew"
        if method.exchange:
            lost, remedy = f"no queue for what {name} gets", "bind a queue to it"
        error = NotReachableError(
            f"the broker has {lost} ({method.reply_text}), and returned what was sent: {remedy}", slug="not-reachable"
        )
        for sending, _number in self._in_flight.values():
            if sending.queue == name:
                sending.fail(error)

    def _remake(self, outlet: _Outlet) -> None:
        outlet.declaring = False
        self._pump()

    def _lost(self, _channel: Any, reason: Any) -> None:
        session = self._session
        if session is None or not session.alive:
            return
        self._reset()
        size = _SIZE.search(str(reason))
        delay_s = self._backoff.delay_s()
        LOGGER.warning("warning[not-reachable] the broker closed the channel that sends to %s: %s; again in %.1f s",
                       self._options.shown, reason, delay_s)  # fmt: skip
        for sending, number in self._drained():
            size_bytes = len(sending.rows[number][1])
            if size is not None and size_bytes > int(size[1]):
                sending.fail(UsageError(f"a message of {size_bytes} bytes for the queue {sending.queue!r} is larger "
                                        f"than the broker takes ({size[1]} bytes)", slug="too-large"))  # fmt: skip
            else:
                sending.fail(NotReachableError(f"the broker closed the channel before it had confirmed ({reason}): "
                                               "sending the same again is harmless", slug="not-reachable"))  # fmt: skip
        self._opening = True
        session.later(delay_s, self._reopen)

    def _reopen(self) -> None:
        self._opening = False
        self._pump()


def texts(headers: Mapping[Any, Any]) -> dict[str, str]:
    """The headers as CloudEvents writes them; AMQP's void is no value."""
    return {
        text(name): value if type(value) is str else text(value) for name, value in headers.items() if value is not None
    }


def text(value: object) -> str:
    """A header's value as CloudEvents writes it: AMQP has types, attributes are texts."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, datetime):
        return cloudevents.time_text(value.timestamp())
    return str(value)
