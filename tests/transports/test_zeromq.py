"""ZeroMQ over real sockets: nothing confirmed is lost by a restart of the worker, and credit holds the producers."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import pytest

from commute.errors import NotReachableError, UsageError
from commute.transports.base import Message
from tests.transports.proxy import Proxy
from tests.transports.wires import DEADLINE_S, messages, until
from tests.transports.zeromq_rig import ROOT, Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def first_occurrences(ids: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(ids))


# -- the way there


AWKWARD = [
    Message("1", "/s", "t", 1.0, b"null"),
    Message("2", "/s", "t", 1.25, b"\xff\x00\xfe not JSON"),
    Message("3", "/s", "t", 0.0, b""),
    Message("4", "/s", "t", 2.0, b' {"a" : 1.0 }\n', {"correlationid": "c", "traceparent": "00-1"}),
    Message("5\n\0é\U0001f600", "/é", "t.ü", 1_700_000_000.123456, b"[" * 100_000),
    Message("6", "/s", "t", 3.0, b'"' + b"x" * 3_000_000 + b'"'),
]


def test_attributes_and_awkward_payloads_arrive_as_they_were(rig: Rig) -> None:
    worker = rig.worker()
    rig.producer().send(AWKWARD).result(DEADLINE_S)
    assert [a.message for a in worker.arrivals] == AWKWARD


def test_thousands_arrive_in_sequence_and_once(rig: Rig) -> None:
    worker, producer = rig.worker(), rig.producer()
    sent = messages(3_000)
    futures = [producer.send(sent[n : n + 7]) for n in range(0, 3_000, 7)]
    for future in futures:
        future.result(DEADLINE_S)
    assert [a.message for a in worker.arrivals] == sent


def test_confirmed_means_acknowledged_by_the_worker(rig: Rig) -> None:
    worker, producer = rig.worker(acks=False), rig.producer()
    future = producer.send(messages(10))
    until(lambda: len(worker.arrivals) == 10, "arrival")
    worker.wire.ack([a.token for a in worker.arrivals[:9]])
    another = producer.send(messages(1, 10))
    until(lambda: len(worker.arrivals) == 11, "arrival of another")
    worker.wire.ack([worker.arrivals[10].token])
    another.result(DEADLINE_S)
    assert not future.done()
    worker.wire.ack([worker.arrivals[9].token])
    future.result(DEADLINE_S)


def test_producers_first_and_the_worker_later(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "commute")
    producer = rig.producer(silence_s=0.05, retry_s_max=1.5)
    futures = [producer.send(messages(5, n)) for n in range(0, 500, 5)]
    until(lambda: "warning[no-worker]" in caplog.text, "the warning")
    worker = rig.worker()
    for future in futures:
        future.result(DEADLINE_S)
    assert first_occurrences(worker.ids) == [m.id for m in messages(500)]


def test_a_worker_sends_to_its_own_stream(rig: Rig) -> None:
    worker = rig.worker()
    worker.wire.send(messages(3)).result(DEADLINE_S)
    worker.wire.send(messages(3, 3), to="events").result(DEADLINE_S)
    assert worker.ids == [m.id for m in messages(6)]


def test_to_names_another_worker(rig: Rig) -> None:
    elsewhere = Rig()
    one, two, producer = rig.worker(), elsewhere.worker(), rig.producer()
    try:
        producer.send(messages(1), to=f"127.0.0.1:{elsewhere.port}").result(DEADLINE_S)
        producer.send(messages(1, 1), to=elsewhere.url).result(DEADLINE_S)
        producer.send(messages(1, 2)).result(DEADLINE_S)
    finally:
        elsewhere.close()
    assert (one.ids, two.ids) == (["e2"], ["e0", "e1"])
    with pytest.raises(UsageError, match="HOST:PORT") as raised:
        producer.send(messages(1), to="audit")
    assert raised.value.slug == "broker-url"


def test_nothing_to_send(rig: Rig) -> None:
    assert rig.producer().send([]).result(0) is None


# -- restarts


def test_unacknowledged_come_again_and_acknowledged_do_not(rig: Rig) -> None:
    worker, producer = rig.worker(acks=False), rig.producer(retry_s_max=0.3)
    futures = [producer.send([m]) for m in messages(10)]
    until(lambda: len(worker.arrivals) == 10, "arrival")
    worker.wire.ack([a.token for a in worker.arrivals[:4]])
    worker.wire.close()
    for future in futures[:4]:
        future.result(DEADLINE_S)
    again = rig.worker()
    for future in futures:
        future.result(DEADLINE_S)
    assert first_occurrences(again.ids) == [m.id for m in messages(10)[4:]]


def test_a_worker_that_restarts_again_and_again_loses_nothing(rig: Rig) -> None:
    producer = rig.producer(retry_s_max=0.2)
    sent = messages(3_000)
    futures: list[Future[None]] = []
    journal: list[str] = []
    worker = rig.worker(ahead_max=50, acks=False)
    for part in range(0, 3_000, 500):
        futures += [producer.send([m]) for m in sent[part : part + 500]]
        until(lambda: len(worker.arrivals) >= 20, "arrivals")  # noqa: B023 - called at once
        kept = worker.arrivals[:20]
        journal += [a.message.id for a in kept]
        worker.wire.ack([a.token for a in kept[:10]])
        worker.wire.close()
        worker = rig.worker(ahead_max=50, acks=part == 2_500)
    for future in futures:
        future.result(DEADLINE_S)
    assert first_occurrences(journal + worker.ids) == [m.id for m in sent]


WORKER = """
import os, sys
from commute.transports.zeromq import ZeromqWire, parse
journal = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
wire = ZeromqWire(parse(sys.argv[1]))
def arrived(batch):
    os.write(journal, "".join(a.message.id + chr(10) for a in batch).encode())
    wire.ack([a.token for a in batch])
wire.connect()
wire.consume("g", arrived, ahead_max=20)
sys.stdin.read()
"""


def test_a_worker_killed_with_sigkill_loses_nothing_confirmed(rig: Rig, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.touch()

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, rig.url, str(journal)],
            stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip

    def lines() -> list[str]:
        return journal.read_text().splitlines()

    producer = rig.producer(retry_s_max=0.3)
    sent = messages(20_000)
    process = start()
    futures: list[Future[None]] = []
    try:
        for part in range(0, len(sent), 5_000):
            before = len(lines())
            futures += [producer.send(sent[n : n + 10]) for n in range(part, part + 5_000, 10)]
            until(lambda: len(lines()) > before + 100, "the worker journals")  # noqa: B023 - called at once
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdin.close()  # type: ignore[union-attr]
            process = start()
        for future in futures:
            future.result(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()  # type: ignore[union-attr]
    assert first_occurrences(lines()) == [m.id for m in sent]


def test_a_duplicate_that_is_not_yet_acknowledged_has_its_own_token(rig: Rig) -> None:
    """A proxy that cuts the connection makes the producer send again to a worker that lives."""
    with closing(Proxy(("127.0.0.1", rig.port))) as proxy:
        worker = rig.worker(acks=False)
        producer = rig.producer(f"zmq+tcp://127.0.0.1:{proxy.port}", retry_s_max=0.3)
        future = producer.send(messages(5))
        until(lambda: len(worker.arrivals) == 5, "first arrival")
        proxy.cut()
        until(lambda: len(worker.arrivals) == 10, "second arrival")
        assert worker.ids == [m.id for m in messages(5)] * 2
        worker.wire.ack([a.token for a in worker.arrivals[:5]])  # of a connection that is gone: forgotten
        producer_again = producer.send(messages(1, 5))
        until(lambda: len(worker.arrivals) == 11, "a further message")
        assert not future.done()
        worker.wire.ack([a.token for a in worker.arrivals[5:]])
        future.result(DEADLINE_S)
        producer_again.result(DEADLINE_S)


# -- credit


def test_no_more_arrive_than_the_worker_allows(rig: Rig) -> None:
    worker = rig.worker(acks=False, ahead_max=100)
    producers = [rig.producer(silence_s=0.05) for _ in range(3)]
    futures = [p.send([replaced(m, f"p{n}")]) for n, p in enumerate(producers) for m in messages(400)]
    acked = 0
    while acked < 1_200:
        until(lambda: len(worker.arrivals) > acked, "more arrivals")  # noqa: B023 - called at once
        batch = worker.arrivals[acked : acked + 37]
        assert len(worker.arrivals) - acked <= 100
        worker.wire.ack([a.token for a in batch])
        acked += len(batch)
    for future in futures:
        future.result(DEADLINE_S)
    for n in range(3):
        mine = [a.message.id for a in worker.arrivals if a.message.source == f"p{n}"]
        assert mine == [m.id for m in messages(400)]


def replaced(message: Message, source: str) -> Message:
    return Message(message.id, source, message.type, message.time_s, message.data)


def test_a_worker_that_is_full_but_alive_is_not_sent_the_same_again(rig: Rig) -> None:
    worker = rig.worker(acks=False, ahead_max=10)
    producer = rig.producer(silence_s=0.02)
    future = producer.send(messages(30))
    until(lambda: len(worker.arrivals) == 10, "the first ten")
    probe = rig.producer(silence_s=0.02)  # its hello is answered: time passes, and nobody gets more
    probe.send(messages(1, 100))
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        assert len(worker.arrivals) == 10
        time.sleep(0.01)
    worker.acks = True
    worker.wire.ack([a.token for a in worker.arrivals[:10]])
    future.result(DEADLINE_S)
    assert [i for i in worker.ids if i != "e100"] == [m.id for m in messages(30)]


def test_what_waits_in_the_producer_is_bounded(rig: Rig) -> None:
    producer = rig.producer(in_flight_max=10)
    first = producer.send(messages(8))
    with pytest.raises(NotReachableError, match="in_flight_max"):
        producer.send(messages(3, 8)).result(0)
    second = producer.send(messages(2, 8))
    worker = rig.worker()
    first.result(DEADLINE_S), second.result(DEADLINE_S)
    producer.send(messages(10, 10)).result(DEADLINE_S)
    assert first_occurrences(worker.ids) == [m.id for m in messages(20)]


def test_close_fails_what_waits_and_is_idempotent(rig: Rig) -> None:
    producer = rig.producer()
    future = producer.send(messages(1))
    producer.close()
    producer.close()
    for failed in (future, producer.send(messages(1))):
        with pytest.raises(NotReachableError) as raised:
            failed.result(DEADLINE_S)
        assert raised.value.slug == "not-reachable"
