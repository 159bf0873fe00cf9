"""Dashboards as files: made by the code that is here, whole, of metrics and labels that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.dashboards import Json, dashboards, panels, variables
from support.needs import missing, tool

from skytrail.cli.reference import DECLARED

try:
    from grafana.dashboards.__main__ import JSON, rendered
    from grafana.dashboards.panels import HUB, once
except ImportError as error:
    if not (error.name or "").startswith("grafana_foundation_sdk"):
        raise
    missing("grafana-foundation-sdk is not installed (extra dev)")

DEPLOY = Path(__file__).parents[3] / "deploy" / "prometheus"
ALL = sorted(dashboards().items())
NAMED = pytest.mark.parametrize("dashboard", [one for _, one in ALL], ids=[name for name, _ in ALL])
_SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
OF_HUBS = r"skytrail_(topology_|wire_agents\b|wire_refused_)"
"""Metrics that only hubs have, of which there are few."""
_OF_SCRAPES = {"instance", "job", "le"}


def declared() -> dict[str, set[str]]:
    """Labels of all series, by their names."""
    found: dict[str, set[str]] = {"up": set()}
    for _, metrics in DECLARED:
        for metric in metrics:
            for suffix in _SUFFIXES.get(metric.kind.value, ("",)):
                found[metric.name + suffix] = set(metric.labels)
    return found


def recorded() -> Iterator[Json]:
    for group in yaml.safe_load((DEPLOY / "rules.yaml").read_text())["groups"]:
        yield from group["rules"]


def expressions() -> Iterator[tuple[str, str]]:
    """All questions to Prometheus, and where they stand."""
    for name, dashboard in ALL:
        for panel in panels(dashboard):
            yield from ((f"{name}: {panel['title']}", target["expr"]) for target in panel["targets"] if "expr" in target)
        for one in variables(dashboard):
            if "query" in one["query"]:
                yield f"{name}: ${one['name']}", one["query"]["query"]
    yield from ((rule["record"], rule["expr"]) for rule in recorded())
    for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


def test_the_files_are_as_the_code_makes_them() -> None:
    made = rendered()
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name} is not up to date: run 'make dashboards'"
    assert set(JSON.glob("*.json")) <= made.keys()


def test_there_are_all() -> None:
    names = "overview host flows tcp drops services topology kubernetes openvswitch itself"
    assert {name for name, _ in ALL} == set(names.split())


def test_metrics_and_labels_are_declared() -> None:
    known = declared() | {rule["record"]: {"instance", "reason", "map", "queue"} for rule in recorded()}
    labels = set().union(*known.values()) | _OF_SCRAPES | {"alertname", "alertstate"}
    for where, text in expressions():
        bare = re.sub(r'"[^"]*"', '""', text)
        for name, selector in re.findall(r"((?:\w+:)?skytrail_[\w:]+)(\{[^}]*\})?", bare):
            assert name in known, (where, name)
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"instance", "job"}
            assert asked <= known[name], (where, name, asked - known[name])
        for by in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", bare):
            assert {one.strip() for one in by.split(",")} <= labels, (where, by)


def test_counters_are_never_shown_as_they_are() -> None:
    for where, text in expressions():
        shown = re.sub(r"and skytrail_\w+_total(\{[^}]*\})? > 0", "", text)  # that one asks whether it was ever counted
        inside = re.findall(r"(\w+)\(skytrail_\w+_total\b", shown)
        assert len(inside) == len(re.findall(r"skytrail_\w+_total\b", shown)), where
        assert set(inside) <= {"rate", "increase", "count", "label_values"}, where


SEEN_BY_SEVERAL = r"skytrail_(?:flow|flow_inner|owner_flow|peer|interface)_(?:bytes|packets)_total"
"""Counters in which a packet is at each capture point, or interface, that it passes."""


def test_packets_are_not_added_up_over_capture_points() -> None:
    shown = 0
    for where, text in expressions():
        for by in re.findall(rf"(?:\(|by \(([^)]*)\) \()(?:rate|increase)\({SEEN_BY_SEVERAL}\b", text):
            shown += 1
            assert "device" in by.split(", "), (where, text)
    assert shown > 20


def test_what_passes_several_capture_points_counts_once(tmp_path: Path) -> None:
    """By Prometheus' own reckoning."""
    series = {
        'x_total{instance="a",netns="",device="eth0",direction="receive",application="HTTP"}': "0+60x20",
        'x_total{instance="a",netns="",device="eth0",direction="transmit",application="HTTP"}': "0+120x20",
        'x_total{instance="a",netns="",device="br0",direction="receive",application="HTTP"}': "0+60x20",
        'x_total{instance="a",netns="pod",device="eth0",direction="receive",application="DNS"}': "0+300x20",
        'x_total{instance="b",netns="",device="eth0",direction="receive",application="HTTP"}': "0+60x20",
    }
    wanted = {
        "": {"{}": 6},
        "application": {'{application="HTTP"}': 4, '{application="DNS"}': 5},
        "instance, application": {
            '{instance="a",application="HTTP"}': 3,
            '{instance="a",application="DNS"}': 5,
            '{instance="b",application="HTTP"}': 1,
        },
    }
    told = [
        {
            "expr": once("rate(x_total[5m])", by),
            "eval_time": "15m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()],
        }
        for by, samples in wanted.items()
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    path = tmp_path / "once.yaml"
    path.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": told}]}))
    done = subprocess.run([tool("promtool", "prometheus"), "test", "rules", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@NAMED
def test_it_is_whole(dashboard: Json) -> None:
    every = panels(dashboard)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert {one["type"] for one in dashboard["templating"]["list"][:2]} == {"datasource"}
    for panel in every:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] in {"timeseries", "stat"}:
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    placed = [panel["gridPos"] for panel in dashboard["panels"]]
    for at, one in enumerate(placed):
        for other in placed[at + 1 :]:
            assert (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            ), (one, other)


@NAMED
def test_variables_are_there_and_used(dashboard: Json) -> None:
    known = [one["name"] for one in dashboard["templating"]["list"]]
    used: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, str):
            used.update(re.findall(r"\$\{?(?!__)(\w+)", value))
        elif isinstance(value, dict):
            for one in value.values():
                look(one)
        elif isinstance(value, list):
            for one in value:
                look(one)

    look({**dashboard, "templating": [{**one, "name": ""} for one in dashboard["templating"]["list"]]})
    assert used <= set(known)
    assert set(known) - used <= {"skytrail", "prometheus"}
    for at, one in enumerate(dashboard["templating"]["list"]):  # each asks only for what stands before it
        used = set()
        look(one.get("query", ""))
        assert used <= set(known[:at])


@NAMED
def test_links_lead_somewhere(dashboard: Json) -> None:
    others = {one["uid"]: {variable["name"] for variable in one["templating"]["list"]} for _, one in ALL}
    assert len(others) == len(ALL)
    found = re.findall(r"/d/([\w-]+)\?([^\"']*)", str(dashboard))
    for uid, arguments in found:
        assert uid in others, uid
        assert set(re.findall(r"var-(\w+)=", arguments)) <= others[uid], arguments
        kept = set(re.findall(r"\$\{(\w+):queryparam\}", arguments))
        assert {"prometheus", "skytrail"} <= kept <= others[uid] & others[dashboard["uid"]] | {"prometheus", "skytrail"}
        assert not re.search(r"=\$(?!\{__)", arguments), "of several values it would be one text"
    assert [link["type"] for link in dashboard["links"]] == ["dashboards"]


AGGREGATION = re.compile(r"\b(?:sum|max|min|count)(?: by \(([^)]*)\))? ?\(")


def told_apart(text: str) -> Iterator[str]:
    """Labels of a query's outermost aggregations; what these are made of is summed up."""
    at = 0
    while found := AGGREGATION.search(text, at):
        yield from found[1].split(", ") if found[1] else ()
        at, depth = found.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1


@NAMED
def test_no_panel_has_series_without_bound(dashboard: Json) -> None:
    few = {
        *("transport", "network", "direction", "state", "reason", "finish", "anomaly", "side", "kind", "linker", "probe"),
        *("collector", "outcome", "result", "signal", "cluster", "source_kind", "le", "qdisc", "protocol"),
    }
    for panel in panels(dashboard):
        for target in panel["targets"]:
            text = target.get("expr", "")
            several = set(told_apart(text)) - few
            several -= {"instance"} if re.search(OF_HUBS, text) else set()
            assert not several or "topk(" in text, (panel["title"], several)


@NAMED
def test_queries_of_hubs_are_bounded(dashboard: Json) -> None:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            assert (panel["datasource"]["type"] == HUB) == ("queryType" in target)
            if target.get("queryType") in {"flows", "timeseries"}:
                assert ".Limit(" in target["gremlin"], panel["title"]


def test_provisioning_names_what_there_is() -> None:
    folder = JSON.parents[1] / "provisioning"
    [prometheus, hub] = yaml.safe_load((folder / "datasources" / "skytrail.yaml").read_text())["datasources"]
    assert (prometheus["type"], hub["type"]) == ("prometheus", HUB)
    groups = yaml.safe_load((folder / "alerting" / "skytrail.yaml").read_text())["groups"]
    sources = {query["datasourceUid"] for group in groups for rule in group["rules"] for query in rule["data"]}
    assert sources == {prometheus["uid"], "__expr__"}
    [provider] = yaml.safe_load((folder / "dashboards" / "skytrail.yaml").read_text())["providers"]
    assert provider["type"] == "file"
