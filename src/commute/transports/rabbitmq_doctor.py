"""What can be told of a RabbitMQ broker and a queue by its own protocol, without taking or leaving a message.

A queue's properties are told by refusals alone: it is declared as ours, and each refusal names one that differs, which
is then taken over and asked again. All declarations are durable: if the queue is deleted just then, no weaker one comes
into being. What policies of the server add is not told this way.

Source: AMQP 0-9-1, equivalence of queues; RabbitMQ's publisher confirms (a message that no queue takes comes back).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from commute.transports.finding import Finding, good, plain_text, problem, warning
from commute.transports.rabbitmq_connection import parameters, why_refused
from commute.transports.rabbitmq_queues import LIMITED, SHARED, UNEQUAL, WEAKER

if TYPE_CHECKING:
    from commute.transports.rabbitmq import RabbitmqOptions

_BLOCKED_S_MAX = 3.0
_ARGUMENTS_MAX = 20  # of one queue; the protocol has fewer that matter here
_VERSION_MIN = (3, 8)  # the first with quorum queues and single active consumers
_DROPS = {
    "x-message-ttl": "it drops messages that have waited {} ms",
    "x-expires": "it is deleted with its messages after {} ms without a consumer",
    "x-max-length": "it holds {} messages and drops or refuses more",
    "x-max-length-bytes": "it holds {} bytes and drops or refuses more",
}
_REMAKE = "let it run empty, delete it, and let a worker make it anew: a durable quorum queue"


def examine(options: RabbitmqOptions, reader: str | None) -> list[Finding]:
    """Broker, user, queue. Blocks for seconds at most. Raises NotReachableError, UsageError (``broker-url``)."""
    import pika

    del reader  # RabbitMQ knows no readers but connected consumers
    setup = parameters(options)
    setup.blocked_connection_timeout = _BLOCKED_S_MAX
    try:
        with pika.BlockingConnection(setup) as connection:
            found = _broker(connection, options)
            found += _queue(connection, options)
            found += _publishing(connection, options)
    except (pika.exceptions.AMQPError, OSError) as error:
        raise why_refused(options, error) from error
    return found


def _broker(connection: Any, options: RabbitmqOptions) -> list[Finding]:
    said = connection._impl.server_properties or {}  # there is no public way to it
    name, version = said.get("product", "an AMQP broker"), str(said.get("version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    text = f"{name} {version}, user {options.user!r}, virtual host {options.vhost!r}"
    old = bool(numbers) and numbers < _VERSION_MIN
    broker = (
        problem("broker", text, "it has no quorum queues: use RabbitMQ 3.13 or later") if old else good("broker", text)
    )
    return [broker, *plain_text(options.host, options.encrypted)]


def _queue(connection: Any, options: RabbitmqOptions) -> list[Finding]:
    from pika.exceptions import ChannelClosedByBroker

    name = repr(options.stream)
    try:
        method = connection.channel().queue_declare(options.stream, passive=True).method
    except ChannelClosedByBroker as error:
        if error.reply_code == 404:
            return [warning("queue", f"there is no queue {name}",
                            "start a worker, which makes it; what is published before has nowhere to go")]  # fmt: skip
        return [problem("queue", f"the broker does not show the queue {name}: {error.reply_text}",
                        f"look at its state and the rights of the user {options.user!r}")]  # fmt: skip
    waiting, consumers = method.message_count, method.consumer_count
    text = f"{waiting:,} messages wait, {consumers} consumers are connected"
    first = good("queue", f"{name}: {text}")
    if waiting and not consumers:
        first = warning("queue", f"{name}: {text}", "start a worker")
    return [first, *_kind(connection, options)]


def _kind(connection: Any, options: RabbitmqOptions) -> list[Finding]:
    """What the queue promises, one line for each thing that it promises less."""
    from pika.exceptions import ChannelClosedByBroker

    arguments: dict[str, object] = {"x-queue-type": "quorum", SHARED: True}
    flaws: list[Finding] = []
    for _ in range(_ARGUMENTS_MAX):
        try:
            connection.channel().queue_declare(options.stream, durable=True, arguments=arguments)
        except ChannelClosedByBroker as error:
            unequal = UNEQUAL.search(error.reply_text)
            if unequal is None:
                return [*flaws, good("kind", f"it cannot be told further: {error.reply_text}")]
            argument, current = unequal.groups()
            flaws += _flaw(argument, current)
            if not argument.startswith("x-"):  # asking on would mean a declaration that is not durable
                return flaws
            if current == "none":
                arguments.pop(argument, None)
                if argument == "x-queue-type":
                    arguments[argument] = "classic"
            else:
                arguments[argument] = int(current) if current.lstrip("-").isdecimal() else current == "true" or current
        else:
            break
    return flaws or [good("kind", "a durable quorum queue with a single active consumer")]


def _flaw(argument: str, current: str) -> list[Finding]:
    if argument == "x-queue-type" and current == "stream":
        return [problem("kind", "it is a stream, which forgets nothing that is acknowledged",
                        "name a quorum or classic queue")]  # fmt: skip
    if argument in _DROPS:
        return [
            problem("kind", f"{_DROPS[argument].format(current)} ({argument})", f"{_REMAKE}, without that argument")
        ]
    if argument == LIMITED and current == "-1":
        return []
    if argument in WEAKER:
        kind = "classic" if current == "none" else current
        text = WEAKER[argument].format(current=kind, kind="quorum")
        return [(problem if argument in ("durable", "auto_delete") else warning)("kind", text, _REMAKE)]
    return [good("kind", f"its {argument} is {current}")]


def _publishing(connection: Any, options: RabbitmqOptions) -> list[Finding]:
    """Whether the user may publish: a message to nobody, which must come back."""
    from pika.exceptions import ChannelClosedByBroker, ConnectionBlockedTimeout, UnroutableError

    channel = connection.channel()
    try:
        channel.confirm_delivery()
        channel.basic_publish("", f"commute-doctor-{uuid.uuid4().hex}", b"", mandatory=True)
    except UnroutableError:
        return [good("publishing", "the user may publish, and the broker answers each message")]
    except ChannelClosedByBroker as error:
        return [problem("publishing", f"the user {options.user!r} may not publish: {error.reply_text}",
                        "rabbitmqctl set_permissions: producers need write, workers configure and read")]  # fmt: skip
    except ConnectionBlockedTimeout:
        return [problem("publishing", "the broker takes no messages: it has raised an alarm",
                        "free memory or disk there: rabbitmq-diagnostics alarms")]  # fmt: skip
    return [warning("publishing", "a message to nobody did not come back", "look for an alternate exchange")]
