"""One MQTT connection and its thread, on paho's client: kept up with backoff, and driven by this thread alone.

paho's own thread would be woken for every acknowledgement, and its own reconnecting keeps messages whose senders have
been told that they failed. So each connection has a new client, and what other threads want is posted, rung for once.

Invariant: what happens on a connection happens on its line's thread; roles and their state need no lock.
"""

from __future__ import annotations

import logging
import os
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from commute import cloudevents
from commute.errors import CommuteError, NotReachableError, UsageError
from commute.transports.base import Message
from commute.transports.mailbox import Mailbox
from commute.transports.mqtt_roles import Outgoing, Publisher, Receiver, topic_filter

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

    from commute.transports.mqtt import MqttOptions

LOGGER = logging.getLogger("commute")

RECEIVE_MAX = 65_535  # of MQTT 5
NOTES = "commute/store/"  # the topics on which workers tell each other of their stores (`transports.mqtt_claim`)
_READS_MAX = 500  # packets, before acknowledgements and arrivals have their turn
_TURN_S_MAX = 1.0
_FLUSH_S_MAX = 1.0
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"  # in the words of OpenSSL, by Python's ssl
_SHORT_LIVES_MAX = 4  # in a row; Mosquitto 2.0.11 does not say that another client has taken the session
_UNHEARD, _TAKEN_OVER = 0x10, 0x8E  # reason codes of MQTT 5


def library() -> Any:
    try:
        from paho.mqtt import client
    except ModuleNotFoundError:
        raise UsageError(
            'mqtt:// needs a client that is not installed: pip install "commute[mqtt]"', slug="no-extra"
        ) from None
    return client


def new_client(
    options: MqttOptions, client_id: str, *, five: bool, lasting: bool = False, manual_ack: bool = False
) -> Client:
    """paho's client, not yet connected. `lasting`: in MQTT 3.1.1 its session outlives the connection."""
    paho = library()
    client: Client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, client_id, clean_session=None if five else not lasting,
        protocol=paho.MQTTv5 if five else paho.MQTTv311, manual_ack=manual_ack, reconnect_on_failure=False,
    )  # fmt: skip
    if options.user:
        client.username_pw_set(options.user, options.password)
    if options.tls:
        client.tls_set(ca_certs=options.ca_file or None)
    return client


class Line:
    """One connection and its thread, kept up until it is stopped. Its `role` says what happens on it.

    `ready` is resolved when the first connection is of use, and fails if that one does.
    """

    def __init__(self, options: MqttOptions, client_id: str, role: Receiving | Publishing) -> None:
        self.options = options
        self.ready: Future[None] = Future()
        self._client_id = client_id
        self._role = role
        self._bell, self._heard = socket.socketpair()
        self._mailbox = Mailbox()
        self._mailbox.open(partial(self._bell.send, b"!"))
        self._stopping = False
        self._packets = 0  # read so far: tells whether a read found any
        self._up = False
        self._problem = ""
        self._told = False
        self._short_lives = 0
        self._pause_s = options.retry_s_min
        self._thread = threading.Thread(target=self._run, name=f"commute {client_id}", daemon=True)

    # -- from any thread

    def open(self) -> None:
        """Start, and wait until it is of use. Raises NotReachableError."""
        self._thread.start()
        try:
            self.ready.result(self.options.connect_s_max)
        except TimeoutError:
            raise self.unreachable("it does not answer") from None

    def post(self, command: Callable[[], None]) -> bool:
        """Run this on the line's thread, soon; False if it has ended."""
        return self._mailbox.post(command)

    def close(self) -> None:
        """Run what was posted, disconnect, end. Blocks shortly; idempotent."""
        self.post(self.stop)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(self.options.connect_s_max)

    def stop(self) -> None:
        self._stopping = True

    def unreachable(self, why: str) -> NotReachableError:
        advice = "start the broker, or correct address, user or password"
        if _UNTRUSTED in why:
            advice = "name the file of the certificate's authority (ca_file=FILE), and a host that it is for"
        return NotReachableError(f"no connection to {self.options.shown}: {why}; {advice}", slug="not-reachable")

    # -- the line's thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                if self._role.may_connect():
                    self._connect_and_live()
                    if not self.ready.done():
                        self.ready.set_exception(self.unreachable(self._problem))
                        return
                    if self._stopping or not self._role.may_connect():
                        continue  # without a pause: it ends, or waits for the journal
                    self._rest(self._pause_s * random.uniform(0.5, 1.0))
                    self._pause_s = min(self._pause_s * 2, self.options.retry_s_max)
                else:
                    self._rest(_TURN_S_MAX, or_told=True)
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must be told, and the log
            LOGGER.error("error[internal] the connection %s ends: %r", self.options.shown, error)
        finally:
            self._mailbox.shut()
            self._role.lost(self.unreachable("it was closed"))
            self._bell.close()
            self._heard.close()

    def _rest(self, duration_s: float, *, or_told: bool = False) -> None:
        end_s = time.monotonic() + duration_s
        while not self._stopping and (left_s := end_s - time.monotonic()) > 0:
            if select.select([self._heard], [], [], left_s)[0]:
                self._heard.recv(16)
                self._mailbox.obey()
                if or_told:
                    return

    def _connect_and_live(self) -> None:
        self._up, self._problem = False, "it closed the connection"
        client = self._client()
        began_s = time.monotonic()
        try:
            self._role.dial(client, self.options)
            self._live(client, began_s + self.options.connect_s_max)
        except (OSError, ValueError) as error:  # ValueError: packets that no one can read
            self._problem = str(error)
        finally:
            self._part(client)
        if time.monotonic() - began_s > 2 * self.options.retry_s_max:
            self._pause_s, self._short_lives = self.options.retry_s_min, 0
        elif self._up and self._role.lasting and not self._stopping and self._role.may_connect():
            self._short_lives += 1
            if self._short_lives == _SHORT_LIVES_MAX:
                self._tell_taken()
        self._role.lost(self.unreachable(self._problem))
        if not self._stopping and not self._told and self.ready.done() and self._role.may_connect():
            self._told = True
            LOGGER.warning("warning[not-reachable] lost the connection to %s: %s; trying again",
                           self.options.shown, self._problem)  # fmt: skip

    def _live(self, client: Client, connected_by_s: float) -> None:
        poller = select.poll()
        poller.register(self._heard, select.POLLIN)
        own = client.socket()
        more, looked_at_s = False, time.monotonic()
        wait_ms = min(_TURN_S_MAX, self.options.pressure_s_max) * 1_000
        while not self._stopping and self._role.may_connect() and client.socket() is not None and own is not None:
            wanted = select.POLLIN if self._may_read() else 0
            poller.register(own, wanted | (select.POLLOUT if client.want_write() else 0))
            ready = dict(poller.poll(0 if more and wanted else wait_ms))
            if self._heard.fileno() in ready:
                self._heard.recv(16)
                self._mailbox.obey()
            found = ready.get(own.fileno(), 0)
            if wanted and (more or found):
                more = self._read(client)
            elif found & (select.POLLHUP | select.POLLERR):
                return
            if self._up:
                self._role.turn(client)
            if client.want_write():
                client.loop_write()
            now_s = time.monotonic()
            if now_s - looked_at_s >= _TURN_S_MAX:
                looked_at_s = now_s
                client.loop_misc()
            if not self._up and now_s > connected_by_s:
                self._problem = "it does not answer"
                return

    def _may_read(self) -> bool:
        return not self._up or self._role.room()

    def _read(self, client: Client) -> bool:
        """Read what is there, as far as there is room; True if there may be more."""
        for _ in range(_READS_MAX):
            before = self._packets
            client.loop_read()
            if self._packets == before:
                return False
            if not self._may_read():
                break
        return True

    def _part(self, client: Client) -> None:
        """Say goodbye properly, with the acknowledgements that are owed, as far as the connection allows."""
        own = client.socket()
        if own is None:
            return
        # A second handle on the connection: paho closes its own with the last packet, and a connection that is closed
        # with something unread takes along what the broker has not read yet, acknowledgements among it.
        with socket.socket(fileno=os.dup(own.fileno())) as tail:
            if self._up:
                self._role.turn(client)
                self._mailbox.obey()  # what came last may be in the journal already
                self._role.turn(client)
                client.disconnect()
            end_s = time.monotonic() + _FLUSH_S_MAX
            while client.want_write() and client.socket() is not None and time.monotonic() < end_s:
                if select.select([], [tail], [], _FLUSH_S_MAX)[1]:
                    client.loop_write()
            client.on_disconnect = None
            if (left := client.socket()) is not None:
                left.close()
            _drain(tail, end_s)

    def _client(self) -> Client:
        client = new_client(
            self.options, self._client_id, five=self.options.version == "5", lasting=self._role.lasting, manual_ack=True
        )
        client.max_inflight_messages_set(0)  # bounded by Publisher; paho's own way costs a scan for each
        client.on_socket_register_write = lambda *_: None  # so that packets queue up until this thread writes
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        return client

    def _on_connect(self, client: Client, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._packets += 1
        if reason.is_failure:
            self._problem = str(reason)
            return
        self._up, self._told = True, False
        if self._role.connected(client, flags.session_present, getattr(properties, "ReceiveMaximum", RECEIVE_MAX)):
            self._is_ready()

    def _on_disconnect(self, _client: Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._problem = str(reason)
            if reason.value == _TAKEN_OVER:
                self._short_lives = _SHORT_LIVES_MAX
                self._tell_taken()

    def _tell_taken(self) -> None:
        LOGGER.warning(
            "warning[session-taken] the broker closes the connection again and again: probably another client calls "
            "itself %s too, at %s; give each worker's store a group of its own, or a client_id",
            self._client_id, self.options.shown,
        )  # fmt: skip

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._packets += 1
        self._role.message(message)

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._packets += 1
        self._role.confirmed(mid, str(reason) if reason.is_failure else "", unheard=reason.value == _UNHEARD)

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, reasons: Sequence[Any], _properties: Any) -> None:
        self._packets += 1
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._problem = f"it refuses the subscription ({refused[0]})"
            self._up = False
            raise ValueError(self._problem)
        self._is_ready()

    def _is_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)


def _drain(tail: socket.socket, end_s: float) -> None:
    """Tell the other side that nothing more comes, and wait until it has read that, or the time is over."""
    try:
        tail.shutdown(socket.SHUT_WR)
        while (left_s := end_s - time.monotonic()) > 0:
            tail.settimeout(left_s)
            if not tail.recv(65_536):
                return
    except OSError as error:
        LOGGER.debug("closing a connection: %s", error)


def _is_note(message: MQTTMessage) -> bool:
    try:
        return message.topic.startswith(NOTES)
    except UnicodeDecodeError:
        return False


class Publishing:
    """The role of the connection that sends."""

    lasting = False

    def __init__(self, options: MqttOptions) -> None:
        self.publisher = Publisher(options.in_flight_max)
        self._five = options.version == "5"
        self._up = False

    def may_connect(self) -> bool:
        return True

    def room(self) -> bool:
        return True

    def dial(self, client: Client, options: MqttOptions) -> None:
        if self._five:
            client.connect(options.host, options.port, options.keepalive_s, clean_start=True)
        else:
            client.connect(options.host, options.port, options.keepalive_s)

    def connected(self, client: Client, session_present: bool, receive_max: int) -> bool:
        """True: of use."""
        del client, session_present
        self._up = True
        self.publisher.begin(receive_max)
        return True

    def add(self, outgoing: Sequence[Outgoing], unreachable: Callable[[str], CommuteError]) -> None:
        self.publisher.add(outgoing)
        if not self._up:
            self.publisher.fail(unreachable("it was lost and is not back yet"))

    def message(self, message: MQTTMessage) -> None:
        del message  # nothing is subscribed

    def confirmed(self, mid: int, refusal: str, *, unheard: bool) -> None:
        self.publisher.confirmed(mid, refusal, unheard=unheard)

    def turn(self, client: Client) -> None:
        def publish(outgoing: Outgoing) -> int | None:
            properties = self._properties(outgoing.properties) if self._five else None
            info = client.publish(outgoing.topic, outgoing.payload, qos=1, properties=properties)
            return None if info.rc else info.mid

        self.publisher.pump(publish)

    @staticmethod
    def _properties(pairs: list[tuple[str, str]] | None) -> Any:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = cloudevents.STRUCTURED if pairs is None else cloudevents.JSON
        if pairs is not None:
            properties.UserProperty = pairs
        return properties

    def lost(self, error: CommuteError) -> None:
        self._up = False
        self.publisher.fail(error)


class Receiving:
    """The role of the connection that receives."""

    lasting = True

    def __init__(self, receiver: Receiver, options: MqttOptions, ahead_max: int, from_end: bool,
                 read: Callable[[MQTTMessage], Message]) -> None:  # fmt: skip
        self.receiver = receiver
        self._options = options
        self._ahead_max = ahead_max
        self._from_end = from_end
        self._read = read
        self._meets_notes = topic_filter(options.stream)[0].split("/")[0] in ("#", "+", NOTES.partition("/")[0])

    def may_connect(self) -> bool:
        return not self.receiver.paused

    def room(self) -> bool:
        return self.receiver.room

    def dial(self, client: Client, options: MqttOptions) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.receiver.begin()
        if options.version != "5":
            client.connect(options.host, options.port, options.keepalive_s)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = int(options.session_expiry_s)
        properties.ReceiveMaximum = max(1, min(self._ahead_max, RECEIVE_MAX))
        client.connect(options.host, options.port, options.keepalive_s, clean_start=False, properties=properties)

    def connected(self, client: Client, session_present: bool, receive_max: int) -> bool:
        """True: of use; otherwise the answer to the subscription says so."""
        del receive_max
        if session_present:
            return True
        from paho.mqtt.subscribeoptions import SubscribeOptions

        text, _ = topic_filter(self._options.stream)
        if self._options.version == "5":
            retained = (
                SubscribeOptions.RETAIN_DO_NOT_SEND if self._from_end else SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
            )
            client.subscribe(text, options=SubscribeOptions(qos=1, retainHandling=retained))
        else:
            client.subscribe(text, qos=1)
        return False

    def message(self, message: MQTTMessage) -> None:
        if self._meets_notes and _is_note(message):
            self.receiver.pass_over(message.mid, message.qos)
        else:
            self.receiver.message(self._read(message), message.mid, message.qos)

    def confirmed(self, mid: int, refusal: str, *, unheard: bool) -> None:
        del mid, refusal, unheard  # nothing is published

    def turn(self, client: Client) -> None:
        self.receiver.deliver(time.monotonic())
        for receipt in self.receiver.owed():
            client.ack(receipt.mid, receipt.qos)

    def lost(self, error: CommuteError) -> None:
        del error
