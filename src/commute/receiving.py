"""Receipts of workers that have another store: from a stream of the broker into the store of the producer.

    broker ── receipts ──▶ wire ──▶ table, one commit for many ──▶ after the sync: ack to the broker

While nobody of the store is there, the broker keeps them. One process of a store brings them for all, chosen by an
operating-system lock; another one takes over when it looks and finds that one gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from commute.database import Connection, Database
from commute.errors import NotReachableError, UsageError
from commute.limits import Limits
from commute.link import BrokerUrl, Link
from commute.runtime.receipts import State
from commute.store.receipts import is_receipt_stream, read_receipt, store_receipts
from commute.transports.base import Message, Sent
from commute.transports.journal import Feeder

LOGGER = logging.getLogger("commute")

AGAIN_S = 0.25  # between two looks of who stands by, or finds no broker
_STATUSES = ("parked", "held", "processed", "skipped", "dropped", "rejected")


def checked_receipts(name: str) -> str:
    """The name, if receipts can be sent to a stream of that name. Raises UsageError (``receipts``)."""
    if not is_receipt_stream(name):
        raise UsageError(
            f"receipts={name!r}: the stream is called NAME.receipts, of letters, digits, '.', '_' and '-'; workers "
            "send receipts nowhere else",
            slug="receipts",
        )
    return name


def attributes_of(
    label: Callable[[str, bytes], str | None] | None, type_: str, data: bytes, wanted: dict[str, str] | None
) -> dict[str, str] | None:
    """Those of an event that is published: its partition label, and who wants its receipt, where there is one."""
    text = None if label is None else label(type_, data)
    return wanted if text is None else {"partitionkey": text} | (wanted or {})


class Receiving:
    """The receipts of one store, on the stream `name`. Thread-safe. Nothing is connected before `start` or `look`.

    Raises UsageError (``receipts``) where the broker has no such streams, or the store is in memory.
    """

    def __init__(self, url: BrokerUrl, db: BrokerUrl | None, limits: Limits, name: str) -> None:
        if url.path is None:
            raise UsageError(
                'receipts= needs a store that remembers what it was told: db="sqlite:///NAME.db"', slug="receipts"
            )
        aside = replace(url, stream=name, server=url.server.aside(name))
        self._link = Link.open(aside, db, limits, reader=name)
        table = _Table(self._link.file, name, limits)
        self._feeders = [
            Feeder(table, make_wire, name, limits.journal_events_max, number)
            for number, make_wire in enumerate(self._link.feeds())
        ]
        self._waiting = list(self._feeders)  # those that another process has, as far as is known
        self._again_s = 0.0
        self._lock = threading.Lock()

    @property
    def due(self) -> bool:
        """Whether `look` has something to do."""
        return bool(self._waiting) and time.monotonic() >= self._again_s

    def start(self) -> None:
        """Bring what comes, unless another process of the store does. Blocks for seconds at the first call: from then
        on the broker keeps receipts. Raises NotReachableError, UsageError (``other-store``)."""
        with self._lock:
            if not self.due:
                return
            self._again_s = time.monotonic() + AGAIN_S
            self._link.claim()
            self._waiting = [feeder for feeder in self._waiting if not feeder.try_start(from_end=False)]

    def look(self) -> None:
        """`start`; where the broker is not there, what came before is known all the same."""
        try:
            self.start()
        except NotReachableError as error:
            LOGGER.info("receipts of %s: %s", self._link.url.stream, error)

    def told(self, event_id: str, group: str) -> State | None:
        """What a worker has said of the event; None: nothing yet. Blocks shortly."""
        found = self._link.file.read(lambda connection: read_receipt(connection, event_id, group))
        status = None if found is None else next((one for one in _STATUSES if one == found.status), None)
        if found is None or status is None:
            return None
        return State(status, found.reason, found.position, found.handlers)  # type: ignore[arg-type]

    def close(self) -> None:
        """Bring nothing more; what has not been stored comes again. Blocks."""
        with self._lock:
            self._waiting = []
            for feeder in self._feeders:
                feeder.close()
            self._link.close()


class _Table:
    """What a `Feeder` writes receipts into."""

    unsettled = 0

    def __init__(self, file: Database, stream: str, limits: Limits) -> None:
        self.stream = stream
        self._file = file
        self._limits = limits

    @property
    def file(self) -> Database:
        """The store."""
        return self._file

    def publish_offered(self, connection: Connection, messages: Sequence[Message]) -> list[Sent]:
        """Keep them; what is no receipt is dropped, and said."""
        alien = store_receipts(
            connection, messages, rows_max=self._limits.receipts_max, since_s=time.time() - self._limits.retain_s
        )
        if alien:
            LOGGER.warning("warning[receipts] %d messages of %s are no receipts: dropped", alien, self.stream)
        return []

    def offer(self, messages: Sequence[Message], sent: Sequence[Sent]) -> None:
        """Nobody waits for them but who looks into the table."""
