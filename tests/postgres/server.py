"""The PostgreSQL server that tests use, and a look into it from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Server:
    base: str
    url: str  # of the store
    schema: str
    connection: psycopg.Connection[Any]

    @property
    def own_tables(self) -> str:
        """The store's URL; an app's own tables are found in the same schema."""
        return f"{self.url}&options=-csearch_path%3D{self.schema}"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What is committed; ``{s}`` is the schema."""
        return self.connection.execute(sql.format(s=self.schema).encode()).fetchall()

    def run(self, sql: str) -> None:
        self.connection.execute(sql.format(s=self.schema).encode())

    def terminate_owner(self, group: str) -> None:
        """End the connection that holds the group, as an operator can."""
        from commute.postgres.ownership import lock_number

        number = lock_number(self.schema, group, "owner") & (1 << 64) - 1
        found = self.rows(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and objsubid = 1 "
            f"and classid = {number >> 32}::bigint::oid and objid = {number & 0xFFFFFFFF}::bigint::oid"
        )
        assert found == [(True,)]

    def terminate_all(self) -> int:
        """End the connections of workers that use this schema; how many there were."""
        return len(
            self.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'commute' "
                "and query like '%{s}%'"
            )
        )


def wait_for(true: Callable[[], bool], what: str = "") -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end_s, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.02)


async def until(true: Callable[[], bool], what: str = "") -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end_s, f"not within {DEADLINE_S:g} s: {what}"
        await asyncio.sleep(0.02)
