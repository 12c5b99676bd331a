"""What can be told of a ZeroMQ address: whether a worker is bound there, and how it wants to be spoken to.

Source: ZeroMQ's RFC 23 (ZMTP 3.0): the greeting names the security mechanism before anything else is said.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from commute.errors import NotReachableError
from commute.transports.finding import Finding, good, problem, warning
from commute.transports.zeromq import is_loopback

if TYPE_CHECKING:
    from commute.transports.zeromq import ZeromqOptions

_ANSWER_S_MAX = 3.0
_GREETING_BYTES = 64
_MECHANISM = slice(12, 32)


def examine(options: ZeromqOptions, reader: str | None) -> list[Finding]:
    """The address and its encryption. Blocks for seconds. Raises NotReachableError: another machine, and nobody is
    bound there."""
    del reader
    curve = bool(options.server_key or options.secret_key)
    found = _security(options, curve)
    if _is_free(options):
        return [*found, warning("worker", f"no worker is bound to {options.address}: the port is free",
                                "start one; producers keep their events in memory until then")]  # fmt: skip
    mechanism = _mechanism(options)
    if mechanism is None:
        return [*found, problem("worker", f"what listens at {options.address} is not ZeroMQ",
                                "name another port, or stop that program")]  # fmt: skip
    if (mechanism == "CURVE") != curve:
        return [*found, problem("worker", f"it is bound with {mechanism}, and this URL has "
                                          f"{'keys' if curve else 'no keys'}",
                                "give both sides keys, or neither")]  # fmt: skip
    return [*found, good("worker", f"one is bound to {options.address} ({mechanism})")]


def _security(options: ZeromqOptions, curve: bool) -> list[Finding]:
    if curve:
        return [good("encryption", "CURVE: encrypted, and the worker is proved to producers")]
    if is_loopback(options.host):
        return [good("encryption", "none; nobody else can reach loopback")]
    if options.insecure:
        return [warning("encryption", f"none: whoever reaches {options.address} reads and sends events (insecure=1)",
                        "give both sides CURVE keys: docs/zeromq.md")]  # fmt: skip
    return [problem("encryption", f"{options.address} is not loopback, and there are no keys: no worker starts",
                    "give both sides CURVE keys: docs/zeromq.md")]  # fmt: skip


def _is_free(options: ZeromqOptions) -> bool:
    """Whether this machine could bind there, that is, nobody has. Raises NotReachableError: no such host."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a worker that has just ended holds nothing
            probe.bind(place)
    except socket.gaierror as error:
        raise _unreachable(options, error) from error
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            return False
        raise _unreachable(options, error) from error
    return True


def _mechanism(options: ZeromqOptions) -> str | None:
    """The name that the other side's greeting gives; None: it does not greet."""
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0")
    answer = b""
    try:
        with socket.create_connection((options.host, options.port), _ANSWER_S_MAX) as connection:
            connection.sendall(greeting.ljust(_GREETING_BYTES, b"\0"))
            while len(answer) < _GREETING_BYTES and (part := connection.recv(_GREETING_BYTES)):
                answer += part
    except (TimeoutError, ConnectionResetError):
        return None
    except OSError as error:
        if not answer:
            raise _unreachable(options, error) from error
    if len(answer) < _MECHANISM.stop or answer[0] != 0xFF:
        return None
    return answer[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")


def _unreachable(options: ZeromqOptions, error: OSError) -> NotReachableError:
    return NotReachableError(f"{options.shown}: {error}; is a worker running there?", slug="not-reachable")
