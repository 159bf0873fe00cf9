"""Alerts of ``deploy/prometheus/alerts.yaml`` as Grafana's own: for who has Grafana alert, and no Alertmanager."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
UID = "prometheus"
"""Of the data source, as ``provisioning/datasources`` names it."""

_HEAD = """\
# Made by 'make dashboards' from deploy/prometheus/alerts.yaml: edit that. Needs the recording rules (rules.yaml) in Prometheus.
# Leave this file out where Prometheus has the alerts itself.
"""
_LOOKS_BACK = 600  # seconds; the query is instant, Grafana wants a range all the same


def build() -> str:
    """The file of provisioning."""
    groups = yaml.safe_load(SOURCE.read_text())["groups"]
    made = {"apiVersion": 1, "groups": [_group(group) for group in groups]}
    return _HEAD + yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=128)


def _group(group: dict[str, Any]) -> dict[str, object]:
    rules = [_rule(rule) for rule in group["rules"]]
    return {"orgId": 1, "name": group["name"], "folder": "Skytrail", "interval": "1m", "rules": rules}


def _rule(rule: dict[str, Any]) -> dict[str, object]:
    name: str = rule["alert"]
    # a series that is there fires, whatever its value: the comparison is in Prometheus' expression, and 0 passes some of them
    there = {"type": "math", "expression": "is_number($A) || is_nan($A) || is_inf($A)"}
    fires = {"type": "threshold", "expression": "B", "conditions": [{"evaluator": {"type": "gt", "params": [0]}}]}
    return {
        "uid": name.lower(),
        "title": name,
        "condition": "C",
        "for": rule.get("for", "0s"),
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": rule["labels"],
        "annotations": {key: text.replace("$value", "$values.A.Value") for key, text in rule["annotations"].items()},
        "data": [
            _query("A", UID, {"expr": rule["expr"], "instant": True, "range": False}),
            _query("B", "__expr__", there),
            _query("C", "__expr__", fires),
        ],
    }


def _query(name: str, source: str, model: Mapping[str, object]) -> dict[str, object]:
    back = {"from": _LOOKS_BACK, "to": 0}
    return {"refId": name, "relativeTimeRange": back, "datasourceUid": source, "model": {"refId": name, **model}}
