"""Does a broker answer? The first words of each protocol, by hand, so that `make brokers` needs no client library.

Each function returns when the server on 127.0.0.1 can be used, and raises OSError or ValueError while it cannot. An
open port is not enough: Kafka listens long before it has a leader, PostgreSQL while it still recovers.
"""

from __future__ import annotations

import socket
import struct

ANSWER_S_MAX = 5.0


def exactly(connection: socket.socket, size_bytes: int) -> bytes:
    """So many bytes; ValueError if the server hangs up before."""
    received = b""
    while len(received) < size_bytes:
        part = connection.recv(size_bytes - len(received))
        if not part:
            raise ValueError("the server hung up")
        received += part
    return received


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S_MAX)


def amqp_frame(connection: socket.socket, expected: tuple[int, int]) -> bytes:
    """The arguments of the next method, which must be `expected` (class, method)."""
    kind, _, size_bytes = struct.unpack(">BHI", exactly(connection, 7))
    payload = exactly(connection, size_bytes + 1)[:-1]
    if kind != 1 or struct.unpack(">HH", payload[:4]) != expected:
        raise ValueError(f"not the method {expected}")
    return payload[4:]


def amqp_method(method: tuple[int, int], arguments: bytes) -> bytes:
    payload = struct.pack(">HH", *method) + arguments
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


def amqp(port: int) -> None:
    """AMQP 0-9-1 as guest, up to the open virtual host."""
    with connected(port) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        amqp_frame(connection, (10, 10))
        login = b"\x00guest\x00guest"
        start_ok = struct.pack(">I", 0) + b"\x05PLAIN" + struct.pack(">I", len(login)) + login + b"\x05en_US"
        connection.sendall(amqp_method((10, 11), start_ok))
        limits = amqp_frame(connection, (10, 30))
        connection.sendall(amqp_method((10, 31), limits) + amqp_method((10, 40), b"\x01/\x00\x00"))
        amqp_frame(connection, (10, 41))
        connection.sendall(amqp_method((10, 50), struct.pack(">HBHH", 200, 0, 0, 0)))
        amqp_frame(connection, (10, 51))


def mqtt(port: int) -> None:
    """MQTT 3.1.1: CONNECT without a session, CONNACK with code 0, DISCONNECT."""
    with connected(port) as connection:
        connect = b"\x00\x04MQTT\x04\x02\x00\x0a\x00\x00"
        connection.sendall(bytes([0x10, len(connect)]) + connect)
        answer = exactly(connection, 4)
        if answer[0] != 0x20 or answer[3] != 0:
            raise ValueError(f"refused: {answer.hex()}")
        connection.sendall(b"\xe0\x00")


def kafka(port: int) -> None:
    """Kafka's Metadata, version 4, for no topic: at least one broker that takes part."""
    with connected(port) as connection:
        client = b"brokers"
        request = struct.pack(">hhih", 3, 4, 1, len(client)) + client + struct.pack(">i?", 0, False)
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size_bytes,) = struct.unpack(">i", exactly(connection, 4))
        correlation, _, brokers = struct.unpack(">iii", exactly(connection, size_bytes)[:12])
        if correlation != 1 or brokers < 1:
            raise ValueError("no broker takes part yet")


def postgresql(port: int) -> None:
    """The start message of protocol 3; ready if it is asked to prove who it is (while it recovers: an error)."""
    with connected(port) as connection:
        parameters = b"user\x00commute\x00database\x00commute\x00\x00"
        connection.sendall(struct.pack(">ii", 8 + len(parameters), 196608) + parameters)
        if (kind := exactly(connection, 1)) != b"R":
            raise ValueError(f"answered {kind!r}")
