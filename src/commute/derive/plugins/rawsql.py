"""SQL in text: connections and cursors of drivers, and the blocks of the store. What comes back knows which row it
is of.

A value that was read can be a key later only where it is known which row that is: it was found by that very value,
or the same table is looked up by the column that was read (`Handle` of kind ``cell``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from commute.derive.plugins import last_run
from commute.derive.plugins import parameters as parameters_of
from commute.derive.plugins.bulk import FUNCTIONS, execute_many
from commute.derive.plugins.drivers import CONNECTS, DRIVERS, opened, opens
from commute.derive.plugins.mosaics import DEFINES, touch_instead
from commute.derive.plugins.parameters import Sent
from commute.derive.python import expressions
from commute.derive.python.asked import ask
from commute.derive.reading import as_read
from commute.derive.run import Arguments, KeyAccess, Named, Run, TableAccess
from commute.derive.trusted import names_of
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
    Mosaic,
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

# One row that is new, or the statement fails.
_ADDS_ONE = re.compile(
    r"\s*INSERT\s+INTO\b(?!.*\b(?:CONFLICT|DUPLICATE|SELECT|WITH|IGNORE|REPLACE)\b)(?!.*\)\s*,\s*\().*", re.I | re.S
)
DISCARDED = "discarded"  # set by a run while a call is made whose result nobody looks at
SCHEMA = "schema"  # the key of which tables there are
DDL = "ddl"  # under which a run keeps the definitions that it came by


def statement(
    run: Run, connection: Handle, text: Value, parameters: Value | None, where: str, *, many: bool = False,
    bound: Sent | None = None,
) -> Value:  # fmt: skip
    """Add what a statement touches, and return its rows. `parameters` None: there are none. `bound`: what is sent for
    the value of a parameter by name, itself where nothing is said."""
    schema: Schema = connection.about["schema"]
    found: list[Value] = []
    if parameters is not None:
        ask(run, parameters, where, ("__conform__",))
    if many and parameters is not None:
        parameters = expressions.element(run, parameters, where) or Items("tuple", [])
    for option in options(text):
        if isinstance(option, Mosaic):
            found.append(_of_pieces(run, connection, option.pieces, where, "the text of an SQL statement is not known"))
            continue
        if isinstance(option, Assembled):
            sent = parameters_of.counted(option, parameters, bound or _itself)
            found.append(_assembled(run, connection, option.text, parameters, where, sent))
            continue
        if not isinstance(option, Const) or not isinstance(option.value, str):
            return run.widen(
                "the text of an SQL statement is not known before the event", where,
                "write the names of tables and columns out, and give values as parameters",
            )  # fmt: skip
        fits = parameters
        if SEVERAL in option.value:
            fits = parameters_of.loose(run, parameters, option.value, SEVERAL, schema.dialect)
            option = Const(option.value.replace(SEVERAL, ""))
        else:
            fits = parameters_of.fitting(run, parameters, option.value, schema.dialect)
        if DEFINES.match(option.value):
            run.kept.setdefault(DDL, []).append(option.value)
            run.add(KeyAccess("add", (Const(SCHEMA),), where))
        summary = summarize(option.value, schema, connection.about["version"])
        if summary.unknown is not None:
            found.append(_of_pieces(run, connection, [option.value], where, summary.unknown))
            continue
        found.append(_touch(run, connection, summary, option.value, fits, where, bound or _itself))
    return either(found) or Data()


def _assembled(run: Run, connection: Handle, text: str, parameters: Value | None, where: str, bound: Sent) -> Value:
    """A statement of which pieces may be left out touches no more than with all of them. Its rows are not followed."""
    whole = text.replace(SOME, "").replace(SEVERAL, "")
    schema: Schema = connection.about["schema"]
    summary = summarize(whole, schema, connection.about["version"])
    if summary.unknown is not None:
        return _of_pieces(run, connection, [whole], where, summary.unknown)
    _touch(
        run, connection, summary, whole, parameters_of.loose(run, parameters, text, SOME, schema.dialect), where, bound
    )
    return Data("rows of a statement with some of several pieces")


def _of_pieces(run: Run, connection: Handle, pieces: Sequence[str], where: str, why: str) -> Value:
    def touch(summary: Statement, text: str) -> None:
        _touch(run, connection, summary, text, None, where, _itself)

    return touch_instead(run, connection, pieces, where, why, touch)


_MEETS = re.compile(r"\b(?:CONFLICT|DUPLICATE|REPLACE)\b", re.IGNORECASE)  # an INSERT that may change a row


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
    gives = Handle("rows", {"of": summary, "accesses": accesses, "added": bool(_ADDS_ONE.fullmatch(text))})
    found: Value = run.kept.setdefault(key, gives)
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
    return _column_of(rows, *origin)


def _column_of(rows: Handle, table: str, column: str) -> Value:
    access = access_of(rows.about["accesses"], table)
    if access is None:
        return Data(f"column {column}")
    if access.rows is not None and len(access.rows) == 1 and column in access.rows[0]:
        known = either(access.rows[0][column])
        if known is not None and not isinstance(known, Data) and not is_stored(known):
            read = as_read(known, access, column)
            if read is not None:
                return read
    one = access.rows is not None and len(access.rows) == 1 and column not in access.rows[0]
    of = access.schema.table(table)
    made = of is not None and column in of.columns and of.columns[column].generated
    return Handle("cell", {"access": access, "column": column, "own": rows.about["added"] and one and made})


def _added_key(rows: Value | None) -> Value:
    """What ``lastrowid`` is behind an INSERT of one row: the key that the database has made up for it."""
    found: list[Value] = []
    for option in options(rows) if rows is not None else ():
        added = option.about["accesses"] if isinstance(option, Handle) and option.about.get("added") else ()
        inserts = [one for one in added if one.touch.kind == "insert"]
        table = inserts[0].schema.table(inserts[0].touch.table) if len(inserts) == 1 else None
        if table is None or len(table.primary_key) != 1 or not isinstance(option, Handle):
            return Data("the number of a row")
        key = _column_of(option, table.name, table.primary_key[0])
        if not (isinstance(key, Handle) and key.about["own"]):
            return Data("the number of a row")
        found.append(key)
    return either(found) or Data("the number of a row")


def access_of(accesses: Sequence[TableAccess], table: str) -> TableAccess | None:
    """The access by which a statement's rows of a table were found; None where several may have."""
    found = [
        one for one in accesses if one.touch.table == table and one.touch.kind not in ("unique", "parent", "child")
    ]
    return found[0] if len({one.signature for one in found}) == 1 else None


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
        if module not in DRIVERS or not opens(cls):
            return None
        known: Value | None = run.kept.get(("connection", id(thing)))
        if known is None:
            known = run.kept[("connection", id(thing))] = opened(run, thing, module)
        return known

    def instance(self, run: Run, cls: type) -> Value | None:
        """What is annotated so: a connection, or a pool of them, of which no more is known."""
        module = cls.__module__.split(".")[0]
        if module not in DRIVERS or not opens(cls):
            return None
        known: Value | None = run.kept.get(("connection", cls))
        if known is None:
            known = run.kept[("connection", cls)] = opened(run, None, module)
        return known

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        made = function.function if isinstance(function, Bound) else function
        if isinstance(made, Live) and not isinstance(made.value, Handle):
            thing = made.value
            module = str(getattr(thing, "__module__", None) or getattr(thing, "__qualname__", "")).split(".")[0]
            name = str(getattr(thing, "__name__", ""))
            if module in DRIVERS and (opens(thing) if isinstance(thing, type) else name.lower() in CONNECTS):
                file = arguments[0] if arguments else named.get("database", named.get("filename"))
                key = ("opened", where, tuple(run.sites), module)
                found: Handle = run.kept.get(key) or run.kept.setdefault(key, opened(run, None, module, file))
                return found
            dotted = names_of(thing)[0]
            if dotted in FUNCTIONS:
                many = partial(self._execute_many, run, where)
                return execute_many(dotted, arguments, named, many)
        if not isinstance(function, Handle):
            return _same_number(function, arguments)
        if function.kind == "sql-method":
            return self._method(run, function.about["of"], function.about["name"], arguments, named, where)
        if function.kind == "set-item" and isinstance(arguments[0], Handle) and arguments[0].kind == "cell":
            return Const(None) if is_harmless(arguments[2]) else None  # of what was read
        if function.kind == "entries" and isinstance(arguments[0], Handle) and arguments[0].kind == "row":
            return _entries(arguments[0])
        if function.kind in ("item", "iterate") and arguments and isinstance(arguments[0], Handle):
            return self._inside(run, arguments[0], function.kind, arguments)
        if function.kind == "operator" and any(isinstance(one, Handle) and one.kind in _OURS for one in arguments):
            return Data("a condition on rows")
        return None

    def _execute_many(self, run: Run, where: str, cursor: Value, text: Value, rows: Value) -> Value:
        if not isinstance(cursor, Handle) or cursor.kind not in ("connection", "cursor"):
            return run.widen("a cursor that is not known runs a statement", where)
        return self._method(run, cursor, "executemany", [text, rows], {}, where) or Data()

    def _inside(self, run: Run, value: Handle, kind: str, arguments: Arguments) -> Value | None:
        if value.kind == "rows" or value.kind == "cursor":
            rows = value if value.kind == "rows" else last_run.last(run, value)
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
        if value.kind == "described" and kind == "item":
            return Const(value.about["name"]) if arguments[1] == Const(0) else Data("what a column is")
        return Data("a part of a value") if value.kind in ("cell", "described") else None

    def _method(
        self, run: Run, value: Handle, name: str, arguments: Arguments, named: Named, where: str
    ) -> Value | None:
        if value.kind in ("connection", "cursor"):
            connection = value if value.kind == "connection" else value.about["connection"]
            if name in _EXECUTE and (arguments or "query" in named or "sql" in named):
                text, *rest = arguments or [named.get("query", named.get("sql", Data()))]
                given = _given(connection, name, rest, named)
                found = statement(run, connection, text, given, where, many=name == "executemany")
                for one in (connection, value):
                    last_run.note(run, one, found)
                if name in _FETCH_ONE:
                    return either([first_row(found), Const(None)]) or Data()
                if name == "execute_insert":
                    used(run, connection)
                if connection.about["spread"] and name == "execute":
                    return _status(run, connection)
                if name in _FETCH or connection.about.get("rows"):
                    return found
                if value.kind == "cursor" and connection.about["schema"].dialect == "mysql":
                    return _status(run, connection)
                return value if value.kind == "cursor" else _cursor(run, connection, found, where)
            if name == "executescript":
                if not arguments or not isinstance(arguments[0], Const):
                    return run.widen("a script of SQL is not known before the event", where)
                for piece in pieces(str(arguments[0].value)):
                    statement(run, connection, Const(piece), None, where)
                return Const(None)
            if name == "cursor":
                return _cursor(run, connection, None, where)
            if name in _OUT_OF_POOL and value.kind == "connection":
                return value
            if name in ("transaction", "__enter__", "__aenter__"):
                return value if name != "transaction" else Handle("context", {"value": value})
            if name in (*_QUIET, "__exit__", "__aexit__"):
                return Const(None)
        rows: Value | None = value if value.kind == "rows" else last_run.last(run, value)
        if name in _FETCH_ONE:
            return either([first_row(rows), Const(None)]) if rows is not None else Data()
        if name in (*_FETCH, "__iter__", "__aiter__"):
            return rows if rows is not None else Items("list", None, Data("rows of an earlier statement"))
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
            if name == "lastrowid":
                return _added_key(last_run.last(run, value))
            return Data(f"{name} of a statement")
        if value.kind == "row" and name in (value.about["of"].about["of"].returns or {}):
            return cell(value.about["of"], name)
        if name == "description":
            return _described(last_run.last(run, value))
        if value.kind == "described":
            return Const(value.about["name"]) if name == "name" else Data(f"{name} of a column")
        if name in ("row_factory", "autocommit", "isolation_level", "in_transaction"):
            return Data()
        return Handle("sql-method", {"of": value, "name": name})

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in _OURS and name in ("row_factory", "autocommit", "arraysize")

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in ("rows", "row", "cell", "cursor", "described")


_OURS = ("connection", "cursor", "rows", "row", "cell", "described")


def _same_number(function: Value, arguments: Arguments) -> Value | None:
    """``int(row["id"])`` of a column of whole numbers is what stands there."""
    if not isinstance(function, Live) or function.value is not int or len(arguments) != 1:
        return None
    cells = [one for one in options(arguments[0]) if one != Const(None)]  # which raises
    return either(cells) if cells and all(map(_is_number, cells)) else None


def _is_number(value: Value) -> bool:
    if not isinstance(value, Handle) or value.kind != "cell":
        return False
    table = value.about["access"].schema.table(value.about["access"].touch.table)
    column = None if table is None else table.columns.get(value.about["column"])
    return column is not None and column.kind == "int"


def _given(connection: Handle, name: str, rest: Sequence[Value], named: Named) -> Value | None:
    """The parameters: one list or dict, or, for asyncpg, all that comes behind the text."""
    if connection.about["spread"] and name != "executemany":
        if len(rest) == 1 and isinstance(rest[0], Handle) and isinstance(rest[0].about.get("whole"), Items):
            return cast("Items", rest[0].about["whole"])
        loose = [one.about["of"] if isinstance(one, Handle) and one.kind == "spread" else one for one in rest]
        spread = any(isinstance(one, Handle) and one.kind == "spread" for one in rest)
        return Items("tuple", None, either(loose)) if spread else Items("tuple", list(rest))
    names = ("parameters", "params", "bindings", "args", "vars", "seq_of_parameters", "operands")
    return rest[0] if rest else next((named[one] for one in names if one in named), None)


def _status(run: Run, connection: Handle) -> Value:
    """What asyncpg says of a statement that gives no rows, and cursors of MySQL of each: how many it has met."""
    if not run.kept.get(DISCARDED):
        used(run, connection)
    return Data("the status of a statement")


def _cursor(run: Run, connection: Handle, rows: Value | None, where: str) -> Handle:
    """One for each place and way to it: a loop that comes by again has the same."""
    key = ("cursor", where, tuple(run.sites), id(connection))
    cursor: Handle = run.kept.setdefault(key, Handle("cursor", {"connection": connection}))
    if rows is not None:
        last_run.note(run, cursor, rows)
    return cursor


def _row(rows: Value) -> Value:
    found = [
        rows_.about.setdefault("row", Handle("row", {"of": rows_})) if isinstance(rows_, Handle) else Data()
        for rows_ in options(rows)
    ]
    return either(found) or Data()


def first_row(rows: Value) -> Value:
    """One of the rows."""
    return _row(rows)


def _described(rows: Value | None) -> Value:
    """``cursor.description``: the names of the columns, where they are known."""
    names = rows.about["of"].names if isinstance(rows, Handle) and rows.kind == "rows" else ()
    if not names or not all(names):
        return Data("descriptions of columns")
    return Items("list", [Handle("described", {"name": one}) for one in names])


def _entries(row: Handle) -> Entries:
    """``dict(row)``, by the names of the columns as far as they are known."""
    rows = row.about["of"]
    names = rows.about["of"].names
    known: dict[object, Value] = {name: cell(rows, name) for name in names if name}
    whole = bool(names) and len(known) == len(names)
    # A name may be spelled in another case there than the schema has it.
    return Entries(known, grows=True) if whole else Entries(known, Data("a column"), Data("a name of a column"))


def _row_get(value: Handle, arguments: Arguments) -> Value:
    if value.kind == "row" and arguments and isinstance(arguments[0], Const):
        return cell(value.about["of"], str(arguments[0].value))
    return Data()
