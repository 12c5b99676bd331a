"""A fleet beside a stream whose partitions change."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from commute import App
from commute.errors import NotReachableError, UsageError
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


def test_a_stream_is_shared_out_anew_only_when_nothing_is_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone = 3
    monkeypatch.setattr("commute.link.unfinished", lambda *_: undone)
    app: App[None] = App("shop", "kafka://127.0.0.1/orders", db=f"sqlite:///{tmp_path}/shop.db")
    link = app.connect()
    try:
        with pytest.raises(UsageError, match="Start it with --single-owner, let it drain"):
            link.agree("shop", 4, "labels", 4)  # one worker had the only partition, until three more were added
        app.own_all(1)
        undone = 0
        link.agree("shop", 4, "labels", 4)
        undone = 3
        link.agree("shop", 4, "labels", 4)
        with pytest.raises(UsageError, match=r"Start it with \?partitions=4 in the broker's URL, so that no others"):
            link.agree("shop", 6, "labels", 6)
        with pytest.raises(UsageError, match="Start it without --single-owner, let it"):
            app.own_all(4)
        with pytest.raises(UsageError, match=r"partitions=4 .* read, on a stream that has so many again, let it"):
            app.own_all(1)
        with pytest.raises(UsageError, match=r"by other labels.* Start it with the footprints that it had, let it"):
            link.agree("shop", 4, "others", 4)
    finally:
        link.close()
