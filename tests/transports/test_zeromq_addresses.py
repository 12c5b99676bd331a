"""Where ZeroMQ workers may listen and producers may send: keys, URLs, foreign frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import zmq

from commute.cloudevents import STRUCTURED, structured
from commute.errors import NotReachableError, UsageError
from commute.transports.zeromq import ZeromqWire, parse
from commute.transports.zeromq_sessions import _HEADER, HELLO, JSON_BATCH, VERSION
from tests.transports.wires import DEADLINE_S, messages, until
from tests.transports.zeromq_rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


# -- addresses and keys


def keyed_urls(rig: Rig) -> tuple[str, str]:
    """The worker's URL and a producer's, with CURVE."""
    public, secret = (quote(key.decode(), safe="") for key in zmq.curve_keypair())
    return f"{rig.url}?public_key={public}&secret_key={secret}", f"{rig.url}?server_key={public}"


def test_curve_round_trip_and_a_wrong_key(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    worker_url, producer_url = keyed_urls(rig)
    worker = rig.worker(url=worker_url)
    rig.producer(producer_url).send(messages(100)).result(DEADLINE_S)
    worker.wire.send(messages(1, 100)).result(DEADLINE_S)  # to itself, by its own key
    assert worker.ids == [m.id for m in messages(101)]
    stranger = rig.producer(keyed_urls(rig)[1], silence_s=0.02, retry_s_max=0.05)
    plain = rig.producer(silence_s=0.02, retry_s_max=0.05)
    lost = [stranger.send(messages(1, 200)), plain.send(messages(1, 201))]
    rig.producer(producer_url).send(messages(1, 101)).result(DEADLINE_S)
    assert len(worker.arrivals) == 102
    assert not any(future.done() for future in lost)


def test_keys_come_from_the_environment_and_are_never_shown(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    public, secret = (key.decode() for key in zmq.curve_keypair())
    monkeypatch.setenv("COMMUTE_ZMQ_PUBLIC_KEY", public)
    monkeypatch.setenv("COMMUTE_ZMQ_SECRET_KEY", secret)
    options = parse("zmq+tcp://10.0.0.1:5555?stream=s")
    assert (options.public_key, options.secret_key, options.shown) == (
        public,
        secret,
        "zmq+tcp://10.0.0.1:5555?stream=s",
    )
    assert secret not in repr(options)


@pytest.mark.parametrize("host", ["10.1.2.3", "0.0.0.0", "*", "example.org", "[2001:db8::1]"])
def test_plain_text_beyond_loopback_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match=r"secret_key.*insecure=1") as raised:
        ZeromqWire(parse(f"zmq+tcp://{host}:5555")).connect()
    assert raised.value.slug == "insecure"


def test_a_producers_key_does_not_let_a_worker_listen_beyond_loopback(rig: Rig) -> None:
    wire = rig.producer(keyed_urls(rig)[1].replace("127.0.0.1", "0.0.0.0"))
    with pytest.raises(UsageError, match="public_key"):
        wire.consume("g", lambda _: None, ahead_max=10)


def test_insecure_is_taken_at_its_word(rig: Rig) -> None:
    worker = rig.worker(url=f"zmq+tcp://0.0.0.0:{rig.port}?insecure=1")
    rig.producer().send(messages(1)).result(DEADLINE_S)
    worker.wire.send(messages(1, 1)).result(DEADLINE_S)
    assert worker.ids == ["e0", "e1"]


def test_a_send_beyond_loopback_is_refused_too(rig: Rig) -> None:
    with pytest.raises(UsageError, match="insecure=1"):
        rig.producer().send(messages(1), to="10.1.2.3:5555")


def test_an_address_that_is_taken(rig: Rig) -> None:
    rig.worker()
    other = rig.producer()
    with pytest.raises(NotReachableError, match="another port") as raised:
        other.consume("g", lambda _: None, ahead_max=10)
    assert raised.value.slug == "not-reachable"


def test_another_stream_is_refused_in_words(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    worker = rig.worker()
    producer = rig.producer(f"{rig.url}?stream=other")
    future = producer.send(messages(1))
    until(lambda: "reads the stream 'events', not 'other'" in caplog.text, "the refusal")
    assert not future.done() and not worker.arrivals


@pytest.mark.parametrize(
    "url",
    ["zmq+tcp://host", "zmq+tcp://:5555", "zmq+tcp://host:x", "zmq+tcp://u:p@host:1", "zmq+tcp://host:1/path",
     "zmq+tcp://host:1?strem=x", "zmq+tcp://host:1?stream=", "zmq+tcp://host:1?in_flight_max=0",
     "zmq+tcp://host:1?in_flight_max=many", "zmq+tcp://host:1?insecure=yes", "zmq+tcp://host:1?server_key=short"],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(url)
    assert raised.value.slug == "broker-url"
    assert not re.search(r"u:p@|short", str(raised.value))


def test_urls_that_are_read() -> None:
    assert parse("zmq+tcp://localhost:5555").stream == "events"
    assert parse("zmq+tcp://[::1]:5555?stream=a").address == "[::1]:5555"
    assert parse("zmq+tcp://localhost:1?in_flight_max=7").in_flight_max == 7


# -- others who speak the protocol


def test_documents_as_json_and_what_cannot_be_read(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """What a producer in another language sends: a hello, and a batch of documents; then bytes that are no batch."""
    worker = rig.worker()
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.connect(f"tcp://127.0.0.1:{rig.port}")
        dealer.send_multipart([b"no protocol of ours"])
        dealer.send_multipart([_HEADER.pack(VERSION, HELLO, 1, 0, 0, 4), b"sixteen bytes ok" + b"events"])
        assert dealer.poll(30_000)
        assert _HEADER.unpack(dealer.recv_multipart()[0])[4] >= 4  # credit
        known = messages(1)[0]
        body = b"[" + structured(known) + b',{"plain":true}]'
        dealer.send_multipart([_HEADER.pack(VERSION, JSON_BATCH, 1, 0, 2, 2), body])
        dealer.send_multipart([_HEADER.pack(VERSION, JSON_BATCH, 1, 2, 2, 0), b"\xff\xfe"])
        until(lambda: len(worker.arrivals) == 3, "arrivals")
    finally:
        dealer.close(linger=0)
        context.term()
    first, second, third = (a.message for a in worker.arrivals)
    assert first == known
    assert (second.type, second.data) == ("events", b'{"plain":true}')
    assert third.data == b"\xff\xfe"
    assert "warning[zeromq-peer]" in caplog.text and STRUCTURED.startswith("application/")
