"""One table, one routing key: which columns' values stand in the keys of its rows, chosen over the whole application.

Two accesses to one row must share a key, however each finds the row. So a table has one sequence of columns; an access
that gives their values, or the first of them, is to that part of the tree, and every other access is to the whole
table.

    line by (order_id, sku)      line/7/tea   the row        line/7   all lines of an order        line   any other
    access

What tells the rows apart besides, a unique e-mail address of users that go by their number, is a resource of its own
beside the rows, for those alone who take such a value or make one free:

    users by (id)    INSERT   users/+new, writes users/+email/a@x    UPDATE … SET email = 'b@x' WHERE id = 7
                     DELETE WHERE id = 7   users/7, reads users/+email      users/7, reads users/+email, writes
                     SELECT WHERE email = …   reads users                   users/+email/b@x

A row that is removed, or gets another value, makes one free that is not known, hence the read: two of them go together,
and with nobody who takes a value. Who finds rows by the value looks at the rows, so at all of the table.

Invariant: two accesses that can meet in a row, or in a value that one row alone may have, have keys of which one is a
prefix of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from commute.derive.run import TableAccess
from commute.derive.values import Const, Handle, Own, Value, is_known, options
from commute.sql.schema import Column, Kind, Table
from commute.sql.statement import Touch

COLUMNS_MAX = 3
KEYS_MAX = 64  # of one access; more are the table
APART = "+"  # begins what stands beside the rows of a table
NEW = f"{APART}new"  # a row whose key the database makes up: nobody else can mean it
FREED = "freed"  # the kind of touch of who makes unique values free

Row = dict[str, tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Route:
    """The columns in whose sequence a table's keys are spelled; none: always the whole table. `name` stands first.

    With `parent` the rows live under the row that they belong to, by the foreign key `link`: ``batches/{ref}/lines``.
    Then `columns` are those of the parent's route. `compared` says of each column how its values are told apart for
    all who look at the table, since one may know it from its model and another one from the database.

    `apart` are the routes of unique values beside the rows, `unique` says of one of them that it is such a route.
    """

    table: str
    columns: tuple[str, ...]
    name: str
    parent: Route | None = None
    link: tuple[str, str] = ("", "")  # column of the child, column of the parent
    compared: tuple[Column | None, ...] = ()
    apart: tuple[Route, ...] = ()
    unique: bool = False

    def column(self, name: str, table: Table | None) -> Column | None:
        """How the values of a column are told apart, None where nothing is known; `table` as one of them knows it."""
        columns = self.columns if self.parent is None else self.parent.columns
        compared = self.compared if self.parent is None else self.parent.compared
        if compared and name in columns:
            return compared[columns.index(name)]
        return None if table is None else table.columns.get(name)


@dataclass(frozen=True, slots=True)
class TableKey:
    """A key of a table as values, to be normalised as `table` compares. `narrow`: all columns of the route are
    there."""

    mode: str
    route: Route
    values: tuple[Value, ...]
    access: TableAccess
    narrow: bool


def resolved(access: TableAccess, depth: int = 0) -> list[Row] | None:
    """The alternatives of an access with values known from the event alone; None for any row.

    A value that was read from a row of this table by the same column is that row, where no two rows have the same: its
    alternatives take its place.
    """
    if access.rows is None or depth > 8:
        return None
    found: list[Row] = []
    for alternative in access.rows:
        known: list[Row] = [{}]
        for column, values in alternative.items():
            flat = [option for value in values for option in options(value)]
            cells = [value for value in flat if isinstance(value, Handle) and value.kind == "cell"]
            others = tuple(value for value in flat if not (isinstance(value, Handle) and value.kind == "cell"))
            if not flat or not all(is_known(value) or _tells(value, access, column) for value in others):
                continue
            if all(_same_row(cell, access, column) for cell in cells):
                rows = [row for cell in cells for row in _rows_of(cell, depth)]
                rows += [{column: others}] if others else []
                known = [{**row, **one} for row in rows for one in known]
        if not all(known) or len(found) > KEYS_MAX:
            return None
        found += known
    return found or None


def _tells(value: Value, access: TableAccess, column: str) -> bool:
    """Whether what no other event has tells the row apart: a number does in its own table, and in those below it."""
    if not isinstance(value, Own) or not value.of or value.of == access.touch.table:
        return isinstance(value, Own)
    table = access.schema.table(access.touch.table)
    return table is not None and any(key.table == value.of and column in key.columns for key in table.foreign_keys)


def _rows_of(cell: Handle, depth: int) -> list[Row]:
    """The alternatives of the row that a value was read from; its key is the event's own where the row is new."""
    rows: list[Row] = resolved(cell.about["access"], depth + 1) or [{}]
    if not cell.about.get("own"):
        return rows
    new = Own("a key that the database has made up", of=cell.about["access"].touch.table)
    return [{**row, cell.about["column"]: (new,)} for row in rows]


def _same_row(cell: Handle, access: TableAccess, column: str) -> bool:
    table = access.schema.table(access.touch.table)
    alone = table is not None and (column,) in table.uniques
    return bool(alone and cell.about["access"].touch.table == access.touch.table and cell.about["column"] == column)


def choose(accesses: Iterable[TableAccess], names: dict[str, str], pinned: Collection[str] = ()) -> dict[str, Route]:
    """The route of each table that is touched. O(accesses * candidates).

    `names`: what tables are called in keys; `pinned` ones have their primary key, by which declared keys name them.
    """
    by_table: dict[str, list[TableAccess]] = {}
    for access in accesses:
        by_table.setdefault(access.touch.table, []).append(access)
    routes = {}
    for table, given in by_table.items():
        columns = _columns(table, given, pinned=table in pinned)
        compared = tuple(_compared(table, column, given) for column in columns)
        routes[table] = Route(table, columns, names.get(table, table), compared=compared)
    for table, given in by_table.items():
        if table not in pinned and not _all_narrow(given, routes[table]):
            routes[table] = _under_parent(table, given, routes) or routes[table]
    for table, given in by_table.items():
        routes[table] = _with_unique(routes[table], given)
    return routes


def _with_unique(route: Route, accesses: Sequence[TableAccess]) -> Route:
    """The route with those of the unique values that somebody takes, where all who touch the table know the same."""
    known = [access.schema.table(route.table) for access in accesses if access.schema.is_strict(route.table)]
    uniques = [table.uniques for table in known if table is not None]
    same = len({frozenset(map(frozenset, one)) for one in uniques}) == 1
    if len(known) != len(accesses) or not same or route.parent is not None:
        return route
    taken = {frozenset(row) for access in accesses if access.touch.kind == "unique" for row in access.rows or ()}
    several = [unique for unique in uniques[0] if frozenset(unique) in taken]
    return with_unique(route, several, lambda column: _compared(route.table, column, accesses))


def with_unique(route: Route, uniques: Iterable[tuple[str, ...]], compared: Callable[[str], Column | None]) -> Route:
    """The route with those of `uniques` beside its rows whose values its keys do not begin with: ``users/+email``."""
    apart = {
        frozenset(columns): Route(
            route.table, columns, "/".join((route.name, f"{APART}{'.'.join(columns)}")), unique=True,
            compared=tuple(map(compared, columns)),
        )
        for columns in uniques
        if route.columns and route.columns[0] not in columns and len(columns) <= COLUMNS_MAX
    }  # fmt: skip
    return replace(route, apart=tuple(apart.values()))


def one_route(accesses: Iterable[TableAccess], routes: Mapping[str, Route]) -> dict[str, Route]:
    """The routes of tables that are called in several ways, with a schema and without, or in other letters: together
    they are one table, as a whole, unless one schema knows them apart."""
    groups: dict[str, set[str]] = {}
    for table in routes:
        groups.setdefault(table.rpartition(".")[2].lower(), set()).add(table)
    several = [names for names in groups.values() if len(names) > 1]
    apart = {
        frozenset(names)
        for names in several
        for access in accesses
        if sum(access.schema.table(name) is not None for name in names) > 1
    }
    found: dict[str, Route] = {}
    for names in several:
        if frozenset(names) not in apart:
            first = min(names, key=lambda name: (len(name), name.lower(), name))
            found |= {name: Route(name, (), routes[first].name) for name in names}
    return found


_SAFE: tuple[tuple[Kind, tuple[Kind, ...]], ...] = (  # takes any value for one, beside those that keep it as these
    ("uuid", ("text",)), ("date", ("numeric", "text", "other")), ("bool", ("int", "numeric")),
    ("numeric", ("int", "float")),
)  # fmt: skip


def _compared(name: str, column: str, accesses: Sequence[TableAccess]) -> Column | None:
    """How the values of a column are told apart whoever looks at it: a model's UUID is the database's text."""
    tables = [table for access in accesses if (table := access.schema.table(name)) is not None]
    found = list(dict.fromkeys(known for table in tables if (known := table.columns.get(column)) is not None))
    ways = {(one.kind, one.collation) for one in found}
    if len(ways) <= 1:
        return found[0] if found else None
    kinds = {one.kind for one in found}
    for kind, others in _SAFE:
        if kind in kinds and kinds <= {kind, *others} and {one.collation for one in found} == {"binary"}:
            return next(one for one in found if one.kind == kind)
    return replace(found[0], kind="other", collation="unknown")


def _all_narrow(accesses: Sequence[TableAccess], route: Route) -> bool:
    return all(key.narrow for access in accesses for key in keys(access, route))


def _under_parent(name: str, accesses: Sequence[TableAccess], routes: Mapping[str, Route]) -> Route | None:
    """The route under a parent's row, where every access to the table comes by one; None where one does not."""
    table = next((known for access in accesses if (known := access.schema.table(name)) is not None), None)
    moved = {column for access in accesses if access.touch.kind == "update" for column in access.touch.columns or ()}
    for key in table.foreign_keys if table is not None else ():
        parent = routes.get(key.table)
        if parent is None or parent.parent is not None or not parent.columns or len(key.columns) != 1:
            continue
        if key.columns[0] in moved or key.table == name or not key.parents:
            continue
        route = Route(name, parent.columns, routes[name].name, parent, (key.columns[0], key.parents[0]))
        if _all_narrow(accesses, route):
            return route
    return None


def _by_parent(access: TableAccess, route: Route) -> list[TableKey]:
    """The keys of rows that live under their parent's: one for each key of the parents that they are found by."""
    assert route.parent is not None
    child, column = route.link
    found: list[TableKey] = []
    for row in access.rows or ({},):
        values = [option for value in row.get(child, ()) for option in options(value)]
        if not values:
            return [TableKey(_plain(access.touch.mode), route, (), access, narrow=False)]
        for value in values:
            cell = isinstance(value, Handle) and value.kind == "cell" and value.about["access"].touch.table
            if isinstance(value, Handle) and cell == route.parent.table and value.about["column"] == column:
                above = keys(value.about["access"], route.parent)
            elif is_known(value) and route.parent.columns == (column,):
                above = [TableKey("read", route.parent, (value,), access, narrow=True)]
            elif isinstance(value, Own) and value.of == route.parent.table:
                above = [TableKey("insert", route.parent, (Const(NEW),), access, narrow=True)]
            else:
                return [TableKey(_plain(access.touch.mode), route, (), access, narrow=False)]
            mode = "write" if access.touch.mode == "add" else access.touch.mode
            found += [
                TableKey(
                    "insert" if key.values == (Const(NEW),) else mode, route, key.values, access, narrow=key.narrow
                )
                for key in above
            ]
    return found


def _columns(name: str, accesses: Sequence[TableAccess], *, pinned: bool) -> tuple[str, ...]:
    table = next((known for access in accesses if (known := access.schema.table(name)) is not None), None)
    if pinned:
        return table.primary_key if table is not None else ()
    moved = {column for access in accesses if access.touch.kind == "update" for column in access.touch.columns or ()}
    bound = [
        rows
        for access in accesses
        if access.touch.kind != "unique" and (rows := resolved(access)) is not None and not _finds_own(access, rows)
    ]
    candidates: dict[tuple[str, ...], None] = {}
    for unique in () if table is None else table.uniques:
        candidates.setdefault(unique)
    for access, rows in ((access, resolved(access)) for access in accesses):
        for row in rows or ():
            if access.touch.kind != "insert" and 0 < len(row) <= COLUMNS_MAX:
                candidates.setdefault(tuple(sorted(row)))
            for column in row:
                candidates.setdefault((column,))
    usable = [one for one in candidates if len(one) <= COLUMNS_MAX and not set(one) & moved]
    if not usable:
        return ()

    added = [access for access in accesses if access.touch.kind == "insert"]

    def worth(columns: tuple[str, ...]) -> tuple[int, int, int, int]:
        whole = sum(all(set(columns) <= set(row) for row in rows) for rows in bound)
        # By a number that the database makes, rows that are added are told apart from all others.
        whole += sum(_generated(table, columns[0]) and not _given(access, columns[0]) for access in added)
        primary = table is not None and columns == table.primary_key
        unique = table is not None and columns in table.uniques
        return whole, int(unique), int(primary), -len(columns)

    best = max(usable, key=worth)
    if not any(all(set(best) & set(row) for row in rows) for rows in bound):
        return table.primary_key if table is not None and not set(table.primary_key) & moved else ()

    def alone(column: str) -> int:
        return sum(all(column in row for row in rows) for rows in bound)

    return tuple(sorted(best, key=lambda column: (-alone(column), best.index(column))))


def taken_by(touch: Touch, columns: Collection[str], route: Route) -> Route:
    """The route of what has values in these columns: of the unique values, where it takes such."""
    if touch.kind != "unique":
        return route
    return next((one for one in route.apart if set(one.columns) == set(columns)), route)


def freed_by(touch: Touch, route: Route) -> list[tuple[Touch, Route]]:
    """The unique values that a change of rows may make free, each as a read of them."""
    if touch.mode == "read" or touch.kind in ("insert", "unique"):
        return []
    freed = replace(touch, mode="read", kind=FREED)
    return [(freed, one) for one in route.apart if touch.columns is None or touch.columns & set(one.columns)]


def keys(access: TableAccess, route: Route) -> list[TableKey]:
    """The keys of an access, as values."""
    if route.parent is not None:
        return _by_parent(access, route)
    columns = {column for row in access.rows or () for column in row}
    found = _keys(access, taken_by(access.touch, columns, route))
    if not mode_only_table(found) and any(key.mode != "insert" for key in found):
        for touch, one in freed_by(access.touch, route):
            found += _keys(replace(access, touch=touch), one)
    return found


def _keys(access: TableAccess, route: Route) -> list[TableKey]:
    touch = access.touch
    rows = resolved(access)
    table = access.schema.table(touch.table)
    found: list[TableKey] = []
    for row in [{}] if rows is None else rows:
        if _may_be_none(access, route) and any(map(_is_null, row.values())):
            continue  # NULL has no parent, and equals no other one
        if not route.unique and _finds_own(access, [row]):
            found.append(TableKey("insert", route, (Const(NEW),), access, narrow=True))
            continue  # what nobody else has finds the row that this event has added, or none
        mode: str = touch.mode
        if mode == "add" and set(row) - set(route.columns):
            mode = "write"  # what it adds to depends on more than the key
        taken: list[tuple[Value, ...]] = []
        made = False
        if route.columns and _own(row.get(route.columns[0], ())):
            found.append(TableKey("insert", route, (Const(NEW),), access, narrow=True))
            continue
        for column in route.columns:
            values = row.get(column)
            if values is None or any(isinstance(value, Own) for value in values):
                made = touch.kind == "insert" and not _given(access, column) and _generated(table, column)
                break
            taken.append(values)
        if made and not taken:
            found.append(TableKey("insert", route, (Const(NEW),), access, narrow=True))
            continue
        combinations = list(product(*taken)) if _count(taken) <= KEYS_MAX else [()]
        narrow = len(taken) == len(route.columns) and bool(taken)
        found += [TableKey(mode, route, tuple(values), access, narrow=narrow) for values in combinations]
    if mode_only_table(found):
        return [TableKey(_plain(touch.mode), route, (), access, narrow=False)]
    return found


_FINDS = ("select", "update", "delete", "parent")


def _finds_own(access: TableAccess, rows: Sequence[Row]) -> bool:
    """Whether rows are looked for by what nobody else has, whichever column tells them apart."""
    return access.touch.kind in _FINDS and bool(rows) and all(any(map(_own, row.values())) for row in rows)


def _own(values: Sequence[Value]) -> bool:
    """Whether the row is this event's own: no other event has the value, so only whoever looks at more rows meets
    it."""
    return bool(values) and all(isinstance(value, Own) for value in values)


def _may_be_none(access: TableAccess, route: Route) -> bool:
    touch = access.touch
    return (
        bool(route.unique)
        or touch.kind == "parent"
        or (touch.kind == "unique" and access.schema.is_strict(touch.table))
    )


def _is_null(values: Sequence[Value]) -> bool:
    return bool(values) and all(value == Const(None) for value in values)


def mode_only_table(found: Sequence[TableKey]) -> bool:
    return any(not key.values for key in found)


def _plain(mode: str) -> str:
    return "write" if mode == "add" else mode


def _given(access: TableAccess, column: str) -> bool:
    """Whether an insert gives a column, known or not."""
    return access.rows is None or any(column in row for row in access.rows)


def _generated(table: Table | None, column: str) -> bool:
    known = None if table is None else table.columns.get(column)
    return known is not None and known.generated


def _count(taken: Sequence[tuple[Value, ...]]) -> int:
    count = 1
    for values in taken:
        count *= len(values)
    return count
