"""Every bound of a worker, by name. Spelled here and nowhere else.

Environment ``COMMUTE_<NAME>`` (``COMMUTE_DESCRIPTORS_MAX``) overrides the code, command-line flags override both.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from commute.errors import UsageError

MIB = 1024 * 1024
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All bounds with their defaults; sizes in bytes, times in seconds. Raises nothing: `check` does."""

    descriptors_max: int = 50_000  # events looked ahead: admitted and not yet ended
    payload_bytes_max: int = 256 * MIB  # bytes of waiting events kept in memory; beyond it they are read again
    event_bytes_max: int = 16 * MIB  # a larger event is refused on publish and rejected on arrival
    accesses_max: int = 1_024  # keys of one event; beyond it the event is rejected, never run with fewer
    held_events_max: int = 100_000  # events on disk behind parked ones; beyond it the partition pauses
    journal_events_max: int = (
        1_000_000  # of a broker server, on disk and not ended; beyond it the server keeps the rest
    )
    receipts_max: int = 1_000_000  # that a producer keeps, of events that workers with another store have done
    deaths_max: int = 5  # deaths of the process while an event ran alone, before it is parked; 0: never
    processes_max: int = os.cpu_count() or 1  # child processes of one worker, for handlers with executor="processes"
    overdue_max: int = 32  # handlers past their timeout that may still hang about before the worker stops
    commit_s_max: float = 0.005  # longest time that a durable write waits for others to join its sync
    transaction_s_max: float = 1.0  # longest time that one ctx.transaction() block may stay open
    transactions_max: int = 8  # ctx.transaction() blocks open at once in one worker, where each is a connection
    vanished_s: float = 15.0  # silence after which a database server gives up a machine that holds a group
    grace_s: float = 30.0  # how long a drain waits for running handlers
    balance_s: float = 5.0  # shortest time between two rounds in which a worker hands partitions to those with fewer
    dedupe_s: float = 7 * DAY_S  # how long an identity is remembered after its outcome
    retain_s: float = 7 * DAY_S  # how long an event is kept after every group has its outcome


def whole_number(name: str, value: object, least: int) -> int:
    """A setting as a whole number. Raises UsageError (``option``)."""
    try:
        number = int(str(value).replace("_", ""))
    except ValueError:
        number = least - 1
    if number < least:
        raise UsageError(f"{name}={value!r}: give a whole number, {least} or more", slug="option")
    return number


def seconds(name: str, value: object) -> float:
    """A setting as a time in seconds. Raises UsageError (``option``)."""
    try:
        found = float(str(value))
    except ValueError:
        found = -1.0
    if not 0 < found < float("inf"):
        raise UsageError(f"{name}={value!r}: give seconds, more than 0", slug="option")
    return found
