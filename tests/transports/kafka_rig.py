"""What the tests of the Kafka wire share: a topic of their own on the real broker, and a worker that remembers."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from commute.cloudevents import PlainJson
from commute.transports.kafka import KafkaOptions, KafkaWire, parse
from tests.transports.wires import DEADLINE_S, Worker, messages, names, until

ASK_S_MAX = 5.0  # of one question to a node, which may be gone: another one is asked next


class Rig:
    """A topic of its own on the broker; what it makes is closed, and its topics and groups are deleted."""

    def __init__(self, url: str) -> None:
        self.base = url.rstrip("/")
        self.servers = self.base.removeprefix("kafka://")
        self.topic = f"test-{uuid.uuid4().hex[:12]}"
        self.topics = {self.topic}
        self.closers: list[Callable[[], None]] = []
        self.admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def options(self, partitions: int = 1) -> KafkaOptions:
        return parse(f"{self.base}/{self.topic}?partitions={partitions}")

    def worker(
        self, options: KafkaOptions | None = None, *, group: str = "g", plain: PlainJson | None = None, **more: Any
    ) -> Worker[KafkaWire]:
        wire = KafkaWire(options or self.options(), plain=plain)
        made = Worker(wire, group=f"{group}-{(options or self.options()).stream}", **{"ahead_max": 10_000, **more})
        self.closers.append(made.wire.close)
        return made

    def sender(self, options: KafkaOptions | None = None) -> KafkaWire:
        made = KafkaWire(options or self.options())
        self.closers.append(made.close)
        made.connect()
        return made

    def foreign(self) -> Producer:
        return Producer({"bootstrap.servers": self.servers, "log_level": 0})

    def committed(self, group: str = "g", partition: int = 0) -> int:
        """What the broker has for the group; negative for nothing."""
        asked = ConsumerGroupTopicPartitions(f"{group}-{self.topic}", [TopicPartition(self.topic, partition)])
        (future,) = self.admin.list_consumer_group_offsets([asked]).values()
        return int(future.result(DEADLINE_S).topic_partitions[0].offset)

    def end(self, partition: int = 0) -> int:
        """The offset behind the last record."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "look"})
        _low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=DEADLINE_S)
        consumer.close()
        return int(high)

    def records(self, topic: str, partitions: int, count: int) -> list[Any]:
        """The first `count` records of the topic, by a plain consumer without a group's place."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "look", "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        found: list[Any] = []
        end_s = time.monotonic() + DEADLINE_S
        while len(found) < count:
            assert time.monotonic() < end_s, f"{len(found)} of {count} records"
            found += [record for record in consumer.consume(count, 0.1) if record.error() is None]
        consumer.close()
        return found

    def state(self, partition: int = 0) -> tuple[int, set[int]]:
        """The node that leads the partition (-1: none) and those that are in sync, as the node that was asked knows
        it; no leader and none in sync where it has not heard of a new topic yet, or was killed before it answered."""
        try:
            found = self.admin.list_topics(self.topic, timeout=ASK_S_MAX).topics[self.topic].partitions.get(partition)
        except KafkaException:
            return -1, set()
        return (-1, set()) if found is None else (int(found.leader), set(found.isrs))

    def close(self) -> None:
        for close in self.closers:
            close()
        for future in self.admin.delete_topics(list(self.topics)).values():
            future.exception(DEADLINE_S)


class Load:
    """Batches of numbered events (e0, e1, ...), many of them under way, from its beginning until `stop`; `confirmed`
    are the ids of those that were."""

    BATCH = 50
    UNDER_WAY_MAX = 20
    PAUSE_S = 0.01  # between batches: servers that start again need the processor too

    def __init__(self, sender: KafkaWire) -> None:
        self.confirmed: list[str] = []
        self._sender = sender
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def goes_on(self, more: int = 2_000) -> None:
        """Wait until so many more are confirmed."""
        wanted = len(self.confirmed) + more
        until(lambda: len(self.confirmed) >= wanted, f"{more} more are confirmed", 2 * DEADLINE_S)

    def stop(self) -> None:
        """Send no more; returns when nothing is under way."""
        self._stopping.set()
        self._thread.join(3 * DEADLINE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        start = 0
        under_way: deque[tuple[int, Future[None]]] = deque()
        while not self._stopping.is_set() or under_way:
            if not self._stopping.wait(self.PAUSE_S):
                under_way.append((start, self._sender.send(messages(self.BATCH, start))))
                start += self.BATCH
            if len(under_way) == self.UNDER_WAY_MAX or self._stopping.is_set():
                first, future = under_way.popleft()
                if future.exception(3 * DEADLINE_S) is None:
                    self.confirmed.extend(names(first, first + self.BATCH))
