"""What an app says of an event before anything is run: type, footprint, in which sequence its children leave."""

from __future__ import annotations

from typing import Any

from commute.app import App
from commute.core.footprint import Footprint
from commute.runtime.encoder import named
from commute.runtime.kinds import Kinds


def kinds_of(app: App[Any]) -> Kinds:
    """What a worker of the app knows of its types. O(handlers): made once for many events. Raises UsageError."""
    return Kinds(app.handlers, app.ignore, app.limits.accesses_max)


def footprint_of(app: App[Any], event: object, kinds: Kinds) -> tuple[str, Footprint]:
    """Type and footprint, as a worker computes it on arrival; `kinds` are the app's. Raises RejectedError."""
    type_, data = app.encoder.encode(named(event))
    kind = kinds.get(type_)
    if kind is None:
        return type_, ()
    return type_, kind.footprint(kind.codec.decode(data)) if kind.ordered else ()


def chain_of(app: App[Any], event: object, kinds: Kinds) -> frozenset[str]:
    """The keys of ``publishes=``: children of events that share one leave in log sequence. Raises RejectedError."""
    type_, data = app.encoder.encode(named(event))
    kind = kinds.get(type_)
    return frozenset() if kind is None or not kind.chains else frozenset(kind.chain(kind.codec.decode(data)))
