"""What our layers cost beside a bare loop of the same client: RabbitMQ by pika, Kafka by confluent-kafka, in one run.

    raw       the client's own loop: the same bodies and CloudEvents headers, made before the clock starts; all
              confirmed (Kafka: idempotent, acks=all), consumed with prefix acknowledgements (Kafka: commits in time)
    wire      the same through our client alone: messages to headers and back, reconnect, bounds
    journal   the transport that an app has: publishing confirmed, consuming journalled with sync, received and settled
    app       all of it, consuming only: typed events, two keys each, to a handler that does nothing

Rounds are interleaved, each with queues or topics of its own (one partition), which are deleted. Consumers read what a
raw loop published, from the first hand-over to the last; a raw consumer takes body and headers of each message.
Ratios are within a round, and the medians over the rounds are printed. Events have about 200 bytes of JSON;
those of a batch have one time, as publish_many has it.

    python benchmarks/brokers.py [--events 20000] [--rounds 5] [--broker rabbitmq-quorum] [--json]

Where they are: --rabbitmq, --kafka, or COMMUTE_TEST_RABBITMQ, COMMUTE_TEST_KAFKA.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from commute import App, Event, cloudevents, link
from commute.errors import CommuteError
from commute.limits import Limits
from commute.transports.base import Message
from commute.transports.journal import AHEAD_MAX
from commute.transports.wire import Arrival, Wire

BATCH = 500
SENDS = 100  # batches of ours that may wait for their confirmation at once; the raw Kafka loop has 100,000 messages
IN_FLIGHT = 1_000  # messages of the raw RabbitMQ loop: the wire's own default
KAFKA_TIMES = 5  # as many events: it is that much faster
COMMIT_S = 0.25
LIMIT_S = 120.0  # of one measurement; then something is broken
BROKERS = ("rabbitmq-quorum", "rabbitmq-classic", "kafka")
RESULTS = ("publish", "consume")
LAYERS = {"publish": ("raw", "wire", "journal"), "consume": ("raw", "wire", "journal", "app")}


def make_messages(count: int) -> list[Message]:
    run, pad = uuid.uuid4().hex[:16], "x" * 96
    return [
        Message(
            f"01J9A{run}{n:06d}", "/shop", "order_created", 1.75e9 + n // BATCH / 7,  # a batch has one time
            b'{"order_id":%d,"customer_id":%d,"sku":"tea-%03d","quantity":2,"note":"%s"}'
            % (n, n % 20_000, n % 500, pad.encode()),
            {"correlationid": f"01J9A{run}{n:06d}"},
        )
        for n in range(count)
    ]  # fmt: skip


def batches(messages: Sequence[Message]) -> list[Sequence[Message]]:
    return [messages[begin : begin + BATCH] for begin in range(0, len(messages), BATCH)]


class Rate:
    """Events a second between the first batch, which is not counted, and the last."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._seen = self._first = 0
        self._began_s = 0.0
        self.per_s = 0.0
        self.done = threading.Event()

    def saw(self, count: int) -> bool:
        """So many more; whether these were the last."""
        if not self._seen:
            self._began_s, self._first = time.perf_counter(), count
        self._seen += count
        if self._seen < self._events:
            return False
        self.per_s = (self._events - self._first) / (time.perf_counter() - self._began_s)
        self.done.set()
        return True

    def wait(self) -> float:
        if not self.done.wait(LIMIT_S):
            raise SystemExit(f"only {self._seen} of {self._events} events came within {LIMIT_S:.0f} s")
        return self.per_s


class RawKafka:
    """What a careful program without us does with confluent-kafka."""

    def __init__(self, url: str) -> None:
        options = link.parse_url(url).server
        self._topic = options.stream
        self._client = {"bootstrap.servers": ",".join(options.hosts), "log_level": 0}

    def publish(self, messages: Sequence[Message]) -> float:
        from confluent_kafka import Producer

        topic, left = self._topic, len(messages) - 1
        rows: list[tuple[bytes, list[tuple[str, str | bytes | None]]]] = [
            (m.data, [
                *((name, value.encode()) for name, value in cloudevents.headers_of(m, "ce_").items()),
                ("content-type", b"application/json"),
            ])
            for m in messages
        ]  # fmt: skip

        def reported(error: object, _record: object) -> None:
            nonlocal left
            assert error is None
            left -= 1

        producer = Producer({**self._client, "enable.idempotence": True, "acks": "all", "linger.ms": 2})
        producer.produce(topic, rows[0][0], headers=rows[0][1])
        producer.flush(LIMIT_S)  # connected, and has its identity
        began_s = time.perf_counter()
        for number, (value, headers) in enumerate(rows[1:]):
            producer.produce(topic, value, headers=headers, on_delivery=reported)
            if number % BATCH == 0:
                producer.poll(0)
        producer.flush(LIMIT_S)
        taken_s = time.perf_counter() - began_s
        assert not left
        return (len(messages) - 1) / taken_s

    def consume(self, events: int) -> float:
        from confluent_kafka import Consumer

        consumer = Consumer({
            **self._client, "group.id": f"raw-{self._topic}", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "session.timeout.ms": 10_000,
        })  # fmt: skip
        consumer.subscribe([self._topic])
        rate, commit_at_s, over_s = Rate(events), 0.0, time.monotonic() + LIMIT_S
        while not rate.done.is_set() and time.monotonic() < over_s:
            taken = [
                (record.value(), record.headers())
                for record in consumer.consume(BATCH, 0.1)
                if record.error() is None
            ]  # fmt: skip
            if taken and not rate.saw(len(taken)) and time.monotonic() >= commit_at_s:
                consumer.commit(asynchronous=True)
                commit_at_s = time.monotonic() + COMMIT_S
        consumer.close()
        return rate.wait()


class RawRabbitmq:
    """What a careful program without us does with pika's fastest adapter: 1,000 unconfirmed, one prefix ack a turn."""

    def __init__(self, url: str) -> None:
        import pika

        options = link.parse_url(url).server
        self._queue = options.stream
        self._parameters = pika.ConnectionParameters(
            options.host, options.port, options.vhost, pika.PlainCredentials(options.user, options.password)
        )

    def _run(self, opened: Callable[[Any, Any], None]) -> None:
        """Connect, open a channel, and run the loop until `opened`'s callbacks close the connection."""
        import pika

        connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=lambda made: made.channel(on_open_callback=lambda channel: opened(made, channel)),
            on_close_callback=lambda made, _reason: made.ioloop.stop(),
        )
        connection.ioloop.start()

    def publish(self, messages: Sequence[Message]) -> float:
        import pika

        rows = [
            (m.data, pika.BasicProperties(
                content_type="application/json", headers=cloudevents.headers_of(m, "cloudEvents_"), delivery_mode=2,
                message_id=m.id, type=m.type, timestamp=int(m.time_s),
            ))
            for m in messages
        ]  # fmt: skip
        taken_s = 0.0

        def opened(connection: Any, channel: Any) -> None:
            sent = confirmed = 0
            began_s = 0.0

            def pump() -> None:
                nonlocal sent
                while sent < len(rows) and sent - confirmed < IN_FLIGHT:
                    body, properties = rows[sent]
                    channel.basic_publish("", self._queue, body, properties, mandatory=True)
                    sent += 1

            def on_confirm(frame: Any) -> None:
                nonlocal confirmed, taken_s
                assert frame.method.NAME == "Basic.Ack"
                confirmed = frame.method.delivery_tag if frame.method.multiple else confirmed + 1
                if confirmed == len(rows):
                    taken_s = time.perf_counter() - began_s
                    connection.close()
                else:
                    pump()

            def ready(_frame: Any) -> None:
                nonlocal began_s
                began_s = time.perf_counter()
                pump()

            channel.confirm_delivery(on_confirm, callback=ready)

        self._run(opened)
        return len(messages) / taken_s

    def consume(self, events: int) -> float:
        rate = Rate(events)

        def opened(connection: Any, channel: Any) -> None:
            batch: list[tuple[bytes, object]] = []
            last = 0

            def delivered(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
                nonlocal last
                if not batch:
                    connection.ioloop.add_callback(turn)
                batch.append((body, properties.headers))
                last = method.delivery_tag

            def turn() -> None:
                channel.basic_ack(last, multiple=True)
                if rate.saw(len(batch)):
                    connection.close()
                batch.clear()

            channel.basic_qos(prefetch_count=AHEAD_MAX)
            channel.basic_consume(self._queue, delivered)

        self._run(opened)
        return rate.wait()


def wire_publish(wire: Wire, messages: Sequence[Message]) -> float:
    """Events a second through `send`, with `SENDS` batches at once."""
    waiting: deque[Future[None]] = deque()
    began_s = time.perf_counter()
    for batch in batches(messages):
        waiting.append(wire.send(batch))
        if len(waiting) == SENDS:
            waiting.popleft().result(LIMIT_S)
    for future in waiting:
        future.result(LIMIT_S)
    return len(messages) / (time.perf_counter() - began_s)


def wire_consume(wire: Wire, events: int) -> float:
    """Events a second through `consume` and `ack`."""
    rate = Rate(events)

    def arrived(batch: Sequence[Arrival]) -> None:
        wire.ack([arrival.token for arrival in batch])
        rate.saw(len(batch))

    wire.consume("bench", arrived, ahead_max=AHEAD_MAX)
    return rate.wait()


async def journal_publish(opened: link.Link, messages: Sequence[Message]) -> float:
    """Events a second through the transport's `send`, with `SENDS` batches at once."""
    transport = opened.transport()
    sends = asyncio.Semaphore(SENDS)

    async def send(batch: Sequence[Message]) -> None:
        async with sends:
            await transport.send(batch)

    await transport.open(None)
    began_s = time.perf_counter()
    await asyncio.gather(*map(send, batches(messages)))
    taken_s = time.perf_counter() - began_s
    await transport.close()
    return len(messages) / taken_s


async def journal_consume(opened: link.Link, events: int) -> float:
    """Events a second from the broker through the journal to `receive`, settled."""
    transport = opened.transport()
    await transport.open("bench")
    rate = Rate(events)
    async with asyncio.timeout(LIMIT_S):
        last = False
        while not last:
            deliveries = await transport.receive(BATCH)
            transport.settle([delivery.handle for delivery in deliveries])
            last = rate.saw(len(deliveries))
    await transport.close()
    return rate.per_s


class OrderCreated(Event):
    order_id: int
    customer_id: int
    sku: str
    quantity: int
    note: str


async def app_consume(url: str, path: Path, events: int) -> float:
    """Events a second that an app hands to its handler, from the first to the last."""
    app: App[None] = App("bench", url, db=f"sqlite:///{path}")
    rate, loop, last = Rate(events), asyncio.get_running_loop(), asyncio.Event()

    @app.on(OrderCreated, writes=("order/{order_id}", "customer/{customer_id}"))
    async def handle(event: OrderCreated) -> None:
        if rate.saw(1):
            loop.call_soon(last.set)

    async with asyncio.timeout(LIMIT_S), app.running():
        await last.wait()
    return rate.per_s


def measured(base: str, layer: str, kind: str, messages: Sequence[Message], directory: Path) -> float:
    """Events a second that the layer publishes to, or consumes from, a stream of its own."""
    url = link.with_stream(base, f"bench-{uuid.uuid4().hex[:12]}")
    raw = RawKafka(url) if url.startswith("kafka") else RawRabbitmq(url)
    path = directory / f"{uuid.uuid4().hex}.db"
    parsed = link.parse_url(url, str(path))
    opened = link.Link.open(parsed, None, Limits(), reader="bench")
    sender = opened.sender()
    assert sender is not None
    try:
        wire = sender()
        wire.send(messages[:1]).result(LIMIT_S)  # makes the stream, and the client is connected
        if kind == "publish":
            if layer == "raw":
                return raw.publish(messages[1:])
            if layer == "wire":
                return wire_publish(wire, messages[1:])
            return asyncio.run(journal_publish(opened, messages[1:]))
        raw.publish(messages[1:])
        if layer == "raw":
            return raw.consume(len(messages))
        if layer == "wire":
            return wire_consume(wire, len(messages))
        if layer == "app":
            return asyncio.run(app_consume(url, path, len(messages)))
        return asyncio.run(journal_consume(opened, len(messages)))
    finally:
        opened.close()
        link.discard(parsed, "bench")


def measure(name: str, base: str, asked: argparse.Namespace, directory: Path) -> dict[str, float]:
    events = asked.events * (KAFKA_TIMES if name == "kafka" else 1)
    found: dict[str, list[float]] = {f"{kind} {layer}": [] for kind in RESULTS for layer in LAYERS[kind]}
    for number in range(asked.rounds):
        for kind in RESULTS:
            # Whoever comes first meets a broker that still deletes the stream before; so each is first in turn.
            first = number % len(LAYERS[kind])
            for layer in LAYERS[kind][first:] + LAYERS[kind][:first]:
                found[f"{kind} {layer}"].append(measured(base, layer, kind, make_messages(events), directory))
        shown = ", ".join(f"{what} {values[-1]:,.0f}/s" for what, values in found.items())
        print(f"  {name}, round {number + 1}: {shown}", file=sys.stderr)
    result: dict[str, float] = {}
    for what, values in found.items():
        kind, layer = what.split()
        result[f"{name}_{kind}_{layer}_per_s"] = round(statistics.median(values))
        if layer != "raw":
            ratios = [ours / raw for ours, raw in zip(values, found[f"{kind} raw"], strict=True)]
            result[f"{name}_{kind}_{layer}_to_raw"] = round(statistics.median(ratios), 3)
    return result


def ask() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="example: python benchmarks/brokers.py --broker kafka --kafka kafka://localhost:9092 --rounds 3",
    )
    parser.add_argument("--events", type=int, default=20_000, help=f"Kafka gets {KAFKA_TIMES} times as many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--broker", choices=BROKERS, action="append", help="only this one; may be repeated")
    parser.add_argument("--rabbitmq", default=os.environ.get("COMMUTE_TEST_RABBITMQ"), metavar="URL")
    parser.add_argument("--kafka", default=os.environ.get("COMMUTE_TEST_KAFKA"), metavar="URL")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    return parser.parse_args()


def address(name: str, asked: argparse.Namespace) -> str | None:
    """Where that broker is, as its URL; None and a sentence where it is not."""
    server, _, kind = name.partition("-")
    url: str | None = getattr(asked, server)
    if not url:
        print(f"{name} is left out: give --{server} URL, or set COMMUTE_TEST_{server.upper()}", file=sys.stderr)
        return None
    if kind:
        url += f"{'&' if '?' in url else '?'}kind={kind}"
    wire = link.Link.open(link.parse_url(url), None, Limits()).sender()
    assert wire is not None
    try:
        wire()
    except CommuteError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None
    finally:
        wire.close()
    return url


def main() -> int:
    asked = ask()
    logging.basicConfig(level=logging.ERROR)
    result: dict[str, float] = {"events": asked.events}
    for name in asked.broker or BROKERS:
        url = address(name, asked)
        if url is not None:
            with tempfile.TemporaryDirectory() as directory:
                result |= measure(name, url, asked, Path(directory))
    if asked.json:
        print(json.dumps(result))
        return 0
    for name, value in result.items():
        print(f"{name:38} {value:,}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
