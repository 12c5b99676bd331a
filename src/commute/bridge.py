"""Store and forward: from any stream to any other, in sequence, over days without a link.

    FROM ──▶ journal (SQLite file) or SQLite log ──▶ batch ──▶ TO: confirmed ──▶ settled in the journal ──▶ next batch

What a broker server brings is journalled before it is acknowledged, as for any worker; a batch is settled after the
target has confirmed all of it. A batch that failed is sent again as it was, so what arrives twice has one identity and
is found by the receiving journal. Payloads and attributes pass as they are; nothing is decoded.

Invariants: at most one batch is on its way, and the next begins after its confirmation, so nothing overtakes; what is
in memory is bounded by a batch and the journal's own read-ahead, what is on disk by `journal_events_max`; a group of a
file has one bridge.

Source: the transactional outbox; idempotent receivers (Hohpe and Woolf, Enterprise Integration Patterns, 2003).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from commute.core.retry import Retry, delay_s
from commute.errors import CommuteError, NotReachableError, RejectedError, StoreError, UsageError
from commute.limits import Limits
from commute.link import BrokerUrl, Link, Log, features
from commute.runtime.world import SystemWorld, World
from commute.transports.base import Delivery, Message

LOGGER = logging.getLogger("commute")

BATCH_EVENTS_MAX = 500
TIDY_EVERY_S = 60.0  # how often forwarded events that were kept long enough are deleted
STOP_S_MAX = 5.0  # that a stop waits for the confirmation of what is on its way
IDLE_S = 10.0  # without an arrival, until a broker server's stream counts as drained; a Kafka group takes some to join
RETRY = Retry(attempts=1_000_000, first_s=0.2, max_s=60.0)  # between attempts only: there is no last one

Send: TypeAlias = Callable[[Sequence[Message]], Awaitable[object]]  # returns when all are confirmed


class Pace:
    """How fast a bridge may send: `per_s` events a second (None: no limit), and never more than a second's worth at
    once. Pure: the caller has the clock."""

    def __init__(self, per_s: float | None = None) -> None:
        self._per_s = per_s
        self._due_s: float | None = None  # when the next batch may go
        self.batch_max = BATCH_EVENTS_MAX if per_s is None else max(1, min(BATCH_EVENTS_MAX, int(per_s)))

    def wait_s(self, now_s: float) -> float:
        """Seconds from now until the next batch may go."""
        return 0.0 if self._due_s is None else max(0.0, self._due_s - now_s)

    def sent(self, count: int, now_s: float) -> None:
        """`count` events went at `now_s`. A pause before earns nothing: no burst follows it."""
        if self._per_s is not None:
            self._due_s = max(now_s, now_s if self._due_s is None else self._due_s) + count / self._per_s


@dataclass(frozen=True, slots=True)
class Progress:
    """`waiting`: events that are stored here and not yet forwarded. `oldest_s`: age of the oldest of them by its own
    time, None where none is in hand. `away`: why nothing goes at the moment; empty while it does."""

    forwarded: int
    waiting: int
    oldest_s: float | None
    away: str


class Bridge:
    """One bridge, from `source` to `target`; `run` it once. `once`: end when nothing is left, and at the first thing
    that cannot be reached."""

    def __init__(
        self,
        source: BrokerUrl,
        target: BrokerUrl,
        *,
        group: str = "bridge",
        limits: Limits | None = None,
        pace: Pace | None = None,
        once: bool = False,
        world: World | None = None,
    ) -> None:
        """Raises UsageError (``broker-url``): memory, a source without a file, or both are one stream."""
        if source.path is None or (target.path is None and target.server is None):
            raise UsageError(
                "memory:// keeps nothing: a bridge needs brokers or files on both sides", slug="broker-url"
            )
        if source.text == target.text and source.stream == target.stream:
            raise UsageError(f"{source.text} is both ends: what is forwarded would come again", slug="broker-url")
        self._source, self._target, self._group = source, target, group
        self._limits = limits or Limits()
        self._pace = pace or Pace()
        self._once = once
        self._size_bytes_max = None if target.server is None else features(target).message_bytes_max
        self._world = world or SystemWorld()
        self._forwarded = 0
        self._at = 0  # the last position that is forwarded
        self._last = 0  # the last one that was there when somebody looked
        self._in_hand: Sequence[Delivery] = ()
        self._away = ""
        self._ending = False
        self._tidied_s = self._world.monotonic_s()
        self._log: Log | None = None
        self._to: Link | None = None
        self._labelled = target.server is None or not target.server.labelled  # or nothing more is to be said of it

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until `stop` is set, or all is done (`once`). Raises UsageError (``group-in-use``; what the target
        refuses for good, with the event), StoreError of the journal, with `once` also NotReachableError."""
        link = await asyncio.to_thread(Link.open, self._source, None, self._limits, reader=self._group)
        ownership = link.file.ownership(self._group)
        to: Link | None = None
        try:
            if not await asyncio.to_thread(ownership.try_take):
                raise UsageError(f"group {self._group} of {self._source.text} is run by another process "
                                 f"({ownership.holder()}): stop it, or give this bridge a --group of its own",
                                 slug="group-in-use")  # fmt: skip
            to = self._to = await asyncio.to_thread(Link.open, self._target, None, self._limits)
            await self._until(stop, asyncio.create_task(self._forward(link, _sending(to)), name="commute bridge"))
        finally:
            ownership.release()
            for each in (to, link):
                if each is not None:
                    await asyncio.to_thread(each.close)

    def progress(self) -> Progress:
        """How far it is. Blocks shortly, and may be called from any thread."""
        log, in_hand = self._log, self._in_hand
        if log is not None:
            with suppress(StoreError):  # closed just now
                self._last = log.last_position()
        oldest_s = max(0.0, self._world.now_s() - in_hand[0].message.time_s) if in_hand else None
        return Progress(self._forwarded, max(0, self._last - self._at), oldest_s, self._away)

    async def _until(self, stop: asyncio.Event, forwarding: asyncio.Task[None]) -> None:
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((stopping, forwarding), return_when=asyncio.FIRST_COMPLETED)
            self._ending = True
            if self._in_hand and not self._away:
                await asyncio.wait((forwarding,), timeout=STOP_S_MAX)
        finally:
            stopping.cancel()
            forwarding.cancel()
            await asyncio.wait((stopping, forwarding))
        if not forwarding.cancelled():
            await forwarding

    async def _forward(self, link: Link, send: Send) -> None:
        log = await self._open(link)
        try:
            states = await asyncio.to_thread(log.groups)
            self._at = next(state.watermark for state in states if state.group == self._group) - 1
            self._log = log
            while not self._ending and (deliveries := await self._next(log)):
                self._in_hand = deliveries
                await self._hand_over(send, deliveries)
                await self._look_at_labels(deliveries)
                log.settle([delivery.handle for delivery in deliveries])
                self._at, self._in_hand = deliveries[-1].position, ()
                self._forwarded += len(deliveries)
                await self._tidy(log)
        finally:
            await asyncio.to_thread(self.progress)
            self._log = None
            await log.close()

    async def _open(self, link: Link) -> Log:
        attempt = 0
        while True:
            log = link.transport()
            try:
                await log.open(self._group)
            except NotReachableError as error:
                await log.close()
                attempt += 1
                await self._rest(error, attempt)
            except BaseException:
                await log.close()
                raise
            else:
                self._away = ""
                return log

    async def _next(self, log: Log) -> Sequence[Delivery]:
        """The next batch; none: all is done (`once`)."""
        if not self._once:
            return await log.receive(self._pace.batch_max)
        if self._source.server is None and self._at >= await asyncio.to_thread(log.last_position):
            return ()
        try:
            return await asyncio.wait_for(log.receive(self._pace.batch_max), IDLE_S)
        except TimeoutError:
            return ()

    async def _hand_over(self, send: Send, deliveries: Sequence[Delivery]) -> None:
        """Return when the target has confirmed all."""
        await asyncio.sleep(self._pace.wait_s(self._world.monotonic_s()))
        self._pace.sent(len(deliveries), self._world.monotonic_s())
        try:
            for run in runs(deliveries, self._size_bytes_max):
                await self._send(send, [delivery.message for delivery in run])
        except (UsageError, RejectedError):
            for delivery in deliveries:  # which one is it? What went through comes again, and is known there
                try:
                    await self._send(send, [delivery.message])
                except (UsageError, RejectedError) as error:
                    raise UsageError(
                        f"{self._target.text} refuses {delivery.message.type} {delivery.message.id} (position "
                        f"{delivery.position}), and nothing may overtake it: {error.message}", slug=error.slug,
                    ) from error  # fmt: skip

    async def _look_at_labels(self, deliveries: Sequence[Delivery]) -> None:
        """Say once if events without a label go to a stream of several partitions."""
        bare = None if self._labelled else next(filter(_unlabelled, deliveries), None)
        if bare is None or self._to is None:
            return
        try:
            partitions = await asyncio.to_thread(self._to.partitions)
        except CommuteError as error:
            LOGGER.info("how many partitions %s has is not known now: %s", self._target.text, error)
            return
        self._labelled = True
        if partitions > 1:
            LOGGER.warning(
                "warning[no-label] %s has %d partitions, and %s %s (position %d) has no partitionkey: it goes to any "
                "of them, and events that depend on each other may come to lie on different ones, out of sequence. "
                "Have its producer set partitionkey, or give the target one partition",
                self._target.text, partitions, bare.message.type, bare.message.id, bare.position,
            )  # fmt: skip

    async def _send(self, send: Send, messages: Sequence[Message]) -> None:
        """Send until it is confirmed, always the same."""
        attempt = 0
        while True:
            try:
                await send(messages)
            except (NotReachableError, StoreError) as error:
                attempt += 1
                await self._rest(error, attempt)
            else:
                if self._away:
                    LOGGER.info("%s answers again", self._target.text)
                self._away = ""
                return

    async def _rest(self, error: CommuteError, attempt: int) -> None:
        """Wait before another attempt; with `once` there is none."""
        if self._once:
            raise error
        if not self._away:
            LOGGER.warning("warning[%s] %s; what comes is kept here, and it is tried again", error.slug, error.message)
        self._away = error.message
        await asyncio.sleep(delay_s(RETRY, attempt, self._world.random.random()))

    async def _tidy(self, log: Log) -> None:
        now_s = self._world.monotonic_s()
        if now_s - self._tidied_s >= TIDY_EVERY_S:
            self._tidied_s = now_s
            await log.retain(self._world.now_s())


def _unlabelled(delivery: Delivery) -> bool:
    return "partitionkey" not in (delivery.message.attributes or ())


def runs(deliveries: Sequence[Delivery], size_bytes_max: int | None) -> Iterator[Sequence[Delivery]]:
    """The deliveries in their sequence, each that is larger than `size_bytes_max` alone: a client sends many at once,
    and what follows one that is refused would have overtaken it."""
    start = 0
    for n, delivery in enumerate(deliveries):
        if size_bytes_max is not None and len(delivery.message.data) > size_bytes_max:
            if start < n:
                yield deliveries[start:n]
            yield deliveries[n : n + 1]
            start = n + 1
    if start < len(deliveries):
        yield deliveries[start:]


def _sending(to: Link) -> Send:
    sender = to.sender()
    if sender is None:
        return to.transport().send

    async def send(messages: Sequence[Message]) -> None:
        wire = await asyncio.to_thread(sender)
        await asyncio.shield(asyncio.wrap_future(wire.send(messages)))  # a client's future is not ours to cancel

    return send
