"""What the tests of the Kafka wire share: a topic of their own on the real broker, and a worker that remembers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from commute.cloudevents import PlainJson
from commute.transports.kafka import KafkaOptions, KafkaWire, parse
from tests.transports.wires import DEADLINE_S, Worker


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

    def close(self) -> None:
        for close in self.closers:
            close()
        for future in self.admin.delete_topics(list(self.topics)).values():
            future.exception(DEADLINE_S)
