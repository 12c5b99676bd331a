"""Frames between a worker and its child processes: a length, then from the child a letter that says what it is."""

from __future__ import annotations

CALL_BYTES = 4  # of the length, big-endian
READY, FAILED, REPLY, LOGGED = b"+", b"-", b"=", b"#"


def pack(frame: bytes) -> bytes:
    """The frame as it is written."""
    return len(frame).to_bytes(CALL_BYTES, "big") + frame
