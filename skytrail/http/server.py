"""The listener: uvicorn with h11 in a thread of its own, with TLS, behind the guard, and with every client bounded.

Connections are accepted here rather than by uvicorn, so that their number is bounded from the TLS handshake on and a
renewed certificate is used by the next one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from skytrail.certificates import Reloading, load_pair, reason
from skytrail.errors import ListenError
from skytrail.http.credentials import Credentials
from skytrail.http.guard import ASGIApp, Guard, Limits
from skytrail.settings.tree import Http
from skytrail.settings.values import parse_address

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_START_TIMEOUT = 10.0
_RETRY = 1.0  # seconds until the next accept after one failed (no file descriptors left)

HttpCertificate = Reloading[ssl.SSLContext]

log = structlog.get_logger(__name__)


def serve(app: ASGIApp, listen: str, http: Http, limits: Limits = Limits()) -> Server:  # noqa: B008 - frozen
    """Return a server for ``app`` on ``listen`` (``host:port``; port 0: any), not yet started.

    Raises ListenError for an address beyond loopback without both TLS and authentication (unless ``http.insecure``),
    and for files of ``http`` that cannot be used.
    """
    host, addresses = check_exposure(listen, http)
    certificate = http_certificate(http)
    hosts = None if "*" in http.allowed_hosts else _LOOPBACK_NAMES | {host.lower(), *map(str.lower, http.allowed_hosts)}
    wildcard = host in _WILDCARDS
    if hosts is not None and wildcard:
        hosts = hosts - _WILDCARDS | {socket.gethostname().lower()}
    guard = Guard(app, Credentials(http), hosts=hosts, any_address=wildcard, origins=http.cors_origins, limits=limits)
    return Server(guard, addresses, certificate, limits)


def check_exposure(listen: str, http: Http) -> tuple[str, list[tuple[str, int]]]:
    """Return the host of ``listen`` and the addresses it means; ListenError when it must not be listened on."""
    host, addresses = resolved(listen)
    if http.insecure or is_loopback(addresses):
        return host, addresses
    missing = []
    if not (http.tls_cert and http.tls_key):
        missing.append("TLS (http.tls_cert, http.tls_key)")
    if not (http.token_file or http.users_file):
        missing.append("authentication (http.token_file or http.users_file)")
    if missing:
        raise ListenError(f"will not listen on {listen} without {' and '.join(missing)}; add them, or give --insecure")
    return host, addresses


def resolved(listen: str) -> tuple[str, list[tuple[str, int]]]:
    """Return the host of ``listen`` and the addresses it means; ListenError when there are none."""
    try:
        host, port = parse_address(listen)
        found = socket.getaddrinfo(host or "::", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except ValueError as exc:
        raise ListenError(f"cannot listen on {listen!r}: {exc}") from exc
    except OSError as exc:
        raise ListenError(f"cannot listen on {listen}: {exc.strerror}; give an address of this host") from exc
    return host, list(dict.fromkeys((str(sockaddr[0]), port) for *_, sockaddr in found))


def is_loopback(addresses: Iterable[tuple[str, int]]) -> bool:
    """Whether nobody beyond this host reaches them."""
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address, _ in addresses)


def http_certificate(http: Http) -> HttpCertificate | None:
    """What the next connection is given, of the files as they are then; None: no TLS. Raises ListenError."""
    if not (http.tls_cert and http.tls_key):
        return None
    chain, key = Path(http.tls_cert), Path(http.tls_key)

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        load_pair(context, chain, key)
        return context

    try:
        return Reloading((chain, key), make)
    except (OSError, ValueError) as exc:
        raise ListenError(f"http.tls_cert {chain}, http.tls_key {key}: {reason(exc)}") from exc


class Server:
    """A server in a thread; a context manager that starts and stops it."""

    def __init__(
        self, guard: Guard, addresses: list[tuple[str, int]], certificate: HttpCertificate | None, limits: Limits
    ) -> None:
        self.guard, self.certificate = guard, certificate
        self._addresses = addresses
        self._scheme = "https" if certificate else "http"
        self._sockets: list[socket.socket] = []
        config = uvicorn.Config(
            guard,
            http=_Protocol,
            ws="wsproto",
            ws_max_size=limits.body_size,
            ws_ping_interval=None,
            lifespan="off",
            loop="asyncio",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            workers=1,
            proxy_headers=False,
            forwarded_allow_ips="",
            server_header=False,
            timeout_keep_alive=limits.keep_alive,
            timeout_graceful_shutdown=limits.shutdown,
            h11_max_incomplete_event_size=limits.head_size,
        )
        self._uvicorn = _Uvicorn(config, certificate, limits)
        self._thread = threading.Thread(target=self._run, name="skytrail-http", daemon=True)

    @property
    def port(self) -> int:
        """The port listened on, after :meth:`start`."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The base URL, after :meth:`start`."""
        host = self._sockets[0].getsockname()[0]
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def start(self) -> None:
        """Bind, and return when requests are answered. Raises ListenError when the address is taken or not ours."""
        for host, port in self._addresses:
            bound = port or (self.port if self._sockets else 0)
            try:
                self._sockets.append(_bind(host, bound))
            except OSError as exc:
                self._close()
                reason = os.strerror(exc.errno) if exc.errno else str(exc)
                raise ListenError(f"cannot listen on {host} port {bound}: {reason}; give another address") from exc
        self._uvicorn.listeners = self._sockets
        self._thread.start()
        if not self._uvicorn.ready.wait(_START_TIMEOUT):
            self.stop()
            raise ListenError(f"the HTTP server on {self._addresses[0][0]} did not start; -v shows more")
        log.info("listening", url=self.url)

    def stop(self) -> None:
        """Finish what is being answered, for a few seconds at most, and close."""
        self._uvicorn.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._close()

    def _run(self) -> None:
        asyncio.run(self._uvicorn.serve())

    def _close(self) -> None:
        for listener in self._sockets:
            listener.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual = host == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=dual)
    listener.setblocking(False)
    return listener


class _Uvicorn(uvicorn.Server):
    """Uvicorn's server with an accept loop that bounds connections, handshakes included."""

    def __init__(self, config: uvicorn.Config, certificate: HttpCertificate | None, limits: Limits) -> None:
        super().__init__(config)
        self.listeners: list[socket.socket] = []
        self.ready = threading.Event()
        self._certificate = certificate
        self._limits = limits
        self._accepting: list[asyncio.Task[None]] = []
        self._open: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        self.servers = []
        slots = asyncio.Semaphore(self._limits.connections)
        self._accepting = [asyncio.create_task(self._accept(listener, slots)) for listener in self.listeners]
        self.started = True
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._accepting:
            task.cancel()
        await super().shutdown(sockets)
        for task in tuple(self._open):  # what did not end in time
            task.cancel()
        await asyncio.gather(*self._accepting, *self._open, return_exceptions=True)

    async def _accept(self, listener: socket.socket, slots: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await slots.acquire()
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as exc:
                slots.release()
                log.warning("accept failed", reason=exc.strerror)
                await asyncio.sleep(_RETRY)
                continue
            task = loop.create_task(self._attend(connection))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            task.add_done_callback(lambda _: slots.release())

    async def _attend(self, connection: socket.socket) -> None:
        """Make a connection of an accepted socket, and wait for its end."""
        loop = asyncio.get_running_loop()
        milliseconds = int(self._limits.stalled * 1000)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
            # asyncio sets it only on sockets made with a protocol's number; else an answer's body waits for its head's ACK
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = self._certificate.current() if self._certificate else None
            bounds = {"ssl_handshake_timeout": self._limits.handshake_timeout, "ssl_shutdown_timeout": 2.0}
            transport, protocol = await loop.connect_accepted_socket(
                self._protocol, connection, ssl=context, **(bounds if context else {})
            )
        except OSError as exc:  # the client went away, or speaks no TLS
            log.debug("connection refused", reason=exc.strerror or str(exc))
            connection.close()
            return
        try:
            await protocol.closed.wait()
        except asyncio.CancelledError:  # else it has ended: one of TLS that was closed twice cannot be aborted in Python 3.11
            transport.abort()
            raise

    def _protocol(self) -> _Protocol:
        protocol = _Protocol(self.config, self.server_state, {}, asyncio.get_running_loop())
        protocol.head_timeout = self._limits.head_timeout
        return protocol


class _Protocol(H11Protocol):
    """uvicorn's protocol, which waits for the rest of a request's headers for ever: here a timer ends that."""

    head_timeout = 0.0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        self.closed = asyncio.Event()
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()
        self.closed.set()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection to the protocol of WebSockets; its end is still noticed here, where a slot waits for it."""
        self._stop_timer()
        super().handle_websocket_upgrade(event)
        protocol = self.transport.get_protocol()
        if protocol is self:  # refused
            return
        ended = protocol.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            ended(exc)
            self.closed.set()

        protocol.connection_lost = connection_lost  # type: ignore[method-assign]  # an object of uvicorn's own

    def _watch_head(self) -> None:
        """Run the timer while a request's headers are incomplete; between requests uvicorn's keep-alive timer runs.

        A connection that became a WebSocket has no further request to wait for.
        """
        if self.transport.get_protocol() is not self:
            return
        # uvicorn sets None before the first request, whatever its annotation says.
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self._stop_timer()
        elif self._head_timer is None and self.timeout_keep_alive_task is None:
            self._head_timer = self.loop.call_later(self.head_timeout, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
