"""State of the program as one watch sees it: which containers its handlers meet, and what keys call their entries.

Invariant: as `derive.state` has it. Reading what no handler writes is no access.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commute.core.footprint import Access
from commute.derive.python.state import STATE
from commute.errors import RejectedError
from commute.footprints.segment import segment
from commute.observe import shared
from commute.observe.watches import WHOLE

if TYPE_CHECKING:
    from commute.app import App


class State:
    """The containers that the handlers of an app meet, also those that declare their footprint."""

    def __init__(self, app: App[Any]) -> None:
        found = app.derived()
        self._containers = found.containers
        self._keys: dict[int, str] = {}  # of containers, while they are watched
        # By key, the entries that handlers write: None where that may be all.
        self._written: dict[str, set[str] | None] = {}
        for _, name, *below in (path for path in found.changing if path[0] == STATE and len(path) > 1):
            self._note(f"{STATE}/{segment(name)}", below[0] if below else None)
        for handler in app.handlers:
            for event in handler.events:
                for mode, template in event.declared.templates:
                    first, *rest = [part[0] if len(part) == 1 else None for part in template.segments]
                    if mode != "read" and first == STATE and rest and isinstance(rest[0], str):
                        self._note(f"{STATE}/{segment(rest[0])}", None)

    def _note(self, key: str, entry: str | None) -> None:
        entries = self._written.setdefault(key, set())
        if entry is None:
            self._written[key] = None
        elif entries is not None:
            entries.add(entry)

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Until the end they can be watched."""
        self._keys, undo = shared.enter(self._containers)
        try:
            yield
        finally:
            undo()
            self._keys = {}

    def knows(self, container: object) -> bool:
        """Whether it is one of them."""
        return id(container) in self._keys

    def access(self, container: object, mode: str, key: object) -> Access | None:
        """What is touched, at one key or as a whole; None where it is read, and nobody writes it."""
        name = self._keys[id(container)]
        text = None
        if key is not WHOLE:
            try:
                text = segment(key)
            except RejectedError:
                text = None
        if mode != "read":
            self._written[name] = None
        else:
            entries = self._written.get(name, ())
            if entries is not None and (not entries if text is None else not {text, str(key)} & set(entries)):
                return None
        return Access(name if text is None else f"{name}/{text}", mode)
