"""What can be told of a Kafka cluster, a topic and a consumer group by the administrative protocol; nothing is read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from commute.errors import NotReachableError
from commute.limits import DAY_S, MIB
from commute.transports.finding import Finding, clock, good, plain_text, problem, warning
from commute.transports.kafka_client import PLAINTEXT, Topics, why

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from commute.transports.kafka_client import KafkaOptions

_PAUSES_S = (1.0, 3.0)
_RETAINED_S_MIN = 3 * DAY_S  # a weekend without a worker
_NEEDED = {"READ": "workers", "WRITE": "producers"}


def examine(options: KafkaOptions, reader: str | None) -> list[Finding]:
    """Cluster, topic, the user's rights, and how far `reader` is. Blocks for seconds. Raises NotReachableError,
    UsageError (``broker-url``)."""
    from confluent_kafka import TopicCollection

    topics = Topics(options)
    partitions = topics.partitions(options.stream)  # raises, with the reason, where nobody answers
    admin, limit_s = topics.admin, options.connect_s_max
    cluster = _result(options, admin.describe_cluster(request_timeout=limit_s))
    found = [good("broker", f"Apache Kafka, cluster {cluster.cluster_id}, {len(cluster.nodes)} node(s), "
                            f"user {options.user or 'none'}")]  # fmt: skip
    for host in options.hosts:
        found += plain_text(host.rpartition(":")[0].strip("[]"), options.security not in (PLAINTEXT, "sasl_plaintext"))
    if partitions is None:
        return [*found, warning("topic", f"there is no topic {options.stream!r}",
                                f"start a worker, which makes it with {options.partitions} partition(s) "
                                "(?partitions=N), or have it made with more replicas")]  # fmt: skip
    asked = admin.describe_topics(
        TopicCollection([options.stream]), include_authorized_operations=True, request_timeout=limit_s
    )
    topic = _result(options, asked[options.stream])
    settings = _configuration(options, admin)
    found += _topic(options, topic, int(settings["min.insync.replicas"]))
    found += _settings(settings, min(len(p.replicas) for p in topic.partitions))
    found += _newest(options, admin, partitions)
    return found + (_group(options, topics, reader) if reader else [])


def _result(options: KafkaOptions, future: Future[Any]) -> Any:
    from confluent_kafka import KafkaException

    try:
        return future.result(2 * options.connect_s_max)
    except KafkaException as error:
        raise why(options, error.args[0]) from error


def _topic(options: KafkaOptions, topic: Any, needed: int) -> list[Finding]:
    """`needed`: how many replicas confirm an event."""
    parts = topic.partitions
    copies, in_sync = min(len(p.replicas) for p in parts), min(len(p.isr) for p in parts)
    text = f"{options.stream!r}: {len(parts)} partition(s), {copies} replica(s) each"
    found = [good("topic", text)]
    if copies == 1:
        found = [warning("topic", f"{text}: a lost disk loses its events, a loss of power perhaps the last of them",
                         "with three nodes: three replicas and min.insync.replicas=2")]  # fmt: skip
    leaderless = [str(p.id) for p in parts if p.leader is None]
    if leaderless:
        found.append(problem("replicas", f"partition(s) {', '.join(leaderless)} have no leader: nothing goes in or out",
                             "start the nodes that are down"))  # fmt: skip
    elif in_sync < copies:
        text, advice = f"{in_sync} of {copies} replicas are in sync", "look at the other nodes"
        if in_sync < needed:
            text += f", and min.insync.replicas={needed}: nothing can be confirmed"
            found.append(problem("replicas", text, advice))
        else:
            found.append(warning("replicas", text, advice))
    allowed = {operation.name for operation in topic.authorized_operations or ()}
    lacking = [f"{who} need {right}" for right, who in _NEEDED.items() if allowed and right not in allowed]
    if lacking:
        found.append(problem("rights", f"the user may not do all: {', '.join(lacking)}", "kafka-acls --add"))
    else:
        found.append(good("rights", f"on the topic: {', '.join(sorted(allowed)).lower() or 'not told'}"))
    return found


def _configuration(options: KafkaOptions, admin: AdminClient) -> Mapping[str, str]:
    from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

    asked = ConfigResource(ConfigResource.Type.TOPIC, options.stream)
    entries = _result(options, admin.describe_configs([asked], request_timeout=options.connect_s_max)[asked])
    return {name: str(entry.value) for name, entry in entries.items()}


def _settings(settings: Mapping[str, str], copies: int) -> list[Finding]:
    """What the topic's settings mean; `copies`: replicas of each partition."""
    needed = int(settings["min.insync.replicas"])
    confirmed = f"min.insync.replicas={needed}"
    found = [good("confirms", f"{confirmed}: a confirmed event is on {needed} node(s)")]
    if needed > copies:
        found = [problem("confirms", f"{confirmed} and {copies} replica(s): nothing can be confirmed", "lower it")]
    elif copies > 1 and needed == 1:
        found = [warning("confirms", f"{confirmed}: the loss of one node can lose confirmed events", "set it to 2")]
    policy, kept_ms = settings["cleanup.policy"], int(settings["retention.ms"])
    if "compact" in policy:
        found.append(problem("retention", f"cleanup.policy={policy}: of events with one key only the newest is kept, "
                             "also if no worker has seen the others", "set cleanup.policy=delete"))  # fmt: skip
    elif 0 <= kept_ms < 1_000 * _RETAINED_S_MIN:
        found.append(warning("retention", f"events are deleted after {kept_ms / 3_600_000:,.1f} h, whether or not a "
                             "worker has seen them", "raise retention.ms beyond your longest outage"))  # fmt: skip
    else:
        kept = f"{kept_ms / 86_400_000:,.0f} days" if kept_ms >= 0 else "for ever"
        found.append(good("retention", f"events are kept {kept} (retention.ms)"))
    if int(settings["retention.bytes"]) >= 0:
        found.append(warning("retention", f"the oldest events go beyond {int(settings['retention.bytes']):,} bytes a "
                             "partition, seen or not", "set retention.bytes=-1, or watch the disk"))  # fmt: skip
    largest = int(settings["max.message.bytes"])
    small = largest < MIB // 2
    text = f"max.message.bytes={largest:,}"
    found.append(warning("size", text, "raise it: larger events are refused") if small else good("size", text))
    return found


def _newest(options: KafkaOptions, admin: AdminClient, partitions: list[int]) -> list[Finding]:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

    newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    asked = admin.list_offsets(
        {TopicPartition(options.stream, number): newest for number in partitions}, request_timeout=options.connect_s_max
    )
    stamps = [_result(options, future).timestamp for future in asked.values()]
    return clock(max(stamps) / 1_000, time.time())


def _group(options: KafkaOptions, topics: Topics, reader: str) -> list[Finding]:
    """How far the group is. A new cluster makes its table of groups at the first question, and does not answer that."""
    for pause_s in (*_PAUSES_S, None):
        try:
            return _asked_group(options, topics, reader)
        except NotReachableError as error:
            if pause_s is None:
                return [warning("group", f"the cluster does not say how far {reader!r} is: {error}", "ask again")]
            time.sleep(pause_s)
    raise AssertionError("the last one returns")


def _asked_group(options: KafkaOptions, topics: Topics, reader: str) -> list[Finding]:
    from confluent_kafka import ConsumerGroupTopicPartitions

    admin, limit_s = topics.admin, options.connect_s_max
    state = _result(options, admin.describe_consumer_groups([reader], request_timeout=limit_s)[reader])
    asked = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(reader)], request_timeout=limit_s
    )[reader]  # fmt: skip
    committed = {
        place.partition: place.offset
        for place in _result(options, asked).topic_partitions
        if place.topic == options.stream
    }
    ends = topics.ends(options.stream)
    behind = sum(end - max(0, committed.get(number, 0)) for number, end in ends.items())
    text = f"{reader!r}: {len(state.members)} member(s), at most {behind:,} events behind"
    if behind and not state.members:
        return [warning("group", text, "start a worker")]
    return [good("group", text)]
