"""The metrics of the export itself, declared as data."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

EXPORTER = "otlp"
"""The value of the label ``exporter``."""

_LABELS = ("exporter", "signal")
_BOUND = "two: one for each signal"

SENT = Metric(
    name="skytrail_export_sent_total",
    otel="skytrail.export.sent",
    kind=Kind.COUNTER,
    unit="{item}",
    help="Spans or data points that the receiver accepted.",
    labels=_LABELS,
    bound=_BOUND,
)
DROPPED = Metric(
    name="skytrail_export_dropped_total",
    otel="skytrail.export.dropped",
    kind=Kind.COUNTER,
    unit="{item}",
    help="Spans or data points that were given up, by reason.",
    labels=(*_LABELS, "reason"),
    bound="eight: four reasons for each signal",
)
RETRIES = Metric(
    name="skytrail_export_retries_total",
    otel="skytrail.export.retries",
    kind=Kind.COUNTER,
    unit="{request}",
    help="Requests that were sent again after a failure.",
    labels=_LABELS,
    bound=_BOUND,
)
QUEUE_BYTES = Metric(
    name="skytrail_export_queue_bytes",
    otel="skytrail.export.queue.size",
    kind=Kind.GAUGE,
    unit="By",
    help="Bytes of the requests that wait or are being sent.",
    labels=_LABELS,
    bound=_BOUND,
)
QUEUE_ITEMS = Metric(
    name="skytrail_export_queue_items",
    otel="skytrail.export.queue.items",
    kind=Kind.GAUGE,
    unit="{item}",
    help="Spans or data points that wait or are being sent.",
    labels=_LABELS,
    bound=_BOUND,
)
QUEUE_LIMIT = Metric(
    name="skytrail_export_queue_limit_bytes",
    otel="skytrail.export.queue.limit",
    kind=Kind.GAUGE,
    unit="By",
    help="Bytes that the queue may hold before it drops the oldest request.",
    labels=_LABELS,
    bound=_BOUND,
)
DURATION = Metric(
    name="skytrail_export_duration_seconds",
    otel="skytrail.export.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    help="Time that one attempt to send took, successful or not.",
    labels=_LABELS,
    bound=_BOUND,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

METRICS = (SENT, DROPPED, RETRIES, QUEUE_BYTES, QUEUE_ITEMS, QUEUE_LIMIT, DURATION)
