"""Kafka's own Java client feeds a commute app: its keys are our labels, its plain JSON our events.

Here the other side is not a copy of a formula but the program that others run. It is started from its source, on the
jars of the test broker.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from commute import App, Event, PlainJson
from commute.core.murmur2 import partition_of
from commute.link import discard, parse_url
from commute.transports.base import Message
from tests.brokers import URLS, broker_url, unavailable
from tests.e2e.workers import WAIT_S_MAX
from tests.house.tree import ROOT
from tests.transports.kafka_rig import Rig
from tests.transports.wires import DEADLINE_S

PARTITIONS = 7
ORDERS = range(1, 41)


class OrderCreated(Event):
    order_id: int


class PaymentProcessed(Event):
    order_id: int


class OrderShipped(Event):
    order_id: int


STEPS = ["order_created", "payment_processed", "order_shipped"]


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(broker_url("kafka"))
    made.admin.create_topics([NewTopic(made.topic, PARTITIONS, 1)])[made.topic].result(DEADLINE_S)
    yield made
    made.close()


def java_sends(rig: Rig, pairs: Iterable[tuple[str, str]]) -> list[int]:
    """Have the Java client send keys and values; the partitions it chose for them. Skips where it cannot be run."""
    if shutil.which("javac") is None:
        unavailable("no Java compiler: install a JDK, say default-jdk-headless")
    jars = sorted((URLS.parent / "kafka").glob("jars-*"))
    if not jars:
        unavailable("no jars of Kafka: say `make brokers`")
    command = ["java", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={ROOT}/.ci/kafka/log4j2.properties"]
    command += ["-cp", f"{jars[0]}/*", str(Path(__file__).with_name("Producer.java")), rig.servers, rig.topic]
    done = subprocess.run(
        command, input="".join(f"{key}\t{value}\n" for key, value in pairs), capture_output=True, check=False,
        encoding="utf-8", timeout=WAIT_S_MAX,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return [int(line.removeprefix("partition ")) for line in lines if line.startswith("partition ")]


def test_equal_keys_share_a_partition_whoever_sends_them(rig: Rig) -> None:
    keys = ["", "ü", "世界 🚃", *("abcdefg"[:n] for n in range(1, 8)), *(f"customer-{n}" for n in range(100))]
    java = dict(zip(keys, java_sends(rig, ((key, "{}") for key in keys)), strict=True))
    assert set(java.values()) == set(range(PARTITIONS))
    assert {key: partition_of(key, PARTITIONS) for key in keys} == java, "how labels are hashed"
    ours = [Message(f"o{n}", "/s", "t", 1.5, b"1", {"partitionkey": key}) for n, key in enumerate(keys)]
    rig.sender().send(ours).result(DEADLINE_S)
    found: dict[str, list[int]] = {key: [] for key in keys}
    for record in rig.records(rig.topic, PARTITIONS, 2 * len(keys)):
        found[record.key().decode()].append(record.partition())
    assert found == {key: [java[key]] * 2 for key in keys}


async def test_an_app_takes_the_events_of_a_java_producer(rig: Rig, tmp_path: Path) -> None:
    """The first and the last step of each order come from Java, the one between from the app itself."""
    url = f"{rig.base}/{rig.topic}"
    app: App = App("java", url, db=f"sqlite:///{tmp_path}/java.db", decode=PlainJson(type="name", data="data"))
    trail: dict[int, list[str]] = defaultdict(list)

    @app.on(OrderCreated, PaymentProcessed, OrderShipped, writes="order/{order_id}")
    async def note(event: OrderCreated | PaymentProcessed | OrderShipped) -> None:
        trail[event.order_id].append(STEPS[(OrderCreated, PaymentProcessed, OrderShipped).index(type(event))])

    def sent_by_java(step: str) -> list[tuple[str, str]]:
        return [(str(n), json.dumps({"name": step, "data": {"order_id": n}})) for n in ORDERS]

    java_sends(rig, sent_by_java(STEPS[0]))
    try:
        async with app:
            await app.publish_many([PaymentProcessed(order_id=n) for n in ORDERS])
            java_sends(rig, sent_by_java(STEPS[2]))
            async with app.running(), asyncio.timeout(DEADLINE_S):
                while sum(map(len, trail.values())) < len(STEPS) * len(ORDERS):
                    await asyncio.sleep(0.01)
        placed: dict[bytes, set[int]] = defaultdict(set)
        for record in rig.records(rig.topic, PARTITIONS, len(STEPS) * len(ORDERS)):
            placed[record.key()].add(record.partition())
    finally:
        discard(parse_url(url), "java")
    assert trail == dict.fromkeys(ORDERS, STEPS)
    assert len(placed) == len(ORDERS) and all(len(partitions) == 1 for partitions in placed.values())
    assert len(set.union(*placed.values())) > 1
