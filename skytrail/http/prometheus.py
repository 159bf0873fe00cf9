"""The route /metrics: declared metrics by prometheus-client, in OpenMetrics with exemplars where a scraper asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.core import Exemplar as ClientExemplar
from prometheus_client.core import Metric as ClientMetric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from skytrail.metrics import Exemplar, Family, Histogram, Kind, Source

_PLAIN = "text/plain; version=0.0.4"

EXEMPLAR_LIMIT = 128
"""UTF-8 characters of an exemplar's label set (OpenMetrics 1.0)."""


class FamilyCollector(Collector):
    """Asks the sources at each scrape.

    Args:
        sources: what gives families; one metric comes from one source.

    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def describe(self) -> Iterable[ClientMetric]:
        """Nothing: names are known at a scrape, and checked by the declarations' test."""
        return []

    def collect(self) -> Iterator[ClientMetric]:
        """All families as prometheus-client's."""
        for source in self._sources:
            for family in source():
                yield from _client_family(family)


class Exposition:
    """Renders a scrape's answer.

    Args:
        sources: what gives families.

    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(FamilyCollector(sources))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type, as the Accept header asks; one that makes no sense gets the plain format."""
        try:
            encoder, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            encoder, content_type = choose_encoder("text/plain")
        return encoder(self._registry), content_type


def metrics_blueprint(exposition: Exposition, *, exemplars: bool) -> Blueprint:
    """The route of a scrape; OpenMetrics, and with it exemplars, where the scraper asks for it and ``exemplars`` is on."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        accept = request.headers.get("Accept", _PLAIN) if exemplars else _PLAIN
        body, content_type = exposition.render(accept)
        return Response(body, content_type=content_type)

    return blueprint


def _client_family(family: Family) -> Iterator[ClientMetric]:
    metric = family.metric
    if metric.kind is Kind.COUNTER:
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in family.samples:
            counter.add_metric(labels, _number(value))
        yield counter
    elif metric.kind is Kind.GAUGE:
        gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in family.samples:
            gauge.add_metric(labels, _number(value))
        yield gauge
    elif metric.kind is Kind.INFO:
        info = InfoMetricFamily(metric.name, metric.help)
        for labels, _ in family.samples:
            info.add_metric((), dict(zip(metric.labels, labels, strict=True)))
        yield info
    else:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in family.samples:
            if isinstance(value, Histogram):
                histogram.add_metric(labels, _buckets(metric.buckets, value), value.sum)
        yield histogram


def _number(value: float | Histogram) -> float:
    assert not isinstance(value, Histogram)
    return value


def _buckets(bounds: Sequence[float], value: Histogram) -> list[tuple[str, float, ClientExemplar] | tuple[str, float]]:
    names = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    exemplars = value.exemplars or (None,) * len(names)
    result: list[tuple[str, float, ClientExemplar] | tuple[str, float]] = []
    for name, count, exemplar in zip(names, accumulate(value.counts), exemplars, strict=True):
        fits = exemplar is not None and _length(exemplar) <= EXEMPLAR_LIMIT
        if exemplar is not None and fits:
            result.append((name, float(count), ClientExemplar(dict(exemplar.labels), exemplar.value, exemplar.timestamp)))
        else:
            result.append((name, float(count)))
    return result


def _length(exemplar: Exemplar) -> int:
    return sum(len(name) + len(value) for name, value in exemplar.labels)
