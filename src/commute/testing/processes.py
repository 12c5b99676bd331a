"""The conformance checks that take another process: a transport that several can reach must pass them too.

Invariants: as for `conformance`; a child that outlives its check is killed.
"""

from __future__ import annotations

import asyncio
import json
import random

from commute.testing.harness import (
    BOUND_S,
    Harness,
    Opened,
    make_messages,
    new_name,
    receive_all,
    require,
    require_equal,
    send_slowly,
    start_child,
)


async def check_producer_in_another_process(harness: Harness) -> None:
    """Producers in two other processes and this one: all arrives once, each one's sequence kept."""
    stream = new_name()
    mine = make_messages(40)
    async with Opened(harness, stream, "g") as transport:
        children = [await start_child(harness, stream, name, 100) for name in ("one", "two")]
        await send_slowly(transport, mine, 5)
        arrived = [d.message for d in await receive_all(transport, 240)]
        for child in children:
            async with asyncio.timeout(BOUND_S):
                _, errors = await child.communicate()
            require_equal(child.returncode, 0, f"a producer process failed: {errors.decode()}")
    require_equal([m for m in arrived if m.id in {x.id for x in mine}], mine, "this process's sequence was lost")
    for name in ("one", "two"):
        ids = [m.id for m in arrived if m.source == f"/{name}"]
        require_equal(ids, [f"{name}-{n}" for n in range(100)], f"the sequence of process {name} was lost")


async def check_receive_wakes_on_another_process(harness: Harness) -> None:
    """A waiting `receive` returns soon after another process has sent."""
    stream = new_name()
    async with Opened(harness, stream, "g") as transport:
        waiting = asyncio.ensure_future(receive_all(transport, 3))
        child = await start_child(harness, stream, "far", 3)
        await waiting
        await child.communicate()


async def check_confirmed_survives_kill(harness: Harness) -> None:
    """A producer process is killed with SIGKILL at random moments; all that it had confirmed arrives."""
    chance = random.Random(11)
    stream = new_name()
    confirmed: list[str] = []
    for round_ in range(3):
        child = await start_child(harness, stream, f"victim{round_}", 1_000_000)
        assert child.stdout is not None
        async with asyncio.timeout(BOUND_S):
            for _ in range(chance.randint(5, 60)):
                line = await child.stdout.readline()
                confirmed.append(json.loads(line))
        child.kill()
        rest, _ = await child.communicate()
        # The last line may be cut by the kill; a whole one was confirmed.
        confirmed += [json.loads(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    missing = set(confirmed)
    more = make_messages(1)
    async with Opened(harness, stream, "g") as consumer:
        await consumer.send(more)
        async with asyncio.timeout(BOUND_S):
            last = ""
            while last != more[0].id:
                for delivery in await consumer.receive(1000):
                    last = delivery.message.id
                    missing.discard(last)
    require(not missing, f"{len(missing)} of {len(confirmed)} confirmed messages are lost: {sorted(missing)[:5]}")
