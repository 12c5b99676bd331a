"""commute: process events both fast and in the right order.

Independent events run in parallel, dependent ones in log order; failures hold only what depends on them. Everything
that applications need is here; `commute.testing` has what their tests need.
"""

from commute.app import App
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
