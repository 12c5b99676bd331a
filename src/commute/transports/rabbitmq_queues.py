"""A RabbitMQ connection as a wire's channels see it, and how a queue comes to be there: adopted as it is, or made.

Invariants: a queue is asked for before it is declared, since declaring one that is there with other properties is an
error, and each error costs the channel. All that is declared is durable, so that no question makes a weaker queue than
the answer promises. What an adopted queue promises less is said once by each wire.

Source: AMQP 0-9-1 (passive declarations, equivalence of queues); RabbitMQ's quorum queues and single active consumer.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from commute.errors import CommuteError, NotReachableError, UsageError

if TYPE_CHECKING:
    from commute.transports.rabbitmq import RabbitmqOptions

LOGGER = logging.getLogger("commute")

EXCHANGE = "exchange:"  # before the name of one, where else a queue is named
# RabbitMQ writes down late which files a new quorum queue has: one that is killed before (3.10, tried) begins the queue
# anew, empty and without a leader, whatever it has confirmed.
_YOUNG_S = 1.5
_NOT_FOUND = 404
_PRECONDITION_FAILED = 406
UNEQUAL = re.compile(r"inequivalent arg '([^']+)'.* but current is (?:the value )?'?([^' ]+)")
SHARED = "x-single-active-consumer"
LIMITED = "x-delivery-limit"
WEAKER = {  # of an adopted queue, by the argument that differs from ours
    "durable": "it is not durable: a restart of the broker loses its messages, confirmed or not",
    "auto_delete": "it is deleted with its messages when its last consumer goes",
    SHARED: "without x-single-active-consumer workers share it, and what is in flight when a connection breaks can "
    "be overtaken",
    LIMITED: "it drops a message that came back too often with broken connections (x-delivery-limit)",
    "x-queue-type": "its type is {current}, not {kind}: it has no replicas on other nodes",
}


class Backoff:
    """How long to wait before trying again: exponential with full jitter, from the start after a long success."""

    def __init__(self, s_min: float, s_max: float) -> None:
        self._s_min = s_min
        self._s_max = s_max
        self._attempts = 0
        self._began_s: float | None = None

    def began(self) -> None:
        """It works; since now."""
        self._began_s = time.monotonic()

    def delay_s(self) -> float:
        if self._began_s is not None and time.monotonic() - self._began_s > self._s_max:
            self._attempts = 0
        self._began_s = None
        self._attempts += 1
        return jittered(self._s_min, self._s_max, self._attempts)


def jittered(s_min: float, s_max: float, attempt: int) -> float:
    """How long to wait before that attempt: exponential, with full jitter."""
    return random.uniform(0, min(s_max, s_min * 2.0 ** min(attempt, 30)))


class Session:
    """One connection, from its opening to its end; what was asked for on one that has ended is forgotten.

    `judged`: the queues whose promises this wire has looked at; it outlives the session.
    """

    def __init__(self, connection: Any, ioloop: Any, options: RabbitmqOptions, judged: set[str]) -> None:
        self.connection = connection
        self.judged = judged
        self.options = options
        self._ioloop = ioloop
        self._asking: dict[str, list[Callable[[CommuteError | None], None]]] = {}  # who waits to be told, by queue

    @property
    def alive(self) -> bool:
        return bool(self.connection.is_open)

    def open_channel(self, opened: Callable[[Any], None]) -> None:
        if self.alive:
            self.connection.channel(on_open_callback=opened)

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn of the loop, when all that has arrived is read."""
        self._ioloop.add_callback(call)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._ioloop.call_later(delay_s, lambda: call() if self.alive else None)

    def declare(self, queue: str, done: Callable[[CommuteError | None], None]) -> None:
        """Have the queue (or ``exchange:NAME``) there, made by us or adopted; `done` gets why that cannot be."""

        def tell(error: CommuteError | None) -> None:
            for waiting in self._asking.pop(queue):
                waiting(error)

        asking = self._asking.setdefault(queue, [])
        asking.append(done)
        if len(asking) == 1:
            if queue.startswith(EXCHANGE):
                _DeclaringExchange(self, queue.removeprefix(EXCHANGE), tell).begin()
            else:
                _Declaring(self, queue, tell).begin()
            self.unless(lambda: self._asking.get(queue) is not asking, self.options.connect_s_max,
                        f"says nothing of {queue!r}")  # fmt: skip

    def unless(self, answered: Callable[[], bool], within_s: float, silence: str) -> None:
        """Break the connection if it is not `answered` in time: RabbitMQ that was killed and is up again may leave a
        channel without an answer for a minute, or for ever, and answer the next one."""

        def look() -> None:
            if not answered():
                LOGGER.warning("warning[not-reachable] %s %s: connecting anew", self.options.shown, silence)
                why = NotReachableError(f"{self.options.address} {silence}", slug="not-reachable")
                self.connection._terminate_stream(why)  # pika's heartbeats do the same; nothing public does

        self.later(within_s, look)

    def arguments(self) -> dict[str, object]:
        """Of a queue of ours. RabbitMQ 4 would drop what came back with a broken connection too often; its way to say
        never means at once to RabbitMQ 3."""
        arguments: dict[str, object] = {"x-queue-type": self.options.kind, SHARED: True}
        version = str((self.connection.server_properties or {}).get("version", ""))
        if self.options.kind == "quorum" and version.partition(".")[0].isdigit() and int(version.partition(".")[0]) > 3:
            arguments[LIMITED] = -1
        return arguments


class _DeclaringExchange:
    """One exchange, asked for and, if it is not there, declared: durable, and to all queues that are bound to it."""

    def __init__(self, session: Session, name: str, done: Callable[[CommuteError | None], None]) -> None:
        self._session = session
        self._name = name
        self._done = done
        self._asked = False

    def begin(self) -> None:
        self._session.open_channel(self._opened)

    def _opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._closed)
        channel.exchange_declare(
            self._name, "fanout", passive=not self._asked, durable=True, callback=lambda _frame: self._there(channel)
        )

    def _there(self, channel: Any) -> None:
        done, self._done = self._done, _forgotten
        channel.close()
        done(None)

    def _closed(self, channel: Any, reason: Any) -> None:
        del channel
        if self._done is _forgotten or not self._session.alive:
            return
        if getattr(reason, "reply_code", 0) == _NOT_FOUND and not self._asked:
            self._asked = True
            LOGGER.info("there was no exchange %r at %s: it is made, durable, of type fanout",
                        self._name, self._session.options.shown)  # fmt: skip
            self.begin()
            return
        done, self._done = self._done, _forgotten
        done(NotReachableError(f"the broker refuses the exchange {self._name!r}: {reason}; look at the permissions of "
                               f"the user {self._session.options.user!r}", slug="not-reachable"))  # fmt: skip


class _Declaring:
    """One queue, asked for and then declared; on a channel of its own, since each refusal closes one."""

    def __init__(self, session: Session, queue: str, done: Callable[[CommuteError | None], None]) -> None:
        self._session = session
        self._queue = queue
        self._done = done
        self._arguments = session.arguments()
        self._asked = False
        self._exists = False
        self._flaws: list[str] = []

    def begin(self) -> None:
        self._session.open_channel(self._opened)

    def _opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._closed)
        if self._asked:
            channel.queue_declare(
                self._queue, durable=True, arguments=self._arguments, callback=lambda _frame: self._equal(channel)
            )
        else:
            channel.queue_declare(self._queue, passive=True, callback=lambda _frame: self._found(channel))

    def _found(self, channel: Any) -> None:
        self._asked = self._exists = True
        if self._queue in self._session.judged:
            self._end(channel, None)
        else:  # declared once more, as ours: the refusal is the only way to be told what it is
            channel.queue_declare(
                self._queue, durable=True, arguments=self._arguments, callback=lambda _frame: self._equal(channel)
            )

    def _equal(self, channel: Any) -> None:
        shown, kind = self._session.options.shown, self._session.options.kind
        if not self._exists and self._queue in self._session.judged:
            LOGGER.warning("warning[queue] the queue %r at %s was deleted, with what was in it; it was made again, "
                           "durable, of type %s", self._queue, shown, kind)  # fmt: skip
        elif not self._exists:
            LOGGER.info("there was no queue %r at %s: it was made, durable, of type %s", self._queue, shown, kind)
        self._judge()
        if self._exists or kind != "quorum":
            self._end(channel, None)
        else:
            self._session.later(_YOUNG_S, lambda: self._end(channel, None))

    def _closed(self, channel: Any, reason: Any) -> None:
        del channel
        if self._done is _forgotten or not self._session.alive:
            return
        code, text = getattr(reason, "reply_code", 0), str(getattr(reason, "reply_text", reason))
        if not self._asked and code == _NOT_FOUND:
            self._asked = True
            self.begin()
        elif (unequal := UNEQUAL.search(text)) and code == _PRECONDITION_FAILED:
            self._exists = True
            name, current = unequal.groups()
            if current == "stream":
                self._refused(UsageError(f"{self._queue!r} is a stream, which forgets nothing that is acknowledged: "
                                         "name a quorum or classic queue", slug="broker-url"))  # fmt: skip
                return
            if current != "quorum":
                current = "classic" if name == "x-queue-type" else current
                flaw = WEAKER.get(name, f"its {name} is {current}")
                self._flaws.append(flaw.format(current=current, kind=self._session.options.kind))
            if name in (SHARED, LIMITED) and self._arguments.pop(name, None) is not None:
                self.begin()  # perhaps that is not all
            else:
                self._judge()
                self._end(None, None)
        elif self._exists and code != _NOT_FOUND:  # not ours to declare; it is there, though
            LOGGER.info("what the queue %r promises cannot be told: %s", self._queue, text)
            self._judge()
            self._end(None, None)
        else:
            self._refused(NotReachableError(
                f"the broker refuses the queue {self._queue!r}: {text}; look at its state and the "
                f"permissions of the user {self._session.options.user!r}", slug="not-reachable"))  # fmt: skip

    def _judge(self) -> None:
        if self._flaws and self._queue not in self._session.judged:
            LOGGER.warning("warning[queue] the queue %r at %s is used as it is: %s",
                           self._queue, self._session.options.shown, "; ".join(self._flaws))  # fmt: skip
        self._session.judged.add(self._queue)

    def _refused(self, error: CommuteError) -> None:
        self._end(None, error)

    def _end(self, channel: Any, error: CommuteError | None) -> None:
        done, self._done = self._done, _forgotten
        if channel is not None:
            channel.close()
        done(error)


def _forgotten(_error: CommuteError | None) -> None:
    """In place of a callback that has been called."""
