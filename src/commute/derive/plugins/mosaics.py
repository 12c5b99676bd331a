"""SQL of which only the pieces are known, or which the parser does not understand: which tables it may touch.

    "SELECT * FROM a" + " JOIN b ON …"? + " WHERE x = ?"? …     any row of a and of b is read
    "UPDATE a SET …"                                            any row of a is changed, in any way

Each table is touched as by statements that are understood, so its views, triggers and children come along. Where a
name may be missed there is no answer: a definition, a call of a procedure, a function that is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from commute.derive.run import Run
from commute.derive.values import Data, Handle, Value
from commute.sql.ddl import fold
from commute.sql.functions import quiet
from commute.sql.parse import summarize
from commute.sql.schema import Schema
from commute.sql.statement import Statement

DEFINES = re.compile(r"\s*CREATE\b", re.IGNORECASE)

_PLAIN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE)\b(?:\s+OF\s+\w+)?|\bDO\s+UPDATE\b|\bON\s+UPDATE\b", re.I)
_NAME = r"((?:[\"`\[]?\w+[\"`\]]?\s*\.\s*)?[\"`\[]?\w+[\"`\]]?)"
_TABLE = re.compile(
    rf"\b(?:FROM|JOIN|INTO|UPDATE|USING)\s+(?:(?:ONLY|LATERAL|IGNORE|LOW_PRIORITY|OR\s+\w+)\s+)*{_NAME}", re.IGNORECASE
)
_OPEN = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|DELETE|INSERT|USING|TABLE|ONLY|CALL)\s*$", re.IGNORECASE)
_LIST = re.compile(rf"\b(?:FROM|JOIN)\s+{_NAME}(?:\s+(?:AS\s+)?\w+)?\s*,", re.IGNORECASE)
_INTO = re.compile(r"\bINTO\s+(?:\w+\s*\.\s*)?([\"`]?\w+[\"`]?)\s*\(", re.IGNORECASE)
_INSERTS = frozenset(["insert", "replace", "ignore", "abort", "fail", "rollback", "low_priority", "delayed"])
_MORE = re.compile(r"^\s*,\s*[\"`\[]?\w+[\"`\]]?(?:\s+(?:AS\s+)?\w+)?\s*(?:$|\b(?:WHERE|ON|JOIN)\b)", re.IGNORECASE)
_GOES_ON = re.compile(r"[\w.\"`\[]")
_CTE = re.compile(r"\b(\w+)\s*(?:\([\w\s,]*\)\s*)?AS\s+(?:NOT\s+)?(?:MATERIALIZED\s+)?\(", re.IGNORECASE)
_NEVER = re.compile(
    r"\b(?:CREATE|ALTER|DROP|TRUNCATE|CALL|EXEC|EXECUTE|COPY|PRAGMA|ATTACH|DETACH|VACUUM|GRANT|REVOKE|MERGE|LOAD"
    r"|HANDLER|OUTFILE|DUMPFILE|NOTIFY|LISTEN|DO\s+\$|REINDEX|REFRESH|LOCK)\b|;\s*\S",
    re.IGNORECASE,
)
_CHANGES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE)\b(?!\s*\()", re.IGNORECASE)
_CALLED = re.compile(r"\b(\w+)\s*\(")
# What stands before a bracket and is no function.
_WORDS = frozenset(
    [
        *("in", "values", "exists", "and", "or", "not", "on", "as", "any", "all", "some", "select", "from", "where"),
        *("join", "using", "set", "into", "by", "over", "filter", "within", "then", "else", "when", "case", "union"),
        *("except", "intersect", "having", "limit", "offset", "conflict", "key", "returning", "between", "like", "is"),
        *("varchar", "char", "decimal", "numeric", "interval", "lateral", "with", "distinct", "end", "materialized"),
    ]
)


def touch_instead(
    run: Run, connection: Handle, pieces: Sequence[str], where: str, why: str, touch: Callable[[Statement, str], object]
) -> Value:
    """Have `touch` add what a statement of these pieces may touch; where that is not seen, it is not followed."""
    schema: Schema = connection.about["schema"]
    whole = "…".join(pieces)
    instead = _stand_ins(pieces, schema)
    if instead is None:
        remedy = "" if DEFINES.match(whole) else "write it so that its tables can be told"
        return run.widen(f"{why}: {short(whole)}", where, remedy)
    for text in instead:
        summary = summarize(text, schema, connection.about["version"])
        if summary.unknown is not None:
            return run.widen(f"{summary.unknown}: {short(text)}", where)
        touch(summary, text)
    return Data("rows of a statement of which only the tables are known")


def short(text: str) -> str:
    """A text in a message."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _stand_ins(pieces: Sequence[str], schema: Schema) -> list[str] | None:
    """Statements that touch all that a statement of these pieces may touch; None where that is not seen."""
    texts = [_LOCKS.sub(" ", _PLAIN.sub("''", piece)) for piece in pieces]
    if any(map(_may_hide, texts)) or (any(map(_ends_in_name, texts)) and any(map(_GOES_ON.match, texts))):
        return None
    called = {found[1].lower() for one in texts for found in _CALLED.finditer(one)}
    hidden = {found[1].lower() for one in texts for found in _CTE.finditer(one)}
    into = {found[1].strip('"`').lower() for one in texts for found in _INTO.finditer(one)}
    if not called - hidden - into <= quiet() | _WORDS:
        return None
    named = {_folded(found[1], schema.dialect) for one in texts for found in _TABLE.finditer(one)}
    words = {word.lower() for one in texts for word in re.findall(r"\w+", one)}
    tables = {name for name in named if name.lower() not in (*hidden, "set", "select")}
    tables |= {name for name in schema.tables if name.rpartition(".")[2].lower() in words}
    if not tables:
        return None
    changed = any(map(_CHANGES.search, texts))
    return [text for name in sorted(tables) for text in _all_of(name, schema, changed=changed)]


def _may_hide(text: str) -> bool:
    """Whether a piece does more than to read and to change rows, or a table is named in another one."""
    parts = (_NEVER, _OPEN, _LIST, _MORE)
    loose = [found[1].lower() for found in re.finditer(r"(\w*)\s*\bINTO\b", text, re.IGNORECASE)]
    return any(part.search(text) for part in parts) or "'" in text.replace("''", "") or not set(loose) <= _INSERTS


def _ends_in_name(text: str) -> bool:
    return any(found.end() == len(text) for found in _TABLE.finditer(text))


def _folded(name: str, dialect: str) -> str:
    """The name of a table as the schema has it."""
    parts = [part.strip() for part in name.split(".")]
    return ".".join(fold(part.strip('"`[]'), dialect, quoted=part.startswith('"')) for part in parts)


def _all_of(name: str, schema: Schema, *, changed: bool) -> list[str]:
    """Statements that touch any row of a table, in any way."""
    quoted = ".".join(f'"{part}"' if schema.dialect != "mysql" else f"`{part}`" for part in name.split("."))
    reads = [f"SELECT * FROM {quoted}"]
    table = schema.table(name)
    if not changed or (table is not None and table.view is not None):
        return reads
    columns = list(table.columns) if table is not None else []
    mark = "`" if schema.dialect == "mysql" else '"'
    sets = ", ".join(f"{mark}{column}{mark} = abs('x')" for column in columns)
    return [
        *reads,
        f"DELETE FROM {quoted}",
        f"INSERT INTO {quoted} SELECT * FROM {quoted}",
        *([f"UPDATE {quoted} SET {sets}"] if sets else []),
    ]
