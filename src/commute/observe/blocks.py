"""The tracer of ``ctx.transaction()`` on the embedded store: statements of a block are seen before they are run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from commute.embedded.block import Block as EmbeddedBlock
from commute.observe.tables import Catalogue
from commute.observe.watch import Watch
from commute.runtime.attempt import AROUND_BLOCKS


class SeenBlock:
    """A block whose statements are seen; all else is the block's own."""

    __slots__ = ("_block", "_catalogue", "_watch")

    def __init__(self, block: Any, watch: Watch, catalogue: Catalogue) -> None:
        self._block = block
        self._watch = watch
        self._catalogue = catalogue

    def execute(self, sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        """As of the block."""
        self._watch.statement(sql, params, self._catalogue)
        found: list[tuple[Any, ...]] = self._block.execute(sql, params)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._block, name)


@contextmanager
def traced(watch: Watch) -> Iterator[None]:
    """Until the end, blocks of handlers are seen."""
    last: list[Any] = [None]  # the block that runs: they run one at a time
    catalogue = Catalogue(lambda sql, params: last[0].execute(sql, params))

    def around(block: Any) -> Any:
        if not isinstance(block, EmbeddedBlock):
            return block
        last[0] = block
        return SeenBlock(block, watch, catalogue)

    AROUND_BLOCKS.append(around)
    try:
        yield
    finally:
        AROUND_BLOCKS.remove(around)
