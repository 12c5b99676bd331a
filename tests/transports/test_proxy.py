"""The proxy does to connections what its names say: otherwise what is tested behind it was not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.transports.proxy import Proxy


class Line:
    """A client, the proxy, and a server that has accepted."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.proxy = Proxy(listener.getsockname())
        self.client = socket.create_connection(("127.0.0.1", self.proxy.port))
        self.server, _ = listener.accept()
        listener.close()
        for end in (self.client, self.server):
            end.settimeout(20)
        self.client.sendall(b"hello")
        assert self.server.recv(100) == b"hello"

    def close(self) -> None:
        self.client.close()
        self.server.close()
        self.proxy.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


@pytest.mark.parametrize("speaks", ["client", "server"])
def test_both_sides_are_reset(line: Line, speaks: str) -> None:
    line.proxy.reset()
    getattr(line, speaks).sendall(b"never arrives")
    for end in (line.client, line.server):
        with pytest.raises(ConnectionResetError):
            end.recv(100)


@pytest.mark.parametrize("speaks", ["client", "server"])
def test_half_of_a_frame_arrives_before_the_end(line: Line, speaks: str) -> None:
    hears = line.server if speaks == "client" else line.client
    line.proxy.cut_in_mid_frame()
    getattr(line, speaks).sendall(b"12345678")
    assert (hears.recv(100), hears.recv(100)) == (b"1234", b"")


@pytest.mark.parametrize(
    ("fault", "lost"), [("swallow", {"client", "server"}), ("deafen", {"client"}), ("mute", {"server"})]
)
def test_what_is_said_is_lost_one_way_or_both(line: Line, fault: str, lost: set[str]) -> None:
    getattr(line.proxy, fault)()
    for speaks, says, hears in (("client", line.client, line.server), ("server", line.server, line.client)):
        says.sendall(b"said")
        hears.settimeout(0.2 if speaks in lost else 20)
        try:
            assert (hears.recv(100), speaks in lost) == (b"said", False)
        except TimeoutError:
            assert speaks in lost
    line.proxy.cut()
    assert line.client.recv(100) == b""
