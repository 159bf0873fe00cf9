"""Families of metrics → bytes of ``ExportMetricsServiceRequest``. Temporality is always cumulative."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from exporters.outputs.otlp.attributes import key_values
from exporters.outputs.otlp.config import Signal
from exporters.outputs.otlp.queue import Encoded
from skytrail.metrics import Exemplar, Family, Histogram, Kind, Metric

CUMULATIVE = metrics_pb2.AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE

POINTS_MAX = 4096
"""Data points in one request: at some 200 bytes each it stays far below the 4 MiB that receivers take by default."""

Samples = list[tuple[tuple[str, ...], float | Histogram]]


def encode_metrics(families: Iterable[Family], resource: bytes, scope: bytes, now: int) -> Iterator[Encoded]:
    """Requests of at most :data:`POINTS_MAX` data points each.

    Args:
        families: without samples they are left out.
        resource: a serialised ``Resource``.
        scope: a serialised ``InstrumentationScope``.
        now: when the values were read, ns since the epoch.
    """
    messages: list[metrics_pb2.Metric] = []
    points = 0
    for family in families:
        samples = list(family.samples)
        while samples:
            part, samples = samples[: POINTS_MAX - points], samples[POINTS_MAX - points :]
            messages.append(_metric(family.metric, part, family.start, now))
            points += len(part)
            if points == POINTS_MAX:
                yield _request(messages, points, resource, scope)
                messages, points = [], 0
    if messages:
        yield _request(messages, points, resource, scope)


def _request(messages: list[metrics_pb2.Metric], points: int, resource: bytes, scope: bytes) -> Encoded:
    request = ExportMetricsServiceRequest(
        resource_metrics=[
            metrics_pb2.ResourceMetrics(
                resource=Resource.FromString(resource),
                scope_metrics=[
                    metrics_pb2.ScopeMetrics(scope=InstrumentationScope.FromString(scope), metrics=messages),
                ],
            )
        ]
    )
    return Encoded(Signal.METRICS, points, request.SerializeToString())


def _metric(metric: Metric, samples: Samples, start: int, now: int) -> metrics_pb2.Metric:
    message = metrics_pb2.Metric(name=metric.otel, description=metric.help, unit=metric.unit)
    if metric.kind is Kind.HISTOGRAM:
        message.histogram.aggregation_temporality = CUMULATIVE
        message.histogram.data_points.extend(
            _histogram(metric, labels, value, start, now) for labels, value in samples if isinstance(value, Histogram)
        )
        return message
    if metric.kind is Kind.COUNTER:
        message.sum.aggregation_temporality = CUMULATIVE
        message.sum.is_monotonic = True
        points = message.sum.data_points
    else:
        points, start = message.gauge.data_points, 0
    points.extend(_number(metric, labels, value, start, now) for labels, value in samples if not isinstance(value, Histogram))
    return message


def _number(metric: Metric, labels: tuple[str, ...], value: float, start: int, now: int) -> metrics_pb2.NumberDataPoint:
    point = metrics_pb2.NumberDataPoint(
        attributes=key_values(_attributes(metric, labels)), start_time_unix_nano=start, time_unix_nano=now
    )
    if metric.kind is Kind.INFO:
        point.as_int = 1
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        point.as_int = value
    else:
        point.as_double = value
    return point


def _histogram(
    metric: Metric, labels: tuple[str, ...], value: Histogram, start: int, now: int
) -> metrics_pb2.HistogramDataPoint:
    return metrics_pb2.HistogramDataPoint(
        attributes=key_values(_attributes(metric, labels)),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=sum(value.counts),
        sum=value.sum,
        bucket_counts=value.counts,
        explicit_bounds=metric.buckets,
        exemplars=[_exemplar(exemplar) for exemplar in value.exemplars if exemplar is not None],
    )


def _attributes(metric: Metric, labels: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """A sample's attributes; an empty label is none, as in Prometheus."""
    names = metric.otel_labels or metric.labels
    return ((name, value) for name, value in zip(names, labels, strict=True) if value)


def _exemplar(exemplar: Exemplar) -> metrics_pb2.Exemplar:
    """Labels ``trace_id`` and ``span_id`` that are ids become ids; all others are attributes."""
    message = metrics_pb2.Exemplar(time_unix_nano=round(exemplar.timestamp * 1e9), as_double=exemplar.value)
    rest = []
    for name, value in exemplar.labels:
        if name == "trace_id" and (octets := _id(value, 16)):
            message.trace_id = octets
        elif name == "span_id" and (octets := _id(value, 8)):
            message.span_id = octets
        else:
            rest.append((name, value))
    message.filtered_attributes.extend(key_values(rest))
    return message


def _id(text: str, size: int) -> bytes:
    """The bytes of an id in hex, or none where it is not one."""
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        return b""
    return octets if len(octets) == size else b""
