"""Sends children that lie in the outbox to a log that is not in the store's file, in the sequence they were written.

At least once: a row is deleted after its message was confirmed. Ids are derived, so a second sending is a duplicate.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import groupby
from typing import TYPE_CHECKING

from commute.errors import CommuteError
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
            try:
                while await self.send_some():
                    pass
            except CommuteError as error:
                LOGGER.warning("children wait in the outbox: %s; again in %.0f s", error, PAUSE_S)
                await asyncio.sleep(PAUSE_S)
                engine.relay_wanted.set()

    async def send_some(self) -> bool:
        """Send up to `ROWS_MAX` children; True if there may be more."""
        engine = self._engine
        rows = read_outbox(self._reader, engine.store.scope, ROWS_MAX)
        for stream, group in groupby(rows, key=_stream_of):
            part = list(group)
            await engine.transport.send([row.child.message for row in part], to=stream)
            engine.post(Relayed([row.number for row in part]))
        if rows:
            # Until they are gone, the next look would find them again; a mark by number would pass by rows of blocks
            # that have taken theirs and commit later.
            await asyncio.wrap_future(engine.writer.submit(lambda _connection: None))
        return len(rows) == ROWS_MAX


def _stream_of(row: OutboxRow) -> str | None:
    return row.child.to
