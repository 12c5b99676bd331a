"""What a logged event touches, where no application says it: every object that it names.

Object-centric logs list the objects *involved*, not write sets. That one of them is only read, or only
added to, is an assumption about the handler; it is the user's to make (`read`, `add`), unless the log
carries modes.
"""

from __future__ import annotations

from functools import lru_cache

from commute.core.footprint import ADD, READ, WRITE, Footprint, normalise
from commute.footprints.segment import text_segment
from commute.logs.base import LogEvent


def footprint_of(event: LogEvent, *, read: frozenset[str], add: frozenset[str]) -> Footprint:
    """The accesses of `event`: one key ``type/id`` an object, in both segments percent-encoded.

    An object is written, unless the log gives a mode. All accesses to the object types in `read` are
    reads, whatever the log says; writes to those in `add` are adds, reads stay reads (a read does not
    commute with an add). A type in both is written. Modes of an object that the event names twice are
    joined. No objects: the event touches nothing. About 1 µs an object. The number of keys is not limited
    here; a key that is too long raises RejectedError (``key-too-long``).
    """
    return normalise((_key(kind, identity), _mode(kind, mode, read, add)) for kind, identity, mode in event.objects)


def _mode(kind: str, logged: str | None, read: frozenset[str], add: frozenset[str]) -> str:
    mode = logged or WRITE
    if kind in read:
        return WRITE if kind in add else READ
    return ADD if mode == WRITE and kind in add else mode


@lru_cache(maxsize=65_536)
def _key(kind: str, identity: str) -> str:
    return f"{text_segment(kind, at=kind)}/{text_segment(identity, at=kind)}"
