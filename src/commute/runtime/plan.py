"""What a worker is told to do: everything about one app that the runtime needs, checked, without the app itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from commute.handler import Handler, names_for
from commute.limits import Limits
from commute.store.receipts import Answers
from commute.transports.base import part_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One app as its worker sees it. `source` is the CloudEvents source of what it publishes; `partition` the one that
    this engine owns of `partitions`, None: all of the stream; `label` tells the partition label of an event by type and
    data, None: nobody asks for it."""

    name: str
    group: str
    stream: str
    source: str
    handlers: Sequence[Handler]
    ignore: Sequence[str]
    concurrency: int
    limits: Limits
    encode: Callable[[object], tuple[str, bytes]]
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None
    partition: int | None = None
    partitions: int = 1
    label: Callable[[str, bytes], str | None] | None = None

    @property
    def seat(self) -> str:
        """What an engine owns of the group: one partition, or all."""
        return part_name(self.group, self.partition)

    def answers(self) -> Answers:
        """What makes the receipts that producers ask for."""
        return Answers(self.group, self.source, partial(names_for, self.handlers))

    def fingerprint(self) -> str:
        """A digest of what decides whether an event is rejected: handlers, their code and events, `ignore`."""
        digest = hashlib.blake2b(digest_size=16)
        for pattern in sorted(self.ignore):
            digest.update(b"i" + pattern.encode())
        for handler in self.handlers:
            digest.update(b"h" + handler.name.encode())
            code = getattr(handler.function, "__code__", None)
            digest.update(getattr(code, "co_code", b""))
            for event in handler.events:
                annotations = getattr(event.codec.cls, "__annotations__", {})
                digest.update(f"e{event.type}{annotations!r}{event.declared.templates!r}".encode())
        return digest.hexdigest()
