"""commute: process events both fast and in the right order.

Independent events run in parallel, dependent ones in log order; failures hold only what depends on them. Everything
that applications need is here; `commute.testing` has what their tests need.

Names are loaded at first use: the command line shows its help without loading the runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commute.app import App
    from commute.cloudevents import PlainJson
    from commute.context import Context, Rows, Transaction
    from commute.core.footprint import Access
    from commute.core.retry import Retry
    from commute.errors import (
        CommuteError,
        CommuteWarning,
        DeadLetter,
        NotReachableError,
        OwnershipLostError,
        RejectedError,
        StoreError,
        UsageError,
    )
    from commute.event import Event
    from commute.limits import Limits
    from commute.router import Router
    from commute.runtime.encoder import NamedEvent
    from commute.runtime.receipts import Outcome, Receipt, State, SyncReceipt

__version__ = "0.1.0"

__all__ = [
    "Access",
    "App",
    "CommuteError",
    "CommuteWarning",
    "Context",
    "DeadLetter",
    "Event",
    "Limits",
    "NamedEvent",
    "NotReachableError",
    "Outcome",
    "OwnershipLostError",
    "PlainJson",
    "Receipt",
    "RejectedError",
    "Retry",
    "Router",
    "Rows",
    "State",
    "StoreError",
    "SyncReceipt",
    "Transaction",
    "UsageError",
]

_HOME = {
    "App": "app",
    **dict.fromkeys(("Context", "Rows", "Transaction"), "context"),
    "Access": "core.footprint",
    "Retry": "core.retry",
    **dict.fromkeys(
        ("CommuteError", "CommuteWarning", "DeadLetter", "NotReachableError", "OwnershipLostError"), "errors"
    ),
    **dict.fromkeys(("RejectedError", "StoreError", "UsageError"), "errors"),
    "Event": "event",
    "Limits": "limits",
    "PlainJson": "cloudevents",
    "Router": "router",
    "NamedEvent": "runtime.encoder",
    **dict.fromkeys(("Outcome", "Receipt", "State", "SyncReceipt"), "runtime.receipts"),
}

if not TYPE_CHECKING:  # a type checker shall go on finding names that are not there

    def __getattr__(name: str) -> object:
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module 'commute' has no attribute {name!r}")
        value: object = getattr(import_module(f"commute.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
