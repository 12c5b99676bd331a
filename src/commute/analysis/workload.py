"""A log reduced to what an analysis needs: the type and the footprint of each event, in log sequence.

The *family* of a key is its first segment: the type of the object in a log, the thing in a template
(``order/{order_id}``). Assumptions about a whole family ("employees are only read") are made by changing its modes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from commute.core.footprint import ADD, READ, Access, Footprint
from commute.core.history import ancestors
from commute.errors import RejectedError
from commute.footprints.segment import plain_text
from commute.logs import LogEvent, footprint_of


@dataclass(frozen=True, slots=True)
class Workload:
    """Types and footprints of the events, side by side; `service_s` how long each takes, None: all equally long."""

    types: Sequence[str]
    footprints: Sequence[Footprint]
    service_s: Sequence[float] | None = None

    @property
    def events(self) -> int:
        return len(self.footprints)

    def with_modes(self, modes: Mapping[str, str]) -> Workload:
        """The same events if the families of `modes` were touched so. ``read``: all accesses are reads; ``add``: writes
        are adds, reads stay. O(accesses)."""
        return replace(self, footprints=with_modes(self.footprints, modes))


def workload_of(
    events: Iterable[LogEvent], *, read: frozenset[str] = frozenset(), add: frozenset[str] = frozenset()
) -> tuple[Workload, list[tuple[LogEvent, str]]]:
    """The workload of a log, in which every object that an event names is a key; and the events that have a key that is
    too long, each with the reason: a worker would reject them too."""
    types: list[str] = []
    footprints: list[Footprint] = []
    refused: list[tuple[LogEvent, str]] = []
    for event in events:
        try:
            footprint = footprint_of(event, read=read, add=add)
        except RejectedError as error:
            refused.append((event, str(error)))
            continue
        types.append(event.type)
        footprints.append(footprint)
    return Workload(types, footprints), refused


CASE = "case"  # the family of what a case log is about


def family(key: str) -> str:
    """The first segment of a key, as it is encoded; ``""`` for everything."""
    return key.partition("/")[0]


def family_name(encoded: str) -> str:
    """A family for people: EVERYTHING for the root."""
    return plain_text(encoded) if encoded else "EVERYTHING"


def with_modes(footprints: Sequence[Footprint], modes: Mapping[str, str]) -> list[Footprint]:
    """The footprints with the modes of some families changed; see `Workload.with_modes`."""
    changed: dict[Access, Access] = {}

    def change(access: Access) -> Access:
        found = changed.get(access)
        if found is None:
            mode = modes.get(family(access.key), access.mode)
            if mode == ADD and access.mode == READ:
                mode = READ
            found = changed[access] = Access(access.key, mode)
        return found

    return [tuple(map(change, footprint)) for footprint in footprints]


def written_families(footprints: Sequence[Footprint]) -> dict[str, int]:
    """How many accesses each family has that are no reads; families that are only read are left out. O(accesses)."""
    found: dict[str, int] = {}
    for footprint in footprints:
        for key, mode in footprint:
            if mode != READ:
                name = family(key)
                found[name] = found.get(name, 0) + 1
    return found


def is_deep(footprints: Sequence[Footprint]) -> bool:
    """Whether some key that is touched lies below another one. O(accesses * depth)."""
    keys = {access.key for footprint in footprints for access in footprint}
    return any(above in keys for key in keys for above in ancestors(key))
