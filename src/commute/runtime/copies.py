"""Sends copies of dead letters to where the broker's own tools look for them, if the broker's URL asks for it.

The dead letter stays in the store, which is what counts; a copy is for those who watch the broker. Only what has ended
for good is copied: rejected, and skipped, also by a person. Parked and held events still have their place in the log,
and whoever took a copy of one for its end would do what a retry does again.

At least once: a letter's note is written with its outcome and deleted after the copy was confirmed. Bounded: a note
has no bytes, the copy is made from the dead letter; what is forgotten (`retain_s`) or dropped before is not copied.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from commute.errors import CommuteError, UsageError
from commute.store.reading import forget_letters, read_letters

if TYPE_CHECKING:
    from commute.database import Connection
    from commute.runtime.engine import Engine
    from commute.store.records import DeadRow
    from commute.transports.base import Message

LOGGER = logging.getLogger("commute")

ROWS_MAX = 100
REASON_CHARACTERS_MAX = 1_000  # headers are small; the whole reason is in the store
POLL_S = 0.5
RETRY_S_MAX = 60.0  # after the broker refused, doubled from POLL_S


@dataclass(frozen=True, slots=True)
class Copies:
    """The one coroutine that sends the copies of one engine. `to`: as the transport's `send` takes it."""

    engine: Engine
    reader: Connection
    to: str

    async def run(self) -> None:
        """Look for letters and send them, until cancelled."""
        pause_s = POLL_S
        while True:
            try:
                more = await self.send_some()
                pause_s = 0.0 if more else POLL_S
            except CommuteError as error:
                pause_s = min(2 * max(pause_s, POLL_S), RETRY_S_MAX)
                LOGGER.warning("warning[%s] copies of dead letters wait: %s; again in %.0f s",
                               error.slug, error, pause_s)  # fmt: skip
            await asyncio.sleep(pause_s)

    async def send_some(self) -> bool:
        """Send up to `ROWS_MAX` copies; True if there may be more."""
        engine = self.engine
        rows = read_letters(self.reader, engine.store.scope, ROWS_MAX)
        if not rows:
            return False
        try:
            await self._send(rows)
        except UsageError:
            for row in rows:  # one of them cannot be sent at all
                try:
                    await self._send([row])
                except UsageError as error:
                    LOGGER.error("error[%s] no copy of the dead letter %s is sent, it is in the store alone: %s",
                                 error.slug, row.message.id, error)  # fmt: skip
        await asyncio.wrap_future(engine.writer.submit(partial(forget_letters, scope=engine.store.scope, rows=rows)))
        return len(rows) == ROWS_MAX

    async def _send(self, rows: Sequence[DeadRow]) -> None:
        await self.engine.transport.send([copy_of(row) for row in rows], to=self.to)


def copy_of(row: DeadRow) -> Message:
    """The event as it came, with the reason in further attributes."""
    attributes = dict(row.message.attributes or {})
    attributes["deadletterstatus"] = row.status
    attributes["deadletterreason"] = row.reason[:REASON_CHARACTERS_MAX]
    if row.handler:
        attributes["deadletterhandler"] = row.handler
        attributes["deadletterattempts"] = str(row.attempts)
    return msgspec.structs.replace(row.message, attributes=attributes)
