"""Events with several handlers, or with handlers that wait for no one: which of them runs when, and when all is over.

    admitted ── unordered handlers are ready at once, also where the event is held
    may start ─ ordered ones as far as no unfinished earlier one conflicts ── all done ── keys are free
                                                    └ failed for good ── the event is parked or skipped when all rest

Invariants: `Past.active` counts the handlers that run or wait for a slot or a retry; an event ends when it is zero. An
event that is held or has freed its keys while handlers are still at work lingers, and counts as admitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from commute.core.places import SETTLED
from commute.core.schedule import Ticket
from commute.runtime.entry import Entry, Job
from commute.store.records import Child, Handled, Marked

if TYPE_CHECKING:
    from commute.runtime.engine import Engine
    from commute.runtime.kinds import Bound


class Several:
    """The rules for such events in one engine."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start_unordered(self, ticket: Ticket[Entry]) -> int:
        """Handlers without a footprint wait for no one: ready at admission."""
        entry = ticket.item
        past = entry.remember()
        past.ticket = ticket
        count = 0
        for index, bound in enumerate(entry.kind.bounds):
            if bound.handler.unordered and bound.name not in past.done and bound.name not in past.started:
                past.started.add(bound.name)
                past.active += 1
                self._engine.push(Job(ticket, bound, index))
                count += 1
        return count

    def advance(self, ticket: Ticket[Entry]) -> int:
        """Make the next handlers of an event with several ready, or end it; returns how many are ready now."""
        entry = ticket.item
        kind, past = entry.kind, entry.remember()
        if past.parking:
            return 0
        if ticket.blocked == SETTLED and not past.keys_freed:  # it is held, and goes on when it is replayed
            self._engine.dead.lingered(entry, past)
            return 0
        if ticket.blocked == 0 and not past.keys_freed and kind.ordered:
            for index in (indexes := kind.startable(after_of(entry), past.done, past.started)):
                bound = kind.bounds[index]
                past.started.add(bound.name)
                past.active += 1
                self._engine.push(Job(ticket, bound, index))
            if indexes:
                return len(indexes)
            failed = any(one.exhausted is not None for one in past.failures.values())
            if all(bound.name in past.done for bound in kind.ordered) and (past.active or failed):
                past.keys_freed = True  # only unordered handlers are left, or have failed: nobody waits for those
                self._engine.lingering += 1
                self._engine.free(ticket, committed=past.committed)
                if self._engine.kinds.mixed:
                    self._engine.post(Marked(entry))
        if past.active == 0 and (past.keys_freed or ticket.blocked == 0):
            if any(one.exhausted is not None for one in past.failures.values()):
                self._engine.failing.exhausted(ticket)
            else:
                self._engine.finish(ticket)
        return 0

    def post_handled(self, entry: Entry, bound: Bound, children: Sequence[Child]) -> None:
        """Record that one handler has succeeded: it is not run again."""
        message = entry.message
        assert message is not None
        chain = self._engine.chain(entry, bool(children))
        self._engine.post(
            Handled(entry.partition.number, entry.position, message.source, message.id, bound.name,
                    self._engine.world.now_s(), tuple(children), chain)
        )  # fmt: skip


def after_of(entry: Entry) -> tuple[int, ...]:
    """`Kind.after` for this event, made at its first use."""
    after = entry.after
    if after is None:
        event = entry.event
        if event is None:
            assert entry.message is not None  # bytes are given up only after this was asked
            event = entry.kind.codec.decode(entry.message.data)
        after = entry.after = entry.kind.after(event)
    return after
