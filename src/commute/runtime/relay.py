"""Sends children that lie in the outbox to a log that is not in the store's file, in the sequence they were written.

At least once: a row is deleted after its message was confirmed. Ids are derived, so a second sending is a duplicate.
Receipts leave behind the children, each stream for itself: a producer's stream that takes none holds nobody up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from commute.errors import CommuteError, UsageError
from commute.store.reading import OutboxRow, read_outbox
from commute.store.records import Relayed

if TYPE_CHECKING:
    from commute.database import Connection
    from commute.runtime.engine import Engine

LOGGER = logging.getLogger("commute")

ROWS_MAX = 500
PAUSE_S = 1.0  # after the broker refused


class Relay:
    """The one coroutine that empties the outbox of one engine."""

    def __init__(self, engine: Engine, reader: Connection) -> None:
        self._engine = engine
        self._reader = reader

    async def run(self) -> None:
        """Send whenever something lies there, until cancelled."""
        engine = self._engine
        while True:
            await engine.relay_wanted.wait()
            engine.relay_wanted.clear()
            engine.store.relay_wanted = False
            again = False
            try:
                while await self.send_some():
                    pass
            except CommuteError as error:
                LOGGER.warning("children wait in the outbox: %s; again in %.0f s", error, PAUSE_S)
                again = True
            if await self.send_receipts() or again:
                await asyncio.sleep(PAUSE_S)
                engine.relay_wanted.set()

    async def send_some(self) -> bool:
        """Send up to `ROWS_MAX` children; True if there may be more."""
        engine = self._engine
        rows = read_outbox(self._reader, engine.store.scope, ROWS_MAX)
        for stream, group in groupby(rows, key=_stream_of):
            await self._send(list(group), stream)
        if rows:
            await self._gone()
        return len(rows) == ROWS_MAX

    async def send_receipts(self) -> bool:
        """Send all receipts that can be sent now; True if some have to wait."""
        engine, refusing = self._engine, list[str]()
        while rows := read_outbox(self._reader, engine.store.scope, ROWS_MAX, receipts=True, without=refusing):
            parts: dict[str, list[OutboxRow]] = {}
            for row in rows:
                parts.setdefault(row.child.to or "", []).append(row)
            for stream, part in parts.items():
                try:
                    await self._send(part, stream)
                except UsageError as error:  # the broker can have no such stream, or no such message
                    LOGGER.warning("warning[receipts] %d receipts for %s are dropped: %s", len(part), stream, error)
                    engine.post(Relayed([row.number for row in part]))
                except CommuteError as error:
                    LOGGER.warning("receipts for %s wait in the outbox: %s; again in %.0f s", stream, error, PAUSE_S)
                    refusing.append(stream)
            await self._gone()
        return bool(refusing)

    async def _send(self, rows: Sequence[OutboxRow], stream: str | None) -> None:
        await self._engine.transport.send([row.child.message for row in rows], to=stream)
        self._engine.post(Relayed([row.number for row in rows]))

    async def _gone(self) -> None:
        """Returns when what was sent is deleted: the next look would find it again, and a mark by number would pass by
        rows of blocks that have taken theirs and commit later."""
        await asyncio.wrap_future(self._engine.writer.submit(lambda _connection: None))


def _stream_of(row: OutboxRow) -> str | None:
    return row.child.to
