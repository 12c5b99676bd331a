"""Unique values of tables (``users/+email``) that declared footprints touch without naming them.

A derived footprint that takes such a value would not meet one that makes it free and says no more than ``users/7``. So
the table's unique values stand for themselves only where all who touch the table by hand name them too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from commute.derive.routing import APART, Route, keys
from commute.derive.run import Effect, Everything, KeyAccess, TableAccess
from commute.derive.values import Const
from commute.handler import Handler, HandlerEvent


def left_out(
    handlers: Sequence[Handler],
    effects: Mapping[tuple[str, str], Sequence[Effect]],
    routes: Mapping[str, Route],
    chosen: Collection[str] | None,
) -> set[str]:
    """The tables of which somebody does. `chosen` are the names of the handlers whose footprint is derived, None for
    all. O(tables * accesses)."""
    found = set()
    for table, route in routes.items() if any(one.apart for one in routes.values()) else ():
        for handler in handlers:
            for event in handler.events:
                own = effects[handler.name, event.type]
                by_hand = chosen is not None and handler.name not in chosen
                if _by_function(own, route) or (by_hand and _by_handler(event, own, table, route)):
                    found.add(table)
    return found


def _by_function(effects: Iterable[Effect], route: Route) -> bool:
    """Whether a function of which the application says what it touches changes single rows."""
    said = [one.path for one in effects if isinstance(one, KeyAccess) and one.mode != "read"]
    texts = [[part.value if isinstance(part, Const) else None for part in path] for path in said]
    return any(rest and not str(rest[0] or "").startswith(APART) for rest in _below(texts, route))


def _by_handler(event: HandlerEvent, effects: Sequence[Effect], table: str, route: Route) -> bool:
    declared = event.declared
    if declared.everything or declared.unordered:
        return False
    templates = [template.segments for _, template in declared.templates]
    texts = [[part[0] if len(part) == 1 and isinstance(part[0], str) else None for part in one] for one in templates]
    named = _below(texts, route)
    if any(not rest for rest in named):
        return False  # the whole table
    touched = [one for one in effects if isinstance(one, TableAccess) and one.touch.table == table]
    needed = {key.route.name for one in touched for key in keys(one, route) if key.route.unique}
    if any(isinstance(one, Everything) for one in effects) and (named or declared.computed):
        needed = {one.name for one in route.apart}
    return bool(needed - {f"{route.name}/{rest[0]}" for rest in named})


def _below(texts: Iterable[Sequence[object]], route: Route) -> list[Sequence[object]]:
    """What follows the table's name in each of these keys that begin with it."""
    name = route.name.split("/")
    return [one[len(name) :] for one in texts if list(one[: len(name)]) == name]
