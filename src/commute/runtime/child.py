"""A process that runs handlers for a worker: `main` for a child of the worker's own, `perform` for any other.

    worker ── Spec ──▶ import everything ── ready ──▶
           ── Call ──▶ decode, handler ── Reply ──▶      and log records in between

The child ends when its worker does: a thread of its own waits for the end of the connection, and on Linux the kernel
kills it with the worker's thread, whatever it is busy with.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import functools
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

import msgspec

from commute.codec import codec_for
from commute.context import Context, Transaction
from commute.core.retry import leaf
from commute.embedded.guard import protect
from commute.errors import DeadLetter, UsageError, kind_name
from commute.executors.frames import CALL_BYTES, FAILED, LOGGED, READY, REPLY, pack
from commute.runtime.call import Call, Logged, NamedCodec, Published, Raised, Reply, Spec, find
from commute.runtime.encoder import Encoder
from commute.runtime.notes import detail_of, where_of
from commute.runtime.slot import CURRENT

TEXT_CHARACTERS_MAX = 4_000  # of an exception's own words
_STANDARD = frozenset(vars(logging.makeLogRecord({})))
_LOOPS = threading.local()
_RUNNING: Counter[str] = Counter()  # handlers at this moment by scope, for `running`


class Visit:
    """One attempt in this process: what its context asks for. Used by one handler, in one thread."""

    def __init__(self, call: Call, source: str, encode: Callable[[object], tuple[str, bytes]]) -> None:
        self.source = source
        self.handler_name: str = call.handler
        self.number = call.attempt
        self.log_position = call.position
        self.published: list[Published] = []
        self._encode = encode

    def publish(self, event: object, to: str | None) -> None:
        """Buffer one event; it leaves with the worker's record of this handler's success."""
        self.published.append(Published(*self._encode(event), to))

    def transaction(self) -> Transaction:
        raise UsageError(
            f"{self.handler_name} opened ctx.transaction() outside the worker's process, which alone writes its "
            'store: run it with executor="threads", or publish an event whose handler has the transaction',
            slug="transaction-elsewhere",
        )


class _Stateless(Context[Any]):
    """The context where a lifespan's state exists, and stays with the worker."""

    __slots__ = ()

    @property
    def state(self) -> Any:
        raise UsageError(
            f"{self._attempt.handler_name} read ctx.state outside the worker's process: what lifespan yields stays "
            "there. Make what the handler needs in its module, once a process",
            slug="state-elsewhere",
        )

    @state.setter
    def state(self, _value: object) -> None:
        return


class Handlers:
    """The handlers of one app, imported into this process. Raises whatever their imports raise."""

    def __init__(self, spec: Spec) -> None:
        if spec.protected is not None:
            protect(spec.protected)
        self._source = spec.source
        self._context: type[Context[Any]] = _Stateless if spec.has_state else Context
        self._by_name: dict[str, tuple[Callable[..., object], bool, dict[str, Callable[[bytes], object]]]] = {}
        for name, handler in spec.handlers.items():
            function = find(handler.function)
            assert callable(function), f"{handler.function} is no function"
            decoders = {codec.type: _codec(codec).decode for codec in handler.events}
            self._by_name[name] = (function, handler.takes_context, decoders)
        self._encode = Encoder(map(_codec, spec.codecs), spec.event_bytes_max).encode

    def perform(self, call: Call) -> Reply:
        """Run one handler to its end; whatever it raises is in the reply."""
        function, takes_context, decoders = self._by_name[call.handler]
        visit = Visit(call, self._source, self._encode)
        token = CURRENT.set(visit)
        try:
            event = decoders[call.message.type](call.message.data)
            arguments = (event, self._context(visit, call.message, None)) if takes_context else (event,)
            result = function(*arguments)
            if asyncio.iscoroutine(result):
                _loop().run(result, context=copy_context())
        except BaseException as error:  # noqa: BLE001 - it goes to the worker, which judges it
            return Reply([], _raised(error, function))
        finally:
            CURRENT.reset(token)
        return Reply(visit.published, None)


def perform(spec: bytes, scope: str, call: bytes) -> bytes:
    """A `Reply` to a `Call`, for a process that serves many: its handlers are imported at the first call."""
    handlers = _handlers(spec)
    _RUNNING[scope] += 1
    try:
        return msgspec.msgpack.encode(handlers.perform(msgspec.msgpack.decode(call, type=Call)))
    finally:
        _RUNNING[scope] -= 1


def running(scope: str) -> int:
    """How many handlers of `scope` run in this process."""
    return _RUNNING[scope]


def importable(spec: bytes) -> str | None:
    """Why the handlers cannot be imported into this process, or None: they can."""
    try:
        _handlers(spec)
    except Exception as error:  # noqa: BLE001 - an import may raise anything, and it is told
        return f"{type(error).__name__}: {error}"
    return None


@functools.lru_cache(maxsize=8)
def _handlers(spec: bytes) -> Handlers:
    return Handlers(msgspec.msgpack.decode(spec, type=Spec))


def _codec(named: NamedCodec) -> Any:
    if named.cls is None:
        return codec_for(named.type)
    codec = codec_for(cls := find(named.cls))  # type: ignore[arg-type]
    return codec if codec.event_type == named.type else codec_for(cls, type_name=named.type)  # type: ignore[arg-type]


def _loop() -> asyncio.Runner:
    """One event loop a thread, so that what a module keeps open on it stays usable."""
    runner: asyncio.Runner | None = getattr(_LOOPS, "runner", None)
    if runner is None:
        runner = _LOOPS.runner = asyncio.Runner()
    return runner


def _raised(error: BaseException, function: Callable[..., object]) -> Raised:
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next  # without ours
    meant = leaf(error, (DeadLetter,)) or error
    try:
        text = str(meant)[:TEXT_CHARACTERS_MAX]
    except Exception:  # noqa: BLE001 - anything may come out of somebody's __str__
        text = "its text cannot be had: str() failed"
    kinds = frozenset(kind_name(kind) for one in _leaves(error) for kind in type(one).__mro__)
    where = where_of(error, getattr(function, "__code__", None))
    return Raised(type(meant).__name__, text, kinds, where, f"where it ran:\n{detail_of(error)}")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [error, *(found for inner in error.exceptions for found in _leaves(inner))]
    return [error]


# -- a child of the worker ------------------------------------------------------------------------------------------


class _Line:
    """The connection to the worker. Frames are written whole, from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, kind: bytes, frame: bytes) -> None:
        with self._lock:
            self._connection.sendall(pack(kind + frame))

    def read(self) -> bytes:
        """The next frame. The process ends here when the worker has: nobody is left to answer to."""
        length = int.from_bytes(self._exactly(CALL_BYTES), "big")
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            with contextlib.suppress(ConnectionError):
                if part := self._connection.recv(min(length - len(found), 1 << 20)):
                    found += part
                    continue
            os._exit(0)
        return bytes(found)


class _Forward(logging.Handler):
    """Log records go to the worker."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - wrong arguments of a log call must not fail its handler
            self.handleError(record)
            return
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        extra = {
            key: value
            for key, value in vars(record).items()
            if key not in _STANDARD and isinstance(value, str | int | float)
        }
        logged = Logged(record.name, record.levelno, text, record.created, extra)
        self._line.send(LOGGED, msgspec.msgpack.encode(logged))


def main(connection_fd: int, *held_fds: int) -> None:
    """Serve the worker at the other end of a socket until it ends. `held_fds` stay open as long as this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # a drain is the worker's: it lets what runs here end
    _die_with_the_worker()
    faulthandler.enable()
    for fd in (connection_fd, *held_fds):
        os.set_inheritable(fd, False)
    line = _Line(socket.socket(fileno=connection_fd))
    frames: SimpleQueue[bytes] = SimpleQueue()
    spec = msgspec.msgpack.decode(line.read(), type=Spec)
    threading.Thread(target=_read, args=(line, frames), name="commute worker", daemon=True).start()
    logging.getLogger().addHandler(_Forward(line))
    for name, level in spec.log_levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        handlers = Handlers(spec)
    except BaseException as error:  # noqa: BLE001 - the worker refuses to start with it
        line.send(FAILED, f"{type(error).__name__}: {error}".encode())
        return
    line.send(READY, b"")
    call_of = msgspec.msgpack.Decoder(Call).decode
    while True:
        reply = handlers.perform(call_of(frames.get()))
        sys.stdout.flush()
        line.send(REPLY, msgspec.msgpack.encode(reply))


def _read(line: _Line, frames: SimpleQueue[bytes]) -> None:
    while True:
        frames.put(line.read())


def _die_with_the_worker() -> None:
    """Linux: SIGKILL when the thread that started this process ends, also while native code holds the interpreter."""
    if sys.platform == "linux":
        import ctypes

        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, int(signal.SIGKILL))
