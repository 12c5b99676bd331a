"""A receipt is only read: asking for one never waits for the writer, which may wait for a block on the same loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commute import App, Event


class Paid(Event):
    order_id: int


def test_the_first_question_leaves_nothing_for_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")

    @app.on(Paid, writes="order/{order_id}")
    async def pay(event: Paid) -> None: ...

    def refused(job: Callable[..., Any]) -> Any:
        raise AssertionError(f"{job} is left for the writer")

    async def run() -> None:
        async with app:
            receipt = await app.publish(Paid(order_id=1))
            elsewhere = await app.publish(Paid(order_id=1), to="other")
            monkeypatch.setattr(app.connect().file.writer, "submit", refused)
            assert (await receipt.state()).status == "waiting"
            assert (await elsewhere.state()).status == "waiting"
            assert (await app.receipt(receipt.event_id).state()).status == "waiting"
            monkeypatch.undo()

    asyncio.run(run())
