"""Handlers that compute and wait for nothing; child processes and Dask workers import them by name."""

from __future__ import annotations

import hashlib
import os

from commute import Event


class Compute(Event):
    """Some work on one key. `n` is its place among those of its key; `log` the file where its end is noted."""

    key: str
    n: int
    rounds: int
    log: str


def compute(event: Compute) -> None:
    """Hashes `rounds` times without letting go of the interpreter, then appends one line to the log."""
    digest = b"commute"
    for _ in range(event.rounds):
        digest = hashlib.sha256(digest).digest()
    file = os.open(event.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{event.key} {event.n}\n".encode())
    finally:
        os.close(file)
