"""The tables of a PostgreSQL store, made on purpose: by a person with the right to do so, not by a worker.

`create` runs what `script` says; where that is not for the application to do, hand the script to whoever may.
"""

from __future__ import annotations

from commute.postgres.address import parse
from commute.postgres.connection import Settings, client, explained
from commute.postgres.ownership import TABLE as OWNERS
from commute.postgres.sql import of_ours
from commute.postgres.store import VERSION
from commute.store.schema import SCHEMA as STORE
from commute.transports.rows import SCHEMA as LOG

_EXTRA = """
create table if not exists commute_version (version integer primary key);
create index if not exists inbox_place on inbox (scope, partition, position);
"""


def script(url: str) -> str:
    """SQL that makes all tables in the URL's schema, and changes nothing where they are there. Raises UsageError."""
    schema = parse(url).schema
    whole = "\n".join((STORE, LOG, OWNERS, _EXTRA))
    statements = [of_ours(one.strip(), schema) for one in whole.split(";") if one.strip()]
    return ";\n".join(
        (
            f"create schema if not exists {schema}",
            *statements,
            f"insert into {schema}.commute_version (version) select {VERSION} "
            f"where not exists (select 1 from {schema}.commute_version);\n",
        )
    )


def create(url: str) -> None:
    """Make the schema and its tables, in one transaction; harmless where they are there. Blocks.

    Raises UsageError (``db-url``, ``no-extra``), NotReachableError, StoreError (``database-rights``).
    """
    connection = Settings(parse(url), transaction_s_max=60.0, vanished_s=15.0).connect()
    try:
        connection.raw.execute(f"begin;\n{script(url)}commit".encode())
    except client().Error as error:
        raise explained(error, connection.address) from error
    finally:
        connection.close()
