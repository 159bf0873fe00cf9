"""The guard before every request: Host, authentication, origin, and how large and how slow a body may be.

An ASGI middleware: what it refuses never reaches an application. ``/healthz`` alone passes without a name or a
credential, since it tells nothing but "ok". A refusal is JSON, ``{"error": …, "status": …}``, and closes the connection.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

from skytrail.errors import ListenError
from skytrail.settings.tree import Http

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_T = TypeVar("_T")

_HASH = re.compile(r"(scrypt:\d+:\d+:\d+|pbkdf2:sha(1|256|384|512):\d+)\$[^$]+\$[0-9a-f]+")
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_REMEMBERED = 64  # passwords that were right, so that scrypt's 50 ms are paid once
_WAITING = 16  # password checks under way or waiting; beyond: 503

log = structlog.get_logger(__name__)


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


class WatchedFile(Generic[_T]):
    """A file's parsed content, read again when the file changes.

    Raises ListenError when it cannot be read at first. Later it fails closed: a file that went away or turned wrong has
    the content ``nothing`` until it is right again.
    """

    def __init__(self, key: str, path: str, parse: Callable[[str], _T], nothing: _T) -> None:
        self._key, self._path, self._parse, self._nothing = key, Path(path), parse, nothing
        self._seen = self._signature()
        try:
            self._content = self._read()
        except (OSError, ValueError) as exc:
            raise ListenError(f"{key}: {path}: {_reason(exc)}") from exc

    def content(self) -> _T:
        """Return what the file holds now; costs one stat when nothing changed."""
        signature = self._signature()
        if signature != self._seen:
            self._seen = signature
            try:
                self._content = self._read()
            except (OSError, ValueError) as exc:
                self._content = self._nothing
                log.warning("credentials unreadable", key=self._key, path=str(self._path), reason=_reason(exc))
        return self._content

    def _read(self) -> _T:
        return self._parse(self._path.read_text("utf-8"))

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _reason(exc: Exception) -> str:
    return (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)


def _lines(text: str) -> Iterable[str]:
    return (line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def parse_tokens(text: str) -> tuple[bytes, ...]:
    """Return the SHA-256 of each token: one a line, # begins a comment. Raises ValueError."""
    tokens = tuple(hashlib.sha256(line.encode()).digest() for line in _lines(text))
    if not tokens:
        raise ValueError("no token in it; write one a line")
    return tokens


def parse_users(text: str) -> dict[str, str]:
    """Return the hash of each user: ``user:hash`` a line, # begins a comment. Raises ValueError without the hash."""
    users = {}
    for line in _lines(text):
        user, _, hashed = line.partition(":")
        if not user or not _HASH.fullmatch(hashed):
            raise ValueError(f"the hash of user {user!r} is none that skytrail config --hash-password prints")
        users[user] = hashed
    if not users:
        raise ValueError("no user in it; write user:hash, hash from skytrail config --hash-password")
    return users


def hash_password(password: str) -> str:
    """Return the salted scrypt hash of ``password`` for http.users_file."""
    from werkzeug.security import generate_password_hash  # noqa: PLC0415 - imports all of werkzeug

    return generate_password_hash(password)


class Credentials:
    """Who may ask: holders of a token, and users with a password; nobody is asked when neither file is set."""

    def __init__(self, http: Http) -> None:
        self._tokens = (
            WatchedFile("http.token_file", http.token_file, parse_tokens, ()) if http.token_file is not None else None
        )
        self._users = (
            WatchedFile("http.users_file", http.users_file, parse_users, {}) if http.users_file is not None else None
        )
        self._salt = secrets.token_bytes(32)
        self._right: set[bytes] = set()
        self._right_of: Mapping[str, str] | None = None
        self._waiting = 0
        self._checker = ThreadPoolExecutor(1, "skytrail-password")  # scrypt takes 32 MiB: one at a time

    @property
    def wanted(self) -> bool:
        """Whether a credential is asked for at all."""
        return self._tokens is not None or self._users is not None

    def challenges(self) -> Headers:
        """Return the WWW-Authenticate headers (RFC 9110 §11.6.1)."""
        bearer = [(b"www-authenticate", b'Bearer realm="skytrail"')] if self._tokens else []
        basic = [(b"www-authenticate", b'Basic realm="skytrail", charset="UTF-8"')] if self._users else []
        return bearer + basic

    async def check(self, authorization: bytes) -> bool:
        """Return whether the Authorization header's value names somebody we know. Raises OverloadError."""
        scheme, _, rest = authorization.strip().partition(b" ")
        if scheme.lower() == b"bearer" and self._tokens is not None:
            given = hashlib.sha256(rest.strip()).digest()
            # A list, not a generator: every token is compared, so that time does not tell which one was near.
            return any([hmac.compare_digest(given, token) for token in self._tokens.content()])
        if scheme.lower() == b"basic" and self._users is not None:
            return await self._check_password(rest.strip(), self._users.content())
        return False

    async def _check_password(self, encoded: bytes, users: Mapping[str, str]) -> bool:
        """RFC 7617: base64 of user:password in UTF-8."""
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        if not colon or not users:
            return False
        if self._right_of is not users:  # the file was read again: nothing that was right then counts
            self._right_of, self._right = users, set()
        digest = hashlib.blake2b(encoded, key=self._salt).digest()
        if digest in self._right:
            return True
        if self._waiting >= _WAITING:
            raise OverloadError
        # An unknown user's password is checked too, against any hash, so that time does not tell who exists.
        hashed = users.get(user, next(iter(users.values())))
        self._waiting += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(self._checker, _matches, hashed, password)
        finally:
            self._waiting -= 1
        if right and user in users:
            if len(self._right) >= _REMEMBERED:
                self._right.clear()
            self._right.add(digest)
            return True
        return False


class OverloadError(Exception):
    """More password checks wait than may."""


def _matches(hashed: str, password: str) -> bool:
    from werkzeug.security import check_password_hash  # noqa: PLC0415 - imports all of werkzeug

    return check_password_hash(hashed, password)


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """An answer of the guard itself."""

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


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
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._app = app
        self._credentials = credentials
        self._hosts = hosts
        self._any_address = any_address
        self._origins = frozenset(origins)
        self._limits = limits
        self.refused: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it; anything but HTTP is closed."""
        if scope["type"] != "http":
            await send({"type": f"{scope['type']}.close", "code": 1008})
            return
        headers: Headers = scope["headers"]
        shared = self._response_headers(headers)
        try:
            if scope["path"] != "/healthz":
                self._check_host(headers)
                self._check_origin(scope["method"], headers)
                if self._is_preflight(scope["method"], headers):
                    await _respond(send, 204, shared + _PREFLIGHT)
                    return
                await self._check_credentials(headers)
            body = await self._read_body(headers, receive)
        except Refusal as refusal:
            self.refused[refusal.status] += 1
            await _refuse(send, refusal, shared)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), _with_headers(send, shared))

    def _check_host(self, headers: Headers) -> None:
        given = _values(headers, b"host")
        if len(given) != 1:
            raise Refusal(400, "exactly one Host header is needed")
        name = host_name(given[0])
        if self._hosts is None or name in self._hosts or (self._any_address and _is_address(name)):
            return
        raise Refusal(421, "this server does not answer to that Host; add the name to http.allowed_hosts")

    def _check_origin(self, method: str, headers: Headers) -> None:
        """Refuse what another site's page makes a browser send, but for harmless reading (which CORS hides from it)."""
        origin = _first(headers, b"origin")
        if not origin or method in _SAFE_METHODS or self._allows(origin):
            return
        if origin.partition("://")[2].encode("latin1") != _values(headers, b"host")[0]:
            raise Refusal(403, "this origin may not write here; add it to http.cors_origins")

    async def _check_credentials(self, headers: Headers) -> None:
        if not self._credentials.wanted:
            return
        try:
            known = await self._credentials.check((_values(headers, b"authorization") or [b""])[0])
        except OverloadError as exc:
            raise Refusal(503, "too many passwords are being checked; try again", ((b"retry-after", b"1"),)) from exc
        if not known:
            raise Refusal(401, "a token or a user with a password is needed", tuple(self._credentials.challenges()))

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the whole body, so that a slow client holds no worker; None when the client went away."""
        length = _first(headers, b"content-length")
        too_large = Refusal(413, f"the body is larger than {self._limits.body_size} bytes")
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
            raise Refusal(408, f"the body took longer than {self._limits.body_timeout:g} s") from exc

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


async def _refuse(send: Send, refusal: Refusal, shared: Headers) -> None:
    body = json.dumps({"error": refusal.message, "status": refusal.status}).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *refusal.headers, *shared]
    await _respond(send, refusal.status, headers, body)


async def _respond(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + length})
    await send({"type": "http.response.body", "body": body})
