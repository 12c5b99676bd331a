"""Child processes that wait, warm, for handlers to run: one handler a child at a time.

Not concurrent.futures: there one child that dies breaks the pool and fails whatever the others run, calls are
pickled, and a running one cannot be ended. Here the death of a child is known as that of the one call it ran, a
cancelled call's child is killed, and another takes its place.

Invariants: a child is started by exec, never by a fork of this process with its threads; `run` returns or raises
only when the call has really ended; `close` returns when no child is left.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from commute.errors import DiedError, UsageError
from commute.executors.frames import CALL_BYTES, FAILED, LOGGED, READY, pack

LOGGER = logging.getLogger("commute")

AGAIN_S, AGAIN_S_MAX = 0.5, 30.0  # how soon a child that could not be started is tried again


class Child:
    """One process and the connection to it. Its end is waited for in a thread: asyncio's own watchers lose the status
    of a process that is killed while it ends."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        hear: Callable[[bytes], None],
    ) -> None:
        self.process = process
        self.busy = False
        self.ended = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._hear = hear
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._wait, args=(loop,), name="commute child", daemon=True).start()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self.process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(self.ended.set)

    async def ask(self, frame: bytes) -> bytes:
        """The child's answer, with its letter. Raises DiedError when it has ended instead."""
        try:
            self._writer.write(pack(frame))
            await self._writer.drain()
            while True:
                length = int.from_bytes(await self._reader.readexactly(CALL_BYTES), "big")
                answer = await self._reader.readexactly(length)
                if answer[:1] != LOGGED:
                    return answer
                self._hear(answer[1:])
        except (asyncio.IncompleteReadError, OSError):
            await self.end()
            raise DiedError(self._how()) from None

    async def watch(self) -> None:
        """Returns when the process has ended, whoever else still holds its end of the connection."""
        await self.ended.wait()
        self._writer.transport.abort()

    async def end(self) -> None:
        """Kill it; returns when it has really ended. Idempotent."""
        self.process.kill()
        await self.ended.wait()
        self._writer.transport.abort()

    def _how(self) -> str:
        status = self.process.returncode
        assert status is not None
        if status >= 0:
            return f"process {self.process.pid} exited with status {status}"
        return f"process {self.process.pid} was ended by {signal.Signals(-status).name}"


class Processes:
    """Up to `count` children. `program` is the module whose ``main`` serves, `greeting` its first frame; `held` are
    descriptors that stay open as long as a child does; `hear` gets what children log; `on_free`: one more may run."""

    def __init__(
        self,
        count: int,
        program: str,
        greeting: bytes,
        *,
        held: Sequence[int] = (),
        hear: Callable[[bytes], None],
        on_free: Callable[[], None],
    ) -> None:
        self._count = count
        self._program = program
        self._greeting = greeting
        self._held = tuple(held)
        self._hear = hear
        self._on_free = on_free
        self._children: dict[Child, asyncio.Task[None]] = {}
        self._idle: asyncio.Queue[Child] = asyncio.Queue()  # some may have died meanwhile
        self._replacing: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def pids(self) -> list[int]:
        """Of the children that are there."""
        return [child.process.pid for child in self._children]

    @property
    def free(self) -> bool:
        """Whether a call would begin at once."""
        return any(not child.busy for child in self._children)

    async def start(self) -> None:
        """Start all children; returns when each has imported what it needs. Raises UsageError (``processes-start``)."""
        results = await asyncio.gather(*(self._add() for _ in range(self._count)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def run(self, call: bytes) -> bytes:
        """The answer to one call. Raises DiedError. A cancelled call's child is killed before this raises."""
        child = await self._idle.get()
        while child.ended.is_set():
            child = await self._idle.get()
        child.busy = True
        try:
            answer = await child.ask(call)
        except asyncio.CancelledError:
            await child.end()
            raise
        child.busy = False
        self._idle.put_nowait(child)
        return answer[1:]

    async def close(self) -> None:
        """End all children, whatever they run; returns when they have ended. Idempotent."""
        self._closing = True
        for work in self._replacing:
            work.cancel()
        await asyncio.gather(*self._replacing, return_exceptions=True)
        children = dict(self._children)
        await asyncio.gather(*(child.end() for child in children))
        await asyncio.gather(*children.values())

    async def _add(self) -> None:
        child = await self._spawn()
        self._children[child] = asyncio.get_running_loop().create_task(self._watch(child), name="commute child")
        self._idle.put_nowait(child)

    async def _watch(self, child: Child) -> None:
        await child.watch()
        del self._children[child]
        if not self._closing:
            work = asyncio.get_running_loop().create_task(self._replace(), name="commute child again")
            self._replacing.add(work)
            work.add_done_callback(self._replacing.discard)

    async def _replace(self) -> None:
        delay_s = AGAIN_S
        while True:
            try:
                await self._add()
            except (UsageError, OSError) as error:
                LOGGER.error("error[processes-start] %s. Again in %.1f s", error, delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, AGAIN_S_MAX)
            else:
                self._on_free()
                return

    async def _spawn(self) -> Child:
        ours, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), *self._held)
        code = f"import sys; sys.path[:] = {sys.path!r}; from {self._program} import main; main{descriptors!r}"
        try:
            # From this thread: on Linux the child dies with the thread that started it.
            process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=descriptors)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        child = Child(process, *await asyncio.open_connection(sock=ours), self._hear)
        try:
            answer = await child.ask(self._greeting)
        except DiedError as error:
            raise _refused(str(error)) from None
        except BaseException:
            await child.end()
            raise
        if answer[:1] != READY:
            await child.end()
            raise _refused(answer[1:].decode(errors="replace") if answer[:1] == FAILED else "it answers nonsense")
        return child


def _refused(why: str) -> UsageError:
    return UsageError(f"a process for handlers could not import them: {why}", slug="processes-start")
