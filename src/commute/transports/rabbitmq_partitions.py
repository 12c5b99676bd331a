"""A stream of several queues: which event goes to which, and when all that one `send` has sent is confirmed.

The queue of an event is that of its attribute ``partitionkey``, hashed as Kafka's producers do; an event without one
may lie anywhere, and its identity is hashed, so that it is found in the same queue when it is sent again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from commute.core.murmur2 import partition_of
from commute.transports.base import Message

if TYPE_CHECKING:
    from commute.transports.rabbitmq import RabbitmqOptions


def dealt(messages: Sequence[Message], options: RabbitmqOptions) -> dict[str, list[Message]]:
    """The messages by queue, in their sequence within each."""
    queues: dict[str, list[Message]] = {}
    for message in messages:
        label = (message.attributes or {}).get("partitionkey") or f"{message.source}#{message.id}"
        queue = options.of_partition(partition_of(label, options.partitions)).stream
        queues.setdefault(queue, []).append(message)
    return queues


def joined(parts: Sequence[Future[None]]) -> Future[None]:
    """Resolved when all parts are; fails as the first that does, once all have ended."""
    whole: Future[None] = Future()
    whole.set_running_or_notify_cancel()
    lock = threading.Lock()
    left = len(parts)

    def ended(_part: Future[None]) -> None:
        nonlocal left
        with lock:
            left -= 1
            if left:
                return
        error = next((error for part in parts if (error := part.exception()) is not None), None)
        if error is None:
            whole.set_result(None)
        else:
            whole.set_exception(error)

    if not parts:
        whole.set_result(None)
    for part in parts:
        part.add_done_callback(ended)
    return whole
