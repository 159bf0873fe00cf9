"""Certificates in files that may be replaced at any time: what is in them, until when it is good, and whether it can be used.

Only what says until when is read here, by a reader of our own: a library for it takes more memory than the rest of TLS.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import structlog

from skytrail.metrics import Family, Kind, Metric

_T = TypeVar("_T")

Signature: TypeAlias = tuple[int, int, int, int]

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_INTEGER, _SEQUENCE, _UTC_TIME, _GENERAL_TIME, _VERSION = 0x02, 0x30, 0x17, 0x18, 0xA0
_SOON = 14 * 86400.0
_DAY = 86400.0

log = structlog.get_logger(__name__)

AGENT, HUB = "skytrail://agent/", "skytrail://hub/"
"""What an agent's or a hub's URI in its certificate begins with; its host's name follows, percent-encoded."""

EXPIRY = Metric(
    "skytrail_tls_certificate_expiry_timestamp_seconds", "skytrail.tls.certificate.expiry", Kind.GAUGE, "s",
    "When the certificate that we show ends to be good, seconds since the epoch.", ("use",), "2: http, wire",
)  # fmt: skip
REFUSED = Metric(
    "skytrail_tls_certificate_refused", "skytrail.tls.certificate.refused", Kind.GAUGE, "1",
    "1: the files were replaced by some that cannot be used, and those of before are used; 0: they are used.", ("use",),
    "2: http, wire",
)  # fmt: skip

DECLARED = (EXPIRY, REFUSED)


@dataclass(frozen=True, slots=True)
class Validity:
    """Of a certificate: its serial number, and between which times it is good, in seconds since the epoch."""

    serial: int
    begins: float
    ends: float


def read_validity(pem: bytes) -> Validity:
    """What the first certificate in ``pem`` says. Raises ValueError: there is none."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("no certificate (PEM) in it")
    try:
        body = _inside(_inside(base64.b64decode(found[1]), _SEQUENCE)[0], _SEQUENCE)[0]
        if body[0] == _VERSION:
            body = _inside(body, _VERSION)[1]
        serial, body = _inside(body, _INTEGER)
        for _ in ("signature algorithm", "issuer"):
            body = _inside(body, _SEQUENCE)[1]
        begins, rest = _time(_inside(body, _SEQUENCE)[0])
        return Validity(int.from_bytes(serial, "big", signed=True), begins, _time(rest)[0])
    except (IndexError, ValueError, binascii.Error) as error:
        raise ValueError("what is in it is no X.509 certificate") from error


def _inside(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the DER element at the beginning, which must be of that kind, and what follows it."""
    if data[0] != tag:
        raise ValueError("another element")
    size, at = data[1], 2
    if size & 0x80:
        at += size & 0x7F
        size = int.from_bytes(data[2:at], "big")
    if at + size > len(data):
        raise ValueError("it is cut")
    return data[at : at + size], data[at + size :]


def _time(data: bytes) -> tuple[float, bytes]:
    """RFC 5280 §4.1.2.5: two digits of a year are those of 1950 to 2049."""
    tag = data[0]
    text, rest = _inside(data, tag)
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    elif tag != _GENERAL_TIME:
        raise ValueError("no time")
    return dt.datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC).timestamp(), rest


class Reloading(Generic[_T]):
    """What is made of some files, made again when one of them is another. For any thread.

    While what is there cannot be used, what was made before is given; ``failure`` says why then.

    Args:
        files: the first one is a certificate.
        make: makes it. Raises OSError (ssl.SSLError is one) or ValueError; at first that is passed on.
    """

    def __init__(self, files: Sequence[Path], make: Callable[[], _T]) -> None:
        self._files, self._make = tuple(files), make
        self._lock = threading.Lock()
        self._seen = self._signature()
        self._value, self._validity = self._read()
        self.failure: str | None = None

    def current(self) -> _T:
        """What the files are worth now; costs a stat each when nothing changed."""
        with self._lock:
            signature = self._signature()
            if signature != self._seen:
                self._seen = signature
                self._renew()
            return self._value

    @property
    def validity(self) -> Validity:
        """Of the certificate that is in use."""
        self.current()
        return self._validity

    def waiting(self) -> str | None:
        """Why this is not as it must be, for /readyz; None: it is."""
        self.current()
        if self.failure is not None:
            return self.failure
        return f"{self._files[0]}: the certificate has ended: renew it" if self._validity.ends <= time.time() else None

    def _renew(self) -> None:
        path = str(self._files[0])
        try:
            self._value, self._validity = self._read()
        except (OSError, ValueError) as error:
            self.failure = f"{path}: {reason(error)}: the certificate of before is used: replace the files by ones that fit"
            log.warning("certificate_unusable", path=path, reason=reason(error), meanwhile="the one before is used")
        else:
            self.failure = None
            log.info("certificate_loaded", path=path, days_left=int((self._validity.ends - time.time()) / _DAY))

    def _read(self) -> tuple[_T, Validity]:
        value = self._make()
        return value, read_validity(self._files[0].read_bytes())

    def _signature(self) -> tuple[Signature | None, ...]:
        return tuple(file_signature(path) for path in self._files)


def load_pair(context: ssl.SSLContext, chain: Path, key: Path) -> None:
    """Give a context a certificate chain and its key; nobody is asked for a passphrase. Raises OSError, as ssl.SSLError is."""
    context.load_cert_chain(chain, key, password=lambda: b"")


def file_signature(path: Path) -> Signature | None:
    """Return what changes when the file does, or who may read it (times, size, inode), or None when there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def reason(error: Exception) -> str:
    """What was wrong with a file, in a few words."""
    if isinstance(error, ssl.SSLError):
        return "the files do not fit together, or are none (PEM, the key without a passphrase)"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def left(validity: Validity) -> tuple[bool, str]:
    """Whether a certificate is good for a while yet, and until when in words."""
    seconds = validity.ends - time.time()
    until = f"{dt.datetime.fromtimestamp(validity.ends, dt.UTC):%Y-%m-%d}"
    words = f"good until {until}, {seconds / _DAY:.0f} days" if seconds > 0 else f"ended on {until}"
    return seconds > _SOON, words


class Certificates:
    """The certificates that a process shows to others, by what they are used for."""

    def __init__(self) -> None:
        self._used: dict[str, Reloading[Any]] = {}

    def add(self, use: str, certificate: Reloading[Any] | None) -> None:
        """One more; None: there is none for that use."""
        if certificate is not None:
            self._used[use] = certificate

    def families(self) -> Iterable[Family]:
        """Their metrics."""
        used = list(self._used.items())
        yield Family(EXPIRY, [((use,), one.validity.ends) for use, one in used])
        yield Family(REFUSED, [((use,), float(one.failure is not None)) for use, one in used])

    def waiting(self) -> str | None:
        """What is wrong with one of them, for /readyz; None: nothing is."""
        return next((told for one in self._used.values() if (told := one.waiting()) is not None), None)
