"""SQL in text: connections and cursors of drivers, and the blocks of the store. What comes back knows which row it
is of.

A value that was read can be a key later only where it is known which row that is: it was found by that very value,
or the same table is looked up by the column that was read (`Handle` of kind ``cell``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from commute.derive import expressions
from commute.derive.reading import as_read
from commute.derive.run import Arguments, Named, Run, TableAccess
from commute.derive.values import (
    SEVERAL,
    SOME,
    Assembled,
    Bound,
    Const,
    Data,
    Either,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Value,
    either,
    is_harmless,
    is_stored,
    options,
)
from commute.sql.ddl import pieces
from commute.sql.parse import summarize
from commute.sql.schema import Schema
from commute.sql.statement import Const as SqlConst
from commute.sql.statement import Many, Operand, Param, Statement
from commute.sql.text import Prepared, prepare

DEFINES = re.compile(r"\s*CREATE\b", re.IGNORECASE)
# What concerns the connection, or its transaction, and no row.
_SETS = re.compile(
    r"\s*(?:PRAGMA\s+(?:\w+\.)?(?:foreign_keys|journal_mode|synchronous|busy_timeout|cache_size|temp_store|mmap_size"
    r"|wal_autocheckpoint|read_uncommitted|journal_size_limit)\b(?!.*;.*\S)"
    r"|SET\s+(?:LOCAL\s+|SESSION\s+)?(?:statement_timeout|lock_timeout|TIME\s+ZONE|TRANSACTION)\b[^;]*;?\s*$)",
    re.IGNORECASE,
)
Sent: TypeAlias = Callable[[str, Value], Value]
DISCARDED = "discarded"  # set by a run while a call is made whose result nobody looks at
DDL = "ddl"  # under which a run keeps the definitions that it came by


def statement(
    run: Run, connection: Handle, text: Value, parameters: Value | None, where: str, *, many: bool = False,
    bound: Sent | None = None,
) -> Value:  # fmt: skip
    """Add what a statement touches, and return its rows. `parameters` None: there are none. `bound`: what is sent for
    the value of a parameter by name, itself where nothing is said."""
    schema: Schema = connection.about["schema"]
    found: list[Value] = []
    if many and parameters is not None:
        parameters = expressions.element(run, parameters, where) or Items("tuple", [])
    for option in options(text):
        if isinstance(option, Assembled):
            found.append(_assembled(run, connection, option.text, parameters, where, bound or _itself))
            continue
        if not isinstance(option, Const) or not isinstance(option.value, str):
            return run.widen(
                "the text of an SQL statement is not known before the event", where,
                "write the names of tables and columns out, and give values as parameters",
            )  # fmt: skip
        fits = parameters
        if SEVERAL in option.value:
            fits = _loose(run, parameters, option.value, SEVERAL, schema.dialect)
            option = Const(option.value.replace(SEVERAL, ""))
        else:
            fits = _fitting(run, parameters, option.value, schema.dialect)
        if _SETS.match(option.value):
            found.append(Data("what is set for a connection"))
            continue
        if DEFINES.match(option.value):
            run.kept.setdefault(DDL, []).append(option.value)
        summary = summarize(option.value, schema, connection.about["version"])
        if summary.unknown is not None:
            remedy = "" if DEFINES.match(option.value) else "write it so that its tables can be told"
            return run.widen(f"{summary.unknown}: {_short(option.value)}", where, remedy)
        found.append(_touch(run, connection, summary, option.value, fits, where, bound or _itself))
    return either(found) or Data()


def _assembled(run: Run, connection: Handle, text: str, parameters: Value | None, where: str, bound: Sent) -> Value:
    """A statement of which pieces may be left out touches no more than with all of them. Its rows are not followed."""
    whole = text.replace(SOME, "").replace(SEVERAL, "")
    schema: Schema = connection.about["schema"]
    summary = summarize(whole, schema, connection.about["version"])
    if summary.unknown is not None:
        return run.widen(f"{summary.unknown}: {_short(whole)}", where, "write it so that its tables can be told")
    _touch(run, connection, summary, whole, _loose(run, parameters, text, SOME, schema.dialect), where, bound)
    return Data("rows of a statement with some of several pieces")


_NOT_BY_PLACE = re.compile(r"\?\d|\$\d|:\w|@\w|%\(|%%|--|/\*|\\|\$\$|['\"`]")  # or perhaps no place of a parameter
_QUOTED = re.compile(r"'[^'?%]*'|\"[^\"?%]*\"|`[^`?%]*`")


def _places(text: str, dialect: str) -> int | None:
    """How many parameters a statement has, where they are told by their place in it alone."""
    plain = _QUOTED.sub("", text)
    if _NOT_BY_PLACE.search(plain):
        return None
    return plain.count("?" if dialect == "sqlite" else "%s")


def _loose(run: Run, parameters: Value | None, text: str, mark: str, dialect: str) -> Value | None:
    """Parameters of which only the last places are known, behind the last `mark`: before, there are any number."""
    if isinstance(parameters, Either):
        return either([_loose(run, one, text, mark, dialect) or Data() for one in parameters.options])
    if not isinstance(parameters, Items):
        return parameters if parameters is None or isinstance(parameters, Entries) else Data("parameters of any number")
    one = parameters.any() or Data()
    last = run.tail_of(parameters)
    count = _places(text.replace(SOME, "").replace(SEVERAL, ""), dialect)
    behind = _places(text.rpartition(mark)[2], dialect)
    if count is None:
        return Items(parameters.kind, None, one)
    pieces = [_places(piece, dialect) or 0 for piece in text.split(mark)]
    before = pieces[0] - (pieces[1] if mark == SEVERAL else 0)  # this one stands behind its piece
    first = (parameters.known or parameters.head or [])[: max(before, 0)]
    known = last[-behind:] if behind else []
    return Items(parameters.kind, [*first, *[one] * (count - len(first) - len(known)), *known])


def _fitting(run: Run, parameters: Value | None, text: str, dialect: str) -> Value | None:
    """Parameters as far as their places are known, since there are as many as the statement has places: another number
    of them is refused by the driver."""
    found = [one for one in options(parameters) if isinstance(one, Items)] if parameters is not None else []
    count = _places(text, dialect)
    if parameters is None or len(found) < len(options(parameters)) or count is None:
        return parameters
    fits = [one for one in found if one.known is None or len(one.known) == count] or found
    return either([_filled(run, one, count) for one in fits])


def _filled(run: Run, parameters: Items, count: int) -> Items:
    """The same list with its first and last elements where they stand."""
    if parameters.known is not None:
        return parameters
    head, last = parameters.head or [], run.tail_of(parameters)
    before = max(count - len(last), 0)
    middle = [parameters.any() or Data()] * max(before - len(head), 0)
    return Items(parameters.kind, [*head[:before], *middle, *last[len(last) - count + before :]])


_MEETS = re.compile(r"\b(?:CONFLICT|DUPLICATE|REPLACE)\b", re.IGNORECASE)  # an INSERT that may change a row


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _itself(_name: str, value: Value) -> Value:
    return value


def _touch(run: Run, connection: Handle, summary: Statement, text: str, parameters: Value | None, where: str,
           bound: Sent) -> Value:  # fmt: skip
    schema: Schema = connection.about["schema"]
    prepared = prepare(text, schema.dialect)
    accesses = []
    for touch in summary.touches:
        rows = None
        if touch.rows is not None:
            rows = tuple(
                {
                    column: tuple(
                        bound(name, value)
                        for operand in operands
                        for name, value in _values(run, operand, parameters, prepared, where)
                    )
                    for column, operands in alternative.items()
                }
                for alternative in touch.rows
            )
        access = run.add(TableAccess(touch, rows, schema, where))
        accesses.append(access)
        if touch.kind in ("update", "merge") or (touch.kind == "insert" and _MEETS.search(text)):
            set_in(connection, touch.table, touch.columns)
        if touch.mode == "add":
            connection.about["adds"].append(access)
    key = ("rows", where, text, tuple(access.signature for access in accesses))
    found: Value = run.kept.setdefault(key, Handle("rows", {"of": summary, "accesses": accesses}))
    return found


def set_in(connection: Handle, table: str, columns: frozenset[str] | None) -> None:
    """Note that columns of a table are set, None for any: an object that is loaded again may have other values then."""
    connection.about.setdefault("set", set()).update((table, column) for column in columns or ("",))


def _values(
    run: Run, operand: Operand, parameters: Value | None, prepared: Prepared, where: str
) -> list[tuple[str, Value]]:
    """What stands in the place of an operand, one by one; each with the name of its parameter, where it has one."""
    if isinstance(operand, SqlConst):
        return [("", Const(operand.value))]
    if isinstance(operand, Many):
        inner = _values(run, operand.param, parameters, prepared, where)
        return [(name, expressions.element(run, value, where) or Data()) for name, value in inner]
    if isinstance(operand, Param):
        if parameters is None:
            return [("", Data("a parameter that is not given"))]
        if isinstance(operand.name, str):
            return [(name, _named(run, parameters, name, where)) for name in prepared.names(operand.name)]
        return [("", _placed(run, parameters, at, where)) for at in prepared.layout[operand.name]]
    return [("", Data(operand.text))]


def _placed(run: Run, parameters: Value, at: int, where: str) -> Value:
    if isinstance(parameters, Either):
        return either([_placed(run, one, at, where) for one in parameters.options]) or Data()
    if isinstance(parameters, Items | Field) or (isinstance(parameters, Const) and isinstance(parameters.value, tuple)):
        return expressions.item(run, parameters, Const(at), where)
    return Data("parameters that are not a list") if not isinstance(parameters, Handle) else Data()


def _named(run: Run, parameters: Value, name: str, where: str) -> Value:
    if isinstance(parameters, Entries) and name in parameters.known and parameters.other is None:
        return parameters.known[name]  # all of one dict: they belong together
    if isinstance(parameters, Entries | Field):
        return expressions.item(run, parameters, Const(name), where)
    return Data("parameters that are not a dict")


def used(run: Run, connection: Handle) -> None:
    """How many rows were met is asked: an addition whose result is used is a write."""
    for access in connection.about["adds"]:
        run.add(replace(access, touch=replace(access.touch, mode="write")))


def cell(rows: Handle, name: str) -> Value:
    """A column of one of the rows."""
    summary: Statement = rows.about["of"]
    origin = (summary.returns or {}).get(name)
    if origin is None:
        return Data(f"column {name}")
    table, column = origin
    access = access_of(rows.about["accesses"], table)
    if access is None:
        return Data(f"column {name}")
    if access.rows is not None and len(access.rows) == 1 and column in access.rows[0]:
        known = either(access.rows[0][column])
        if known is not None and not isinstance(known, Data) and not is_stored(known):
            read = as_read(known, access, column)
            if read is not None:
                return read
    return Handle("cell", {"access": access, "column": column})


def access_of(accesses: Sequence[TableAccess], table: str) -> TableAccess | None:
    """The access by which a statement's rows of a table were found; None where several may have."""
    found = [
        one for one in accesses if one.touch.table == table and one.touch.kind not in ("unique", "parent", "child")
    ]
    return found[0] if len({one.signature for one in found}) == 1 else None


def _known(run: Run, thing: object, dialect: str) -> Schema:
    """The tables behind a connection: of its catalogue, and those that the code defines and the catalogue lacks yet."""
    written = run.knowledge.written(dialect)
    live = None if thing is None else run.knowledge.schema_for(thing)
    return written if live is None else written.with_tables(live.tables)


def known_tables(run: Run, dialect: str) -> Schema:
    """The tables that the code defines, where there is no connection to ask."""
    return _known(run, None, dialect)


def connection_of(schema: Schema | None, dialect: str, *, spread: bool = False) -> Handle:
    """A connection whose tables are known, or not. `spread`: parameters stand behind the text one by one."""
    known = schema if schema is not None else Schema({}, dialect)
    return Handle("connection", {"schema": known, "version": known.version, "adds": [], "spread": spread})


def _opened(run: Run, thing: object, module: str) -> Handle:
    """A connection, cursor or pool of a driver; `thing` where it is there already, so that its catalogue answers."""
    dialect = DRIVERS[module]
    return connection_of(_known(run, thing, dialect), dialect, spread=module == "asyncpg")


# Of drivers, the dialect that their statements are written in.
DRIVERS = {
    **dict.fromkeys(("sqlite3", "_sqlite3", "apsw", "apswext", "aiosqlite"), "sqlite"),
    **dict.fromkeys(("psycopg", "psycopg_pool", "psycopg2", "asyncpg", "pg8000"), "postgres"),
    **dict.fromkeys(("pymysql", "MySQLdb", "mysql", "aiomysql", "asyncmy", "mariadb"), "mysql"),
}
_CONNECTS = ("connect", "create_pool")


def _opens(cls: type) -> bool:
    """Whether the objects of a driver's class are connections, cursors or pools of them."""
    return not issubclass(cls, BaseException) and any(
        word in name.lower()
        for name in (cls.__name__, *(base.__name__ for base in cls.__mro__[1:-1]))
        for word in ("connection", "pool", "cursor")
    )


_QUIET = (
    *("commit", "rollback", "close", "begin", "interrupt", "acommit", "aclose", "set_trace_callback", "setinputsizes"),
    *("start_transaction", "ping", "connect", "disconnect", "open", "wait", "wait_closed", "set_session", "terminate"),
    *("release", "putconn", "closeall", "expire_connections", "set_type_codec", "set_autocommit", "is_connected"),
    *("autocommit", "enable_load_extension"),
)
_FETCH_ONE = ("fetchone", "fetchval", "fetchrow")
_FETCH = ("fetchall", "fetchmany", "fetch", "fetchiter", "execute_fetchall")
_EXECUTE = ("execute", "executemany", "fetch", "fetchrow", "fetchval", "execute_fetchall", "execute_insert")
_OUT_OF_POOL = ("acquire", "connection", "getconn", "get_connection")


class RawSql:
    """The plug-in for sqlite3, apsw, psycopg, asyncpg and what looks like them."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        cls = type(thing)
        module = cls.__module__.split(".")[0]
        if module not in DRIVERS or not _opens(cls):
            return None
        known: Value | None = run.kept.get(("connection", id(thing)))
        if known is None:
            known = run.kept[("connection", id(thing))] = _opened(run, thing, module)
        return known

    def instance(self, run: Run, cls: type) -> Value | None:
        """What is annotated so: a connection, or a pool of them, of which no more is known."""
        module = cls.__module__.split(".")[0]
        if module not in DRIVERS or not _opens(cls):
            return None
        known: Value | None = run.kept.get(("connection", cls))
        if known is None:
            known = run.kept[("connection", cls)] = _opened(run, None, module)
        return known

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        made = function.function if isinstance(function, Bound) else function
        if isinstance(made, Live) and not isinstance(made.value, Handle):
            thing = made.value
            module = str(getattr(thing, "__module__", None) or getattr(thing, "__qualname__", "")).split(".")[0]
            name = str(getattr(thing, "__name__", ""))
            if module in DRIVERS and (_opens(thing) if isinstance(thing, type) else name.lower() in _CONNECTS):
                return _opened(run, None, module)
        if not isinstance(function, Handle):
            return None
        if function.kind == "sql-method":
            return self._method(run, function.about["of"], function.about["name"], arguments, named, where)
        if function.kind == "set-item" and isinstance(arguments[0], Handle) and arguments[0].kind == "cell":
            return Const(None) if is_harmless(arguments[2]) else None  # of what was read
        if function.kind in ("item", "iterate") and arguments and isinstance(arguments[0], Handle):
            return self._inside(arguments[0], function.kind, arguments)
        if function.kind == "operator" and any(isinstance(one, Handle) and one.kind in _OURS for one in arguments):
            return Data("a condition on rows")
        return None

    def _inside(self, value: Handle, kind: str, arguments: Arguments) -> Value | None:
        if value.kind == "rows" or value.kind == "cursor":
            rows = value if value.kind == "rows" else value.about.get("last")
            return Data() if rows is None else _row(rows)
        if value.kind == "row":
            rows = value.about["of"]
            names = rows.about["of"].names
            if kind == "iterate":
                return either([cell(rows, name) if name else Data() for name in names]) or Data("a column")
            key = arguments[1]
            if isinstance(key, Const) and isinstance(key.value, int) and key.value < len(names):
                name = names[key.value]
                return cell(rows, name) if name else Data("an expression")
            return cell(rows, str(key.value)) if isinstance(key, Const) else Data("a column")
        return Data("a part of a value") if value.kind == "cell" else None

    def _method(
        self, run: Run, value: Handle, name: str, arguments: Arguments, named: Named, where: str
    ) -> Value | None:
        if value.kind in ("connection", "cursor"):
            connection = value if value.kind == "connection" else value.about["connection"]
            if name in _EXECUTE and (arguments or "query" in named or "sql" in named):
                text, *rest = arguments or [named.get("query", named.get("sql", Data()))]
                given = _given(connection, name, rest, named)
                found = statement(run, connection, text, given, where, many=name == "executemany")
                connection.about["last"] = value.about["last"] = found
                if name in _FETCH_ONE:
                    return either([first_row(found), Const(None)]) or Data()
                if name == "execute_insert":
                    used(run, connection)
                if connection.about["spread"] and name == "execute":
                    return _status(run, connection)
                return found if name in _FETCH or connection.about.get("rows") else _cursor(connection, found)
            if name == "executescript":
                if not arguments or not isinstance(arguments[0], Const):
                    return run.widen("a script of SQL is not known before the event", where)
                for piece in pieces(str(arguments[0].value)):
                    statement(run, connection, Const(piece), None, where)
                return Const(None)
            if name == "cursor":
                return _cursor(connection, None)
            if name in _OUT_OF_POOL and value.kind == "connection":
                return value
            if name in ("transaction", "__enter__", "__aenter__"):
                return value if name != "transaction" else Handle("context", {"value": value})
            if name in (*_QUIET, "__exit__", "__aexit__"):
                return Const(None)
        rows: Value | None = value if value.kind == "rows" else value.about.get("last")
        if name in _FETCH_ONE:
            return either([first_row(rows), Const(None)]) if isinstance(rows, Handle) else Data()
        if name in (*_FETCH, "__iter__", "__aiter__"):
            return rows if isinstance(rows, Handle) else Items("list", [])
        if value.kind in ("row", "cell", "rows"):
            return Data(f"what {name} of a row gives") if name not in ("get",) else _row_get(value, arguments)
        return run.widen(f"{name} of a connection is not followed", where)

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if not isinstance(value, Handle) or value.kind not in _OURS:
            return None
        if name in ("rowcount", "changes", "total_changes", "lastrowid", "rownumber", "statusmessage"):
            connection = value if value.kind == "connection" else value.about.get("connection")
            if connection is not None:
                used(run, connection)
            return Data(f"{name} of a statement")
        if value.kind == "row" and name in (value.about["of"].about["of"].returns or {}):
            return cell(value.about["of"], name)
        if name in ("row_factory", "description", "autocommit", "isolation_level", "in_transaction"):
            return Data()
        return Handle("sql-method", {"of": value, "name": name})

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in _OURS and name in ("row_factory", "autocommit", "arraysize")

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in ("rows", "row", "cell", "cursor")


_OURS = ("connection", "cursor", "rows", "row", "cell")


def _given(connection: Handle, name: str, rest: Sequence[Value], named: Named) -> Value | None:
    """The parameters: one list or dict, or, for asyncpg, all that comes behind the text."""
    if connection.about["spread"] and name != "executemany":
        loose = [one.about["of"] if isinstance(one, Handle) and one.kind == "spread" else one for one in rest]
        spread = any(isinstance(one, Handle) and one.kind == "spread" for one in rest)
        return Items("tuple", None, either(loose)) if spread else Items("tuple", list(rest))
    names = ("parameters", "params", "bindings", "args", "vars", "seq_of_parameters", "operands")
    return rest[0] if rest else next((named[one] for one in names if one in named), None)


def _status(run: Run, connection: Handle) -> Value:
    """What asyncpg says of a statement that gives no rows: how many it has met."""
    if not run.kept.get(DISCARDED):
        used(run, connection)
    return Data("the status of a statement")


def _cursor(connection: Handle, rows: Value | None) -> Handle:
    return Handle("cursor", {"connection": connection, "last": rows})


def _row(rows: Value) -> Value:
    found = [
        rows_.about.setdefault("row", Handle("row", {"of": rows_})) if isinstance(rows_, Handle) else Data()
        for rows_ in options(rows)
    ]
    return either(found) or Data()


def first_row(rows: Value) -> Value:
    """One of the rows."""
    return _row(rows)


def _row_get(value: Handle, arguments: Arguments) -> Value:
    if value.kind == "row" and arguments and isinstance(arguments[0], Const):
        return cell(value.about["of"], str(arguments[0].value))
    return Data()
