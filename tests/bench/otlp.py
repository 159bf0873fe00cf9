"""Spans per second that are built and sent to the real collector, against protobuf messages made one by one.

Both send 20 attributes a span over the same gRPC transport, interleaved in one run; the sender has one CPU, the collector
another where there is one. CPU seconds are the sender process's, all threads, gRPC's too. Needs ``LAB_BIN``.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from exporters.outputs.otlp.columns import Column, SpanColumns, ValueKind
from exporters.outputs.otlp.config import OtlpConfig, Signal
from exporters.outputs.otlp.exporter import OtlpExporter
from exporters.outputs.otlp.transport import Verdict, connect
from tests.bench.report import Line

REQUEST = 2048
SPANS = 32 * REQUEST
ROUNDS = 5
BASELINE_SPANS = 8 * REQUEST


def lab() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_otelcol", Path(__file__).parents[1] / "lab" / "otelcol.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flows(n: int) -> SpanColumns:
    """Spans as flows make them: 20 attributes, each present in all spans."""
    rng = np.random.default_rng(1)

    def choice(*values: bytes) -> np.ndarray[Any, Any]:
        return np.array(values)[rng.integers(0, len(values), n)]

    def hexadecimal() -> np.ndarray[Any, Any]:
        return np.array([rng.bytes(16).hex().encode() for _ in range(n)])

    addresses = np.array([b"10.%d.%d.%d" % tuple(row) for row in rng.integers(0, 255, (n, 3)).tolist()])
    values: dict[str, np.ndarray[Any, Any]] = {
        "source.address": addresses,
        "source.port": rng.integers(1024, 65536, n),
        "destination.address": addresses[::-1].copy(),
        "destination.port": rng.integers(1, 1024, n),
        "network.type": choice(b"ipv4", b"ipv6"),
        "network.transport": choice(b"tcp", b"udp"),
        "network.interface.name": choice(b"eth0", b"veth1234567"),
        "skytrail.flow.tracking_id": hexadecimal(),
        "skytrail.flow.uuid": hexadecimal(),
        "skytrail.flow.community_id": np.array([b"1:" + rng.bytes(13).hex().encode() + b"==" for _ in range(n)]),
        "skytrail.flow.ab.packets": rng.integers(0, 10_000, n),
        "skytrail.flow.ba.packets": rng.integers(0, 10_000, n),
        "skytrail.flow.ab.bytes": rng.integers(0, 10**8, n),
        "skytrail.flow.ba.bytes": rng.integers(0, 10**8, n),
        "skytrail.flow.rtt": rng.random(n),
        "skytrail.flow.finish_type": choice(b"TCP_FIN", b"TCP_RST", b"TIMEOUT"),
        "skytrail.flow.initiator": choice(b"A", b"B"),
        "skytrail.flow.ended": rng.random(n) > 0.5,
        "process.pid": rng.integers(1, 40_000, n),
        "process.executable.name": choice(b"curl", b"nginx", b"postgres"),
    }
    kinds = {"S": ValueKind.STR, "i": ValueKind.INT, "f": ValueKind.DOUBLE, "b": ValueKind.BOOL}
    now = np.full(n, time.time_ns(), np.uint64)
    return SpanColumns(
        trace_id=rng.integers(0, 256, (n, 16), dtype=np.uint8),
        span_id=rng.integers(0, 256, (n, 8), dtype=np.uint8),
        name="flow",
        start=now,
        end=now + np.uint64(10**9),
        attributes=[Column(key, kinds[column.dtype.kind], column) for key, column in values.items()],
    )


def by_columns(endpoint: str, batch: SpanColumns) -> int:
    exporter = OtlpExporter(OtlpConfig(endpoint=endpoint), {"service.name": "bench"}, version="0", batch_max=REQUEST)
    queue = exporter.queue(Signal.TRACES)
    for start in range(0, len(batch), 4 * REQUEST):
        exporter.export_spans(batch.rows(start, start + 4 * REQUEST))
        while queue.bytes > queue.limits.max_bytes // 2:
            time.sleep(0.001)
    exporter.close(60)
    assert queue.sent == len(batch), queue.last_error
    return len(batch)


FIELD = {
    ValueKind.STR: "string_value",
    ValueKind.INT: "int_value",
    ValueKind.DOUBLE: "double_value",
    ValueKind.BOOL: "bool_value",
}


def one_by_one(endpoint: str, batch: SpanColumns) -> int:
    transport = connect(OtlpConfig(endpoint=endpoint).target(Signal.TRACES), "bench")
    for first in range(0, len(batch), REQUEST):
        part = batch.rows(first, first + REQUEST)
        keys = [(column.key, FIELD[column.kind]) for column in part.attributes]
        rows = zip(
            *(
                [v.decode() for v in c.values.tolist()] if c.kind is ValueKind.STR else c.values.tolist()
                for c in part.attributes
            ),
            strict=True,
        )
        spans = [
            Span(
                trace_id=trace,
                span_id=span,
                name="flow",
                kind=Span.SPAN_KIND_INTERNAL,
                start_time_unix_nano=start,
                end_time_unix_nano=end,
                attributes=[
                    KeyValue(key=key, value=AnyValue(**{field: value})) for (key, field), value in zip(keys, row, strict=True)
                ],
            )
            for trace, span, start, end, row in zip(
                map(bytes, part.trace_id), map(bytes, part.span_id), part.start.tolist(), part.end.tolist(), rows, strict=True
            )
        ]
        request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])
        outcome = transport.send(request.SerializeToString(), 60)
        assert outcome.verdict is Verdict.DELIVERED, outcome.message
    transport.close()
    return len(batch)


def rates(send: Callable[[str, SpanColumns], int], endpoint: str, batch: SpanColumns) -> tuple[float, float]:
    """Spans per CPU second of this process, and per second."""
    cpu, wall = time.process_time(), time.perf_counter()
    n = send(endpoint, batch)
    return n / (time.process_time() - cpu), n / (time.perf_counter() - wall)


def spans() -> Iterator[Line]:
    """Spans per CPU second, sent by gRPC to the collector."""
    module = lab()
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        try:
            program = module.unpack(Path(name))
        except LookupError as error:
            print(f"otlp: skipped, {error}")
            return
        collector = module.Collector(program, Path(name), overlays=("count",))
        os.sched_setaffinity(0, cpus[-1:])
        collector.start()  # inherits the affinity, so its Go runtime has one thread
        os.sched_setaffinity(0, cpus[:1])
        try:
            batch = flows(SPANS)
            small = batch.rows(0, BASELINE_SPANS)
            by_columns(collector.grpc, small)  # warm both ends
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(rates(by_columns, collector.grpc, batch))
                theirs.append(rates(one_by_one, collector.grpc, small))
        finally:
            collector.stop()
            os.sched_setaffinity(0, cpus)
    cpu, wall = (statistics.median(column) for column in zip(*ours, strict=True))
    base, base_wall = (statistics.median(column) for column in zip(*theirs, strict=True))
    yield Line(
        "OTLP spans, 20 attributes, per CPU second",
        cpu,
        "spans/s",
        base,
        "protobuf one by one",
        least=50_000,
        note=f"on the clock {wall:,.0f} and {base_wall:,.0f}",
    )
