"""What the tests of the RabbitMQ wire share: queues of their own on the real broker, and a worker that remembers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pika

from commute.cloudevents import PlainJson
from commute.transports.rabbitmq import RabbitmqOptions, RabbitmqWire, parse
from tests.transports.proxy import Proxy
from tests.transports.wires import Worker


class Rig:
    """Queues of its own on the broker; what it makes is closed, and the queues deleted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.base = url.rstrip("/")
        self.queue = f"test-{uuid.uuid4().hex[:12]}"
        self.queues = [self.queue]
        self.closers: list[Callable[[], None]] = []

    def options(self, kind: str = "quorum") -> RabbitmqOptions:
        return parse(f"{self.base}/?queue={self.queue}&kind={kind}")

    def worker(
        self,
        options: RabbitmqOptions | None = None,
        *,
        acks: bool = True,
        ahead_max: int = 1_000,
        plain: PlainJson | None = None,
    ) -> Worker[RabbitmqWire]:
        made = Worker(RabbitmqWire(options or self.options(), plain=plain), acks=acks, ahead_max=ahead_max)
        self.closers.append(made.wire.close)
        return made

    def sender(self, options: RabbitmqOptions | None = None) -> RabbitmqWire:
        made = RabbitmqWire(options or self.options())
        self.closers.append(made.close)
        made.connect()
        return made

    def proxy(self) -> Proxy:
        made = Proxy((self.options().host, self.options().port))
        self.closers.append(made.close)
        return made

    def through(self, proxy: Proxy, kind: str = "quorum") -> RabbitmqOptions:
        return replace(self.options(kind), host="127.0.0.1", port=proxy.port, retry_s_max=0.5)

    def channel(self) -> Any:
        """A channel of pika's own blocking client, for what others do to the queue."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        self.closers.append(lambda: connection.close() if connection.is_open else None)
        return connection.channel()

    def counted(self) -> int:
        """Messages ready in the queue."""
        channel = self.channel()
        count: int = channel.queue_declare(self.queue, passive=True).method.message_count
        channel.connection.close()
        return count

    def close(self) -> None:
        for close in self.closers:
            close()
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        for queue in self.queues:
            connection.channel().queue_delete(queue)
        connection.close()
