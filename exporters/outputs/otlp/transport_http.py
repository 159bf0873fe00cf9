"""OTLP over HTTP/1.1 with protobuf bodies.

Which status is retried: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import socket
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from exporters.outputs.otlp.config import Compression, Target
from exporters.outputs.otlp.responses import accepted, status_message
from exporters.outputs.otlp.transport import DELAY_MAX, RESPONSE_MAX, Connections, Outcome, Verdict, tidy, tls_context

RETRYABLE = frozenset({429, 502, 503, 504})
_GZIP_LEVEL = 1  # telemetry repeats itself: higher levels take many times the CPU for a few per cent


class HttpTransport:
    """Sends one signal's requests over one kept-alive connection.

    ``timeout`` bounds the connecting and each wait for bytes, and twice it the attempt as a whole: then the connection is cut.

    Raises:
        SettingsError: a certificate or key that cannot be used.
    """

    def __init__(self, target: Target, user_agent: str, connections: Connections | None = None) -> None:
        self._target, self._connections = target, connections
        parts = urllib3.util.parse_url(target.address)
        self._where = (parts.host or "").strip("[]"), parts.port or (443 if target.tls else 80)
        self._headers = {
            **dict(target.headers),
            "content-type": "application/x-protobuf",
            "user-agent": user_agent,
        }
        if target.compression is Compression.GZIP:
            self._headers["content-encoding"] = "gzip"
        context = tls_context(target) if target.tls else None
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, ssl_context=context)
        self._pool.pool_classes_by_scheme = _telling(self._made)
        self._socket: socket.socket | None = None

    def send(self, data: bytes, timeout: float) -> Outcome:
        """One attempt."""
        if self._target.compression is Compression.GZIP:
            data = gzip.compress(data, _GZIP_LEVEL, mtime=0)
        if self._connections:
            self._connections.trying(*self._where)
        cutter = threading.Timer(2 * timeout, self._cut)
        cutter.daemon = True
        cutter.start()
        try:
            response = self._pool.request(
                "POST",
                self._target.address,
                body=data,
                headers=self._headers,
                timeout=timeout,
                retries=False,  # retrying is the queue's, by OTLP's rules; a redirect is refused
                preload_content=False,
            )
            with response:
                body = response.read(RESPONSE_MAX + 1, decode_content=False)
                if len(body) <= RESPONSE_MAX:
                    response.release_conn()  # else the connection is closed with the rest of the body unread
        except urllib3.exceptions.HTTPError as error:
            return Outcome(Verdict.RETRY, tidy(f"{type(error).__name__}: {error}", self._target))
        finally:
            cutter.cancel()
        if len(body) > RESPONSE_MAX:
            return Outcome(Verdict.REFUSED, f"the answer is longer than {RESPONSE_MAX} bytes")
        if 200 <= response.status < 300:
            return accepted(self._target, body)
        message = tidy(f"HTTP {response.status}: {status_message(body) or response.reason or ''}", self._target)
        if response.status in RETRYABLE:
            return Outcome(Verdict.RETRY, message, delay=retry_after(response.headers.get("retry-after"), time.time()))
        return Outcome(Verdict.REFUSED, message)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def _made(self, connection: socket.socket) -> socket.socket:
        if self._connections:
            self._connections.connected(connection.getsockname(), connection.getpeername())
        self._socket = connection
        return connection

    def _cut(self) -> None:
        """End an attempt whose receiver gives or takes a byte now and then."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)


def _telling(made: Callable[[socket.socket], socket.socket]) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's classes of pools by scheme, whose connections are handed to ``made``."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return made(super()._new_conn())

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return made(super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a ``Retry-After`` header (RFC 9110, 10.2.3): a number or a date; None where it says neither."""
    if value is None:
        return None
    try:
        delay = float(value)
    except ValueError:
        try:
            delay = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(delay) else min(max(0.0, delay), DELAY_MAX)
