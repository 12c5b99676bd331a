"""What can be told of an MQTT broker by one visit under a name of its own, which subscribes, looks and leaves.

It never calls itself by a worker's client id: that would take the worker's connection and session away. So whether the
broker keeps a session for a worker cannot be told here.

Source: MQTT 5.0, 3.2.2.3 (what a broker says of its limits).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from commute.errors import CommuteError, NotReachableError, UsageError
from commute.limits import MIB
from commute.transports.finding import Finding, good, plain_text, problem, warning
from commute.transports.mqtt_line import NOTES, RECEIVE_MAX, new_client
from commute.transports.mqtt_roles import topic_filter

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

    from commute.transports.mqtt import MqttOptions

_VERSION_TOPIC = "$SYS/broker/version"  # of Mosquitto and some others
_RETAINED_S = 0.5  # retained messages come at once after the subscription
_UNSUPPORTED = 0x84
_DENIED = (0x86, 0x87, 0x8C)  # user or password, not authorized, authentication method
_RECEIVE_LOW = 100


@dataclass(slots=True)
class _Visit:
    """What one connection has seen."""

    five: bool
    reason: Any = None  # of the answer to the connection; None: none came
    limits: Any = None  # its properties
    granted: dict[int, Sequence[Any]] = field(default_factory=dict)  # by number of the subscription
    subscription: int | None = None
    retained: int = 0
    version: str = ""


def examine(options: MqttOptions, reader: str | None) -> list[Finding]:
    """Version, limits, rights to read, retained messages. Blocks for seconds. Raises NotReachableError, UsageError
    (``broker-url``: the user is refused)."""
    del reader
    five = options.version == "5"
    visit = _visit(options, five)
    other = None
    if visit.reason is None or getattr(visit.reason, "value", 0) == _UNSUPPORTED:
        other = _visit(options, not five)
    seen = visit if other is None else other
    if seen.reason is None or seen.reason.is_failure:
        raise _refused(options, seen.reason)
    name = "5" if seen.five else "3.1.1"
    text = f"{seen.version or 'an MQTT broker'}, MQTT {name}, user {options.user or 'none'}"
    found = [good("broker", text), *plain_text(options.host, options.tls)]
    if other is not None:
        found.append(problem("version", f"it speaks MQTT {name} and not {options.version}", f"write ?version={name}"))
    return found + (_limits(options, seen.limits) if seen.five else []) + _topic(options, seen)


def _refused(options: MqttOptions, reason: Any) -> CommuteError:
    if reason is not None and reason.value in _DENIED:
        return UsageError(f"{options.shown} refuses the user ({reason}): look at user, password and the broker's "
                          "access list", slug="broker-url")  # fmt: skip
    said = "it does not answer as an MQTT broker" if reason is None else str(reason)
    return NotReachableError(f"{options.shown}: {said}; is that its address?", slug="not-reachable")


def _visit(options: MqttOptions, five: bool) -> _Visit:
    visit = _Visit(five)
    client = _client(options, visit)
    try:
        if five:
            client.connect(
                options.host, options.port, clean_start=True,
                properties=_properties("CONNECT", int(options.session_expiry_s)),
            )  # fmt: skip
        else:
            client.connect(options.host, options.port)
        _turn(client, options.connect_s_max, lambda: visit.reason is not None)
        if visit.reason is not None and not visit.reason.is_failure:
            visit.subscription = client.subscribe(topic_filter(options.stream)[0], qos=1)[1]
            seen = client.subscribe(_VERSION_TOPIC)[1]
            _turn(client, options.connect_s_max, lambda: {visit.subscription, seen} <= visit.granted.keys())
            _turn(client, _RETAINED_S, lambda: False)
            client.disconnect(properties=_properties("DISCONNECT", 0) if five else None)
    except OSError as error:
        raise NotReachableError(f"{options.shown}: {error}; is the broker running, and is that its address?",
                                slug="not-reachable") from error  # fmt: skip
    return visit


def _turn(client: Client, within_s: float, done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + within_s
    while not done() and (left_s := end_s - time.monotonic()) > 0:
        if client.loop(min(0.1, left_s)):  # the connection ended
            return


def _properties(packet: str, session_expiry_s: int) -> Any:
    """With the session's time, so that the broker says how much of it it keeps; 0 ends it with the visit."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session_expiry_s
    return properties


def _client(options: MqttOptions, visit: _Visit) -> Client:
    client = new_client(options, f"commute-doctor-{uuid.uuid4().hex[:8]}", five=visit.five)

    def connected(_client: Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        visit.reason, visit.limits = reason, properties

    def subscribed(_client: Client, _data: Any, mid: int, reasons: Sequence[Any], _properties: Any) -> None:
        visit.granted[mid] = reasons

    def message(_client: Client, _data: Any, message: MQTTMessage) -> None:
        if message.topic == _VERSION_TOPIC:
            visit.version = message.payload.decode("utf-8", "replace")
        elif message.retain and not message.topic.startswith(NOTES):
            visit.retained += 1

    client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, message
    return client


def _limits(options: MqttOptions, limits: Any) -> list[Finding]:
    """What the answer to an MQTT 5 connection says; what it leaves out is unlimited."""
    in_flight = getattr(limits, "ReceiveMaximum", RECEIVE_MAX)
    text = f"{in_flight:,} messages may be on their way unconfirmed (receive maximum)"
    found = [
        warning("in flight", text, "raise it, or publish slowly (Mosquitto: max_inflight_messages)")
        if in_flight < _RECEIVE_LOW
        else good("in flight", text)
    ]
    largest = getattr(limits, "MaximumPacketSize", None)
    text = "no limit is said" if largest is None else f"a message has at most {largest:,} bytes"
    small = largest is not None and largest < MIB // 2
    found.append(warning("size", text, "raise it: larger events are refused") if small else good("size", text))
    if getattr(limits, "MaximumQoS", 1) < 1:
        found.append(problem("QoS", "it takes messages at QoS 0 only, which confirms nothing", "use another broker"))
    kept_s = getattr(limits, "SessionExpiryInterval", int(options.session_expiry_s))
    text = f"what arrives while a worker is away is kept {kept_s / 3_600:,.1f} h"
    short = kept_s < int(options.session_expiry_s)
    found.append(
        warning("session", f"{text}, not the {options.session_expiry_s / 3_600:,.1f} h that are asked for",
                "raise the broker's limit, or never be away for longer")
        if short else good("session", text)
    )  # fmt: skip
    if getattr(limits, "RetainAvailable", 1) == 0:
        found.append(good("retained", "it retains no messages"))
    return found


def _topic(options: MqttOptions, visit: _Visit) -> list[Finding]:
    reasons = visit.granted.get(visit.subscription or 0, ())
    if not reasons:
        return [problem("topic", f"the subscription to {options.stream!r} is not answered", "look at the broker's log")]
    if reasons[0].is_failure:
        return [problem("topic", f"the user may not subscribe to {options.stream!r}: {reasons[0]}",
                        "look at the broker's access list")]  # fmt: skip
    if reasons[0].value < 1:
        return [problem("topic", f"{options.stream!r} is granted at QoS 0 only: messages are lost in silence",
                        "allow QoS 1 there")]  # fmt: skip
    found = [good("topic", f"{options.stream!r} may be read at QoS 1; publishing is not tried")]
    if visit.retained:
        found.append(warning("retained", f"{visit.retained:,} retained message(s) come first to every new group, "
                             "however old they are", "publish events without the retain flag"))  # fmt: skip
    return found
