"""The plug-in for the package ``databases``: SQL in text, with parameters by name."""

from __future__ import annotations

from commute.derive.plugins.drivers import connection_of, known_tables
from commute.derive.plugins.rawsql import DISCARDED, first_row, statement, used
from commute.derive.run import Arguments, Named, Run
from commute.derive.values import Assembled, Const, Data, Handle, Live, Value, either, options

_DIALECTS = {"sqlite": "sqlite", "postgresql": "postgres", "postgres": "postgres", "mysql": "mysql"}
_FETCHES = ("fetch_all", "fetch_one", "fetch_val", "iterate", "execute", "execute_many")
_QUIET = ("connect", "disconnect", "__aexit__", "start", "commit", "rollback")


class Databases:
    """See the module. A handle of kind ``databases`` is a database, or a connection of one."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        cls = type(thing)
        if cls.__module__.split(".")[0] != "databases":
            return None
        if cls.__name__ == "Transaction":
            return Handle("context", {"value": Const(None), "swallows": False})
        url = str(getattr(thing, "url", None) or getattr(getattr(thing, "_database", None), "url", ""))
        return _opened(run, url) if cls.__name__ in ("Database", "Connection") else None

    def instance(self, run: Run, cls: type) -> Value | None:
        """What is annotated so: which database it is, nobody says."""
        return None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if isinstance(function, Live) and isinstance(function.value, type):
            cls = function.value
            if cls.__module__.split(".")[0] != "databases" or cls.__name__ != "Database":
                return None
            url = (arguments or [named.get("url", Data())])[0]
            return _opened(run, str(url.value)) if isinstance(url, Const) else None
        if not isinstance(function, Handle) or function.kind != "databases-method":
            return None
        return _method(run, function.about["of"], function.about["name"], arguments, named, where)

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if not isinstance(value, Handle) or value.kind != "databases":
            return None
        if name in ("is_connected", "url", "options"):
            return Data(f"{name} of a database")
        return Handle("databases-method", {"of": value, "name": name})

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind == "databases"


def _opened(run: Run, url: str) -> Handle | None:
    dialect = _DIALECTS.get(url.partition(":")[0].partition("+")[0])
    if dialect is None:
        return None
    key = ("databases", url)
    made: Handle = run.kept.setdefault(
        key, Handle("databases", {"connection": connection_of(known_tables(run, dialect), dialect)})
    )
    return made


def _method(run: Run, database: Handle, name: str, arguments: Arguments, named: Named, where: str) -> Value:
    if name in ("connection", "__aenter__"):
        return database
    if name == "transaction":
        return Handle("context", {"value": Const(None), "swallows": False})
    if name in _QUIET:
        return Const(None)
    query = (arguments or [named.get("query", Data())])[0]
    text = all(isinstance(one, Const | Assembled) for one in options(query))
    if name not in _FETCHES or not text:
        return run.widen(f"{name} of a database with what is no text is not followed", where, "write the SQL as text")
    many = name == "execute_many"
    values = arguments[1] if len(arguments) > 1 else named.get("values")
    connection: Handle = database.about["connection"]
    found = statement(run, connection, query, None if values == Const(None) else values, where, many=many)
    if name == "fetch_one":
        return either([first_row(found), Const(None)]) or Data()
    if name in ("fetch_all", "iterate"):
        return found
    if name == "execute" and not run.kept.get(DISCARDED):
        used(run, connection)
    return Data(f"what {name} gives")
