"""Which tables there are behind a connection, and what keys call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from commute.derive.application import declared_names, names_of_tables
from commute.derive.routing import Route
from commute.footprints.template import Field
from commute.inference import wants
from commute.observe.naming import Spelling, path
from commute.sql.ddl import schema_of
from commute.sql.schema import Schema, Table
from commute.sql.statement import Statement, Touch

if TYPE_CHECKING:
    from commute.app import App

Ask = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
Spell = Callable[[object, Table | None, str], str | None]
_SQLITE = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"


class Catalogue:
    """The tables of one database, read when a table is met that is not known yet. `ask` runs a query there."""

    def __init__(self, ask: Ask, read: Callable[[Ask], Schema] | None = None) -> None:
        self.ask = ask
        self._read = read or (lambda ask: schema_of([str(sql) for (sql,) in ask(_SQLITE, ())]))
        self.schema = Schema()
        self.version = self.schema.version
        self.spellings: dict[str, Spelling] = {}  # by text, as far as these tables are those that it was read with

    def reread(self) -> bool:
        """Whether there is more to know now."""
        before = self.version
        self.schema = self._read(self.ask)
        self.version = self.schema.version
        self.spellings.clear()
        return self.version != before

    def found_by(self, touch: Touch, row: Mapping[str, Sequence[object]], route: Route, spell: Spell) -> list[str]:
        """The keys of the one row that a statement finds by other unique columns than those of the route; empty where
        that cannot be told."""
        table = self.schema.table(touch.table)
        target, columns = (route, route.columns) if route.parent is None else (route.parent, route.parent.columns)
        if table is None or not columns:
            return []
        known: tuple[str, ...]
        if route.parent is not None:
            child, column = route.link
            known, values = (column,), [row.get(child, ())]
        else:
            known = next((one for one in table.uniques if all(name in row for name in one)), ())
            values = [row[name] for name in known]
        if not known or any(len(each) != 1 for each in values):
            return []
        where = " AND ".join(f'"{name}" = ?' for name in known)
        wanted = ", ".join(f'"{name}"' for name in columns)
        rows = self.ask(f'SELECT {wanted} FROM "{target.table}" WHERE {where}', [each[0] for each in values])
        found = []
        for one in rows:
            segments = [
                spell(value, self.schema.table(target.table), name) for name, value in zip(columns, one, strict=True)
            ]
            if None in segments:
                return []
            below = [path(route.name)] if route.parent is not None else []
            found.append("/".join([path(target.name), *(str(each) for each in segments), *below]))
        return found


class Names:
    """The routes of an app's tables: as derived over all its handlers, where one of them is; else as declared keys
    spell them, by columns that are called like their fields (``order/{ref}``), or by the primary key."""

    def __init__(self, app: App[Any]) -> None:
        handlers = app.handlers
        self._routes = dict(app.derived().routes) if any(map(wants, app.declared_handlers)) else {}
        self._first = declared_names(handlers)
        self._given = app.tables
        self._templates = [
            template for handler in handlers for event in handler.events for _, template in event.declared.templates
        ]

    def routes(self, statement: Statement, schema: Schema) -> Mapping[str, Route]:
        """The routes of all tables of a statement."""
        return {touch.table: self.route(touch.table, schema) for touch in statement.touches}

    def route(self, name: str, schema: Schema) -> Route:
        """The route of one table."""
        found = self._routes.get(name)
        if found is None:
            table = schema.table(name)
            called = names_of_tables([name], self._first, self._given)[name]
            found = Route(name, () if table is None else self._columns(table, called), called)
            if table is not None:
                self._routes[name] = found
        return found

    def _columns(self, table: Table, called: str) -> tuple[str, ...]:
        for template in self._templates:
            first, *rest = [segment[0] for segment in template.segments]
            fields = [one.path[-1] for one in rest if isinstance(one, Field) and one.path]
            if first == called and fields and len(fields) == len(rest) and set(fields) <= table.columns.keys():
                return tuple(fields)
        return table.primary_key


__all__ = ["Ask", "Catalogue", "Names"]
