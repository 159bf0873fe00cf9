from __future__ import annotations

import math

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2

from exporters.outputs.otlp import attributes, metrics
from exporters.outputs.otlp.config import Signal
from exporters.outputs.otlp.metrics import encode_metrics
from skytrail.metrics import Exemplar, Family, Histogram, Kind, Metric

RESOURCE = attributes.resource({"service.name": "skytrail", "host.cpu.count": 2, "tags": ["a", "b"]})
SCOPE = attributes.scope("skytrail", "1.2")
START, NOW = 1_700_000_000_000_000_000, 1_700_000_060_000_000_000
BYTES = Metric("skytrail_flow_bytes_total", "skytrail.flow.io", Kind.COUNTER, "By", "Bytes.", ("device", "direction"))
RTT = Metric("skytrail_rtt_seconds", "skytrail.flow.rtt", Kind.HISTOGRAM, "s", "RTT.", ("device",), buckets=(0.1, 1.0))


def encode(*families: Family) -> list[ExportMetricsServiceRequest]:
    requests = list(encode_metrics(families, RESOURCE, SCOPE, NOW))
    assert all(request.signal is Signal.METRICS for request in requests)
    return [ExportMetricsServiceRequest.FromString(request.data) for request in requests]


def only(*families: Family) -> metrics_pb2.Metric:
    [request] = encode(*families)
    [metric] = request.resource_metrics[0].scope_metrics[0].metrics
    return metric


def labels(point: metrics_pb2.NumberDataPoint | metrics_pb2.HistogramDataPoint) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in point.attributes}


def test_a_counter_is_a_cumulative_monotonic_sum_under_its_otel_name() -> None:
    metric = only(Family(BYTES, [(("eth0", "receive"), 5), (("eth0", ""), 2.5)], START))
    assert (metric.name, metric.unit, metric.description) == ("skytrail.flow.io", "By", "Bytes.")
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    whole, broken = metric.sum.data_points
    assert (whole.as_int, whole.start_time_unix_nano, whole.time_unix_nano) == (5, START, NOW)
    assert labels(whole) == {"device": "eth0", "direction": "receive"}
    assert broken.as_double == 2.5
    assert labels(broken) == {"device": "eth0"}  # an empty label is none


def test_attribute_names_of_otel_replace_labels_by_position() -> None:
    named = Metric("a", "b", Kind.GAUGE, "1", "h", ("device",), otel_labels=("network.interface.name",))
    assert labels(only(Family(named, [(("eth0",), 1)])).gauge.data_points[0]) == {"network.interface.name": "eth0"}


@pytest.mark.parametrize(
    ("value", "field", "sent"),
    [(7, "as_int", 7), (-3, "as_int", -3), (2**63, "as_double", 2.0**63), (0.5, "as_double", 0.5)],
)
def test_a_gauge_keeps_integers_that_fit(value: float, field: str, sent: float) -> None:
    [point] = only(Family(Metric("a", "b", Kind.GAUGE, "1", "h"), [((), value)], START)).gauge.data_points
    assert point.WhichOneof("value") == field
    assert getattr(point, field) == sent
    assert point.start_time_unix_nano == 0


def test_a_gauge_may_be_no_number() -> None:
    [point] = only(Family(Metric("a", "b", Kind.GAUGE, "1", "h"), [((), math.nan)])).gauge.data_points
    assert math.isnan(point.as_double)


def test_an_info_is_a_gauge_of_one() -> None:
    info = Metric("skytrail_build_info", "skytrail.build", Kind.INFO, "1", "h", ("version",))
    [point] = only(Family(info, [(("1.2",), 1.0)])).gauge.data_points
    assert point.as_int == 1
    assert labels(point) == {"version": "1.2"}


def test_a_histogram_has_bounds_counts_and_exemplars_with_trace_ids() -> None:
    trace, span = "8c5af2be29fb6f446d4a53c26774216d", "0102030405060708"
    exemplars = (
        Exemplar((("trace_id", trace), ("span_id", span)), 0.05, 1_700_000_001.5),
        None,
        Exemplar((("trace_id", "no id"), ("device", "eth0")), 3.0, 1_700_000_002.0),
    )
    metric = only(Family(RTT, [(("eth0",), Histogram((1, 0, 2), 6.05, exemplars))], START))
    assert metric.histogram.aggregation_temporality == metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    [point] = metric.histogram.data_points
    assert (point.count, point.sum) == (3, 6.05)
    assert list(point.bucket_counts) == [1, 0, 2]
    assert list(point.explicit_bounds) == [0.1, 1.0]
    assert (point.start_time_unix_nano, point.time_unix_nano) == (START, NOW)
    with_ids, without = point.exemplars
    assert with_ids.trace_id.hex() == trace
    assert with_ids.span_id.hex() == span
    assert (with_ids.as_double, with_ids.time_unix_nano) == (0.05, 1_700_000_001_500_000_000)
    assert not with_ids.filtered_attributes
    assert without.trace_id == b""
    assert [pair.key for pair in without.filtered_attributes] == ["trace_id", "device"]


def test_resource_and_scope_stand_in_every_request() -> None:
    [request] = encode(Family(BYTES, [(("eth0", "receive"), 5)]))
    [resource] = request.resource_metrics
    values = {pair.key: pair.value for pair in resource.resource.attributes}
    assert values["service.name"].string_value == "skytrail"
    assert values["host.cpu.count"].int_value == 2
    assert [item.string_value for item in values["tags"].array_value.values] == ["a", "b"]
    assert (resource.scope_metrics[0].scope.name, resource.scope_metrics[0].scope.version) == ("skytrail", "1.2")


def test_many_data_points_are_split_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "POINTS_MAX", 4)
    many = Family(BYTES, [((f"eth{i}", "receive"), i) for i in range(10)])
    one = Family(RTT, [(("eth0",), Histogram((1, 0, 0), 0.01))])
    requests = list(encode_metrics([many, Family(BYTES), one], RESOURCE, SCOPE, NOW))
    assert [request.items for request in requests] == [4, 4, 3]
    messages = [
        metric
        for request in requests
        for metric in ExportMetricsServiceRequest.FromString(request.data).resource_metrics[0].scope_metrics[0].metrics
    ]
    assert [point.as_int for metric in messages for point in metric.sum.data_points] == list(range(10))
    assert messages[-1].histogram.data_points[0].count == 1


def test_without_samples_nothing_is_sent() -> None:
    assert encode(Family(BYTES)) == []
