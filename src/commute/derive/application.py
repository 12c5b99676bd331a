"""A whole application: each handler is run, then one route for each table is chosen, then the footprints are compiled.

    lifespan ─▶ definitions of tables ┐
    handlers ─▶ runs, again until no more of the program's own state is found to change ─▶ routes ─▶ keys ─▶ footprints

Invariant: one set of routes for all handlers of an app; a handler with a declared footprint takes part in the choice
only with its tables, since it is not known which keys stand for them.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from commute.derive.by_hand import left_out
from commute.derive.definitions import written_schema
from commute.derive.derivation import Derivation, Key, footprint, key_of, key_of_state, lead_of
from commute.derive.interpreter import make_run, run_handler
from commute.derive.knowledge import Declaration, Knowledge
from commute.derive.plugins.rawsql import DDL
from commute.derive.python.items import enter
from commute.derive.python.kept import outlives
from commute.derive.python.state import is_container
from commute.derive.python.writers import is_application
from commute.derive.redis.keys import families
from commute.derive.routing import Route, choose, keys, one_route
from commute.derive.run import Effect, Everything, KeyAccess, Plugin, Run, TableAccess
from commute.derive.values import Const, Handle, Items, Live, Value
from commute.footprints.vocabulary import family
from commute.handler import Handler, HandlerEvent
from commute.sql.ddl import schema_of
from commute.sql.schema import Schema

PASSES = 4  # until what changes is known


@dataclass(frozen=True, slots=True)
class Container:
    """A dict, a list, a set or a deque of the program, and what keys call it below ``state``."""

    name: str
    thing: object


@dataclass(frozen=True, slots=True)
class Derived:
    """What was derived of an app: by handler and event type, the route of each table, and the containers of the program
    that its handlers meet; `changing` are the paths of the program's state that some handler writes; `families` are
    those of keys of Redis."""

    found: dict[tuple[str, str], Derivation]
    routes: dict[str, Route]
    containers: tuple[Container, ...] = ()
    changing: frozenset[tuple[str, ...]] = frozenset()
    families: tuple[str, ...] = ()

    def declared(self, handler: Handler, event: HandlerEvent) -> HandlerEvent:
        """The event of a handler with its derived footprint."""
        derivation = self.found[handler.name, event.type]
        made = footprint(
            derivation, cls=event.codec.cls, event_type=event.type, handler=handler.name, where=handler.where
        )
        old = event.declared
        return replace(
            event, declared=replace(made, publishes=old.publishes, publish_keys=old.publish_keys, label=old.label)
        )


def derive(
    handlers: Sequence[Handler],
    *,
    chosen: Collection[str] | None = None,
    ddl: Iterable[str] = (),
    trusted: Iterable[str] = (),
    declared: dict[object, Declaration] | None = None,
    plugins: Sequence[Plugin] = (),
    tables: Mapping[str, str] | None = None,
    lifespan: object = None,
) -> Derived:
    """Run all `handlers` in the abstract. About 10 ms a handler; the program is read, and nothing of it is run.

    `chosen` are the names of those whose footprint is to be derived, None for all: what the others declare has to name
    the tables that they share with these. `ddl` defines the tables of the store besides those that ``lifespan``
    defines; `tables` names tables in keys.
    """
    knowledge = Knowledge(frozenset(trusted), dict(declared or {}), Schema())
    knowledge.schema_for = live_schema
    knowledge.schema_in = schema_in
    packages = {handler.function.__module__.partition(".")[0] for handler in handlers}
    knowledge.written = lambda dialect: written_schema(packages, dialect)
    definitions = [*ddl, *_definitions(knowledge, lifespan, plugins)]
    knowledge.schema = schema_of(definitions)
    if not definitions:
        around = knowledge.written(knowledge.schema.dialect)
        knowledge.schema = around.with_tables(schema_of(_texts(handlers)).tables)
    effects: dict[tuple[str, str], list[Effect]] = {}
    for _ in range(PASSES):
        news = knowledge.news
        effects = {
            (handler.name, event.type): _effects(knowledge, plugins, handler, event)
            for handler in handlers
            for event in handler.events
        }
        changing = {path for found in effects.values() for path in _written(found)}
        if changing <= knowledge.changing and news == knowledge.news:
            break
        knowledge.changing |= changing
    accesses = [one for found in effects.values() for one in found if isinstance(one, TableAccess)]
    declared_first = declared_names(handlers)
    names = names_of_tables({one.touch.table for one in accesses}, declared_first, tables or {})
    routes = choose(accesses, names, {table for table, name in names.items() if name in declared_first})
    routes |= one_route(accesses, routes)
    routes |= {table: replace(routes[table], apart=()) for table in left_out(handlers, effects, routes, chosen)}
    _refuse_unnamed(handlers, effects, routes, chosen)
    code = "".join(f"{handler.name}{handler.function.__code__.co_code!r}" for handler in handlers)
    stamp = hashlib.blake2b(f"{code}{knowledge.schema.version}".encode(), digest_size=8).hexdigest()
    named = () if _spells_redis(handlers) else families(
        lead_of(one) for found in effects.values() for one in found if isinstance(one, KeyAccess)
    )  # fmt: skip
    derived = {place: _derivation(found, routes, knowledge, stamp, named) for place, found in effects.items()}
    return Derived(derived, routes, _containers(knowledge), frozenset(knowledge.changing), named)


def _spells_redis(handlers: Sequence[Handler]) -> bool:
    """Whether a declared footprint may name single keys of Redis, which it spells as one segment each."""
    for declared in (event.declared for handler in handlers for event in handler.events):
        if declared.derivation is None and declared.computed:
            return True
        for template in (template for _, template in declared.templates if declared.derivation is None):
            first = template.segments[0] if template.segments else ("",)
            if any(not isinstance(part, str) for part in first) or (first == ("redis",) and len(template.segments) > 1):
                return True
    return False


def _containers(knowledge: Knowledge) -> tuple[Container, ...]:
    named = {knowledge.names[id(one)]: one for one in knowledge.kept if id(one) in knowledge.names}
    return tuple(Container(name, thing) for name, thing in named.items() if is_container(thing) and _is_own(name))


def _is_own(name: str) -> bool:
    """Whether a container is no library's, by its place."""
    top = sys.modules.get(name.partition(".")[0].partition("#")[0])
    return top is None or is_application(str(getattr(top, "__file__", None) or "namespace"))


def _effects(knowledge: Knowledge, plugins: Sequence[Plugin], handler: Handler, event: HandlerEvent) -> list[Effect]:
    run = make_run(knowledge, plugins)
    sys_limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(sys_limit, 20_000))
    try:
        run_handler(run, handler.function, event.codec.cls, handler.where)
    except RecursionError:
        run.widen("this handler leads too deep to be followed", handler.where)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not narrow a footprint
        run.widen(f"inference failed: {type(error).__name__}: {error}", handler.where, "please report it")
    finally:
        sys.setrecursionlimit(sys_limit)
    return run.found()


def _definitions(knowledge: Knowledge, lifespan: object, plugins: Sequence[Plugin]) -> list[str]:
    """The CREATE statements that ``lifespan`` comes by."""
    if lifespan is None:
        return []
    run = make_run(knowledge, plugins)
    try:
        knowledge.state = _yielded(run, run.call(Live(lifespan), [], {}, "lifespan"))
    except Exception:  # noqa: BLE001 - then the tables are not known, which makes keys coarser
        return []
    found: list[str] = run.kept.get(DDL, [])
    return found


def _yielded(run: Run, opened: Value) -> Value | None:
    """What the lifespan gives to ``ctx.state``."""
    if isinstance(opened, Handle) and "function" in opened.about:
        inside = run.call(opened.about["function"], opened.about["arguments"], opened.about["named"], "lifespan")
        found = inside.element if isinstance(inside, Items) else None
    else:
        found = enter(run, opened, "a", "lifespan")
    if found is not None:
        outlives(found, {}, set())
    return found


def _texts(handlers: Sequence[Handler]) -> list[str]:
    """Definitions that stand as texts in the modules of the handlers."""
    found: list[str] = []
    for module in dict.fromkeys(handler.function.__module__ for handler in handlers):
        for value in vars(sys.modules.get(module, object())).values() if module in sys.modules else ():
            for text in (value,) if isinstance(value, str) else value if isinstance(value, tuple | list) else ():
                found += [text] if isinstance(text, str) and text.lstrip()[:6].upper() == "CREATE" else []
    return found


def _written(effects: Iterable[Effect]) -> Iterable[tuple[str, ...]]:
    """The paths of the program's own state that are written, as far as they are constant."""
    for one in effects:
        if isinstance(one, KeyAccess) and one.mode != "read":
            path = []
            for part in one.path:
                if not isinstance(part, Const):
                    break
                path.append(str(part.value))
            yield tuple(path)


def _derivation(
    effects: Sequence[Effect], routes: dict[str, Route], knowledge: Knowledge, stamp: str, named: Sequence[str]
) -> Derivation:
    found: list[Key] = []
    for one in effects:
        if isinstance(one, TableAccess):
            found += [key_of(key) for key in keys(one, routes[one.touch.table])]
        elif isinstance(one, KeyAccess) and _counts(one, knowledge):
            found.append(key_of_state(one, named))
    everything = tuple(one for one in effects if isinstance(one, Everything))
    return Derivation(tuple(found), everything, stamp)


def _counts(access: KeyAccess, knowledge: Knowledge) -> bool:
    """Whether an access can meet another one: reading state of the program that no handler writes cannot."""
    return access.mode != "read" or access.path[0] != Const("state") or knowledge.changes(access.path)


def _refuse_unnamed(
    handlers: Sequence[Handler],
    effects: dict[tuple[str, str], list[Effect]],
    routes: dict[str, Route],
    chosen: Collection[str] | None,
) -> None:
    """A table that a declared handler touches without naming it: a derived footprint would not meet it, so it is
    everything."""
    unnamed: dict[str, str] = {}
    for handler in handlers:
        if chosen is None or handler.name in chosen:
            continue
        for event in handler.events:
            found = effects[handler.name, event.type]
            if (
                event.declared.everything
                or event.declared.unordered
                or any(isinstance(one, Everything) for one in found)
            ):
                continue
            first = set(declared_names([handler]))
            for one in found:
                if isinstance(one, TableAccess) and routes[one.touch.table].name not in first:
                    unnamed.setdefault(one.touch.table, handler.name)
    for (name, _), found in effects.items():
        if chosen is None or name in chosen:
            for table in {one.touch.table for one in found if isinstance(one, TableAccess)} & unnamed.keys():
                why = f"{unnamed[table]} declares its keys, none of which is called {routes[table].name}"
                found.append(Everything(why, "", f'App(tables={{"{table}": "NAME"}}) with the name that it has there'))


def names_of_tables(tables: Iterable[str], first: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """What tables are called in keys: as `given`, else as one of the `first` segments of declared keys that differs
    by a plural or the like, else as the table."""
    found = {}
    for name in tables:
        alike = (one for one in first if family(one) & family(name))
        found[name] = given.get(name) or next(alike, None) or name.replace(".", "/")
    return found


def declared_names(handlers: Sequence[Handler]) -> list[str]:
    """The first segments of all declared keys."""
    declared = [event.declared for handler in handlers for event in handler.events]
    firsts = [template.segments[0][0] for one in declared for _, template in one.templates if template.segments]
    return list(dict.fromkeys(first for first in firsts if isinstance(first, str)))


def live_schema(thing: object) -> Schema | None:
    """The tables behind a live connection, from its catalogue; None where that cannot be read."""
    module = type(thing).__module__.split(".")[0]
    if module not in ("sqlite3", "_sqlite3", "apsw"):
        return None
    thing = getattr(thing, "connection", thing)  # of a cursor, whose results are left alone
    try:
        rows = thing.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - closed, locked, of another thread: then its tables are not known
        return None
    return schema_of([str(sql) for (sql,) in rows])


def schema_in(path: str) -> Schema | None:
    """The tables in a file of SQLite's that is there already, which is looked at and left as it is; None where it
    cannot be read: who opens a connection for each event has none before."""
    driver: Any = sys.modules.get("sqlite3")  # which is loaded where the handlers use it
    if driver is None or not Path(path).is_file():
        return None
    try:
        with closing(driver.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True, timeout=0.1)) as opened:
            return live_schema(opened)
    except Exception:  # noqa: BLE001 - it is another kind of file, or the broker's own: then its tables are not known
        return None
