"""Apache Kafka, by confluent-kafka (librdkafka): a wire on one topic, with the broker's own consumer groups.

    kafka://host:9092,other:9092/orders?partitions=4       made with 4 partitions where it is missing; of one that has
                                                           more, these 4 are read
    kafka://user:password@host:9093/orders                 SASL PLAIN over TLS, unless security=... and mechanism=...
                                                           say otherwise

Messages are CloudEvents in binary mode (``ce_id``, ``ce_type``, ...); structured ones and plain JSON are read too. The
key is the attribute ``partitionkey``, and the partition is the one that Java's producers choose for that key. A record
of another producer has the identity TOPIC/PARTITION/OFFSET, which is the same whenever it comes again, and a source
that does not depend on how the URL names the brokers. A tombstone (no value) comes as the data ``null``: it is an
event too, and would otherwise hold up nothing and be seen by nobody.

Invariants: the wire's two threads (`transports.kafka_reading`, `transports.kafka_sending`) are the only ones to touch
librdkafka's clients, apart from `connect` and `consume`, which return before those start.

Source: CloudEvents 1.0.2, Kafka protocol binding; librdkafka's CONFIGURATION.md and INTRODUCTION.md.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote

from commute import cloudevents
from commute.cloudevents import PlainJson
from commute.errors import NotReachableError, UsageError
from commute.transports import kafka_claim
from commute.transports.base import Message
from commute.transports.kafka_client import PLAINTEXT, Health, KafkaOptions, Topics, say_capped, why
from commute.transports.kafka_headers import PREFIX, check, whole
from commute.transports.kafka_reading import Reading
from commute.transports.kafka_sending import Outgoing, Sending
from commute.transports.waiting import Waiting
from commute.transports.wire import Arrival, Promises

if TYPE_CHECKING:
    from confluent_kafka import Message as Record

__all__ = ["KafkaOptions", "KafkaWire", "parse"]

_PREFIXES = (PREFIX,)
_PORT = 9092
_PARTITIONS_MAX = 10_000
_SECURITY = (PLAINTEXT, "ssl", "sasl_plaintext", "sasl_ssl")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_GIVEN = frozenset({"content", "partitions", "security", "mechanism", "ca_file", "instance_id"})
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_URL = re.compile(r"kafka://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]+)(?:/(?P<topic>[^?#]*))?(?:\?(?P<query>[^#]*))?")
_HOST = re.compile(r"(?P<name>[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_ACCEPTED = (
    "write kafka://[USER:PASSWORD@]HOST:PORT[,HOST:PORT]/TOPIC, and of partitions=N, "
    f"security={'|'.join(_SECURITY)}, mechanism={'|'.join(_MECHANISMS)}, ca_file, content=structured and "
    "instance_id what is needed"
)


def parse(url: str) -> KafkaOptions:
    """The options in a ``kafka://`` URL. Raises UsageError: ``broker-url``, ``no-extra``."""
    _library()
    found = _URL.fullmatch(url)
    if found is None:
        raise _refused(f"{_masked(url)!r} is no Kafka URL")
    if "@" in url[found.start("hosts") :]:  # a password that is not written as it should be must not be shown
        raise _refused("characters like '@', '/' and '?' are written %40, %2F and %3F in user and password")
    given = dict(parse_qsl(found["query"] or "", keep_blank_values=True))
    if alien := given.keys() - _GIVEN:
        raise _refused(f"there is no option {', '.join(sorted(alien))}")
    user, _, password = (found["login"] or "").partition(":")
    security = given.get("security", "sasl_ssl" if user else PLAINTEXT).lower()
    if security not in _SECURITY or security.startswith("sasl_") != bool(user):
        raise _refused(f"security is one of {', '.join(_SECURITY)}, and those with sasl_ have a user in the URL")
    mechanism = given.get("mechanism", _MECHANISMS[0]).upper()
    if mechanism not in _MECHANISMS or ("mechanism" in given and not user):
        raise _refused(f"mechanism is one of {', '.join(_MECHANISMS)}, and proves the user in the URL")
    count = given.get("partitions", "1")
    if not count.isdecimal() or not 1 <= int(count) <= _PARTITIONS_MAX:
        raise _refused(f"partitions is a number from 1 to {_PARTITIONS_MAX}")
    return KafkaOptions(
        hosts=tuple(_host(each) for each in found["hosts"].split(",")),
        stream=_checked_topic(unquote(found["topic"] or "") or "events"),
        partitions=int(count),
        partitions_max=int(count) if "partitions" in given else None,
        security=security,
        mechanism=mechanism,
        user=unquote(user),
        password=unquote(password),
        ca_file=given.get("ca_file", ""),
        structured=cloudevents.is_structured(given.get("content", cloudevents.CONTENTS[0]), _ACCEPTED),
        instance_id=given.get("instance_id", ""),
    )


def _masked(url: str) -> str:
    """Without anything that might be a password, however wrong the URL is."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _host(text: str) -> str:
    found = _HOST.fullmatch(text)
    if found is None or not 1 <= int(found["port"] or _PORT) <= 65_535:
        raise _refused(f"{text!r} is no HOST:PORT")
    return f"{found['name']}:{found['port'] or _PORT}"


def _checked_topic(topic: str) -> str:
    """The name, if a topic can have it. Raises UsageError (``broker-url``)."""
    if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise _refused(f"{topic!r} is no name for a topic: it has 1 to 249 of letters, digits, '.', '_' and '-'")
    return topic


def _refused(reason: str) -> UsageError:
    return UsageError(f"{reason}: {_ACCEPTED}", slug="broker-url")


def _library() -> Any:
    try:
        import confluent_kafka
    except ModuleNotFoundError:
        raise UsageError(
            'kafka:// needs a client that is not installed: pip install "commute[kafka]"', slug="no-extra"
        ) from None
    return confluent_kafka


class KafkaWire:
    """A `Wire`: a consumer with its thread from `consume` on, a producer with its thread from the first `send` on."""

    promises = Promises(
        name="kafka",
        confirmed="with all in-sync replicas",
        durable=True,
        ordered=True,
        queued=True,
        # Kafka's default for a topic is 1,048,588 with framing and headers.
        message_bytes_max=1_000_000,
        stable_id="TOPIC/PARTITION/OFFSET",
        note="with several partitions the sequence is kept within each only: events with the same partitionkey share "
        "one, events without go anywhere; a single broker confirms before it syncs to disk, so it is replication that "
        "outlives a loss of power",
    )

    def __init__(
        self,
        options: KafkaOptions,
        *,
        plain: PlainJson | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._plain = plain
        self._clock = clock
        self._source = f"kafka:///{options.stream}"
        self._health = Health(options.shown)
        self._capped = False  # whether it was said that not all partitions are read
        self._topics: Topics | None = None
        self._reading: Reading | None = None
        self._lock = threading.Lock()  # guards the rest
        self._outgoing: Outgoing | None = None
        self._closed = False
        self._waiting = Waiting(options.waiting_max, options.waiting_bytes_max)

    # -- the contract of wire.Wire

    def connect(self) -> None:
        """Reach a broker and have the topic. Raises NotReachableError, UsageError (``broker-url``: the user or the
        topic is refused; ``no-extra``)."""
        assert self._topics is None, "connect is called once"
        library = _library()
        try:
            topics = Topics(self._options)
        except library.KafkaException as error:
            if self._options.ca_file and "ssl.ca" in str(error):
                raise UsageError(f"ca_file={self._options.ca_file!r} has no certificates that can be read: "
                                 f"{error.args[0].str()}; name a file in PEM", slug="broker-url") from None  # fmt: skip
            raise _refused(f"{self._options.shown} cannot be used ({error.args[0].str()})") from None
        topics.have(self._options.stream)
        self._topics = topics

    def partitions(self) -> int:
        """Those that are read; that others wait is said once."""
        found = Topics(self._options).partitions(self._options.stream) or [0]
        read = [number for number in found if self._options.is_read(number)]
        if len(read) < len(found) and not self._capped:
            self._capped = True
            say_capped(self._options, len(found))
        return len(read)

    def consume(
        self, group: str, arrived: Callable[[Sequence[Arrival]], None], *, ahead_max: int, from_end: bool = False
    ) -> None:
        """Join the broker's consumer group. Partitions come within seconds. `from_end`: asks where the topic ends now
        (blocks shortly), and a group without a place begins there. Raises NotReachableError, UsageError."""
        assert self._topics is not None, "connect comes first"
        assert self._reading is None, "consume is called once"
        starts = self._topics.ends(self._options.stream) if from_end else {}
        try:
            self._reading = Reading(
                self._options, group, arrived,
                ahead_max=max(1, ahead_max), starts=starts, read=self._read, health=self._health,
            )  # fmt: skip
        except _library().KafkaException as error:
            raise why(self._options, error.args[0]) from None

    def ack(self, tokens: Sequence[object]) -> None:
        """Commit them once all before them in their partition are acknowledged; soon, many at once."""
        reading = self._reading
        if reading is not None:
            reading.ack(tokens)

    def send(self, messages: Sequence[Message], to: str | None = None) -> Future[None]:
        """Send to the wire's topic or to the topic `to`, which is made like it. Waits out an outage.

        Raises UsageError (``broker-url``: no name for a topic; ``invalid-text``: text that is no UTF-8). In the
        future: besides the contract's, NotReachableError when too much waits already (`waiting_max`), UsageError
        (``too-large``: the broker takes no such message, while others of the batch may be stored).
        """
        topic = self._options.stream if to is None else _checked_topic(to)
        for message in messages:
            check(message)
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel what may be on its way
        if not messages:
            future.set_result(None)
            return future
        size_bytes = sum(len(message.data) for message in messages)
        problem = self._begin(Sending(future, topic, messages), len(messages), size_bytes)
        if problem:
            future.set_exception(NotReachableError(f"{self._options.shown}: {problem}", slug="not-reachable"))
        return future

    def close(self) -> None:
        """Commit what was acknowledged, leave the group, wait shortly for confirmations. The rest fails with
        NotReachableError."""
        with self._lock:
            self._closed = True
            outgoing = self._outgoing
        ends = [end for end in (self._reading, outgoing) if end is not None]
        for end in ends:
            end.stop()
        for end in ends:  # both have been at it meanwhile
            end.join()

    def claim(self, group: str, store: str) -> str:
        return kafka_claim.claim(self._options, group, store)

    def claimed(self, group: str) -> str | None:
        return kafka_claim.claimed(self._options, group)

    def release(self, group: str) -> None:
        kafka_claim.release(self._options, group)

    def discard(self, group: str) -> None:
        """Delete the topic, and what the broker knows of the group."""
        self.release(group)
        Topics(self._options).delete(self._options.stream, group)

    # -- sending

    def _begin(self, sending: Sending, count: int, size_bytes: int) -> str:
        """Count it in and hand it over; else why not."""
        options = self._options
        with self._lock:
            if self._closed or self._topics is None:
                return "it is closed, or was not connected"
            if self._outgoing is None:
                self._outgoing = Outgoing(options, self._topics, self._health)
            if not self._waiting.enter(count, size_bytes):
                return (
                    f"{self._waiting.messages} messages wait to be confirmed already (waiting_max, waiting_bytes_max)"
                )
            sending.on_end(lambda: self._waiting.leave(count, size_bytes))
            if not self._outgoing.put(sending):  # its thread has ended
                self._waiting.leave(count, size_bytes)
                return "it is closed"
            return ""

    # -- from records to messages

    def _read(self, record: Record) -> Message:
        pairs = cast("Sequence[tuple[str, bytes | None]]", record.headers() or ())
        value = record.value()
        if value is not None and (found := whole(value, pairs)) is not None:
            return found
        try:
            headers = {name: value.decode() for name, value in pairs}  # type: ignore[union-attr]
        except (AttributeError, UnicodeDecodeError):  # no value, or no text
            headers = {name: _text(value) for name, value in pairs}
        kind, stamp_ms = record.timestamp()
        stream = self._options.stream
        return cloudevents.read(
            b"null" if value is None else value,
            headers,
            _PREFIXES,
            headers.get("content-type", ""),
            name=stream,
            source=self._source,
            now_s=stamp_ms / 1_000 if kind else self._clock(),
            new_id=lambda: f"{stream}/{record.partition()}/{record.offset()}",
            plain=self._plain,
        )


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")
