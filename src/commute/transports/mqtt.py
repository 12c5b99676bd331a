"""MQTT 5 and 3.1.1: a wire on a broker such as Mosquitto, with acknowledgements after the journal, in sequence.

    mqtt://user:password@host:1883/plant/+device/temperature     level 2 fills the field `device` of the JSON data
    mqtts://host/orders/#?version=3.1.1                          TLS, port 8883, documents in place of properties

Producers and workers of one topic use one version: for a receiver with 3.1.1 the broker drops the properties.

One connection sends and, once `consume` was called, another receives: whatever happens to one does not hold the other.
The receiving one has a stable client id and a session that outlives it; the broker sends again what was not
acknowledged. Events travel at QoS 1. QoS 0 and retained messages of other producers are taken as they come.

Invariants: acknowledgements go out in the sequence of receipt (Receiver); a receipt of an earlier connection is never
acknowledged; with `ahead_max` unacknowledged nothing more is read, and if that lasts the connection ends until half of
them are in the journal. A message of a lost connection fails for its sender, who may send it again.

Source: MQTT 5.0 (docs.oasis-open.org/mqtt); CloudEvents 1.0.2, MQTT protocol binding.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from commute import cloudevents
from commute.cloudevents import PlainJson
from commute.errors import NotReachableError, UsageError
from commute.limits import DAY_S
from commute.transports import mqtt_claim
from commute.transports.base import Message
from commute.transports.mqtt_line import RECEIVE_MAX, Line, Publishing, Receiving, library
from commute.transports.mqtt_roles import (
    Outgoing,
    Receiver,
    Sending,
    document,
    properties_of,
    topic_filter,
    topic_to_send,
    with_levels,
)
from commute.transports.trust import checked_ca
from commute.transports.waiting import Waiting
from commute.transports.wire import Arrival, Promises, StreamOptions

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_VERSIONS = ("5", "3.1.1")
_ACCEPTED = (
    "write mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC (mqtts:// for TLS), and of version=3.1.1, content=structured, "
    "client_id, ca_file, session_expiry_s and in_flight_max what is needed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions(StreamOptions):
    """The broker, the topic filter as written (`stream`), and all bounds."""

    host: str
    port: int
    stream: str
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca_file: str = ""  # of the authority that signed the broker's certificate; empty: the system's
    version: str = "5"
    structured: bool = False  # events are sent as one JSON document each; with 3.1.1 always
    client_id: str = ""  # of the receiving connection; empty: made of group and filter
    session_expiry_s: float = 7 * DAY_S  # how long the broker keeps messages for a worker that is away (MQTT 5)
    in_flight_max: int = 1_000  # published and not confirmed
    waiting_max: int = 100_000  # messages handed to `send` and not confirmed
    keepalive_s: int = 15
    connect_s_max: float = 10.0
    pressure_s_max: float = 5.0  # that messages may wait for the journal before the connection is given up
    retry_s_min: float = 0.1
    retry_s_max: float = 5.0

    def aside(self, stream: str) -> MqttOptions:
        return replace(self, stream=topic_to_send(stream), client_id="")  # a session of its own

    @property
    def shown(self) -> str:
        """The URL without the password."""
        user = f"{self.user}:***@" if self.user else ""
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{self.place}/{self.stream}"

    @property
    def place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(url: str) -> MqttOptions:
    """The options in an ``mqtt://`` or ``mqtts://`` URL. Raises UsageError: ``broker-url``, ``no-extra``."""
    library()
    parts = urlsplit(url.replace("#", "%23"))  # the wildcard, not a fragment
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{unquote(parts.path)}"
    try:
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise UsageError(f"the port of {shown} is no number: {_ACCEPTED}", slug="broker-url") from None
    alien = given.keys() - {"version", "content", "client_id", "ca_file", "session_expiry_s", "in_flight_max"}
    if parts.scheme not in _PORTS or not host or not parts.path.strip("/") or alien:
        more = f" (there is no option {', '.join(sorted(alien))})" if alien else ""
        raise UsageError(f"{shown} is no MQTT URL{more}: {_ACCEPTED}", slug="broker-url")
    options = MqttOptions(
        host=host, port=port, stream=unquote(parts.path[1:]), tls=parts.scheme == "mqtts",
        user=unquote(parts.username or ""), password=unquote(parts.password or ""),
        version=given.get("version", "5"), client_id=given.get("client_id", ""),
        ca_file=checked_ca(given.get("ca_file", "")),
        structured=cloudevents.is_structured(given.get("content", cloudevents.CONTENTS[0]), _ACCEPTED),
    )  # fmt: skip
    topic_filter(options.stream)
    try:
        if "session_expiry_s" in given:
            options = replace(options, session_expiry_s=float(given["session_expiry_s"]))
        if "in_flight_max" in given:
            options = replace(options, in_flight_max=int(given["in_flight_max"]))
    except ValueError:
        options = replace(options, in_flight_max=0)
    if (
        options.version not in _VERSIONS
        or not 1 <= options.in_flight_max <= RECEIVE_MAX
        or not 0 <= options.session_expiry_s < 2**32
    ):
        raise UsageError(
            f"version is {' or '.join(_VERSIONS)}, in_flight_max 1 to {RECEIVE_MAX}, session_expiry_s seconds: "
            f"{_ACCEPTED}", slug="broker-url",
        )  # fmt: skip
    return options


class MqttWire:
    """A `Wire`: one connection that sends, one that receives, each with its thread."""

    promises = Promises(
        name="mqtt",
        confirmed="with the broker (PUBACK, QoS 1)",
        durable=False,
        ordered=True,
        queued=False,
        note="the broker keeps messages only for groups that have subscribed once, any at QoS 0 may be lost, "
        "and Mosquitto that is killed loses what it confirmed since it last saved (2.0.11, measured: 300 of 300 with "
        "persistence, none of 300 with autosave_on_changes)",
    )

    def __init__(
        self,
        options: MqttOptions,
        *,
        plain: PlainJson | None = None,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._options = options
        self._plain = plain
        self._clock = clock
        self._new_id = new_id
        self._filter, self._names = topic_filter(options.stream)
        self._sending: Publishing | None = None
        self._outgoing: Line | None = None
        self._receiver: Receiver | None = None
        self._incoming: Line | None = None
        self._waiting = Waiting(options.waiting_max, inf)

    def connect(self) -> None:
        """Be connected for sending. Raises NotReachableError, UsageError (``no-extra``)."""
        assert self._outgoing is None, "connect is called once"
        self._sending = Publishing(self._options)
        self._outgoing = Line(self._options, f"commute-send-{uuid.uuid4().hex[:16]}", self._sending)
        self._outgoing.open()

    def partitions(self) -> int:
        return 1

    def consume(
        self, group: str, arrived: Callable[[Sequence[Arrival]], None], *, ahead_max: int, from_end: bool = False
    ) -> None:
        """Subscribe, and return when the broker has confirmed it: what is sent from now on is kept for the group.
        `from_end`: no retained messages either. Raises NotReachableError."""
        options = self._options
        self._receiver = Receiver(arrived, ahead_max, options.shown, options.pressure_s_max)
        role = Receiving(self._receiver, options, ahead_max, from_end, self._read)
        self._incoming = Line(options, self._client_id(group), role)
        self._incoming.open()

    def ack(self, tokens: Sequence[object]) -> None:
        """Acknowledge, once all before them are; soon."""
        line, receiver = self._incoming, self._receiver
        if line is not None and receiver is not None:
            line.post(lambda: receiver.done(tokens))

    def send(self, messages: Sequence[Message], to: str | None = None) -> Future[None]:
        """Publish at QoS 1 to the topic `to`, or to the wire's own. Raises UsageError (``broker-url``: a filter is no
        topic). NotReachableError in the future: the connection went, is away, or too many wait (`waiting_max`)."""
        topic = topic_to_send(to if to is not None else self._options.stream)
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel what may be on its way
        if not messages:
            future.set_result(None)
            return future
        count = len(messages)
        sending = Sending(future, count)
        outgoing = [self._outgoing_of(message, topic, sending) for message in messages]
        line, role = self._outgoing, self._sending
        if not self._waiting.enter(count, 0):
            future.set_exception(NotReachableError(
                f"more than {self._options.waiting_max} messages wait to be confirmed by {self._options.shown} "
                "(waiting_max): send less at once", slug="not-reachable"))  # fmt: skip
            return future
        future.add_done_callback(lambda _: self._waiting.leave(count, 0))
        if line is None or role is None or not line.post(lambda: role.add(outgoing, line.unreachable)):
            future.set_exception(self._closed())
        return future

    def close(self) -> None:
        """Send what acknowledgements are owed, and disconnect. What is not confirmed fails with NotReachableError."""
        for line in (self._incoming, self._outgoing):
            if line is not None:
                line.close()

    def claim(self, group: str, store: str) -> str:
        """Told by the session's client id: one of another id is another group to the broker."""
        return mqtt_claim.claim(self._options, self._client_id(group), store)

    def claimed(self, group: str) -> str | None:
        return mqtt_claim.claimed(self._options, self._client_id(group))

    def release(self, group: str) -> None:
        mqtt_claim.release(self._options, self._client_id(group))

    def discard(self, group: str) -> None:
        """End the group's session at the broker, with what waits in it. Raises NotReachableError."""
        self.release(group)
        line = Line(self._options, self._client_id(group), Publishing(self._options))  # its sessions are clean ones
        try:
            line.open()
        finally:
            line.close()

    def _client_id(self, group: str) -> str:
        # The filter is part of the name: two streams of one group would take the session from each other, and a
        # session with the subscription of an earlier filter would go on bringing its messages.
        digest = hashlib.sha256(self._filter.encode()).hexdigest()[:8]
        return self._options.client_id or f"commute-{group}-{digest}"

    def _closed(self) -> NotReachableError:
        return NotReachableError(f"the connection to {self._options.shown} was closed", slug="not-reachable")

    def _outgoing_of(self, message: Message, topic: str, sending: Sending) -> Outgoing:
        properties = properties_of(message) if self._options.version == "5" and not self._options.structured else None
        payload = message.data if properties is not None else document(message)
        return Outgoing(topic, payload, properties, sending)

    def _read(self, came: MQTTMessage) -> Message:
        try:
            topic = came.topic
        except UnicodeDecodeError:
            topic = self._options.stream
        properties, body = came.properties, bytes(came.payload)
        content_type = getattr(properties, "ContentType", "")
        if not content_type and b'"specversion"' in body:
            content_type = cloudevents.STRUCTURED  # MQTT 3.1.1 cannot tell
        message = cloudevents.read(
            body, dict(getattr(properties, "UserProperty", ())), ("",), content_type,
            name=topic, source=self._options.shown, now_s=self._clock(), new_id=self._new_id, plain=self._plain,
        )  # fmt: skip
        return with_levels(message, topic, self._names) if self._names else message
