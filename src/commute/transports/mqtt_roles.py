"""What one MQTT connection is for, without the network: receiving with acknowledgements in sequence, or publishing.

MQTT 5 wants acknowledgements in the sequence of receipt, knows no refusal, and counts what is not acknowledged. So
`Receiver` keeps every receipt until all before it are done. It lets nothing be read beyond `ahead_max` (MQTT 3.1.1 has
no flow control for it, and Mosquitto 2.0.11 forgets MQTT 5's after the first acknowledgement), and gives the connection
up if that lasts: the broker keeps the messages, and a client that never acknowledges looks dead to it.

Here too: topic filters whose levels have names, and which messages can travel in MQTT 5's binary mode.

Source: MQTT 5.0, sections 4.6 (message ordering), 4.9 (flow control) and 1.5.4 (strings); CloudEvents, MQTT binding.
"""

from __future__ import annotations

import base64
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future

import msgspec

from commute import cloudevents
from commute.errors import CommuteError, NotReachableError, UsageError
from commute.transports.base import Message
from commute.transports.wire import Arrival

LOGGER = logging.getLogger("commute")

_NAMED = re.compile(r"\+([A-Za-z_]\w*)")
_TOPIC_BYTES_MAX = 65_535
_PROPERTY_CHARS_MAX = 8_192  # far below the protocol's bound in bytes, whatever the characters

# -- topics and bodies


def topic_filter(stream: str) -> tuple[str, dict[int, str]]:
    """The filter to subscribe to, and the field that each named level fills: ``a/+device`` is ``a/+``, {1: "device"}.

    Raises UsageError (``broker-url``).
    """
    levels = stream.split("/")
    if stream.startswith("$share/"):
        raise _refused(stream, "a shared subscription splits the sequence between its members; subscribe without")
    names: dict[int, str] = {}
    for n, level in enumerate(levels):
        if named := _NAMED.fullmatch(level):
            if named[1] in names.values():
                raise _refused(stream, f"two levels are called {named[1]}")
            names[n] = named[1]
            levels[n] = "+"
        elif ("+" in level and level != "+") or ("#" in level and (level != "#" or n != len(levels) - 1)):
            raise _refused(stream, "+ or +NAME stands for a whole level, # for all levels at the end")
    text = "/".join(levels)
    if not text or "\0" in text or len(text.encode(errors="replace")) > _TOPIC_BYTES_MAX:
        raise _refused(stream, f"a topic has 1 to {_TOPIC_BYTES_MAX} bytes")
    return text, names


def topic_to_send(to: str) -> str:
    """`to` itself, if one can publish to it. Raises UsageError (``broker-url``)."""
    text, _ = topic_filter(to)
    if "+" in text or "#" in text:
        raise _refused(to, "nothing can be sent to a filter: name one topic, as in publish(..., to=TOPIC)")
    return text


def _refused(topic: str, why: str) -> UsageError:
    return UsageError(f"{topic!r} is no MQTT topic that can be used here: {why}", slug="broker-url")


def with_levels(message: Message, topic: str, names: Mapping[int, str]) -> Message:
    """The message with the text of the named levels in its data, if that is an object without these fields."""
    levels = topic.split("/")
    found = {name: levels[n] for n, name in names.items() if n < len(levels)}
    try:
        fields = msgspec.json.decode(message.data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return message
    missing = {name: text for name, text in found.items() if name not in fields}
    if not missing:
        return message
    data = msgspec.json.encode({**fields, **missing})
    return Message(message.id, message.source, message.type, message.time_s, data, message.attributes)


def properties_of(message: Message) -> list[tuple[str, str]] | None:
    """The attributes as MQTT 5's user properties; None if its strings cannot carry one of them (a control character,
    or too long): then only a document can."""
    pairs = list(cloudevents.headers_of(message, "").items())
    carried = all(len(text) <= _PROPERTY_CHARS_MAX and text.isprintable() for pair in pairs for text in pair)
    return pairs if carried and message.id and message.type else None


def document(message: Message) -> bytes:
    """The message as one JSON document, whatever its data."""
    try:
        return cloudevents.structured(message)
    except RecursionError:  # JSON nested too deep to be looked at is bytes like any other
        attributes = cloudevents.headers_of(message, "")
        return msgspec.json.encode({**attributes, "data_base64": base64.b64encode(message.data).decode()})


# -- receiving


class Receipt:
    """The token of one arrival. `session`: which connection it came by."""

    __slots__ = ("done", "mid", "qos", "session")

    def __init__(self, mid: int, qos: int, session: int) -> None:
        self.mid = mid
        self.qos = qos
        self.session = session
        self.done = False


class Receiver:
    """Arrivals of one subscription; lives on its connection's thread."""

    def __init__(
        self, arrived: Callable[[Sequence[Arrival]], None], ahead_max: int, shown: str, pressure_s_max: float
    ) -> None:
        self._arrived = arrived
        self._ahead_max = ahead_max
        self._shown = shown
        self._pressure_s_max = pressure_s_max
        self._session = 0
        self._receipts: deque[Receipt] = deque()  # of this session, in sequence, the first of them not done
        self._batch: list[Arrival] = []
        self._held = 0  # of all sessions
        self._no_room_since_s: float | None = None
        self._paused = False
        self._warned = False

    def begin(self) -> None:
        """A new connection: receipts of earlier ones are void, since their messages come again."""
        self._session += 1
        self._receipts.clear()

    def message(self, message: Message, mid: int, qos: int) -> None:
        receipt = Receipt(mid, qos, self._session)
        self._receipts.append(receipt)
        self._batch.append(Arrival(message, receipt))

    def pass_over(self, mid: int, qos: int) -> None:
        """This one is no event: acknowledge it in its turn."""
        receipt = Receipt(mid, qos, self._session)
        receipt.done = True
        self._receipts.append(receipt)

    def deliver(self, now_s: float) -> None:
        """Hand over what has come since the last time; give the connection up when there was no room for too long."""
        batch, self._batch = self._batch, []
        self._held += len(batch)
        if batch:
            self._arrived(batch)
        if self.room:
            self._no_room_since_s = None
        elif self._no_room_since_s is None:
            self._no_room_since_s = now_s
        elif now_s - self._no_room_since_s > self._pressure_s_max and not self._paused:
            self._paused = True
            if not self._warned:
                self._warned = True
                LOGGER.warning(
                    "warning[journal-full] %d messages of %s have not come into the journal for %g s: disconnected "
                    "until half of them have (said once); the broker keeps what comes, as far as it is configured to",
                    self._held, self._shown, self._pressure_s_max,
                )  # fmt: skip

    def done(self, tokens: Iterable[object]) -> None:
        """These are in the journal."""
        for token in tokens:
            assert isinstance(token, Receipt)
            token.done = True
            self._held -= 1
        if self._held <= self._ahead_max // 2:
            self._paused, self._no_room_since_s = False, None

    def owed(self) -> list[Receipt]:
        """What can be acknowledged now: done, and all before it too. Each once."""
        found = []
        while self._receipts and self._receipts[0].done:
            receipt = self._receipts.popleft()
            if receipt.qos:
                found.append(receipt)
        return found

    @property
    def room(self) -> bool:
        """Another message may be read."""
        return self._held + len(self._batch) < self._ahead_max

    @property
    def paused(self) -> bool:
        """Be disconnected for now."""
        return self._paused


# -- publishing


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One message to publish; `properties` None: the payload is a document."""

    topic: str
    payload: bytes
    properties: list[tuple[str, str]] | None
    sending: Sending


class Sending:
    """One call of `send`: its future, and how many of its messages are not confirmed."""

    __slots__ = ("future", "left")

    def __init__(self, future: Future[None], left: int) -> None:
        self.future = future
        self.left = left


class Publisher:
    """What waits to be published and confirmed; lives on its connection's thread."""

    def __init__(self, in_flight_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._ahead_max = in_flight_max  # or the broker's own, if lower
        self._waiting: deque[Outgoing] = deque()
        self._in_flight: dict[int, Sending] = {}  # by packet identifier
        self._warned = False

    def begin(self, receive_max: int) -> None:
        """A new connection; `receive_max`: the broker takes no more at once."""
        self._ahead_max = min(self._in_flight_max, receive_max)

    def add(self, outgoing: Iterable[Outgoing]) -> None:
        self._waiting.extend(outgoing)

    def pump(self, publish: Callable[[Outgoing], int | None]) -> None:
        """Publish as much as may be in flight. `publish`: the packet identifier, or None: not now."""
        while self._waiting and len(self._in_flight) < self._ahead_max:
            mid = publish(self._waiting[0])
            if mid is None:
                return
            self._in_flight[mid] = self._waiting.popleft().sending

    def confirmed(self, mid: int, refusal: str, *, unheard: bool) -> None:
        """The broker has answered for a packet. `unheard`: it has dropped it, since nobody subscribes."""
        sending = self._in_flight.pop(mid, None)
        if sending is None or sending.future.done():
            return
        if unheard and not self._warned:
            self._warned = True
            LOGGER.warning("warning[no-subscriber] the broker dropped a message, since nobody has subscribed to its "
                           "topic: start a worker once before the producers (said once)")  # fmt: skip
        sending.left -= 1
        if refusal:
            sending.future.set_exception(
                NotReachableError(
                    f"the broker refused a message: {refusal}; see its log and its rights", slug="not-reachable"
                )
            )
        elif not sending.left:
            sending.future.set_result(None)

    def fail(self, error: CommuteError) -> None:
        """The connection has gone: nobody knows which of these were stored."""
        sendings = [*self._in_flight.values(), *(outgoing.sending for outgoing in self._waiting)]
        self._in_flight.clear()
        self._waiting.clear()
        for sending in sendings:
            if not sending.future.done():
                sending.future.set_exception(error)
