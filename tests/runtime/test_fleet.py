"""A fleet beside a stream whose partitions change."""

from __future__ import annotations

import logging

import pytest

from commute import App
from commute.errors import NotReachableError
from commute.runtime import fleet
from commute.runtime.fleet import Fleet
from tests.runtime.shop import Step, until


async def test_partitions_that_are_added_meanwhile_are_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fleet, "COUNT_S", 0.001)
    caplog.set_level(logging.INFO, "commute")
    app: App[None] = App("shop", "memory://")

    @app.on(Step, writes="key/{key}")
    async def step(event: Step) -> None: ...

    answers = iter((2, None, 2, 3))

    def count() -> int:
        answer = next(answers)
        if answer is None:
            raise NotReachableError("away", slug="not-reachable")
        return answer

    async with app:
        workers = Fleet(app.plan(), app.connect(), 2, count=count)
        await workers.start()
        await until(lambda: "error[partitions-changed]" in caplog.text)
        assert "has 3 partitions now, and its workers read 2" in caplog.text and "not known now: away" in caplog.text
        assert next(answers, None) is None and not workers.ended, "they go on"
        assert await workers.stop()
