from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from exporters.outputs.otlp.columns import Column, LinkColumn, SpanColumns, ValueKind
from exporters.outputs.otlp.config import Compression, OtlpConfig, Signal, Wire
from exporters.outputs.otlp.exporter import REQUEST_BYTES, OtlpExporter
from exporters.outputs.otlp.queue import Backoff, ExportQueue, Limits, Reason
from skytrail.metrics import Exemplar, Family, Histogram, Kind, Metric

Poll = Callable[[Callable[[], Any]], Any]
MakeSpans = Callable[[int], SpanColumns]
MakeExporter = Callable[..., OtlpExporter]
lab_test = pytest.mark.lab


@pytest.fixture
def make_exporter() -> Iterator[MakeExporter]:
    made: list[OtlpExporter] = []

    def make(config: OtlpConfig, **options: Any) -> OtlpExporter:
        resource = {"service.name": "skytrail", "host.name": "test"}
        options = {"backoff": Backoff(0.02, 0.2), "version": "test", **options}
        made.append(OtlpExporter(config, resource, **options))
        return made[-1]

    yield make
    for exporter in made:
        exporter.close(0)


def endpoint(collector: Any, wire: Wire) -> str:
    return str(collector.grpc if wire is Wire.GRPC else collector.http)


def ids(*batches: SpanColumns) -> Counter[tuple[str, str]]:
    return Counter(
        (trace.tobytes().hex(), span.tobytes().hex())
        for batch in batches
        for trace, span in zip(batch.trace_id, batch.span_id, strict=True)
    )


def received(collector: Any) -> Counter[tuple[str, str]]:
    return Counter((span["traceId"], span["spanId"]) for span in collector.spans())


def traces(exporter: OtlpExporter) -> ExportQueue:
    return exporter.queue(Signal.TRACES)


@lab_test
@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("wire", Wire)
def test_every_span_arrives_once_in_the_real_collector(
    collector: Any,
    make_exporter: MakeExporter,
    make_spans: MakeSpans,
    wire: Wire,
    compression: Compression,
) -> None:
    exporter = make_exporter(OtlpConfig(endpoint=endpoint(collector, wire), protocol=wire, compression=compression))
    batches = [make_spans(5000), make_spans(1), make_spans(0)]
    for batch in batches:
        exporter.export_spans(batch)
    exporter.close(30)
    collector.stop()
    assert received(collector) == ids(*batches)
    assert traces(exporter).sent == 5001
    assert sum(traces(exporter).dropped.values()) == 0


@lab_test
def test_the_collector_reads_every_field_of_a_span(
    collector: Any,
    lab: Any,
    make_exporter: MakeExporter,
    make_spans: MakeSpans,
) -> None:
    plain = make_spans(2)
    some = np.array([True, False])
    long = "ü" * 5000
    batch = replace(
        plain,
        name=np.array(["tcp flöw".encode(), b"udp"]),
        kind=np.array([1, 3]),
        parent_span_id=np.stack([plain.span_id[1], np.zeros(8, np.uint8)]),
        attributes=[
            Column("text", ValueKind.STR, np.array([long.encode(), b""])),
            Column("negative", ValueKind.INT, np.array([-1, -(2**63)])),
            Column("double", ValueKind.DOUBLE, np.array([0.25, -1e300])),
            Column("bool", ValueKind.BOOL, np.array([True, False])),
            Column("some", ValueKind.STR, np.array([b"here", b"hidden"]), some),
            Column("list", ValueKind.STR, np.array([[b"a", b"b"], [b"", b"c"]])),
        ],
        links=[LinkColumn(plain.trace_id, plain.span_id, some, (("skytrail.link", "outer"),))],
        flags=0x101,
    )
    exporter = make_exporter(OtlpConfig(endpoint=collector.grpc))
    exporter.export_spans(batch)
    exporter.close(30)
    collector.stop()
    first, second = sorted(collector.spans(), key=lambda span: span["name"])
    assert [first["name"], second["name"]] == ["tcp flöw", "udp"]
    assert [first["kind"], second["kind"]] == [1, 3]
    assert first["parentSpanId"] == plain.span_id[1].tobytes().hex()
    assert second.get("parentSpanId", "") == ""
    assert int(first["startTimeUnixNano"]) == plain.start[0]
    assert int(first["endTimeUnixNano"]) == plain.end[0]
    assert first["flags"] == second["flags"] == 0x101
    assert first["resource"] == {"service.name": "skytrail", "host.name": "test"}
    common = {"negative": -1, "double": 0.25, "bool": True}
    assert lab.attributes(first) == {"text": long, **common, "some": "here", "list": ["a", "b"]}
    other = {"negative": -(2**63), "double": -1e300, "bool": False}
    assert lab.attributes(second) == {"text": "", **other, "list": ["c"]}
    [link] = first["links"]
    assert (link["traceId"], link["spanId"]) == (plain.trace_id[0].tobytes().hex(), plain.span_id[0].tobytes().hex())
    assert lab.attributes(link) == {"skytrail.link": "outer"}
    assert "links" not in second


@lab_test
@pytest.mark.parametrize("wire", Wire)
def test_metrics_arrive_in_the_real_collector(
    collector: Any,
    lab: Any,
    make_exporter: MakeExporter,
    wire: Wire,
) -> None:
    io = Metric("skytrail_flow_bytes_total", "skytrail.flow.io", Kind.COUNTER, "By", "Bytes.", ("device",))
    rtt = Metric("skytrail_rtt_seconds", "skytrail.flow.rtt", Kind.HISTOGRAM, "s", "RTT.", buckets=(0.1,))
    trace = "8c5af2be29fb6f446d4a53c26774216d"
    exemplar = Exemplar((("trace_id", trace),), 0.05, 1_700_000_000.0)
    exporter = make_exporter(OtlpConfig(endpoint=endpoint(collector, wire), protocol=wire))
    histogram = Histogram((1, 0), 0.05, (exemplar, None))
    exporter.export_metrics([Family(io, [(("eth0",), 2**53 + 1)], 5), Family(rtt, [((), histogram)], 5)])
    exporter.export_metrics(exporter.families())
    exporter.close(30)
    collector.stop()
    metrics = collector.metrics()
    [point] = metrics["skytrail.flow.io"]["sum"]["dataPoints"]
    assert int(point["asInt"]) == 2**53 + 1
    assert lab.attributes(point) == {"device": "eth0"}
    [point] = metrics["skytrail.flow.rtt"]["histogram"]["dataPoints"]
    assert point["exemplars"][0]["traceId"] == trace
    assert metrics["skytrail.export.sent"]["sum"]["isMonotonic"]
    assert exporter.queue(Signal.METRICS).sent == 2 + 2 * 6 + 8  # seven self-metrics of two signals, one by four reasons


@lab_test
@pytest.mark.parametrize("wire", Wire)
def test_tls_both_ways_with_the_real_collector(
    make_collector: Callable[..., Any],
    certificates: Any,
    make_exporter: MakeExporter,
    make_spans: MakeSpans,
    eventually: Poll,
    wire: Wire,
) -> None:
    files = {"OTEL_CERT": certificates.server_cert, "OTEL_KEY": certificates.server_key, "OTEL_CA": certificates.ca}
    collector = make_collector(overlays=("tls",), env=files)
    collector.start()
    config = OtlpConfig(
        endpoint=endpoint(collector, wire).replace("http:", "https:"),
        protocol=wire,
        certificate=certificates.ca,
        client_certificate=certificates.client_cert,
        client_key=certificates.client_key,
    )
    batch = make_spans(100)
    strangers = [
        replace(config, certificate=certificates.other_ca),  # whose server we do not trust
        replace(config, client_certificate=None, client_key=None),  # whom the server does not trust
    ]
    for stranger in strangers:
        exporter = make_exporter(stranger)
        exporter.export_spans(make_spans(10))
        eventually(lambda e=exporter: traces(e).retries)  # type: ignore[misc] # bound at once
        exporter.close(0)
        assert (traces(exporter).sent, traces(exporter).dropped[Reason.SHUTDOWN]) == (0, 10)
    exporter = make_exporter(config)
    exporter.export_spans(batch)
    exporter.close(30)
    collector.stop()
    assert received(collector) == ids(batch)


@lab_test
@pytest.mark.parametrize("wire", Wire)
def test_a_collector_that_is_late_and_then_restarted_loses_nothing(
    make_collector: Callable[..., Any],
    make_exporter: MakeExporter,
    make_spans: MakeSpans,
    eventually: Poll,
    wire: Wire,
) -> None:
    collector = make_collector()
    exporter = make_exporter(OtlpConfig(endpoint=endpoint(collector, wire), protocol=wire), batch_max=500)
    batches = [make_spans(2000)]
    exporter.export_spans(batches[0])
    eventually(lambda: traces(exporter).retries >= 3)
    assert traces(exporter).items == 2000
    collector.start()
    eventually(lambda: traces(exporter).sent == 2000)
    collector.stop()
    retries = traces(exporter).retries
    batches.append(make_spans(3000))
    exporter.export_spans(batches[1])
    eventually(lambda: traces(exporter).retries >= retries + 3)
    assert traces(exporter).items == 3000
    collector.start()
    eventually(lambda: traces(exporter).sent == 5000)
    collector.stop()
    assert received(collector) >= ids(*batches)  # at least once
    assert set(received(collector)) == set(ids(*batches))
    assert sum(traces(exporter).dropped.values()) == 0


@lab_test
def test_beyond_the_queues_bound_the_newest_spans_survive_an_outage_and_the_rest_is_counted(
    make_collector: Callable[..., Any], make_exporter: MakeExporter, make_spans: MakeSpans, eventually: Poll
) -> None:
    collector = make_collector()
    exporter = make_exporter(OtlpConfig(endpoint=collector.grpc), limits=Limits(max_items=1000), batch_max=100)
    first, last = make_spans(2000), make_spans(900)
    exporter.export_spans(first)
    eventually(lambda: traces(exporter).retries)  # something of the first is being sent and stays
    exporter.export_spans(last)
    assert traces(exporter).dropped[Reason.QUEUE_FULL] == 1900
    collector.start()
    eventually(lambda: traces(exporter).sent == 1000)
    collector.stop()
    assert received(collector) & ids(last) == ids(last)


def receiver_of(request: pytest.FixtureRequest, wire: Wire) -> Any:
    return request.getfixturevalue("grpc_receiver" if wire is Wire.GRPC else "http_receiver")


@pytest.mark.parametrize("wire", Wire)
def test_an_ambiguous_failure_is_retried_with_the_same_span_ids(
    request: pytest.FixtureRequest, make_exporter: MakeExporter, make_spans: MakeSpans, wire: Wire
) -> None:
    receiver = receiver_of(request, wire)
    receiver.then(hang=True)
    receiver.then(code=grpc.StatusCode.UNAVAILABLE, status=503)
    exporter = make_exporter(OtlpConfig(endpoint=receiver.endpoint, protocol=wire, timeout=0.5))
    exporter.export_spans(make_spans(7))
    exporter.close(30)
    first, *again = receiver.span_ids()
    assert len(again) >= 2
    assert all(ids == first for ids in again)
    assert (traces(exporter).sent, traces(exporter).retries) == (7, len(again))


@pytest.mark.parametrize("wire", Wire)
def test_a_refused_request_is_counted_and_the_next_goes_out(
    request: pytest.FixtureRequest, make_exporter: MakeExporter, make_spans: MakeSpans, wire: Wire
) -> None:
    receiver = receiver_of(request, wire)
    receiver.then(code=grpc.StatusCode.RESOURCE_EXHAUSTED, status=400)  # without RetryInfo
    exporter = make_exporter(OtlpConfig(endpoint=receiver.endpoint, protocol=wire), batch_max=10)
    exporter.export_spans(make_spans(15))
    exporter.close(30)
    assert [len(request) for request in receiver.span_ids()] == [10, 5]
    assert (traces(exporter).sent, traces(exporter).dropped[Reason.REFUSED]) == (5, 10)
    assert traces(exporter).retries == 0


def test_retry_after_is_waited_for(http_receiver: Any, make_exporter: MakeExporter, make_spans: MakeSpans) -> None:
    http_receiver.then(status=429, headers=(("Retry-After", "1"),))
    config = OtlpConfig(endpoint=http_receiver.endpoint, protocol=Wire.HTTP)
    exporter = make_exporter(config, backoff=Backoff(1000, 1000))
    exporter.export_spans(make_spans(1))
    exporter.close(30)
    first, second = http_receiver.times
    assert second - first >= 1
    assert traces(exporter).sent == 1


def test_requests_stay_below_the_size_that_receivers_take(
    grpc_receiver: Any,
    make_exporter: MakeExporter,
    make_spans: MakeSpans,
) -> None:
    plain = make_spans(3000)
    values = np.array([b"x" * 5000] * 3000)
    batch = replace(plain, attributes=[Column("k", ValueKind.STR, values)])
    exporter = make_exporter(OtlpConfig(endpoint=grpc_receiver.endpoint), batch_max=100_000)
    exporter.export_spans(batch)
    exporter.close(30)
    assert max(map(len, grpc_receiver.requests)) <= REQUEST_BYTES
    assert len(grpc_receiver.requests) == 4
    sent = [span for request in grpc_receiver.span_ids() for span in request]
    assert sent == [span.tobytes() for span in plain.span_id]


def test_one_signal_alone_makes_one_queue(grpc_receiver: Any, make_exporter: MakeExporter) -> None:
    exporter = make_exporter(OtlpConfig(endpoint=grpc_receiver.endpoint), signals=[Signal.METRICS])
    assert {values[1] for family in exporter.families() for values, _ in family.samples} == {"metrics"}
    names = [family.metric.name for family in exporter.families()]
    assert len(names) == len(set(names))
