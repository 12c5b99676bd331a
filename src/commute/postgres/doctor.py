"""What is right and wrong with a PostgreSQL store: nothing is changed, and no worker is disturbed."""

from __future__ import annotations

import time
from typing import Any

from commute.errors import NotReachableError, UsageError
from commute.postgres.address import Address, parse
from commute.postgres.connection import Settings, client
from commute.postgres.store import VERSION
from commute.transports.finding import Finding, good, problem, warning

_OLDEST = 130_000  # PostgreSQL 13
_CLOCK_S_MAX = 2.0
_REFUSED = "FATAL:"
_CONNECTIONS_MIN = 20  # that should be free: each worker takes some for blocks and reading


def examine(url: str) -> list[Finding]:
    """Blocks for a moment. Raises UsageError (``db-url``: also of a user, password or database that is refused,
    ``no-extra``), NotReachableError."""
    address = parse(url)
    try:
        connection = Settings(address, transaction_s_max=5.0, vanished_s=15.0).connect()
    except NotReachableError as error:
        # The client library gives no code of what the server said, and whoever is refused has reached it.
        _, _, said = str(error).partition(_REFUSED)
        if not said:
            raise
        raise UsageError(f"{address.shown} refuses the connection ({said.strip()}): look at user, password, database "
                         "and the server's pg_hba.conf", slug="db-url") from error  # fmt: skip
    try:
        raw = connection.raw
        return [*_server(raw), *_tables(raw, address), *_clock(raw)]
    finally:
        connection.close()


def _server(raw: Any) -> list[Finding]:
    number, text = raw.execute("select current_setting('server_version_num')::int, version()").fetchone()
    shown = str(text).split(",")[0]
    found = [good("version", shown)]
    if number < _OLDEST:
        found = [warning("version", shown, "13 and later are tested")]
    most, used = raw.execute(
        "select current_setting('max_connections')::int, (select count(*) from pg_stat_activity)::int"
    ).fetchone()
    if most - used < _CONNECTIONS_MIN:
        found.append(warning("connections", f"{used} of {most} are in use", "raise max_connections, or lower "
                             "transactions_max of the workers"))  # fmt: skip
    else:
        found.append(good("connections", f"{used} of {most} are in use"))
    ((sync,),) = raw.execute("select current_setting('synchronous_commit')").fetchall()
    if sync == "off":
        found.append(problem("durability", "synchronous_commit is off: what was confirmed is lost when the server "
                             "crashes", "set synchronous_commit = on for the database or the user"))  # fmt: skip
    return found


def _tables(raw: Any, address: Address) -> list[Finding]:
    create = f"commute doctor {address.shown} --create, or --create --sql for the one who may"
    try:
        rows = raw.execute(f"select version from {address.schema}.commute_version").fetchall()
    except client().errors.InsufficientPrivilege:
        raw.rollback()
        return [problem("rights", f"this user may not read schema {address.schema}", f"grant it, or {create}")]
    except client().Error:
        raw.rollback()
        return [problem("tables", f"there are none in schema {address.schema}", create)]
    version = rows[0][0] if rows else None
    if version != VERSION:
        return [problem("tables", f"schema {address.schema} is of version {version}, and this is {VERSION}", create)]
    ((may,),) = raw.execute(
        "select bool_and(has_table_privilege(c.oid, 'select, insert, update, delete')) from pg_class c join "
        "pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relkind = 'r'", (address.schema,),
    ).fetchall()  # fmt: skip
    if not may:
        return [problem("rights", f"this user may not write all tables of schema {address.schema}",
                        f"grant select, insert, update, delete on all tables in schema {address.schema}")]  # fmt: skip
    dead = dict(raw.execute(f"select status, count(*) from {address.schema}.dead group by 1").fetchall())
    shown = ", ".join(f"{count} {status}" for status, count in sorted(dead.items())) or "no dead letters"
    return [good("tables", f"in schema {address.schema}; {shown}")]


def _clock(raw: Any) -> list[Finding]:
    before_s = time.time()
    ((there_s,),) = raw.execute("select extract(epoch from clock_timestamp())::float8").fetchall()
    apart_s = float(there_s) - (before_s + time.time()) / 2
    if abs(apart_s) <= _CLOCK_S_MAX:
        return [good("clock", "the same as this machine's")]
    return [warning("clock", f"{apart_s:+,.1f} s from this machine's", "set both clocks by NTP")]
