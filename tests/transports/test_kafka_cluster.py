"""Kafka on three nodes: with min.insync.replicas=2 no node's death costs a confirmed event, or the sequence.

The cluster is this module's own: it is started for these tests only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource, NewTopic  # type: ignore[attr-defined]

from commute.errors import NotReachableError
from commute.transports.kafka import KafkaWire
from commute.transports.kafka_doctor import examine
from tests.brokers import given_url, kill, restart, started, unavailable
from tests.transports.kafka_rig import Load, Rig
from tests.transports.wires import DEADLINE_S, Worker, messages, names, until

NODES = {1, 2, 3}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    if given_url("kafka3"):
        unavailable("kafka3 is given by the environment: not ours to kill")
    with started("kafka3") as url:
        yield url


@pytest.fixture
def rig(cluster: str) -> Iterator[Rig]:
    made = Rig(cluster)
    yield made
    restart("kafka3")
    made.close()


def crash(*numbers: int) -> None:
    kill("kafka3", *(f"node-{number}" for number in numbers))


def leader_of(rig: Rig) -> int:
    """The node that leads the partition; waits until the one that is asked knows."""
    leader = -1

    def known() -> bool:
        nonlocal leader
        leader, _in_sync = rig.state()
        return leader in NODES

    until(known, "it has a leader")
    return leader


def settings(rig: Rig) -> dict[str, str]:
    """The topic's; none if the node that is asked has not heard of it yet."""
    asked = ConfigResource(ConfigResource.Type.TOPIC, rig.topic)
    try:
        found = rig.admin.describe_configs([asked])[asked].result(DEADLINE_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
        return {}
    return {name: str(entry.value) for name, entry in found.items()}


def nothing_is_lost(rig: Rig, load: Load, worker: Worker[KafkaWire]) -> None:
    """All that was confirmed is in the log, once and in the sequence in which it was sent, and arrives so."""
    logged = [dict(record.headers())["ce_id"].decode() for record in rig.records(rig.topic, 1, rig.end())]
    assert logged == sorted(set(logged), key=lambda name: int(name[1:])), "once each, and in sequence"
    assert set(load.confirmed) <= set(logged), "lost"
    until(lambda: set(worker.ids) >= set(logged), "all of it arrives", 2 * DEADLINE_S)
    first_seen = list(dict.fromkeys(worker.ids))
    assert first_seen == logged


def test_a_topic_that_is_made_has_three_copies_and_needs_two(rig: Rig) -> None:
    rig.sender()
    until(lambda: rig.state()[1] == NODES, "three copies")
    until(lambda: settings(rig).get("min.insync.replicas") == "2", "two have to have it")


def test_a_killed_leader_costs_no_confirmed_event_and_no_sequence(rig: Rig) -> None:
    worker = rig.worker()
    with Load(rig.sender()) as load:
        load.goes_on()
        leader = leader_of(rig)
        crash(leader)
        load.goes_on()
        until(lambda: rig.state()[1] == NODES - {leader}, "it goes on while that node is down")
        restart("kafka3")
        until(lambda: rig.state()[1] == NODES, "it has caught up")
        load.goes_on()
    nothing_is_lost(rig, load, worker)


def test_without_a_majority_it_waits(rig: Rig) -> None:
    worker = rig.worker()
    with Load(rig.sender()) as load:
        load.goes_on()
        leader = leader_of(rig)
        crash(*sorted(NODES - {leader})[:1], leader)
        restart("kafka3")
        load.goes_on()
    nothing_is_lost(rig, load, worker)


def test_what_too_few_have_is_not_confirmed(rig: Rig) -> None:
    """With three needed, the loss of a follower is enough: whoever asks the leader alone is told yes."""
    new = NewTopic(rig.topic, 1, 3, config={"min.insync.replicas": "3"})
    rig.admin.create_topics([new])[rig.topic].result(DEADLINE_S)
    sender = rig.sender(replace(rig.options(), confirm_s_max=3.0))
    sender.send(messages(1)).result(DEADLINE_S)
    leader = leader_of(rig)
    crash(max(NODES - {leader}))
    until(lambda: len(rig.state()[1]) == 2, "the others know that it is gone")
    with pytest.raises(NotReachableError):
        sender.send(messages(1, 1)).result(DEADLINE_S)
    assert rig.end() == 1
    told = {finding.what: finding for finding in examine(rig.options(), None)}
    assert told["replicas"].level == "problem" and "nothing can be confirmed" in told["replicas"].text
    restart("kafka3")
    until(lambda: rig.state()[1] == NODES, "it has caught up")
    worker = rig.worker()
    sender.send(messages(1, 1)).result(DEADLINE_S)
    worker.has(2)
    # Twice, if the leader had taken it in before it knew that too few are left: it was not confirmed all the same.
    assert list(dict.fromkeys(worker.ids)) == names(0, 2)
