"""Metrics as data: what every output renders and every document lists, declared in one place.

A :class:`Metric` is a declaration; a :class:`Family` is its values at one moment. Names follow Prometheus' rules
(base units, ``_total`` on counters) and OpenTelemetry's (dots, no unit, no ``_total``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """How a metric's value behaves over time."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """The declaration of one metric.

    Attributes:
        name: Prometheus' name, with unit and ``_total`` (``skytrail_flow_bytes_total``).
        otel: OpenTelemetry's name (``skytrail.flow.io``).
        kind: how the value behaves.
        unit: UCUM unit as OpenTelemetry writes it (``By``, ``s``, ``{packet}``, ``1``).
        help: one sentence.
        labels: Prometheus label names, in the order of a sample's values.
        bound: how many series there can be, and what happens beyond.
        otel_labels: attribute names where they differ from ``labels`` by position; empty means the same names.
        buckets: upper bounds of a histogram's buckets, without +Inf.
    """

    name: str
    otel: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    bound: str = "one"
    otel_labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation that led to a bucket: ``labels`` (``trace_id`` …), value, time in seconds since the epoch."""

    labels: tuple[tuple[str, str], ...]
    value: float
    timestamp: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram's value: counts per bucket (not cumulative, the last is +Inf's), sum, and an exemplar or None per bucket."""

    counts: tuple[int, ...]
    sum: float
    exemplars: tuple[Exemplar | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """The values of one metric at one moment: pairs of label values and a number or histogram.

    ``start`` is when the counters began, in ns since the epoch (OTLP's start_time_unix_nano).
    """

    metric: Metric
    samples: Sequence[tuple[tuple[str, ...], float | Histogram]] = field(default_factory=list)
    start: int = 0


def summed(samples: Iterable[tuple[tuple[str, ...], float]]) -> list[tuple[tuple[str, ...], float]]:
    """Samples with values of equal labels added up: two devices can bear one name, one after the other."""
    totals: dict[tuple[str, ...], float] = {}
    for labels, value in samples:
        totals[labels] = totals.get(labels, 0.0) + value
    return list(totals.items())


Source = Callable[[], Iterable[Family]]
"""What a collector gives to the outputs: called at each scrape or export, from any thread."""
