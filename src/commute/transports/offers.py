"""Events that have just been stored, kept for the one who reads the log: what is in memory is not read from disk.

    writer's thread ── put, after the sync ──▶ Offers ── take ──▶ the reader, who goes to the file for what is not here

An offer changes nothing about what a reader gets, nor when: rows that are declined for want of room, or that somebody
else has stored in between, leave a gap, and the reader reads it from the file.

Invariants: positions ascend from offer to offer, and without gaps within one; one thread puts and another one takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from commute.transports.base import Delivery, Message


class Offers:
    """At most `rows_max` events and `size_bytes_max` of data, each exceeded by at most one offer."""

    __slots__ = ("_bytes_in", "_bytes_max", "_bytes_out", "_offers", "_rows_in", "_rows_max", "_rows_out")

    def __init__(self, rows_max: int, size_bytes_max: int) -> None:
        self._rows_max = rows_max
        self._bytes_max = size_bytes_max
        self._offers: deque[tuple[list[Delivery], int]] = deque()  # none is empty
        self._rows_in = self._bytes_in = 0  # ever put: the writer's thread's own
        self._rows_out = self._bytes_out = 0  # ever taken or forgotten: the reader's own

    def put(self, messages: Sequence[Message], first: int) -> bool:
        """Whether there was room for these, which lie at `first` and the positions after it."""
        if self._rows_in - self._rows_out >= self._rows_max or self._bytes_in - self._bytes_out >= self._bytes_max:
            return False
        size_bytes = sum(len(message.data) for message in messages)
        self._rows_in += len(messages)
        self._bytes_in += size_bytes
        self._offers.append(
            ([Delivery(0, position, message, position) for position, message in enumerate(messages, first)], size_bytes)
        )
        return True

    def take(self, cursor: int) -> list[Delivery]:
        """The events from position `cursor` on, as far as one offer has them; forgets those before it."""
        while (first := self.first()) is not None and first <= cursor:
            deliveries, size_bytes = self._offers.popleft()
            self._rows_out += len(deliveries)
            self._bytes_out += size_bytes
            if cursor - first < len(deliveries):
                return deliveries[cursor - first :] if cursor > first else deliveries
        return []

    def first(self) -> int | None:
        """The lowest position that is here; None where nothing is."""
        return self._offers[0][0][0].position if self._offers else None
