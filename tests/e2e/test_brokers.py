"""The brokers that tests talk to: started once, known again, and what they confirmed outlives kill -9.

What a crash takes from Mosquitto is no promise of ours and not asserted here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.brokers import URLS, broker_url, control, given_url, kill_and_restart
from tests.house.tree import ROOT

NAMES = ("rabbitmq", "kafka", "mqtt", "postgresql")
ANSWER_S_MAX = 30.0


def state_file(name: str) -> Path:
    return URLS.parent / name / "state.json"


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_broker_comes_back_at_its_address(name: str) -> None:
    url = broker_url(name)
    before = None if given_url(name) else state_file(name).read_text()
    assert kill_and_restart(name) == url
    assert state_file(name).read_text() != before, "the same process: nothing was killed"


def test_a_second_start_starts_nothing() -> None:
    if any(given_url(name) for name in NAMES):
        pytest.skip("some brokers are given by the environment")
    addresses = {name: broker_url(name) for name in NAMES}
    before = [state_file(name).read_text() for name in NAMES]
    lines = control("start").splitlines()
    assert dict(line.split() for line in lines) == addresses
    assert [state_file(name).read_text() for name in NAMES] == before


def test_rabbitmq_keeps_what_it_confirmed() -> None:
    import pika

    url, queue = broker_url("rabbitmq"), f"durable-{uuid.uuid4().hex}"
    before = pika.BlockingConnection(pika.URLParameters(url))
    channel = before.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True)
    for number in range(100):
        channel.basic_publish("", queue, b"%d" % number, pika.BasicProperties(delivery_mode=2))
    kill_and_restart("rabbitmq")
    with pytest.raises(pika.exceptions.AMQPError):
        before.close()
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        bodies = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(101)]
        channel.queue_delete(queue)
    assert bodies == [b"%d" % number for number in range(100)] + [None]


def test_kafka_keeps_what_it_confirmed() -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient

    servers, topic = broker_url("kafka").removeprefix("kafka://"), f"durable-{uuid.uuid4().hex}"
    # Lost connections are what this is about: librdkafka need not print them.
    configuration: dict[str, str | int | float | bool] = {"bootstrap.servers": servers, "log_level": 0}
    producer = Producer({**configuration, "acks": "all"})
    for number in range(100):
        producer.produce(topic, b"%d" % number)
    assert producer.flush(ANSWER_S_MAX) == 0
    kill_and_restart("kafka")
    consumer = Consumer({**configuration, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    received: list[bytes] = []
    while len(received) < 100:
        message = consumer.poll(ANSWER_S_MAX)
        assert message is not None, f"only {len(received)} came back"
        if message.error() is None:
            received.append(message.value() or b"")
    consumer.close()
    admin = AdminClient(configuration)
    admin.delete_topics([topic])[topic].result(ANSWER_S_MAX)
    assert received == [b"%d" % number for number in range(100)]


def test_a_process_that_only_has_the_pid_is_left_alone() -> None:
    """The script's `Process` is a pid and a start: a stranger with a reused pid must live."""
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    script = (
        "import json, sys, signal\n"
        "from machine import Process, end, start_of\n"
        "pid = int(sys.argv[1])\n"
        "ours, reused = Process('server', pid, start_of(pid)), Process('server', pid, 'earlier')\n"
        "end(reused, signal.SIGKILL, patience_s=0)\n"
        "spared = ours.lives()\n"
        "end(ours, signal.SIGKILL, patience_s=10)\n"
        "print(json.dumps([reused.lives(), spared, ours.lives()]))\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(stranger.pid)],
            cwd=ROOT / ".ci",
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        stranger.communicate()
    assert json.loads(done.stdout) == [False, True, False]
