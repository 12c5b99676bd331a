"""What is published to a broker with partitions carries its label, and the labels are looked for once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from commute import App, Event
from commute.core.murmur2 import partition_of
from commute.footprints import partitions
from commute.footprints.partitions import Partitioning
from commute.runtime import misplaced
from commute.runtime.fleet import Fleet
from commute.runtime.misplaced import Misplaced
from commute.transports.base import Message
from tests.runtime.shop import until


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


def at(partition: int) -> int:
    """A customer whose label belongs on this partition of two."""
    return next(n for n in range(100) if partition_of(str(n), 2) == partition)


def foreign(id: str, customer: int, type: str = "ordered") -> Message:
    return Message(id, "/elsewhere", type, 1.0, b'{"customer": %d}' % customer)


async def test_an_event_on_another_partition_than_its_labels_is_said_once_and_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app: App[None] = App("shop", "memory://")
    ran: list[int] = []

    @app.on(Ordered, writes="customer/{customer}")
    async def order(event: Ordered) -> None:
        ran.append(event.customer)

    @app.on(Moved, writes="customer/{customer}")
    async def move(event: Moved) -> None:
        ran.append(event.customer)

    async with app:
        found = app.partitioning()
        plan = replace(app.plan(), label=lambda type_, data: found.label_of(type_, app.encoder.decode(type_, data)))
        workers = Fleet(plan, app.connect(), 2)
        await workers.start()
        log = app.connect().transport(partition=0)
        own = Message("own", app.source, "ordered", 1.0, b'{"customer": %d}' % at(1), {"partitionkey": "believed"})
        await log.send([own, foreign("right", at(0)), foreign("wrong", at(1)), foreign("again", at(1))])
        await log.send([foreign("other", at(1), "moved"), foreign("late", at(1), "moved")])
        await until(lambda: len(ran) == 6)
        assert await workers.stop()
    said = [record.getMessage() for record in caplog.records if "warning[wrong-partition]" in record.getMessage()]
    assert [text.partition("] ")[2].partition(" (")[0] for text in said] == [
        "ordered wrong from /elsewhere came on partition 0", "moved other from /elsewhere came on partition 0"
    ]  # fmt: skip
    assert f"its label {at(1)} belongs on 1 of 2" in said[0] and "queue 1 (RabbitMQ)" in said[0]


def test_of_a_type_that_lies_right_few_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misplaced, "FIRST", 3)
    looked: list[bytes] = []

    def label(_type: str, data: bytes) -> str:
        looked.append(data)
        return str(at(0))

    app: App[None] = App("shop", "memory://")
    who = Misplaced(replace(app.plan(), label=label, partition=0, partitions=2))
    for n in range(100):
        who.look(foreign("e", n), n)
    assert 3 < len(looked) < 12
