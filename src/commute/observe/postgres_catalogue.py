"""The tables behind a connection of psycopg, from PostgreSQL's own catalogue: keys, views, triggers, what goes along.

Asked where a question cannot do harm: on the connection itself within a savepoint, so that it sees what its transaction
has done; on a connection apart, with short time limits, where that is asynchronous, busy or failed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from commute.observe.tables import Ask, Catalogue
from commute.sql.ddl import folded_by, kind_of, word_in
from commute.sql.plpgsql import NOT_FOLLOWED, statements
from commute.sql.schema import Collation, Column, ForeignKey, OnChange, Schema, Table, Trigger

DATABASES_MAX = 32  # whose catalogues are kept
_LIMITS = "SET lock_timeout = 500; SET statement_timeout = 5000"

_RELATIONS = """SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, pg_table_is_visible(c.oid),
  CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END,
  (SELECT i.inhparent::bigint FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1),
  EXISTS (SELECT 1 FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"""
_COLUMNS = """SELECT a.attrelid::bigint, a.attname::text, format_type(a.atttypid, NULL),
  coalesce(l.collisdeterministic, true), a.attidentity::text <> '', pg_get_expr(d.adbin, d.adrelid),
  a.attgenerated::text <> ''
FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
  AND a.attrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'p', 'm', 'f'))
ORDER BY a.attrelid, a.attnum"""
_NAMES = """ARRAY(SELECT a.attname::text FROM unnest({keys}) WITH ORDINALITY k(number, place)
  JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.number ORDER BY k.place)"""
_CONSTRAINTS = f"""SELECT o.conrelid::bigint, o.contype::text, {_NAMES.format(keys="o.conkey", table="o.conrelid")},
  o.confrelid::bigint, {_NAMES.format(keys="o.confkey", table="o.confrelid")}, o.confdeltype::text, o.confupdtype::text
FROM pg_constraint o WHERE o.conrelid <> 0 AND o.contype IN ('p', 'u', 'f', 'c') ORDER BY o.contype = 'p' DESC, o.oid"""
_INDEXES = f"""SELECT i.indrelid::bigint, {_NAMES.format(keys="i.indkey::int2[]", table="i.indrelid")},
  coalesce(pg_get_expr(i.indexprs, i.indrelid), ''), coalesce(pg_get_expr(i.indpred, i.indrelid), ''), i.indisunique,
  i.indisexclusion OR coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) OR EXISTS (
    SELECT 1 FROM unnest(i.indcollation::oid[]) own JOIN pg_collation l ON l.oid = own WHERE NOT l.collisdeterministic)
FROM pg_index i WHERE (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary ORDER BY i.indexrelid"""
_TRIGGERS = """SELECT t.tgrelid::bigint, p.prosrc, l.lanname::text FROM pg_trigger t
  JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang WHERE NOT t.tgisinternal ORDER BY t.oid"""

_lock = threading.Lock()
_catalogues: WeakKeyDictionary[Any, Catalogue] = WeakKeyDictionary()  # by connection
_by_database: dict[str, Catalogue] = {}
_asking: dict[str, Any] = {}  # connections apart, by database


def is_connection(raw: Any) -> bool:
    """Whether it is a connection of psycopg, sync or async."""
    library: Any = sys.modules.get("psycopg")
    return library is not None and isinstance(raw, library.Connection | library.AsyncConnection)


def catalogue_of(raw: Any) -> Catalogue:
    """One for all connections to a database by one user."""
    found = _catalogues.get(raw)
    if found is None:
        found = _catalogues[raw] = of_database(raw.info.dsn)
    return found


def of_database(name: str) -> Catalogue:
    """One for all connections that are called so, whatever their driver."""
    with _lock:
        if len(_by_database) >= DATABASES_MAX:
            _by_database.clear()
        return _by_database.setdefault(name, Catalogue(read))


def close_asking() -> None:
    """Nothing is asked any more."""
    with _lock:
        connections = [*_asking.values()]
        _asking.clear()
    for one in connections:
        one.close()


def question(raw: Any) -> Ask:
    """Runs a query, with ``?`` for its values, on what this connection sees."""

    def ask(sql: str, given: Sequence[object]) -> list[tuple[Any, ...]]:
        library: Any = sys.modules["psycopg"]
        text, status = sql.replace("%", "%%").replace("?", "%s"), raw.info.transaction_status
        states = library.pq.TransactionStatus
        usable = isinstance(raw, library.Connection) and not raw.pgconn.pipeline_status
        if usable and status == states.INTRANS:
            with raw.transaction():
                return _run(raw, text, given)
        if usable and status == states.IDLE and raw.autocommit:
            return _run(raw, text, given)
        return _run(_apart(raw), text, given)

    return ask


def _run(connection: Any, text: str, given: Sequence[object]) -> list[tuple[Any, ...]]:
    library: Any = sys.modules["psycopg"]
    with library.Cursor(connection, row_factory=library.rows.tuple_row) as cursor:
        return cursor.execute(text, tuple(given)).fetchall()  # type: ignore[no-any-return]


def _apart(raw: Any) -> Any:
    dsn = raw.info.dsn
    with _lock:
        found = _asking.get(dsn)
        if found is None or found.closed:
            if len(_asking) >= DATABASES_MAX:
                _asking.pop(next(iter(_asking))).close()
            library: Any = sys.modules["psycopg"]
            found = _asking[dsn] = library.connect(dsn, password=raw.info.password, autocommit=True)
            found.execute(_LIMITS)
        return found


def read(ask: Ask) -> Schema:
    """All tables that the connection may meet."""
    relations = ask(_RELATIONS, ())
    names = {
        oid: name if shown or space == "public" else f"{space}.{name}" for oid, space, name, _, shown, *_ in relations
    }
    columns: dict[int, dict[str, Column]] = {}
    loose: set[int] = set()
    for oid, name, type_, certain, identity, default, computed in ask(_COLUMNS, ()):
        generated = identity or any(
            word in (default or "") for word in ("nextval(", "gen_random_uuid(", "uuid_generate")
        )
        collation: Collation = "binary" if certain else "unknown"
        known = Column(name, kind_of(type_, "postgres"), collation, generated, default is not None)
        columns.setdefault(oid, {})[name] = known
        loose |= {oid} if computed else set()
    uniques, foreign, checked = _constraints(ask, names)
    for oid, plain, expression, condition, unique, more in ask(_INDEXES, ()):
        if unique:
            uniques.setdefault(oid, []).extend(_index(columns.get(oid, {}), plain, expression, condition))
        loose |= {oid} if expression or condition or more else set()
    triggers: dict[int, list[str]] = {}
    for oid, source, language in ask(_TRIGGERS, ()):
        triggers.setdefault(oid, []).append(statements(source) if language == "plpgsql" else NOT_FOLLOWED)
    tables: dict[str, Table] = {}
    for oid, space, name, _kind, shown, view, parent, ruled in relations:
        own = names[oid]
        stands_for = view if view is not None else _whole(names[parent]) if parent in names else None
        rules = [NOT_FOLLOWED] if ruled else []
        tables[own] = Table(
            own, columns.get(oid, {}), tuple(dict.fromkeys(uniques.get(oid, ()))), tuple(foreign.get(oid, ())),
            tuple(map(Trigger, (*triggers.get(oid, ()), *rules))), stands_for, frozenset(checked.get(oid, ())),
            oid in loose,
        )  # fmt: skip
        if shown and space != "public":
            tables[f"{space}.{name}"] = Table(f"{space}.{name}", {}, view=_whole(own))
    return Schema(tables, "postgres")


def _constraints(
    ask: Ask, names: dict[int, str]
) -> tuple[dict[int, list[tuple[str, ...]]], dict[int, list[ForeignKey]], dict[int, set[str]]]:
    uniques: dict[int, list[tuple[str, ...]]] = {}
    foreign: dict[int, list[ForeignKey]] = {}
    checked: dict[int, set[str]] = {}
    for oid, kind, own, other, theirs, on_delete, on_update in ask(_CONSTRAINTS, ()):
        if kind in ("p", "u"):
            uniques.setdefault(oid, []).append(tuple(own))
        elif kind == "c":
            checked.setdefault(oid, set()).update(own)
        elif other in names:
            key = ForeignKey(tuple(own), names[other], tuple(theirs), _on(on_delete), _on(on_update))
            foreign.setdefault(oid, []).append(key)
    return uniques, foreign, checked


def _on(rule: str) -> OnChange:
    return "write" if rule in ("c", "n", "d") else "nothing"  # cascade, set null, set default


def _index(columns: dict[str, Column], plain: list[str], expression: str, condition: str) -> list[tuple[str, ...]]:
    """The columns that a unique index tells rows apart by, with and without those of its condition. One in an
    expression compares more coarsely from now on."""
    inside = [name for name in columns if expression and word_in(name, expression)]
    for name in inside:
        folds: Collation = "nocase" if expression in (f"lower({name})", f"lower(({name})::text)") else "unknown"
        columns[name] = folded_by(columns[name], folds)
    found = (*plain, *inside)
    return [
        found,
        tuple(dict.fromkeys((*found, *(name for name in columns if condition and word_in(name, condition))))),
    ]


def _whole(name: str) -> str:
    quoted = ".".join(f'"{part}"' for part in name.split("."))
    return f"SELECT * FROM {quoted}"
