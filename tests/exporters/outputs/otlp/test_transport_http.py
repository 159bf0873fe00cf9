from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from support.ports import free_port

from exporters.outputs.otlp.config import Compression, OtlpConfig, Signal, Wire
from exporters.outputs.otlp.transport import DELAY_MAX, RESPONSE_MAX, Outcome, Verdict
from exporters.outputs.otlp.transport_http import HttpTransport, retry_after

DATA = b"\x0a\x02\x0a\x00" * 1000


def send(receiver: Any, signal: Signal = Signal.TRACES, timeout: float = 20, **config: Any) -> Outcome:
    target = OtlpConfig(endpoint=receiver.endpoint, protocol=Wire.HTTP, **config).target(signal)
    transport = HttpTransport(target, "skytrail/test")
    try:
        return transport.send(DATA, timeout)
    finally:
        transport.close()


@pytest.mark.parametrize("signal", Signal)
def test_a_request_has_its_path_its_type_our_headers_and_our_name(http_receiver: Any, signal: Signal) -> None:
    assert send(http_receiver, signal, headers=(("Authorization", "Bearer x"),)) == Outcome(Verdict.DELIVERED)
    assert http_receiver.paths == [f"/v1/{signal.value}"]
    assert http_receiver.requests == [DATA]
    [headers] = http_receiver.headers
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["authorization"] == "Bearer x"
    assert headers["user-agent"] == "skytrail/test"
    assert "content-encoding" not in headers


def test_gzip_shrinks_the_body(http_receiver: Any) -> None:
    assert send(http_receiver, compression=Compression.GZIP).verdict is Verdict.DELIVERED
    assert http_receiver.headers[0]["content-encoding"] == "gzip"
    assert gzip.decompress(http_receiver.requests[0]) == DATA
    assert len(http_receiver.requests[0]) < len(DATA)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_these_four_are_retried_after_the_delay_asked_for(http_receiver: Any, status: int) -> None:
    http_receiver.then(status=status, headers=(("Retry-After", "3"),))
    outcome = send(http_receiver)
    assert (outcome.verdict, outcome.delay) == (Verdict.RETRY, 3.0)
    assert outcome.message.startswith(f"HTTP {status}")
    assert len(http_receiver.requests) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 408, 413, 500, 501, 505])
def test_all_others_are_refused(http_receiver: Any, status: int) -> None:
    http_receiver.then(status=status, headers=(("Retry-After", "3"), ("Location", "/v1/elsewhere")))
    assert send(http_receiver).verdict is Verdict.REFUSED
    assert http_receiver.paths == ["/v1/traces"]


def test_the_reason_in_a_protobuf_status_is_kept_without_our_secret(http_receiver: Any) -> None:
    http_receiver.then(status=400, body=b"\x08\x03\x12\x12no span of hunter2")
    outcome = send(http_receiver, headers=(("authorization", "Bearer hunter2"),))
    assert outcome == Outcome(Verdict.REFUSED, "HTTP 400: no span of ***")


def test_partial_success_counts_the_rejected(http_receiver: Any) -> None:
    spans = ExportTraceServiceResponse()
    spans.partial_success.rejected_spans = 5
    spans.partial_success.error_message = "too old"
    http_receiver.then(body=spans.SerializeToString())
    points = ExportMetricsServiceResponse()
    points.partial_success.rejected_data_points = 6
    http_receiver.then(body=points.SerializeToString())
    assert send(http_receiver) == Outcome(Verdict.DELIVERED, "too old", rejected=5)
    assert send(http_receiver, Signal.METRICS) == Outcome(Verdict.DELIVERED, rejected=6)


def test_success_with_a_garbled_body_is_success(http_receiver: Any) -> None:
    http_receiver.then(body=b"<html>\xff")
    outcome = send(http_receiver)
    assert outcome.verdict is Verdict.DELIVERED
    assert "no OTLP response" in outcome.message


def test_an_answer_beyond_the_bound_is_refused_unread(http_receiver: Any) -> None:
    http_receiver.then(body=bytes(RESPONSE_MAX + 1))
    assert send(http_receiver).verdict is Verdict.REFUSED
    http_receiver.then(body=b"\x0a\x00" * (RESPONSE_MAX // 2))
    assert send(http_receiver).verdict is Verdict.DELIVERED


def test_a_receiver_that_hangs_is_left_after_the_timeout(http_receiver: Any) -> None:
    http_receiver.then(hang=True)
    begin = time.monotonic()
    outcome = send(http_receiver, timeout=0.2)
    assert outcome.verdict is Verdict.RETRY
    assert 0.2 <= time.monotonic() - begin < 10


def test_a_receiver_that_dribbles_is_left_in_the_end() -> None:
    """Each wait for bytes is short, and there is no end of them. By its status it had taken what was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def dribble() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.05)

        threading.Thread(target=dribble, daemon=True).start()
        port = listener.getsockname()[1]
        target = OtlpConfig(endpoint=f"http://127.0.0.1:{port}", protocol=Wire.HTTP).target(Signal.TRACES)
        transport = HttpTransport(target, "skytrail/test")
        begin = time.monotonic()
        assert transport.send(DATA, 0.5).verdict is Verdict.DELIVERED
        assert time.monotonic() - begin < 10
        transport.close()


def test_nobody_listening_is_retried(lab: Any) -> None:
    port = free_port()
    target = OtlpConfig(endpoint=f"http://127.0.0.1:{port}", protocol=Wire.HTTP).target(Signal.TRACES)
    outcome = HttpTransport(target, "skytrail/test").send(DATA, 5)
    assert outcome.verdict is Verdict.RETRY
    assert "refused" in outcome.message


def test_one_connection_serves_many_requests(http_receiver: Any) -> None:
    target = OtlpConfig(endpoint=http_receiver.endpoint, protocol=Wire.HTTP).target(Signal.TRACES)
    transport = HttpTransport(target, "skytrail/test")
    for _ in range(3):
        assert transport.send(DATA, 20).verdict is Verdict.DELIVERED
    transport.close()
    assert len(set(http_receiver.clients)) == 1


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "delay"),
    [
        (None, None),
        ("7", 7.0),
        ("0", 0.0),
        ("-4", 0.0),
        ("1e400", DELAY_MAX),
        ("nan", None),
        ("soon", None),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        (format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(days=9), usegmt=True), DELAY_MAX),
        ("Fri, 31 Dec 99999999999999 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, delay: float | None) -> None:
    assert retry_after(value, NOW) == delay
