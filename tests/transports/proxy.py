"""A TCP proxy to a broker that delays, cuts (in mid-frame too), resets, or swallows what comes, one way or both; or
speaks TLS.

A protocol's bytes cannot be doubled without breaking it, so duplicates come as they do in life: one side has sent, the
proxy swallows the acknowledgements (`deafen` towards the broker, `mute` from it) and then cuts, and it is sent again.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from functools import partial


class Proxy:
    """Listens on a port of 127.0.0.1, a free one unless it is given, and forwards to `target`, in threads.

    `tls`: clients speak TLS to it, and it speaks plainly to the target.
    """

    def __init__(self, target: tuple[str, int], port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.delay_s = 0.0  # before each piece, in both directions
        self.rewriting: dict[
            bytes, bytes
        ] = {}  # in what the broker says, where it tells its own address; equal lengths
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self.listener.getsockname()[1]
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.swallowing: set[socket.socket] = set()
        self.halving: set[socket.socket] = set()
        self.resetting: set[socket.socket] = set()
        self.ended: set[socket.socket] = set()  # to be closed with an RST
        self.tls = tls
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.tls is not None:
                try:
                    near = self.tls.wrap_socket(near, server_side=True)
                except OSError:
                    continue  # the client trusts it not
            try:
                far = socket.create_connection(self.target)
            except OSError:  # nobody is there now
                near.close()
                continue
            self.pairs.append((near, far))
            pumps = [((near, far), (far, near))] if self.tls is not None else [((near, far),), ((far, near),)]
            over = threading.Barrier(len(pumps), partial(self._over, near, far))
            for ways in pumps:
                self.threads.append(threading.Thread(target=self._run, args=(over, *ways), daemon=True))
                self.threads[-1].start()

    def _run(self, over: threading.Barrier, *ways: tuple[socket.socket, socket.socket]) -> None:
        self._pump(*ways)
        over.wait()

    def _over(self, *ends: socket.socket) -> None:
        """No thread waits on them any more, so that closing has its effect at once."""
        for end in ends:
            if end in self.ended:
                end.close()

    def _pump(self, *ways: tuple[socket.socket, socket.socket]) -> None:
        """One way a thread; both in one where an end is encrypted, since its state is both ways' own."""
        to = dict(ways)
        with contextlib.suppress(OSError):  # broken, as it was told to be
            while True:
                held = [one for one in to if isinstance(one, ssl.SSLSocket) and one.pending()]
                for one in held or select.select(list(to), [], [])[0]:
                    data = one.recv(65_536)
                    if one in self.ended:
                        return
                    if not data:
                        to[one].shutdown(socket.SHUT_RDWR)
                        return
                    self._forward(one, to[one], data)

    def _forward(self, one: socket.socket, other: socket.socket, data: bytes) -> None:
        if self.delay_s:
            time.sleep(self.delay_s)
        if one in self.swallowing:
            return
        if one in self.resetting:
            self._reset(one, other)
            return
        for told, instead in self.rewriting.items():
            data = data.replace(told, instead)
        if one in self.halving and len(data) > 1:
            other.sendall(data[: len(data) // 2])
            self.cut()
            return
        other.sendall(data)

    def _reset(self, *ends: socket.socket) -> None:
        """RST to both, when `_over`."""
        self.ended.update(ends)
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):  # gone by itself
                end.shutdown(socket.SHUT_RD)  # says nothing to the peer, and wakes who waits here

    def cut(self) -> None:
        """Break what is connected now."""
        for pair in list(self.pairs):
            for end in pair:
                with contextlib.suppress(OSError):  # broken before
                    end.shutdown(socket.SHUT_RDWR)

    def cut_in_mid_frame(self) -> None:
        """Break what is connected now, with half of the next piece, whichever way it goes."""
        self.halving |= {end for pair in self.pairs for end in pair}

    def reset(self) -> None:
        """Each connection of now ends with an RST to both sides, instead of its next piece, whichever way that goes."""
        self.resetting |= {end for pair in self.pairs for end in pair}

    def swallow(self) -> None:
        """From now on what is connected now is heard by nobody; new connections work."""
        self.swallowing |= {end for pair in self.pairs for end in pair}

    def deafen(self) -> None:
        """From now on the broker hears nothing of what is connected now, and is heard."""
        self.swallowing |= {near for near, _far in self.pairs}

    def mute(self) -> None:
        """From now on the broker is not heard by what is connected now, and hears it."""
        self.swallowing |= {far for _near, far in self.pairs}

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        for thread in self.threads:
            thread.join(5)
        for pair in self.pairs:
            for end in pair:
                end.close()
