"""What the Kafka clients of one wire share: their configuration, what is said of outages, and how topics are made.

librdkafka reconnects by itself and reports each failed attempt. A person wants to know twice: when no broker is left,
and when one answers again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from commute.errors import CommuteError, NotReachableError, UsageError
from commute.limits import MIB
from commute.transports.wire import StreamOptions

if TYPE_CHECKING:
    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient

LOGGER = logging.getLogger("commute")

PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions(StreamOptions):
    """Where the brokers are, and all bounds. `stream` is the topic."""

    hosts: tuple[str, ...]  # HOST:PORT each
    stream: str = "events"
    partitions: int = 1  # of topics that are made here
    partitions_max: int | None = None  # that are read; those above it wait. None: all
    partition: int | None = None  # read this one alone, whoever else reads; None: those that the group is given
    security: str = PLAINTEXT
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: str = "PLAIN"  # of SASL: how the user is proved
    ca_file: str = ""  # of the authority that signed the brokers' certificates; empty: the system's
    structured: bool = False  # events are sent as one JSON document each, not with their attributes in headers
    instance_id: str = ""  # static membership: a restart within the session changes no assignment
    session_s: float = 10.0
    metadata_every_s: float = 10.0  # how soon a reader sees partitions that are added, or its topic made anew
    batch_max: int = 500  # arrivals handed over at once
    fetched_bytes_max: int = 16 * MIB  # taken from the broker ahead of being handed over
    commit_every_s: float = 0.25
    pressure_s_max: float = 0.2  # that `ahead_max` may hold us before partitions are paused
    waiting_max: int = 100_000  # messages handed to `send` and not confirmed; beyond it `send` fails
    waiting_bytes_max: int = 256 * MIB
    message_bytes_max: int = 16 * MIB  # the brokers usually take less, and have the last word
    confirm_s_max: float = 60.0  # that a message may wait for its confirmation, outages included
    connect_s_max: float = 10.0
    close_s_max: float = 5.0

    @property
    def shown(self) -> str:
        """The URL without the password."""
        user = f"{self.user}:***@" if self.user else ""
        return f"kafka://{user}{','.join(self.hosts)}/{self.stream}"

    def is_read(self, partition: int) -> bool:
        """Whether it is one of those that are read."""
        return self.partitions_max is None or partition < self.partitions_max

    @property
    def labelled(self) -> bool:
        return True  # a record's key decides its partition

    def of_partition(self, partition: int) -> KafkaOptions:
        """One partition, as a stream of its own."""
        return replace(self, partition=partition)

    def aside(self, stream: str) -> KafkaOptions:
        return replace(self, stream=stream, partitions=1, partition=None, instance_id="")

    def client(self, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
        """The part of the configuration that is the same for reading, sending and making topics."""
        configuration: dict[str, Any] = {
            "bootstrap.servers": ",".join(self.hosts),
            "client.id": "commute",
            "security.protocol": self.security,
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 0,  # it would write to standard error; what matters comes by `error_cb`
            "error_cb": on_error,
        }
        if self.user:
            configuration |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.user,
                "sasl.password": self.password,
            }
        if self.ca_file:
            configuration["ssl.ca.location"] = self.ca_file
        return configuration


def say_capped(options: KafkaOptions, there: int) -> None:
    """Say in the log that the topic has partitions that are not read."""
    LOGGER.warning(
        "warning[partitions-capped] %s has %d partitions, and ?partitions=%s in its URL says how many are read: what "
        "is sent to the others waits there. When nothing is left to do (commute status), start without it",
        options.shown, there, options.partitions_max,
    )  # fmt: skip


class Health:
    """Whether a broker answers, said in the log once for each change. Thread-safe."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._lock = threading.Lock()
        self.is_down = False
        self.why = ""

    def on_error(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`."""
        from confluent_kafka import KafkaError

        denied = error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL)
        if not denied and error.code() != KafkaError._ALL_BROKERS_DOWN:
            return  # one of several, or one attempt of many
        with self._lock:
            self.why = error.str()
            was_down, self.is_down = self.is_down, True
        if not was_down:
            LOGGER.warning("warning[not-reachable] no broker of %s answers (%s); trying on", self._shown, error.str())

    def up(self) -> None:
        """Something came, or was confirmed."""
        if not self.is_down:
            return
        with self._lock:
            was_down, self.is_down = self.is_down, False
        if was_down:
            LOGGER.info("%s answers again", self._shown)


def why(options: KafkaOptions, error: KafkaError, what: str = "") -> CommuteError:
    """What a person can do about it."""
    from confluent_kafka import KafkaError

    code, said = error.code(), f"{what}{error.str()}"
    if code in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE):
        return UsageError(f"a message is too large for {options.shown} ({said}): raise the topic's max.message.bytes, "
                          "or send less", slug="too-large")  # fmt: skip
    if code == KafkaError._SSL:
        if "certificate verify failed" in said:
            return UsageError(f"the certificate of {options.shown} is not trusted ({said}): name the authority that "
                              "signed it with ca_file=FILE, and the host as the certificate has it",
                              slug="broker-url")  # fmt: skip
        return UsageError(f"{options.shown} does not speak TLS as it should ({said}): look at port and security",
                          slug="broker-url")  # fmt: skip
    if code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
        return UsageError(f"{options.shown} refuses the user ({said}): look at user, password, security and mechanism",
                          slug="broker-url")  # fmt: skip
    denied = (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    )
    if code in denied:
        return UsageError(f"{options.shown} does not let the user do that ({said}): give the rights with "
                          "kafka-acls --add", slug="broker-url")  # fmt: skip
    invalid = (KafkaError.TOPIC_EXCEPTION, KafkaError.INVALID_PARTITIONS, KafkaError.POLICY_VIOLATION)
    if code in invalid:
        return UsageError(f"{options.shown} does not take that topic ({said}): choose another name or number of "
                          "partitions, or have it made by who may", slug="broker-url")  # fmt: skip
    return NotReachableError(f"{options.shown}: {said}; is Kafka running, is that its address, and does it speak "
                             f"{options.security} there (security=)?",
                             slug="not-reachable")  # fmt: skip


class Topics:
    """Makes topics that are missing, and adopts those that are there as they are. For one thread at a time."""

    def __init__(self, options: KafkaOptions) -> None:
        from confluent_kafka.admin import AdminClient

        self._options = options
        self._health = Health(options.shown)
        self._known: set[str] = set()
        self.admin: AdminClient = AdminClient(options.client(self._failed))
        self._reason: KafkaError | None = None  # why the last connection failed, or one was refused

    def _failed(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`: what an unanswered request itself says is only that it took too long."""
        from confluent_kafka import KafkaError

        refused = (KafkaError._AUTHENTICATION, KafkaError._SSL)
        if error.code() != KafkaError._ALL_BROKERS_DOWN and (
            self._reason is None or self._reason.code() not in refused
        ):
            self._reason = error

    def have(self, topic: str, config: dict[str, str] | None = None) -> None:
        """The topic is there; `config`: of one that is made. Blocks.

        Raises NotReachableError, UsageError (``broker-url``).
        """
        from confluent_kafka import KafkaError
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

        if topic in self._known:
            return
        if self.partitions(topic) is None:
            new = NewTopic(topic, num_partitions=self._options.partitions, replication_factor=-1, config=config or {})
            limit_s = self._options.connect_s_max
            made = self.admin.create_topics([new], operation_timeout=limit_s, request_timeout=limit_s)[topic]
            error = self._outcome(made)
            if error is not None and error.code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another was faster
                raise why(self._options, error, f"topic {topic!r}: ")
            LOGGER.info("made the topic %s with %d partition(s)", topic, self._options.partitions)
        self._known.add(topic)

    def forget(self, topic: str) -> None:
        """It may be gone: look again before the next message to it."""
        self._known.discard(topic)

    def delete(self, topic: str, group: str | None = None) -> None:
        """Delete the topic, and what the broker knows of the group. Blocks; raises as `have`."""
        from confluent_kafka import KafkaError

        limit_s = self._options.connect_s_max
        gone = self.admin.delete_topics([topic], operation_timeout=limit_s, request_timeout=limit_s)[topic]
        error = self._outcome(gone)
        if error is not None and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise why(self._options, error, f"topic {topic!r}: ")
        if group is None:
            return
        # A group that read nothing does not exist, and one that also reads another topic may stay.
        self._outcome(self.admin.delete_consumer_groups([group], request_timeout=limit_s)[group])

    def partitions(self, topic: str) -> list[int] | None:
        """Its partitions, None where it is missing. Never makes it, as asking for metadata may. Blocks; raises as
        `have`."""
        from confluent_kafka import KafkaError, TopicCollection

        asked = self.admin.describe_topics(TopicCollection([topic]), request_timeout=self._options.connect_s_max)
        error = self._outcome(asked[topic])
        if error is None:
            return [partition.id for partition in asked[topic].result().partitions]
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise why(self._options, error if error.code() >= 0 else self._reason or error)

    def ends(self, topic: str) -> dict[int, int]:
        """The offset behind the last message of each partition, now. Blocks; raises as `have`."""
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

        end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(topic, number): end for number in self.partitions(topic) or []}
        found = self.admin.list_offsets(wanted, request_timeout=self._options.connect_s_max) if wanted else {}
        ends: dict[int, int] = {}
        for place, future in found.items():
            error = self._outcome(future)
            if error is not None:
                raise why(self._options, error)
            ends[place.partition] = future.result().offset
        return ends

    def _outcome(self, future: Future[Any]) -> KafkaError | None:
        """What an administrative request ended with. One that is not answered ends by its own limit."""
        from confluent_kafka import KafkaException

        failure = future.exception(2 * self._options.connect_s_max)
        if failure is None:
            return None
        if not isinstance(failure, KafkaException):
            raise failure
        self.admin.poll(0)  # `_failed` is called here
        error: KafkaError = failure.args[0]
        return error
