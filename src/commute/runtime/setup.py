"""`app.transaction()`: a block of the embedded store outside any handler, for tables and first rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from commute.context import Rows

if TYPE_CHECKING:
    from commute.database import Block
    from commute.link import Link


class SetupTransaction:
    """`async with` or `with`; durable when the block has been left."""

    __slots__ = ("_block", "_connect", "_link")

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._connect = connect
        self._link: Link | None = None
        self._block: AbstractAsyncContextManager[Block] | AbstractContextManager[Block] | None = None

    async def __aenter__(self) -> Rows:
        self._link = await asyncio.to_thread(self._connect)
        block = self._block = self._link.file.writer.block()
        return await block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._link is not None
        await self._block.__aexit__(kind, error, trace)  # type: ignore[union-attr]
        if error is None:
            await asyncio.wrap_future(self._link.file.writer.submit(lambda _connection: None))

    def __enter__(self) -> Rows:
        self._link = self._connect()
        block = self._block = self._link.file.writer.block_sync()
        return block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._link is not None
        self._block.__exit__(kind, error, trace)  # type: ignore[union-attr]
        if error is None:
            self._link.file.writer.submit(lambda _connection: None).result()
