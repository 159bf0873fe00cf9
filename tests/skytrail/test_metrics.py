"""The declarations of metrics: names by Prometheus' and OpenTelemetry's rules, and a reference that says what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skytrail.cli.reference import DECLARED, render
from skytrail.metrics import Kind, Metric, summed

ALL = [metric for _, declared in DECLARED for metric in declared]
UNITS = {"By": "bytes", "s": "seconds"}


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_name_follows_prometheus_rules(metric: Metric) -> None:
    assert re.fullmatch(r"skytrail_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    stem = metric.name.removesuffix("_total")
    if metric.unit in UNITS:
        assert stem.endswith(UNITS[metric.unit])
    assert metric.help.endswith(".")


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_otel_name_has_neither_unit_nor_total(metric: Metric) -> None:
    assert re.fullmatch(r"(skytrail|process)(\.[a-z0-9_]+)+", metric.otel)
    assert not metric.otel.endswith(("total", "bytes", "seconds"))
    assert len(metric.otel_labels) in (0, len(metric.labels))


def test_no_name_is_declared_twice() -> None:
    assert len({metric.name for metric in ALL}) == len(ALL)
    assert len({metric.otel for metric in ALL}) == len(ALL)


def test_reference_is_up_to_date() -> None:
    reference = Path(__file__).parents[2] / "docs" / "metrics.md"

    assert reference.read_text(encoding="utf-8") == render(), "run 'make docs'"


def test_samples_of_equal_labels_are_one_series() -> None:
    assert summed([(("a",), 1.0), (("b",), 2.0), (("a",), 3.0)]) == [(("a",), 4.0), (("b",), 2.0)]
