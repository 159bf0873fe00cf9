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
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import structlog

from skytrail.certificates import file_signature, reason
from skytrail.errors import ListenError, UsageError
from skytrail.http.roles import NAMES, Role
from skytrail.settings.tree import Http

_T = TypeVar("_T")

_HASH = re.compile(r"(scrypt:\d+:\d+:\d+|pbkdf2:sha(1|256|384|512):\d+)\$[^$]+\$[0-9a-f]+")
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_DIGEST = "sha256$"
_HASHED = re.compile(r"sha256\$[0-9a-f]{64}")
_ROLES = ", ".join(NAMES)
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
            raise ListenError(f"{key}: {path}: {reason(exc)}") from exc

    def content(self) -> _T:
        """Return what the file holds now; costs one stat when nothing changed."""
        signature = file_signature(self._path)
        if signature != self._seen:
            self._seen = signature
            try:
                self._content = self._read()
            except (OSError, ValueError) as exc:
                self._content = self._nothing
                log.warning("credentials unreadable", key=self._key, path=str(self._path), reason=reason(exc))
        return self._content

    def _read(self) -> _T:
        return self._parse(self._path.read_text("utf-8"))


def _lines(text: str) -> Iterable[str]:
    return (line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is good: the SHA-256 of it, whose it is, and what that one may do."""

    digest: bytes
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class User:
    """A user: the hash of the password, and what the user may do."""

    hashed: str
    role: Role


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody who asks and is known."""

    name: str
    role: Role


class MadeToken(NamedTuple):
    """A new token, and the line for the file of tokens."""

    secret: str
    line: str


def make_token(name: str, role: str) -> MadeToken:
    """A token of 256 random bits. Raises UsageError: the name cannot stand in a line of the file."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a token: letters, digits, '.', '_', '@' and '-', 64 at most")
    secret = f"skytrail_{secrets.token_urlsafe(32)}"
    return MadeToken(secret, f"{name}:{role}:{_DIGEST}{hashlib.sha256(secret.encode()).hexdigest()}")


def read_tokens(path: Path) -> list[str]:
    """The tokens that stand in a file as they are, not hashed. Raises OSError, ValueError."""
    return [line for line in _token_lines(path.read_text("utf-8")) if _DIGEST not in line]


def parse_tokens(text: str) -> tuple[Token, ...]:
    """Return the tokens of such a file's text: ``name:role:sha256$…`` a line, or the token itself, which may do everything.

    Raises ValueError.
    """
    return tuple(map(_token, _token_lines(text)))


def _token(line: str) -> Token:
    if _DIGEST not in line:
        return Token(hashlib.sha256(line.encode()).digest(), "token", Role.ADMIN)
    name, _, rest = line.partition(":")
    role, _, hashed = rest.partition(":")
    if not _NAME.fullmatch(name) or role not in NAMES or not _HASHED.fullmatch(hashed):
        raise ValueError(
            f"the line of {name[:64]!r} is none that skytrail token writes: name:role:{_DIGEST}…, role one of {_ROLES}"
        )
    return Token(bytes.fromhex(hashed.removeprefix(_DIGEST)), name, NAMES[role])


def _token_lines(text: str) -> list[str]:
    tokens = list(_lines(text))
    if not tokens:
        raise ValueError("no token in it; skytrail token makes one")
    return tokens


def parse_users(text: str) -> dict[str, User]:
    """Return the users: ``user:hash`` or ``user:role:hash`` a line (without a role: admin), # begins a comment.

    Raises ValueError without the hash.
    """
    users = {}
    for line in _lines(text):
        user, _, rest = line.partition(":")
        role, _, hashed = rest.partition(":")
        if role not in NAMES:
            role, hashed = str(Role.ADMIN), rest
        if not user or not _HASH.fullmatch(hashed):
            told = f"role one of {_ROLES} or none, hash as skytrail config --hash-password prints it"
            raise ValueError(f"the line of user {user!r} is not user:role:hash: {told}")
        users[user] = User(hashed, NAMES[role])
    if not users:
        raise ValueError("no user in it; write user:role:hash, hash from skytrail config --hash-password")
    return users


def hash_password(password: str) -> str:
    """Return the salted scrypt hash of ``password`` for http.users_file."""
    from werkzeug.security import generate_password_hash  # noqa: PLC0415 - imports all of werkzeug

    return generate_password_hash(password)


class Credentials:
    """Who may ask: holders of a token, and users with a password; nobody is asked when neither file is set."""

    def __init__(self, http: Http) -> None:
        self._tokens: WatchedFile[tuple[Token, ...]] | None = None
        self._users: WatchedFile[dict[str, User]] | None = None
        if http.token_file is not None:
            self._tokens = WatchedFile("http.token_file", http.token_file, parse_tokens, ())
        if http.users_file is not None:
            self._users = WatchedFile("http.users_file", http.users_file, parse_users, {})
        self._salt = secrets.token_bytes(32)
        self._right: set[bytes] = set()
        self._right_of: Mapping[str, User] | None = None
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

    async def check(self, authorization: bytes) -> Known | None:
        """Return whom the Authorization header's value names; None: nobody we know. Raises OverloadError."""
        scheme, _, rest = authorization.strip().partition(b" ")
        if scheme.lower() == b"bearer" and self._tokens is not None:
            given = hashlib.sha256(rest.strip()).digest()
            tokens = self._tokens.content()
            matches = [hmac.compare_digest(given, token.digest) for token in tokens]  # all: constant time
            return next((Known(token.name, token.role) for token, same in zip(tokens, matches, strict=True) if same), None)
        if scheme.lower() == b"basic" and self._users is not None:
            return await self._check_password(rest.strip(), self._users.content())
        return None

    async def _check_password(self, encoded: bytes, users: Mapping[str, User]) -> Known | None:
        """RFC 7617: base64 of user:password in UTF-8."""
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if not colon or not users:
            return None
        found = users.get(user)
        if self._right_of is not users:  # the file was read again: nothing that was right then counts
            self._right_of, self._right = users, set()
        digest = hashlib.blake2b(encoded, key=self._salt).digest()
        if digest in self._right and found:
            return Known(user, found.role)
        if self._waiting >= _WAITING:
            raise OverloadError
        # An unknown user's password is checked too, against any hash, so that time does not tell who exists.
        hashed = (found or next(iter(users.values()))).hashed
        self._waiting += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(self._checker, _matches, hashed, password)
        finally:
            self._waiting -= 1
        if right and found:
            if self._right_of is not users:  # the file was read again meanwhile
                return Known(user, found.role)
            if len(self._right) >= _REMEMBERED:
                self._right.clear()
            self._right.add(digest)
            return Known(user, found.role)
        return None


class OverloadError(Exception):
    """More password checks wait than may."""


def _matches(hashed: str, password: str) -> bool:
    from werkzeug.security import check_password_hash  # noqa: PLC0415 - imports all of werkzeug

    return check_password_hash(hashed, password)
