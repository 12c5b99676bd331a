"""A TCP proxy to a broker that can break connections, or swallow all that comes and say nothing."""

from __future__ import annotations

import socket
import threading


class Proxy:
    """Listens on a port of 127.0.0.1, a free one unless it is given, and forwards to `target`, in threads."""

    def __init__(self, target: tuple[str, int], port: int = 0) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self.listener.getsockname()[1]
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.swallowing: set[socket.socket] = set()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.target)
            self.pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                self.threads.append(threading.Thread(target=self._pump, args=(one, other), daemon=True))
                self.threads[-1].start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                if one not in self.swallowing:
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # broken, as it was told to be

    def cut(self) -> None:
        """Break what is connected now."""
        for pair in self.pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # broken before

    def swallow(self) -> None:
        """From now on what is connected now is heard by nobody; new connections work."""
        self.swallowing |= {end for pair in self.pairs for end in pair}

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        for thread in self.threads:
            thread.join(5)
        for pair in self.pairs:
            for end in pair:
                end.close()
