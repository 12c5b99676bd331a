"""Which store serves a consumer group on a Kafka topic: the first record of a small topic beside it.

A log has one first record, whoever writes at once; it is read again before anything is believed. What is committed for
a group would not do: the last one to write wins there, and Kafka forgets it when nobody commits for a week.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from commute.errors import NotReachableError
from commute.transports.kafka_client import Topics, why

if TYPE_CHECKING:
    from commute.transports.kafka_client import KafkaOptions

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


def claim(options: KafkaOptions, group: str, store: str) -> str:
    """The store that serves the group: `store` if none did. Blocks. Raises NotReachableError, UsageError."""
    topic = _topic(options, group)
    Topics(replace(options, partitions=1)).have(topic, _FOR_EVER)
    held = _first(options, topic)
    if held is None:
        _append(options, topic, store)
        held = _first(options, topic)
    if held is None:
        raise NotReachableError(f"{options.shown}: the topic {topic!r} does not give back what was written to it",
                                slug="not-reachable")  # fmt: skip
    return held


def claimed(options: KafkaOptions, group: str) -> str | None:
    """The store that serves the group; None: none. Blocks. Raises as `claim`."""
    topic = _topic(options, group)
    return None if Topics(options).partitions(topic) is None else _first(options, topic)


def release(options: KafkaOptions, group: str) -> None:
    """Forget it. Blocks. Raises as `claim`."""
    Topics(options).delete(_topic(options, group))


def _topic(options: KafkaOptions, group: str) -> str:
    name = f"{options.stream}.{group}.commute-store"
    return name if _TOPIC.fullmatch(name) else f"{sha256(name.encode()).hexdigest()[:32]}.commute-store"


def _first(options: KafkaOptions, topic: str) -> str | None:
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {
            **options.client(lambda _error: None),
            "group.id": "commute",  # wanted by the library; nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,  # an empty topic is to say so soon
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        end_s = time.monotonic() + options.connect_s_max
        while (left_s := end_s - time.monotonic()) > 0:
            record = consumer.poll(left_s)
            if record is None:
                continue
            error = record.error()
            if error is None:
                return (record.value() or b"?").decode(errors="replace")
            if error.code() == KafkaError._PARTITION_EOF:
                return None
            if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # it was made just now, and not every broker knows
                raise why(options, error, f"topic {topic!r}: ")
    finally:
        consumer.close()
    raise NotReachableError(f"{options.shown}: the topic {topic!r} cannot be read within "
                            f"{options.connect_s_max:.0f} s", slug="not-reachable")  # fmt: skip


def _append(options: KafkaOptions, topic: str, store: str) -> None:
    from confluent_kafka import KafkaError, Producer
    from confluent_kafka import Message as Record

    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _record: Record) -> None:
        if error is not None:
            refused.append(error)

    producer = Producer(
        {
            **options.client(lambda _error: None),
            "enable.idempotence": True,
            "message.timeout.ms": int(1_000 * options.connect_s_max),
        }
    )
    producer.produce(topic, store.encode(), partition=0, on_delivery=delivered)
    producer.flush(2 * options.connect_s_max)
    if refused:
        raise why(options, refused[0], f"topic {topic!r}: ")
