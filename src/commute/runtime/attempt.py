"""One try at running one handler for one event: what its context asks for ends up here.

    begin → (publish …) → [transaction: block … inbox row, children] → success → record
                                                                     └ failure → nothing of it remains

A block that has ended is the point of success: effects, inbox row and children are one commit. What a handler does
after it cannot undo it, so an exception after the block is reported, and the attempt counts as done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from commute.errors import RejectedError, UsageError
from commute.ids import derived_id
from commute.store.records import Child, Handled
from commute.transports.base import Message

if TYPE_CHECKING:
    from commute.database import Before, Block
    from commute.runtime.engine import Engine
    from commute.runtime.entry import Job

LONG_BLOCK_S = 0.05  # an open block makes others wait: beyond this we say so


AROUND_BLOCKS: list[Callable[[Block], Block]] = []  # what a handler gets in place of its block, while somebody watches


class Attempt:
    """What one running handler has asked for so far. Used by one handler, in one thread at a time."""

    __slots__ = ("_engine", "_job", "_message", "children", "committed", "entered", "published")

    def __init__(self, engine: Engine, job: Job, message: Message) -> None:
        self._engine = engine
        self._job = job
        self._message = message
        self.children: list[Child] = []
        self.published = 0
        self.entered = False  # a block was opened
        self.committed = False  # a block has ended well: effects, inbox row and children are one commit

    @property
    def handler_name(self) -> str:
        return self._job.bound.name

    @property
    def number(self) -> int:
        past = self._job.entry.past
        failures = past.failures.get(self._job.bound.name) if past is not None else None
        return 1 if failures is None else failures.failures + failures.deaths + 1

    @property
    def log_position(self) -> int:
        return self._job.entry.position

    def publish(self, event: object, to: str | None) -> None:
        """Buffer one event; it leaves with this handler's success."""
        if self.committed:
            raise UsageError(
                f"{self.handler_name} called ctx.publish after its transaction had ended: the event would be sent even "
                "if the effects were not. Publish inside the block.",
                slug="publish-after-commit",
            )
        self.send(*self._engine.encode(event), to)

    def send(self, type_: str, data: bytes, to: str | None) -> None:
        """`publish` for an event that is encoded and checked."""
        message, name = self._message, self._job.bound.name
        self.published += 1
        parent = dict(message.attributes or {})
        attributes = {"causationid": message.id, "correlationid": parent.get("correlationid", message.id)}
        if "traceparent" in parent:
            attributes["traceparent"] = parent["traceparent"]
        label = self._engine.label
        if label is not None and to is None and (text := label(type_, data)) is not None:
            attributes["partitionkey"] = text
        if len(data) > self._engine.limits.event_bytes_max:
            raise RejectedError(
                f"{name} published a {type_} of {len(data):,} bytes; the limit is "
                f"{self._engine.limits.event_bytes_max:,} (event_bytes_max)",
                slug="too-large",
            )
        identity = derived_id(message.time_s, message.source, message.id, name, str(self.published))
        child = Message(identity, self._engine.source, type_, self._engine.world.now_s(), data, attributes)
        self.children.append(Child(child, to))
        self._engine.notes.published(self._job, type_)

    def transaction(self) -> EffectBlock:
        if self.entered:
            raise UsageError(
                f"{self._job.bound.name} opened a second ctx.transaction() in one attempt: put all effects into one",
                slug="one-transaction",
            )
        self.entered = True
        return EffectBlock(self._engine, self._job, self)


class EffectBlock:
    """`ctx.transaction()`: a block of the embedded store that ends with the inbox row and the children."""

    __slots__ = ("_attempt", "_block", "_children_before", "_engine", "_job", "_open_s", "_opened_s", "_rows")

    def __init__(self, engine: Engine, job: Job, attempt: Attempt) -> None:
        self._engine = engine
        self._job = job
        self._attempt = attempt
        self._block: AbstractAsyncContextManager[Block] | AbstractContextManager[Block] | None = None
        self._rows: Block | None = None
        self._opened_s = self._open_s = 0.0
        self._children_before = 0  # children that were published before the block

    async def __aenter__(self) -> Block:
        self._block = block = self._engine.writer.block(before=self._before())
        return self._opened(await block.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block = self._block
        try:
            try:
                self._finish(error)
            except BaseException as failure:
                await block.__aexit__(type(failure), failure, failure.__traceback__)  # type: ignore[union-attr]
                raise
            await block.__aexit__(kind, error, trace)  # type: ignore[union-attr]
        except BaseException:
            self._undone()
            raise
        self._ended(error)

    def __enter__(self) -> Block:
        engine = self._engine
        if engine.wiring.in_memory and not engine.wiring.inline_threads and not engine.on_its_thread():
            raise UsageError(
                f"{self._job.bound.name} is `def` and opens ctx.transaction(): on memory:// that needs `async def`",
                slug="transaction-needs-async",
            )
        self._block = block = self._engine.writer.block_sync(before=self._before())
        return self._opened(block.__enter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block = self._block
        try:
            try:
                self._finish(error)
            except BaseException as failure:
                block.__exit__(type(failure), failure, failure.__traceback__)  # type: ignore[union-attr]
                raise
            block.__exit__(kind, error, trace)  # type: ignore[union-attr]
        except BaseException:
            self._undone()
            raise
        self._ended(error)

    def _before(self) -> Before:
        store = self._engine.store
        if self._engine.wiring.blocks_apart and not self._job.bound.handler.embedded:
            return store.before_unforeseen_block
        return store.before_block

    def _opened(self, rows: Block) -> Block:
        self._opened_s = time.monotonic()
        self._children_before = len(self._attempt.children)
        self._rows = rows
        for around in AROUND_BLOCKS:
            rows = around(rows)
        return rows

    def _finish(self, error: BaseException | None) -> None:
        self._open_s = time.monotonic() - self._opened_s
        if error is not None:
            return
        entry, attempt, engine = self._job.entry, self._attempt, self._engine
        message = attempt._message
        place = entry.place
        chain = place.chain if place is not None and (place.children or not place.first()) else ()
        handled = Handled(
            entry.partition.number, entry.position, message.source, message.id, self._job.bound.name,
            engine.world.now_s(), tuple(attempt.children), chain,
        )  # fmt: skip
        if chain and attempt.children and place is not None:
            place.children = True
        self._rows.at_end(lambda connection: engine.store.end_block(connection, handled))  # type: ignore[union-attr]

    def _undone(self) -> None:
        # A handler that goes on must not send what belonged to the block.
        del self._attempt.children[self._children_before :]

    def _ended(self, error: BaseException | None) -> None:
        if error is not None:
            self._undone()
            return
        self._attempt.committed = True
        if self._open_s > LONG_BLOCK_S:
            self._engine.notes.long_block(self._job.bound, self._open_s)
