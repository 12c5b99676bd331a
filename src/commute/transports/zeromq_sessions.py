"""What ZeroMQ's sockets do not do: sessions with sequence, credit and acknowledgement, on either side. No socket here.

`Outlet` is a producer's side of one address, `Inlet` the worker's side of all producers. Both are driven by the thread
of `transports.zeromq`, which gives them what arrives and a function that sends.

Protocol, version 1. Every message is a header (``>BBQQII``: version, kind, session, first, count, waiting), or a header
and a body. `waiting` tells how many messages the producer holds beyond the credit it was given.

    producer to worker     H hello    body: 16 bytes that name the producer, then the stream; a session begins
                           B batch    body: MessagePack array of [id, source, type, time_s, data, attributes or nil]
                           J batch    body: JSON array of documents (application/cloudevents-batch+json, or plain)
                           N need     no body: `waiting` messages wait and there is no credit
                           P ping     no body
    worker to producer     W word     `count` messages of credit more; body: pairs ``>QQ``, first and last acknowledged
                           U unknown  this session is not known (or lost a batch): begin another one
                           X refused  body: why, in words

Invariants: the messages of a session are numbered from 0 without gaps (`first`, `count`); a producer's newer session
ends its older one, and begins with everything unacknowledged, in the sequence of sending. So duplicates happen, gaps
and overtaking do not; every arrival has its own token, and a duplicate is acknowledged like the first. Credit granted
and arrivals not acknowledged are together never more than `ahead_max`. A silent peer is asked, and only one that does
not answer is sent everything again.

Source: credit-based flow as in AMQP 1.0 links; sessions that begin with everything unacknowledged as in go-back-N.
"""

from __future__ import annotations

import logging
import random
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import msgspec

from commute.errors import CommuteError, NotReachableError
from commute.transports.base import Message
from commute.transports.wire import Arrival

if TYPE_CHECKING:
    from commute.transports.zeromq import ZeromqOptions

LOGGER = logging.getLogger("commute")

VERSION = 1
_HEADER = struct.Struct(">BBQQII")
_RANGE = struct.Struct(">QQ")
HELLO, BATCH, JSON_BATCH, NEED, PING, WORD, UNKNOWN, REFUSED = b"HBJNPWUX"
_STANDING_CREDIT_MAX = 32  # of a producer with nothing to send: its next message needs no question
_NAME_BYTES = 16


class _Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A message in a batch."""

    id: str
    source: str
    type: str
    time_s: float
    data: bytes
    attributes: dict[str, str] | None = None


_ROWS = msgspec.msgpack.Decoder(list[_Row])
_ROW = msgspec.msgpack.Encoder()


def packed(messages: Iterable[Message]) -> list[bytes]:
    """Each message as one element of a batch's body."""
    return [
        _ROW.encode(_Row(m.id, m.source, m.type, m.time_s, m.data, dict(m.attributes) if m.attributes else None))
        for m in messages
    ]


def _array(rows: Sequence[bytes]) -> bytes:
    """The MessagePack array of these elements."""
    head = bytes((0x90 | len(rows),)) if len(rows) < 16 else struct.pack(">BI", 0xDD, len(rows))
    return head + b"".join(rows)


class Sending:
    """One call of `send`: its future, and how many of its messages are not acknowledged."""

    __slots__ = ("future", "left")

    def __init__(self, future: Future[None], left: int) -> None:
        self.future = future
        self.left = left


Entry = tuple[bytes, Sending]


class Outlet:
    """The producer's side of one address; lives on the wire's thread."""

    def __init__(
        self, name: bytes, options: ZeromqOptions, send: Callable[[list[bytes]], bool],
        released: Callable[[int, int], None], now_s: float,
    ) -> None:  # fmt: skip
        self._send = send  # False: there is no connection
        self.address = options.address
        self._hello = name + options.stream.encode()
        self._options = options
        self._released = released
        self._waiting: deque[Entry] = deque()
        self._sent: dict[int, Entry] = {}  # by number in the session, ascending
        self._session = 0
        self._next = 0
        self._credit = 0
        self._told = 0  # of `waiting`, in this session
        self._up = False  # the network's word
        self._welcomed = False  # the worker's
        self._warned = False
        self._refused = ""
        self._heard_at_s = 0.0  # or asked
        self._asked = False
        self._pause_s = options.retry_s_min
        self._retry_at_s = now_s + options.silence_s  # the first connection comes before, as a rule

    def add(self, entries: Iterable[Entry]) -> None:
        self._waiting.extend(entries)

    def begin(self, now_s: float) -> None:
        """A new session: all that is unacknowledged waits again, in its sequence."""
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._session += 1
        self._next = self._credit = 0
        self._welcomed = self._asked = False
        self._retry_at_s = now_s + self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(self._pause_s * 2, self._options.retry_s_max)
        self._told = len(self._waiting)
        self._say(HELLO, waiting=self._told, body=self._hello)

    def due_s(self, now_s: float) -> float | None:
        """Seconds until `tick` has something to do; None: only when something arrives."""
        if not self._waiting and not self._sent:
            return None
        at_s = self._heard_at_s + self._options.silence_s if self._welcomed else self._retry_at_s
        return max(0.0, at_s - now_s)

    def tick(self, now_s: float) -> None:
        """Send what credit allows; ask a silent worker, and give one up that does not answer."""
        if self._welcomed:
            self._pump()
        if self.due_s(now_s) != 0.0:
            return
        if not self._welcomed or self._asked:
            if self._pause_s > 1.0 and not self._warned:
                self._warned = True
                LOGGER.warning("warning[no-worker] %d messages wait in this process: no worker answers at %s",
                               len(self._waiting) + len(self._sent), self.address)  # fmt: skip
            self.begin(now_s)
        else:
            self._asked = True
            self._heard_at_s = now_s
            self._say(PING)

    def connected(self, now_s: float) -> None:
        """The network says that a connection is up: what was sent over an earlier one is unknown."""
        self._up = True
        self._pause_s = self._options.retry_s_min
        self.begin(now_s)

    def disconnected(self) -> None:
        """Nothing is sent until the next connection; what the worker had said before is still heard."""
        self._up = False

    def frame(self, parts: list[bytes], now_s: float) -> None:
        """What the worker says."""
        kind, session, count = _kind_of(parts), 0, 0
        if kind:
            _, _, session, _, count, _ = _HEADER.unpack(parts[0])
        if kind == REFUSED and session == self._session:
            self.refused(parts[-1].decode(errors="replace"))
            self._retry_at_s = now_s + self._pause_s
        if kind not in (WORD, UNKNOWN) or session != self._session:
            return
        self._heard_at_s, self._asked, self._warned = now_s, False, False
        if kind == UNKNOWN:
            self.begin(now_s)
            return
        self._pause_s = self._options.retry_s_min
        self._welcomed = True
        self._credit += count
        if len(parts) > 1 and len(parts[1]) % _RANGE.size == 0:
            self._confirm(_RANGE.iter_unpack(parts[1]))
        self._pump()

    def _confirm(self, ranges: Iterable[tuple[int, ...]]) -> None:
        messages = size_bytes = 0
        done: list[Future[None]] = []
        for first, last in ranges:
            for number in range(first, min(last, self._next - 1) + 1):
                entry = self._sent.pop(number, None)
                if entry is None:
                    continue
                messages += 1
                size_bytes += len(entry[0])
                entry[1].left -= 1
                if not entry[1].left:
                    done.append(entry[1].future)
        self._released(messages, size_bytes)
        for future in done:
            future.set_result(None)

    def _pump(self) -> None:
        options, waiting = self._options, self._waiting
        while self._credit and waiting and self._up:
            rows: list[bytes] = []
            size_bytes, first = 0, self._next
            while waiting and len(rows) < min(self._credit, options.batch_messages_max):
                size_bytes += len(waiting[0][0])
                if rows and size_bytes > options.batch_bytes_max:
                    break
                entry = waiting.popleft()
                self._sent[self._next] = entry
                self._next += 1
                rows.append(entry[0])
            self._credit -= len(rows)
            self._told = len(waiting)
            if not self._say(BATCH, first, len(rows), self._told, _array(rows)):
                return  # the connection is going; the monitor, or the silence, begins a new session
        if len(waiting) > self._told == 0 and self._up:
            self._told = len(waiting)
            self._say(NEED, waiting=self._told)

    def _say(self, kind: int, first: int = 0, count: int = 0, waiting: int = 0, body: bytes | None = None) -> bool:
        """False if there is no connection now."""
        head = _HEADER.pack(VERSION, kind, self._session, first, count, waiting)
        return self._up and self._send([head] if body is None else [head, body])

    def refused(self, why: str) -> None:
        """The worker, or the handshake with it, says no: tried again, rarely."""
        if why != self._refused:
            LOGGER.error("error[broker-url] the worker at %s refuses: %s", self.address, why)
        self._refused = why
        self._welcomed, self._pause_s = False, self._options.retry_s_max

    def fail(self, error: CommuteError) -> None:
        """Nothing more is sent: all futures have this error."""
        entries = [*self._sent.values(), *self._waiting]
        self._sent.clear()
        self._waiting.clear()
        for _, sending in entries:
            if not sending.future.done():
                sending.future.set_exception(error)


def _kind_of(parts: Sequence[bytes]) -> int:
    """The kind of a message of our protocol and version; 0 for any other."""
    return parts[0][1] if len(parts) in (1, 2) and len(parts[0]) == _HEADER.size and parts[0][0] == VERSION else 0


class _Peer:
    """A producer's session, as the worker knows it."""

    __slots__ = (
        "acked",
        "credit",
        "expected",
        "grant",
        "heard_at_s",
        "identity",
        "name",
        "session",
        "speak",
        "waiting",
    )

    def __init__(self, identity: bytes, name: bytes, session: int, waiting: int, now_s: float) -> None:
        self.identity = identity  # the socket's name for the connection
        self.name = name
        self.session = session
        self.waiting = waiting
        self.heard_at_s = now_s
        self.expected = 0
        self.credit = 0
        self.grant = 0  # of the credit, not yet told
        self.acked: list[tuple[int, int]] = []  # not yet told
        self.speak = True  # a word is due, with or without content


class _Token(msgspec.Struct, frozen=True, gc=False):
    peer: _Peer
    first: int
    last: int


class Inlet:
    """The worker's side; lives on the wire's thread."""

    def __init__(
        self, options: ZeromqOptions, ahead_max: int, send: Callable[[list[bytes]], bool],
        read: Callable[[bytes], Message],
    ) -> None:  # fmt: skip
        self._send = send  # False: that connection has gone
        self._options = options
        self._ahead_max = ahead_max
        self._read = read
        self._peers: dict[bytes, _Peer] = {}  # by the socket's name for the connection
        self._named: dict[bytes, _Peer] = {}  # by the producer's own name
        self._unacked = 0
        self._granted = 0
        self._standing = min(_STANDING_CREDIT_MAX, ahead_max // 4)
        self._complained = False
        self._look_round_at_s = 0.0

    def frame(self, identity: bytes, parts: list[bytes], now_s: float) -> list[Arrival]:
        """What a producer says; its messages, if it is a batch in sequence."""
        kind = _kind_of(parts)
        if not kind:
            self._complain(f"speaks no version {VERSION} of the protocol")
            return []
        _, _, session, first, count, waiting = _HEADER.unpack(parts[0])
        if kind == HELLO:
            self._meet(identity, session, waiting, parts[-1], now_s)
            return []
        peer = self._peers.get(identity)
        if peer is not None and session < peer.session:
            return []
        batch = kind in (BATCH, JSON_BATCH)
        if peer is None or session > peer.session or (batch and (first != peer.expected or count > peer.credit)):
            self._reply(identity, UNKNOWN, session)
            return []
        peer.heard_at_s = now_s
        if kind == PING:
            peer.speak = True
            return []
        peer.waiting = waiting
        if not batch or not count:
            return []
        peer.expected += count
        peer.credit -= count
        self._granted -= count
        self._unacked += count
        return self._arrivals(peer, kind, first, count, parts[-1])

    def _arrivals(self, peer: _Peer, kind: int, first: int, count: int, body: bytes) -> list[Arrival]:
        try:
            if kind == BATCH:
                rows = _ROWS.decode(body)
                messages = [Message(r.id, r.source, r.type, r.time_s, r.data, r.attributes or None) for r in rows]
            else:
                messages = [self._read(bytes(raw)) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            messages = []
        if len(messages) != count:
            self._complain(f"sent a batch of {count} messages that cannot be read; it is kept as one")
            return [Arrival(self._read(body), _Token(peer, first, first + count - 1))]
        return [Arrival(message, _Token(peer, n, n)) for n, message in enumerate(messages, first)]

    def _meet(self, identity: bytes, session: int, waiting: int, body: bytes, now_s: float) -> None:
        name, stream = body[:_NAME_BYTES], body[_NAME_BYTES:].decode(errors="replace")
        if stream != self._options.stream:
            why = f"this worker reads the stream {self._options.stream!r}, not {stream!r}: correct ?stream="
            self._reply(identity, REFUSED, session, why.encode())
            return
        known = self._named.get(name)
        if known is not None:
            if known.session >= session:
                return  # left over from an older connection
            self._forget(known)
        self._peers[identity] = self._named[name] = _Peer(identity, name, session, waiting, now_s)

    def _forget(self, peer: _Peer) -> None:
        self._granted -= peer.credit
        peer.credit = 0
        if self._peers.get(peer.identity) is peer:
            del self._peers[peer.identity]
        if self._named.get(peer.name) is peer:
            del self._named[peer.name]

    def ack(self, tokens: Iterable[object]) -> None:
        for token in tokens:
            assert isinstance(token, _Token)
            self._unacked -= token.last - token.first + 1
            acked = token.peer.acked
            if acked and acked[-1][1] == token.first - 1:
                acked[-1] = (acked[-1][0], token.last)
            else:
                acked.append((token.first, token.last))

    def speak(self, now_s: float) -> None:
        """Grant credit, and tell every producer what is new."""
        self._grant()
        if now_s >= self._look_round_at_s:
            self._look_round_at_s = now_s + self._options.silence_s
            for peer in self._peers.values():  # a word that cannot be delivered says that the producer has gone
                peer.speak |= now_s - peer.heard_at_s > self._options.silence_s
        for peer in [p for p in self._peers.values() if p.speak or p.grant or p.acked]:
            body = b"".join(_RANGE.pack(*pair) for pair in peer.acked)
            if self._reply(peer.identity, WORD, peer.session, body, peer.grant):
                peer.grant, peer.speak = 0, False
                peer.acked.clear()
            else:
                self._forget(peer)

    def _grant(self) -> None:
        free = self._ahead_max - self._unacked - self._granted
        if free <= 0:
            return
        hungry = [peer for peer in self._peers.values() if peer.waiting > peer.credit]
        wishes = [(peer, peer.waiting - peer.credit) for peer in hungry]
        if free > self._ahead_max // 2:
            wishes += [(p, self._standing - p.credit) for p in self._peers.values() if p.credit < self._standing
                       and p.waiting <= p.credit]  # fmt: skip
        for done, (peer, wish) in enumerate(wishes):
            share = min(wish, max(1, free // (len(wishes) - done)), free)
            peer.credit += share
            peer.grant += share
            self._granted += share
            free -= share

    def _reply(self, identity: bytes, kind: int, session: int, body: bytes = b"", count: int = 0) -> bool:
        """False if that connection has gone."""
        head = _HEADER.pack(VERSION, kind, session, 0, count, 0)
        return self._send([identity, head, body] if body else [identity, head])

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            LOGGER.warning("warning[zeromq-peer] a producer at %s %s (said once)", self._options.shown, what)


def closed(address: str) -> NotReachableError:
    """What is told to those whose messages wait when the client ends."""
    return NotReachableError(
        f"the connection to {address} was closed before a worker had acknowledged: sending the same again is harmless",
        slug="not-reachable",
    )
