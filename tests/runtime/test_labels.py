"""What is published to a broker with partitions carries its label, and the labels are looked for once."""

from __future__ import annotations

import pytest

from commute import App, Event
from commute.footprints import partitions
from commute.footprints.partitions import Partitioning


class Ordered(Event):
    customer: int


class Moved(Event):
    customer: int


def labelled(app: App[None], event: Event) -> str | None:
    (message,) = app._messages([event], None)
    return (message.attributes or {}).get("partitionkey")


def test_labels_are_looked_for_once_until_another_handler_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = 0

    def counted(*arguments: object) -> Partitioning:
        nonlocal searches
        searches += 1
        return partitions.partitioning(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("commute.app.partitioning", counted)
    app: App[None] = App("shop", "kafka://127.0.0.1/orders")

    @app.on(Ordered, writes="customer/{customer}")
    async def order(event: Ordered) -> None: ...

    assert [labelled(app, Ordered(customer=n)) for n in (7, 8)] == ["7", "8"]
    assert app.message("ordered", b'{"customer": 9}').attributes == {"partitionkey": "9"}
    assert searches == 1
    assert labelled(app, Moved(customer=7)) is None  # nobody has said what it touches

    @app.on(Moved, writes="customer/{customer}")
    async def move(event: Moved) -> None: ...

    assert labelled(app, Moved(customer=7)) == "7"
    assert searches == 2


def test_a_broker_without_partitions_is_not_told_labels() -> None:
    app: App[None] = App("shop", "memory://")

    @app.on(Ordered, writes="customer/{customer}")
    async def order(event: Ordered) -> None: ...

    assert labelled(app, Ordered(customer=7)) is None
