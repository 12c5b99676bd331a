"""Which store serves a RabbitMQ queue: a text in the arguments of an empty queue beside it.

A declaration is one step at the broker, and one with other arguments is refused with what is there: so of two that come
at once, one is first. A message in a queue would not do: whoever looks at it has it, and the next one finds none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from commute.errors import UsageError
from commute.transports.rabbitmq_connection import parameters, why_refused
from commute.transports.rabbitmq_headers import SHORT_BYTES_MAX
from commute.transports.rabbitmq_queues import UNEQUAL

if TYPE_CHECKING:
    from commute.transports.rabbitmq import RabbitmqOptions

_ROUTING_KEY = "x-dead-letter-routing-key"  # any text, and compared; nothing is ever in the queue to be routed
_IMPOSSIBLE = {"x-max-length": -1}  # looked at after the text, so that a question never makes the queue


def claim(options: RabbitmqOptions, store: str) -> str:
    """The store that serves the queue: `store` if none did. Blocks. Raises NotReachableError, UsageError."""
    refusal = _refusal(options, store)
    if not refusal:
        return store
    _understood(options, refusal)
    return claimed(options) or claim(options, store)


def claimed(options: RabbitmqOptions) -> str | None:
    """The store that serves the queue, as far as the broker's answer has room for it; None: none. Raises as `claim`."""
    refusal = _refusal(options, "?", _IMPOSSIBLE)
    if "invalid arg" in refusal:
        return None
    _understood(options, refusal)
    unequal = UNEQUAL.search(refusal)
    return unequal[2] if unequal else "?"


def release(options: RabbitmqOptions) -> None:
    """Forget it. Blocks. Raises as `claim`."""
    import pika

    try:
        with pika.BlockingConnection(parameters(options)) as connection:
            connection.channel().queue_delete(_queue(options))
    except pika.exceptions.ChannelClosedByBroker as error:
        raise UsageError(f"{options.shown}: {error.reply_text}", slug="broker-url") from None
    except pika.exceptions.AMQPError as error:
        raise why_refused(options, error) from None


def _queue(options: RabbitmqOptions) -> str:
    queue = f"{options.stream}.commute-store"
    if len(queue.encode()) > SHORT_BYTES_MAX:
        raise UsageError(f"a queue {queue!r} would have too long a name", slug="broker-url")
    return queue


def _refusal(options: RabbitmqOptions, text: str, more: dict[str, int] | None = None) -> str:
    """What RabbitMQ has against the declaration; empty: it is there, as said."""
    import pika

    queue = _queue(options)
    # Always a quorum queue, whatever `kind` the URL says: the text alone is to be compared.
    arguments = {"x-queue-type": "quorum", "x-dead-letter-exchange": queue, _ROUTING_KEY: text, **(more or {})}
    try:
        with pika.BlockingConnection(parameters(options)) as connection:
            connection.channel().queue_declare(queue, durable=True, arguments=arguments)
    except pika.exceptions.ChannelClosedByBroker as error:
        return str(error.reply_text)
    except pika.exceptions.AMQPError as error:
        raise why_refused(options, error) from None
    return ""


def _understood(options: RabbitmqOptions, refusal: str) -> None:
    if f"inequivalent arg '{_ROUTING_KEY}'" not in refusal:
        raise UsageError(f"{options.shown} refuses the queue {_queue(options)!r}: {refusal}", slug="broker-url")
