"""What can be told of a SQLite file, as the broker itself or as the store of an app on a broker server.

Looking changes nothing and makes nothing; it reads the whole file once (`quick_check`).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from urllib.parse import quote

import apsw

from commute.embedded.database import APPLICATION_ID, SCHEMA_VERSION, connect_reader
from commute.embedded.file import check_place
from commute.embedded.ownership import is_owned
from commute.errors import NotReachableError, UsageError
from commute.limits import MIB
from commute.transports.base import part_name, part_number
from commute.transports.finding import Finding, clock, good, problem, warning
from commute.transports.rows import Stream, find_stream, partition_logs

_FREE_BYTES_LOW = 1024 * MIB
_FREE_BYTES_MIN = 64 * MIB
_WAL_BYTES_HIGH = 256 * MIB  # some times what is left behind by normal work


def examine(path: str, stream: str, *, store: str | None = None, feeds: bool = False) -> list[Finding]:
    """Disk, file, groups of `stream` and their workers. `store`: where owners are noted, if in another file; `feeds`:
    the stream is a broker server's, journalled here. Blocks for about a second per GiB. Raises NotReachableError:
    there is no such file."""
    try:
        check_place(path)
    except UsageError as error:
        return [problem("place", str(error), "")]
    if not Path(path).exists():
        raise NotReachableError(f"there is no file {path}: a worker or `commute publish` makes it",
                                slug="not-reachable")  # fmt: skip
    found = _disk(path)
    try:
        connection = connect_reader(path)
        try:
            found += _file(connection)
            if found[-1].level == "ok":
                found += _stream(connection, stream, store or path, feeds=feeds)
        finally:
            connection.close()
    except apsw.Error as error:
        found.append(problem("file", f"it cannot be read: {error}", "look at its permissions; else restore a copy"))
    return found


def _disk(path: str) -> list[Finding]:
    free_bytes = shutil.disk_usage(Path(path).parent).free
    text = f"{free_bytes / MIB:,.0f} MiB free, on a local file system"
    if free_bytes < _FREE_BYTES_MIN:
        found = [problem("disk", text, "free some: when it is full, workers stop")]
    elif free_bytes < _FREE_BYTES_LOW:
        found = [warning("disk", text, "free some: when it is full, workers stop")]
    else:
        found = [good("disk", text)]
    log = Path(f"{path}-wal")
    wal_bytes = log.stat().st_size if log.exists() else 0
    text = f"{path}: {Path(path).stat().st_size / MIB:,.1f} MiB, and {wal_bytes / MIB:,.1f} MiB of write-ahead log"
    if wal_bytes > _WAL_BYTES_HIGH:
        advice = "end whatever has read it for a long time: the log can be shortened only then"
        return [*found, warning("size", text, advice)]
    return [*found, good("size", text)]


def _file(connection: apsw.Connection) -> list[Finding]:
    def pragma(name: str) -> object:
        return connection.execute(f"pragma {name}").fetchall()[0][0]

    if pragma("application_id") != APPLICATION_ID:
        return [problem("file", "it is the database of another program", "name another file")]
    if pragma("user_version") != SCHEMA_VERSION:
        return [problem("file", f"its format is {pragma('user_version')}, this version reads {SCHEMA_VERSION}",
                        "use the version that made it")]  # fmt: skip
    said = str(pragma("quick_check(1)"))
    if said != "ok":
        return [problem("file", f"it is damaged: {said}", "restore it from a copy")]
    mode = str(pragma("journal_mode"))
    if mode != "wal":
        return [problem("file", f"its journal mode is {mode}, not wal", "use a local disk")]
    return [good("file", f"whole, with write-ahead log; SQLite {apsw.sqlite_lib_version()}")]


def _stream(connection: apsw.Connection, name: str, store: str, *, feeds: bool) -> list[Finding]:
    """Of its log; where workers share it out, of the log of each partition."""
    if not connection.execute("select 1 from sqlite_schema where name = 'commute_streams'").fetchall():
        return [good("stream", f"{name!r}: nothing was sent yet")]
    logs = [log for part in (name, *partition_logs(connection, name)) if (log := find_stream(connection, part))]
    if not logs:
        return [good("stream", f"{name!r}: nothing was sent yet")]
    now_s = time.time()
    newest = [
        float(str(time_s))
        for log in logs
        for (time_s,) in connection.execute(f"select time_s from {log.table} order by position desc limit 1")
    ]
    found = clock(max(newest), now_s) if newest else []
    if feeds:
        fed = [is_owned(f"{store}-{quote(f'journal {log.name}', safe='')}.owner") for log in logs]
        by = (
            "fed by a worker"
            if all(fed)
            else f"fed in {sum(fed)} of {len(fed)} logs"
            if any(fed)
            else "fed by nobody now"
        )
        found.append(good("journal", f"{name!r} is {by}"))
    read = False
    for log in logs:
        groups = connection.execute(
            "select name, watermark from commute_groups where stream = ? order by name", (log.number,)
        ).fetchall()
        for group, watermark in groups:
            seat, read = part_name(str(group), part_number(log.name, name)), True
            found.append(_group(connection, log, seat, int(str(watermark)), store, now_s))
    return found if read else [*found, good("groups", f"no worker has read {name!r} yet")]


def _group(connection: apsw.Connection, stream: Stream, seat: str, watermark: int, store: str, now_s: float) -> Finding:
    """`seat`: the group, or its part that has this partition, as `shop#3`."""
    owner = Path(f"{store}-{quote(seat, safe='')}.owner")
    owned = is_owned(str(owner))
    who = f"worker pid {owner.read_text().strip().replace(' ', ' on ')}" if owned else "no worker"
    behind = stream.last - watermark + 1
    if behind <= 0:
        return good("group", f"{seat!r}: all {stream.last:,} settled, {who}")
    oldest = connection.execute(
        f"select time_s from {stream.table} where position >= ? order by position limit 1", (watermark,)
    ).fetchall()
    age = f", the oldest {max(0.0, now_s - float(str(oldest[0][0]))):,.0f} s old" if oldest else ""
    text = f"{seat!r}: at most {behind:,} not settled{age}, {who}"
    return good("group", text) if owned else warning("group", text, "start a worker: commute run TARGET")
