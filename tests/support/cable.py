"""A connection that can be cut."""

from __future__ import annotations

import socket
import threading


class Cable:
    """Carries a port's connections to another port, until it is cut.

    Attributes:
        held: it takes no new connections.
    """

    def __init__(self, to: int) -> None:
        self._to, self._ends = to, list[socket.socket]()
        self.held = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self.held:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                near.close()
                continue
            self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            end.close()

    def cut(self) -> None:
        """End what is connected now, in the middle of whatever it carries."""
        for end in self._ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._ends.clear()

    def close(self) -> None:
        self._listening.close()
        self.cut()
