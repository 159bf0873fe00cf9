"""The exposition of declared metrics, as prometheus-client's two parsers read it and promtool judges it."""

from __future__ import annotations

import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.needs import tool

from skytrail.http.prometheus import EXEMPLAR_LIMIT, Exposition
from skytrail.metrics import Exemplar, Family, Histogram, Kind, Metric

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
COUNTER = Metric("skytrail_seen_bytes_total", "skytrail.seen.io", Kind.COUNTER, "By", "What was seen.", ("device",))
GAUGE = Metric("skytrail_open", "skytrail.open", Kind.GAUGE, "1", "What is open.", ("device", "netns"))
INFO = Metric("skytrail_thing", "skytrail.thing", Kind.INFO, "1", "What it is.", ("version",))
RTT = Metric("skytrail_rtt_seconds", "skytrail.rtt", Kind.HISTOGRAM, "s", "How long.", ("device",), buckets=(0.001, 0.1))
NASTY = 'a"b\\c\nd'


def families(trace: str = "ab" * 16) -> list[Family]:
    exemplars = (None, Exemplar((("trace_id", trace),), 0.05, 1_700_000_000.5), None)
    return [
        Family(COUNTER, [(("eth0",), 12.0), ((NASTY,), 2.0**60)]),
        Family(GAUGE, [(("eth0", "blue"), 3.0)]),
        Family(INFO, [(("1.2",), 1.0)]),
        Family(RTT, [(("eth0",), Histogram((4, 2, 1), 7.5, exemplars))]),
    ]


def render(accept: str, trace: str = "ab" * 16) -> tuple[str, str]:
    body, content_type = Exposition([lambda: families(trace)]).render(accept)
    return body.decode(), content_type


@pytest.mark.parametrize("accept", ["text/plain", "", "*/*", OPENMETRICS])
def test_values_and_labels_come_back(accept: str) -> None:
    text, content_type = render(accept)
    openmetrics = content_type.startswith("application/openmetrics-text")
    assert openmetrics == (accept == OPENMETRICS)
    parsed = (parse_openmetrics if openmetrics else parse_text)(text)
    samples = {(s.name, *sorted(s.labels.values())): s.value for family in parsed for s in family.samples}
    assert samples == {
        ("skytrail_seen_bytes_total", "eth0"): 12.0,
        ("skytrail_seen_bytes_total", NASTY): 2.0**60,
        ("skytrail_open", "blue", "eth0"): 3.0,
        ("skytrail_thing_info", "1.2"): 1.0,
        ("skytrail_rtt_seconds_bucket", "0.001", "eth0"): 4.0,
        ("skytrail_rtt_seconds_bucket", "0.1", "eth0"): 6.0,
        ("skytrail_rtt_seconds_bucket", "+Inf", "eth0"): 7.0,
        ("skytrail_rtt_seconds_count", "eth0"): 7.0,
        ("skytrail_rtt_seconds_sum", "eth0"): 7.5,
    }


@pytest.mark.parametrize(("length", "shown"), [(EXEMPLAR_LIMIT - len("trace_id"), True), (EXEMPLAR_LIMIT, False)])
def test_exemplar_is_there_unless_openmetrics_forbids_its_length(length: int, shown: bool) -> None:
    text, _ = render(OPENMETRICS, "f" * length)
    found = [sample.exemplar for family in parse_openmetrics(text) for sample in family.samples if sample.exemplar]
    assert [(one.labels, one.value, float(one.timestamp)) for one in found] == (
        [({"trace_id": "f" * length}, 0.05, 1_700_000_000.5)] if shown else []
    )


def test_plain_text_has_no_exemplars() -> None:
    assert "trace_id" not in render("text/plain")[0]


def test_promtool_finds_nothing_to_say() -> None:
    command = [tool("promtool", "prometheus"), "check", "metrics"]
    done = subprocess.run(command, input=render("text/plain")[0], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("accept", ["text/plain;version=1.x", "text/plain;version=abc;escaping=foo", "\x00", "a" * 10_000])
def test_an_accept_header_without_sense_gets_plain_text(accept: str) -> None:
    body, content_type = Exposition([]).render(accept)
    assert (body, content_type.partition(";")[0]) == (b"", "text/plain")


def test_sources_are_asked_at_each_scrape() -> None:
    value = 0.0

    def source() -> list[Family]:
        nonlocal value
        value += 1
        return [Family(COUNTER, [(("eth0",), value)])]

    exposition = Exposition([source])
    assert [exposition.render("text/plain")[0].decode().count(f'"eth0"}} {n}.0') for n in (1, 2)] == [1, 1]
