"""CloudEvents 1.0 to and from `Message`, in both modes, and the bodies of producers that know nothing of it.

    binary       attributes in headers (``ce_id`` on Kafka, ``cloudEvents_id`` on AMQP, ``id`` on MQTT 5), data as body
    structured   one JSON document, content type ``application/cloudevents+json``
    plain        neither: the type by `PlainJson`, or by the topic, queue or routing key; an id is made at arrival

Nothing is refused here: what is no CloudEvent becomes a message whose type and data the engine judges, so that bytes
are kept as a dead letter and never dropped by a client.

Source: github.com/cloudevents/spec v1.0.2, core and JSON format. The extensions ``causationid`` and ``correlationid``
are commute's own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from commute.errors import UsageError
from commute.transports.base import Message

STRUCTURED = "application/cloudevents+json"
JSON = "application/json"
SPEC_VERSION = "1.0"
CONTENTS = ("binary", "structured")  # how events are sent: ``?content=`` of a URL, the first where it is not given


@dataclass(frozen=True, slots=True)
class PlainJson:
    """How to read bodies of producers that send plain JSON: names of the fields that hold type, data and id.

    ``data=None``: the whole body is the data. ``type=None``: the type is the routing key, queue or topic. ``header``:
    the header (MQTT: user property) that holds the type; where a message has it, it wins. ``id=None``: no field; the id
    is the message's own, or made at arrival ("at least once only").
    """

    type: str | None = "name"
    data: str | None = "data"
    id: str | None = None
    header: str | None = None


def is_structured(content: str, accepted: str) -> bool:
    """What ``?content=`` asks for. Raises UsageError (``broker-url``), with what is `accepted`."""
    if content not in CONTENTS:
        raise UsageError(f"content is {' or '.join(CONTENTS)}, and not {content!r}: {accepted}", slug="broker-url")
    return content == CONTENTS[1]


@lru_cache(maxsize=16)
def _names(prefix: str) -> tuple[str, str, str, str, str, str]:
    """What every event has, with `prefix`, and what is said of its body: joined once, not for each message."""
    return (
        f"{prefix}specversion",
        f"{prefix}id",
        f"{prefix}source",
        f"{prefix}type",
        f"{prefix}time",
        f"{prefix}datacontenttype",
    )


@lru_cache(maxsize=16)
def _known(prefix: str) -> frozenset[str]:
    return frozenset(_names(prefix))


def headers_of(message: Message, prefix: str) -> dict[str, str]:
    """The attributes of `message` as headers, each name behind `prefix`; the body is ``message.data``."""
    version, identity, source, type_, time, _ = _names(prefix)
    headers = {
        version: SPEC_VERSION,
        identity: message.id,
        source: message.source,
        type_: message.type,
        time: time_text(message.time_s),
    }
    if message.attributes:
        for name, value in message.attributes.items():
            headers[prefix + name] = value
    return headers


def structured(message: Message) -> bytes:
    """`message` as one JSON document; data that is no JSON goes as base64."""
    document: dict[str, object] = dict(headers_of(message, ""))
    try:
        msgspec.json.decode(message.data)
    except (msgspec.DecodeError, RecursionError):
        document["data_base64"] = base64.b64encode(message.data).decode()
    else:
        document["datacontenttype"] = JSON
        document["data"] = msgspec.Raw(message.data)
    return msgspec.json.encode(document)


def read(
    body: bytes,
    headers: Mapping[str, str],
    prefixes: tuple[str, ...],
    content_type: str,
    *,
    name: str,
    source: str,
    now_s: float,
    new_id: Callable[[], str],
    plain: PlainJson | None,
    identity: str | None = None,
) -> Message:
    """The message that came as `body` with these headers. `name`: routing key, queue or topic; `source`: of events
    that name none; `identity`: the protocol's own message id, or one made of a stable position. Raises nothing."""
    for prefix in prefixes:
        version, event_id, event_source, type_, time, _ = _names(prefix)
        if version in headers and event_id in headers and type_ in headers:
            known, size = _known(prefix), len(prefix)
            attributes = {k[size:]: v for k, v in headers.items() if k not in known and k.startswith(prefix)}
            return Message(
                headers[event_id],
                headers.get(event_source) or source,
                headers[type_],
                time_of(headers.get(time, ""), now_s),
                body,
                attributes or None,
            )
    if content_type.partition(";")[0].strip().lower() == STRUCTURED:
        found = _from_document(body, source, now_s)
        if found is not None:
            return found
    identity = identity or new_id()
    if plain is None:
        return Message(identity, source, name, now_s, body)
    return _from_plain(body, headers, plain, name, source, now_s, identity)


def _from_attributes(attributes: dict[str, str], body: bytes, source: str, now_s: float) -> Message:
    attributes.pop("specversion", None)
    identity, type_ = attributes.pop("id"), attributes.pop("type")
    source = attributes.pop("source", "") or source
    time_s = time_of(attributes.pop("time", ""), now_s)
    attributes.pop("datacontenttype", None)
    return Message(identity, source, type_, time_s, body, attributes or None)


def _from_document(body: bytes, source: str, now_s: float) -> Message | None:
    try:
        document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        texts = {k: msgspec.json.decode(v) for k, v in document.items() if k not in ("data", "data_base64")}
        attributes = {k: v if isinstance(v, str) else str(v) for k, v in texts.items() if v is not None}
        if "id" not in attributes or "type" not in attributes:
            return None
        if "data_base64" in document:
            data = base64.b64decode(msgspec.json.decode(document["data_base64"], type=str), validate=True)
        else:
            data = bytes(document.get("data", b"null"))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return _from_attributes(attributes, data, source, now_s)


def _from_plain(
    body: bytes, headers: Mapping[str, str], plain: PlainJson, name: str, source: str, now_s: float, identity: str
) -> Message:
    type_ = headers.get(plain.header, "") if plain.header else ""
    try:
        document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        if not type_:
            type_ = name if plain.type is None else msgspec.json.decode(document[plain.type], type=str)
        data = body if plain.data is None else bytes(document[plain.data])
        if plain.id is not None and plain.id in document:
            given = msgspec.json.decode(document[plain.id])
            identity = given if isinstance(given, str) else str(given)
    except (msgspec.DecodeError, KeyError, RecursionError):
        # Kept as it came: the engine says what is wrong with it.
        return Message(identity, source, type_ or name, now_s, body)
    return Message(identity, source, type_, now_s, data)


@lru_cache(maxsize=64)  # events that are published together have one time
def time_text(time_s: float) -> str:
    """RFC 3339, in UTC with microseconds."""
    whole_s, micros = divmod(round(time_s * 1_000_000), 1_000_000)
    return f"{_second_text(whole_s)}.{micros:06d}Z"


@lru_cache(maxsize=64)
def _second_text(time_s: int) -> str:
    """The part that events of one second share."""
    return datetime.fromtimestamp(time_s, UTC).isoformat()[:19]


def time_of(text: str, otherwise: float) -> float:
    """Seconds since 1970 of an RFC 3339 time; `otherwise` where it is none."""
    found = seconds_of(text) if text else None
    return otherwise if found is None else found


@lru_cache(maxsize=64)  # events that were published together have one time
def seconds_of(text: str) -> float | None:
    """Seconds since 1970 of an RFC 3339 time; None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
