"""How a group shares out a stream: into how many logs, by which labels. All of its workers have to agree.

With another number of partitions, or other labels, events that depend on each other would lie in two logs: so a change
is for a group that has nothing left to do.
"""

from __future__ import annotations

from commute.database import Connection
from commute.store.reading import count_dead, find_scope


def agreed(connection: Connection, group: str, stream: str) -> tuple[int, str] | None:
    """(number of logs, fingerprint of labels and footprints) that the group's workers use; None before the first."""
    rows = connection.execute(
        "SELECT logs, fingerprint FROM agreement WHERE group_name=? AND stream=?", (group, stream)
    ).fetchall()
    return (int(rows[0][0]), str(rows[0][1])) if rows else None


def agree(connection: Connection, group: str, stream: str, logs: int, fingerprint: str) -> None:
    """Store it."""
    connection.execute(
        "INSERT INTO agreement(group_name, stream, logs, fingerprint) VALUES(?,?,?,?) ON CONFLICT(group_name, stream) "
        "DO UPDATE SET logs=excluded.logs, fingerprint=excluded.fingerprint",
        (group, stream, logs, fingerprint),
    )


def kept(connection: Connection, group: str, log: str) -> int:
    """Parked and held events of one log."""
    scope = find_scope(connection, group, log)
    if scope is None:
        return 0
    dead = count_dead(connection, scope)
    return dead.get("parked", 0) + dead.get("held", 0)
