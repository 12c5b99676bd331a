"""Events and small tools that the runtime tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from commute import App, Event, Retry

AT_ONCE = Retry(attempts=1)
QUICK = Retry(attempts=3, first_s=0.01, max_s=0.02)


class Step(Event):
    """One write of one key. `n` tells events apart."""

    key: str
    n: int


class Pair(Event):
    """Touches two keys."""

    left: str
    right: str
    n: int


class Child(Event):
    key: str
    n: int


async def until(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 15.0) -> None:
    """Wait for something that other coroutines bring about; fails the test when it does not come."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = condition()
            if not isinstance(found, bool):
                found = await found
            if found:
                return
            await asyncio.sleep(0.005)


async def state_of(app: App[None], event_id: str) -> str:
    return (await app.receipt(event_id).state()).status


async def ask(app: App[None], verb: str, event_id: str) -> None:
    """What `commute dead` does beside a running worker."""
    position = app.log.find(event_id)[0]
    file = app.connect().file

    def insert(connection: object) -> None:
        connection.execute(  # type: ignore[attr-defined]
            "INSERT INTO request(scope, verb, partition, position, at_s) "
            "SELECT id, ?, 0, ?, 0 FROM scope WHERE grp=? AND stream=?",
            (verb, position, app.group, app.url.stream),
        )

    await asyncio.wrap_future(file.writer.submit(insert))
