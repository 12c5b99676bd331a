"""The producer of a Kafka wire, in a thread of its own: a full queue makes it wait, and nobody else.

librdkafka's idempotent producer keeps the sequence of a partition over retries and outages, up to `confirm_s_max`. It
can also fail for good, when a broker lost what it had confirmed, or the user may not write: then what was under way
fails for its senders, and a new one takes its place with the next batch. That is told by an exception out of polling,
once, and not by `error_cb`.

Invariants: every `Sending` is resolved once, by the last of its delivery reports or by the end; messages are handed to
librdkafka in the sequence of `put`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from commute.errors import CommuteError, NotReachableError, UsageError
from commute.transports.base import Message
from commute.transports.kafka_client import Health, KafkaOptions, Topics, why
from commute.transports.kafka_headers import document_of, row_of

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, KafkaException, Producer
    from confluent_kafka import Message as Record

LOGGER = logging.getLogger("commute")

_POLL_S = 0.005  # while confirmations are owed; the next batch may come meanwhile
_FULL_S = 0.05
_IDLE_S = 1.0  # errors are reported by polling only
_POLL_EVERY = 500  # messages between two looks at what was confirmed


class Sending:
    """One batch on its way. Its reports come on the thread."""

    __slots__ = ("_error", "_future", "_left", "_on_end", "messages", "topic")

    def __init__(self, future: Future[None], topic: str, messages: Sequence[Message]) -> None:
        self.topic = topic
        self.messages = messages
        self._future = future
        self._left = len(messages)
        self._error: CommuteError | None = None
        self._on_end: Callable[[], None] = lambda: None

    def on_end(self, call: Callable[[], None]) -> None:
        """Call it just before the future is resolved, so that whoever awaits it may send as much again."""
        self._on_end = call

    def done(self, count: int, error: CommuteError | None = None) -> None:
        """So many messages are confirmed, or failed with `error`; the first error is the batch's."""
        self._left -= count
        self._error = self._error or error
        if self._left:
            return
        self._on_end()
        if self._error is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(self._error)


class Outgoing:
    """The producer and its thread."""

    def __init__(self, options: KafkaOptions, topics: Topics, health: Health) -> None:
        self._options = options
        self._topics = topics
        self._health = health
        self._changed = threading.Condition()  # guards the next two
        self._waiting: deque[Sending] = deque()
        self._closing = False
        # The thread's own from here on.
        self._failed: KafkaError | None = None  # the producer, for good: the next batch gets a new one
        self._give_up_at = float("inf")
        self._producer: Producer = self._new_producer()
        self._thread = threading.Thread(target=self._run, name="commute kafka sending", daemon=True)
        self._thread.start()

    # -- from any thread

    def put(self, sending: Sending) -> bool:
        """Send it, soon; False after `close`."""
        with self._changed:
            if self._closing:
                return False
            self._waiting.append(sending)
            self._changed.notify()
            return True

    def stop(self) -> None:
        """Wait for confirmations, shortly; what has none by then fails. `join` waits for it."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self) -> None:
        """After `stop`."""
        if self._thread is not threading.current_thread():
            self._thread.join(2 * self._options.close_s_max)

    # -- the thread

    def _new_producer(self) -> Producer:
        from confluent_kafka import Producer

        return Producer({
            **self._options.client(self._health.on_error),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",  # as Java's clients choose
            "linger.ms": 2,
            "message.max.bytes": self._options.message_bytes_max,
            "message.timeout.ms": int(self._options.confirm_s_max * 1_000),
        })  # fmt: skip

    def _run(self) -> None:
        sending: Sending | None = None
        try:
            while (sending := self._next()) is not None:
                self._send(sending)
            self._flush(max(0.0, self._give_up_at - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must be told, and the log
            LOGGER.error("error[internal] sending to %s ends: %r", self._options.shown, error)
        finally:
            self._end()

    def _next(self) -> Sending | None:
        """The next batch; None once closed, with nothing left to send. Serves reports meanwhile."""
        while True:
            with self._changed:
                if not self._waiting and not self._closing and not len(self._producer):
                    self._changed.wait(_IDLE_S)
                if self._closing and self._give_up_at == float("inf"):
                    self._give_up_at = time.monotonic() + self._options.close_s_max
                found = self._waiting.popleft() if self._waiting else None
                closing = self._closing
            self._poll(0 if found or closing else _POLL_S)
            if found is not None or closing:
                return found

    def _poll(self, limit_s: float) -> None:
        from confluent_kafka import KafkaException

        try:
            self._producer.poll(limit_s)
        except KafkaException as error:
            self._fail(error)

    def _flush(self, limit_s: float) -> None:
        """Serve reports until there are no more to come, or for so long."""
        from confluent_kafka import KafkaException

        try:
            self._producer.flush(limit_s)
        except KafkaException as error:
            self._fail(error)

    def _fail(self, raised: KafkaException) -> None:
        """The producer has failed for good: all that it has under way ends here. Raises what is something else."""
        error: KafkaError = raised.args[0]
        if not error.fatal():
            raise raised
        self._failed = error
        LOGGER.warning("warning[not-reachable] the producer of %s failed for good (%s); what was under way fails, and "
                       "a new one takes its place", self._options.shown, error.str())  # fmt: skip
        self._drop()

    def _drop(self) -> None:
        """Have all that is under way fail."""
        self._producer.purge()
        self._flush(self._options.close_s_max)

    def _send(self, sending: Sending) -> None:
        from confluent_kafka import KafkaException

        topic, left, health, done = sending.topic, len(sending.messages), self._health, sending.done
        if self._failed is not None:
            self._failed, self._producer = None, self._new_producer()
        producer = self._producer
        made = document_of if self._options.structured else row_of

        def reported(error: KafkaError | None, _record: Record) -> None:
            if error is not None:
                done(1, self._why(error, topic))
                return
            if health.is_down:
                health.up()
            done(1)

        try:
            self._topics.have(topic)
            for message in sending.messages:
                key, value, headers = made(message)
                while True:
                    try:
                        # No timestamp: Kafka's retention would delete what is imported with an old one at once.
                        producer.produce(topic, value, key, headers=headers, on_delivery=reported)
                        break
                    except BufferError:
                        self._await_room()
                left -= 1
                if left % _POLL_EVERY == 0:
                    self._poll(0)
        except KafkaException as error:
            self._poll(0)  # where the producer has failed for good, this says why
            done(left, self._why(error.args[0], topic))
        except CommuteError as error:
            done(left, error)
        except BaseException:
            done(left, self._closed())
            raise

    def _await_room(self) -> None:
        """It comes as messages are confirmed or time out. Raises NotReachableError when it is too late to wait."""
        if time.monotonic() > self._give_up_at:
            raise self._closed()
        self._poll(_FULL_S)

    def _why(self, error: KafkaError, topic: str) -> CommuteError:
        from confluent_kafka import KafkaError

        if error.code() in (KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return self._closed() if self._failed is None else self._lost(self._failed)
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            self._topics.forget(topic)
        return why(self._options, error)

    def _lost(self, error: KafkaError) -> CommuteError:
        found = why(self._options, error)
        if isinstance(found, UsageError):
            return found
        return NotReachableError(f"the producer of {self._options.shown} failed for good ({error.str()}), and with it "
                                 "what it had not confirmed yet: sending the same again is harmless",
                                 slug="not-reachable")  # fmt: skip

    def _closed(self) -> NotReachableError:
        return NotReachableError(f"the connection to {self._options.shown} was closed before everything was confirmed: "
                                 "sending the same again is harmless", slug="not-reachable")  # fmt: skip

    def _end(self) -> None:
        with self._changed:
            self._closing = True
            waiting, self._waiting = list(self._waiting), deque()
        for sending in waiting:
            sending.done(len(sending.messages), self._closed())
        self._drop()
