"""From a URL to an open broker and store: the one place that knows which transport belongs to which scheme.

    sqlite:///FILE?stream=events     three slashes: relative to the working directory, four: absolute
    memory://                        in this process, gone with it

The store (`db`) is the broker's own file unless another one is named.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from commute.embedded.file import EmbeddedFile
from commute.errors import UsageError
from commute.limits import Limits
from commute.store.schema import SCHEMA
from commute.transports.base import Delivery, Transport

if TYPE_CHECKING:
    from commute.store.store import Appender
    from commute.transports.groups import GroupState
    from commute.transports.memory import MemoryBroker

_DEFAULT_STREAM = "events"


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A parsed broker URL. `path` is absolute, None for memory; `text` is what messages show."""

    scheme: Literal["sqlite", "memory"]
    path: str | None
    stream: str

    @property
    def text(self) -> str:
        return "memory://" if self.path is None else f"sqlite:///{self.path}"


class Log(Transport, Protocol):
    """A transport whose log can also be looked into: both embedded ones."""

    stream: str

    def find(self, event_id: str, source: str | None = None) -> list[int]: ...
    def read(self, position: int) -> Delivery | None: ...
    def range(self, first: int, last: int) -> list[Delivery]: ...
    def last_position(self) -> int: ...
    def groups(self) -> list[GroupState]: ...
    async def drop_group(self, group: str) -> bool: ...
    async def retain(self, now_s: float) -> int: ...


def parse_url(text: str) -> BrokerUrl:
    """The parts of a broker URL. Raises UsageError (``broker-url``) that says what is accepted."""
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    stream = options.pop("stream", _DEFAULT_STREAM)
    if options or not stream:
        raise _refused(text, f"it has {', '.join(options) or 'an empty stream'}; the only option is ?stream=NAME")
    if parts.scheme == "memory":
        if parts.netloc or parts.path.strip("/"):
            raise _refused(text, "memory:// has no path")
        return BrokerUrl("memory", None, stream)
    if parts.scheme != "sqlite":
        raise _refused(
            text, f"this version has no {parts.scheme or 'such'} broker; it has sqlite:///FILE and memory://"
        )
    if parts.netloc or len(parts.path) < 2:
        raise _refused(text, "write sqlite:///FILE (relative) or sqlite:////FILE (absolute)")
    return BrokerUrl("sqlite", os.path.realpath(Path(unquote(parts.path[1:]))), stream)


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"{text!r} is no broker URL: {why}", slug="broker-url")


class Link:
    """One app's broker and store, open. Use `open`; close it when the last user has gone. Thread-safe to share."""

    def __init__(
        self,
        url: BrokerUrl,
        broker_file: EmbeddedFile | None,
        file: EmbeddedFile,
        memory: MemoryBroker | None,
        limits: Limits,
    ) -> None:
        self.url = url
        self.file = file  # the store
        self._broker_file = broker_file
        self._memory = memory
        self._limits = limits
        self._closed = False

    @classmethod
    def open(cls, url: BrokerUrl, db: BrokerUrl | None, limits: Limits, memory: MemoryBroker | None = None) -> Link:
        """Open broker and store; makes files that are missing. Blocks for milliseconds.

        `memory`: the streams of a ``memory://`` broker, so that several links of one app see the same ones.
        Raises UsageError and StoreError of the embedded file.
        """
        broker_file = None if url.path is None else _file(url.path, limits)
        if db is None or db.path == url.path:
            file = broker_file if broker_file is not None else _file(None, limits)
        else:
            file = _file(db.path, limits)
        link = cls(url, broker_file, file, memory, limits)
        try:
            file.schema(SCHEMA)
        except BaseException:
            link.close()
            raise
        return link

    def transport(self, stream: str | None = None) -> Log:
        """A new view of the stream, or of another one of the same broker; each user opens and closes its own."""
        stream = stream or self.url.stream
        if self._broker_file is None:
            from commute.transports.memory import MemoryTransport

            return MemoryTransport(self._memory, stream, retain_s=self._limits.retain_s)
        from commute.transports.sqlite import SqliteTransport

        return SqliteTransport(self._broker_file, stream, retain_s=self._limits.retain_s)

    def appender(self, transport: Transport) -> Appender | None:
        """The transport as one that appends inside the store's transactions, if its log lies in the store's file."""
        if self._broker_file is None or self._broker_file is not self.file:
            return None
        from commute.transports.sqlite import SqliteTransport

        assert isinstance(transport, SqliteTransport)
        return transport

    def close(self) -> None:
        """Commit what is queued and close the files, unless others use them. Blocks; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._broker_file is not None and self._broker_file is not self.file:
            self._broker_file.close()
        self.file.close()


def _file(path: str | None, limits: Limits) -> EmbeddedFile:
    return EmbeddedFile.open(path, commit_s_max=limits.commit_s_max, transaction_s_max=limits.transaction_s_max)
