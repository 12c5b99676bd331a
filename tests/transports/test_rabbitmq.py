"""RabbitMQ, the real one: what is confirmed is not lost, and what comes again comes again in sequence."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pika
import pika.exceptions
import pytest

from commute.cloudevents import PlainJson
from commute.errors import NotReachableError, UsageError
from commute.transports.base import Message
from commute.transports.rabbitmq import RabbitmqWire, parse
from tests.brokers import broker_url, kill, killable, restart
from tests.transports.rabbitmq_rig import Rig
from tests.transports.wires import DEADLINE_S, assert_structured, messages, names, until

both_kinds = pytest.mark.parametrize("kind", ["quorum", "classic"])


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(broker_url("rabbitmq"))
    yield made
    made.close()


# -- what is sent arrives


@both_kinds
def test_messages_arrive_as_they_were_sent(rig: Rig, kind: str) -> None:
    attributes = {"correlationid": "c-1", "traceparent": "00-ab-cd-01", "subject": "Grüße, 世界 🚃"}
    sent = [
        Message("1", "/shop", "order_created", 1_700_000_000.123456, b'{"a": [1, 2.5, null]}', attributes),
        Message("ü" * 200, "urn:x", "type with spaces", 0.0, json.dumps("\u0000\n☃").encode()),
        Message("3", "/shop", "t" * 300, 1.5, b""),
        Message("4", "/shop", "large", 1.5, b'"' + b"x" * 3_000_000 + b'"'),
        Message("5", "/shop", "no json", 1.5, b"\xff\xfe\x00"),
    ]
    worker = rig.worker(rig.options(kind))
    worker.wire.send(sent).result(DEADLINE_S)
    worker.has(len(sent))
    assert [a.message for a in worker.arrivals] == sent


@both_kinds
def test_two_sends_arrive_in_sequence_and_in_batches(rig: Rig, kind: str) -> None:
    worker = rig.worker(rig.options(kind))
    wire = rig.sender(rig.options(kind))
    futures = [wire.send(messages(2_500)), wire.send(messages(2_500, 2_500))]
    for future in futures:
        future.result(DEADLINE_S)
    worker.has(5_000)
    assert worker.ids == names(0, 5_000)
    assert worker.batches < 2_500


def test_other_queues_are_declared_at_their_first_message(rig: Rig) -> None:
    other = f"{rig.queue}-other"
    rig.queues.append(other)
    wire = rig.sender()
    wire.send(messages(3), to=other).result(DEADLINE_S)
    worker = rig.worker(replace(rig.options(), stream=other))
    worker.has(3)
    assert worker.ids == names(0, 3)


# -- what comes again


@both_kinds
def test_unsettled_messages_come_again_in_sequence(rig: Rig, kind: str) -> None:
    rig.sender(rig.options(kind)).send(messages(3_000)).result(DEADLINE_S)
    first = rig.worker(rig.options(kind), acks=False, ahead_max=2_000)
    first.has(2_000)
    tokens = [a.token for a in first.arrivals]
    first.wire.ack(tokens[100:200])  # held until those before are acknowledged
    first.wire.ack(tokens[:100])
    first.wire.ack(tokens[200:700])
    first.wire.ack(tokens[900:950])  # and these never go: 700 is missing
    first.wire.close()
    second = rig.worker(rig.options(kind))
    second.has(2_300)
    assert second.ids == names(700, 3_000)


@both_kinds
def test_a_worker_that_stood_by_goes_on_with_the_first_unsettled_message(rig: Rig, kind: str) -> None:
    rig.sender(rig.options(kind)).send(messages(3_000)).result(DEADLINE_S)
    first = rig.worker(rig.options(kind), acks=False, ahead_max=500)
    first.has(500)
    second = rig.worker(rig.options(kind))
    first.wire.ack([a.token for a in first.arrivals[:123]])
    first.has(623)
    assert not second.arrivals
    first.wire.close()
    second.has(3_000 - 123)
    assert second.ids == names(123, 3_000)


@both_kinds
def test_a_broken_connection_is_opened_again_and_nothing_is_overtaken(rig: Rig, kind: str) -> None:
    proxy = rig.proxy()
    rig.sender(rig.options(kind)).send(messages(4_000)).result(DEADLINE_S)
    worker = rig.worker(rig.through(proxy, kind), acks=False, ahead_max=1_000)
    worker.has(1_000)
    stale = [a.token for a in worker.arrivals]
    worker.wire.ack(stale[:300])
    worker.has(1_300)
    proxy.cut()
    until(lambda: len(worker.arrivals) > 1_300, "arrivals after the cut")
    worker.acks = True
    worker.wire.ack(stale)  # of a connection that is gone: nothing happens
    worker.wire.ack([a.token for a in worker.arrivals[1_300:]])
    until(lambda: worker.ids[-1] == "e3999", "the last message")
    assert worker.ids == names(0, 1_300) + names(300, 4_000)


def test_a_channel_that_the_broker_closes_is_opened_again(rig: Rig) -> None:
    """As over an acknowledgement that is owed too long (``consumer_timeout``): PRECONDITION_FAILED."""
    rig.sender().send(messages(50)).result(DEADLINE_S)
    worker = rig.worker(acks=False)
    worker.has(50)
    worker.wire.ack([a.token for a in worker.arrivals[:20]])
    until(lambda: worker.wire._intake is not None and worker.wire._intake._settled == 20, "acknowledged")
    worker.wire._mailbox.post(lambda: worker.wire._intake._channel.basic_ack(1_000_000))  # type: ignore[union-attr]
    worker.has(80)
    assert worker.ids == names(0, 50) + names(20, 50)


def test_headers_that_cannot_be_decoded_stop_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    worker = rig.worker(rig.options())
    worker.wire.send(messages(1)).result(DEADLINE_S)
    worker.has(1)
    properties = pika.BasicProperties(headers={"sent_at": datetime.fromtimestamp(0, UTC), "n": 1})
    with patch("pika.data.calendar.timegm", lambda _: 10**15):  # as a producer does that counts milliseconds
        rig.channel().basic_publish("", rig.queue, b'{"n": 1}', properties)
    worker.wire.send(messages(1, 1)).result(DEADLINE_S)
    worker.has(3)
    assert set(worker.ids) > set(names(0, 2))
    assert b'{"n": 1}' in [arrival.message.data for arrival in worker.arrivals]
    assert "error[invalid-data]" in caplog.text and "went:" not in caplog.text


@both_kinds
def test_a_deleted_queue_is_made_again_and_consumed(rig: Rig, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    worker = rig.worker(replace(rig.options(kind), retry_s_max=0.5))
    worker.wire.send(messages(10)).result(DEADLINE_S)
    worker.has(10)
    rig.channel().queue_delete(rig.queue)
    until(lambda: "it was made again" in caplog.text, "the queue made again")
    rig.sender(rig.options(kind)).send(messages(10, 10)).result(DEADLINE_S)
    worker.has(20)
    assert worker.ids == names(0, 20)
    assert "was the queue deleted?" in caplog.text


@both_kinds
def test_a_queue_deleted_under_load_is_made_again_and_consumed(rig: Rig, kind: str) -> None:
    worker = rig.worker(replace(rig.options(kind), retry_s_max=0.5))
    wire = rig.sender(rig.options(kind))
    wire.send(messages(10)).result(DEADLINE_S)
    worker.has(10)
    rig.channel().queue_delete(rig.queue)
    with pytest.raises(NotReachableError, match=f"no queue '{rig.queue}'"):
        while True:
            wire.send(messages(10, 10)).result(DEADLINE_S)
    wire.send(messages(10, 20)).result(DEADLINE_S)
    until(lambda: worker.ids[-10:] == names(20, 30), "what was sent after it")


def test_a_connection_that_nobody_hears_is_noticed_by_heartbeats(rig: Rig) -> None:
    proxy = rig.proxy()
    worker = rig.worker(replace(rig.through(proxy), heartbeat_s=1))
    worker.wire.send(messages(10)).result(DEADLINE_S)
    worker.has(10)
    proxy.swallow()
    lost = worker.wire.send(messages(1, 10))
    with pytest.raises(NotReachableError, match="sending the same again is harmless"):
        lost.result(DEADLINE_S)
    worker.wire.send(messages(10, 10)).result(DEADLINE_S)
    until(lambda: worker.ids[-10:] == names(10, 20), "what was sent after it")
    assert set(worker.ids) == set(names(0, 20))  # the last acknowledgement was perhaps not heard either


# -- queues of others


def test_a_queue_of_others_is_adopted_with_their_messages(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    channel = rig.channel()
    channel.queue_declare(rig.queue, durable=True)
    body = b'{"name": "send_mail", "data": {"to": "a@example.org"}}'
    channel.basic_publish("", rig.queue, body)
    channel.basic_publish("", rig.queue, body, pika.BasicProperties(message_id="m-1", timestamp=1_700_000_000))
    channel.basic_publish("", rig.queue, b"\x80 no json", pika.BasicProperties(headers={"n": 1}))
    worker = rig.worker(plain=PlainJson())
    worker.has(3)
    first, second, third = (a.message for a in worker.arrivals)
    assert (first.type, first.data) == ("send_mail", b'{"to": "a@example.org"}')
    assert len(first.id) == 32
    assert (second.id, second.time_s) == ("m-1", 1_700_000_000.0)
    assert (third.type, third.data) == (rig.queue, b"\x80 no json")
    worker.wire.send(messages(1)).result(DEADLINE_S)
    worker.has(4)
    said = [r.getMessage() for r in caplog.records if "warning[queue]" in r.getMessage()]
    assert len(said) == 1
    assert "is used as it is" in said[0] and "workers share it" in said[0] and "type is classic, not quorum" in said[0]


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"durable": False}, "it is not durable"),
        ({"durable": True, "auto_delete": True}, "it is deleted with its messages"),
        ({"durable": True, "arguments": {"x-queue-type": "quorum", "x-max-length": 9}}, "its x-max-length is 9"),
    ],
)
def test_what_an_adopted_queue_promises_less_is_said(
    rig: Rig, caplog: pytest.LogCaptureFixture, declared: dict[str, Any], told: str
) -> None:
    rig.channel().queue_declare(rig.queue, **declared)
    worker = rig.worker()
    worker.wire.send(messages(2)).result(DEADLINE_S)
    worker.has(2)
    assert told in caplog.text


def test_the_type_of_plain_json_may_be_in_a_header_or_in_amqps_own_field(rig: Rig) -> None:
    worker = rig.worker(plain=PlainJson(type=None, data=None, header="type"))
    worker.wire.send(messages(1)).result(DEADLINE_S)  # the queue is there
    channel = rig.channel()
    for properties in (
        pika.BasicProperties(headers={"type": "in_header"}),
        pika.BasicProperties(type="in_field"),
        pika.BasicProperties(type="in_field", headers={"type": "in_header"}),
        pika.BasicProperties(),
    ):
        channel.basic_publish("", rig.queue, b'{"n": 1}', properties)
    worker.has(5)
    found = [(arrival.message.type, arrival.message.data) for arrival in worker.arrivals[1:]]
    assert found == [(type_, b'{"n": 1}') for type_ in ("in_header", "in_field", "in_header", rig.queue)]


def test_a_stream_is_no_queue(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.channel().queue_declare(rig.queue, durable=True, arguments={"x-queue-type": "stream"})
    with pytest.raises(UsageError, match="is a stream"):
        rig.sender().send(messages(1)).result(DEADLINE_S)


def test_cloudevents_of_others_have_typed_headers_and_another_prefix(rig: Rig) -> None:
    worker = rig.worker()
    worker.wire.send(messages(1)).result(DEADLINE_S)  # the queue is there
    headers = {"specversion": "1.0", "id": 17, "type": "paid", "source": "/x", "again": True, "part": b"b", "no": None}
    properties = pika.BasicProperties(headers={f"cloudEvents:{name}": value for name, value in headers.items()})
    rig.channel().basic_publish("", rig.queue, b"{}", properties)
    worker.has(2)
    message = worker.arrivals[1].message
    assert (message.id, message.source, message.type) == ("17", "/x", "paid")
    assert message.attributes == {"again": "true", "part": "b"}


# -- what cannot be sent


def test_a_message_for_a_queue_that_went_away_fails_and_the_next_declares_it(rig: Rig) -> None:
    wire = rig.sender()
    wire.send(messages(1)).result(DEADLINE_S)
    rig.channel().queue_delete(rig.queue)
    with pytest.raises(NotReachableError, match=f"no queue '{rig.queue}'"):
        wire.send(messages(2_500)).result(DEADLINE_S)
    wire.send(messages(7)).result(DEADLINE_S)
    assert rig.counted() == 7


def test_a_full_queue_that_refuses_fails_the_send(rig: Rig) -> None:
    arguments = {"x-queue-type": "classic", "x-max-length": 2, "x-overflow": "reject-publish"}
    rig.channel().queue_declare(rig.queue, durable=True, arguments=arguments)
    wire = rig.sender(replace(rig.options("classic"), nack_retries_max=2))
    wire.send(messages(2)).result(DEADLINE_S)
    with pytest.raises(NotReachableError, match=f"queue '{rig.queue}', 3 times: it is full"):
        wire.send(messages(3)).result(DEADLINE_S)


def test_what_is_refused_for_a_while_is_sent_again_in_sequence(rig: Rig) -> None:
    """As by a quorum queue that has no leader yet: here a queue that is full until somebody takes from it."""
    arguments = {"x-queue-type": "classic", "x-max-length": 2, "x-overflow": "reject-publish"}
    rig.channel().queue_declare(rig.queue, durable=True, arguments=arguments)
    other = f"{rig.queue}-other"
    rig.queues.append(other)
    wire = rig.sender(replace(rig.options("classic"), nack_retries_max=1_000, retry_s_min=0.5, retry_s_max=0.5))
    wire.send(messages(2)).result(DEADLINE_S)
    refused = wire.send(messages(2, 2))
    outlets = wire._outlets._outlets
    until(lambda: len(outlets[rig.queue].refused) == 2, "the refusal of both")
    wire.send(messages(5), other).result(DEADLINE_S)  # another queue waits for nothing
    assert not refused.done()
    channel = rig.channel()
    assert [channel.basic_get(rig.queue, auto_ack=True)[2] for _ in range(2)] == [b'{"n":0}', b'{"n":1}']
    later = wire.send(messages(2, 4))  # there is room for these now
    worker = rig.worker(rig.options("classic"))
    refused.result(DEADLINE_S)
    later.result(DEADLINE_S)
    worker.has(4)
    assert worker.ids == names(2, 6)


def test_what_waits_in_this_process_is_bounded_and_sent_over_the_next_connection(rig: Rig) -> None:
    proxy = rig.proxy()
    wire = rig.sender(replace(rig.through(proxy), waiting_max=20, in_flight_max=5, retry_s_min=0.5))
    wire.send(messages(1)).result(DEADLINE_S)
    proxy.swallow()
    written = wire.send(messages(5))  # as many as may be unconfirmed: the next have to wait
    waiting = wire.send(messages(15, 100))
    with pytest.raises(NotReachableError, match="20 messages wait"):
        wire.send(messages(1, 200)).result(DEADLINE_S)
    proxy.cut()
    with pytest.raises(NotReachableError, match="harmless"):
        written.result(DEADLINE_S)
    waiting.result(DEADLINE_S)
    assert rig.counted() == 16


def test_what_no_frame_can_hold_is_refused_at_once(rig: Rig) -> None:
    wire = rig.sender()
    for attributes, slug in (({"a" * 300: "x"}, "invalid-text"), ({"a": "\ud800"}, "invalid-text"),
                             ({"a": "x" * 140_000}, "too-large")):  # fmt: skip
        with pytest.raises(UsageError) as refused:
            wire.send([Message("1", "/s", "t", 1.5, b"1", attributes)])
        assert refused.value.slug == slug
    wire.send(messages(1)).result(DEADLINE_S)


def test_closing_fails_what_is_not_confirmed_and_sends_nothing_more(rig: Rig) -> None:
    proxy = rig.proxy()
    wire = rig.sender(replace(rig.through(proxy), close_s_max=0.5))
    wire.send(messages(1)).result(DEADLINE_S)
    proxy.swallow()
    future = wire.send(messages(1))
    wire.close()
    wire.close()
    for failed in (future, wire.send(messages(1))):
        with pytest.raises(NotReachableError, match="was closed"):
            failed.result(0)
    assert "commute rabbitmq" not in [thread.name for thread in threading.enumerate()]


def test_closing_does_not_wait_for_a_server_that_says_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        wire = RabbitmqWire(replace(rig.options(), host="127.0.0.1", port=mute.getsockname()[1]))
        threading.Timer(0.2, wire.close).start()
        with pytest.raises(NotReachableError, match="Normal shutdown"):
            wire.connect()
        wire.close()
    assert "error[" not in caplog.text


# -- the broker dies


@both_kinds
def test_no_confirmed_message_is_lost_when_the_broker_is_killed_under_load(rig: Rig, kind: str) -> None:
    killable("rabbitmq")
    wire = rig.sender(replace(rig.options(kind), retry_s_max=1.0))
    wire.send(messages(50)).result(DEADLINE_S)  # who makes a queue waits until a kill would spare it
    worker = rig.worker(replace(rig.options(kind), retry_s_max=1.0))
    confirmed: set[str] = set()
    stop = threading.Event()

    def produce() -> None:
        for start in itertools.count(0, 50):
            batch = messages(50, start)
            while True:  # the same ids until they are confirmed
                future: Future[None] = wire.send(batch)
                try:
                    future.result(4 * DEADLINE_S)
                except NotReachableError:
                    continue
                break
            confirmed.update(m.id for m in batch)
            if stop.is_set():
                return

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    until(lambda: len(confirmed) > 5_000, "load")
    kill("rabbitmq")
    before = len(confirmed)
    restart("rabbitmq")
    until(lambda: len(confirmed) > before + 2_000, "load after the restart", 4 * DEADLINE_S)
    stop.set()
    producer.join(DEADLINE_S)
    until(lambda: confirmed <= set(worker.ids), "all that was confirmed", 2 * DEADLINE_S)
    seen: dict[str, None] = dict.fromkeys(worker.ids)
    assert list(seen) == names(0, len(seen))  # first arrivals in the sequence of sending


def test_what_a_new_queue_confirms_outlives_a_kill_at_once(rig: Rig) -> None:
    """A quorum queue whose files RabbitMQ has not noted yet would begin anew, and be empty."""
    rig.queues.append(f"{rig.queue}-newer")
    for queue in rig.queues:
        rig.sender(replace(rig.options(), stream=queue)).send(messages(50)).result(DEADLINE_S)
    kill("rabbitmq")
    restart("rabbitmq")
    for queue in rig.queues:
        worker = rig.worker(replace(rig.options(), stream=queue, retry_s_max=0.5))
        worker.has(50)
        assert worker.ids[:50] == names(0, 50)


# -- a wrong address


def test_a_broker_that_is_not_there_or_refuses_the_user_is_said(rig: Rig) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        nobody = found.getsockname()[1]
    wire = RabbitmqWire(replace(rig.options(), host="127.0.0.1", port=nobody))
    with pytest.raises(NotReachableError, match="is RabbitMQ running"):
        wire.connect()
    wire.close()
    for wrong in ({"password": "s3cret"}, {"vhost": "nowhere"}):
        with pytest.raises(UsageError, match="refuses the user or the virtual host") as refused:
            RabbitmqWire(replace(rig.options(), **wrong)).connect()  # type: ignore[arg-type]
        assert "s3cret" not in str(refused.value)


def test_structured_events_are_documents_that_others_read_and_we_too(rig: Rig) -> None:
    sent = [
        Message("1", "/s", "t", 1.5, b'{"n": 1}', {"partitionkey": "k", "subject": "Grüße"}),
        Message("2", "/s", "t", 1.5, b"\xff no json"),
    ]
    channel = rig.channel()
    sender = rig.sender(parse(f"{rig.base}/?queue={rig.queue}&content=structured"))
    sender.send(sent).result(DEADLINE_S)
    found = list(itertools.islice(channel.consume(rig.queue, auto_ack=True, inactivity_timeout=DEADLINE_S), 2))
    channel.cancel()
    sender.send(sent).result(DEADLINE_S)
    assert {(each[1].content_type, *(each[1].headers or {})) for each in found} == {("application/cloudevents+json",)}
    assert [each[1].message_id for each in found] == ["1", "2"]
    assert_structured(*(each[2] for each in found))
    worker = rig.worker()
    until(lambda: len(worker.arrivals) == 2, "arrivals")
    assert [arrival.message for arrival in worker.arrivals] == sent


def test_another_content_is_refused() -> None:
    with pytest.raises(UsageError, match="content is binary or structured"):
        parse("amqp://127.0.0.1/?content=json")
