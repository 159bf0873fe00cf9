from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from support.ports import free_port

from exporters.outputs.otlp.config import Compression, OtlpConfig, Signal
from exporters.outputs.otlp.transport import RESPONSE_MAX, Outcome, Verdict
from exporters.outputs.otlp.transport_grpc import GrpcTransport

DATA = b"\x0a\x02\x0a\x00" * 1000
RETRIED = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
# google.rpc.Status{code: 8, details: [Any{type_url: ".../google.rpc.RetryInfo", value: {retry_delay: {seconds: 2}}}]}
_URL = b"type.googleapis.com/google.rpc.RetryInfo"
_ANY = b"\x0a" + bytes([len(_URL)]) + _URL + b"\x12\x04\x0a\x02\x08\x02"
RETRY_INFO = (("grpc-status-details-bin", b"\x08\x08\x1a" + bytes([len(_ANY)]) + _ANY),)


def send(receiver: Any, signal: Signal = Signal.TRACES, timeout: float = 20, **config: Any) -> Outcome:
    transport = GrpcTransport(OtlpConfig(endpoint=receiver.endpoint, **config).target(signal), "skytrail/test")
    try:
        return transport.send(DATA, timeout)
    finally:
        transport.close()


@pytest.mark.parametrize(("signal", "service"), [(Signal.TRACES, "trace.v1.Trace"), (Signal.METRICS, "metrics.v1.Metrics")])
def test_a_call_has_its_service_our_metadata_and_our_name(grpc_receiver: Any, signal: Signal, service: str) -> None:
    assert send(grpc_receiver, signal, headers=(("Authorization", "Bearer x"),)) == Outcome(Verdict.DELIVERED)
    assert grpc_receiver.paths == [f"opentelemetry.proto.collector.{service}Service"]
    assert grpc_receiver.requests == [DATA]
    assert grpc_receiver.headers[0]["authorization"] == "Bearer x"
    assert grpc_receiver.headers[0]["user-agent"].startswith("skytrail/test ")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_exactly_the_retryable_codes_are_retried(grpc_receiver: Any, code: grpc.StatusCode) -> None:
    grpc_receiver.then(code=code, details="not now")
    outcome = send(grpc_receiver)
    assert outcome.verdict is (Verdict.RETRY if code.name in RETRIED else Verdict.REFUSED)
    assert outcome.message == f"{code.name}: not now"
    assert outcome.delay is None
    assert len(grpc_receiver.requests) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
def test_retry_info_gives_the_delay_and_makes_exhaustion_retryable(grpc_receiver: Any, code: grpc.StatusCode) -> None:
    grpc_receiver.then(code=code, headers=RETRY_INFO)
    outcome = send(grpc_receiver)
    assert (outcome.verdict, outcome.delay) == (Verdict.RETRY, 2.0)


def test_retry_info_makes_no_other_code_retryable(grpc_receiver: Any) -> None:
    grpc_receiver.then(code=grpc.StatusCode.INVALID_ARGUMENT, headers=RETRY_INFO)
    assert send(grpc_receiver).verdict is Verdict.REFUSED


def test_grpc_partial_success_counts_the_rejected(grpc_receiver: Any) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 5
    answer.partial_success.error_message = "too old"
    grpc_receiver.then(body=answer.SerializeToString())
    assert send(grpc_receiver) == Outcome(Verdict.DELIVERED, "too old", rejected=5)


def test_grpc_success_with_a_garbled_message_is_success(grpc_receiver: Any) -> None:
    grpc_receiver.then(body=b"<html>\xff")
    assert send(grpc_receiver).verdict is Verdict.DELIVERED


def test_a_grpc_answer_beyond_the_bound_is_refused(grpc_receiver: Any) -> None:
    grpc_receiver.then(body=bytes(RESPONSE_MAX + 1))
    outcome = send(grpc_receiver)
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.message.startswith("RESOURCE_EXHAUSTED")


def test_a_grpc_receiver_that_hangs_is_left_after_the_timeout(grpc_receiver: Any) -> None:
    grpc_receiver.then(hang=True)
    begin = time.monotonic()
    outcome = send(grpc_receiver, timeout=0.3)
    assert outcome.verdict is Verdict.RETRY
    assert 0.25 <= time.monotonic() - begin < 10


def test_gzip_is_understood_by_the_receiver(grpc_receiver: Any) -> None:
    assert send(grpc_receiver, compression=Compression.GZIP).verdict is Verdict.DELIVERED
    assert grpc_receiver.requests == [DATA]


def test_no_grpc_receiver_is_retried(lab: Any) -> None:
    port = free_port()
    transport = GrpcTransport(OtlpConfig(endpoint=f"http://127.0.0.1:{port}").target(Signal.TRACES), "skytrail/test")
    outcome = transport.send(DATA, 5)
    transport.close()
    assert outcome.verdict is Verdict.RETRY
    assert outcome.message.startswith("UNAVAILABLE")
    assert transport.send(DATA, 5).verdict is Verdict.RETRY  # closed
