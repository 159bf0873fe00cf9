"""What one attempt to send comes to, whatever carries it, and the choice of the carrier."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from exporters.outputs.otlp.config import Target, Wire
from skytrail.errors import NotSupportedError, SettingsError

RESPONSE_MAX = 4 << 20
"""Bytes of a response that are read: the specification's bound. A longer one is a failure that is not retried."""
DELAY_MAX = 3600.0
"""Seconds that a receiver may make us wait: a longer wish (or a mistake) is cut to this."""
_MESSAGE_MAX = 200
_SECRET_MIN = 4  # a header of fewer characters guards nothing, and would tear holes into every message


class Verdict(Enum):
    """What is to be done with the request after an attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt.

    Attributes:
        verdict: what is to be done with the request.
        message: why, in one short line without secrets; also what a partial success or an odd answer said.
        rejected: items that a partial success left out; they are never sent again.
        delay: seconds after which the receiver wants the next attempt; None: it did not say.
    """

    verdict: Verdict
    message: str = ""
    rejected: int = 0
    delay: float | None = None


class Transport(Protocol):
    """Carries serialised requests of one signal to its target."""

    def send(self, data: bytes, timeout: float) -> Outcome:
        """One attempt of at most ``timeout`` seconds; never raises for what the world does."""

    def close(self) -> None:
        """Give the connection back; an attempt under way may be cut short."""


class Connections(Protocol):
    """Wants to know what a transport does on the network."""

    def trying(self, host: str, port: int) -> None:
        """Something is about to be sent there."""

    def connected(self, ours: Any, theirs: Any) -> None:  # noqa: ANN401 - as socket.getsockname gives them
        """A connection was made between these ends."""


def connect(target: Target, user_agent: str, connections: Connections | None = None) -> Transport:
    """The transport of a target; connects with the first request, and tells ``connections``.

    Raises:
        NotSupportedError: the libraries of the extra ``otlp`` are not installed.
        SettingsError: a certificate or key that cannot be used.
    """
    try:
        if target.protocol is Wire.GRPC:
            from exporters.outputs.otlp.transport_grpc import GrpcTransport  # noqa: PLC0415 - loads grpcio, only where it is used

            return GrpcTransport(target, user_agent, connections)
        from exporters.outputs.otlp.transport_http import HttpTransport  # noqa: PLC0415 - loads urllib3, only where it is used

        return HttpTransport(target, user_agent, connections)
    except ImportError as error:
        raise NotSupportedError(
            f"OTLP by {target.protocol.value} needs the package {error.name}", "pip install 'skytrail[otlp]'"
        ) from error


def tls_context(target: Target) -> ssl.SSLContext:
    """A client's TLS context of a target; also how gRPC's files are checked before gRPC sees them.

    Raises:
        SettingsError: a file that is missing or not PEM, or a key without its certificate.
    """
    context = ssl.create_default_context()
    if target.certificate:
        check = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            check.load_verify_locations(target.certificate)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("certificate", target.certificate, error) from error
        context = check
    if bool(target.client_key) != bool(target.client_certificate):
        raise SettingsError("otlp.client_key and otlp.client_certificate go together: set both or none")
    if target.client_certificate:
        try:
            context.load_cert_chain(target.client_certificate, target.client_key)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("client_certificate", target.client_certificate, error) from error
    return context


def read_pem(path: str | None) -> bytes | None:
    """The bytes of a file that :func:`tls_context` has checked."""
    return Path(path).read_bytes() if path else None


def tidy(message: str, target: Target) -> str:
    """A message from the other side or from a library, in one short printable line without our headers' values."""
    for _, value in target.headers:
        for secret in (value, value.rpartition(" ")[2]):  # the whole, and the token after "Bearer"
            if len(secret) >= _SECRET_MIN:
                message = message.replace(secret, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in message[: 4 * _MESSAGE_MAX]).split())
    return line if len(line) <= _MESSAGE_MAX else line[: _MESSAGE_MAX - 1] + "…"


def _unusable(key: str, path: str, error: OSError) -> SettingsError:
    reason = error.strerror or str(error)
    return SettingsError(f"otlp.{key}: {path} cannot be used ({reason}): give a readable PEM file")
