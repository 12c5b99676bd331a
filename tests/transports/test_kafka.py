"""Kafka, the real one: only contiguous prefixes are committed, and what was confirmed outlives kill -9."""

from __future__ import annotations

import ctypes
import json
import logging
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition, cimpl
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from commute.cloudevents import PlainJson
from commute.errors import NotReachableError, UsageError
from commute.transports.base import Message
from commute.transports.kafka import KafkaWire, parse
from commute.transports.kafka_places import Place
from tests.brokers import broker_url, kill, killable, restart
from tests.transports.kafka_rig import Load, Rig
from tests.transports.wires import DEADLINE_S, assert_structured, messages, names, until


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(broker_url("kafka"))
    yield made
    made.close()


# -- what is sent arrives


def test_messages_arrive_as_they_were_sent(rig: Rig) -> None:
    attributes = {
        "correlationid": "c-1",
        "traceparent": "00-ab-cd-01",
        "subject": "Grüße, 世界 🚃",
        "partitionkey": "k",
    }
    sent = [
        Message("1", "/shop", "order_created", 1_700_000_000.123456, b'{"a": [1, 2.5, null]}', attributes),
        Message("ü" * 200, "urn:x", "type with spaces", 0.0, json.dumps("\u0000\n☃").encode()),
        Message("3", "/shop", "t" * 300, 1.5, b""),
        Message("4", "/shop", "large", 1.5, b'"' + b"x" * 900_000 + b'"'),
        Message("5", "/shop", "no json", 1.5, b"\xff\xfe\x00"),
        Message("6", "/shop", "empty attribute", 1.5, b"null", {"subject": ""}),
    ]
    worker = rig.worker()
    worker.wire.send(sent).result(DEADLINE_S)
    worker.has(len(sent))
    assert [a.message for a in worker.arrivals] == sent


def test_the_binding_is_that_of_cloudevents(rig: Rig) -> None:
    rig.sender().send([Message("1", "/s", "t", 1.5, b"{}", {"partitionkey": "k"})]).result(DEADLINE_S)
    (record,) = rig.records(rig.topic, 1, 1)
    assert record.key() == b"k"
    assert dict(record.headers()) == {
        "ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/s", "ce_type": b"t",
        "ce_time": b"1970-01-01T00:00:01.500000Z", "ce_partitionkey": b"k", "content-type": b"application/json",
    }  # fmt: skip


def test_structured_events_are_documents_that_others_read_and_we_too(rig: Rig) -> None:
    worker = rig.worker()
    sent = [
        Message("1", "/s", "t", 1.5, b'{"n": 1}', {"partitionkey": "k", "subject": "Grüße"}),
        Message("2", "/s", "t", 1.5, b"\xff no json"),
    ]
    rig.sender(parse(f"{rig.base}/{rig.topic}?content=structured")).send(sent).result(DEADLINE_S)
    worker.has(2)
    assert [arrival.message for arrival in worker.arrivals] == sent
    first, second = rig.records(rig.topic, 1, 2)
    assert (first.key(), first.headers()) == (b"k", [("content-type", b"application/cloudevents+json")])
    assert_structured(first.value(), second.value())


def test_many_messages_keep_their_sequence(rig: Rig) -> None:
    sender, worker = rig.sender(), rig.worker()
    futures = [sender.send(messages(100, start)) for start in range(0, 5_000, 100)]
    for future in futures:
        future.result(DEADLINE_S)
    worker.has(5_000)
    assert worker.ids == names(0, 5_000)
    until(lambda: rig.committed() == 5_000, "all of it committed")


def test_another_topic_is_made_when_it_is_missing(rig: Rig) -> None:
    other = f"{rig.topic}-other"
    rig.topics.add(other)
    rig.sender(rig.options(partitions=3)).send(messages(2), to=other).result(DEADLINE_S)
    rig.records(other, 3, 2)
    assert len(rig.admin.list_topics(other, timeout=DEADLINE_S).topics[other].partitions) == 3


def test_a_topic_that_is_there_is_adopted(rig: Rig) -> None:
    rig.admin.create_topics([NewTopic(rig.topic, 2, 1)])[rig.topic].result(DEADLINE_S)
    rig.sender(rig.options(partitions=5)).send(messages(1)).result(DEADLINE_S)
    assert len(rig.admin.list_topics(rig.topic, timeout=DEADLINE_S).topics[rig.topic].partitions) == 2


def test_what_the_broker_finds_too_large_is_told(rig: Rig) -> None:
    with pytest.raises(UsageError, match="too large") as caught:
        rig.sender().send([Message("1", "/s", "t", 1.5, b"x" * 2_000_000)]).result(DEADLINE_S)
    assert caught.value.slug == "too-large"


def test_a_full_queue_of_the_library_makes_the_thread_wait(rig: Rig) -> None:
    """librdkafka takes 100,000 at once; the sender is not held, and nothing is refused."""
    sender = rig.sender(replace(rig.options(), waiting_max=130_000))
    row = Message("1", "/s", "t", 1.5, b"1")
    began = time.monotonic()
    future = sender.send([row] * 130_000)
    handed_over_s = time.monotonic() - began
    future.result(2 * DEADLINE_S)
    assert handed_over_s < time.monotonic() - began
    assert rig.end() == 130_000


def test_too_much_waiting_is_refused(rig: Rig) -> None:
    sender = rig.sender(replace(rig.options(), waiting_max=1_000))
    first = sender.send(messages(1_000))
    second = sender.send(messages(1_000, 1_000))
    with pytest.raises(NotReachableError, match="waiting_max"):
        second.result(DEADLINE_S)
    first.result(DEADLINE_S)
    sender.send(messages(1_000, 1_000)).result(DEADLINE_S)


# -- partitions


def murmur2(data: bytes) -> int:
    """`Utils.murmur2` of Kafka's Java clients, from its published formula, as an unsigned number."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) - len(data) % 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_the_formula_is_javas() -> None:
    """The values that Kafka's own test of `Utils.murmur2` lists (there signed)."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
             b"a-little-bit-longer-string": -1486304829, b"abc": 479470107}  # fmt: skip
    assert {data: murmur2(data) for data in known} == {data: value & 0xFFFFFFFF for data, value in known.items()}


def test_a_partitionkey_lands_where_java_puts_it(rig: Rig) -> None:
    keys = [f"customer-{n}" * (n % 3 + 1) for n in range(100)] + ["", "ü", "a", "ab", "abc"]
    sent = [Message(f"k{n}", "/s", "t", 1.5, b"1", {"partitionkey": key}) for n, key in enumerate(keys)]
    rig.sender(rig.options(partitions=7)).send(sent).result(DEADLINE_S)
    found = {record.key().decode(): record.partition() for record in rig.records(rig.topic, 7, len(keys))}
    assert found == {key: (murmur2(key.encode()) & 0x7FFFFFFF) % 7 for key in keys}
    assert len(set(found.values())) == 7


def test_a_member_that_joins_takes_partitions_and_nothing_is_lost(rig: Rig) -> None:
    options = rig.options(partitions=4)
    first = rig.worker(options)
    keys, count = [f"key{n}-" for n in range(16)], 200  # of these, some go to each partition
    stop = threading.Event()
    sent: dict[str, int] = defaultdict(int)

    def produce() -> None:
        sender = rig.sender(options)
        while not stop.is_set() or min(sent.values()) < count:
            for key in keys:
                sender.send(messages(10, sent[key], key)).result(DEADLINE_S)
                sent[key] += 10

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        first.has(200)
        second = rig.worker(options)
        until(lambda: len(second.arrivals) >= 200, "the second member gets some")
        third = rig.worker(options, acks=False)
        third.has(50)
        third.wire.close()  # it acknowledged nothing: all of it comes again, to the others
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    expected = {f"{key}{n}" for key in keys for n in range(sent[key])}
    until(lambda: set(first.ids) | set(second.ids) >= expected, "everything reached one of those that stayed")
    for worker in (first, second, third):
        stays: dict[Any, list[int]] = defaultdict(list)  # one partition from its assignment to its end
        for arrival in worker.arrivals:
            place, offset = arrival.token.place, arrival.token.offset  # type: ignore[attr-defined]
            stays[place].append(offset)
        assert {place.partition for place in stays} <= set(range(4))
        for offsets in stays.values():
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    ends = [rig.end(partition) for partition in range(4)]
    assert sum(ends) == len(expected) and all(ends)
    until(lambda: [rig.committed("g", p) for p in range(4)] == ends, "all of it committed")


def test_acknowledgements_of_a_partition_that_went_are_ignored(rig: Rig) -> None:
    options = rig.options(partitions=4)
    first = rig.worker(options, acks=False)
    sent = [message for n in range(16) for message in messages(10, 0, f"key{n}-")]
    first.wire.send(sent).result(DEADLINE_S)
    first.has(len(sent))
    second = rig.worker(options, acks=False)
    until(lambda: len({a.token.place for a in second.arrivals}) >= 2, "it takes two of the four")  # type: ignore[attr-defined]
    moved = {a.token.place.partition for a in second.arrivals}  # type: ignore[attr-defined]
    first.ack(*range(len(sent)))
    kept = set(range(4)) - moved
    until(lambda: all(rig.committed("g", p) == rig.end(p) for p in kept), "what stayed is committed")
    first.wire.close()  # a last commit, if it had more
    assert all(rig.committed("g", p) < 0 for p in moved), "what went belongs to the other"


# -- what comes again


def test_only_the_acknowledged_prefix_is_settled(rig: Rig) -> None:
    """Acknowledged out of sequence: what follows the first that is not comes again, and nothing before it."""
    rig.sender().send(messages(20)).result(DEADLINE_S)
    first = rig.worker(acks=False)
    first.has(20)
    first.ack(2, 0, 1, 3, 4, 6, 7, 19)
    until(lambda: rig.committed() == 5, "the prefix is committed while running")
    first.wire.close()
    assert rig.committed() == 5
    second = rig.worker(acks=False)
    second.has(15)
    assert second.ids == names(5, 20)
    second.ack(1, 2, 0)
    second.wire.close()  # owed acknowledgements go out at the end, whatever the interval
    assert rig.committed() == 8


def test_a_token_of_an_earlier_life_commits_nothing(rig: Rig) -> None:
    place = Place(0)
    for offset in (3, 5, 9):  # legal gaps
        place.came(offset)
    assert (place.ack(5), place.watermark, place.unacked) == (True, -1, 2)
    assert (place.ack(3), place.watermark, place.unacked) == (True, 6, 1)
    assert not place.ack(3) and not place.ack(5)
    assert place.drop() == 1
    assert not place.ack(9) and place.watermark == 6


def test_gaps_of_aborted_transactions_are_passed(rig: Rig) -> None:
    producer = Producer({"bootstrap.servers": rig.servers, "transactional.id": rig.topic, "log_level": 0})
    rig.sender().send(messages(1)).result(DEADLINE_S)
    producer.init_transactions(DEADLINE_S)
    for commit in (True, False, True):
        producer.begin_transaction()
        producer.produce(rig.topic, b"%d" % commit)
        producer.flush(DEADLINE_S)  # else an abort takes it back before it was written
        (producer.commit_transaction if commit else producer.abort_transaction)(DEADLINE_S)
    worker = rig.worker()
    worker.has(3)
    assert worker.ids == ["e0", f"{rig.topic}/0/1", f"{rig.topic}/0/5"]
    until(lambda: rig.committed() == 6, "committed over the gaps")


def test_a_group_from_the_end_gets_what_is_sent_from_then_on(rig: Rig) -> None:
    sender = rig.sender()
    sender.send(messages(10)).result(DEADLINE_S)
    first = rig.worker(from_end=True, acks=False)
    until(lambda: rig.committed() == 10, "its place is kept before anything came")
    first.wire.close()
    sender.send(messages(5, 10)).result(DEADLINE_S)
    second = rig.worker(from_end=True)
    second.has(5)
    assert second.ids == names(10, 15)
    late = rig.worker(group="late", from_end=True)
    sender.send(messages(5, 15)).result(DEADLINE_S)  # at once, before partitions are assigned
    late.has(5)
    assert late.ids == names(15, 20)


def test_what_retention_took_is_said(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.sender().send(messages(20)).result(DEADLINE_S)
    first = rig.worker(acks=False)
    first.has(20)
    first.ack(0, 1, 2)
    first.wire.close()
    for future in rig.admin.delete_records([TopicPartition(rig.topic, 0, 12)]).values():
        future.result(DEADLINE_S)
    with caplog.at_level(logging.ERROR, "commute"):
        second = rig.worker()
        second.has(8)
    assert second.ids == names(12, 20)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "error[log-gap]" in line
    assert f"topic {rig.topic}, partition 0: the next offset is 3," in line and "goes on at 12" in line
    until(lambda: rig.committed() == 20, "committed behind the gap")


# -- others' producers


def test_plain_records_have_the_same_identity_each_time(rig: Rig) -> None:
    rig.sender().send([]).result(DEADLINE_S)
    producer = rig.foreign()
    producer.produce(rig.topic, b'{"n":1}')
    producer.produce(rig.topic, b'{"name":"paid","data":{"n":2}}', headers={"trace": None, "x": b"\xff"})
    producer.produce(rig.topic, b"\xff no json")
    producer.produce(rig.topic, None)
    producer.produce(
        rig.topic,
        b'{"specversion":"1.0","id":"s1","source":"/o","type":"t","data":{"n":3}}',
        headers={"content-type": "application/cloudevents+json; charset=utf-8"},
    )
    assert producer.flush(DEADLINE_S) == 0
    first = rig.worker(acks=False)
    first.has(5)
    first.wire.close()
    second = rig.worker(acks=False)
    second.has(5)
    assert [a.message for a in first.arrivals] == [a.message for a in second.arrivals]
    assert second.ids == [*(f"{rig.topic}/0/{n}" for n in range(4)), "s1"]
    assert [a.message.type for a in second.arrivals] == [rig.topic] * 4 + ["t"]
    assert [a.message.data for a in second.arrivals][2:] == [b"\xff no json", b"null", b'{"n":3}']
    named = rig.worker(group="named", plain=PlainJson())
    named.has(5)
    assert (named.arrivals[1].message.type, named.arrivals[1].message.data) == ("paid", b'{"n":2}')


# -- pressure


def test_arrivals_that_nobody_acknowledges_are_bounded(rig: Rig) -> None:
    """The thread polls on while partitions are paused: it stays in the group beyond its session."""
    sender = rig.sender()
    sender.send(messages(3_000)).result(DEADLINE_S)
    worker = rig.worker(replace(rig.options(), session_s=6.0), acks=False, ahead_max=500)
    worker.has(500)
    reading: Any = worker.wire._reading
    until(lambda: reading._paused, "paused")
    end_s = time.monotonic() + 8.0  # longer than the session
    until(lambda: time.monotonic() > end_s or len(worker.arrivals) > 500, "time passes")
    assert worker.ids == names(0, 500)
    worker.ack(*range(200))
    until(lambda: rig.committed() == 200, "commits go out while paused")
    assert reading._paused and worker.ids == names(0, 500), "not before half of them are acknowledged"
    worker.acks = True
    worker.ack(*range(200, 500))
    worker.has(3_000)
    assert worker.ids == names(0, 3_000)
    until(lambda: rig.committed() == 3_000, "all of it committed")


# -- outages


def test_a_killed_broker_loses_nothing_that_was_confirmed(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    killable("kafka")
    worker, load = rig.worker(), Load(rig.sender())
    with caplog.at_level(logging.INFO, "commute"), load:
        try:
            worker.has(2_000)
            kill("kafka")
            until(lambda: "warning[not-reachable]" in caplog.text, "the outage is said")
        finally:
            restart("kafka")
        load.goes_on()
        load.stop()
        until(lambda: set(load.confirmed) <= set(worker.ids), "all that was confirmed arrives", 2 * DEADLINE_S)
        until(lambda: "answers again" in caplog.text, "the end of the outage is said")
    first_seen = list(dict.fromkeys(worker.ids))
    assert first_seen == sorted(first_seen, key=lambda name: int(name[1:])), "the sequence is kept"
    assert caplog.text.count("warning[not-reachable]") <= 4, "said for each change, not for each attempt"


def fail_for_good(wire: KafkaWire) -> None:
    """Have librdkafka's producer fail as when a broker lost what it had confirmed: its library has a call for that."""
    outgoing = wire._outgoing
    assert outgoing is not None
    handle = ctypes.c_void_p.from_address(id(outgoing._producer) + object.__basicsize__)
    fail = ctypes.CDLL(cimpl.__file__).rd_kafka_test_fatal_error
    assert fail(handle, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, b"made by a test") == 0


def test_a_producer_that_fails_for_good_is_replaced(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    sender = rig.sender()
    sender.send(messages(1)).result(DEADLINE_S)
    fail_for_good(sender)
    until(lambda: "failed for good (test_fatal_error: made by a test)" in caplog.text, "it is said while idle")
    sender.send(messages(1, 1)).result(DEADLINE_S)
    assert [record.value() for record in rig.records(rig.topic, 1, 2)] == [b'{"n":0}', b'{"n":1}']


def test_what_was_under_way_in_a_producer_that_fails_is_told(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    killable("kafka")
    sender = rig.sender()
    sender.send(messages(1)).result(DEADLINE_S)
    kill("kafka")  # so that it is under way
    try:
        under_way = [sender.send(messages(1_000, start)) for start in (1, 1_001)]
        until(lambda: len(sender._outgoing._producer) == 2_000, "both are handed over")  # type: ignore[union-attr]
        fail_for_good(sender)
        for future in under_way:
            with pytest.raises(NotReachableError, match=r"failed for good .*sending the same again is harmless"):
                future.result(DEADLINE_S)
    finally:
        restart("kafka")
    sender.send(messages(2_000, 1)).result(DEADLINE_S)
    assert [dict(record.headers())["ce_id"].decode() for record in rig.records(rig.topic, 1, 2_001)] == names(0, 2_001)
    assert caplog.text.count("failed for good") == 1


def test_closing_while_the_broker_is_gone_is_short(rig: Rig) -> None:
    worker = rig.worker()
    worker.wire.send(messages(10)).result(DEADLINE_S)
    worker.has(10)
    kill("kafka")
    try:
        future = worker.wire.send(messages(10, 10))
        began = time.monotonic()
        worker.wire.close()
        took_s = time.monotonic() - began
        with pytest.raises(NotReachableError):
            future.result(DEADLINE_S)
    finally:
        restart("kafka")
    assert took_s < 8, took_s


def test_no_broker_is_said_within_the_limit() -> None:
    with socket.socket() as bound:  # taken, and nobody listens
        bound.bind(("127.0.0.1", 0))
        options = replace(parse(f"kafka://user:secret@127.0.0.1:{bound.getsockname()[1]}/t"), connect_s_max=1.0)
        began = time.monotonic()
        with pytest.raises(NotReachableError, match="is Kafka running") as caught:
            KafkaWire(options).connect()
    assert time.monotonic() - began < 5
    assert "secret" not in str(caught.value) and "***" in str(caught.value)


def test_after_close_nothing_is_taken(rig: Rig) -> None:
    sender = rig.sender()
    sender.close()
    sender.close()
    with pytest.raises(NotReachableError):
        sender.send(messages(1)).result(DEADLINE_S)


# -- URLs


def test_a_url_says_everything() -> None:
    options = parse("kafka://ann:p%40ss@one:1,[::1]/orders.v1?partitions=4&ca_file=ca.pem&instance_id=i")
    assert (options.hosts, options.stream, options.partitions) == (("one:1", "[::1]:9092"), "orders.v1", 4)
    assert (options.user, options.password, options.security) == ("ann", "p@ss", "sasl_ssl")
    assert (options.ca_file, options.instance_id) == ("ca.pem", "i")
    assert options.shown == "kafka://ann:***@one:1,[::1]:9092/orders.v1"
    assert "p@ss" not in repr(options)
    assert parse("kafka://h").stream == "events"
    assert parse("kafka://u:p@h?security=SASL_PLAINTEXT").security == "sasl_plaintext"


@pytest.mark.parametrize(
    "url",
    [
        "kafka://", "kafka:///t", "kafka://h:x/t", "kafka://h:0/t", "kafka://h/a/b", "kafka://h/..", "kafka://h/a b",
        "kafka://h/t?partitions=0", "kafka://h/t?nope=1", "kafka://h/t?security=sasl_ssl", "kafka://h/t#f",
        "kafka://u:secret@h/t?security=ssl", "kafka://h,,g/t", "amqp://u:secret@h/t", "kafka://u:secret#@h/t",
        "kafka://u:secret/@h/t", "kafka://u:secret?@h/t", "kafka://u:/secret@h/t", "kafka://u:x?secret=1@h/t",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="write kafka://") as caught:
        parse(url)
    assert caught.value.slug == "broker-url"
    assert "secret" not in str(caught.value)
