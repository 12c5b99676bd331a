"""A number with its noun, as people say it: for everything that is printed, logged, raised or drawn."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """``1 event``, ``2 events``, ``1,234 events``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
