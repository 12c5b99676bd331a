"""The tracer of ``ctx.transaction()``: statements of a block are seen before they are run, on either store."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from commute.embedded.block import Block as EmbeddedBlock
from commute.observe import watches
from commute.observe.postgres_catalogue import catalogue_of, question
from commute.observe.tables import Catalogue
from commute.postgres.block import Block as PostgresBlock
from commute.runtime.attempt import AROUND_BLOCKS

_catalogues: WeakKeyDictionary[Any, Catalogue] = WeakKeyDictionary()  # of embedded stores, by their writers


class SeenBlock:
    """A block whose statements are seen; all else is the block's own."""

    __slots__ = ("_ask", "_block", "_catalogue")

    def __init__(self, block: Any, catalogue: Catalogue, ask: Any) -> None:
        self._block = block
        self._catalogue = catalogue
        self._ask = ask

    def execute(self, sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        """As of the block."""
        watches.statement(sql, params, self._catalogue, self._ask)
        found: list[tuple[Any, ...]] = self._block.execute(sql, params)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._block, name)


def trace() -> watches.Undo:
    """From now on, blocks of handlers are seen."""
    AROUND_BLOCKS.append(_around)
    return lambda: AROUND_BLOCKS.remove(_around)


def _around(block: Any) -> Any:
    if isinstance(block, EmbeddedBlock):
        catalogue = _catalogues.get(block.writer)
        if catalogue is None:
            catalogue = _catalogues[block.writer] = Catalogue()
        return SeenBlock(block, catalogue, block.execute)
    if isinstance(block, PostgresBlock):
        raw = block.raw
        return SeenBlock(block, catalogue_of(raw), question(raw))
    return block
