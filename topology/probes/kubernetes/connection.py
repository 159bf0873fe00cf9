"""The connection to an API server: where it is, who we are there, requests. I/O.

The Kubernetes project's own library reads kubeconfig files, service accounts, exec plugins and tokens that are renewed. Answers
are taken as bytes: to make the library's objects of them takes twenty times as long.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from skytrail.errors import RunError

if TYPE_CHECKING:
    import urllib3

IN_CLUSTER = "in-cluster"
"""Where the cluster is that we ourselves run in: by our service account."""

_CONNECT_SECONDS = 10.0
_AT_ONCE = 64  # connections: one for each kind, and some
_LONGEST_WORD = 300
_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 24  # bytes; the API server takes objects of 3 MB at most


class UnreachableError(RunError):
    """The API server cannot be asked. One line, with the remedy where one is known."""


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
        return "KUBERNETES_SERVICE_HOST" in os.environ
    return Path(place.partition("#")[0]).expanduser().exists()


class Connection:
    """Requests to one API server. For any thread.

    Args:
        place: ``in-cluster``, or a kubeconfig file; ``FILE#CONTEXT`` for another context than its current one.

    Raises:
        UnreachableError: the place tells of no API server.
        ImportError: the library is missing.
    """

    def __init__(self, place: str) -> None:
        from kubernetes import config  # noqa: PLC0415 - an extra, of no use where there is no cluster
        from kubernetes.client import ApiClient, Configuration  # noqa: PLC0415

        self._configuration = Configuration()
        self._configuration.connection_pool_maxsize = _AT_ONCE
        file, _, context = place.partition("#")
        try:
            if place == IN_CLUSTER:
                config.load_incluster_config(client_configuration=self._configuration)
            else:
                path = str(Path(file).expanduser())
                config.load_kube_config(path, context or None, self._configuration, persist_config=False)
        except Exception as error:
            raise UnreachableError(f"{place}: {_one_line(error)}: give a kubeconfig file in kubernetes.clusters") from error
        self._pool: urllib3.PoolManager = ApiClient(self._configuration).rest_client.pool_manager
        self._open: set[Any] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def server(self) -> str:
        """Its URL."""
        return str(self._configuration.host)

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

        url = f"{self._configuration.host}{path}?{urlencode(query)}"
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=silence)
        answer = None
        try:
            headers = {"Accept": accept, **self._credentials()}
            answer = self._pool.request(
                "GET", url, headers=headers, timeout=timeout, preload_content=False, retries=False, redirect=False
            )
            with self._lock:
                self._open.add(answer)
            if self._closed:
                raise UnreachableError("it was closed")
            if answer.status != 200:
                raise RefusedError(answer.status, _reason(answer))
            yield answer
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise UnreachableError(f"{self.server}: {_one_line(error)}") from error
        finally:
            if answer is not None:
                with self._lock:
                    self._open.discard(answer)
                answer.close()

    def _credentials(self) -> dict[str, str]:
        """As of now: tokens are renewed. Raises UnreachableError."""
        try:
            settings = self._configuration.auth_settings().values()
        except Exception as error:
            raise UnreachableError(f"no credentials: {_one_line(error)}") from error
        return {one["key"]: one["value"] for one in settings if one["in"] == "header" and one["value"]}

    def close(self) -> None:
        """End every request that is under way."""
        with self._lock:
            self._closed = True
            for answer in self._open:
                with contextlib.suppress(Exception):  # one that ends by itself meanwhile
                    answer.shutdown()
        self._pool.clear()


def lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of an answer, as they come. Raises UnreachableError for one without end."""
    rest = b""
    for piece in answer.stream(_CHUNK):
        first, *more = piece.split(b"\n")
        if not more:
            rest += first
            if len(rest) > _LONGEST_LINE:
                raise UnreachableError(f"a line of more than {_LONGEST_LINE} bytes")
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
