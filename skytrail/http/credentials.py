"""Who may ask: bearer tokens and users with passwords, from files that are read again when they change."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from skytrail.errors import ListenError
from skytrail.settings.tree import Http

_T = TypeVar("_T")

_HASH = re.compile(r"(scrypt:\d+:\d+:\d+|pbkdf2:sha(1|256|384|512):\d+)\$[^$]+\$[0-9a-f]+")
_REMEMBERED = 64  # passwords that were right, so that scrypt's 50 ms are paid once
_WAITING = 16  # password checks under way or waiting

log = structlog.get_logger(__name__)


class WatchedFile(Generic[_T]):
    """A file's parsed content, read again when the file changes.

    Raises ListenError when it cannot be read at first. Later it fails closed: a file that went away or turned wrong has
    the content ``nothing`` until it is right again.
    """

    def __init__(self, key: str, path: str, parse: Callable[[str], _T], nothing: _T) -> None:
        self._key, self._path, self._parse, self._nothing = key, Path(path), parse, nothing
        self._seen = file_signature(self._path)
        try:
            self._content = self._read()
        except (OSError, ValueError) as exc:
            raise ListenError(f"{key}: {path}: {_reason(exc)}") from exc

    def content(self) -> _T:
        """Return what the file holds now; costs one stat when nothing changed."""
        signature = file_signature(self._path)
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


def file_signature(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when the file does (time, size, inode), or None when there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _reason(exc: Exception) -> str:
    return (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)


def _lines(text: str) -> Iterable[str]:
    return (line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def read_tokens(path: Path) -> list[str]:
    """The tokens in a file: one a line, # begins a comment. Raises OSError, ValueError."""
    return _tokens(path.read_text("utf-8"))


def parse_tokens(text: str) -> tuple[bytes, ...]:
    """Return the SHA-256 of each token of such a file's text. Raises ValueError."""
    return tuple(hashlib.sha256(token.encode()).digest() for token in _tokens(text))


def _tokens(text: str) -> list[str]:
    tokens = list(_lines(text))
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
        self._tokens: WatchedFile[tuple[bytes, ...]] | None = None
        self._users: WatchedFile[dict[str, str]] | None = None
        if http.token_file is not None:
            self._tokens = WatchedFile("http.token_file", http.token_file, parse_tokens, ())
        if http.users_file is not None:
            self._users = WatchedFile("http.users_file", http.users_file, parse_users, {})
        self._salt = secrets.token_bytes(32)
        self._right: set[bytes] = set()
        self._right_of: Mapping[str, str] | None = None
        self._waiting = 0
        self._checker = ThreadPoolExecutor(1, "skytrail-password")  # scrypt takes 32 MiB: one at a time

    @property
    def wanted(self) -> bool:
        """Whether a credential is asked for at all."""
        return self._tokens is not None or self._users is not None

    def challenges(self) -> list[tuple[bytes, bytes]]:
        """Return the WWW-Authenticate headers (RFC 9110 §11.6.1)."""
        bearer = [(b"www-authenticate", b'Bearer realm="skytrail"')] if self._tokens else []
        basic = [(b"www-authenticate", b'Basic realm="skytrail", charset="UTF-8"')] if self._users else []
        return bearer + basic

    async def check(self, authorization: bytes) -> bool:
        """Return whether the Authorization header's value names somebody we know. Raises OverloadError."""
        scheme, _, rest = authorization.strip().partition(b" ")
        if scheme.lower() == b"bearer" and self._tokens is not None:
            given = hashlib.sha256(rest.strip()).digest()
            matches = [hmac.compare_digest(given, token) for token in self._tokens.content()]  # all: constant time
            return any(matches)
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
