"""ZeroMQ without a broker: the worker binds, producers connect, and nothing is confirmed that no worker has on disk.

ZeroMQ's sockets forget: a ROUTER drops, a connection that ends takes its queue along, nobody says what arrived. So
sequence, credit and acknowledgement are here, on a ROUTER (`consume`) and a DEALER (`send`; a worker that sends to its
own stream is a producer like any other). What no worker has acknowledged waits in the producer's memory.

The protocol is described in `transports.zeromq_sessions`. In short: a producer sends only what it has credit for, all
credit and unacknowledged arrivals together are at most `ahead_max`; whatever was sent over a connection that ended, or
to a worker that does not answer any more, is sent again from the first unacknowledged message on. So duplicates happen
(each is acknowledged), gaps and overtaking do not.

Security: CURVE encrypts and proves the worker to the producer; whoever knows the worker's public key may send. Without
it only loopback is used, unless ``insecure=1``.

Source: ZeroMQ's RFCs 28 (ROUTER and DEALER) and 26 (CurveZMQ), rfc.zeromq.org.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from commute import cloudevents
from commute.cloudevents import PlainJson
from commute.errors import NotReachableError, UsageError
from commute.transports.base import Message
from commute.transports.mailbox import Mailbox
from commute.transports.waiting import Waiting
from commute.transports.wire import Arrival, Promises, StreamOptions
from commute.transports.zeromq_sessions import Inlet, Outlet, Sending, closed, packed

if TYPE_CHECKING:
    import zmq

LOGGER = logging.getLogger("commute")

_TURN_FRAMES_MAX = 500  # read from one socket before acknowledgements and credit have their turn
_CLOSE_S_MAX = 5.0
_LINGER_MS = 1_000  # for acknowledgements on their way when a worker closes
_HEARTBEAT_MS = 2_000  # of the sockets, unseen by the sessions: finds connections that only look alive
_KEYS = ("server_key", "public_key", "secret_key")
_ACCEPTED = "write zmq+tcp://HOST:PORT[?stream=NAME], and of {} what is needed".format(
    ", ".join((*_KEYS, "insecure", "in_flight_max"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeromqOptions(StreamOptions):
    """Where the worker is, and all bounds. Keys are Z85 text, as zmq.curve_keypair() makes them.

    A producer needs the worker's `server_key`, and has a key pair made for it where none is given. A worker needs its
    own `public_key` and `secret_key`; with no `server_key` it sends to itself by its own.
    """

    host: str
    port: int
    stream: str = "events"
    server_key: str = field(default="", repr=False)
    public_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    insecure: bool = False  # plain text beyond loopback
    in_flight_max: int = 100_000  # messages that a producer holds until a worker acknowledges them
    in_flight_bytes_max: int = 256 * 1024 * 1024
    batch_messages_max: int = 256
    batch_bytes_max: int = 1024 * 1024  # a single message may be larger
    frame_bytes_max: int = 64 * 1024 * 1024  # of one message; a worker hangs up on what is larger
    addresses_max: int = 64  # workers that one client sends to
    silence_s: float = 2.0  # without a word from the other side until it is asked
    retry_s_min: float = 0.1
    retry_s_max: float = 5.0

    @property
    def shown(self) -> str:
        """The URL without keys."""
        return f"zmq+tcp://{self.address}?stream={self.stream}"

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(url: str) -> ZeromqOptions:
    """The options in a ``zmq+tcp://`` URL; keys may also come from COMMUTE_ZMQ_SERVER_KEY, _PUBLIC_KEY, _SECRET_KEY
    (in a URL they must be percent-encoded). Raises UsageError: ``broker-url``, ``option``, ``no-extra``."""
    _library()
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"the port of a zmq+tcp:// URL is no number: {_ACCEPTED}", slug="broker-url") from None
    alien = given.keys() - {*_KEYS, "stream", "insecure", "in_flight_max"}
    if parts.scheme != "zmq+tcp" or not host or not port or "@" in parts.netloc or parts.path.strip("/") or alien:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        more = f" (there is no option {', '.join(sorted(alien))})" if alien else ""
        raise UsageError(f"{shown!r} is no ZeroMQ URL{more}: {_ACCEPTED}", slug="broker-url")
    keys = {name: given.get(name) or os.environ.get(f"COMMUTE_ZMQ_{name.upper()}", "") for name in _KEYS}
    for name, key in keys.items():
        if key and len(key) != 40:
            raise UsageError(f"{name} is {len(key)} characters long and Z85 keys have 40: percent-encode it in a URL, "
                             f"or put it into COMMUTE_ZMQ_{name.upper()}", slug="broker-url")  # fmt: skip
    options = ZeromqOptions(
        host=host, port=port, stream=given.get("stream", "events"), insecure=given.get("insecure") == "1",
        server_key=keys["server_key"], public_key=keys["public_key"], secret_key=keys["secret_key"],
    )  # fmt: skip
    if "in_flight_max" in given:
        options = replace(options, in_flight_max=int(given["in_flight_max"]) if given["in_flight_max"].isdigit() else 0)
    if options.in_flight_max < 1 or not options.stream or given.get("insecure", "1") not in ("0", "1"):
        raise UsageError(f"in_flight_max is a number from 1, insecure 0 or 1, stream a name: {_ACCEPTED}",
                         slug="broker-url")  # fmt: skip
    return options


def _library() -> Any:
    try:
        import zmq
    except ModuleNotFoundError:
        raise UsageError(
            'zmq+tcp:// needs a client that is not installed: pip install "commute[zeromq]"', slug="no-extra"
        ) from None
    return zmq


def _check_secured(options: ZeromqOptions, *, binds: bool) -> None:
    """Raises UsageError (``insecure``) if plain text would leave this machine."""
    encrypted = (
        options.public_key and options.secret_key
        if binds
        else options.server_key or (options.public_key and options.secret_key)
    )
    if encrypted or options.insecure or is_loopback(options.host):
        return
    raise UsageError(
        f"{options.shown} is not on this machine, and without keys anyone could read and send: give the worker "
        "public_key and secret_key and each producer server_key (in the URL or as COMMUTE_ZMQ_SERVER_KEY, _PUBLIC_KEY, "
        "_SECRET_KEY; zmq.curve_keypair() makes a pair), or add insecure=1 on a network of your own",
        slug="insecure",
    )


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ZeromqWire:
    """A `Wire`. One thread owns all sockets; others leave it commands and ring an inproc socket, once for many."""

    promises = Promises(
        name="zeromq",
        confirmed="in the worker's journal, synced",
        durable=True,
        ordered=True,
        queued=False,
        note="there is no broker: what no worker has acknowledged is in the producer's memory, gone with its process",
    )

    def __init__(
        self,
        options: ZeromqOptions,
        *,
        plain: PlainJson | None = None,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._options = options
        self._plain = plain
        self._clock = clock
        self._new_id = new_id
        self._mailbox = Mailbox()
        self._in_flight = Waiting(options.in_flight_max, options.in_flight_bytes_max)
        self._bell: zmq.Socket[bytes] | None = None
        self._thread: threading.Thread | None = None
        # The wire's thread's own from here on.
        self._context: Any = None
        self._heard: Any = None  # the bell's other end
        self._poller: Any = None
        self._stopping = False
        self._inlet: Inlet | None = None
        self._router: Any = None
        self._arrived: Callable[[Sequence[Arrival]], None] = lambda _batch: None
        self._outlets: dict[str, Outlet] = {}  # by address
        self._dealers: dict[Any, Outlet] = {}
        self._monitors: dict[Any, Outlet] = {}

    # -- the contract of wire.Wire

    def connect(self) -> None:
        """Start the wire's thread. Needs nobody at the other end. Raises UsageError (``insecure``, ``no-extra``)."""
        assert self._thread is None, "connect is called once"
        zmq = _library()
        _check_secured(self._options, binds=False)
        self._context = zmq.Context()
        self._bell, self._heard = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        self._heard.bind("inproc://bell")
        self._bell.connect("inproc://bell")
        self._poller = zmq.Poller()
        self._poller.register(self._heard, zmq.POLLIN)
        self._mailbox.open(partial(self._bell.send, b""))
        self._thread = threading.Thread(target=self._run, name="commute zeromq", daemon=True)
        self._thread.start()

    def partitions(self) -> int:
        return 1

    def consume(
        self, group: str, arrived: Callable[[Sequence[Arrival]], None], *, ahead_max: int, from_end: bool = False
    ) -> None:
        """Listen at the address. `group` and `from_end` mean nothing here: nothing is kept before. Raises
        NotReachableError (the address is taken, or not this machine's), UsageError (``insecure``)."""
        del group, from_end
        zmq = _library()
        options = self._options
        _check_secured(options, binds=True)
        router = self._context.socket(zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a lost connection is an error, not silence
        router.setsockopt(zmq.MAXMSGSIZE, options.frame_bytes_max)
        _prepare(router, zmq, linger_ms=_LINGER_MS, ipv6=":" in options.host)
        if options.public_key and options.secret_key:
            router.curve_server = True
            router.curve_publickey, router.curve_secretkey = options.public_key.encode(), options.secret_key.encode()
        try:
            router.bind(f"tcp://{_bindable(options)}")
        except (zmq.ZMQError, OSError) as error:
            router.close(linger=0)
            raise NotReachableError(
                f"cannot listen at {options.address}: {error}; end the worker that does already, or choose another "
                "port or an address of this machine",
                slug="not-reachable",
            ) from None

        def begin() -> None:
            self._router, self._arrived = router, arrived
            self._inlet = Inlet(options, ahead_max, self._sender(router), self._read)
            self._poller.register(router, zmq.POLLIN)

        if not self._mailbox.post(begin):
            router.close(linger=0)

    def ack(self, tokens: Sequence[object]) -> None:
        """Tell the producers; soon."""
        self._mailbox.post(lambda: self._inlet.ack(tokens) if self._inlet is not None else None)

    def send(self, messages: Sequence[Message], to: str | None = None) -> Future[None]:
        """Keep the messages until the worker acknowledges them; `to`: another worker's ``HOST:PORT`` or URL.

        Raises UsageError (``broker-url``, ``insecure``, ``too-large``). NotReachableError in the future: too many wait
        already (`in_flight_max`), or the wire was closed.
        """
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel what may be on its way
        target = self._target(to)
        rows = packed(messages)
        if not rows:
            future.set_result(None)
            return future
        if max(map(len, rows)) > self._options.frame_bytes_max - 1024:
            raise UsageError(f"a message is larger than {self._options.frame_bytes_max - 1024} bytes (frame_bytes_max)",
                             slug="too-large")  # fmt: skip
        size_bytes = sum(map(len, rows))
        fits = self._in_flight.enter(len(rows), size_bytes)
        sending = Sending(future, len(rows))
        if not fits:
            future.set_exception(NotReachableError(
                f"{self._in_flight.messages} messages wait in this process for the worker at {target.address} "
                "(in_flight_max): start it, or send less at once", slug="not-reachable"))  # fmt: skip
        elif not self._mailbox.post(lambda: self._outlet(target).add((row, sending) for row in rows)):
            future.set_exception(closed(target.address))
        return future

    def claim(self, group: str, store: str) -> str:
        """`store`: the worker itself is where the stream is, and an address has one."""
        del group
        return store

    def claimed(self, group: str) -> str | None:
        del group
        return None

    def release(self, group: str) -> None:
        """Nothing is noted anywhere."""

    def discard(self, group: str) -> None:
        """Nothing: what there is lies in the store and in the producers."""

    def close(self) -> None:
        """Send what acknowledgements are owed, and end. What waits to be sent fails with NotReachableError."""
        self._mailbox.post(self._stop)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_S_MAX)

    def _target(self, to: str | None) -> ZeromqOptions:
        if to is None or to == self._options.stream:
            return self._options
        host, colon, port = to.rpartition(":")
        if "://" not in to and not (colon and port.isdigit()):
            raise UsageError(
                f"{to!r} is no ZeroMQ address: there is no broker that keeps other streams, so name the worker that "
                "reads it, HOST:PORT or zmq+tcp://HOST:PORT?stream=NAME",
                slug="broker-url",
            )
        other = parse(to if "://" in to else f"zmq+tcp://{host}:{port}")
        target = replace(self._options, host=other.host, port=other.port, stream=other.stream,
                         server_key=other.server_key or self._options.server_key)  # fmt: skip
        _check_secured(target, binds=False)
        return target

    # -- the wire's thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must be told, and the log
            LOGGER.error("error[internal] the connection %s ends: %r", self._options.shown, error)
        finally:
            self._shut()

    def _turn(self) -> None:
        now_s = time.monotonic()
        waits_s = [due_s for outlet in self._outlets.values() if (due_s := outlet.due_s(now_s)) is not None]
        if self._inlet is not None:
            waits_s.append(self._options.silence_s)
        ready = self._poller.poll(min(waits_s) * 1_000 + 1 if waits_s else None)
        now_s = time.monotonic()
        arrivals: list[Arrival] = []
        for ready_socket, _ in ready:
            if ready_socket is self._heard:
                self._heard.recv()
                self._mailbox.obey()
            elif ready_socket is self._router:
                assert self._inlet is not None
                for identity, *parts in _drained(ready_socket):
                    arrivals += self._inlet.frame(identity, parts, now_s)
            elif ready_socket in self._dealers:
                for parts in _drained(ready_socket):
                    self._dealers[ready_socket].frame(parts, now_s)
            else:
                self._look_at(ready_socket, now_s)
        if arrivals:
            self._arrived(arrivals)
        if self._inlet is not None:
            self._inlet.speak(now_s)
        for outlet in self._outlets.values():
            outlet.tick(now_s)

    def _stop(self) -> None:
        self._stopping = True

    def _look_at(self, monitor: Any, now_s: float) -> None:
        from zmq import Event
        from zmq.utils.monitor import recv_monitor_message

        outlet = self._monitors[monitor]
        event = recv_monitor_message(monitor)["event"]
        if event == Event.HANDSHAKE_SUCCEEDED:
            outlet.connected(now_s)
        elif event == Event.DISCONNECTED:
            outlet.disconnected()
        elif event in (Event.HANDSHAKE_FAILED_AUTH, Event.HANDSHAKE_FAILED_PROTOCOL):
            outlet.refused("the keys do not fit: compare server_key with the worker's public_key")

    def _outlet(self, target: ZeromqOptions) -> Outlet:
        outlet = self._outlets.get(target.shown)
        if outlet is not None:
            return outlet
        zmq = _library()
        dealer = self._context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.RECONNECT_IVL, round(target.retry_s_min * 1_000))
        dealer.setsockopt(zmq.RECONNECT_IVL_MAX, round(target.retry_s_max * 1_000))
        _prepare(dealer, zmq, linger_ms=0, ipv6=":" in target.host)
        server_key = target.server_key or (target.public_key if target.secret_key else "")
        if server_key:
            own = (target.public_key.encode(), target.secret_key.encode())
            dealer.curve_publickey, dealer.curve_secretkey = own if all(own) else zmq.curve_keypair()
            dealer.curve_serverkey = server_key.encode()
        monitor = dealer.get_monitor_socket(
            zmq.Event.HANDSHAKE_SUCCEEDED
            | zmq.Event.DISCONNECTED
            | zmq.Event.HANDSHAKE_FAILED_AUTH
            | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
        )
        outlet = Outlet(uuid.uuid4().bytes, target, self._sender(dealer), self._in_flight.leave, time.monotonic())
        self._outlets[target.shown] = self._dealers[dealer] = self._monitors[monitor] = outlet
        self._poller.register(dealer, zmq.POLLIN)
        self._poller.register(monitor, zmq.POLLIN)
        dealer.connect(f"tcp://{_connectable(target)}")
        return outlet

    def _sender(self, own: Any) -> Callable[[list[bytes]], bool]:
        zmq = _library()
        gone = (zmq.EHOSTUNREACH, zmq.EAGAIN)

        def send(parts: list[bytes]) -> bool:
            try:
                own.send_multipart(parts, zmq.NOBLOCK)
            except zmq.ZMQError as error:
                if error.errno not in gone:
                    raise
                return False
            return True

        return send

    def _read(self, body: bytes) -> Message:
        return cloudevents.read(
            body, {}, (), cloudevents.STRUCTURED, name=self._options.stream, source=self._options.shown,
            now_s=self._clock(), new_id=self._new_id, plain=self._plain,
        )  # fmt: skip

    def _shut(self) -> None:
        self._mailbox.shut()  # acknowledgements, and sends that fail below
        if self._inlet is not None:
            self._inlet.speak(time.monotonic())
        for outlet in self._outlets.values():
            outlet.fail(closed(self._options.address))
        for dealer in self._dealers:
            dealer.disable_monitor()
        for own in (*self._monitors, *self._dealers, self._router, self._heard, self._bell):
            if own is not None:
                own.close()
        self._context.term()


def _drained(own: Any) -> list[list[bytes]]:
    """What has arrived, up to a bound; never waits."""
    zmq = _library()
    found: list[list[bytes]] = []
    try:
        while len(found) < _TURN_FRAMES_MAX:
            found.append(own.recv_multipart(zmq.NOBLOCK))
    except zmq.Again:
        return found
    return found


def _prepare(own: Any, zmq: Any, *, linger_ms: int, ipv6: bool) -> None:
    for option, value in (
        (zmq.LINGER, linger_ms), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0),  # credit is the bound
        (zmq.HEARTBEAT_IVL, _HEARTBEAT_MS), (zmq.HEARTBEAT_TIMEOUT, 3 * _HEARTBEAT_MS), (zmq.IPV6, int(ipv6)),
    ):  # fmt: skip
        own.setsockopt(option, value)


def _bindable(options: ZeromqOptions) -> str:
    """The address as ZeroMQ can bind it: it looks no names up. Raises OSError."""
    if ":" in options.host:
        return options.address
    host = options.host if options.host in ("*", "0.0.0.0") else socket.gethostbyname(options.host)
    return f"{host}:{options.port}"


def _connectable(options: ZeromqOptions) -> str:
    """The address as one can connect to it: a worker that listens everywhere is reached by loopback."""
    host = "127.0.0.1" if options.host in ("*", "0.0.0.0", "localhost") else options.host
    return f"[{host}]:{options.port}" if ":" in host else f"{host}:{options.port}"
