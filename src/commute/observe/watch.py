"""Watching the handlers of an app: each access, before it is made, is noted and held to the handler's footprint.

    with sanitizing(app):        an access outside of the footprint raises UndeclaredAccessError, in the handler
        …                        and once more at the end, since handlers are retried, and may catch what they like

Nothing is changed in the runtime but while somebody watches. What runs in other processes is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commute.core.footprint import EVERYTHING, Access
from commute.derive.routing import FREED, NEW
from commute.errors import UndeclaredAccessError
from commute.observe import (
    aiosqlite_connections,
    apsw_connections,
    asyncpg_connections,
    blocks,
    psycopg_cursors,
    redis_commands,
    sqlalchemy_events,
    sqlite_connections,
    threads,
    watches,
)
from commute.observe.cover import covers
from commute.observe.declaration import declaration, leaves
from commute.observe.naming import Part, Spelling, normal_or_none, path
from commute.observe.running import Attempts, Place, Running, here
from commute.observe.state import State
from commute.observe.tables import Ask, Catalogue, Names
from commute.sql.parse import summarize
from commute.sql.statement import Touch
from commute.sql.text import TEXTS_MAX, prepare

if TYPE_CHECKING:
    from commute.app import App

OBSERVATIONS_MAX = 100_000  # that are kept of one watch
UNDECLARED_MAX = 1_000
VERSIONS_MAX = 64  # of the tables of databases
TRACERS: tuple[watches.Tracer, ...] = (
    blocks.trace, sqlite_connections.trace, sqlalchemy_events.trace, psycopg_cursors.trace,
    asyncpg_connections.trace, aiosqlite_connections.trace, apsw_connections.trace,
    redis_commands.trace, threads.trace,
)  # fmt: skip


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

    @property
    def what(self) -> str:
        """In words: ``writes order/7``."""
        one = self.access
        return f"{one.mode}s {one.key}" if one.key else "runs a statement that may touch anything"

    def error(self) -> UndeclaredAccessError:
        """What is raised of it."""
        one = self.access
        return UndeclaredAccessError(
            f"{one.handler} {self.what} for {self.event!r:.200}, which its footprint does not cover: "
            f"declare {self.add}",
            slug="undeclared",
            where=one.where,
        )


def observation(access: Access, now: Running, place: Place | None) -> Observation:
    """One access of an attempt, for people."""
    return Observation(access.mode, access.key, now.handler, now.type, now.where if place is None else str(place))


class Watch:
    """What was seen. `undeclared` has each access of a handler that it lacks once, `attempts` all if they are kept."""

    def __init__(
        self, app: App[Any], *, refuse: bool, keep: bool, share: float | None = None, state: bool = False
    ) -> None:
        self.attempts: list[Running] = []  # those that touch anything, with what they touch
        self._count = 0
        self._undeclared: dict[tuple[str, str, str], Undeclared] = {}
        self._names = Names(app)
        self._now = Attempts(app.source, share).now
        self._spellings: dict[str, dict[str, Spelling]] = {}  # by what the tables are, and text
        self._refuse = refuse
        self._keep = keep
        self._state = State(app) if state else None

    @property
    def families(self) -> tuple[str, ...]:
        """The families by which keys of Redis are spelled."""
        return self._names.families

    @property
    def observed(self) -> list[Observation]:
        """All accesses, each once for an attempt, the first `OBSERVATIONS_MAX`."""
        return [observation(access, now, place) for now in self.attempts for access, place in now.seen.items()]

    @property
    def undeclared(self) -> list[Undeclared]:
        """In the sequence in which they were met, the first `UNDECLARED_MAX`."""
        return list(self._undeclared.values())

    def containers(self) -> AbstractContextManager[None]:
        """Until the end, the dicts and lists of the program are such as can be watched."""
        return nullcontext() if self._state is None else self._state.seen()

    def forget(self) -> None:
        """Nothing has been seen until now."""
        self._undeclared.clear()
        self.attempts.clear()
        self._count = 0

    def statement(self, text: str, given: Any, catalogue: Catalogue, ask: Ask) -> None:
        """A statement is about to be run with these parameters. Raises UndeclaredAccessError."""
        now = self._now()
        if now is None:
            return
        if now.made:
            self._number(now, catalogue, ask)
        known = None if catalogue.stale else self._spellings.get(catalogue.version)
        spelling = None if known is None else known.get(text)
        if spelling is None:
            spelling = self._spelling(text, catalogue, ask)
        modes, quickly = now.modes, spelling.quickly(given)
        if quickly is not None:
            for access in quickly:
                if not covers(modes, *access):
                    break
                if access.mode == "insert":
                    self._made(access, now)
            else:  # most of them: then nobody asks where they come from
                if self._keep:
                    self._keeps(quickly, now, spelling)
                return
        for access, part, row in spelling.accesses(given):
            if access.mode == "insert":
                self._made(access, now)
            inside = covers(modes, *access)
            own = None if inside else self._own(access, part, row, now, catalogue, ask)
            if self._keep:
                self._keeps(own or (access,), now, spelling)
            if not inside and own is None:
                self._miss(access, now)

    def _keeps(self, accesses: Sequence[Access], now: Running, spelling: Spelling) -> None:
        for access in accesses:
            if access not in now.seen:
                # The line is that of the text's first run: to look for it is dearer than all the rest.
                if spelling.place is None:
                    spelling.place = here()
                self._note(access, now, spelling.place)

    def _made(self, access: Access, now: Running) -> None:
        """A row is about to be added whose number the database makes: only who may add rows alone has to know it."""
        if now.modes.get(access.key) == access.mode:
            now.made = access.key

    def _spelling(self, text: str, catalogue: Catalogue, ask: Ask) -> Spelling:
        """A text that is new: it is parsed, about 1 ms, and tables that are not known are looked for."""
        if catalogue.stale:
            self._reread(catalogue, ask)
        found = summarize(text, catalogue.schema, catalogue.version)
        if found.unknown_tables(catalogue.schema) and self._reread(catalogue, ask):
            known = self._spellings.get(catalogue.version, {}).get(text)
            if known is not None:
                return known
            found = summarize(text, catalogue.schema, catalogue.version)
        schema = catalogue.schema
        made = Spelling(found, prepare(text, schema.dialect), self._names.routes(found, schema), schema)
        if not found.unknown_tables(schema):
            if len(self._spellings) >= VERSIONS_MAX:
                self._spellings.clear()
            texts = self._spellings.setdefault(catalogue.version, {})
            if len(texts) >= TEXTS_MAX:
                texts.clear()
            texts[text] = made
        return made

    def _reread(self, catalogue: Catalogue, ask: Ask) -> bool:
        with watches.asking():
            return catalogue.reread(ask)

    def key(self, access: Access) -> None:
        """Something that is no table is about to be touched. Raises UndeclaredAccessError."""
        now = self._now()
        if now is not None:
            self._touched(access, now)

    def shared(self, container: object, mode: str, key: object) -> None:
        """A container of the program is about to be touched. Raises UndeclaredAccessError."""
        if self._state is None or not self._state.knows(container):
            return
        now = self._now()
        access = None if now is None else self._state.access(container, mode, key)
        if now is not None and access is not None:
            self._touched(access, now)

    def _touched(self, access: Access, now: Running) -> None:
        if self._keep and access not in now.seen:
            self._note(access, now, here())
        if not covers(now.modes, *access):
            self._miss(access, now)

    def anything(self) -> None:
        """Something is about to be done that may touch anything. Raises UndeclaredAccessError."""
        self.key(EVERYTHING[0])

    def _note(self, access: Access, now: Running, place: Place | None) -> None:
        if self._count < OBSERVATIONS_MAX:
            if not now.seen:
                self.attempts.append(now)
            now.seen[access] = place
            self._count += 1

    def _own(
        self, access: Access, part: Part | None, row: Mapping[str, Any], now: Running, catalogue: Catalogue, ask: Ask
    ) -> list[Access] | None:
        """Where the rows are in the footprint under another name: what that is called, empty for the event's own rows.
        None where they are not."""
        if part is None:
            return None
        touch, _, route = part
        if touch.kind == FREED:  # it makes free what its row had: of the event's own rows that is said where it took it
            route = self._names.route(touch.table, catalogue.schema)
        first = route.columns[0] if route.columns else None
        theirs = {str(value) for _, value in leaves(now.event)}
        new = f"{path(route.name)}/{NEW}"
        if route.parent is not None:
            first, above = route.link[0], f"{path(route.parent.name)}/{NEW}"
            below = f"{above}/{path(route.name)}"
        else:
            above = below = new
        if first is not None and first in row and now.modes.get(below) == "insert":
            if not any(str(value) in theirs for value in row[first]):
                return []  # a value that no event brings: an id of the event, or one by chance
            if all((above, value) in now.own for value in row[first]):
                return []  # the number of a row may be one of the event's all the same
        if touch.kind == "unique" and self._below_own(touch, row, now, catalogue, theirs):
            return []
        if part.route.unique:
            return None
        with watches.asking():
            keys = catalogue.found_by(touch, row, route, normal_or_none, ask)
        found = [Access(key, access.mode) for key in keys]
        return found if found and all(covers(now.modes, *one) for one in found) else None

    def _number(self, now: Running, catalogue: Catalogue, ask: Ask) -> None:
        """The number that the row which was added last has got."""
        made, now.made = now.made, ""
        if catalogue.schema.dialect == "sqlite":
            with watches.asking():
                now.own |= {(made, number) for (number,) in ask("SELECT last_insert_rowid()", ())}

    def _below_own(
        self, touch: Touch, row: Mapping[str, Any], now: Running, catalogue: Catalogue, theirs: Set[str]
    ) -> bool:
        """Whether what has to be unique names a row that the handler has just added: nobody else can name that one."""
        table = catalogue.schema.table(touch.table)
        for key in table.foreign_keys if table is not None else ():
            above = self._names.route(key.table, catalogue.schema)
            own = [row[name] for name, parent in zip(key.columns, key.parents, strict=False)
                   if name in row and above.columns[:1] == (parent,)]  # fmt: skip
            if own and now.modes.get(f"{path(above.name)}/{NEW}") == "insert":
                new = f"{path(above.name)}/{NEW}"
                return all((new, value) in now.own or str(value) not in theirs for value in own[0])
        return False

    def _miss(self, access: Access, now: Running) -> None:
        add = declaration(access.key, access.mode, now.event)
        found = Undeclared(observation(access, now, here()), now.event, add)
        if len(self._undeclared) < UNDECLARED_MAX:
            self._undeclared.setdefault((now.handler, now.type, add), found)
        if self._refuse:
            raise found.error()


@contextmanager
def watching(
    app: App[Any], *, refuse: bool = False, keep: bool = False, share: float | None = None, state: bool = False
) -> Iterator[Watch]:
    """Watch the handlers of `app` until the end: a `share` of their attempts, None for all; `refuse` undeclared
    accesses, `keep` all that is observed. With `state` the program's own dicts and lists are seen too: each is replaced
    meanwhile, in every place of the process that holds it. Cost: twice a look at all of its objects."""
    watch = Watch(app, refuse=refuse, keep=keep, share=share, state=state)
    with watch.containers():
        watches.enter(watch, TRACERS)
        try:
            yield watch
        finally:
            watches.leave(watch)


@contextmanager
def sanitizing(app: App[Any], *, state: bool = False) -> Iterator[Watch]:
    """Handlers of `app` touch only what they declare, else UndeclaredAccessError is raised before they do, and again at
    the end. Costs microseconds a statement.
    """
    with watching(app, refuse=True, state=state) as watch:
        yield watch
    if watch.undeclared:
        raise watch.undeclared[0].error()
