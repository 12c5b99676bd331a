"""What looking at a broker or a store has found: `commute doctor` prints these, and each client makes its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. ``warning``: it works and promises less than it could; ``problem``: events are lost or do not move."""

    level: Level
    what: str  # one or two words
    text: str
    advice: str = ""  # what a person can do; empty where there is nothing to do


def good(what: str, text: str) -> Finding:
    return Finding("ok", what, text)


def warning(what: str, text: str, advice: str) -> Finding:
    return Finding("warning", what, text, advice)


def problem(what: str, text: str, advice: str) -> Finding:
    return Finding("problem", what, text, advice)


def plain_text(host: str, encrypted: bool) -> list[Finding]:
    """A warning where passwords and events would cross a network unencrypted."""
    if encrypted or host in ("localhost", "::1") or host.startswith("127."):
        return []
    return [
        warning("encryption", f"what goes to {host} and back can be read on its way", "use TLS: see the broker's page")
    ]


def clock(newest_s: float, now_s: float) -> list[Finding]:
    """A warning where the newest event is later than this machine's clock by more than a moment."""
    ahead_s = newest_s - now_s
    if ahead_s <= _AHEAD_S_MAX:
        return []
    return [
        warning(
            "clock", f"the newest event is {ahead_s:,.0f} s later than this machine's clock",
            "set the clocks of producers and workers by NTP",
        )
    ]  # fmt: skip


_AHEAD_S_MAX = 5.0
