"""Handlers that run outside the worker's process: checked at start, called by name, their answers judged here.

    Bound ── pool ──▶ executor (processes, dask) ──▶ runtime.child in another process
      children ◀── Attempt ◀── Reply ◀──

The sequence is the engine's: it starts a handler only when it may, wherever that runs, and an event ends here.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from commute.database import Database, Ownership
from commute.errors import RemoteError, UsageError
from commute.executors.dask import Dask
from commute.executors.processes import Processes
from commute.runtime.call import Call, Logged, NamedCodec, NamedHandler, Reply, Spec, find, name_of
from commute.runtime.child import importable, perform, running
from commute.runtime.plan import Plan

if TYPE_CHECKING:
    from commute.handler import Handler
    from commute.runtime.attempt import Attempt
    from commute.runtime.kinds import Bound
    from commute.transports.base import Message

CHILD = "commute.runtime.child"


class Executor(Protocol):
    """Where calls are run."""

    @property
    def free(self) -> bool:
        """Whether a call would begin at once."""

    async def start(self) -> None:
        """Returns when calls can be run. Raises UsageError, NotReachableError."""

    async def run(self, call: bytes) -> bytes:
        """The answer, once the call has ended. Raises DiedError, NotReachableError."""

    async def close(self) -> None: ...


class Pool:
    """One executor and the handlers that share it."""

    def __init__(self, executor: Executor, bounds: Sequence[Bound]) -> None:
        self.executor = executor
        self.bounds = tuple(bounds)

    async def run(self, attempt: Attempt, message: Message) -> None:
        """Run a handler there; what it published is the attempt's. Raises RemoteError for what it raised."""
        call = Call(attempt.handler_name, attempt.log_position, attempt.number, message)
        answer = await self.executor.run(msgspec.msgpack.encode(call))
        reply = msgspec.msgpack.decode(answer, type=Reply)
        if reply.raised is not None:
            raised = reply.raised
            raise RemoteError(raised.name, raised.text, raised.kinds, raised.where, raised.trace)
        for one in reply.published:
            attempt.send(one.type, one.data, one.to)


def open_pools(
    bounds: Sequence[Bound],
    plan: Plan,
    file: Database,
    ownership: Ownership | None,
    on_free: Callable[[Bound, int], None],
) -> list[Pool]:
    """A pool for each executor that the handlers name, given to them and not yet started.

    Raises UsageError: ``not-importable``, ``transaction-elsewhere``, ``state-elsewhere``, ``no-extra``.
    """
    pools = []
    for name in dict.fromkeys(b.handler.executor for b in bounds if b.handler.elsewhere):
        its = [bound for bound in bounds if bound.handler.executor == name]
        spec = msgspec.msgpack.encode(spec_of(plan, [bound.handler for bound in its], file.path))

        def freed(count: int = 1, first: Bound = its[0]) -> None:
            on_free(first, count)

        executor: Executor
        if name == "processes":
            wanted = sum(bound.handler.concurrency or plan.concurrency for bound in its)
            lock = None if ownership is None or file.path is None else ownership.fileno()
            count = min(plan.limits.processes_max, plan.concurrency, wanted)
            executor = Processes(count, CHILD, spec, held=[] if lock is None else [lock], hear=_log, on_free=freed)
        else:
            scope = f"{socket.gethostname()} {file.path or id(file)} {plan.group} {plan.stream}"
            executor = Dask(name, spec, scope, perform=perform, running=running, importable=importable, on_free=freed)
        pool = Pool(executor, its)
        for bound in its:
            bound.pool = pool
        pools.append(pool)
    return pools


def spec_of(plan: Plan, handlers: Iterable[Handler], path: str | None) -> Spec:
    """What another process is told of these handlers. Raises UsageError for what it could not run."""
    named = {}
    for handler in handlers:
        if handler.embedded:
            raise UsageError(
                f"{handler.name} opens ctx.transaction(), which is in the worker's process: with executor="
                f'"{handler.executor}" that cannot be. Leave executor out, or publish an event whose handler has it',
                slug="transaction-elsewhere",
                where=handler.where,
            )
        if handler.stateful and plan.lifespan is not None:
            raise UsageError(
                f"{handler.name} reads ctx.state, and what lifespan yields stays in the worker's process: with "
                f'executor="{handler.executor}" make it in the module, once a process',
                slug="state-elsewhere",
                where=handler.where,
            )
        function = _importable(handler, handler.function)
        events = [
            NamedCodec(event.type, None if event.codec.cls is None else _importable(handler, event.codec.cls))
            for event in handler.events
        ]
        named[handler.name] = NamedHandler(function, handler.takes_context, events)
    codecs = {
        (event.type, cls): NamedCodec(event.type, None if cls is None else name_of(cls))
        for handler in plan.handlers
        for event in handler.events
        if (cls := event.codec.cls) is None or _found(cls)
    }
    return Spec(
        source=plan.source, handlers=named, codecs=list(codecs.values()),
        event_bytes_max=plan.limits.event_bytes_max, has_state=plan.lifespan is not None, protected=path,
        log_levels={name: logging.getLogger(name).level for name in ("", "commute")},
    )  # fmt: skip


def _importable(handler: Handler, thing: object) -> str:
    """The name by which another process finds a handler's function or event class."""
    name = name_of(thing)
    if not _found(thing):
        module = name.partition(":")[0]
        why = (
            "it is in the program that was started, not in a module. Put it into one and start with commute run "
            "MODULE:APP"
            if module == "__main__"
            else "nothing, or something else, has that name there. Define it at the top of a module, undecorated but "
            "for @on"
        )
        raise UsageError(
            f'{handler.name} has executor="{handler.executor}", but another process cannot import {name}: {why}',
            slug="not-importable",
            where=handler.where,
        )
    return name


def _found(thing: object) -> bool:
    name = name_of(thing)
    if name.startswith("__main__:"):
        return False
    try:
        return find(name) is thing
    except (ImportError, AttributeError, ValueError):
        return False


def _log(frame: bytes) -> None:
    """Write a record of another process as one of ours."""
    logged = msgspec.msgpack.decode(frame, type=Logged)
    logger = logging.getLogger(logged.name)
    if logger.isEnabledFor(logged.level):
        fields = {"name": logged.name, "levelno": logged.level, "levelname": logging.getLevelName(logged.level)}
        logger.handle(
            logging.makeLogRecord({**logged.extra, **fields, "msg": logged.text, "created": logged.created_s})
        )
