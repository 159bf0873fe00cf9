"""One WebSocket to a Gremlin Server, on the thread that asks: gremlin_python's messages without its threads and event loops.

gremlin_python's own connection passes each request through two threads and an event loop, which takes longer than a small
question itself. Sources: RFC 6455; TinkerPop's "Graph Driver Provider Requirements" (requests, responses, status codes).
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from gremlin_python.driver.protocol import GremlinServerError
from gremlin_python.driver.remote_connection import RemoteConnection, RemoteTraversal
from gremlin_python.driver.request import RequestMessage
from gremlin_python.process.traversal import Bytecode
from janusgraph_python.driver.serializer import JanusGraphBinarySerializersV1
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage
from wsproto.utilities import ProtocolError

_CONNECTING = 5.0  # seconds
_RECEIVED_AT_ONCE = 1 << 18
_OK, _NOTHING, _MORE, _WHO = 200, 204, 206, 407  # status codes


class Wire(RemoteConnection):  # type: ignore[misc]  # gremlin_python has no types
    """A connection. For one thread at a time; dead after any error but GremlinServerError, and then closed.

    Args:
        url: ``ws://host:port/gremlin`` or ``wss://…``.
        source: the name of the traversal source there.
        seconds: that a request may take there; it is waited for a little longer here.
        patience: seconds that it is waited for here.
        largest: bytes of an answer.
        username: for servers that ask for one.
        password: likewise.

    Raises:
        OSError: it cannot be opened, or breaks (ConnectionError), or takes too long (TimeoutError).
        GremlinServerError: the server refused the request.
    """

    def __init__(
        self, url: str, source: str, *, seconds: float, patience: float, largest: int, username: str = "", password: str = ""
    ) -> None:
        super().__init__(url, source)
        self._milliseconds, self._patience, self._largest = int(seconds * 1000), patience, largest
        self._login = base64.b64encode(f"\0{username}\0{password}".encode()).decode() if username else ""
        self._serializer = JanusGraphBinarySerializersV1()
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._socket = _opened(url, min(patience, _CONNECTING))
        try:
            self._shake_hands(url)
        except BaseException:
            self.close()
            raise

    def submit(self, bytecode: Bytecode) -> RemoteTraversal:
        """What a traversal finds."""
        return RemoteTraversal(iter(self._ask("traversal", "bytecode", {"gremlin": bytecode})))

    def script(self, text: str, bindings: Mapping[str, Any]) -> list[Any]:
        """What a Groovy script gives."""
        return self._ask("", "eval", {"gremlin": text, "bindings": dict(bindings)})

    def close(self) -> None:
        """Close it. Twice is the same as once."""
        with contextlib.suppress(OSError, ProtocolError):
            self._send(CloseConnection(1000))
        self._socket.close()

    def _ask(self, processor: str, operation: str, arguments: dict[str, Any]) -> list[Any]:
        options = {"aliases": {"g": self._traversal_source}, "evaluationTimeout": self._milliseconds}
        request, deadline = str(uuid.uuid4()), time.monotonic() + self._patience
        try:
            self._write(request, RequestMessage(processor, operation, arguments | options), deadline)
            return [one for some in self._answers(request, deadline) for one in some]
        except GremlinServerError:
            raise
        except ProtocolError as error:
            self.close()
            raise ConnectionError(f"no WebSocket any more: {error}") from error
        except BaseException:
            self.close()  # the rest of its answer would be taken for another's
            raise

    def _write(self, request: str, message: RequestMessage, deadline: float) -> None:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        self._send(BytesMessage(self._serializer.serialize_message(request, message)))

    def _answers(self, request: str, deadline: float) -> Iterator[list[Any]]:
        while True:
            message = self._decoded(self._read(deadline))
            status = message["status"]
            if status["code"] == _WHO and self._login:
                self._write(request, RequestMessage("traversal", "authentication", {"sasl": self._login}), deadline)
                continue
            if status["code"] not in (_OK, _NOTHING, _MORE):
                raise GremlinServerError(status)
            if status["code"] != _NOTHING:
                yield message["result"]["data"]
            if status["code"] != _MORE:
                return

    def _decoded(self, data: bytes) -> dict[str, Any]:
        try:
            message: dict[str, Any] = self._serializer.deserialize_message(data)
        except (struct.error, LookupError, ValueError, TypeError) as error:
            raise ConnectionError(f"{len(data)} bytes that are no message of a Gremlin Server ({error!r})") from error
        return message

    def _read(self, deadline: float) -> bytes:
        """One message."""
        parts: list[bytes | bytearray] = []
        size = 0
        while True:
            for event in self._protocol.events():
                if isinstance(event, BytesMessage):
                    parts.append(event.data)
                    size += len(event.data)
                    if size > self._largest:
                        raise ConnectionError(f"its answer is larger than {self._largest} bytes")
                    if event.message_finished:
                        return b"".join(parts)
                elif isinstance(event, Ping):
                    self._send(event.response())
                elif isinstance(event, CloseConnection):
                    raise ConnectionError(f"it closed the connection: {event.code} {event.reason or ''}".rstrip())
                elif isinstance(event, TextMessage):
                    raise ConnectionError("it answers in text: it is no Gremlin Server with GraphBinary")
            self._receive(deadline)

    def _shake_hands(self, url: str) -> None:
        deadline, parts = time.monotonic() + min(self._patience, _CONNECTING), urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._send(Request(host=parts.netloc.rpartition("@")[2], target=target))
        while True:
            self._receive(deadline)
            for event in self._protocol.events():
                if isinstance(event, AcceptConnection):
                    return
                if isinstance(event, RejectConnection):
                    raise ConnectionError(f"it is no Gremlin Server: HTTP status {event.status_code}")

    def _send(self, event: Any) -> None:  # noqa: ANN401 - one of wsproto's
        self._socket.sendall(self._protocol.send(event))

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(left)
        data = self._socket.recv(_RECEIVED_AT_ONCE)
        if not data:
            raise ConnectionError("it ended the connection")
        self._protocol.receive_data(data)


def _opened(url: str, seconds: float) -> socket.socket:
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    opened = socket.create_connection((parts.hostname or "", parts.port or (443 if secure else 80)), seconds)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ssl.create_default_context().wrap_socket(opened, server_hostname=parts.hostname) if secure else opened
    except BaseException:
        opened.close()
        raise
