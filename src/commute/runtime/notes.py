"""What the engine says about handlers while they run: each warning once a handler, in the words of docs/errors.md."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

from commute.errors import RemoteError

if TYPE_CHECKING:
    from commute.runtime.entry import Job
    from commute.runtime.kinds import Bound, Kinds

LOGGER = logging.getLogger("commute")


def where_of(error: BaseException, code: object) -> str:
    """`` (file:line)`` of the innermost frame in the file of the handler's own code; empty if it never got there."""
    if isinstance(error, RemoteError):
        return error.where
    filename = getattr(code, "co_filename", None)
    found = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            found = f" ({str(filename).rsplit('/', 1)[-1]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


def detail_of(error: BaseException) -> str:
    """The traceback as text, for `commute dead show`; the end of it if it is very long."""
    text = "".join(traceback.format_exception(error))
    return text if len(text) <= DETAIL_CHARACTERS_MAX else f"…{text[-DETAIL_CHARACTERS_MAX:]}"


DETAIL_CHARACTERS_MAX = 16_000


class Notes:
    """Says things once: `Bound.warned` remembers what was said of a handler."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds

    def published(self, job: Job, type_: str) -> None:
        """[no-order]: children of independent parents may leave in any sequence."""
        bound, entry = job.bound, job.entry
        if entry.place is not None or f"no-order {type_}" in bound.warned:
            return
        bound.warned.add(f"no-order {type_}")
        declared = bound.declared(entry.kind.type)
        child = self._kinds.get(type_)
        if child is None or child.codec is None or declared.everything:
            return  # not ours to handle, or parents are never independent
        template = next((str(template) for mode, template in declared.templates if mode == "write"), None)
        if template is None:
            return
        LOGGER.warning(
            'warning[no-order] %s: ctx.publish of %s: parents are independent, so these may leave in any order. '
            'To keep it: publishes="%s"',
            bound.name, type_, template,
        )  # fmt: skip

    def long_block(self, bound: Bound, open_s: float) -> None:
        """[long-transaction]: a block was open while others waited."""
        if "long-transaction" in bound.warned:
            return
        bound.warned.add("long-transaction")
        LOGGER.warning(
            "warning[long-transaction] %s awaited %d ms inside ctx.transaction(); other blocks wait meanwhile. "
            "Call the gateway before the block.",
            bound.name, open_s * 1000,
        )  # fmt: skip

    def failed_after_commit(self, job: Job, error: BaseException) -> None:
        """The effects are committed: an exception after the block changes nothing, and is not hidden."""
        LOGGER.error(
            "error[failed-after-commit] %s %s: %s raised after its transaction had committed, so it counts as done: "
            "%s%s",
            job.entry.kind.type, job.entry.id, job.bound.name, type(error).__name__, where_of(error, job.bound.code),
            exc_info=error,
        )  # fmt: skip
