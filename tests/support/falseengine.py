"""Servers on a unix socket that say what no real daemon of Docker's does."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK"
EVENTS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@contextmanager
def answering(path: Path, answers: Mapping[str, bytes | Callable[[], bytes]]) -> Iterator[None]:
    """A server that says what no real daemon does: an answer by a part of a path, else it hangs up. A function may wait.

    As long as nothing else is said it answers a ping, and has no networks.
    """
    says: dict[str, bytes | Callable[[], bytes]] = {"/_ping": PING, "/networks": ok(b"[]"), **answers}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        kept: list[socket.socket] = []

        def serve(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):  # the client has enough
                while asked := connection.recv(65536):
                    target = asked.split()[1].decode()
                    found = next((text for start, text in says.items() if start in target), b"")
                    answer = found if isinstance(found, bytes) else found()
                    connection.sendall(answer)
                    if not answer:
                        connection.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


def event(action: str, identity: str, attributes: Mapping[str, str], at: int = 0) -> bytes:
    """An event of a container's, as a chunk. ``at``: ns since the epoch."""
    told = {"Type": "container", "Action": action, "Actor": {"ID": identity, "Attributes": attributes}, "timeNano": at}
    line = json.dumps(told).encode() + b"\n"
    return b"%x\r\n%s\r\n" % (len(line), line)
