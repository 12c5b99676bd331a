"""How pika connects to RabbitMQ for the wire, and what it lacks there: a way past headers that it cannot decode.

A producer may set a header to any value of the protocol, and pika fails on some: a time behind the year 9999 (one in
milliseconds, say), a double that is no number. It then drops the connection, and the message comes again with the next
one, for ever. Here such a message comes without its properties, so that it can be rejected and kept.
"""

from __future__ import annotations

import logging
import ssl
import struct
from typing import TYPE_CHECKING, Any

from commute.errors import CommuteError, NotReachableError, UsageError

if TYPE_CHECKING:
    from commute.transports.rabbitmq import RabbitmqOptions

LOGGER = logging.getLogger("commute")

_DENIED = ("ProbableAuthenticationError", "AuthenticationError", "ProbableAccessDeniedError")
_FRAME = struct.Struct(">BHL")  # kind, channel, size
_CONTENT = struct.Struct(">HHQ")  # class, weight, size of the body


def connection_class(options: RabbitmqOptions) -> Any:
    """pika's SelectConnection, which survives properties that cannot be decoded."""
    import pika
    from pika import frame, spec

    class Connection(pika.SelectConnection):  # type: ignore[misc]
        def _read_frame(self) -> Any:  # there is no public place between the bytes and the loss of the connection
            try:
                return super()._read_frame()
            except Exception as error:
                buffer = bytes(self._frame_buffer)
                kind, channel, size = _FRAME.unpack_from(buffer)
                if kind != spec.FRAME_HEADER:
                    raise
                LOGGER.error(
                    "error[invalid-data] the headers of a message in %s cannot be decoded: %r. It is taken without "
                    "them", options.shown, error,
                )  # fmt: skip
                body_bytes = _CONTENT.unpack_from(buffer, _FRAME.size)[2]
                end = _FRAME.size + size + spec.FRAME_END_SIZE
                return end, frame.Header(channel, body_bytes, pika.BasicProperties())

    return Connection


def parameters(options: RabbitmqOptions) -> Any:
    """Where and how pika is to connect."""
    import pika

    context = ssl.create_default_context(cafile=options.ca_file or None) if options.encrypted else None
    return pika.ConnectionParameters(
        host=options.host,
        port=options.port,
        virtual_host=options.vhost,
        credentials=pika.PlainCredentials(options.user, options.password),
        heartbeat=options.heartbeat_s,
        socket_timeout=options.connect_s_max,
        stack_timeout=options.connect_s_max,
        ssl_options=None if context is None else pika.SSLOptions(context, options.host),
        client_properties={"connection_name": f"commute {options.stream}"},
    )


def delete_queue(options: RabbitmqOptions) -> None:
    """Delete the queue over a connection of its own; blocks. Raises pika's AMQPError."""
    import pika

    with pika.BlockingConnection(parameters(options)) as connection:
        connection.channel().queue_delete(options.stream)


def root(error: BaseException) -> BaseException:
    """What pika wraps: the last failure of the last address."""
    inner: object = getattr(error, "exceptions", (None,))[-1] or getattr(error, "exception", None)
    if inner is None and error.args and isinstance(error.args[0], BaseException):
        inner = error.args[0]
    return root(inner) if isinstance(inner, BaseException) else error


def why_refused(options: RabbitmqOptions, error: BaseException) -> CommuteError:
    """The error of a connection that could not be opened."""
    cause = root(error)
    if type(cause).__name__ in _DENIED or getattr(cause, "reply_code", 0) in (403, 530):
        return UsageError(
            f"{options.shown} refuses the user or the virtual host: look at user, password and the user's permissions "
            f"for {options.vhost!r} ({cause})", slug="broker-url",
        )  # fmt: skip
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UsageError(
            f"{options.shown} shows a certificate that is not trusted: {cause.verify_message}. Name the file of its "
            "authority (ca_file=FILE), and a host that it is for", slug="broker-url",
        )  # fmt: skip
    if isinstance(cause, ssl.SSLError):
        return not_reachable(options, f"no TLS there ({cause.reason}): amqps:// has a port of its own, mostly 5671")
    return not_reachable(options, repr(cause))


def not_reachable(options: RabbitmqOptions, why: str) -> NotReachableError:
    """The broker does not answer, or not as it should."""
    return NotReachableError(f"{options.shown}: {why}; is RabbitMQ running, and is that its address?",
                             slug="not-reachable")  # fmt: skip
