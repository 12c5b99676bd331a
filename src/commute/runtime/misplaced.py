"""Notices events that came on another partition than that of their label: sent by producers that know no labels.

What depends on such an event lies on the label's own partition, with another engine, and neither waits for the other.
It is said once for each type. What this app publishes carries its label and is not looked at; of the rest the first
`FIRST` events of a type are, and then one in `ONE_IN`, since finding the label costs as much as decoding.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from commute.core.murmur2 import partition_of
from commute.errors import RejectedError

if TYPE_CHECKING:
    from commute.runtime.plan import Plan
    from commute.transports.base import Message

LOGGER = logging.getLogger("commute")

FIRST = 100
ONE_IN = 16


class Misplaced:
    """Of one engine on one partition of several."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._seen: dict[str, int] = {}  # type -> events looked at or passed over; one entry a type that has a handler
        self._said: set[str] = set()

    def look(self, message: Message, position: int) -> None:
        """Say it if the event lies elsewhere than its label. `message` has been decoded without an error."""
        type_, plan = message.type, self._plan
        if type_ in self._said:
            return
        if message.source == plan.source and message.attributes and "partitionkey" in message.attributes:
            return
        seen = self._seen[type_] = self._seen.get(type_, 0) + 1
        if seen > FIRST and seen % ONE_IN:
            return
        assert plan.label is not None
        try:
            label = plan.label(type_, message.data)
        except RejectedError:
            return
        if label is None or (right := partition_of(label, plan.partitions)) == plan.partition:
            return
        self._said.add(type_)
        LOGGER.warning(
            "warning[wrong-partition] %s %s from %s came on partition %s (position %d), and its label %s belongs on "
            "%d of %d: what depends on it lies there, and neither waits for the other. Have its producer send the "
            "label as the record's key (Kafka, murmur2) or to queue %d (RabbitMQ), or as partitionkey through an "
            "app of commute; or run one owner: --single-owner. Said once for each type",
            type_, message.id, message.source, plan.partition, position, label, right, plan.partitions, right,
        )  # fmt: skip


def looks(plan: Plan) -> Misplaced | None:
    """Who notices it; None: there are no other partitions, or no labels."""
    return None if plan.label is None or plan.partition is None or plan.partitions < 2 else Misplaced(plan)
