"""The connection to an API server: where it is, who we are there, requests. I/O.

The Kubernetes project's own library reads kubeconfig files, service accounts, exec plugins and tokens that are renewed. Answers
are taken as bytes: to make the library's objects of them takes twenty times as long.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from skytrail.errors import RunError

if TYPE_CHECKING:
    import urllib3

IN_CLUSTER = "in-cluster"
"""Where the cluster is that we ourselves run in: by our service account."""

_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Of our service account; a pod need not have one."""
_CONNECT_SECONDS = 10.0
_AT_ONCE = 64  # connections: one for each kind, and some
_LONGEST_WORD = 300
_CHUNK = 1 << 16
_LONGEST = 1 << 24  # bytes of a line, or of a page; the API server takes objects of 3 MB at most
_RENEWED = 5.0  # seconds between two looks at credentials that are refused
_RENEW = "our token or certificate is expired, or not known there: renew it, it is read again"


class UnreachableError(RunError):
    """The API server cannot be asked. One line, with the remedy where one is known."""


class TooLongError(UnreachableError):
    """It answers with more than is taken at once."""


class RefusedError(RunError):
    """The API server answers, with a status that is no success.

    Attributes:
        status: HTTP's.
        reason: its own words.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.reason = status, reason


def is_there(place: str) -> bool:
    """Whether there is what tells of the cluster: our service account, or the file."""
    if place == IN_CLUSTER:
        return "KUBERNETES_SERVICE_HOST" in os.environ and _TOKEN.exists()
    return Path(place.partition("#")[0]).expanduser().exists()


@dataclass(frozen=True, slots=True)
class _Access:
    """What the place told when it was read: where the API server is, who we are there."""

    configuration: Any
    pool: urllib3.PoolManager


class Connection:
    """Requests to one API server. For any thread.

    Where it does not know us any more, the place is read again: tokens and certificates are replaced there.

    Args:
        place: ``in-cluster``, or a kubeconfig file; ``FILE#CONTEXT`` for another context than its current one.

    Raises:
        UnreachableError: the place tells of no API server.
        ImportError: the library is missing.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._access = _access(place)
        self._read_at = time.monotonic()
        self._open: set[Any] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def server(self) -> str:
        """Its URL."""
        return str(self._access.configuration.host)

    @contextlib.contextmanager
    def get(self, path: str, query: Mapping[str, str], accept: str, silence: float) -> Iterator[urllib3.BaseHTTPResponse]:
        """An answer, to be read.

        Args:
            path: from the root.
            query: parameters.
            accept: what is asked for.
            silence: seconds in which something must come, else it is given up.

        Raises:
            RefusedError: its status is no success.
            UnreachableError: it cannot be asked, or breaks off.
        """
        import urllib3  # noqa: PLC0415 - the library's own

        access = self._access
        url = f"{access.configuration.host}{path}?{urlencode(query)}"
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=silence)
        answer = None
        try:
            headers = {"Accept": accept, **_credentials(access)}
            answer = access.pool.request(
                "GET", url, headers=headers, timeout=timeout, preload_content=False, retries=False, redirect=False
            )
            with self._lock:
                self._open.add(answer)
            if self._closed:
                raise UnreachableError("it was closed")
            if answer.status == 401:
                self._renew(access)
                raise RefusedError(answer.status, f"{_reason(answer)}: {_RENEW}")
            if answer.status != 200:
                raise RefusedError(answer.status, _reason(answer))
            yield answer
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if isinstance(error, urllib3.exceptions.SSLError):
                self._renew(access)
            raise UnreachableError(f"{self.server}: {_one_line(error)}") from error
        finally:
            if answer is not None:
                with self._lock:
                    self._open.discard(answer)
                answer.close()

    def _renew(self, refused: _Access) -> None:
        """Read the place again: of all whom the server does not know one does."""
        with self._lock:
            if self._access is not refused or time.monotonic() - self._read_at < _RENEWED:
                return
            self._read_at = time.monotonic()
            with contextlib.suppress(UnreachableError):  # half written, perhaps: the next look is soon
                self._access = _access(self._place)
        if self._access is not refused:
            refused.pool.clear()

    def close(self) -> None:
        """End every request that is under way."""
        with self._lock:
            self._closed = True
            for answer in self._open:
                with contextlib.suppress(Exception):  # one that ends by itself meanwhile
                    answer.shutdown()
        self._access.pool.clear()


def _access(place: str) -> _Access:
    """Raises UnreachableError, ImportError."""
    from kubernetes import config  # noqa: PLC0415 - an extra, of no use where there is no cluster
    from kubernetes.client import ApiClient, Configuration  # noqa: PLC0415

    configuration = Configuration()
    configuration.connection_pool_maxsize = _AT_ONCE
    file, _, context = place.partition("#")
    try:
        if place == IN_CLUSTER:
            config.load_incluster_config(client_configuration=configuration)
        else:
            path = str(Path(file).expanduser())
            config.load_kube_config(path, context or None, configuration, persist_config=False)
        return _Access(configuration, ApiClient(configuration).rest_client.pool_manager)
    except Exception as error:
        raise UnreachableError(f"{place}: {_one_line(error)}: give a kubeconfig file in kubernetes.clusters") from error


def _credentials(access: _Access) -> dict[str, str]:
    """As of now: tokens are renewed. Raises UnreachableError."""
    try:
        settings = access.configuration.auth_settings().values()
    except Exception as error:
        raise UnreachableError(f"no credentials: {_one_line(error)}") from error
    return {one["key"]: one["value"].strip() for one in settings if one["in"] == "header" and one["value"]}


def whole(answer: urllib3.BaseHTTPResponse) -> bytes:
    """All of an answer. Raises TooLongError where that is more than is taken at once."""
    pieces, length = [], 0
    for piece in answer.stream(_CHUNK):
        pieces.append(piece)
        length += len(piece)
        if length > _LONGEST:
            raise TooLongError(f"an answer of more than {_LONGEST} bytes")
    return b"".join(pieces)


def lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of an answer, as they come. Raises UnreachableError for one without end."""
    rest = b""
    for piece in answer.stream(_CHUNK):
        first, *more = piece.split(b"\n")
        if not more:
            rest += first
            if len(rest) > _LONGEST:
                raise TooLongError(f"a line of more than {_LONGEST} bytes")
            continue
        yield rest + first
        yield from more[:-1]
        rest = more[-1]


def _reason(answer: urllib3.BaseHTTPResponse) -> str:
    import msgspec  # noqa: PLC0415

    body = answer.read(_CHUNK) or b""
    try:
        told = msgspec.json.decode(body)
        return str(told["message"])[:_LONGEST_WORD]
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError):
        return str(answer.reason or "")[:_LONGEST_WORD]


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST_WORD]
