"""MQTT over a real Mosquitto: acknowledgements in sequence, sessions that outlive a worker, and what others publish."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from paho.mqtt import client as paho
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion

from commute.cloudevents import PlainJson
from commute.errors import NotReachableError, UsageError
from commute.transports.base import Message
from commute.transports.mqtt import MqttWire, parse
from commute.transports.mqtt_roles import Receiver, topic_filter, with_levels
from commute.transports.wire import Arrival
from tests.brokers import broker_url, kill, restart
from tests.transports.wires import DEADLINE_S, Worker, assert_structured, messages, until

VERSIONS = ("5", "3.1.1")


class Rig:
    """A topic of its own on the broker; makes workers and producers, closes all and removes their session."""

    def __init__(self) -> None:
        self.base = broker_url("mqtt").rstrip("/")
        self.topic = f"test/{uuid.uuid4().hex[:12]}"
        self.client_id = f"commute-test-{uuid.uuid4().hex[:12]}"
        self.wires: list[MqttWire] = []

    def wire(self, version: str, topic: str, *, plain: PlainJson | None = None, **options: Any) -> MqttWire:
        read = parse(f"{self.base}/{topic or self.topic}?version={version}&client_id={self.client_id}")
        wire = MqttWire(replace(read, session_expiry_s=300.0, **options), plain=plain)
        self.wires.append(wire)
        return wire

    def worker(
        self, version: str = "5", *, acks: bool = True, ahead_max: int = 1_000, topic: str = "",
        from_end: bool = False, plain: PlainJson | None = None, **options: Any,
    ) -> Worker[MqttWire]:  # fmt: skip
        wire = self.wire(version, topic, plain=plain, **options)
        return Worker(wire, acks=acks, ahead_max=ahead_max, from_end=from_end)

    def producer(self, version: str = "5", topic: str = "", **options: Any) -> MqttWire:
        wire = self.wire(version, topic, **options)
        wire.connect()
        return wire

    def place(self) -> dict[str, Any]:
        """Where the broker is and who one is, as paho's own functions want it."""
        options = parse(f"{self.base}/x")
        auth: Any = {"username": options.user, "password": options.password} if options.user else None
        return {"hostname": options.host, "port": options.port, "auth": auth}

    def raw(self, topic: str = "") -> tuple[paho.Client, list[paho.MQTTMessage]]:
        """Another client's subscription, and what it gets."""
        options, got = parse(f"{self.base}/x"), list[paho.MQTTMessage]()
        subscribed = list[int]()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if options.user:
            client.username_pw_set(options.user, options.password)
        client.on_message = lambda _client, _data, message: got.append(message)
        client.on_subscribe = lambda *_: subscribed.append(1)
        client.connect(options.host, options.port)
        client.subscribe(topic or self.topic, 1)
        client.loop_start()
        until(lambda: bool(subscribed), "subscription")
        return client, got

    def close(self) -> None:
        for wire in self.wires:
            wire.close()
        place = self.place()
        publish.single(self.topic, b"", qos=1, retain=True, **place)
        publish.single(f"{self.topic}/gone", b"", client_id=self.client_id, **place)  # clean session: ends the old


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


# -- the way there


AWKWARD = [
    Message("1", "/s", "t", 1.0, b"null"),
    Message("2", "/s", "t", 1.25, b"\xff\x00\xfe not JSON"),
    Message("3", "/s", "t", 0.0, b""),
    Message("4", "/s", "t", 2.0, b'{"a" : 1.0 }', {"correlationid": "c d", "traceparent": "00-1", "subject": "ü"}),
    Message("5\n\0é\U0001f600", "/é", "t.ü", 1_700_000_000.123456, b"[" * 100_000),
    Message("6", "/" + "s" * 70_000, "t", 3.0, b'"' + b"x" * 1_000_000 + b'"'),
]


@pytest.mark.parametrize("version", VERSIONS)
def test_attributes_and_awkward_payloads_arrive_as_they_were(rig: Rig, version: str) -> None:
    worker = rig.worker(version)
    rig.producer(version).send(AWKWARD).result(DEADLINE_S)
    until(lambda: len(worker.arrivals) == len(AWKWARD), "arrival")
    assert [a.message for a in worker.arrivals] == AWKWARD


@pytest.mark.parametrize("version", VERSIONS)
def test_thousands_arrive_in_sequence_and_once(rig: Rig, version: str) -> None:
    worker, producer = rig.worker(version), rig.producer(version)
    sent = messages(3_000)
    futures = [producer.send(sent[n : n + 7]) for n in range(0, 3_000, 7)]
    for future in futures:
        future.result(DEADLINE_S)
    until(lambda: len(worker.arrivals) >= 3_000, "arrival")
    assert [a.message for a in worker.arrivals] == sent


def test_binary_mode_on_the_wire(rig: Rig) -> None:
    client, got = rig.raw()
    event = Message("i", "/s", "t", 1.0, b'{"a":1}', {"correlationid": "c"})
    rig.producer().send([event]).result(DEADLINE_S)
    until(lambda: bool(got), "arrival")
    client.disconnect()
    client.loop_stop()
    properties: Any = got[0].properties
    assert dict(properties.UserProperty) == {
        "specversion": "1.0", "id": "i", "source": "/s", "type": "t", "time": "1970-01-01T00:00:01.000000Z",
        "correlationid": "c",
    }  # fmt: skip
    assert (properties.ContentType, got[0].payload, got[0].qos) == ("application/json", b'{"a":1}', 1)


def test_documents_on_the_wire_of_3_1_1(rig: Rig) -> None:
    client, got = rig.raw()
    worker = rig.worker("5")
    event = messages(1)[0]
    rig.producer("3.1.1").send([event]).result(DEADLINE_S)
    until(lambda: bool(got and worker.arrivals), "arrival")
    client.disconnect()
    client.loop_stop()
    document = msgspec.json.decode(got[0].payload)
    assert (document["id"], document["specversion"], document["data"]) == ("e0", "1.0", {"n": 0})
    assert worker.arrivals[0].message == event


def test_structured_events_are_documents_that_others_read_and_we_too(rig: Rig) -> None:
    client, got = rig.raw()
    worker = rig.worker("5")
    sent = [
        Message("1", "/s", "t", 1.5, b'{"n": 1}', {"partitionkey": "k", "subject": "Grüße"}),
        Message("2", "/s", "t", 1.5, b"\xff no json"),
    ]
    rig.producer("5", structured=True).send(sent).result(DEADLINE_S)
    until(lambda: len(got) == len(worker.arrivals) == 2, "arrivals")
    client.disconnect()
    client.loop_stop()
    assert [arrival.message for arrival in worker.arrivals] == sent
    assert {getattr(each.properties, "ContentType", "") for each in got} == {"application/cloudevents+json"}
    assert not any(hasattr(each.properties, "UserProperty") for each in got)
    assert_structured(bytes(got[0].payload), bytes(got[1].payload))
    assert parse("mqtt://h/a?content=structured").structured and not parse("mqtt://h/a?content=binary").structured


def test_to_is_a_topic_and_a_filter_is_none(rig: Rig) -> None:
    worker = rig.worker(topic=f"{rig.topic}/#")
    worker.wire.send(messages(1), to=f"{rig.topic}/a/b").result(DEADLINE_S)
    until(lambda: worker.ids == ["e0"], "arrival")
    with pytest.raises(UsageError, match="name one topic") as raised:
        worker.wire.send(messages(1))
    assert raised.value.slug == "broker-url"
    assert worker.wire.send([], to="a").result(0) is None


def test_a_message_that_nobody_has_subscribed_to_is_warned_of(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    producer = rig.producer(in_flight_max=3)
    producer.send(messages(50)).result(DEADLINE_S)
    assert caplog.text.count("warning[no-subscriber]") == 1


# -- acknowledgements


@pytest.mark.parametrize("version", VERSIONS)
def test_unacknowledged_come_again_and_acknowledged_do_not(rig: Rig, version: str) -> None:
    worker = rig.worker(version, acks=False)
    producer = rig.producer(version)
    producer.send(messages(10)).result(DEADLINE_S)
    until(lambda: len(worker.arrivals) == 10, "arrival")
    worker.wire.ack([a.token for a in worker.arrivals[:4]])
    worker.wire.close()
    producer.send(messages(5, 10)).result(DEADLINE_S)  # the broker keeps these
    again = rig.worker(version)
    until(lambda: len(again.arrivals) == 11, "the rest")
    again.wire.close()
    producer.send(messages(1, 15)).result(DEADLINE_S)
    third = rig.worker(version)
    until(lambda: bool(third.arrivals), "the last")
    assert (again.ids, third.ids) == ([f"e{n}" for n in range(4, 15)], ["e15"])


def test_acknowledgements_wait_for_those_before_them(rig: Rig) -> None:
    worker, producer = rig.worker(acks=False), rig.producer()
    producer.send(messages(5)).result(DEADLINE_S)
    until(lambda: len(worker.arrivals) == 5, "arrival")
    worker.wire.ack([a.token for a in worker.arrivals[:0:-1]])  # all but the first, the last one first
    worker.wire.close()
    again = rig.worker(acks=False)
    until(lambda: len(again.arrivals) == 5, "all of them again")
    assert again.ids == [f"e{n}" for n in range(5)]
    for arrival in reversed(again.arrivals):
        again.wire.ack([arrival.token])
    again.wire.close()
    producer.send(messages(1, 5)).result(DEADLINE_S)
    third = rig.worker()
    until(lambda: bool(third.arrivals), "the last")
    assert third.ids == ["e5"]


def test_receipts_are_owed_in_sequence_and_only_to_their_connection() -> None:
    got: list[Arrival] = []
    receiver = Receiver(got.extend, 100, "x", 5.0)
    receiver.begin()
    for mid, qos in ((1, 1), (2, 0), (3, 1)):
        receiver.message(messages(1)[0], mid, qos)
    receiver.deliver(0.0)
    first, second, third = (a.token for a in got)
    receiver.done([third, second])
    assert receiver.owed() == []
    receiver.done([first])
    assert [r.mid for r in receiver.owed()] == [1, 3]  # nothing is owed for QoS 0
    receiver.message(messages(1)[0], 4, 1)
    receiver.deliver(0.0)
    receiver.begin()
    receiver.done([got[3].token])
    assert receiver.owed() == []


def test_no_more_arrive_than_the_worker_allows(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    worker, producer = rig.worker(acks=False, ahead_max=10), rig.producer()
    producer.send(messages(60)).result(DEADLINE_S)
    acked = 0
    while acked < 60:
        until(lambda: len(worker.arrivals) > acked, "more")  # noqa: B023 - called at once
        assert len(worker.arrivals) - acked <= 10
        batch = worker.arrivals[acked : acked + 7]
        acked += len(batch)
        worker.wire.ack([a.token for a in batch])
    assert worker.ids == [m.id for m in messages(60)]
    assert "journal-full" not in caplog.text


def test_a_full_journal_disconnects_and_comes_back(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """MQTT 3.1.1 has no flow control of the receiver's: the broker sends all it has."""
    worker, producer = rig.worker("3.1.1", acks=False, ahead_max=10, pressure_s_max=0.05), rig.producer("3.1.1")
    producer.send(messages(50)).result(DEADLINE_S)
    until(lambda: "warning[journal-full]" in caplog.text, "the warning")
    assert len(worker.arrivals) == 10
    acked = 0
    while len(set(worker.ids)) < 50 or acked < len(worker.arrivals):
        until(lambda: len(worker.arrivals) > acked, "more")  # noqa: B023 - called at once
        batch = worker.arrivals[acked:]
        acked += len(batch)
        worker.wire.ack([a.token for a in batch])
    assert list(dict.fromkeys(worker.ids)) == [m.id for m in messages(50)]
    assert caplog.text.count("warning[journal-full]") == 1


# -- what others publish


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_plain_json_of_other_producers(rig: Rig, version: str, qos: int) -> None:
    worker = rig.worker(version, plain=PlainJson(data=None))
    publish.single(rig.topic, b'{"id":7,"type":"x","grams":3}', qos=qos, **rig.place())
    until(lambda: bool(worker.arrivals), "arrival")
    message = worker.arrivals[0].message
    assert (message.type, message.data, message.attributes) == (rig.topic, b'{"id":7,"type":"x","grams":3}', None)
    assert message.id and "@" not in message.source


def test_named_levels_fill_fields(rig: Rig) -> None:
    worker = rig.worker(topic=f"{rig.topic}/+device/temp/+unit", plain=PlainJson(data=None))
    producer = rig.producer()
    for payload in (b'{"c":20}', b'{"device":5,"c":21}', b"[1]", b"not JSON"):
        publish.single(f"{rig.topic}/dé/temp/c", payload, qos=1, **rig.place())
    producer.send([Message("i", "/s", "t", 1.0, b"{}")], to=f"{rig.topic}/d2/temp/f").result(DEADLINE_S)
    until(lambda: len(worker.arrivals) == 5, "arrival")
    bodies = [a.message.data for a in worker.arrivals]
    assert msgspec.json.decode(bodies[0]) == {"c": 20, "device": "dé", "unit": "c"}
    assert msgspec.json.decode(bodies[1]) == {"c": 21, "device": 5, "unit": "c"}
    assert bodies[2:4] == [b"[1]", b"not JSON"]
    assert msgspec.json.decode(bodies[4]) == {"device": "d2", "unit": "f"}


@pytest.mark.parametrize("from_end", [False, True])
def test_retained_messages_are_taken_unless_from_the_end(rig: Rig, from_end: bool) -> None:
    publish.single(rig.topic, b'{"old":1}', qos=1, retain=True, **rig.place())
    worker = rig.worker(from_end=from_end)
    publish.single(rig.topic, b'{"new":1}', qos=1, **rig.place())
    until(lambda: any(a.message.data == b'{"new":1}' for a in worker.arrivals), "arrival")
    assert len(worker.arrivals) == (1 if from_end else 2)


# -- a broker that dies


def test_a_killed_broker_is_come_back_to(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """What Mosquitto confirmed and lost is counted, not asserted: it promises nothing here."""
    caplog.set_level(logging.WARNING, "commute")
    worker, producer = rig.worker(), rig.producer(retry_s_max=0.5)
    confirmed = [m.id for m in messages(300)]
    producer.send(messages(300)).result(DEADLINE_S)
    kill("mqtt")
    try:
        with pytest.raises(NotReachableError) as raised:
            producer.send(messages(1, 300)).result(DEADLINE_S)
        assert raised.value.slug == "not-reachable"
    finally:
        restart("mqtt")

    def sent_and_arrived(n: int) -> bool:
        try:
            producer.send(messages(1, n)).result(DEADLINE_S)
        except NotReachableError:
            return False
        confirmed.append(f"e{n}")
        return True

    until(lambda: sent_and_arrived(400), "the producer is back")
    numbers = iter(range(401, 10_000))  # the worker may come back after some
    until(lambda: sent_and_arrived(next(numbers)) and int(worker.ids[-1][1:]) > 400, "the worker is back")
    last = confirmed[-1]
    until(lambda: last in worker.ids, "the last one")
    print(f"mosquitto killed: {len(set(confirmed) - set(worker.ids))} of {len(confirmed)} confirmed messages lost")
    assert caplog.text.count("warning[not-reachable]") == 3  # once for each connection: two that send, one receives


def test_what_a_killed_broker_kept_for_a_worker_that_was_away(rig: Rig) -> None:
    """Counted, not asserted, as above; what is sent afterwards arrives."""
    rig.worker().wire.close()
    rig.producer().send(messages(300)).result(DEADLINE_S)
    kill("mqtt")
    restart("mqtt")
    worker, producer = rig.worker(), rig.producer()
    producer.send(messages(1, 300)).result(DEADLINE_S)
    until(lambda: "e300" in worker.ids, "what is sent now")
    lost = 301 - len(set(worker.ids))
    print(f"mosquitto killed: {lost} of 300 confirmed messages lost that it kept for a worker")
    assert worker.ids == sorted(worker.ids, key=lambda i: int(i[1:]))


def test_a_broker_that_is_not_there() -> None:
    wire = MqttWire(parse("mqtt://user:secret@127.0.0.1:1/topic"))
    with pytest.raises(NotReachableError, match="start the broker") as raised:
        wire.connect()
    assert "secret" not in str(raised.value)
    wire.close()
    wire.close()
    with pytest.raises(NotReachableError):
        wire.send(messages(1)).result(0)


def test_close_ends_what_waits(rig: Rig) -> None:
    producer = rig.producer()
    producer.close()
    producer.close()
    with pytest.raises(NotReachableError, match="closed"):
        producer.send(messages(1)).result(DEADLINE_S)


def test_two_workers_of_one_name_are_told(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.worker(retry_s_max=0.5)
    rig.worker(retry_s_max=0.5)
    until(lambda: "warning[session-taken]" in caplog.text, "the warning")


# -- addresses


def test_urls_that_are_read() -> None:
    read = parse(
        "mqtts://user:p%40ss@host/plant/+device/#?version=3.1.1&client_id=me&session_expiry_s=60&in_flight_max=9"
    )
    assert (read.port, read.tls, read.user, read.password) == (8883, True, "user", "p@ss")
    assert (read.stream, read.version, read.client_id, read.in_flight_max) == ("plant/+device/#", "3.1.1", "me", 9)
    assert read.shown == "mqtts://user:***@host:8883/plant/+device/#"
    assert "p@ss" not in repr(read)
    assert parse("mqtt://[::1]/t").place == "[::1]:1883"
    assert topic_filter("a/+device/+/#") == ("a/+/+/#", {1: "device"})


@pytest.mark.parametrize(
    "url",
    ["mqtt://h", "mqtt://h/", "mqtt:///t", "mqtt://u:hidden@h:x/t", "mqtt://h/$share/g/t", "mqtt://h/a/#/b",
     "mqtt://h/a+/b", "mqtt://h/+1", "mqtt://h/+a/+a", "mqtt://h/t?version=4", "mqtt://h/t?qos=2",
     "mqtt://h/t?in_flight_max=0", "mqtt://h/t?in_flight_max=x", "mqtt://h/t?session_expiry_s=-1", "amqp://u:hidden@h/t"],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(url)
    assert raised.value.slug == "broker-url"
    assert not re.search("hidden", str(raised.value))


def test_a_shared_subscription_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="splits the sequence"):
        parse("mqtt://h/$share/group/topic")


def test_levels_of_a_shorter_topic_fill_nothing() -> None:
    event = Message("i", "/s", "t", 1.0, b'{"a":1}')
    assert with_levels(event, "a", {1: "device"}) == event
