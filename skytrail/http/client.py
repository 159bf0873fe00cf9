"""Asks our own HTTP servers: one kept connection, TLS and credentials as the settings say. For the command line."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from skytrail.errors import AgentAwayError, RunError, UsageError
from skytrail.http.app import SERVICE_HEADER
from skytrail.http.credentials import read_tokens
from skytrail.settings.tree import Settings
from skytrail.settings.values import parse_address

T = TypeVar("T")

_TIMEOUT = 10.0
NO_LOGIN = ": name a file with a token, or with user:password, by --set http.login_file=…"
"""What to do where a server asks who we are."""

_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


class Client:
    """A client of a server of ours on this host, found by the settings that the agent itself runs with.

    Args:
        settings: ``agent.listen`` says where, unless ``where`` does; ``http.tls_cert`` is trusted; what ``http.login_file``
            holds is sent, or else the first token that stands in ``http.token_file`` as it is.
        where: the address and port of another server, as the hub's.
        timeout: seconds to wait for an answer.

    Raises:
        RunError: the certificate or the file of tokens cannot be read.

    """

    def __init__(self, settings: Settings, where: str = "", timeout: float = _TIMEOUT) -> None:
        self._where = where or settings.agent.listen
        host, port = parse_address(self._where)
        host = _WILDCARDS.get(host, host)
        http_settings = settings.http
        self._headers = {"Accept": "application/json"}
        if http_settings.login_file:
            login = _read("http.login_file", lambda: Path(str(http_settings.login_file)).read_bytes().strip())
            whole = f"Basic {base64.b64encode(login).decode()}" if b":" in login else f"Bearer {login.decode('latin1')}"
            self._headers["Authorization"] = whole
        elif http_settings.token_file:
            tokens = _read("http.token_file", lambda: read_tokens(Path(str(http_settings.token_file))))
            self._headers |= {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}
        if http_settings.tls_cert:
            context = _read("http.tls_cert", lambda: ssl.create_default_context(cafile=http_settings.tls_cert))
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a certificate of a CA's is trusted without the CA's
            context.check_hostname = False  # the certificate itself is the proof: it is the one we serve with
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=timeout, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def get(self, path: str, arguments: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
        """The JSON of an answer; errors as :meth:`get_with_headers`."""
        return self.get_with_headers(path, arguments)[0]

    def get_with_headers(self, path: str, arguments: Mapping[str, str]) -> tuple[Any, Message]:
        """The JSON of an answer, and its headers.

        Raises:
            AgentAwayError: nobody listens there.
            UsageError: the agent says that the words are wrong.
            RunError: any other error of the agent's.

        """
        status, headers, body = self.exchange("GET", f"{path}?{urlencode(arguments)}")
        if status == 200 and headers.get(SERVICE_HEADER):
            return json.loads(body), headers
        if status == 200:
            self._connection.close()
            raise AgentAwayError(f"what answers on {self._where} is nothing of Skytrail's: name another address")
        message = refusal(status, body)
        raise UsageError(message) if status == 400 else RunError(f"{self._where} says: {message}")

    def exchange(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Message, bytes]:
        """Any answer: its status, headers and body. Raises AgentAwayError: nobody answers."""
        try:
            self._connection.request(method, path, body, {**self._headers, **(headers or {})})
            answer = self._connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise AgentAwayError(
                f"nobody answers on {self._where} ({error}): start one by 'skytrail up', or name another address"
            ) from error


def _read(key: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RunError(f"{key}: cannot be read: {reason}: run as a user who may read it, or set {key}") from error


def refusal(status: int, body: bytes) -> str:
    """What an answer that is an error says."""
    return (_message(body) or f"HTTP {status}") + (NO_LOGIN if status == 401 else "")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""
