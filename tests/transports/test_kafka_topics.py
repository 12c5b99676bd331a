"""A topic that is made while workers are there already: whenever a node hears of it, its partitions are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import NewPartitions, NewTopic  # type: ignore[attr-defined]

from commute.transports.base import Message
from commute.transports.kafka import parse
from commute.transports.kafka_client import Health
from commute.transports.kafka_reading import Reading
from commute.transports.wire import Arrival
from tests.brokers import broker_url
from tests.transports.kafka_mock import MockCluster
from tests.transports.kafka_rig import Rig
from tests.transports.wires import DEADLINE_S, messages, names, until

JOIN_GROUP, SYNC_GROUP = 11, 14  # Kafka's numbers of requests


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(broker_url("kafka"))
    yield made
    made.close()


def test_who_subscribes_before_there_is_a_topic_reads_it_when_it_is_made(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    wire, arrived = rig.sender(), list[Arrival]()
    rig.admin.delete_topics([rig.topic])[rig.topic].result(DEADLINE_S)  # made by connect
    until(lambda: rig.topic not in rig.admin.list_topics(timeout=DEADLINE_S).topics, "it is gone")
    wire.consume("g", arrived.extend, ahead_max=1_000)
    until(lambda: "Subscribed topic not available" in caplog.text, "it has looked, and is told")
    rig.admin.create_topics([NewTopic(rig.topic, 1, 1)])[rig.topic].result(DEADLINE_S)
    rig.sender().send(messages(10)).result(DEADLINE_S)
    until(lambda: len(arrived) == 10, "all of it arrives")
    assert [arrival.message.id for arrival in arrived] == names(0, 10)


def test_partitions_that_are_added_are_read(rig: Rig) -> None:
    options = replace(rig.options(), partitions_max=None, metadata_every_s=1.0)
    worker = rig.worker(options)
    worker.wire.send(messages(1)).result(DEADLINE_S)
    worker.has(1)
    rig.admin.create_partitions([NewPartitions(rig.topic, 2)])[rig.topic].result(DEADLINE_S)
    foreign = rig.foreign()
    foreign.produce(rig.topic, b"{}", partition=1)
    assert foreign.flush(DEADLINE_S) == 0
    worker.has(2)
    assert worker.arrivals[1].message.id == f"{rig.topic}/1/0"


def test_those_above_the_number_in_the_url_wait(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.admin.create_topics([NewTopic(rig.topic, 3, 1)])[rig.topic].result(DEADLINE_S)
    foreign = rig.foreign()
    for partition in range(3):
        foreign.produce(rig.topic, b"{}", partition=partition)
    assert foreign.flush(DEADLINE_S) == 0
    capped = rig.worker(rig.options(partitions=2))
    capped.has(2)
    assert {arrival.message.id for arrival in capped.arrivals} == {f"{rig.topic}/{n}/0" for n in range(2)}
    assert caplog.text.count("warning[partitions-capped]") == 1 and "has 3 partitions" in caplog.text
    assert [capped.wire.partitions() for _ in range(2)] == [2, 2]
    assert caplog.text.count("warning[partitions-capped]") == 2, "once more, for those who ask"
    until(lambda: [rig.committed("g", n) for n in range(3)] == [1, 1, -1001], "only what is read is committed")
    capped.wire.close()
    full = rig.worker(replace(rig.options(), partitions_max=None))
    full.has(1)
    assert full.arrivals[0].message.id == f"{rig.topic}/2/0" and full.wire.partitions() == 3


def test_a_coordinator_that_does_not_know_the_topic_yet_is_asked_again() -> None:
    """It alone has not heard of it, when the group's leader asks: nobody gets anything, and nothing changes later."""
    cluster, arrived = MockCluster(), list[Arrival]()
    cluster.make("late", 1)
    cluster.first_join_waits(0.3)
    options = replace(parse(f"{cluster.url}/late"), session_s=2.0)  # which the pretended coordinator waits out
    reading = Reading(
        options, "g", arrived.extend, ahead_max=100, starts={}, health=Health(options.shown),
        read=lambda record: Message(str(record.offset()), "/s", "t", 1.0, record.value() or b""),
    )  # fmt: skip
    try:
        until(lambda: cluster.asked(JOIN_GROUP) > 0, "the group has a member")
        cluster.answer("late", KafkaError.UNKNOWN_TOPIC_OR_PART)
        until(lambda: cluster.asked(SYNC_GROUP) > 0, "its leader has asked for the partitions, and shared them out")
        cluster.answer("late", 0)
        foreign = Producer(options.client(print))
        foreign.produce("late", b"1")
        assert foreign.flush(DEADLINE_S) == 0
        until(lambda: len(arrived) == 1, "it arrives")
    finally:
        reading.stop()
        reading.join()
