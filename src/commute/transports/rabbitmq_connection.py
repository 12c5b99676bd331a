"""How pika connects to RabbitMQ for the wire, and what it lacks there: speed, and a way past headers that it cannot
decode.

pika decodes frame by frame, whatever it is; deliveries to the wire's consumer are taken out of what has arrived before
it comes to that (`rabbitmq_frames`), and only what those are not is left to it, in its place among them.

A producer may set a header to any value of the protocol, and pika fails on some: a time behind the year 9999 (one in
milliseconds, say), a double that is no number. It then drops the connection, and the message comes again with the next
one, for ever. Here such a message comes without its properties, so that it can be rejected and kept.
"""

from __future__ import annotations

import logging
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from commute.errors import CommuteError, NotReachableError, UsageError
from commute.transports.rabbitmq_frames import Delivered, deliveries

if TYPE_CHECKING:
    from commute.transports.rabbitmq import RabbitmqOptions

LOGGER = logging.getLogger("commute")

_DENIED = ("ProbableAuthenticationError", "AuthenticationError", "ProbableAccessDeniedError")
_FRAME = struct.Struct(">BHL")  # kind, channel, size
_CONTENT = struct.Struct(">HHQ")  # class, weight, size of the body
# Each look at the socket lets other threads in, and costs a turn at the interpreter's lock; pika takes 4,096 bytes.
_RECEIVED_BYTES_MAX = 102_400

Taken = Callable[[Sequence[Delivered]], None]


def connection_class(options: RabbitmqOptions) -> Any:
    """pika's SelectConnection, which reads deliveries faster and survives properties that cannot be decoded."""
    import pika
    from pika import frame, spec

    class Connection(pika.SelectConnection):  # type: ignore[misc]
        _frame_buffer: bytes  # what has arrived and is not decoded
        _consumer: tuple[int, Taken] | None = None

        def take_deliveries(self, channel: int, taken: Taken) -> None:
            """From now on give the deliveries on this channel, which has one consumer, to `taken`, as far as
            `rabbitmq_frames` reads them; the others go to the consumer's callback, as ever."""
            self._consumer = channel, taken

        def leave_deliveries(self) -> None:
            """Give all to the consumer's callback again."""
            self._consumer = None

        def _proto_connection_made(self, transport: Any) -> None:
            transport._MAX_RECV_BYTES = _RECEIVED_BYTES_MAX
            super()._proto_connection_made(transport)

        def _on_data_available(self, data_in: bytes) -> None:
            buffer = self._frame_buffer + data_in if self._frame_buffer else data_in
            while buffer:
                waits = False
                if self._consumer is not None:
                    channel, taken = self._consumer
                    found, end, waits = deliveries(buffer, channel)
                    if found:
                        self.bytes_received += end  # heartbeats look at it
                        buffer = buffer[end:]
                        taken(found)
                self._frame_buffer = buffer
                if waits or not buffer:
                    return
                used, value = self._read_frame()
                if not value:
                    return
                self._trim_frame_buffer(used)
                self._process_frame(value)
                buffer = self._frame_buffer

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
