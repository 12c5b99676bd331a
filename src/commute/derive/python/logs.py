"""Writing to a log runs the handlers of loggers: those that the application has written may do anything.

What they are given to write is plain text here. Their formatters and filters are not followed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from commute.derive.python.attributes import has_method
from commute.derive.python.writers import is_own
from commute.derive.run import Arguments, Named, Run
from commute.derive.values import Const, Data, Live, Value, options

_WRITES = (
    "debug",
    "info",
    "warning",
    "warn",
    "error",
    "exception",
    "critical",
    "fatal",
    "log",
    "handle",
    "callHandlers",
)
_CALLED = "handlers of logs that are called"


def written(run: Run, function: Any, arguments: Arguments, where: str) -> None:
    """Run the application's own handlers behind a logger, if the function writes to one."""
    if getattr(function, "__name__", "") not in _WRITES:
        return
    first = arguments[0] if arguments else None
    loggers = [one.value for one in options(first) if isinstance(one, Live)] if first is not None else []
    for handler in _handlers(loggers):
        if not is_own(type(handler)) or run.kept.get((_CALLED, id(handler))):
            continue  # one that logs itself
        run.kept[_CALLED, id(handler)] = True
        for name in ("handle", "emit"):
            method = has_method(type(handler), name)
            if method is not None and not str(method.__module__).startswith("logging"):
                run.call(Live(method), [Live(handler), Data("what is written down")], {}, where)


def logger_of(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    """logging.getLogger: the logger of that name; of a name that is not known the one above all."""
    name = arguments[0] if arguments else named.get("name", Const(None))
    known = name.value if isinstance(name, Const) and isinstance(name.value, str) else None
    return Live(logging.getLogger(known))


def _handlers(loggers: list[Any]) -> Iterator[logging.Handler]:
    """Those behind these loggers; behind any, where none is known."""
    known = [one for one in loggers if isinstance(one, logging.Logger)]
    if not known and not any(isinstance(one, logging.LoggerAdapter) for one in loggers):
        known = [logging.getLogger()]
    for adapter in loggers:
        if isinstance(adapter, logging.LoggerAdapter) and isinstance(adapter.logger, logging.Logger):
            known.append(adapter.logger)
    for one in known:
        at: logging.Logger | None = one
        while at is not None:
            yield from at.handlers
            at = at.parent if at.propagate else None
