"""Alert and recording rules before Prometheus' own promtool: when each alert fires, when not yet; and these tests can fail."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.needs import tool

FOLDER = Path(__file__).parents[3] / "deploy" / "prometheus"
FILES = ("rules.yaml", "alerts.yaml")
_DAY = 86_400

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """An alert, with a sample a minute: what makes it fire, and what does not.

    Attributes:
        fires: series and their values, as promtool writes them.
        quiet: the same of another instance, which is as well as it may be.
        at: minute at which it fires.
        not_yet: minute at which it does not.
        labels: of the alert, beside its severity and instance="bad".
        summary: what people read.
    """

    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    at: int
    not_yet: int
    summary: str
    labels: Mapping[str, str]


def case(fires: Mapping[str, str], quiet: Mapping[str, str], at: int, not_yet: int, summary: str, **labels: str) -> Case:
    return Case(fires, quiet, at, not_yet, summary, labels)


CASES: Mapping[str, Case] = {
    "SkytrailAgentDown": case(
        {'up{job="skytrail-agent",instance="bad"}': "1 1 0x20"},
        {'up{job="skytrail-agent",instance="well"}': "1x20", 'up{job="another",instance="x"}': "0x20"},
        5,
        3,
        "No agent answers on bad",
        job="skytrail-agent",
    ),
    "SkytrailHubDown": case(
        {'up{job="skytrail-hub",instance="bad"}': "1 1 0x20"},
        {'up{job="skytrail-hub",instance="well"}': "1x20"},
        5,
        3,
        "No hub answers at bad",
        job="skytrail-hub",
    ),
    "SkytrailHubNotReady": case(
        {'skytrail_topology_store_up{instance="bad"}': "0x20", 'skytrail_linkers_up{instance="bad"}': "1x20"},
        {'skytrail_topology_store_up{instance="well"}': "1x20", 'skytrail_linkers_up{instance="well"}': "1x20"},
        6,
        4,
        "The hub at bad is not ready",
    ),
    "SkytrailAgentWithoutHub": case(
        {'skytrail_wire_hub_up{instance="bad"}': "0x20"},
        {'skytrail_wire_hub_up{instance="well"}': "0x3 1x16"},
        6,
        4,
        "No hub takes the reports of bad",
    ),
    "SkytrailCollectorFails": case(
        {'skytrail_collector_success{instance="bad",collector="sockets"}': "0x20"},
        {'skytrail_collector_success{instance="well",collector="sockets"}': "1x20"},
        11,
        9,
        "The collector sockets of bad tells nothing",
        collector="sockets",
    ),
    "SkytrailProbeDown": case(
        {'skytrail_probe_up{instance="bad",probe="netlink"}': "0x20"},
        {'skytrail_probe_up{instance="well",probe="netlink"}': "1x20"},
        16,
        14,
        "The probe netlink of bad does not see its source",
        probe="netlink",
    ),
    "SkytrailKubernetesDown": case(
        {'skytrail_kubernetes_up{instance="bad",cluster="prod"}': "0x20"},
        {'skytrail_kubernetes_up{instance="well",cluster="lab"}': "1x20"},
        11,
        9,
        "The graph of the cluster prod is not up to date",
        cluster="prod",
    ),
    "SkytrailOvsdbDown": case(
        {
            'skytrail_ovsdb_up{instance="bad",probe="unix:/db.sock"}': "0x20",
            'skytrail_ovsdb_resyncs_total{instance="bad",probe="unix:/db.sock"}': "1x20",
        },
        {
            'skytrail_ovsdb_up{instance="well",probe="unix:/db.sock"}': "1x20",
            'skytrail_ovsdb_resyncs_total{instance="well",probe="unix:/db.sock"}': "1x20",
            'skytrail_ovsdb_up{instance="none",probe="unix:/db.sock"}': "0x20",
            'skytrail_ovsdb_resyncs_total{instance="none",probe="unix:/db.sock"}': "0x20",
        },
        11,
        9,
        "The database unix:/db.sock of bad is not followed",
        probe="unix:/db.sock",
    ),
    "SkytrailCertificateEnds": case(
        {'skytrail_tls_certificate_expiry_timestamp_seconds{instance="bad",use="wire"}': f"{6 * _DAY}x20"},
        {
            'skytrail_tls_certificate_expiry_timestamp_seconds{instance="well",use="wire"}': f"{9 * _DAY}x20",
            'skytrail_tls_certificate_refused{instance="well",use="wire"}': "0x20",
        },
        11,
        9,
        "The certificate for wire of bad ends within a week, or its new files cannot be used",
        use="wire",
    ),
    "SkytrailFlowTableFull": case(
        {
            'skytrail_bpf_map_entries{instance="bad",map="flows4"}': "95x20",
            'skytrail_bpf_map_capacity{instance="bad",map="flows4"}': "100x20",
        },
        {
            'skytrail_bpf_map_entries{instance="well",map="flows4"}': "89x20",
            'skytrail_bpf_map_capacity{instance="well",map="flows4"}': "100x20",
        },
        6,
        4,
        "The flow table flows4 of bad is 95% full",
        map="flows4",
    ),
    "SkytrailFlowPacketsLost": case(
        {'skytrail_flow_lost_packets_total{instance="bad",reason="map_full"}': "0+600x30"},
        {
            'skytrail_flow_lost_packets_total{instance="well",reason="map_full"}': "7x30",
            'skytrail_flow_lost_packets_total{instance="well",reason="sampled_out"}': "0+600x30",
        },
        12,
        4,
        "10 packets/s of bad are on no flow",
    ),
    "SkytrailQueueDrops": case(
        {'skytrail_socket_events_lost_total{instance="bad",what="event"}': "0+120x30"},
        {
            'skytrail_export_dropped_total{instance="well",signal="traces"}': "5x30",
            'skytrail_drop_events_lost_total{instance="well",reason="full"}': "0x30",
        },
        12,
        4,
        "The queue of socket events of bad drops 2/s",
        queue="socket events",
    ),
    "SkytrailSeriesCapped": case(
        {'skytrail_series_capped_total{instance="bad",metric="skytrail_flow_bytes_total"}': "0+1x90"},
        {'skytrail_series_capped_total{instance="well",metric="skytrail_flow_bytes_total"}': "3x90"},
        60,
        10,
        "skytrail_flow_bytes_total of bad has more label sets than are told apart",
        metric="skytrail_flow_bytes_total",
    ),
    "SkytrailWireLag": case(
        {'skytrail_wire_waiting_reports{instance="bad"}': "250x30"},
        {'skytrail_wire_waiting_reports{instance="well"}': "90x30"},
        11,
        9,
        "250 reports of bad wait for a hub",
    ),
    "SkytrailClocksApart": case(
        {'skytrail_wire_clock_offset_seconds{instance="bad"}': "-7x30"},
        {'skytrail_wire_clock_offset_seconds{instance="well"}': "-1x30"},
        16,
        14,
        "The clocks of bad and its hub are 7s apart",
    ),
    "SkytrailDiskNotWritten": case(
        {'skytrail_history_dropped_records_total{instance="bad",kind="flows"}': "0+60x30"},
        {'skytrail_history_dropped_records_total{instance="well",kind="flows"}': "60x30"},
        12,
        4,
        "bad cannot write its history",
    ),
    "SkytrailStoreSpools": case(
        {'skytrail_topology_spool_batches{instance="bad"}': "12x30"},
        {'skytrail_topology_spool_batches{instance="well"}': "3x5 0x25"},
        11,
        9,
        "12 batches of changes of bad wait on its disk",
    ),
    "SkytrailDropsRising": case(
        {'skytrail_packets_dropped_total{instance="bad",device="eth0",reason="NETFILTER_DROP"}': "0+60x60 3660+6000x60"},
        {
            'skytrail_packets_dropped_total{instance="well",device="eth0",reason="NETFILTER_DROP"}': "0+6000x120",
            'skytrail_packets_dropped_total{instance="well",device="eth1",reason="NO_SOCKET"}': "0+6x60 366+60x60",
        },
        71,
        63,
        "bad drops 100 packets/s: NETFILTER_DROP",
        reason="NETFILTER_DROP",
    ),
    "SkytrailTcpRetransmits": case(
        {
            'skytrail_tcp_retransmits_total{instance="bad",netns=""}': "0+600x30",
            'skytrail_netstat_events_total{instance="bad",protocol="Tcp",field="OutSegs"}': "0+6000x30",
        },
        {
            'skytrail_tcp_retransmits_total{instance="well",netns=""}': "0+120x30",
            'skytrail_netstat_events_total{instance="well",protocol="Tcp",field="OutSegs"}': "0+6000x30",
            'skytrail_tcp_retransmits_total{instance="idle",netns=""}': "0+6x30",
            'skytrail_netstat_events_total{instance="idle",protocol="Tcp",field="OutSegs"}': "0+60x30",
        },
        15,
        9,
        "bad sends 10% of its TCP segments again",
    ),
    "SkytrailListenQueueFull": case(
        {
            'skytrail_tcp_listen_queue{instance="bad",netns="",process="nginx",port="443"}': "100x20",
            'skytrail_tcp_listen_queue_limit{instance="bad",netns="",process="nginx",port="443"}': "100x20",
        },
        {
            'skytrail_tcp_listen_queue{instance="well",netns="",process="nginx",port="443"}': "40x20",
            'skytrail_tcp_listen_queue_limit{instance="well",netns="",process="nginx",port="443"}': "100x20",
        },
        3,
        1,
        "nginx on bad does not accept connections to port 443 fast enough",
        process="nginx",
        port="443",
    ),
    "SkytrailConntrackFull": case(
        {
            'skytrail_conntrack_entries{instance="bad",netns="gw"}': "95x20",
            'skytrail_conntrack_entries_limit{instance="bad",netns="gw"}': "100x20",
        },
        {
            'skytrail_conntrack_entries{instance="well",netns="gw"}': "85x20",
            'skytrail_conntrack_entries_limit{instance="well",netns="gw"}': "100x20",
        },
        6,
        4,
        "The conntrack table of bad (gw) is 95% full",
        netns="gw",
    ),
    "SkytrailInterfaceFlaps": case(
        {'skytrail_interface_carrier_changes_total{instance="bad",netns="",device="eth0",kind="device",to="down"}': "0+1x30"},
        {
            'skytrail_interface_carrier_changes_total{instance="well",netns="",device="eth0",to="down"}': "0x9 2x20",
            'skytrail_interface_carrier_changes_total{instance="well",netns="",device="eth0",to="up"}': "0+1x30",
        },
        15,
        3,
        "The carrier of eth0 on bad comes and goes",
        device="eth0",
    ),
}


def rules(name: str) -> Json:
    found: Json = yaml.safe_load((FOLDER / name).read_text())
    return found


def alerts(document: Json) -> Iterator[Json]:
    return (rule for group in document["groups"] for rule in group["rules"])


ALERTS = {rule["alert"]: rule for rule in alerts(rules("alerts.yaml"))}


def unit_test(name: str) -> Json:
    """Of one alert."""
    told, rule = CASES[name], ALERTS[name]
    expected = {
        "exp_labels": {"instance": "bad", **told.labels, **rule["labels"]},
        "exp_annotations": {"summary": told.summary, "description": rule["annotations"]["description"]},
    }
    return {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in {**told.fires, **told.quiet}.items()],
        "alert_rule_test": [
            {"alertname": name, "eval_time": f"{told.not_yet}m", "exp_alerts": []},
            {"alertname": name, "eval_time": f"{told.at}m", "exp_alerts": [expected]},
        ],
    }


def promtool(folder: Path, alerting: Json, tests: list[Json]) -> subprocess.CompletedProcess[str]:
    """Run tests on the recording rules and these alerts."""
    folder.mkdir(parents=True)
    (folder / "alerts.yaml").write_text(yaml.safe_dump(alerting, sort_keys=False))
    (folder / "rules.yaml").write_text((FOLDER / "rules.yaml").read_text())
    (folder / "tests.yaml").write_text(yaml.safe_dump({"rule_files": [*FILES], "evaluation_interval": "1m", "tests": tests}))
    return subprocess.run(
        [tool("promtool", "prometheus"), "test", "rules", "tests.yaml"], cwd=folder, capture_output=True, text=True
    )


def test_the_files_are_good() -> None:
    for command in (["check", "rules", *FILES], ["check", "config", "prometheus.yaml"]):
        done = subprocess.run([tool("promtool", "prometheus"), *command], cwd=FOLDER, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "duplicate" not in done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    assert CASES.keys() == ALERTS.keys()
    done = promtool(tmp_path / "all", rules("alerts.yaml"), [unit_test(name) for name in ALERTS])
    assert done.returncode == 0, done.stdout + done.stderr


def never(rule: Json) -> None:
    rule["expr"] = "vector(0) > 1"


def at_once(rule: Json) -> None:
    del rule["for"]


def always(rule: Json) -> None:
    """Whatever the value is."""
    changed = re.sub(r"(==|>|<) (\d[\d.]*)( \* 86400)?(?=$| and | or )", ">= -1e12", rule["expr"])
    rule["expr"] = re.sub(r"> 3 \* \(.*", "> 0", changed)
    assert rule["expr"] != ALERTS[rule["alert"]]["expr"]


MUTANTS = [
    (name, change) for name in ALERTS for change in (never, at_once, always) if change is not at_once or "for" in ALERTS[name]
]


@pytest.mark.timeout(300)
def test_these_tests_can_fail(tmp_path: Path) -> None:
    def survives(mutant: tuple[str, Any]) -> bool:
        name, change = mutant
        mutated = copy.deepcopy(rules("alerts.yaml"))
        change(next(rule for rule in alerts(mutated) if rule["alert"] == name))
        done = promtool(tmp_path / f"{name}-{change.__name__}", mutated, [unit_test(name)])
        assert "FAILED" in done.stdout + done.stderr or done.returncode == 0, done.stdout + done.stderr
        return done.returncode == 0

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(survives, MUTANTS))
    assert [f"{name} {change.__name__}" for (name, change), alive in zip(MUTANTS, told, strict=True) if alive] == []


def test_recording_rules_say_what_they_are_named_for(tmp_path: Path) -> None:
    series = {
        'skytrail_flow_bytes_total{instance="a",device="x"}': "0+600x20",
        'skytrail_flow_bytes_total{instance="a",device="y"}': "0+1200x20",
        'skytrail_flows_new_total{instance="a",transport="tcp"}': "0+60x20",
        'skytrail_flow_tcp_rtt_seconds_bucket{instance="a",le="0.1"}': "0+90x20",
        'skytrail_flow_tcp_rtt_seconds_bucket{instance="a",le="0.2"}': "0+100x20",
        'skytrail_flow_tcp_rtt_seconds_bucket{instance="a",le="+Inf"}': "0+100x20",
        'skytrail_export_dropped_total{instance="a",signal="traces",reason="full"}': "0+60x20",
        'skytrail_wire_collapsed_reports_total{instance="a"}': "0+120x20",
    }
    queue = "instance_queue:skytrail_queue_drops:rate5m"
    expected = {
        "instance:skytrail_flow_bytes:rate5m": {'{instance="a"}': 20},  # the same packets at two capture points
        "instance:skytrail_flows_new:rate5m": {'{instance="a"}': 1},
        "instance:skytrail_flow_tcp_rtt_seconds:p99_5m": {'{instance="a"}': 0.19},
        queue: {'{instance="a",queue="export"}': 1, '{instance="a",queue="reports"}': 2},
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"round({name}, 0.001)",
                "eval_time": "15m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in told.items()],
            }
            for name, told in expected.items()
        ],
    }
    done = promtool(tmp_path / "recorded", rules("alerts.yaml"), [test])
    assert done.returncode == 0, done.stdout + done.stderr
