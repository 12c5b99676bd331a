"""What every transport must do, as checks that anybody can run against a transport of their own.

A transport declares its `Features`; `checks` gives the checks that hold for them, and each is awaited with a
`Harness`, which makes transports on one broker as separate processes would. The memory and the SQLite
transport pass the same suite as any other broker: no stand-in is trusted that has not.

Invariants: every check uses a stream of its own, so that one broker serves them all; no check waits without a
bound; a failure is an AssertionError that says which promise was broken.

Source: the shared suite of Watermill's Pub/Subs; trio's check_one_way_stream.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias

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
)
from commute.testing.processes import (
    check_confirmed_survives_kill,
    check_producer_in_another_process,
    check_receive_wakes_on_another_process,
)
from commute.transports.base import Delivery, Features, Message, Sent

__all__ = ["Check", "Harness", "checks"]

Check: TypeAlias = Callable[[Harness], Awaitable[None]]


def checks(features: Features) -> list[Check]:
    """The checks that a transport with these features must pass, in a sequence from plain to hard."""
    chosen: list[Check] = [
        check_limit_is_kept,
        check_sending_nothing,
        check_attributes_and_awkward_payloads,
        check_large_payload,
        check_receive_wakes_on_send,
        check_receive_is_cancellable,
        check_groups_are_independent,
        check_concurrent_producers,
        check_sending_without_a_loop,
        check_close_is_idempotent,
        check_random_histories,
    ]
    if features.queued:
        chosen += [
            check_unsettled_come_again,
            check_settled_prefix_does_not_come_again,
            check_settling_in_any_sequence,
            check_same_identity_same_bytes,
            check_same_identity_other_bytes,
            check_other_stream,
        ]
    if features.queued and features.ordered:
        chosen.append(check_every_message_arrives_in_sequence)
    if features.queued and features.tells_end:
        chosen.append(check_new_group_starts_at_the_oldest_or_at_the_end)
    if features.stable_positions:
        chosen.append(check_positions_are_stable)
    if features.rereads:
        chosen.append(check_reread)
    if features.multi_process:
        chosen += [check_producer_in_another_process, check_receive_wakes_on_another_process]
    if features.durable and features.multi_process and features.queued:
        chosen.append(check_confirmed_survives_kill)
    return chosen


# -- the checks


async def check_every_message_arrives_in_sequence(harness: Harness) -> None:
    """All that was sent arrives once, in the sequence of sending, unchanged."""
    stream = new_name()
    messages = make_messages(500)
    async with Opened(harness, stream, None) as producer:
        for at in range(0, 500, 50):
            await producer.send(messages[at : at + 50])
    async with Opened(harness, stream, "g") as consumer:
        arrived = await receive_all(consumer, 500)
        require_equal([d.message for d in arrived], messages, "the deliveries are not the messages sent, in sequence")
        positions = [d.position for d in arrived]
        require(sorted(set(positions)) == positions, "positions do not ascend")


async def check_limit_is_kept(harness: Harness) -> None:
    """`receive` gives at least one and at most `limit` deliveries."""
    stream = new_name()
    async with Opened(harness, stream, "g") as transport:
        await transport.send(make_messages(20))
        got = 0
        for limit in (1, 3, 7, 100):
            async with asyncio.timeout(BOUND_S):
                deliveries = await transport.receive(limit)
            require(1 <= len(deliveries) <= limit, f"receive({limit}) gave {len(deliveries)} deliveries")
            got += len(deliveries)
        await receive_all(transport, 20 - got)


async def check_sending_nothing(harness: Harness) -> None:
    """An empty batch is confirmed at once and stores nothing."""
    async with Opened(harness, new_name(), "g") as transport:
        require_equal(list(await transport.send([])), [], "sending nothing gave something")
        require_equal(list(transport.send_sync([])), [], "sending nothing gave something")
        message = make_messages(1)[0]
        await transport.send([message])
        require_equal((await receive_all(transport, 1))[0].message, message, "another message arrived")


async def check_attributes_and_awkward_payloads(harness: Harness) -> None:
    """Empty data, bytes that are no text, Unicode and separators in every attribute: all arrive unchanged."""
    texts = ["æ–中文🚂", "a/b*%{}", "with space\tand tab", "'; drop table x; --", "\u2028", "x" * 500]
    datas = [b"", b"{}", b"\x00", b"\xff\xfe not text", bytes(range(256)), "æ中🚂".encode(), b'"' * 99]
    messages = [
        Message(
            id=f"{text}-{n}",
            source=f"/{text}",
            type=text,
            time_s=-1.5 if n % 2 else 4_102_444_800.123456,
            data=data,
            attributes={"correlationid": text, "empty": ""} if n % 3 else None,
        )
        for n, (text, data) in enumerate((text, data) for text in texts for data in datas)
    ]
    async with Opened(harness, new_name(), "g") as transport:
        await transport.send(messages)
        arrived = await receive_all(transport, len(messages))
    for delivery, message in zip(arrived, messages, strict=True):
        require_equal(delivery.message, message, "a message was changed on its way")


async def check_large_payload(harness: Harness) -> None:
    """Five megabytes, or what the broker takes, arrive unchanged, between small ones."""
    most = min(5_000_000, harness.features.message_bytes_max or 5_000_000)
    small, large, after = make_messages(3, data=lambda n: random.Random(n).randbytes(most if n == 1 else 9))
    async with Opened(harness, new_name(), "g") as transport:
        await transport.send([small, large])
        await transport.send([after])
        arrived = await receive_all(transport, 3)
    require([d.message for d in arrived] == [small, large, after], "a large message was changed or displaced")


async def check_receive_wakes_on_send(harness: Harness) -> None:
    """A waiting `receive` returns after a send of the same process, each time."""
    async with Opened(harness, new_name(), "g") as transport:
        for message in make_messages(20):
            waiting = asyncio.ensure_future(transport.receive(10))
            await asyncio.sleep(0)
            require(not waiting.done(), "receive returned before anything was sent")
            await transport.send([message])
            async with asyncio.timeout(BOUND_S):
                deliveries = await waiting
            require_equal([d.message for d in deliveries], [message], "the wrong message woke the receiver")


async def check_receive_is_cancellable(harness: Harness) -> None:
    """A receive that is cancelled, whenever that is, loses no delivery."""
    messages = make_messages(300)
    chance = random.Random(5)
    arrived: list[Delivery] = []
    async with Opened(harness, new_name(), "g") as transport:
        sending = asyncio.ensure_future(send_slowly(transport, messages, 10))
        async with asyncio.timeout(BOUND_S):
            while len(arrived) < len(messages):
                waiting = asyncio.ensure_future(transport.receive(chance.randint(1, 20)))
                for _ in range(chance.choice((0, 0, 1, 2, 3, 10))):
                    await asyncio.sleep(0)
                if chance.random() < 0.7:
                    waiting.cancel()
                try:
                    arrived += await waiting
                except asyncio.CancelledError:
                    continue
        await sending
    require_equal([d.message for d in arrived], messages, "cancelled receives lost, repeated or displaced deliveries")


async def check_unsettled_come_again(harness: Harness) -> None:
    """What was delivered and not settled comes again after a new open, in sequence, every time."""
    stream = new_name()
    messages = make_messages(30)
    async with Opened(harness, stream, None) as producer:
        await producer.send(messages)
    for _ in range(3):
        async with Opened(harness, stream, "g") as consumer:
            arrived = await receive_all(consumer, 30)
            require_equal([d.message for d in arrived], messages, "unsettled deliveries did not all come again")


async def check_settled_prefix_does_not_come_again(harness: Harness) -> None:
    """What was settled from the beginning on is forgotten; the rest comes again; also when that is none."""
    stream = new_name()
    messages = make_messages(40)
    async with Opened(harness, stream, None) as producer:
        await producer.send(messages)
    for settled in (0, 15, 40):
        async with Opened(harness, stream, "g") as consumer:
            arrived = await receive_all(consumer, 40 if settled <= 15 else 25)
            begin = 0 if settled <= 15 else 15
            require_equal([d.message for d in arrived], messages[begin:], f"after settling {begin} others came")
            consumer.settle([d.handle for d in arrived[: settled - begin]])
    async with Opened(harness, stream, "g") as consumer:
        more = make_messages(1)
        await consumer.send(more)
        arrived = await receive_all(consumer, 1)
        require_equal([d.message for d in arrived], more, "a settled delivery came again")


async def check_settling_in_any_sequence(harness: Harness) -> None:
    """Settling backwards and in pieces forgets all; one left unsettled comes again, whatever follows it."""
    stream = new_name()
    messages = make_messages(60)
    async with Opened(harness, stream, None) as producer:
        await producer.send(messages)
    async with Opened(harness, stream, "g") as consumer:
        arrived = await receive_all(consumer, 60)
        handles = [d.handle for n, d in enumerate(arrived) if n != 17]
        random.Random(3).shuffle(handles)
        for at in range(0, len(handles), 7):
            consumer.settle(handles[at : at + 7])
    async with Opened(harness, stream, "g") as consumer:
        first = (await receive_all(consumer, 1))[0]
        require_equal(first.message, messages[17], "the oldest unsettled delivery did not come first")
        consumer.settle([first.handle])
        more = make_messages(1)
        await consumer.send(more)
        last = first
        async with asyncio.timeout(BOUND_S):
            while last.message != more[0]:
                for last in await consumer.receive(100):
                    require(
                        last.message == more[0] or last.message in messages[18:],
                        "what was settled before the watermark came again",
                    )


async def check_same_identity_same_bytes(harness: Harness) -> None:
    """A message sent again is stored once; where the transport knows positions it tells the first one."""
    stream = new_name()
    a, b, c = make_messages(3)
    async with Opened(harness, stream, None) as producer:
        first = (await producer.send([a, b, a]))[0]
        again = (await producer.send([a, c]))[0]
    if first.position is not None:
        require_equal(again, Sent(first.position, first.position), "a repetition was not recognised")
    async with Opened(harness, stream, "g") as consumer:
        arrived = await receive_all(consumer, 3)
        require_equal([d.message for d in arrived], [a, b, c], "a repetition was stored")


async def check_same_identity_other_bytes(harness: Harness) -> None:
    """One identity with other data or another type is never dropped: it arrives, marked as a duplicate."""
    stream = new_name()
    a, b = make_messages(2)
    other_data = Message(a.id, a.source, a.type, a.time_s, b'{"other": true}')
    other_type = Message(a.id, a.source, "other", a.time_s, a.data)
    other_source = Message(a.id, a.source + "/other", a.type, a.time_s, a.data)
    async with Opened(harness, stream, None) as producer:
        sent = [*await producer.send([a, other_data]), *await producer.send([b, other_type, other_source])]
    async with Opened(harness, stream, "g") as consumer:
        arrived = await receive_all(consumer, 5)
        wanted = [a, other_data, b, other_type, other_source]
        require_equal([d.message for d in arrived], wanted, "a message under a used identity was dropped")
        first = arrived[0].position
        marks = [None, first, None, first, None]
        require_equal([d.duplicate_of for d in arrived], marks, "duplicates are not marked")
        if sent[0].position is None:
            return
        require_equal([s.duplicate_of for s in sent], marks, "the producer is not told of duplicates")
        require_equal([d.position for d in arrived], [s.position for s in sent], "positions differ from those told")


async def check_groups_are_independent(harness: Harness) -> None:
    """Each group gets everything, and settling in one changes nothing in the other."""
    stream = new_name()
    messages = make_messages(25)
    async with Opened(harness, stream, "g") as one, Opened(harness, stream, "h") as two:
        await one.send(messages)
        first, second = await receive_all(one, 25), await receive_all(two, 25)
        require_equal([d.message for d in first], [d.message for d in second], "two groups got different events")
        one.settle([d.handle for d in first])
        two.settle([d.handle for d in second[:5]])
    async with Opened(harness, stream, "h") as two:
        again = await receive_all(two, 20)
        require_equal([d.message for d in again], messages[5:], "a group lost its place to another")


async def check_new_group_starts_at_the_oldest_or_at_the_end(harness: Harness) -> None:
    """A new group gets all that is kept, or, from the end, only what is sent afterwards; once it has a place,
    `from_end` changes nothing."""
    stream = new_name()
    messages = make_messages(10)
    async with Opened(harness, stream, None) as producer:
        await producer.send(messages[:6])
    late = harness.make(stream)
    await late.open("late", from_end=True)
    await late.send(messages[6:])
    require_equal([d.message for d in await receive_all(late, 4)], messages[6:], "from the end: others came")
    await late.close()
    late = harness.make(stream)
    await late.open("late", from_end=True)
    again = await receive_all(late, 4)
    require_equal([d.message for d in again], messages[6:], "from_end skipped what the group had not settled")
    await late.close()
    async with Opened(harness, stream, "early") as early:
        require_equal([d.message for d in await receive_all(early, 10)], messages, "the oldest kept came not first")


async def check_other_stream(harness: Harness) -> None:
    """`to` reaches another stream of the broker, made on first use, and only that one."""
    here, there = new_name(), new_name()
    away, home = make_messages(2)
    async with Opened(harness, here, "g") as transport:
        await transport.send([away], to=there)
        await transport.send([home])
        require_equal((await receive_all(transport, 1))[0].message, home, "a message for elsewhere arrived here")
        async with Opened(harness, there, "g") as other:
            require_equal((await receive_all(other, 1))[0].message, away, "the other stream got something else")


async def check_concurrent_producers(harness: Harness) -> None:
    """Several producers at once: everything arrives once, and each one's sequence is kept."""
    stream = new_name()
    lots = [make_messages(60) for _ in range(4)]
    async with Opened(harness, stream, "g") as one, Opened(harness, stream, None) as two:
        await asyncio.gather(*(send_slowly(t, lot, 7) for t, lot in zip((one, two, one, two), lots, strict=True)))
        arrived = [d.message for d in await receive_all(one, 240)]
    for lot in lots:
        mine = {m.id for m in lot}
        require_equal([m for m in arrived if m.id in mine], lot, "one producer's messages came out of sequence")
    require_equal(len({m.id for m in arrived}), 240, "messages of concurrent producers were lost or repeated")


async def check_sending_without_a_loop(harness: Harness) -> None:
    """`send_sync` from a thread is confirmed and arrives; it works beside a loop that receives."""
    stream = new_name()
    messages = make_messages(20)
    async with Opened(harness, stream, "g") as transport, Opened(harness, stream, None) as producer:
        waiting = asyncio.ensure_future(receive_all(transport, 20))
        await asyncio.to_thread(producer.send_sync, messages[:10])
        await asyncio.to_thread(producer.send_sync, messages[10:])
        require_equal([d.message for d in await waiting], messages, "send_sync lost or displaced messages")


async def check_close_is_idempotent(harness: Harness) -> None:
    """Closing twice, or what was never opened for a group, is no error; what was settled has taken effect."""
    stream = new_name()
    transport = harness.make(stream)
    await transport.open("g")
    await transport.send(make_messages(1))
    transport.settle([d.handle for d in await receive_all(transport, 1)])
    await transport.close()
    await transport.close()
    producer = harness.make(stream)
    await producer.open(None)
    await producer.close()
    await producer.close()


async def check_random_histories(harness: Harness) -> None:
    """Random sends, receives, settlements and restarts: against a model, nothing is lost or displaced."""
    for seed in range(10):
        chance = random.Random(seed)
        stream = new_name()
        sent: list[Message] = []
        settled: set[str] = set()
        transport = harness.make(stream)
        await transport.open("g")
        held: list[Delivery] = []  # delivered since the last open and not settled
        expected = 0  # index in sent of the next delivery
        for _ in range(60):
            action = chance.choice(("send", "receive", "receive", "settle", "settle", "restart"))
            if action == "send":
                more = make_messages(chance.randint(1, 12))
                await transport.send(more)
                sent += more
            elif action == "receive" and expected < len(sent):
                async with asyncio.timeout(BOUND_S):
                    for delivery in await transport.receive(chance.randint(1, 15)):
                        require_equal(delivery.message, sent[expected], f"seed {seed}: another delivery was due")
                        expected += 1
                        if delivery.message.id in settled:
                            transport.settle([delivery.handle])
                        else:
                            held.append(delivery)
            elif action == "settle" and held:
                done = chance.sample(held, chance.randint(1, len(held)))
                transport.settle([d.handle for d in done])
                settled.update(d.message.id for d in done)
                held = [d for d in held if d.message.id not in settled]
            elif action == "restart":
                await transport.close()
                transport = harness.make(stream)
                await transport.open("g")
                open_ones = [n for n, message in enumerate(sent[:expected]) if message.id not in settled]
                expected = min(open_ones, default=expected)
                held = []
        await transport.close()


async def check_positions_are_stable(harness: Harness) -> None:
    """A message has the position that its producer was told, if it was, at every delivery and in every group."""
    stream = new_name()
    async with Opened(harness, stream, "g") as consumer:  # there before the messages, where nothing waits for a reader
        sent = await consumer.send(make_messages(20))
        positions = [d.position for d in await receive_all(consumer, 20)]
        if None not in (told := [s.position for s in sent]):
            require_equal(positions, told, "positions differ from those told")
    for group in ("g", "g", "h") if harness.features.queued else ("g", "g"):
        async with Opened(harness, stream, group) as consumer:
            arrived = await receive_all(consumer, 20)
            require_equal([d.position for d in arrived], positions, "a position changed")
            require_equal({d.partition for d in arrived}, {arrived[0].partition}, "one stream, several partitions")


async def check_reread(harness: Harness) -> None:
    """Unsettled deliveries are given again by position, in the sequence asked for."""
    async with Opened(harness, new_name(), "g") as transport:
        await transport.send(make_messages(30))
        arrived = await receive_all(transport, 30)
        transport.settle([d.handle for d in arrived[:5]])
        wanted = [arrived[n] for n in (29, 7, 8, 9, 5, 20)]
        again = await transport.reread(arrived[0].partition, [d.position for d in wanted])
        require_equal(list(again), wanted, "rereading gave something else")
        require_equal(list(await transport.reread(arrived[0].partition, [])), [], "rereading nothing gave something")
