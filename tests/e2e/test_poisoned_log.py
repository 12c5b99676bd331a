"""One poisoned event in a log that no one here wrote: what depends on it is held, all else goes on, all comes back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from commute import Access, App, Event, Retry
from commute.core.footprint import Footprint, conflicts
from commute.logs import footprint_of, read_log
from tests.runtime.shop import ask, until

ROOT = Path(__file__).parents[2]
LOGS = Path(os.environ.get("COMMUTE_LOGS", ROOT.parent / "shared" / "data"))
LOG = LOGS / "ocel1-order-process" / "order_process.jsonocel"

pytestmark = pytest.mark.skipif(not LOG.is_file(), reason="the folder of event logs is absent (COMMUTE_LOGS names it)")


class LogStep(Event):
    n: int


def closure(footprints: list[Footprint], poisoned: int) -> list[int]:
    """The later events that depend on the poisoned one, directly or through others."""
    held: list[int] = []
    for n in range(poisoned + 1, len(footprints)):
        if any(conflicts(footprints[n], footprints[other]) for other in (poisoned, *held)):
            held.append(n)
    return held


async def test_a_poisoned_event_holds_its_dependents_in_sequence_and_nothing_else(tmp_path: Path) -> None:
    footprints = [footprint_of(e, read=frozenset(), add=frozenset()) for e in read_log(LOG).events]
    poisoned = max(range(200), key=lambda n: len(closure(footprints[: n + 600], n)))
    held = closure(footprints, poisoned)
    assert len(held) >= 10
    app: App[None] = App("poisoned", f"sqlite:///{tmp_path}/log.db")
    ran: list[int] = []
    bad = {poisoned}

    def objects(event: LogStep) -> list[Access]:
        return list(footprints[event.n])

    @app.on(LogStep, accesses=objects, retry=Retry(attempts=2, first_s=0.01, max_s=0.01))
    async def step(event: LogStep) -> None:
        await asyncio.sleep(0)
        if event.n in bad:
            raise KeyError("poisoned")
        ran.append(event.n)

    async with app:
        async with app.running():
            receipts = await app.publish_many([LogStep(n=n) for n in range(len(footprints))])
            await until(lambda: len(ran) == len(footprints) - 1 - len(held), 60)

            async def all_stored() -> bool:  # receipts tell what is durable, and that comes after the last run
                states = [(await receipts[n].state()).status for n in (poisoned, *held)]
                return states == ["parked", *["held"] * len(held)]

            await until(all_stored)
        assert sorted({*range(len(footprints))} - {*ran}) == [poisoned, *held]
        bad.clear()
        before = len(ran)
        async with app.running():  # after a restart
            await ask(app, "retry", receipts[poisoned].event_id)
            await until(lambda: len(ran) == len(footprints), 60)
    back = ran[before:]
    assert back[0] == poisoned
    place = {n: index for index, n in enumerate(back)}
    for later in back:
        for earlier in back:
            if earlier < later and conflicts(footprints[earlier], footprints[later]):
                assert place[earlier] < place[later]
