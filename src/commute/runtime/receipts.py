"""What has become of an event: read from the durable state alone, so it is the same from any process.

in the log ─ not settled ── waiting
           ├ dead row ───── parked (why), held (behind which), skipped, dropped, rejected
           └ settled ────── processed
not in the log ──────────── too old (its id says that it has been deleted); waiting, for who published it: the broker
                            confirmed it and no worker has it yet; else unknown

Of what the store knows no more, an app with `receipts=` is told by workers elsewhere (`store.receipts`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from commute.core.watermark import BLOCK_SHIFT, Done
from commute.ids import ulid_time_s
from commute.store.reading import find_scope, read_dead
from commute.store.records import DeadRow

if TYPE_CHECKING:
    from commute.database import Connection, Database
    from commute.transports.base import Delivery

OutcomeStatus = Literal["processed", "skipped", "dropped", "rejected"]
Status = Literal["waiting", "parked", "held", "processed", "skipped", "dropped", "rejected", "unknown", "too old"]

_UNHEARD = ("waiting", "unknown", "too old")  # of these the app's own store knows no more
_FINAL: tuple[OutcomeStatus, ...] = ("processed", "skipped", "dropped", "rejected")
POLL_S = 0.01  # how soon a commit of another process is noticed


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an event ended for good. `handlers`: each handler of its type and how it ended."""

    status: OutcomeStatus
    reason: str = ""
    handlers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """Where an event stands now. `reason`: why it is parked or rejected; for held ones, behind which it waits."""

    status: Status
    reason: str = ""
    position: int | None = None
    handlers: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, or None while there is none."""
        for status in _FINAL:
            if status == self.status:
                return Outcome(status, self.reason, self.handlers)
        return None


class Inbox(Protocol):
    """What workers with another store have told of this app's events."""

    @property
    def due(self) -> bool: ...
    def look(self) -> None: ...
    def told(self, event_id: str, group: str) -> State | None: ...


class Finder(Protocol):
    """The part of a log that receipts need."""

    def find(self, event_id: str, source: str | None = None) -> list[int]: ...
    def read(self, position: int) -> Delivery | None: ...


class Desk:
    """Answers about the events of one group and stream. Every answer is a few short reads; thread-safe.

    `logs` gives those of the stream by their names in the store: one, or one for each partition."""

    def __init__(
        self,
        file: Database,
        logs: Callable[[], Mapping[str, Finder]],
        group: str,
        *,
        retain_s: float,
        handlers_of: Callable[[str], Sequence[str]],
        inbox: Inbox | None = None,
    ) -> None:
        """`inbox`: asked about what the store knows no more of than that it was sent."""
        self._file = file
        self._logs = logs
        self._group = group
        self._retain_s = retain_s
        self._handlers_of = handlers_of
        self._inbox = inbox
        self._waiting: dict[asyncio.Future[Outcome], tuple[str, int | None, str | None]] = {}
        self._poller: asyncio.Task[None] | None = None

    def state(self, event_id: str, position: int | None = None, type_: str | None = None) -> State:
        """Where the event stands; `position` where it is known (a duplicate id has one of its own), `type_` where the
        one who asks has had it confirmed."""
        state = self._stored(event_id, position, type_)
        if self._inbox is None or state.status not in _UNHEARD:
            return state
        return self._inbox.told(event_id, self._group) or state

    def look(self) -> None:
        """See to it that what workers elsewhere tell comes in; may block for seconds at the first call."""
        if self._inbox is not None and self._inbox.due:
            self._inbox.look()

    async def looked(self) -> None:
        """`look`, beside the loop."""
        if self._inbox is not None and self._inbox.due:
            await asyncio.to_thread(self._inbox.look)

    def _stored(self, event_id: str, position: int | None, type_: str | None) -> State:
        logs = self._logs()
        asked = dict.fromkeys(logs, position)
        if position is None:
            for stream, log in logs.items():
                if found := log.find(event_id):
                    asked, position = {stream: found[0]}, found[0]
                    break

        def read(connection: Connection) -> State:
            states = (self._read(connection, event_id, stream, at, type_) for stream, at in asked.items())
            *others, last = states
            return next((state for state in others if state.status not in ("unknown", "too old")), last)

        state = self._file.read(read)
        if state.status != "processed" or type_ is not None or position is None or len(asked) != 1:
            return state
        delivery = logs[next(iter(asked))].read(position)
        names = () if delivery is None else self._handlers_of(delivery.message.type)
        return replace(state, handlers=dict.fromkeys(names, "processed"))

    def _read(
        self, connection: Connection, event_id: str, stream: str, position: int | None, type_: str | None
    ) -> State:
        scope = find_scope(connection, self._group, stream)
        if scope is not None:
            condition, values = ("position=?", (position,)) if position is not None else ("id=?", (event_id,))
            rows = read_dead(connection, scope, condition, values, data=False)
            if rows:
                return self._dead(rows[0])
        if position is None:
            made_s = ulid_time_s(event_id)
            old = made_s is not None and made_s < time.time() - self._retain_s
            return State("too old" if old else "unknown" if type_ is None else "waiting")
        if scope is None or not is_settled(connection, scope, 0, position):
            return State("waiting", position=position)
        names = self._handlers_of(type_) if type_ is not None else ()
        return State("processed", position=position, handlers=dict.fromkeys(names, "processed"))

    def _dead(self, row: DeadRow) -> State:
        handlers: dict[str, str] = dict.fromkeys(self._handlers_of(row.message.type), row.status)
        handlers |= dict.fromkeys(row.handlers_done, "processed")
        return State(row.status, row.reason, row.position, handlers)

    def wait_sync(self, event_id: str, position: int | None, type_: str | None, timeout_s: float) -> Outcome | None:
        """The outcome, or None when `timeout_s` has passed. Blocks the calling thread."""
        end_s = time.monotonic() + timeout_s
        while True:
            self.look()
            outcome = self.state(event_id, position, type_).outcome
            left_s = end_s - time.monotonic()
            if outcome is not None or left_s <= 0:
                return outcome
            time.sleep(min(POLL_S, left_s))

    async def wait(self, event_id: str, position: int | None, type_: str | None, timeout_s: float) -> Outcome | None:
        """The outcome, or None when `timeout_s` has passed. One poller serves all who wait."""
        await self.looked()
        outcome = self.state(event_id, position, type_).outcome
        if outcome is not None or timeout_s <= 0:
            return outcome
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting[future] = (event_id, position, type_)
        if self._poller is None or self._poller.done():
            self._poller = loop.create_task(self._poll(), name="commute receipts")
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(future, None)

    async def _poll(self) -> None:
        version = -1
        in_memory = self._file.path is None  # its one connection does not see its own commits as changes
        while self._waiting:
            await self.looked()
            now = self._file.data_version()
            if in_memory or now != version:
                version = now
                for future, asked in tuple(self._waiting.items()):
                    if future.done():
                        continue
                    try:
                        outcome = self.state(*asked).outcome
                    except Exception as error:  # noqa: BLE001 - it goes to the one who waits
                        future.set_exception(error)
                        continue
                    if outcome is not None:
                        future.set_result(outcome)
            await asyncio.sleep(POLL_S)

    def close(self) -> None:
        """Nobody is answered any more."""
        if self._poller is not None:
            self._poller.cancel()
            self._poller = None


def is_settled(connection: Connection, scope: int, partition: int, position: int) -> bool:
    """Whether this position lies below the watermark, or among those settled beyond it."""
    row = connection.execute(
        "SELECT watermark FROM progress WHERE scope=? AND partition=?", (scope, partition)
    ).fetchone()
    if row is None:
        return False
    if position < int(row[0]):
        return True
    block = connection.execute(
        "SELECT bits FROM done WHERE scope=? AND partition=? AND block=?", (scope, partition, position >> BLOCK_SHIFT)
    ).fetchone()
    if block is None:
        return False
    done = Done()
    done.load(position >> BLOCK_SHIFT, block[0])
    return position in done


class Receipt:
    """What the producer is told about one event. Awaiting needs the app to be open in this process."""

    __slots__ = ("_desk", "_position", "_type", "event_id")

    def __init__(self, desk: Desk, event_id: str, position: int | None = None, type_: str | None = None) -> None:
        self._desk = desk
        self.event_id = event_id
        self._position = position
        self._type = type_

    @property
    def position(self) -> int | None:
        """The event's place in its log, where the broker told it."""
        return self._position

    async def outcome(self, *, timeout_s: float) -> Outcome | None:
        """How the event ended; None if it has not, `timeout_s` from now."""
        return await self._desk.wait(self.event_id, self._position, self._type, timeout_s)

    async def state(self) -> State:
        """Where the event stands now."""
        await self._desk.looked()
        return self._desk.state(self.event_id, self._position, self._type)

    def __repr__(self) -> str:
        return f"Receipt({self.event_id!r})"


class SyncReceipt:
    """`Receipt` for programs without an event loop."""

    __slots__ = ("_desk", "_position", "_type", "event_id")

    def __init__(self, desk: Desk, event_id: str, position: int | None = None, type_: str | None = None) -> None:
        self._desk = desk
        self.event_id = event_id
        self._position = position
        self._type = type_

    @property
    def position(self) -> int | None:
        """The event's place in its log, where the broker told it."""
        return self._position

    def outcome(self, *, timeout_s: float) -> Outcome | None:
        """How the event ended; None if it has not, `timeout_s` from now. Blocks the thread."""
        return self._desk.wait_sync(self.event_id, self._position, self._type, timeout_s)

    def state(self) -> State:
        """Where the event stands now."""
        self._desk.look()
        return self._desk.state(self.event_id, self._position, self._type)

    def __repr__(self) -> str:
        return f"SyncReceipt({self.event_id!r})"
