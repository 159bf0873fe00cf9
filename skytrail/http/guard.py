"""The guard before every request: Host, authentication, origin, and how large and how slow a body may be.

An ASGI middleware: what it refuses never reaches an application. ``/healthz`` alone passes without a name or a
credential, since it tells nothing but "ok". A refusal is JSON, ``{"error": …, "status": …}``, and closes the
connection.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog

from skytrail.http.credentials import Credentials, Known, OverloadError
from skytrail.http.roles import OPEN, ROLE, SOCKET, Role, needed

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)

ANYBODY = Known("anybody", Role.ADMIN)
"""Who asks where nobody is asked who it is."""

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost. Sizes in bytes, times in seconds."""

    connections: int = 256
    """Open at once, TLS handshakes included; further ones wait in the kernel's backlog."""
    head_size: int = 16 * 1024
    head_timeout: float = 10.0
    """From connecting, or from the first byte of a further request, to the end of its headers."""
    handshake_timeout: float = 10.0
    body_size: int = 1 << 20
    body_timeout: float = 15.0
    keep_alive: int = 30
    stalled: float = 30.0
    """How long a client may leave what we send unread (TCP_USER_TIMEOUT)."""
    shutdown: int = 3


class RefusalError(Exception):
    """An answer of the guard itself."""

    def __init__(self, status: int, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or []


class Guard:
    """The middleware.

    ``hosts`` are the names that the Host header may give, in lower case; None: any. ``any_address`` lets it give any IP
    address too: a web page of an attacker (DNS rebinding) can only come under a name. ``refused`` counts by status.
    """

    def __init__(
        self,
        app: ASGIApp,
        credentials: Credentials,
        *,
        hosts: frozenset[str] | None,
        any_address: bool = False,
        origins: Iterable[str] = (),
        limits: Limits = Limits(),
    ) -> None:
        self._app = app
        self._credentials = credentials
        self._hosts = hosts
        self._any_address = any_address
        self._origins = frozenset(origins)
        self._limits = limits
        self.refused: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it; anything but HTTP and WebSockets is closed."""
        if scope["type"] == "websocket":
            await self._open(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": f"{scope['type']}.close", "code": 1008})
            return
        headers: Headers = scope["headers"]
        shared = self._response_headers(headers)
        try:
            if scope["path"] != OPEN:
                self._check_host(headers)
                self._check_origin(scope["method"], headers)
                if self._is_preflight(scope["method"], headers):
                    await _respond(send, 204, shared + _PREFLIGHT)
                    return
                known = await self._known(headers)
                scope[ROLE] = self._check_role(known, scope["method"], scope["path"])
            body = await self._read_body(headers, receive)
        except RefusalError as refusal:
            self.refused[refusal.status] += 1
            await refuse(send, refusal, shared)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), _with_headers(send, shared))

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a WebSocket on, or refuse it.

        A client without a credential is passed on with ``skytrail.login``: its protocol may ask who it is.
        """
        headers: Headers = scope["headers"]
        try:
            self._check_host(headers)
            self._check_origin("POST", headers)  # a page of another site's must not speak here
            if _values(headers, b"authorization") or not self._credentials.wanted:
                scope[ROLE] = self._check_role(await self._known(headers), SOCKET, scope["path"])
            else:
                scope["skytrail.login"] = self._login(scope)
        except RefusalError as refusal:
            self.refused[refusal.status] += 1
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        given = _values(headers, b"host")
        if len(given) != 1:
            raise RefusalError(400, "exactly one Host header is needed")
        name = host_name(given[0])
        if self._hosts is None or name in self._hosts or (self._any_address and _is_address(name)):
            return
        raise RefusalError(421, "this server does not answer to that Host; add the name to http.allowed_hosts")

    def _check_origin(self, method: str, headers: Headers) -> None:
        """Refuse what another site's page makes a browser send, but for harmless reading (which CORS hides from it)."""
        origin = _first(headers, b"origin")
        if not origin or method in _SAFE_METHODS or self._allows(origin):
            return
        if origin.partition("://")[2].encode("latin1") != _values(headers, b"host")[0]:
            raise RefusalError(403, "this origin may not write here; add it to http.cors_origins")

    async def _known(self, headers: Headers) -> Known:
        if not self._credentials.wanted:
            return ANYBODY
        try:
            known = await self._credentials.check((_values(headers, b"authorization") or [b""])[0])
        except OverloadError as exc:
            raise RefusalError(503, "too many passwords are being checked; try again", [(b"retry-after", b"1")]) from exc
        if known is None:
            raise RefusalError(401, "a token or a user with a password is needed", self._credentials.challenges())
        return known

    @staticmethod
    def _check_role(known: Known, method: str, path: str) -> Role:
        role = needed(method, path)
        if known.role < role:
            raise RefusalError(403, f"this needs the role {role}; {known.name} has {known.role}")
        if role is Role.ADMIN and known is not ANYBODY:
            log.info("administered", by=known.name, method=method, path=path)
        return known.role

    def _login(self, scope: Scope) -> Callable[[bytes], Awaitable[bool]]:
        """What tells whether somebody may speak at a WebSocket, by the value of an Authorization header; notes the role."""

        async def login(authorization: bytes) -> bool:
            known = await self._credentials.check(authorization)
            if known is None or known.role < needed(SOCKET, scope["path"]):
                return False
            scope[ROLE] = known.role
            return True

        return login

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the whole body, so that a slow client holds no worker; None when the client went away."""
        length = _first(headers, b"content-length")
        too_large = RefusalError(413, f"the body is larger than {self._limits.body_size} bytes")
        if length.isdigit() and int(length) > self._limits.body_size:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._limits.body_size:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as exc:
            raise RefusalError(408, f"the body took longer than {self._limits.body_timeout:g} s") from exc

    def _allows(self, origin: str) -> bool:
        return bool(origin) and (origin in self._origins or "*" in self._origins)

    def _is_preflight(self, method: str, headers: Headers) -> bool:
        asked = method == "OPTIONS" and bool(_values(headers, b"access-control-request-method"))
        return asked and self._allows(_first(headers, b"origin"))

    def _response_headers(self, headers: Headers) -> Headers:
        """Headers of every answer: no guessing of types; CORS for an allowed origin."""
        shared = [(b"x-content-type-options", b"nosniff")]
        if self._origins:
            shared.append((b"vary", b"origin"))
            origin = _first(headers, b"origin")
            if self._allows(origin):
                allowed = "*" if "*" in self._origins else origin
                shared.append((b"access-control-allow-origin", allowed.encode("latin1")))
        return shared


_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"600"),
]


def host_name(value: bytes) -> str:
    """Return the name in a Host header without its port, in lower case; of ``[::1]:8081`` it is ``::1``."""
    text = value.decode("latin1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _first(headers: Headers, name: bytes) -> str:
    return (_values(headers, name) or [b""])[0].decode("latin1")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body that was read, then what the client does afterwards."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _with_headers(send: Send, headers: Headers) -> Send:
    async def extended(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return extended


async def refuse(send: Send, refusal: RefusalError, shared: Headers) -> None:
    """Answer with the refusal, ``shared`` headers added, and close the connection."""
    body = json.dumps({"error": refusal.message, "status": refusal.status}).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *refusal.headers, *shared]
    await _respond(send, refusal.status, headers, body)


async def _respond(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + length})
    await send({"type": "http.response.body", "body": body})
