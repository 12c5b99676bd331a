"""amqps:// with an authority of one's own, made by openssl: what is trusted works, what is not is said in words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from commute.errors import NotReachableError, UsageError
from commute.transports.rabbitmq import RabbitmqOptions, RabbitmqWire, parse
from tests.brokers import broker_url
from tests.transports.authority import make_authority
from tests.transports.proxy import Proxy
from tests.transports.rabbitmq_rig import Rig
from tests.transports.wires import DEADLINE_S, messages, names


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(broker_url("rabbitmq"))
    yield made
    made.close()


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return make_authority(tmp_path, "ours")


@pytest.fixture
def port(rig: Rig, ours: Path) -> int:
    """Of a TLS listener before the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours, ours.with_suffix(".key"))
    proxy = Proxy((rig.options().host, rig.options().port), tls=context)
    rig.closers.insert(0, proxy.close)
    return proxy.port


def options(rig: Rig, port: int, ca_file: Path | None) -> RabbitmqOptions:
    more = "" if ca_file is None else f"&ca_file={quote(str(ca_file))}"
    return parse(f"amqps://guest:guest@127.0.0.1:{port}/?queue={rig.queue}{more}")


def test_messages_go_both_ways_over_tls_with_the_authority_that_is_named(rig: Rig, port: int, ours: Path) -> None:
    worker = rig.worker(options(rig, port, ours))
    rig.closers.insert(0, rig.closers.pop())  # closed before its listener
    worker.wire.send(messages(2_000)).result(DEADLINE_S)
    worker.has(2_000)
    assert worker.ids == names(0, 2_000)


def test_another_authority_is_refused_in_words(rig: Rig, port: int, tmp_path: Path) -> None:
    for ca_file in (None, make_authority(tmp_path, "another")):
        wire = RabbitmqWire(options(rig, port, ca_file))
        with pytest.raises(UsageError, match=r"not trusted: self-signed certificate.*ca_file=FILE"):
            wire.connect()
        wire.close()


def test_a_host_that_the_certificate_is_not_for_is_refused(rig: Rig, port: int, ours: Path) -> None:
    wire = RabbitmqWire(replace(options(rig, port, ours), host="localhost"))
    with pytest.raises(UsageError, match="not trusted: Hostname mismatch"):
        wire.connect()
    wire.close()


def test_a_port_without_tls_is_said(rig: Rig, ours: Path) -> None:
    wire = RabbitmqWire(options(rig, rig.options().port, ours))
    with pytest.raises(NotReachableError, match="no TLS there"):
        wire.connect()
    wire.close()
