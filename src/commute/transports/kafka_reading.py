"""The consumer of a Kafka wire, in a thread of its own: arrivals out, acknowledged prefixes back as commits.

The consumer group is the broker's; partitions come and go while we run (cooperative: those that stay are not
interrupted). A partition that is taken from us is committed as far as it was acknowledged, then forgotten with all
tokens. One that was lost has a new owner already, and is not committed.

Where a partition begins is decided here, not by ``auto.offset.reset``: that would skip what retention deleted without
a word, and jump to the end for a group that once wanted only new events. So it is set to ``error``, and each such
error is answered with a place: the group's first one, or behind a gap that is logged.

A member that gets no partition joins anew, a few times. The group's leader asks the coordinator which partitions there
are, and one that has not heard of a new topic yet says none; librdkafka, which knew the topic all along, sees no change
later and would leave it so, however often it looks at its metadata. A member that is one too many asks in vain: the
others keep what they have, and read on.

Invariants: only contiguous prefixes are committed (Place); the thread goes on polling while partitions are paused; it
is the only one to touch the consumer and the places.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from commute.transports.base import Message
from commute.transports.kafka_client import Health, KafkaOptions, say_capped
from commute.transports.kafka_places import UNKNOWN, Place
from commute.transports.wire import Arrival

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, TopicPartition
    from confluent_kafka import Message as Record

LOGGER = logging.getLogger("commute")

_POLL_S = 0.1
_PAUSED_S = 0.02  # acknowledgements wake it sooner
_QUERY_S_MAX = 5.0
_RETRY_S = 0.5
_JOINS_ANEW_S = (2.0, 4.0, 8.0, 16.0, 32.0)  # pauses; a topic is known everywhere before their end


class _Token(msgspec.Struct, frozen=True, gc=False):
    """What is acknowledged; a tuple of the two would be the garbage collector's work."""

    place: Place
    offset: int


class Reading:
    """One membership in one group. `starts`: where partitions begin that the group has no place in; others begin at
    the oldest message. `read` makes the message of a record."""

    def __init__(
        self,
        options: KafkaOptions,
        group: str,
        arrived: Callable[[Sequence[Arrival]], None],
        *,
        ahead_max: int,
        starts: Mapping[int, int],
        read: Callable[[Record], Message],
        health: Health,
    ) -> None:
        from confluent_kafka import Consumer

        self._options = options
        self._arrived = arrived
        self._ahead_max = ahead_max
        self._starts = starts
        self._read = read
        self._health = health
        self._changed = threading.Condition()  # guards the next two
        self._acks: list[object] = []
        self._closing = False
        # The thread's own from here on.
        self._places: dict[int, Place] = {}
        self._unacked = 0
        self._paused = False
        self._astray: dict[int, int] = {}  # partition -> the offset that is not there
        self._look_at = 0.0
        self._pauses = iter(_JOINS_ANEW_S)
        self._join_at = float("inf")
        self._commit_at = 0.0
        self._commits = 0  # sent and not answered
        self._said: set[int] = set()
        self._leaving = False
        self._failed: KafkaError | None = None  # for good
        configuration = {
            **options.client(health.on_error),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(options.session_s * 1_000),
            "heartbeat.interval.ms": int(options.session_s * 1_000 / 4),
            # By then the partitions are another's: a connection that nobody hears is not worth librdkafka's minute.
            "socket.timeout.ms": int(options.session_s * 1_000),
            "topic.metadata.refresh.interval.ms": int(options.metadata_every_s * 1_000),
            # Pausing throws away what was fetched ahead, so that is kept small.
            "queued.max.messages.kbytes": max(1, options.fetched_bytes_max // 1_024),
            "on_commit": self._committed,
        }
        if options.instance_id:
            configuration["group.instance.id"] = options.instance_id
        self._consumer: Consumer = Consumer(configuration)
        self._thread = threading.Thread(target=self._run, name="commute kafka reading", daemon=True)
        self._thread.start()

    # -- from any thread

    def ack(self, tokens: Sequence[object]) -> None:
        with self._changed:
            self._acks.extend(tokens)
            self._changed.notify()

    def stop(self) -> None:
        """Commit what was acknowledged and leave the group, soon; `join` waits for it."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self) -> None:
        """After `stop`. Nothing is handed over any more, even if librdkafka takes longer to end than we wait."""
        if self._thread is not threading.current_thread():
            self._thread.join(self._options.close_s_max)

    # -- the thread

    def _run(self) -> None:
        try:
            self._begin_reading()
            while not self._closing and self._failed is None:
                self._turn()
            if self._failed is not None:
                LOGGER.error(
                    "error[internal] reading %s ends, and goes on when the worker is started anew: %s%s",
                    self._options.shown, self._failed.str(), self._namesake(),
                )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - whatever it was, the group must be left, and the log told
            LOGGER.error("error[internal] reading %s ends: %r", self._options.shown, error)
        finally:
            self._leave()

    def _begin_reading(self) -> None:
        from confluent_kafka import TopicPartition

        partition = self._options.partition
        if partition is None:
            self._subscribe()
        else:
            self._on_assign(self._consumer, [TopicPartition(self._options.stream, partition)])

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            [self._options.stream], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _join_anew(self) -> None:
        if time.monotonic() < self._join_at:
            return
        self._join_at = float("inf")  # until it is known what the group gives
        LOGGER.info("the group gave us no partition of %s; asked again", self._options.shown)
        self._consumer.unsubscribe()
        self._subscribe()

    def _turn(self) -> None:
        self._settle()
        self._commit()
        self._look_for_places()
        self._join_anew()
        self._bound()
        first = self._consumer.poll(0 if self._paused else _POLL_S)
        if first is None:
            return
        place = self._places.get(first.partition() or 0)
        more = min(self._ahead_max - self._unacked, self._options.batch_max) - 1
        records = self._consumer.consume(more, 0) if more > 0 else []
        if self._places.get(first.partition() or 0) is place:  # else a rebalance came between, and so does it again
            records.insert(0, first)
        self._hand_over(records)

    def _hand_over(self, records: list[Record]) -> None:
        batch: list[Arrival] = []
        read, places = self._read, self._places
        records.reverse()
        while records:
            # Each is gone before the next is looked at: the headers of many at once keep the garbage collector busy.
            record = records.pop()
            error = record.error()
            if error is not None:
                self._trouble(error, record)
                continue
            partition, offset = record.partition(), record.offset()
            assert partition is not None and offset is not None
            place = places.get(partition)
            if place is None:
                continue  # taken from us while these were on their way
            if offset <= place.last:
                place = self._anew(place)  # the log was cut and grew again, or the place was set back
            place.came(offset)
            batch.append(Arrival(read(record), _Token(place, offset)))
        if batch:
            self._unacked += len(batch)
            self._health.up()
            self._arrived(batch)

    def _anew(self, place: Place) -> Place:
        self._unacked -= place.drop()
        self._places[place.partition] = new = Place(place.partition)
        return new

    # -- what was acknowledged

    def _settle(self) -> None:
        with self._changed:
            acks, self._acks = self._acks, []
        for token in acks:
            assert isinstance(token, _Token)
            if token.place.ack(token.offset):
                self._unacked -= 1

    def _bound(self) -> None:
        """With `ahead_max` out, wait a little, since pausing costs what was fetched ahead; then pause."""
        if self._paused:
            if self._unacked and 2 * self._unacked >= self._ahead_max:
                self._await_acks(_PAUSED_S)
                self._settle()
            if self._unacked and 2 * self._unacked >= self._ahead_max:
                return
            self._paused = False
            self._consumer.resume(self._held())
        elif self._unacked >= self._ahead_max:
            patient_until = time.monotonic() + self._options.pressure_s_max
            while self._unacked >= self._ahead_max and not self._closing:
                left_s = patient_until - time.monotonic()
                if left_s <= 0:
                    self._paused = True
                    self._consumer.pause(self._held())
                    return
                self._await_acks(left_s)
                self._settle()
                self._commit()

    def _await_acks(self, limit_s: float) -> None:
        with self._changed:
            if not self._acks and not self._closing:
                self._changed.wait(limit_s)

    def _held(self) -> list[TopicPartition]:
        from confluent_kafka import TopicPartition

        return [TopicPartition(self._options.stream, partition) for partition in self._places]

    # -- commits

    def _owed(self, partitions: Sequence[int]) -> list[TopicPartition]:
        """The prefixes that the broker is to be told; they count as told from now on."""
        from confluent_kafka import TopicPartition

        owed = []
        for partition in partitions:
            place = self._places.get(partition)
            if place is not None and place.owed:
                place.committed = place.watermark
                owed.append(TopicPartition(self._options.stream, partition, place.watermark))
        return owed

    def _commit(self, now: bool = False) -> None:
        """Send the prefixes, unless it is too early or the last answer is still to come."""
        from confluent_kafka import KafkaException

        if not now and (self._commits or time.monotonic() < self._commit_at):
            return
        self._commit_at = time.monotonic() + self._options.commit_every_s
        owed = self._owed(list(self._places))
        if not owed:
            return
        try:
            self._consumer.commit(offsets=owed, asynchronous=True)
        except KafkaException as error:
            self._refused(owed, error)
        else:
            self._commits += 1

    def _commit_and_wait(self, partitions: Sequence[int]) -> None:
        from confluent_kafka import KafkaException

        owed = self._owed(partitions)
        if not owed:
            return
        try:
            self._consumer.commit(offsets=owed, asynchronous=False)
        except KafkaException as error:
            self._refused(owed, error)

    def _committed(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """librdkafka's `on_commit`, called while polling."""
        self._commits = max(0, self._commits - 1)
        failed = [each for each in offsets if error is not None or each.error is not None]
        if failed:
            self._refused(failed, error)
        else:
            self._health.up()

    def _refused(self, offsets: Sequence[TopicPartition], error: object) -> None:
        """A rebalance or an outage: said again with the next commit. What never gets through only comes again."""
        LOGGER.info("%s refused a commit; the next one says it again: %s", self._options.shown, error)
        for each in offsets:
            place = self._places.get(each.partition)
            if place is not None and place.committed == each.offset:
                place.committed = UNKNOWN

    # -- partitions come and go; these are called while polling

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        partitions = self._capped(given)
        if len(partitions) < len(given):
            say_capped(self._options, max(each.partition for each in given) + 1)
        for each in partitions:
            if each.partition in self._places:
                self._unacked -= self._places[each.partition].drop()
            self._places[each.partition] = Place(each.partition)
        self._begin(partitions)
        consumer.incremental_assign(partitions)
        # librdkafka remembers a pause over the loss of a partition.
        if partitions:
            (consumer.pause if self._paused else consumer.resume)(partitions)
        if self._places:
            self._pauses, self._join_at = iter(_JOINS_ANEW_S), float("inf")
        else:
            self._join_at = time.monotonic() + next(self._pauses, float("inf"))

    def _begin(self, partitions: Sequence[TopicPartition]) -> None:
        """Say where each goes on. Where the group's place cannot be had now, `_look_for_places` comes later."""
        from confluent_kafka import KafkaException

        try:
            found = self._consumer.committed(list(partitions), timeout=_QUERY_S_MAX)
        except KafkaException as error:
            LOGGER.info("%s does not say where the group is, asked again: %s", self._options.shown, error)
            return
        places = {each.partition: each for each in found if each.error is None}
        for each in partitions:
            if (place := places.get(each.partition)) is not None:
                each.offset = place.offset if place.offset >= 0 else self._first_place(each.partition)

    def _first_place(self, partition: int) -> int:
        """Where a group begins. Committed even if nothing comes: a successor must not begin at a later end."""
        from confluent_kafka import OFFSET_BEGINNING

        start = self._starts.get(partition, UNKNOWN)
        self._places[partition].watermark = start
        return OFFSET_BEGINNING if start == UNKNOWN else start

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._settle()
        if not self._leaving:  # then it is committed already, and a broker that is down would hold us
            self._commit_and_wait([each.partition for each in partitions])
        self._on_lost(consumer, partitions)

    def _capped(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Those that are read. The group's leader gives out the others too: they are assigned to nobody."""
        return [each for each in partitions if self._options.is_read(each.partition)]

    def _on_lost(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        partitions = self._capped(given)
        for each in partitions:
            place = self._places.pop(each.partition, None)
            self._astray.pop(each.partition, None)
            if place is not None:
                self._unacked -= place.drop()
        consumer.incremental_unassign(partitions)

    # -- what goes wrong

    def _namesake(self) -> str:
        name = self._options.instance_id
        return f". Has another one the instance_id {name!r} too? Each needs its own" if name else ""

    def _trouble(self, error: KafkaError, record: Record) -> None:
        from confluent_kafka import KafkaError

        partition, offset = record.partition(), record.offset()
        if error.code() == KafkaError._AUTO_OFFSET_RESET and partition is not None:
            if partition in self._places:
                self._astray[partition] = UNKNOWN if offset is None else offset
                self._look_at = 0.0
            return
        if error.code() == KafkaError._FATAL:  # polling brings nothing any more, for ever; `fatal()` denies it
            self._failed = error
        elif error.code() not in self._said:  # once each: librdkafka goes on trying, and says it each time
            self._said.add(error.code())
            LOGGER.warning("warning[not-reachable] reading %s: %s", self._options.shown, error.str())

    def _look_for_places(self) -> None:
        """Where partitions go on whose place is not there: at the group's start, or behind the gap."""
        from confluent_kafka import KafkaException

        if not self._astray or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _RETRY_S
        for partition, offset in list(self._astray.items()):
            if offset < 0:
                self._go_on(partition, self._first_place(partition))
                continue
            try:
                low = self._first_kept(partition)
            except KafkaException as error:
                LOGGER.info("%s does not say what it keeps, asked again: %s", self._options.shown, error)
                continue
            LOGGER.error(
                "error[log-gap] topic %s, partition %d: the next offset is %d, and the log has nothing there; it goes "
                "on at %d. What was between is lost to this group: retention deleted it, or the topic was made anew",
                self._options.stream, partition, offset, low,
            )  # fmt: skip
            self._anew(self._places[partition])
            self._go_on(partition, low)

    def _first_kept(self, partition: int) -> int:
        from confluent_kafka import TopicPartition

        place = TopicPartition(self._options.stream, partition)
        low, _high = self._consumer.get_watermark_offsets(place, timeout=_QUERY_S_MAX)
        return low

    def _go_on(self, partition: int, offset: int) -> None:
        """A partition without a place cannot be sought in; assigned anew it can begin anywhere."""
        from confluent_kafka import TopicPartition

        del self._astray[partition]
        place = TopicPartition(self._options.stream, partition, offset)
        self._consumer.incremental_unassign([place])
        self._consumer.incremental_assign([place])
        (self._consumer.pause if self._paused else self._consumer.resume)([place])

    # -- the end

    def _leave(self) -> None:
        from confluent_kafka import KafkaException

        deadline = time.monotonic() + self._options.close_s_max
        try:
            self._settle()
            self._consumer.pause(self._held())
            self._commit(now=True)
            while self._commits and time.monotonic() < deadline and not self._health.is_down:
                self._consumer.poll(_PAUSED_S)
        except KafkaException as error:
            LOGGER.info("the last commit to %s failed, and some events come again: %s", self._options.shown, error)
        self._leaving = True
        self._consumer.close()
