"""The registered handlers as the engine uses them: one `Kind` an event type, one `Bound` a handler.

A `Bound` carries the state that all events of a handler share: its own concurrency limit, its breaker, and the jobs
that wait for either.
"""

from __future__ import annotations

import difflib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from commute.codec import Codec
from commute.core.breaker import Breaker
from commute.core.footprint import EVERYTHING, Footprint, conflicts, normalise
from commute.footprints.declared import Declared
from commute.handler import Handler
from commute.runtime.entry import Job
from commute.runtime.recorded import type_here, with_objects

if TYPE_CHECKING:
    from commute.logs import LogEvent
    from commute.runtime.elsewhere import Pool


class Bound:
    """A handler and what its running events share."""

    __slots__ = (
        "_declared", "breaker", "code", "failing", "handler", "name", "on_loop", "pool", "queue", "running", "warned",
    )  # fmt: skip

    def __init__(self, handler: Handler, accesses_max: int) -> None:
        self.handler = handler
        self._declared = {event.type: event.declared.limited(accesses_max) for event in handler.events}
        self.name = handler.name
        self.code = getattr(handler.function, "__code__", None)
        self.on_loop = handler.executor == "loop" or (handler.executor != "threads" and handler.is_async)
        self.pool: Pool | None = None  # where it runs if not here; set by the session, but for tests in virtual time
        self.breaker = Breaker()
        self.failing = False  # something failed since its last success
        self.running = 0
        self.queue: deque[Job] = deque()  # ready, but over the handler's limit or behind its breaker
        self.warned: set[str] = set()  # warnings that are said once per handler

    def declared(self, type_: str) -> Declared:
        """What the handler declares about one of its event types."""
        return self._declared[type_]

    @property
    def stoppable(self) -> bool:
        """Whether cancelling the slot really ends the handler, or at least asks it to end: not in a thread."""
        return self.on_loop if self.pool is None else self.handler.executor == "processes"

    def full(self) -> bool:
        """Whether its own limit, or its pool, has no room for one more."""
        limit = self.handler.concurrency
        if self.pool is not None and not self.pool.executor.free:
            return True
        return limit is not None and self.running >= limit

    def waiting(self, now_s: float) -> Job | None:
        """The first job that waits for the room that there is now, taken out of its queue; None if none may begin."""
        sharing = (self,) if self.pool is None else self.pool.bounds
        able = [b for b in sharing if b.queue and not b.full() and (not b.breaker.open or b.breaker.may_probe(now_s))]
        return min(able, key=lambda b: b.queue[0]).queue.popleft() if able else None


class Kind:
    """One event type of this app: how its bytes become an event, who handles it, what it touches."""

    __slots__ = (
        "_footprints", "bounds", "chains", "codec", "embedded", "ordered", "single", "some_embedded", "type",
        "unordered",
    )  # fmt: skip

    def __init__(self, type_: str, codec: Codec, bounds: Sequence[Bound]) -> None:
        self.type = type_
        self.codec = codec
        self.bounds = tuple(bounds)  # in registration sequence
        self.ordered = tuple(b for b in bounds if not b.handler.unordered)
        self.unordered = tuple(b for b in bounds if b.handler.unordered)
        self.single = self.bounds[0] if len(self.bounds) == 1 and self.ordered else None
        self.embedded = all(b.handler.embedded for b in self.ordered)
        self.some_embedded = any(b.handler.embedded for b in self.ordered)
        self._footprints: tuple[Callable[[object], Footprint], ...] = tuple(
            b.declared(type_).footprint for b in self.ordered
        )
        self.chains: tuple[Callable[[object], Sequence[str]], ...] = tuple(
            keys for b in bounds if (keys := b.declared(type_).publish_keys) is not None
        )

    def footprint(self, event: object) -> Footprint:
        """The union over the ordered handlers. Raises RejectedError where a key does not resolve."""
        functions = self._footprints
        if len(functions) == 1:
            return functions[0](event)
        return normalise(access for function in functions for access in function(event))

    def chain(self, event: object) -> tuple[str, ...]:
        """The keys in whose log sequence this event's children leave; empty for most."""
        return tuple(dict.fromkeys(key for chain in self.chains for key in chain(event)))

    def after(self, event: object) -> tuple[int, ...]:
        """For each of `bounds`, as a bit mask, the earlier ones that it conflicts with on this event.

        All that is needed of the event to run its handlers in sequence, so that its bytes need not be kept for it.
        """
        found: list[int] = []
        footprints: list[Footprint] = []
        for bound in self.bounds:
            keys = () if bound.handler.unordered else bound.declared(self.type).footprint(event)
            found.append(sum(1 << at for at, other in enumerate(footprints) if conflicts(keys, other)))
            footprints.append(keys)
        return tuple(found)

    def startable(self, after: tuple[int, ...], done: set[str], started: set[str]) -> list[int]:
        """Indexes into `bounds` of the ordered handlers that may begin: no unfinished earlier one conflicts."""
        found: list[int] = []
        unfinished = 0
        for index, bound in enumerate(self.bounds):
            if bound.handler.unordered or bound.name in done:
                continue
            if bound.name not in started and not after[index] & unfinished:
                found.append(index)
            unfinished |= 1 << index
        return found


class Kinds:
    """All event types that the app handles, and those that it passes over."""

    __slots__ = ("_by_type", "_ignore", "bounds", "mixed")

    def __init__(self, handlers: Iterable[Handler], ignore: Sequence[str], accesses_max: int) -> None:
        self.bounds = tuple(Bound(handler, accesses_max) for handler in handlers)
        by_type: dict[str, list[Bound]] = {}
        codecs: dict[str, Codec] = {}
        for bound in self.bounds:
            for event in bound.handler.events:
                by_type.setdefault(event.type, []).append(bound)
                known = codecs.get(event.type)
                if known is None or known.cls is None:  # a class says more than a type name
                    codecs[event.type] = event.codec
        self._by_type = {type_: Kind(type_, codecs[type_], bounds) for type_, bounds in by_type.items()}
        self._ignore = tuple(ignore)
        ordered = [b for b in self.bounds if not b.handler.unordered]
        # Only where some effects lie in our own store and others elsewhere must a start look at what is not synced.
        self.mixed = any(b.handler.embedded for b in ordered) and not all(b.handler.embedded for b in ordered)

    def get(self, type_: str) -> Kind | None:
        return self._by_type.get(type_)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_type.values())

    def recorded(self, event: LogEvent) -> bytes:
        """JSON of an event of a log file, as its handlers take it; ValueError and TypeError for what is no JSON."""
        kind = self.get(self.recorded_type(event.type))
        if kind is None:
            return json.dumps(event.data, ensure_ascii=False, allow_nan=False).encode()
        return kind.codec.recorded(with_objects(event, kind.codec), spare=event.spare, text=event.text)

    def recorded_type(self, type_: str) -> str:
        """What this app calls a type of a log file: ``place_order`` for ``Place Order``, if that is what it takes."""
        return type_here(type_, self._by_type)

    def ignored(self, type_: str) -> bool:
        return any(fnmatchcase(type_, pattern) for pattern in self._ignore)

    def like(self, type_: str) -> str | None:
        """The registered type that was probably meant."""
        return next(iter(difflib.get_close_matches(type_, self._by_type, 1)), None)


def is_everything(footprint: Footprint) -> bool:
    return any(access in EVERYTHING for access in footprint)
