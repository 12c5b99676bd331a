"""Which tables there are behind a connection, and what keys call them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from commute.derive.application import declared_names, names_of_tables
from commute.derive.routing import APART, NEW, Route, with_unique
from commute.footprints.template import Field, Template
from commute.footprints.vocabulary import family
from commute.inference import wants
from commute.observe.naming import path
from commute.sql.ddl import schema_of
from commute.sql.schema import Column, Schema, Table
from commute.sql.statement import Statement, Touch

if TYPE_CHECKING:
    from commute.app import App

Ask = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
Spell = Callable[[object, Column | None], str | None]
_SQLITE = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"


@lru_cache(64)
def _schema(definitions: tuple[str, ...]) -> Schema:
    return schema_of(definitions)


def _of_sqlite(ask: Ask) -> Schema:
    return _schema(tuple(str(sql) for (sql,) in ask(_SQLITE, ())))


def numbered(sql: str) -> str:
    """A question, which has ``?`` for each value, with PostgreSQL's own marks: ``$1``, ``$2``."""
    number = count(1)
    return re.sub(r"\?", lambda _: f"${next(number)}", sql)


class Unanswered(BaseException):
    """A question that has to be awaited: whoever catches this awaits the answer and begins again. It goes through those
    who take an exception for an answer."""


class Catalogue:
    """The tables of one database, read when a table is met that is not known yet, or after a definition was run here.

    `stale`: a definition was run. Its questions are put by whoever meets them, on the connection that they are met on.
    """

    def __init__(self, read: Callable[[Ask], Schema] = _of_sqlite) -> None:
        self._read = read
        self.schema = Schema()
        self.version = self.schema.version
        self.stale = False

    def reread(self, ask: Ask) -> bool:
        """Whether there is more to know now. Where the database does not answer, what was known stays."""
        before, stale = self.version, self.stale
        self.stale = False
        try:
            self.schema = self._read(ask)
        except Unanswered:
            self.stale = stale
            raise
        except Exception:  # noqa: BLE001 - locked, or its transaction has failed: then its tables are not known
            return False
        self.version = self.schema.version
        return self.version != before

    def found_by(
        self, touch: Touch, row: Mapping[str, Sequence[object]], route: Route, spell: Spell, ask: Ask
    ) -> list[str]:
        """The keys of the one row that a statement finds by other unique columns than those of the route, or under
        the row that it belongs to; empty where that cannot be told."""
        table = self.schema.table(touch.table)
        target, columns = (route, route.columns) if route.parent is None else (route.parent, route.parent.columns)
        if table is None or not columns:
            return []
        if route.parent is not None:
            child, column = route.link
            known: tuple[str, ...] = (column,)
            values = [list(row.get(child) or self._looked_up(table, row, (child,), ask))]
        else:
            known = next((one for one in table.uniques if all(name in row for name in one)), ())
            values = [list(row[name]) for name in known]
        if not known or any(len(each) != 1 for each in values):
            return []
        found = []
        for one in _rows(target.table, columns, known, [each[0] for each in values], ask):
            segments = [
                spell(value, target.column(name, self.schema.table(target.table)))
                for name, value in zip(columns, one, strict=True)
            ]
            if None in segments:
                return []
            below = [path(route.name)] if route.parent is not None else []
            found.append("/".join([path(target.name), *(str(each) for each in segments), *below]))
        return found

    def _looked_up(
        self, table: Table, row: Mapping[str, Sequence[object]], wanted: Sequence[str], ask: Ask
    ) -> list[object]:
        """The one value of a column in the row that unique columns of `row` find."""
        known = next((one for one in table.uniques if all(len(row.get(name, ())) == 1 for name in one)), ())
        rows = _rows(table.name, wanted, known, [row[name][0] for name in known], ask) if known else []
        return [rows[0][0]] if len(rows) == 1 else []


def _rows(
    table: str, wanted: Sequence[str], known: Sequence[str], values: Sequence[object], ask: Ask
) -> list[tuple[Any, ...]]:
    where = " AND ".join(f"{_quoted(name)} = ?" for name in known)
    columns = ", ".join(map(_quoted, wanted))
    try:
        return ask(f"SELECT {columns} FROM {_quoted(table)} WHERE {where}", values)
    except Exception:  # noqa: BLE001 - then it is not known which row it is
        return []


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


class Names:
    """The routes of an app's tables: as derived over all its handlers, where one of them is; else as declared keys
    spell them, by columns that are called like their fields (``order/{ref}``), or by the primary key."""

    def __init__(self, app: App[Any]) -> None:
        handlers = app.handlers
        derived = app.derived() if any(map(wants, app.declared_handlers)) else None
        self._routes = {} if derived is None else dict(derived.routes)
        self.families: tuple[str, ...] = () if derived is None else derived.families  # of keys of Redis
        self._first = declared_names(handlers)
        self._given = app.tables
        self._templates = [
            template for handler in handlers for event in handler.events for _, template in event.declared.templates
        ]
        self._below = [found for found in map(_child_of, self._templates) if found is not None]

    def routes(self, statement: Statement, schema: Schema) -> Mapping[str, Route]:
        """The routes of all tables of a statement."""
        return {touch.table: self.route(touch.table, schema) for touch in statement.touches}

    def route(self, name: str, schema: Schema) -> Route:
        """The route of one table."""
        found = self._routes.get(name)
        if found is None:
            table = schema.table(name)
            called = self._called(name)
            found = None if table is None else self._under_parent(table, called, schema)
            found = found or Route(name, () if table is None else self._columns(table, called), called)
            if table is not None and schema.is_strict(name) and any(self._names_unique(called)):
                found = with_unique(found, table.uniques, table.columns.get)
            if table is not None:
                self._routes[name] = found
        return found

    def _names_unique(self, called: str) -> Iterator[bool]:
        """Of each declared key of a table, whether it names unique values beside its rows: ``users/+email/{email}``."""
        for template in self._templates:
            first, second = [*(part[0] if len(part) == 1 else None for part in template.segments[:2]), None, None][:2]
            yield first == called and isinstance(second, str) and second.startswith(APART) and second != NEW

    def _called(self, name: str) -> str:
        return names_of_tables([name], self._first, self._given)[name]

    def _under_parent(self, table: Table, called: str, schema: Schema) -> Route | None:
        """The route of a table whose rows declared keys put under the row that they belong to: ``order/{id}/line``."""
        if called in self._first:
            return None
        for first, below in self._below:
            if family(below) & family(self._given.get(table.name, table.name)):
                for key in table.foreign_keys:
                    parent = self.route(key.table, schema) if self._called(key.table) == first else None
                    links = dict(zip(key.columns, key.parents or (parent.columns if parent else ()), strict=False))
                    link = [(own, other) for own, other in links.items() if parent and parent.columns == (other,)]
                    if parent is not None and link:
                        return Route(table.name, parent.columns, below, parent, link[0])
        return None

    def _columns(self, table: Table, called: str) -> tuple[str, ...]:
        for template in self._templates:
            first, *rest = [segment[0] for segment in template.segments]
            fields = [one.path[-1] for one in rest if isinstance(one, Field) and one.path]
            if first == called and fields and len(fields) == len(rest) and set(fields) <= table.columns.keys():
                return tuple(fields)
        return table.primary_key


def _child_of(template: Template) -> tuple[str, str] | None:
    """The first and the third segment of ``order/{order_id}/line``."""
    plain = [segment[0] if len(segment) == 1 else None for segment in template.segments[:3]]
    if len(plain) == 3 and isinstance(plain[0], str) and isinstance(plain[1], Field) and isinstance(plain[2], str):
        return plain[0], plain[2]
    return None


__all__ = ["Ask", "Catalogue", "Names", "Unanswered", "numbered"]
