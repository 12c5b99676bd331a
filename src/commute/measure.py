"""What a broker does on this machine: confirmed publishing, consuming, latency. A choice of broker by figures.

Measured through the same transport that an app gets, journal and syncs included, with no handler behind it: an app's
own figures are lower by what its handlers and the schedule take.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from commute.errors import UsageError
from commute.limits import Limits
from commute.link import Link, discard, parse_url, with_stream
from commute.transports.base import Message, Transport
from commute.transports.memory import MemoryBroker

BATCH_EVENTS = 500
BATCHES_AT_ONCE = 8  # confirmed publishing is measured with many in flight
SINGLES = 200  # events that are sent one after the other
RECEIVE_EVENTS = 1_000
READER = "commute-bench"
Progress = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True, slots=True)
class Measured:
    """Events a second, and milliseconds from the call of `send` to the delivery of a lone event."""

    broker: str
    events: int
    size_bytes: int
    publish_per_s: float
    publish_singly_per_s: float
    consume_per_s: float
    latency_ms_p50: float
    latency_ms_p99: float


async def measure(url_text: str, events: int, size_bytes: int, progress: Progress) -> Measured:
    """Run all measurements; about `events` times 100 µs and a second. Raises NotReachableError, UsageError.

    A file of the embedded broker is a temporary one beside the one that is named, so that the same disk is measured.
    """
    async with _opened(url_text) as (name, make):
        producer, consumer = make(), make()
        await producer.open(None)
        queued = producer.features.queued
        if not queued:
            await consumer.open("bench")
        began_s = time.perf_counter()
        sending = asyncio.create_task(_publish(producer, _messages(events, size_bytes), progress))
        if queued:
            await sending
            publish_s = time.perf_counter() - began_s
            began_s = time.perf_counter()
            await consumer.open("bench")
        await _consume(consumer, events, progress)
        consume_s = time.perf_counter() - began_s
        if not queued:  # nobody keeps what nobody takes: both are one figure there
            await sending
            publish_s = time.perf_counter() - began_s
        waits_s, singly_s = await _one_by_one(producer, consumer, size_bytes, progress)
        await consumer.close()
        await producer.close()
    return Measured(
        broker=name,
        events=events,
        size_bytes=size_bytes,
        publish_per_s=round(events / publish_s, 1),
        publish_singly_per_s=round(SINGLES / singly_s, 1),
        consume_per_s=round(events / consume_s, 1),
        latency_ms_p50=round(1000 * median(waits_s), 3),
        latency_ms_p99=round(1000 * quantiles(waits_s, n=100)[98], 3),
    )


@asynccontextmanager
async def _opened(text: str) -> AsyncIterator[tuple[str, Callable[[], Transport]]]:
    url = parse_url(text)
    near = None if url.path is None else Path(url.path).parent
    if near is not None and not near.is_dir():
        raise UsageError(
            f"{url.text}: there is no directory {near}, so nothing can be measured there", slug="no-directory"
        )
    with tempfile.TemporaryDirectory(prefix="commute-bench-", dir=near) as folder:
        file = str(Path(folder) / "bench.db")
        if url.server is not None:
            url = parse_url(with_stream(text, f"commute-bench-{secrets.token_hex(4)}"), file)
        elif url.path is not None:
            url = parse_url(f"sqlite:///{file}")
        link = await asyncio.to_thread(Link.open, url, None, Limits(), MemoryBroker(), reader=READER)
        try:
            yield url.text, link.transport
        finally:
            await asyncio.to_thread(link.close)
            await asyncio.to_thread(discard, url, READER)


def _messages(events: int, size_bytes: int) -> Sequence[Message]:
    data = b'{"x":"%s"}' % (b"x" * max(0, size_bytes - 8))
    return [Message(f"bench-{n}", "/bench", "bench", float(n), data) for n in range(events)]


async def _publish(producer: Transport, messages: Sequence[Message], progress: Progress) -> None:
    starts = iter(range(0, len(messages), BATCH_EVENTS))
    done = 0

    async def send() -> None:
        nonlocal done
        for start in starts:
            batch = messages[start : start + BATCH_EVENTS]
            await producer.send(batch)
            done += len(batch)
            progress("publish", done, len(messages))

    await asyncio.gather(*(send() for _ in range(BATCHES_AT_ONCE)))


async def _consume(consumer: Transport, events: int, progress: Progress) -> None:
    left = events
    while left > 0:
        deliveries = await consumer.receive(RECEIVE_EVENTS)
        consumer.settle([delivery.handle for delivery in deliveries])
        left -= len(deliveries)
        progress("consume", events - left, events)


async def _one_by_one(
    producer: Transport, consumer: Transport, size_bytes: int, progress: Progress
) -> tuple[list[float], float]:
    waits_s, sending_s = [], 0.0
    for number, message in enumerate(_messages(SINGLES, size_bytes), 1):
        alone = Message(f"single-{number}", message.source, message.type, message.time_s, message.data)
        began_s = time.perf_counter()
        arriving = asyncio.ensure_future(consumer.receive(1))
        await producer.send([alone])
        sending_s += time.perf_counter() - began_s
        consumer.settle([delivery.handle for delivery in await arriving])
        waits_s.append(time.perf_counter() - began_s)
        progress("latency", number, SINGLES)
    return waits_s, sending_s
