"""A connection that can be cut in the middle: everything that goes to a port goes through it."""

from __future__ import annotations

import contextlib
import socket
import threading

_PIECE = 1 << 16


class Relay:
    """Listens on a port of its own, and hands on to another one, both on loopback.

    Args:
        to: the other one.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, reset: bool) -> None:
        """Nothing passes any more; what was connected is ended, or hears nothing."""
        self._open.clear()
        if reset:
            self._end_all()

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._listener.close()
        self._end_all()
        self._open.set()

    def _end_all(self) -> None:
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                came, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(came,), daemon=True).start()

    def _serve(self, came: socket.socket) -> None:
        self._open.wait()
        try:
            there = socket.create_connection(("127.0.0.1", self._to), 10)
        except OSError:
            came.close()
            return
        there.settimeout(None)
        with self._lock:
            self._sockets |= {came, there}
        back = threading.Thread(target=self._pass, args=(there, came), daemon=True)
        back.start()
        self._pass(came, there)
        back.join()
        with self._lock:
            self._sockets -= {came, there}
        came.close()
        there.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                self._open.wait()
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
