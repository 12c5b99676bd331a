"""How a group has agreed to share its stream out, beside the partitions that the broker has: for `commute doctor`.

Kafka adds partitions whenever somebody says so, and labels then belong to others: the next start is refused as long as
events are not finished, so whoever asks beforehand should be told.
"""

from __future__ import annotations

from pathlib import Path

from commute.cli.output import plural
from commute.cli.place import BUSY_S_MAX
from commute.database import Connection
from commute.limits import Limits
from commute.link import BrokerUrl, is_postgres, open_file, partitions, unfinished
from commute.store.agreement import agreed, shared
from commute.transports.finding import Finding, good, problem, warning


def sharing(url: BrokerUrl, path: str, group: str) -> list[Finding]:
    """Nothing where the group's workers have not agreed on anything. `path`: of the store, which is only read. Blocks.
    Raises NotReachableError, UsageError."""
    if not is_postgres(path) and not Path(path).exists():
        return []
    stream = url.stream
    file = open_file(path, Limits(), busy_s_max=BUSY_S_MAX)
    try:
        if not file.blocks_apart and not file.read(_has_tables):
            return []
        before = file.read(lambda connection: agreed(connection, group, stream))
        undone = 0 if before is None else unfinished(file, file, stream, group)
    finally:
        file.close()
    if before is None:
        return []
    count, there = before[0], partitions(url)
    text = f"{group} has shared it out into {shared(count)}"
    if count in (1, there):
        return [good("partitions", text)]
    text += f", and the stream has {plural(there, 'partition')} now; at most {plural(undone, 'event')} not finished"
    if not undone:
        return [warning("partitions", text, "stop the producers, start all workers anew, then the producers")]
    way = f"start its workers with ?partitions={count} in the broker's URL until nothing is left to do, then without"
    return [problem("partitions", text, way)]


def _has_tables(connection: Connection) -> bool:
    """Whether a worker has made both: a file may have been made by a producer alone."""
    found = connection.execute("select count(*) from sqlite_schema where name in ('agreement', 'commute_streams')")
    return bool(found.fetchall()[0][0] == 2)
