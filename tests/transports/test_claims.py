"""Which store serves a group is noted at the broker: the first one stays, and all who ask are told the same."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from commute.link import discard, parse_url, with_stream
from commute.store.identity import new_identity, shown
from commute.transports.base import Message
from commute.transports.kafka import KafkaWire
from commute.transports.mqtt import MqttWire
from commute.transports.rabbitmq import RabbitmqWire
from tests.brokers import broker_url
from tests.transports.wires import Worker

WIRES: dict[str, Callable[[Any], Any]] = {"rabbitmq": RabbitmqWire, "kafka": KafkaWire, "mqtt": MqttWire}
AT_ONCE = 6


def fresh_url(name: str) -> str:
    return with_stream(broker_url(name) + ("/x" if name == "mqtt" else ""), f"test-{secrets.token_hex(4)}")


def store(name: str) -> str:
    return new_identity(name * 16, "a machine's", "2026-11-25T18:05:39Z")


@pytest.fixture(params=WIRES)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[], Any]]:
    url = fresh_url(request.param)
    yield lambda: WIRES[request.param](parse_url(url).server)
    discard(parse_url(url), "g")


def test_the_first_store_stays_until_it_is_released(make: Callable[[], Any]) -> None:
    a, b = store("a"), store("b")
    assert make().claimed("g") is None
    assert make().claimed("g") is None, "asking has made a claim"
    assert make().claim("g", a) == a
    assert make().claim("g", b) == a
    assert make().claim("g", a) == a
    assert make().claimed("g") == a
    make().release("g")
    assert make().claimed("g") is None
    assert make().claim("g", b) == b
    assert make().claim("g", a) == b


def test_of_many_that_start_at_once_one_is_first(make: Callable[[], Any]) -> None:
    start = threading.Barrier(AT_ONCE)

    def claim(name: str) -> str:
        wire = make()
        start.wait()
        held: str = wire.claim("g", store(name))
        return held

    for _ in range(3):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            held = set(pool.map(claim, "abcdef"))
        assert len(held) == 1, held
        assert held == {make().claimed("g")}
        make().release("g")


@pytest.mark.parametrize("name", ["kafka", "mqtt"])  # a RabbitMQ queue has one group
def test_groups_of_one_stream_have_their_own(name: str) -> None:
    url = fresh_url(name)
    wire = WIRES[name](parse_url(url).server)
    try:
        assert wire.claim("g", store("a")) == store("a")
        assert wire.claim("h +/#é", store("b")) == store("b")
        assert wire.claim("h +/#é", store("a")) == store("b")
    finally:
        discard(parse_url(url), "g")
        discard(parse_url(url), "h +/#é")


def test_what_a_worker_notes_is_no_event_to_one_that_takes_all_topics() -> None:
    noting = MqttWire(parse_url(fresh_url("mqtt")).server)
    all_topics = MqttWire(parse_url(f"{broker_url('mqtt')}/#").server)
    group = secrets.token_hex(4)
    noting.claim("before", store("a"))
    worker = Worker(all_topics, group=group)
    try:
        noting.claim("after", store("a"))
        all_topics.send([Message("last", "/test", "t", 1.5, b"{}")], f"test/{group}").result(10)
        worker.has(1)
        while "last" not in worker.ids:
            worker.has(len(worker.ids) + 1)
        assert not [a for a in worker.arrivals if b"machine" in a.message.data]
    finally:
        all_topics.close()
        all_topics.discard(group)
        noting.discard("before")
        noting.discard("after")


def test_a_queue_of_somebody_else_by_that_name_is_said() -> None:
    import pika

    from commute.errors import UsageError
    from commute.transports.rabbitmq_connection import parameters

    options = parse_url(fresh_url("rabbitmq")).server
    queue = f"{options.stream}.commute-store"
    with pika.BlockingConnection(parameters(options)) as connection:
        connection.channel().queue_declare(queue, durable=True)
        try:
            with pytest.raises(UsageError, match="inequivalent arg"):
                RabbitmqWire(options).claim("g", store("a"))
        finally:
            connection.channel().queue_delete(queue)


def test_what_people_read_of_a_store() -> None:
    assert shown(store("a")) == "store aaaaaaaaaaaaaaaa of machine a_machine_s since 2026-11-25T18:05:39Z"
    assert shown("aaaa/edge") == "store aaaa of machine edge"
    assert shown("?") == "store ?"
    assert len(new_identity("a" * 16, "h" * 300, "2026-11-25T18:05:39Z")) <= 100
