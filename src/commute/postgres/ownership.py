"""Who runs a group, on whichever machine: an advisory lock of the writer's connection, and an epoch as a fence.

The lock lives as long as its connection: free when the process dies, when the server restarts, or when the server has
heard nothing from the machine for ``vanished_s``; kept while the process is merely stopped. So it alone does not say
that the former owner has ended. Every transaction of an owner holds the *fence* shared and then looks at the epoch; a
takeover holds it alone while it raises the epoch. So it waits for the transactions that are under way, and those that
come later find that the group is not theirs.

Invariants: once an epoch has been raised, no transaction under an older one can commit; what a new owner reads then is
all that its predecessors have done.

Source: fencing tokens, Gray and Cheriton, "Leases", SOSP 1989; postgresql.org/docs, "Advisory Locks".
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from commute.database import Tenure
from commute.errors import OwnershipLostError, StoreError
from commute.postgres.connection import Connection

if TYPE_CHECKING:
    from commute.database import Connection as AnyConnection
    from commute.postgres.writer import Writer

TABLE = """
create table if not exists commute_owners (
    name text primary key, epoch integer not null, pid integer not null, host text not null
);
"""


class Ownership:
    """The ownership of one group, as one process sees it; blocking calls, not for the event loop."""

    def __init__(self, writer: Writer, schema: str, group: str) -> None:
        self.group = group
        self.epoch = 0  # ours, once taken; 0: not taken
        self._writer = writer
        self._lock = lock_number(schema, group, "owner")
        self._fence = lock_number(schema, group, "fence")

    def try_take(self) -> bool:
        """Whether the group is ours now, under a new epoch. Does not wait for an owner that lives; waits for
        transactions that one who has lost the group has left open. Raises StoreError."""
        try:
            self.epoch = self._writer.submit(self._take).result()
        except StoreError as error:
            if getattr(error.__cause__, "sqlstate", None) != "55P03":  # one of those transactions is still open
                raise
            return False
        return self.epoch != 0

    def holder(self) -> tuple[int, str] | None:
        """(pid, host) of the last one that took the group, as it wrote itself; None if nobody ever did."""
        return self._writer.submit(lambda connection: last_holder(connection, self.group)).result()

    def check_epoch(self, connection: AnyConnection) -> None:
        """Nothing while the group is ours, and until this transaction ends; else raises OwnershipLostError."""
        assert isinstance(connection, Connection)
        rows = connection.ask(
            "select pg_advisory_xact_lock_shared(?); select epoch, pid, host from commute_owners where name = ?",
            (self._fence, self.group),
        )
        if not rows or rows[0][0] != self.epoch:
            who = f"pid {rows[0][1]} on {rows[0][2]}" if rows else "nobody (its record is gone)"
            raise OwnershipLostError(
                f"group {self.group} has been taken over by {who}; this worker stops and writes nothing more",
                slug="ownership-lost",
            )

    def fileno(self) -> None:
        return None

    def release(self) -> None:
        """Give the group up, with the next commit; idempotent."""
        if self.epoch:
            self.epoch = 0
            self._writer.submit(self._let_go)

    def _take(self, connection: AnyConnection) -> int:
        writer = self._writer
        holder = writer.owners.get(self.group)
        if holder != (writer.connections, self):
            # The lock would be given twice to one connection: another owner in this process has it as well.
            if holder is not None and holder[0] == writer.connections:
                return 0
            if not connection.execute("select pg_try_advisory_lock(?)", (self._lock,)).fetchall()[0][0]:
                return 0
            writer.owners[self.group] = (writer.connections, self)
        connection.execute("select pg_advisory_xact_lock(?)", (self._fence,))
        rows = connection.execute(
            "insert into commute_owners (name, epoch, pid, host) values (?, 1, ?, ?) on conflict (name) do update"
            " set epoch = commute_owners.epoch + 1, pid = excluded.pid, host = excluded.host returning epoch",
            (self.group, os.getpid(), socket.gethostname()),
        ).fetchall()
        return int(rows[0][0])

    def _let_go(self, connection: AnyConnection) -> None:
        if self._writer.owners.get(self.group) == (self._writer.connections, self):
            del self._writer.owners[self.group]
            connection.execute("select pg_advisory_unlock(?)", (self._lock,))


def last_holder(connection: AnyConnection, group: str) -> tuple[int, str] | None:
    """(pid, host) of the last one that took the group; None if nobody ever did."""
    rows = connection.execute("select pid, host from commute_owners where name = ?", (group,)).fetchall()
    return (int(rows[0][0]), str(rows[0][1])) if rows else None


def is_held(connection: AnyConnection, schema: str, group: str) -> bool:
    """Whether some connection holds the group at this moment."""
    number = lock_number(schema, group, "owner") & (1 << 64) - 1
    rows = connection.execute(
        "select 1 from pg_locks where locktype = 'advisory' and granted and objsubid = 1 and classid = ?::bigint::oid"
        " and objid = ?::bigint::oid and database = (select oid from pg_database where datname = current_database())",
        (number >> 32, number & 0xFFFFFFFF),
    ).fetchall()
    return bool(rows)


def tenures(connection: AnyConnection, schema: str, groups: Sequence[str]) -> list[Tenure]:
    """Of each group who had it last, and whether some connection holds it: two questions, however many groups."""
    held = {
        (int(high) << 32) | int(low)
        for high, low in connection.execute(
            "select classid::bigint, objid::bigint from pg_locks where locktype = 'advisory' and granted"
            " and objsubid = 1 and database = (select oid from pg_database where datname = current_database())"
        ).fetchall()
    }
    rows = connection.execute("select name, pid, host from commute_owners").fetchall()
    last = {str(name): (int(pid), str(host)) for name, pid, host in rows}
    return [
        Tenure(last=last.get(group), now=lock_number(schema, group, "owner") & (1 << 64) - 1 in held)
        for group in groups
    ]


def lock_number(schema: str, group: str, what: str) -> int:
    """The number of an advisory lock: a digest, signed, 64 bits."""
    digest = blake2b(f"commute/{schema}/{what}/{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
