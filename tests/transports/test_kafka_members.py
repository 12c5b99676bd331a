"""Static membership on the real broker: who comes back under its `instance_id` has its partitions at once."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.brokers import broker_url
from tests.transports.kafka_rig import Rig
from tests.transports.wires import DEADLINE_S, Worker, messages, names, until

PARTITIONS = 4
READING = """
import sys
from dataclasses import replace

from commute.transports.kafka import KafkaWire, parse

url, group, session_s = sys.argv[1:]
wire = KafkaWire(replace(parse(url), session_s=float(session_s)))
wire.connect()
wire.consume(group, lambda arrivals: print(len(arrivals), flush=True), ahead_max=1_000)
sys.stdin.read()
"""


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(broker_url("kafka"))
    yield made
    made.close()


def places(worker: Worker[Any]) -> dict[int, set[object]]:
    """The partitions that it got, with their stays: one from an assignment to its end."""
    found: dict[int, set[object]] = {}
    for arrival in worker.arrivals:
        place: Any = arrival.token.place  # type: ignore[attr-defined]
        found.setdefault(place.partition, set()).add(place)
    return found


def instances(rig: Rig) -> set[str | None]:
    """Who the members of the group are, as the broker has them."""
    group = f"g-{rig.topic}"
    described = rig.admin.describe_consumer_groups([group])[group].result(DEADLINE_S)
    return {member.group_instance_id for member in described.members}


def test_a_killed_static_member_is_back_before_its_session_ends(rig: Rig) -> None:
    session_s = 4 * DEADLINE_S  # the test would fail before the broker gives the partition to a stranger
    rig.sender().send(messages(10)).result(DEADLINE_S)
    options = replace(rig.options(), instance_id="one", session_s=session_s)
    command = [sys.executable, "-c", READING, f"{rig.base}/{rig.topic}?instance_id=one"]
    with subprocess.Popen(
        [*command, f"g-{rig.topic}", str(session_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as former:
        assert former.stdout is not None
        try:
            assert former.stdout.readline(), "it reads"
        finally:
            former.kill()
    worker = rig.worker(options)
    worker.has(10)
    assert worker.ids == names(0, 10)


def test_the_restart_of_a_static_member_moves_no_partition(rig: Rig) -> None:
    options = rig.options(partitions=PARTITIONS)
    keyed = [message for n in range(16) for message in messages(5, 0, f"key{n}-")]
    first = rig.worker(replace(options, instance_id="first"))
    second = rig.worker(replace(options, instance_id="second"))
    until(lambda: instances(rig) == {"first", "second"}, "both are members")
    first.wire.send(keyed).result(DEADLINE_S)
    until(lambda: {*first.ids, *second.ids} >= {message.id for message in keyed}, "all of it arrives")
    # Whatever came while the second was still joining, by now each has its own.
    until(lambda: len(held(first)) == len(held(second)) == PARTITIONS // 2, "they share the partitions")
    stays, shared = held(first), set(held(second))
    second.wire.close()
    assert instances(rig) == {"first", "second"}, "it has not left"
    third = rig.worker(replace(options, instance_id="second"))
    more = [message for n in range(16) for message in messages(5, 5, f"key{n}-")]
    first.wire.send(more).result(DEADLINE_S)
    until(lambda: {*first.ids, *third.ids} >= {message.id for message in more}, "all of it arrives")
    assert set(places(third)) == set(held(third)) == shared
    assert held(first) == stays, "the same places, never taken away"


def held(worker: Worker[Any]) -> dict[int, object]:
    """What it has now."""
    return dict(worker.wire._reading._places)


def test_two_of_one_name_are_told_apart(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    options = replace(rig.options(), instance_id="same")
    rig.sender().send(messages(1)).result(DEADLINE_S)
    first = rig.worker(options)
    first.has(1)
    with caplog.at_level(logging.ERROR, "commute"):
        second = rig.worker(options)
        until(lambda: "the instance_id 'same' too? Each needs its own" in caplog.text, "who was first is told")
    second.wire.send(messages(5, 1)).result(DEADLINE_S)
    second.has(5)
    assert first.ids == names(0, 1)


def test_a_share_of_the_partitions_needs_no_membership(rig: Rig) -> None:
    """Who reads one partition is nobody's member: another one of the same name is not fenced, and both commit."""
    options = replace(rig.options(partitions=2), instance_id="worker")
    rig.sender(options).send([m for n in range(8) for m in messages(5, 0, f"key{n}-")]).result(DEADLINE_S)
    workers = [rig.worker(options.of_partition(number)) for number in range(2)]
    until(lambda: [rig.committed("g", n) for n in range(2)] == [rig.end(n) for n in range(2)], "all is committed")
    assert [set(places(worker)) for worker in workers] == [{0}, {1}]
    assert instances(rig) == set()
