"""RabbitMQ's `consumer_timeout`, made short on the real server: a slow handler never meets it, and who does goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from commute import App, Event
from tests.brokers import broker_url, rabbitmqctl
from tests.transports.rabbitmq_rig import Rig
from tests.transports.wires import DEADLINE_S, messages, names, until

TIMEOUT_MS, TICK_MS = 1_000, 500
USUAL = (
    "[application:set_env(rabbit, K, V) || {K, V} <- [{consumer_timeout, 1800000}, {channel_tick_interval, 60000}]]."
)
SHORT = USUAL.replace("1800000", str(TIMEOUT_MS)).replace("60000", str(TICK_MS))


class Slow(Event):
    n: int


class Quick(Event):
    n: int


@pytest.fixture
def rig() -> Iterator[Rig]:
    """With a server that closes channels over an acknowledgement that is owed for a second."""
    made = Rig(broker_url("rabbitmq"))
    rabbitmqctl("eval", SHORT)
    yield made
    rabbitmqctl("eval", USUAL)
    made.close()


def is_closed_for_it(rig: Rig) -> None:
    """Returns when the server has closed a channel of others over an acknowledgement: so much time has passed."""
    other = f"{rig.queue}-owing"
    rig.queues.append(other)
    channel = rig.channel()
    channel.queue_declare(other, durable=True, arguments={"x-queue-type": "quorum"})
    channel.basic_publish("", other, b"1")
    channel.basic_consume(other, lambda *_message: None)
    end_s = time.monotonic() + DEADLINE_S
    while channel.is_open:
        assert time.monotonic() < end_s, "the server closes no channel"
        channel.connection.process_data_events(0.1)


async def test_a_handler_that_takes_longer_than_the_timeout_costs_no_channel(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app: App[None] = App("shop", f"{rig.base}/?queue={rig.queue}", db=f"sqlite:///{tmp_path}/shop.db")
    begun, may_end = asyncio.Event(), asyncio.Event()
    runs: list[str] = []

    @app.on(Slow, writes="slow")
    async def slow(event: Slow) -> None:
        runs.append(f"slow {event.n}")
        begun.set()
        await may_end.wait()

    @app.on(Quick, writes="quick")
    async def quick(event: Quick) -> None:
        runs.append(f"quick {event.n}")

    async with app, app.running():
        first, second = await app.publish_many([Slow(n=1), Slow(n=2)])
        await begun.wait()
        await asyncio.to_thread(is_closed_for_it, rig)
        independent = await app.publish(Quick(n=1))
        assert await independent.outcome(timeout_s=DEADLINE_S) is not None
        assert runs == ["slow 1", "quick 1"]  # what depends on it waits
        may_end.set()
        for receipt in (first, second):
            outcome = await receipt.outcome(timeout_s=DEADLINE_S)
            assert outcome is not None and outcome.status == "processed"
    assert runs == ["slow 1", "quick 1", "slow 2"]
    assert "nothing is consumed" not in caplog.text


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_a_channel_that_owed_too_long_is_opened_again_and_all_of_it_comes_in_sequence(
    rig: Rig, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = rig.worker(rig.options(kind), acks=False)  # as a journal whose disk hangs
    worker.wire.send(messages(50)).result(DEADLINE_S)
    worker.has(50)
    worker.ack(*range(20))
    until(lambda: "nothing is consumed" in caplog.text, "the channel closed by the server")
    assert "PRECONDITION_FAILED" in caplog.text and "timeout" in caplog.text
    worker.has(80)
    worker.acks = True
    worker.wire.ack([arrival.token for arrival in worker.arrivals[-30:]])
    worker.wire.send(messages(10, 50)).result(DEADLINE_S)
    until(lambda: worker.ids[-10:] == names(50, 60), "what was sent after it")
    came = list(dict.fromkeys(worker.ids))
    assert came == names(0, 60)
    assert worker.ids[50:80] == names(20, 50)
