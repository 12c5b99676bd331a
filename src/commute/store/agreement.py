"""How a group shares out a stream: into how many logs, by which labels. All of its workers have to agree.

With another number of partitions, or other labels, events that depend on each other would lie in two logs: so a change
is for a group that has nothing left to do.
"""

from __future__ import annotations

from commute.database import Connection
from commute.errors import UsageError
from commute.store.reading import count_dead, find_scope

ONE_LOG = (1, "")  # of a group that has agreed on nothing: its worker reads the whole stream


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


def changed(group: str, stream: str, before: tuple[int, str], logs: int, there: int, undone: int) -> UsageError:
    """The refusal to share a stream out anew while `undone` events are not finished, with how to finish them.

    `there`: the partitions that this start has found. Kafka cannot take partitions away again, so that the way back is
    to read as many as before.
    """
    count = before[0]
    ways: list[str] = []
    if count == 1:
        ways.append("with --single-owner")
    else:
        if there != count:
            ways.append(f"with ?partitions={count} in the broker's URL, so that no others are read")
        if logs == 1:
            ways.append("without --single-owner")
    if there < count:
        ways.append("on a stream that has so many again")
    return UsageError(
        f"group {group} has shared {stream} out into {shared(count)}, and at most {undone:,} of its events are not "
        f"finished; now it would be {shared(logs)}{'' if count != logs else ' by other labels'}. Events that depend on "
        f"each other would lie in two logs. Start it {', '.join(ways) or 'with the footprints that it had'}, let it "
        "drain (commute status; dead retry, skip or drop what is parked), then start it as you did now",
        slug="partitions-changed",
    )


def shared(logs: int) -> str:
    """So many logs, in words."""
    return "one log (--single-owner)" if logs == 1 else f"{logs} partitions"
