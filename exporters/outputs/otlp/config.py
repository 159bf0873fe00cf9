"""Where OTLP goes and how: the settings of the output, resolved for each signal.

The rules for endpoints are those of https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from enum import Enum
from urllib.parse import SplitResult, urlsplit, urlunsplit

from skytrail.errors import SettingsError

Headers = tuple[tuple[str, str], ...]

_HEADER_NAME = re.compile(r"[a-z0-9_.-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class Signal(Enum):
    """What is exported; the value is its word in OTLP's paths."""

    TRACES = "traces"
    METRICS = "metrics"


class Wire(Enum):
    """OTLP's two protocols here, by their names in ``OTEL_EXPORTER_OTLP_PROTOCOL``."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


class Compression(Enum):
    """How requests are compressed, by the names in ``OTEL_EXPORTER_OTLP_COMPRESSION``."""

    NONE = "none"
    GZIP = "gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What one signal has otherwise than the rest; None: as the rest. Meanings: :class:`OtlpConfig`."""

    endpoint: str | None = None
    protocol: Wire | None = None
    headers: Headers | None = field(default=None, repr=False)
    compression: Compression | None = None
    timeout: float | None = None
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None
    insecure: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpConfig:
    """The settings of the OTLP output.

    Attributes:
        endpoint: empty: localhost, port 4317 (gRPC) or 4318 (HTTP). gRPC: ``http://host:port``, ``https://host:port``
            or a target of gRPC's (``host:port``, ``unix:/path``). HTTP: a base URL, to which ``/v1/traces`` or
            ``/v1/metrics`` is added; an endpoint of a signal's own is used as it is.
        protocol: gRPC or HTTP/protobuf.
        headers: sent with each request; secret, so never shown.
        compression: of the requests.
        timeout: seconds that one attempt may take.
        certificate: file of the authorities (PEM) that sign the receiver; None: the system's.
        client_key: file of our private key (PEM).
        client_certificate: file of our certificate chain (PEM).
        insecure: gRPC without TLS where the endpoint has no scheme.
        traces: what differs for spans.
        metrics: what differs for metrics.
    """

    endpoint: str = ""
    protocol: Wire = Wire.GRPC
    headers: Headers = field(default=(), repr=False)
    compression: Compression = Compression.NONE
    timeout: float = 10.0
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None
    insecure: bool = False
    traces: Overrides = Overrides()
    metrics: Overrides = Overrides()

    def target(self, signal: Signal) -> Target:
        """Where and how one signal is sent.

        Raises:
            SettingsError: an endpoint, a header or the timeout that cannot be used.
        """
        own = self.traces if signal is Signal.TRACES else self.metrics
        given = {f.name: value for f in fields(own) if (value := getattr(own, f.name)) is not None}
        merged = {f.name: given.get(f.name, getattr(self, f.name)) for f in fields(own)}
        insecure = bool(merged.pop("insecure"))
        endpoint = str(merged.pop("endpoint"))
        if merged["protocol"] is Wire.GRPC:
            address, tls = _grpc_target(endpoint, insecure=insecure)
        else:
            address, tls = _http_url(endpoint, f"/v1/{signal.value}", exact=bool(own.endpoint))
        if merged["timeout"] <= 0:
            raise SettingsError(f"otlp.timeout: {merged['timeout']} is not positive: give the seconds of one attempt, as 10")
        return Target(signal=signal, address=address, tls=tls, **{**merged, "headers": _headers(merged["headers"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One signal's settings, resolved. ``address`` is gRPC's target or the whole URL."""

    signal: Signal
    protocol: Wire
    address: str
    tls: bool
    headers: Headers = field(default=(), repr=False)
    compression: Compression = Compression.NONE
    timeout: float = 10.0
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None


def _grpc_target(endpoint: str, *, insecure: bool) -> tuple[str, bool]:
    if not endpoint:
        return "localhost:4317", False
    if not endpoint.startswith(("http://", "https://")):
        return endpoint, not (insecure or endpoint.startswith("unix:"))
    url = _split(endpoint)
    if url.path not in ("", "/") or url.query:
        raise SettingsError(
            f"otlp.endpoint: gRPC has no path, but {url.path or '?' + url.query!r} is given: leave it out, or set the "
            "protocol to http/protobuf"
        )
    return url.netloc if url.port else f"{url.netloc.removesuffix(':')}:4317", url.scheme == "https"


def _http_url(endpoint: str, path: str, *, exact: bool) -> tuple[str, bool]:
    url = _split(endpoint or "http://localhost:4318")
    if not exact:
        url = url._replace(path=url.path.rstrip("/") + path)
    return urlunsplit(url), url.scheme == "https"


def _split(endpoint: str) -> SplitResult:
    try:
        url = urlsplit(endpoint)
        port_is_valid = url.port is None or url.port > 0
    except ValueError:
        port_is_valid = False
    if not port_is_valid or url.scheme not in ("http", "https") or not url.hostname:
        raise SettingsError("otlp.endpoint: not a URL with a host: write it as http://host:4318 or https://host:4318")
    if "@" in url.netloc:
        raise SettingsError("otlp.endpoint: has a user name in it: put credentials into otlp.headers (authorization=…)")
    return url


def _headers(headers: Headers) -> Headers:
    """The headers with lower-case names, as HTTP/2 wants them. A value never shows in an error."""
    lowered = tuple((name.strip().lower(), value.strip()) for name, value in headers)
    for name, value in lowered:
        if not _HEADER_NAME.fullmatch(name) or name.endswith("-bin"):
            raise SettingsError(f"otlp.headers: {name!r} is no name of a header: use letters, digits, '-', '_' and '.'")
        if not _HEADER_VALUE.fullmatch(value):
            raise SettingsError(f"otlp.headers: the value of {name!r} holds more than printable ASCII: encode it")
    return lowered
