"""A TCP proxy of one port whose connections can be cut, as a network does it."""

from __future__ import annotations

import socket
import threading

DEADLINE_S = 30.0


class Proxy:
    """TCP that can be cut: every connection of the moment ends, new ones go through."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def cut(self) -> None:
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # gone already

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                thread = threading.Thread(target=self._copy, args=pair, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _copy(self, source: socket.socket, to: socket.socket) -> None:
        with source:
            try:
                while data := source.recv(65_536):
                    to.sendall(data)
                to.shutdown(socket.SHUT_RDWR)
            except OSError:
                return
