"""Copies of dead letters on RabbitMQ's exchange: what ended for good, with the reason, and over crashes."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from click.testing import CliRunner

from commute import App, DeadLetter, Event
from commute.cli import main
from commute.link import discard, parse_url, with_stream
from tests.brokers import broker_url
from tests.e2e.workers import WAIT_S_MAX, wait_for


class Paid(Event):
    order_id: int
    cents: int


class Mailed(Event):
    order_id: int


class Exchange:
    """An exchange, a queue bound to it, and the URL of a stream whose dead letters go there."""

    def __init__(self) -> None:
        self.base = broker_url("rabbitmq")
        self.name = f"dead-{uuid.uuid4().hex[:12]}"
        self.stream = f"shop-{uuid.uuid4().hex[:12]}"
        self.url = with_stream(f"{self.base}?dead_letter_exchange={self.name}", self.stream)
        self.connection = pika.BlockingConnection(pika.URLParameters(self.base))
        self.channel = self.connection.channel()

    def bind(self) -> None:
        """The exchange may have been made by commute."""
        self.channel.queue_declare(self.name, durable=True)
        self.channel.queue_bind(self.name, self.name)

    def take(self, count: int) -> list[tuple[Any, bytes]]:
        """The next copies, properties and body."""
        found: list[tuple[Any, bytes]] = []
        end_s = time.monotonic() + WAIT_S_MAX
        while len(found) < count:
            assert time.monotonic() < end_s, f"{len(found)} of {count} copies"
            method, properties, body = self.channel.basic_get(self.name, auto_ack=True)
            if method is None:
                self.connection.sleep(0.02)
            else:
                found.append((properties, body))
        return found

    def close(self) -> None:
        self.channel.queue_delete(self.name)
        self.channel.exchange_delete(self.name)
        self.connection.close()
        discard(parse_url(self.url), "shop")


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = Exchange()
    yield made
    made.close()


def make_app(url: str, folder: Path) -> App[None]:
    app: App[None] = App("shop", url, db=f"sqlite:///{folder}/shop.db")

    @app.on(Paid, writes="order/{order_id}")
    async def pay(event: Paid) -> None:
        if event.cents < 0:
            raise DeadLetter("nobody pays less than nothing")

    @app.on(Mailed, writes="order/{order_id}", on_exhausted="skip")
    async def mail(event: Mailed) -> None:
        raise DeadLetter("no such address")

    return app


async def test_what_is_rejected_or_skipped_is_copied_with_its_reason_and_nothing_else(
    exchange: Exchange, tmp_path: Path
) -> None:
    exchange.channel.exchange_declare(exchange.name, "direct", durable=True)  # one of others, adopted as it is
    exchange.channel.queue_declare(exchange.name, durable=True)
    exchange.channel.queue_bind(exchange.name, exchange.name, routing_key=exchange.stream)
    app = make_app(exchange.url, tmp_path)
    async with app, app.running():
        parked = await app.publish(Paid(order_id=1, cents=-1))
        held = await app.publish(Paid(order_id=1, cents=1))
        fine = await app.publish(Paid(order_id=2, cents=1))
        mailed = await app.publish(Mailed(order_id=3))
        assert (await fine.outcome(timeout_s=WAIT_S_MAX)) is not None
        assert (await mailed.outcome(timeout_s=WAIT_S_MAX)) is not None
        exchange.channel.basic_publish("", exchange.stream, b'{"n": 1}', pika.BasicProperties(message_id="alien"))
        copies = await asyncio.to_thread(exchange.take, 2)
    by_id = {properties.message_id: (properties, body) for properties, body in copies}
    assert by_id.keys() == {mailed.event_id, "alien"}, "a parked or held event was copied, or one that was done"
    skipped, body = by_id[mailed.event_id]
    assert body == b'{"order_id":3}' and skipped.delivery_mode == 2
    assert skipped.headers["cloudEvents_type"] == "mailed" and skipped.headers["cloudEvents_source"] == "/shop"
    assert skipped.headers["cloudEvents_deadletterstatus"] == "skipped"
    assert "no such address" in skipped.headers["cloudEvents_deadletterreason"]
    assert skipped.headers["cloudEvents_deadletterhandler"].endswith("mail")
    (death,) = skipped.headers["x-death"]
    assert (death["queue"], death["reason"], death["count"]) == (exchange.stream, "skipped", 1)
    assert death["routing-keys"] == [exchange.stream] and death["exchange"] == ""
    rejected, body = by_id["alien"]
    assert (rejected.headers["x-first-death-reason"], body) == ("rejected", b'{"n": 1}')
    assert rejected.headers["x-first-death-queue"] == exchange.stream

    # A person gives the parked one up while no worker runs: the next one sends the copy; what was held is done.
    arguments = ["dead", "skip", exchange.url, parked.event_id, "--db", f"sqlite:///{tmp_path}/shop.db"]
    told = CliRunner().invoke(main, [*arguments, "--group", "shop", "--yes"])
    assert told.exit_code == 0, told.output
    async with app, app.running():
        outcome = await app.receipt(held.event_id).outcome(timeout_s=WAIT_S_MAX)
        assert outcome is not None and outcome.status == "processed"
        ((copy, _body),) = await asyncio.to_thread(exchange.take, 1)
    assert copy.message_id == parked.event_id
    assert exchange.channel.basic_get(exchange.name)[0] is None, "copied twice without need"


async def test_a_copy_that_no_queue_takes_waits_over_restarts_and_holds_nothing_up(
    exchange: Exchange, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(exchange.url, tmp_path)
    async with app, app.running():
        mailed = await app.publish(Mailed(order_id=1))
        outcome = await mailed.outcome(timeout_s=WAIT_S_MAX)
        assert outcome is not None and outcome.status == "skipped"
        await asyncio.to_thread(wait_for, lambda: "bind a queue to it" in caplog.text, "nobody was told")
        after = await app.publish(Paid(order_id=1, cents=1))  # depends on it, and does not wait for the copy
        assert (await after.outcome(timeout_s=WAIT_S_MAX)) is not None
    exchange.bind()
    async with app, app.running():
        ((copy, _body),) = await asyncio.to_thread(exchange.take, 1)
    assert copy.message_id == mailed.event_id
