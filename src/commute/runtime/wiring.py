"""What an engine is put together from, and what it is told to report to; made by `runtime.session`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from commute.core.footprint import Footprint
from commute.core.history import Ending
from commute.limits import Limits
from commute.runtime.kinds import Kinds
from commute.runtime.world import World
from commute.store.records import Record

if TYPE_CHECKING:
    from commute.database import Writer
    from commute.store.store import Store
    from commute.transports.base import Transport


class Recorder(Protocol):
    """What a recorded run notes, for `core.history`; of one partition. `id_` and `type_` are the event's."""

    def admit(self, position: int, footprint: Footprint, id_: str, type_: str) -> None: ...
    def release(self, position: int) -> None: ...
    def start(self, position: int) -> None: ...
    def end(self, position: int, ending: Ending) -> None: ...
    def hold(self, position: int, footprint: Footprint | None = None) -> None: ...


class InFlight(Protocol):
    """The record of running events that survives the process."""

    def note(self, slot: int, partition: int, position: int, alone: bool = False) -> None: ...
    def clear(self, slot: int) -> None: ...


class Wiring(msgspec.Struct, frozen=True):
    """Everything that an engine is put together from."""

    source: str
    kinds: Kinds
    limits: Limits
    concurrency: int
    world: World
    transport: Transport
    writer: Writer
    store: Store
    in_flight: InFlight
    encode: Callable[[object], tuple[str, bytes]]
    state: Any
    label: Callable[[str, bytes], str | None] | None = None
    recorder: Recorder | None = None
    on_outcome: Callable[[Sequence[Record]], None] = lambda batch: None
    blocks_apart: bool = False  # a block is durable at its end, without the records that were queued before it
    in_memory: bool = False  # the store commits on the loop itself
    inline_threads: bool = False  # `def` handlers run on the loop: tests in virtual time
