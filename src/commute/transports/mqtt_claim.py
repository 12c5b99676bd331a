"""Which store serves a session on an MQTT broker: a retained message on a topic made of the session's client id.

MQTT has no step that looks and writes at once. So everyone listens before writing, and the first text that comes is the
store: a broker hands out what is published to one topic in one sequence, and whoever wrote later sees the earlier one
come first, and has it retained again. A broker may forget retained messages when it is killed, or keep none.

Source: MQTT 5.0, 3.3.1.3 (RETAIN), 4.6 (message ordering).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from commute.errors import NotReachableError, UsageError
from commute.transports.mqtt_line import NOTES, new_client

if TYPE_CHECKING:
    from types import TracebackType

    from paho.mqtt.client import Client, MQTTMessage

    from commute.transports.mqtt import MqttOptions

_RETAINED_S = 0.5  # a retained message comes at once after the subscription


def claim(options: MqttOptions, client_id: str, store: str) -> str:
    """The store that serves the session: `store` if none did. Blocks. Raises NotReachableError, UsageError."""
    with _Visit(options, client_id) as visit:
        held = visit.retained()
        if held is None:
            visit.publish(store)
            held = visit.first()
            if held != store:
                visit.publish(held)  # else ours stays, which came behind it
        return held


def claimed(options: MqttOptions, client_id: str) -> str | None:
    """The store that serves the session; None: none. Blocks. Raises as `claim`."""
    with _Visit(options, client_id) as visit:
        return visit.retained()


def release(options: MqttOptions, client_id: str) -> None:
    """Forget it. Blocks. Raises as `claim`."""
    with _Visit(options, client_id) as visit:
        visit.publish("")


class _Visit:
    """A short connection that is subscribed to the topic; driven by the calling thread."""

    def __init__(self, options: MqttOptions, client_id: str) -> None:
        self._options = options
        self._topic = NOTES + quote(client_id, safe="")
        self._texts: list[str] = []  # as they came
        self._answers: dict[str, Any] = {}  # to what was asked last, by its kind
        name = f"commute-store-{uuid.uuid4().hex[:16]}"
        self._client: Client = new_client(options, name, five=options.version == "5")
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_publish = self._published
        self._client.on_message = self._message

    def __enter__(self) -> _Visit:
        try:
            self._client.connect(self._options.host, self._options.port)
            self._answer("connect", "does not answer")
            self._client.subscribe(self._topic, qos=1)
            self._answer("subscribe", "does not answer the subscription")
        except OSError as error:
            self._client.disconnect()
            raise self._unreachable(str(error)) from error
        except BaseException:
            self._client.disconnect()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()

    def retained(self) -> str | None:
        self._turn(_RETAINED_S, lambda: bool(self._texts))
        return self._texts[0] if self._texts else None

    def first(self) -> str:
        self._turn(self._options.connect_s_max, lambda: bool(self._texts))
        if not self._texts:
            raise self._denied("nothing that is published there comes back")
        return self._texts[0]

    def publish(self, text: str) -> None:
        self._client.publish(self._topic, text.encode(), qos=1, retain=True)
        self._answer("publish", "does not confirm a retained message")

    def _answer(self, kind: str, silence: str) -> None:
        self._turn(self._options.connect_s_max, lambda: kind in self._answers)
        if kind not in self._answers:
            raise self._unreachable(silence)
        reason = self._answers.pop(kind)
        if reason.is_failure:
            raise self._denied(str(reason))

    def _turn(self, within_s: float, done: Callable[[], bool]) -> None:
        end_s = time.monotonic() + within_s
        while not done() and (left_s := end_s - time.monotonic()) > 0:
            if self._client.loop(min(0.1, left_s)):  # the connection ended
                return

    def _unreachable(self, why: str) -> NotReachableError:
        return NotReachableError(f"{self._options.shown}: {why}; is the broker running, and is that its address?",
                                 slug="not-reachable")  # fmt: skip

    def _denied(self, why: str) -> UsageError:
        return UsageError(f"{self._options.shown}, topic {self._topic}: {why}", slug="broker-url")

    def _connected(self, _client: Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        self._answers["connect"] = reason
        if getattr(properties, "RetainAvailable", 1) == 0:
            raise self._denied("the broker retains no messages")

    def _subscribed(self, _client: Client, _data: Any, _mid: int, reasons: Sequence[Any], _properties: Any) -> None:
        self._answers["subscribe"] = reasons[0]

    def _published(self, _client: Client, _data: Any, _mid: int, reason: Any, _properties: Any) -> None:
        self._answers["publish"] = reason

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if message.payload:
            self._texts.append(bytes(message.payload).decode(errors="replace"))
