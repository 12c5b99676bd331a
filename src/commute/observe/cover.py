"""Whether an access lies inside of a footprint: under one of its keys, in a mode that says at least as much.

    write   covers all          add      covers add, insert
    read    covers read         insert   covers insert

A commutative class that an application names covers all: that its operations commute is for the two-order test.
"""

from __future__ import annotations

from collections.abc import Mapping

_NARROW = {"read": ("read",), "add": ("add", "insert"), "insert": ("insert",)}


def covers(modes: Mapping[str, str], key: str, mode: str) -> bool:
    """Whether `modes`, by key, cover one access. O(segments of the key)."""
    while True:
        found = modes.get(key)
        if found is not None and mode in _NARROW.get(found, (mode,)):
            return True
        if not key:
            return False
        key = key.rpartition("/")[0]
