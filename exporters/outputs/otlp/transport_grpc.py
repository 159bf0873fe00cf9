"""OTLP over gRPC: unary calls of bytes that are serialised already.

Which status is retried: https://opentelemetry.io/docs/specs/otlp/#failures.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import grpc

from exporters.outputs.otlp.config import Compression, Signal, Target
from exporters.outputs.otlp.responses import accepted, retry_delay
from exporters.outputs.otlp.transport import RESPONSE_MAX, Connections, Outcome, Verdict, read_pem, tidy, tls_context

METHODS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_DETAILS = "grpc-status-details-bin"


class GrpcTransport:
    """Sends one signal's requests over one channel.

    Raises:
        SettingsError: a certificate or key that cannot be used.
    """

    def __init__(self, target: Target, user_agent: str, connections: Connections | None = None) -> None:
        self._target, self._connections = target, connections
        parts = urlsplit(f"//{target.address}")
        self._where = parts.hostname or "", parts.port or 0
        options = [
            ("grpc.primary_user_agent", user_agent),
            ("grpc.max_receive_message_length", RESPONSE_MAX),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", 0),  # retrying is the queue's, by OTLP's rules
            # gRPC waits on its own between connection attempts, up to two minutes: too long after a short outage.
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 5000),
        ]
        if target.tls:
            tls_context(target)
            credentials = grpc.ssl_channel_credentials(
                read_pem(target.certificate), read_pem(target.client_key), read_pem(target.client_certificate)
            )
            self._channel = grpc.secure_channel(target.address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target.address, options)
        self._call = self._channel.unary_unary(METHODS[target.signal])
        gzip = target.compression is Compression.GZIP
        self._compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression

    def send(self, data: bytes, timeout: float) -> Outcome:
        """One attempt."""
        if self._connections:
            self._connections.trying(*self._where)
        try:
            body = self._call(data, timeout=timeout, metadata=self._target.headers, compression=self._compression)
        except grpc.RpcError as error:
            return self._failed(error)
        except ValueError:
            return Outcome(Verdict.RETRY, "the channel is closed")
        return accepted(self._target, body)

    def close(self) -> None:
        """Close the channel; a call under way ends as CANCELLED."""
        self._channel.close()

    def _failed(self, error: grpc.RpcError) -> Outcome:
        code = error.code()
        message = tidy(f"{code.name}: {error.details()}", self._target)
        details = next((value for name, value in error.trailing_metadata() or () if name == _DETAILS), b"")
        delay = retry_delay(details)
        if code in RETRYABLE or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and delay is not None):
            return Outcome(Verdict.RETRY, message, delay=delay)
        return Outcome(Verdict.REFUSED, message)
