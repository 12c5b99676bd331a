"""Watching the handlers of an app: each access, before it is made, is noted and held to the handler's footprint.

    with sanitizing(app):        an access outside of the footprint raises UndeclaredAccessError, in the handler
        …                        and once more at the end, since handlers are retried, and may catch what they like

Nothing is changed in the runtime but while somebody watches. What runs in other processes is not seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commute.core.footprint import EVERYTHING, Access
from commute.derive.routing import NEW
from commute.errors import UndeclaredAccessError
from commute.observe.cover import covers
from commute.observe.declaration import declaration, leaves
from commute.observe.naming import Spelling, normal_or_none, path
from commute.observe.running import Place, Running, here, running
from commute.observe.tables import Catalogue, Names
from commute.sql.parse import summarize
from commute.sql.statement import Touch
from commute.sql.text import TEXTS_MAX, prepare

if TYPE_CHECKING:
    from commute.app import App

OBSERVATIONS_MAX = 100_000  # that are kept of one watch


@dataclass(frozen=True, slots=True)
class Observation:
    """One access of a handler: what, by whom, for which type of events, and where in the code."""

    mode: str
    key: str
    handler: str
    type: str
    where: str


@dataclass(frozen=True, slots=True)
class Undeclared:
    """An access outside of the handler's footprint. `add` is what its declaration lacks."""

    access: Observation
    event: object
    add: str

    def error(self) -> UndeclaredAccessError:
        """What is raised of it."""
        one = self.access
        what = f"{one.mode}s {one.key}" if one.key else "runs a statement that may touch anything"
        return UndeclaredAccessError(
            f"{one.handler} {what} for {self.event!r:.200}, which its footprint does not cover: declare {self.add}",
            slug="undeclared",
            where=one.where,
        )


def _observation(access: Access, now: Running, place: Place | None) -> Observation:
    return Observation(access.mode, access.key, now.handler, now.type, now.where if place is None else str(place))


class Watch:
    """What was seen. `undeclared` has each access of a handler that it lacks once, `observed` all if they are kept."""

    def __init__(self, app: App[Any], *, refuse: bool, keep: bool) -> None:
        self._noted: list[tuple[Access, Running, Place | None]] = []
        self._undeclared: dict[tuple[str, str, str], Undeclared] = {}
        self._source = app.source
        self._names = Names(app)
        self._known: dict[int, Running] = {}
        self._refuse = refuse
        self._keep = keep
        self._asking = threading.local()

    @property
    def observed(self) -> list[Observation]:
        """All accesses in their sequence, the first `OBSERVATIONS_MAX`."""
        return [_observation(*noted) for noted in self._noted]

    @property
    def paused(self) -> bool:
        """Whether it asks the database itself, in this thread."""
        return getattr(self._asking, "now", False)

    @contextmanager
    def _ask(self) -> Iterator[None]:
        self._asking.now = True
        try:
            yield
        finally:
            self._asking.now = False

    @property
    def undeclared(self) -> list[Undeclared]:
        """In the sequence in which they were met."""
        return list(self._undeclared.values())

    def forget(self) -> None:
        """Nothing has been seen until now."""
        self._undeclared.clear()
        self._noted.clear()

    def statement(self, text: str, given: Any, catalogue: Catalogue) -> None:
        """A statement is about to be run with these parameters. Raises UndeclaredAccessError."""
        now = None if self.paused else running(self._source, self._known)
        if now is None:
            return
        spelling = catalogue.spellings.get(text) or self._spelling(text, catalogue)
        for access, touch, row in spelling.accesses(given):
            if self._keep and len(self._noted) < OBSERVATIONS_MAX:
                self._noted.append((access, now, here()))
            if not covers(now.modes, *access) and not self._own(access, touch, row, now, catalogue):
                self._miss(access, now)

    def _spelling(self, text: str, catalogue: Catalogue) -> Spelling:
        """A text that is new: it is parsed, about 1 ms, and tables that are not known are looked for."""
        found = summarize(text, catalogue.schema, catalogue.version)
        if any(catalogue.schema.table(touch.table) is None for touch in found.touches):
            with self._ask():
                again = catalogue.reread()
            if again:
                found = summarize(text, catalogue.schema, catalogue.version)
        schema = catalogue.schema
        made = Spelling(found, prepare(text, schema.dialect).layout, self._names.routes(found, schema), schema)
        if all(schema.table(touch.table) is not None for touch in found.touches):
            if len(catalogue.spellings) >= TEXTS_MAX:
                catalogue.spellings.clear()
            catalogue.spellings[text] = made
        return made

    def key(self, access: Access) -> None:
        """Something that is no table is about to be touched. Raises UndeclaredAccessError."""
        now = None if self.paused else running(self._source, self._known)
        if now is None:
            return
        if self._keep and len(self._noted) < OBSERVATIONS_MAX:
            self._noted.append((access, now, here()))
        if not covers(now.modes, *access):
            self._miss(access, now)

    def anything(self) -> None:
        """Something is about to be done that may touch anything. Raises UndeclaredAccessError."""
        self.key(EVERYTHING[0])

    def _own(self, access: Access, touch: Touch | None, row: Any, now: Running, catalogue: Catalogue) -> bool:
        """Whether the rows are in the footprint under another name: as the event's own, or by a column that the
        statement does not give."""
        if touch is None:
            return False
        route = self._names.route(touch.table, catalogue.schema)
        first = route.columns[0] if route.columns else None
        if first in row and now.modes.get(f"{path(route.name)}/{NEW}") == "insert":
            theirs = {str(value) for _, value in leaves(now.event)}
            if not any(str(value) in theirs for value in row[first]):
                return True  # a value that no event brings: an id of the event, or one by chance
        with self._ask():
            keys = catalogue.found_by(touch, row, route, normal_or_none)
        return bool(keys) and all(covers(now.modes, key, access.mode) for key in keys)

    def _miss(self, access: Access, now: Running) -> None:
        add = declaration(access.key, access.mode, now.event)
        one = _observation(access, now, here())
        found = self._undeclared.setdefault((now.handler, now.type, add), Undeclared(one, now.event, add))
        if self._refuse:
            raise found.error()


@contextmanager
def watching(app: App[Any], *, refuse: bool = False, keep: bool = False) -> Iterator[Watch]:
    """Watch the handlers of `app` until the end; `refuse` undeclared accesses, `keep` all that is observed."""
    from commute.observe import blocks, redis_commands, sqlalchemy_events, sqlite_connections

    watch = Watch(app, refuse=refuse, keep=keep)
    with ExitStack() as stack:
        tracers: list[Callable[[Watch], Any]] = [
            blocks.traced, sqlite_connections.traced, sqlalchemy_events.traced, redis_commands.traced
        ]  # fmt: skip
        for traced in tracers:
            stack.enter_context(traced(watch))
        yield watch


@contextmanager
def sanitizing(app: App[Any]) -> Iterator[Watch]:
    """Handlers of `app` touch only what they declare, else UndeclaredAccessError is raised before they do, and again at
    the end. Costs microseconds a statement; not for production.
    """
    with watching(app, refuse=True) as watch:
        yield watch
    if watch.undeclared:
        raise watch.undeclared[0].error()
