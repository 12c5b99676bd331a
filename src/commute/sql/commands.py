"""Statements that are no query and no change of rows: settings of the transaction, locks, messages, TRUNCATE, COPY.

SET LOCAL lock_timeout = '2s'      nothing       of this connection, or of this transaction alone
LOCK TABLE orders IN … MODE        orders        as a write: whoever locks it wants to be alone with it
NOTIFY orders, 'paid'              `notify`      who listens sees a sequence
TRUNCATE orders                    orders, and what refers to it
COPY orders FROM STDIN             orders, as an INSERT of unknown rows
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

from commute.sql.change import emptied, insert
from commute.sql.ddl import fold, name_of
from commute.sql.functions import NOTIFY
from commute.sql.schema import Schema
from commute.sql.statement import Touch

# Not among them: what changes which tables a name means, or what a role may see (search_path, role).
_QUIET = re.compile(
    r"""\s*(?:
      BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE|START\s+TRANSACTION|UNLOCK\s+TABLES|LISTEN|UNLISTEN
    | PRAGMA(?!\s+(?:\w+\.)?(?:user_|appl))
    | SET\s+(?:GLOBAL\s+|SESSION\s+)?(?:SESSION\s+CHARACTERISTICS|TRANSACTION|CONSTRAINTS|NAMES|TIME\s+ZONE)
    | SET\s+(?:LOCAL\s+|SESSION\s+)?(?:statement_timeout|lock_timeout|idle_in_transaction_session_timeout|timezone
      |transaction_timeout|application_name|client_encoding|synchronous_commit|work_mem|autocommit
      |innodb_lock_wait_timeout|max_execution_time|datestyle|jit)\b
    | SET\s+LOCAL\s+\w+\.\w+\b
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_NOTIFY = re.compile(r"\s*NOTIFY\b", re.IGNORECASE)
_LOCK = re.compile(
    r"\s*LOCK\s+(?:TABLES?\s+)?(?P<names>[\w.\"`]+(?:\s+(?:READ|WRITE))?(?:\s*,\s*[\w.\"`]+(?:\s+(?:READ|WRITE))?)*)"
    r"(?:\s+IN\s+[\w\s]+?\s+MODE)?(?:\s+NOWAIT)?\s*;?\s*$",
    re.IGNORECASE,
)
_MORE = re.compile(r";\s*\S")  # another statement behind the first one


def command(text: str, dialect: str) -> tuple[Touch, ...] | None:
    """What a statement without a tree touches; None where it is none of these."""
    if _MORE.search(text):
        return None
    if _QUIET.match(text):
        return ()
    if _NOTIFY.match(text):
        return (Touch(NOTIFY, "write", "resource", None),)
    locked = _LOCK.match(text)
    if locked is None:
        return None
    names = [each.split()[0] for each in re.split(r"\s*,\s*", locked["names"])]
    return tuple(Touch(_plain(name, dialect), "write", "lock", None) for name in names)


def _plain(name: str, dialect: str) -> str:
    parts = [fold(part.strip('"`'), dialect, quoted=part.startswith('"')) for part in name.split(".")]
    return ".".join(parts)


def touched(tree: exp.Expr, schema: Schema) -> Iterator[Touch]:
    """What TRUNCATE and COPY touch; queries inside of a COPY are told elsewhere."""
    if isinstance(tree, exp.TruncateTable):
        cascade = str(tree.args.get("option") or "").upper() == "CASCADE"
        for table in tree.expressions:
            name = name_of(table, schema.dialect)
            yield from emptied(name, schema, {name}, cascade=cascade)
    elif isinstance(tree, exp.Copy) and not isinstance(tree.this, exp.Subquery):
        table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        name = name_of(table, schema.dialect)
        if tree.args.get("kind"):
            unknown = exp.Insert(this=tree.this.copy(), expression=exp.Placeholder())
            yield from insert(unknown, name, schema)
        else:
            yield Touch(name, "read", "select", None)
