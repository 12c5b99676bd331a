"""Every broker behind a bad network, judged alike: nothing confirmed is lost, nothing is overtaken, and each event has
its effect once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.brokers import kill_and_restart, killable
from tests.transports.measured import measured
from tests.transports.network import Network, eventually
from tests.transports.proxy import Proxy
from tests.transports.wires import messages

BATCHES, BATCH = 6, 25  # of each strike
KILLED = "broker killed with SIGKILL"
Fault: TypeAlias = Callable[[Network, int, Awaitable[None]], Awaitable[list[Proxy]]]


async def delayed(network: Network, _first: int, sending: Awaitable[None]) -> list[Proxy]:
    for proxy in network.proxies:
        proxy.delay_s = 0.01
    await sending
    for proxy in network.proxies:
        proxy.delay_s = 0.0
    return []


def striking(strike: Callable[[Proxy], None]) -> Fault:
    """All connections of now, while events are on their way; the clients find out by themselves."""

    async def struck(network: Network, _first: int, sending: Awaitable[None]) -> list[Proxy]:
        for proxy in network.proxies:
            strike(proxy)
        await sending
        return network.proxies

    return struck


async def unacknowledged(network: Network, first: int, sending: Awaitable[None]) -> list[Proxy]:
    """The broker does not hear the worker, and delivers again."""
    assert network.inward is not None
    network.inward.deafen()
    await sending
    if network.name != "kafka":  # there a worker asks for each piece, and is not heard
        await network.done(first + BATCHES * BATCH)
    network.inward.cut()
    return [network.inward]


async def unconfirmed(network: Network, first: int, sending: Awaitable[None]) -> list[Proxy]:
    """The producer does not hear the broker, and sends again."""
    network.outward.mute()
    sent = asyncio.ensure_future(sending)
    await network.done(first + BATCH)  # the first batch is there, and waits for its confirmation
    assert not sent.done(), "it was heard"
    network.outward.cut()
    await sent
    return [network.outward]


async def slow(network: Network, first: int, sending: Awaitable[None]) -> list[Proxy]:
    """What runs and what waits behind it comes again, from the broker or, without one, from the producer."""
    network.gate.clear()
    proxy = network.inward or network.outward
    before = len(proxy.pairs)
    proxy.deafen() if network.inward else proxy.mute()
    sent = asyncio.ensure_future(sending)
    if network.inward:
        await sent
    if network.name != "kafka":
        await network.stored(first + (BATCHES * BATCH if network.inward else BATCH))
    proxy.cut()
    await connected_again(proxy, before)
    await sent
    await network.send(messages(1, network.sent))
    await network.stored(network.sent)  # behind all that came again
    assert network.effects() == list(range(first)), "a handler did not wait"
    network.gate.set()
    return [proxy]


async def killed(network: Network, _first: int, sending: Awaitable[None]) -> list[Proxy]:
    """SIGKILL to the broker, and a new start; events are sent from before the one until after the other."""
    killable(network.name)
    await sending
    back = asyncio.create_task(asyncio.to_thread(kill_and_restart, network.name))
    while not back.done():
        await network.send(messages(BATCH, network.sent))
    await back
    return network.proxies


FAULTS: dict[str, tuple[Fault, int]] = {  # and how often it strikes
    "delayed": (delayed, 1),
    "cut in mid-frame": (striking(Proxy.cut_in_mid_frame), 3),
    "reset": (striking(Proxy.reset), 3),
    "black hole": (striking(Proxy.swallow), 1),
    "acknowledgements lost": (unacknowledged, 2),
    "confirmations lost": (unconfirmed, 2),
    "delivered again while it runs or waits": (slow, 2),
    KILLED: (killed, 1),
}
BROKERS = ("rabbitmq", "kafka", "mqtt", "zeromq")
NOT_RUN = {
    ("zeromq", "acknowledgements lost"),  # no broker is between: they are the confirmations
    ("zeromq", KILLED),  # nor can it be killed
    ("mqtt", KILLED),  # not promised
}
CASES = [(broker, fault) for broker in BROKERS for fault in FAULTS if (broker, fault) not in NOT_RUN]


@pytest.fixture
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    made = Network(request.param, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("network", "fault"), CASES, indirect=["network"])
async def test_every_effect_is_there_once_and_in_sequence(network: Network, fault: str) -> None:
    with measured(network.name, fault):
        await judged(network, *FAULTS[fault])


async def judged(network: Network, strike: Fault, strikes: int) -> None:
    async with network.working():
        await network.send(messages(1))
        await network.done(1)
        for _ in range(strikes):
            before = {proxy: len(proxy.pairs) for proxy in network.proxies}
            struck = await strike(network, network.sent, send(network, network.sent))
            await network.done(network.sent)
            for proxy in struck:
                await connected_again(proxy, before[proxy])
        await network.send(messages(1, network.sent))  # whatever comes twice comes before it
        await network.done(network.sent)
        assert network.effects() == list(range(network.sent))


async def send(network: Network, first: int) -> None:
    for start in range(first, first + BATCHES * BATCH, BATCH):
        await network.send(messages(BATCH, start))


async def connected_again(proxy: Proxy, before: int) -> None:
    await eventually(lambda: len(proxy.pairs) > before, "the struck side connects again")
