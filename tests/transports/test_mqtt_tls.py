"""mqtts:// with an authority of one's own, before a real Mosquitto: what is trusted works, what is not is said."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from commute.errors import NotReachableError
from commute.transports.base import Message
from commute.transports.mqtt import MqttOptions, MqttWire, parse
from tests.brokers import broker_url
from tests.transports.authority import make_authority
from tests.transports.proxy import Proxy
from tests.transports.wires import DEADLINE_S, Worker, messages


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return make_authority(tmp_path, "ours")


@pytest.fixture
def port(ours: Path) -> Iterator[int]:
    """Of a TLS listener before the server."""
    plain = parse(f"{broker_url('mqtt').rstrip('/')}/x")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours, ours.with_suffix(".key"))
    proxy = Proxy((plain.host, plain.port), tls=context)
    yield proxy.port
    proxy.close()


def options(port: int, ca_file: Path | None, host: str = "127.0.0.1") -> MqttOptions:
    more = "" if ca_file is None else f"?ca_file={quote(str(ca_file))}"
    return replace(parse(f"mqtts://{host}:{port}/test/{uuid.uuid4().hex[:12]}{more}"), session_expiry_s=0.0)


def test_messages_go_both_ways_over_tls_with_the_authority_that_is_named(port: int, ours: Path) -> None:
    worker = Worker(MqttWire(options(port, ours)))
    large = Message("large", "/s", "t", 1.0, b"x" * 5_000_000)  # of many records, read in several turns
    sent = [*messages(200), large, *messages(10, 200)]
    worker.wire.send(sent).result(DEADLINE_S)
    worker.has(len(sent))
    assert [arrival.message for arrival in worker.arrivals] == sent
    worker.wire.close()


# paho forgets the socket of a handshake that fails; it is closed all the same, as nobody else has it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_who_is_not_trusted_is_said(port: int, ours: Path, tmp_path: Path) -> None:
    others = [options(port, None), options(port, make_authority(tmp_path, "another")), options(port, ours, "localhost")]
    for each in others:
        wire = MqttWire(each)
        with pytest.raises(NotReachableError, match=r"certificate verify failed.*ca_file=FILE.*a host that it is for"):
            wire.connect()
        wire.close()
