"""One handler's breaker: closed while it works, open when everything it was given lately has failed.

When a gateway is down, every event of its handler fails; without a breaker each would use up its attempts and
be parked, and someone would have to bring all of them back. With it, the events wait in place, one at a time
probes, and the first success lets all of them go on.

            events_max different events failed, no success between
    closed --------------------------------------------------------> open: one probe at a time,
           <--------------------------------------------------------       delays double
            any success, of the probe or of a run begun before

Invariants: fewer than `events_max` different events have failed since the last success while closed; at most
one probe runs; only the probe's own failure moves the delay, not that of a run begun before the breaker
opened.

Source: Nygard, "Release It!" (2007), circuit breaker; here it counts events, not calls, so that one poisoned
event that is retried cannot open it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

EVENTS_MAX: Final = 20
FIRST_S: Final = 1.0
MAX_S: Final = 60.0


class Breaker:
    """State of one handler's breaker. Pure: `now_s` is any monotonic clock in seconds; every call is O(1)."""

    __slots__ = ("_delay_s", "_events_max", "_failed", "_first_s", "_max_s", "_probe", "next_probe_s", "open")

    def __init__(self, *, events_max: int = EVENTS_MAX, first_s: float = FIRST_S, max_s: float = MAX_S) -> None:
        """Opens at `events_max` (at least 1); the first probe comes after
        `first_s`; delays double up to `max_s`."""
        assert events_max >= 1, f"a breaker needs an event to judge by: {events_max}"
        assert 0.0 < first_s <= max_s, f"delays must be positive and grow: {first_s}, {max_s}"
        self.open = False
        self.next_probe_s = 0.0  # clock time from which a probe may start; meaningful while open
        self._events_max = events_max
        self._first_s = first_s
        self._max_s = max_s
        self._delay_s = first_s
        # different events failed since the last success; empty while open
        self._failed: set[Hashable] = set()
        self._probe: Hashable | None = None  # the event that probes; None unless open

    def failed(self, event_key: Hashable, now_s: float) -> None:
        """An attempt of this event failed. `event_key`: the same for all attempts of an event, not None."""
        if self.open:
            if event_key == self._probe:
                self._probe = None
                self._delay_s = min(2 * self._delay_s, self._max_s)
                self.next_probe_s = now_s + self._delay_s
            return
        self._failed.add(event_key)
        if len(self._failed) >= self._events_max:
            self._failed.clear()
            self.open = True
            self._delay_s = self._first_s
            self.next_probe_s = now_s + self._delay_s

    def succeeded(self) -> None:
        """An attempt of any event succeeded: closed, and all counts begin afresh."""
        self.open = False
        self._failed.clear()
        self._probe = None

    def may_probe(self, now_s: float) -> bool:
        """Whether one event of the handler may be tried now although the breaker is open."""
        return self.open and self._probe is None and now_s >= self.next_probe_s

    def probe_started(self, event_key: Hashable) -> None:
        """This event probes, until it fails, any event succeeds, or the probe is withdrawn."""
        assert self.open, "a probe needs an open breaker"
        assert self._probe is None, f"{self._probe!r} probes already"
        assert event_key is not None, "a probe needs a name"
        self._probe = event_key

    def probe_withdrawn(self) -> None:
        """The probe ended without a verdict (a drain, a DeadLetter): another may start at once."""
        self._probe = None
