"""What handlers touched outside of their footprints, put together: what one lacks of a table is one declaration.

A single access tells its key, and which fields of its event happen to have that value. Only several events tell which
field it is, or that it is none of them and the key is the whole table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commute.core.footprint import Access
from commute.observe.proposal import Proposal, place_of, proposed
from commute.observe.running import Place

if TYPE_CHECKING:
    from commute.app import App
    from commute.observe.watch import Undeclared


@dataclass(frozen=True, slots=True)
class Lacking:
    """What the footprint of one handler and event type lacks of one table. `accesses`: the first of each mode and line;
    `proposal` covers all that were met, None where they may be anything."""

    handler: str
    type: str
    accesses: tuple[Undeclared, ...]
    proposal: list[Proposal] | None


@dataclass(frozen=True, slots=True)
class _Attempt:
    event: object
    seen: Mapping[Access, Place | None]


def put_together(app: App[Any], undeclared: Sequence[Undeclared]) -> list[Lacking]:
    """One for each handler, event type and table, in the sequence in which they were first met."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[Undeclared]] = {}
    for one in undeclared:
        access = one.access
        groups.setdefault((access.handler, access.type, place_of(access.key)), []).append(one)
    classes = {(handler.name, event.type): event.codec.cls for handler in app.handlers for event in handler.events}
    found = []
    for (handler, type_, _), several in groups.items():
        attempts = [_Attempt(one.event, {Access(one.access.key, one.access.mode): None}) for one in several]
        first: dict[tuple[str, str], Undeclared] = {}
        for one in several:
            first.setdefault((one.access.mode, one.access.where), one)
        proposal = proposed(attempts, classes.get((handler, type_)))
        found.append(Lacking(handler, type_, tuple(first.values()), proposal))
    return found
