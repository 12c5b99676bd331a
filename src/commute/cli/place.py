"""The place that a command looks at: one group on one stream, beside a worker, before it or after it.

It is reached through an app or through a broker URL alone. Looking takes no lock that a worker could wait for: it
reads what was last committed. Only what changes something opens the app's `Link`.

Invariants: looking never makes a file; whoever opens a `Place` closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from commute.cli.target import is_url, load
from commute.database import Connection, Database
from commute.errors import NotReachableError, UsageError
from commute.handler import names_for
from commute.limits import Limits
from commute.link import BrokerUrl, Link, Log, LogView, open_file, parse_db, parse_url
from commute.runtime.receipts import Desk
from commute.store.reading import find_scope, scopes
from commute.store.receipts import Answers
from commute.store.schema import SCHEMA as STORE_SCHEMA
from commute.transports.base import part_name, part_number
from commute.transports.rows import SCHEMA as LOG_SCHEMA
from commute.transports.rows import partition_logs

if TYPE_CHECKING:
    from commute.app import App

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])

BUSY_S_MAX = 5.0  # a person waits: another process may hold the write lock for no longer than this


def app_options(command: F) -> F:
    """The options that say whose broker and store: --app-dir, --broker, --db, --group."""
    for option in (
        click.option("--group", metavar="NAME", help="Whose progress; default: the app's, or the only one there is."),
        click.option("--db", metavar="URL", help="Where dead letters and progress are; default: the broker's file."),
        click.option("--broker", metavar="URL", help="The broker, instead of the app's."),
        click.option("--app-dir", metavar="DIR", type=click.Path(), help="Where the app's module lies."),
    ):
        command = option(command)
    return command


def where_options(command: F) -> F:
    """`app_options`, and --partition: the options that say where."""
    return app_options(
        click.option("--partition", metavar="N", type=click.IntRange(0), help="The one to look at, of several.")(
            command
        )
    )


def json_option(command: F) -> F:
    """The option --json, as every command has it."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(command)


class Place:
    """One group's log and store. `app` is None where only a URL was given; `shown` is what a person types again."""

    def __init__(
        self, app: App[Any] | None, shown: str, url: BrokerUrl, db: BrokerUrl | None, group: str | None,
        partition: int | None = None, *, one_log: bool = True,
    ) -> None:  # fmt: skip
        """`one_log`: refuse a stream of several partitions where none of them is named."""
        self.app = app
        self.shown = shown
        self.url = url
        self.at(partition)
        self.limits: Limits = app.limits if app is not None else Limits()
        assert url.path is not None
        self._db = db
        self._link: Link | None = None
        self.broker: Database = open_file(url.path, self.limits, busy_s_max=BUSY_S_MAX)
        self.store = self.broker
        try:
            if db is not None and db.path is not None and db.path != url.path:
                self.store = open_file(db.path, self.limits, busy_s_max=BUSY_S_MAX)
            _complete(self.broker, "commute_streams", LOG_SCHEMA)
            _complete(self.store, "request", STORE_SCHEMA)
            self.group = group if group is not None else self._only_group()
            if one_log:
                self._require_one_log()
        except BaseException:
            self.close()
            raise

    @property
    def scope(self) -> int | None:
        """The number of this group and stream in the store; None where no worker of it has run yet."""
        return self.store.read(lambda connection: find_scope(connection, self.group, self.stream))

    def link(self) -> Link:
        """Broker and store, for those who write. Raises StoreError."""
        if self._link is None:
            self._link = Link.open(self.url, self._db, self.limits)
        return self._link

    @property
    def seat(self) -> str:
        """What a worker owns of the group to work here."""
        return part_name(self.group, self.partition)

    def side_path(self, suffix: str) -> Path:
        """A side file of the group's worker."""
        return Path(self.store.side_path(self.seat, suffix))

    def desk(self) -> Desk:
        """Who answers what has become of an event."""
        return Desk(
            self.store,
            lambda: {name: LogView(self.broker, name) for name in self.logs()},
            self.group,
            retain_s=self.limits.retain_s,
            handlers_of=self._handlers_of,
        )

    def answers(self) -> Answers | None:
        """What makes the receipts that producers with another store ask for; None: there are no others."""
        source = f"/{self.group}" if self.app is None else self.app.source
        return None if self.url.server is None else Answers(self.group, source, self._handlers_of)

    def _handlers_of(self, type_: str) -> list[str]:
        return [] if self.app is None else names_for(self.app.handlers, type_)

    def logs(self) -> list[str]:
        """The names of the stream's logs in the store: its own, or one for each partition."""
        if self.partition is not None or self.url.server is None:
            return [self.stream]
        parts = self.broker.read(lambda connection: partition_logs(connection, self.stream))
        return parts or [self.stream]

    def partitions(self) -> list[int]:
        """The partitions that have a log of their own in the store; none where the stream is one log."""
        numbers = (part_number(name, self.url.stream) for name in self.logs() if name != self.stream)
        return [number for number in numbers if number is not None]

    def at(self, partition: int | None) -> None:
        """Look at this partition from now on; None: at the stream as a whole."""
        self.partition = partition
        self.stream = part_name(self.url.stream, partition)

    def _require_one_log(self) -> None:
        """Nothing where the place is one log. Raises UsageError (``which-partition``)."""
        if found := self.partitions():
            numbers = ", ".join(map(str, found))
            raise UsageError(
                f"stream {self.stream} has several logs, one for each partition: {numbers}. Which one do you mean? "
                "--partition N", slug="which-partition",
            )  # fmt: skip

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        if self.store is not self.broker:
            self.store.close()
        self.broker.close()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _only_group(self) -> str:
        return only_one(known_groups(self), self.stream)


def known_groups(place: Place) -> list[str]:
    """The groups of the stream, by the broker's own list and by the store."""
    logs = place.logs()
    read = place.broker.read(
        lambda c: c.execute(
            "select g.name, s.name from commute_groups g join commute_streams s on s.number = g.stream"
        ).fetchall()
    )
    stored = place.store.read(lambda c: [group for _, group, stream in scopes(c) if stream in logs])
    return sorted({str(name) for name, stream in read if stream in logs} | set(stored))


def only_group_of(link: Link, log: Log) -> str:
    """The only group of the log's stream. Raises UsageError (``which-group``)."""
    stored = link.file.read(lambda c: [group for _, group, stream in scopes(c) if stream == log.stream])
    return only_one(sorted({state.group for state in log.groups()} | set(stored)), log.stream)


def only_one(groups: Sequence[str], stream: str) -> str:
    """The group, if there is just one. Raises UsageError (``which-group``), with those that there are."""
    if len(groups) == 1:
        return groups[0]
    if not groups:
        raise UsageError(
            f"stream {stream} has no group yet: no worker has run on it. Which one do you mean? --group NAME",
            slug="which-group",
        )
    raise UsageError(
        f"stream {stream} has {len(groups)} groups: {', '.join(groups)}. Which one do you mean? --group NAME",
        slug="which-group",
    )


def open_place(
    target: str | None,
    *,
    app_dir: str | None = None,
    broker: str | None = None,
    db: str | None = None,
    group: str | None = None,
    partition: int | None = None,
    any_group: bool = False,
    any_partition: bool = False,
) -> Place:
    """The place of a TARGET or a broker URL. `any_group`, `any_partition`: the command means all of them, so none has
    to be named.

    Raises UsageError, StoreError, and NotReachableError where there is no such file: looking makes none.
    """
    app: App[Any] | None = None
    if target is not None and is_url(target):
        if broker is not None:
            raise UsageError(f"two brokers: {target} and --broker {broker}. Give one", slug="broker-url")
        shown = target if group is None else f"{target} --group {group}"
        store = None if db is None else parse_db(db)
        url = parse_url(target, None if store is None else store.path)
    else:
        app, shown = load(target, app_dir)
        app.override(broker=broker, db=db, group=group)
        url, store, group = app.url, app.db, app.group
    if url.path is None and url.server is not None:
        raise UsageError(
            f"{url.text} keeps no dead letters and no progress: name the store of its app, --db sqlite:///NAME.commute.db",
            slug="which-store",
        )
    if url.path is None:
        raise UsageError(
            "memory:// can be seen by its own process alone; other commands need a file, such as --broker "
            "sqlite:///shop.db",
            slug="database-in-memory",
        )
    for path in (url.file, None if store is None else store.file):
        if path is not None and not path.exists():
            begin = f"make it: commute run {shown}" if app is not None else "three slashes are relative, four absolute"
            raise NotReachableError(f"there is no file {path}; {begin}", slug="not-reachable")
    group = group if group is not None or not any_group else ""
    return Place(app, shown, url, store, group, partition, one_log=not any_partition)


def _complete(file: Database, name: str, schema: str) -> None:
    """Make the tables of a file that its maker had no time to complete; one that has them is not written to."""
    if file.blocks_apart:
        return  # it has them, or could not be opened

    def has(connection: Connection) -> bool:
        return bool(connection.execute("select 1 from sqlite_schema where name = ?", (name,)).fetchall())

    if not file.read(has):
        file.schema(schema)
