"""What receivers answer: OTLP's partial success, and google.rpc's Status with RetryInfo.

google/rpc/status.proto and error_details.proto are not among our dependencies; what is read of them is declared here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from exporters.outputs.otlp.config import Signal, Target
from exporters.outputs.otlp.transport import DELAY_MAX, Outcome, Verdict, tidy


def accepted(target: Target, body: bytes) -> Outcome:
    """The outcome of a request that was answered with success."""
    try:
        if target.signal is Signal.TRACES:
            trace = ExportTraceServiceResponse.FromString(body).partial_success
            rejected, message = trace.rejected_spans, trace.error_message
        else:
            metrics = ExportMetricsServiceResponse.FromString(body).partial_success
            rejected, message = metrics.rejected_data_points, metrics.error_message
    except DecodeError:
        # The status said that it was accepted: sending it again would only double it.
        return Outcome(Verdict.DELIVERED, "accepted with an answer that is no OTLP response")
    return Outcome(Verdict.DELIVERED, tidy(message, target), max(0, rejected))


def status_message(body: bytes) -> str:
    """The message of a serialised ``google.rpc.Status``; empty where it is none."""
    status = _status(body)
    return "" if status is None else str(status.message)


def retry_delay(body: bytes) -> float | None:
    """Seconds of the ``google.rpc.RetryInfo`` in a serialised ``google.rpc.Status``; None without one."""
    status = _status(body)
    for detail in [] if status is None else status.details:
        if detail.type_url.rpartition("/")[2] == "google.rpc.RetryInfo":
            try:
                delay = _messages()["RetryInfo"].FromString(detail.value).retry_delay
            except DecodeError:
                return None
            return min(max(0.0, int(delay.seconds) + int(delay.nanos) / 1e9), DELAY_MAX)
    return None


def _status(body: bytes) -> Any:  # noqa: ANN401 - a class made at run time
    try:
        return _messages()["Status"].FromString(body)
    except DecodeError:
        return None


@cache
def _messages() -> dict[str, Any]:
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="skytrail/rpc.proto", package="skytrail.rpc", syntax="proto3")
    for name, members in {
        "Any": [("type_url", 1, field_type.TYPE_STRING, ""), ("value", 2, field_type.TYPE_BYTES, "")],
        "Duration": [("seconds", 1, field_type.TYPE_INT64, ""), ("nanos", 2, field_type.TYPE_INT32, "")],
        "RetryInfo": [("retry_delay", 1, field_type.TYPE_MESSAGE, "Duration")],
        "Status": [("message", 2, field_type.TYPE_STRING, ""), ("details", 3, field_type.TYPE_MESSAGE, "Any")],
    }.items():
        message = file.message_type.add(name=name)
        for member, number, kind, of in members:
            label = field_type.LABEL_REPEATED if member == "details" else field_type.LABEL_OPTIONAL
            type_name = f".skytrail.rpc.{of}" if of else None
            message.field.add(name=member, number=number, type=kind, label=label, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"skytrail.rpc.{name}"))
        for name in ("Status", "RetryInfo")
    }
