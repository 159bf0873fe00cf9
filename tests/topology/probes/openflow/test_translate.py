"""Lines of ``ovs-ofctl`` → rules and groups."""

from __future__ import annotations

from typing import Any

import pytest

from topology.probes.openflow.source import _Chosen
from topology.probes.openflow.translate import read_group, read_rule, rule_fact

HEAD = " cookie=0x7, duration=0.322s, table=1, n_packets=3, n_bytes=180, "
TIMED = f"{HEAD}idle_timeout=60, hard_timeout=600, send_flow_rem importance=3, idle_age=0, "
ACTIONS = "ct(commit,zone=5,nat(src=1.1.1.1)),write_actions(output:1,set_queue:3),goto_table:3"


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        (" actions=NORMAL", {"Cookie": "0x0", "Table": 0, "Priority": 32768, "Actions": ["NORMAL"]}),
        (
            f"{TIMED}priority=1,ct_state=+new+trk,tcp,tp_dst=0x10/0xfff0 actions={ACTIONS}",
            {
                "Cookie": "0x7",
                "Table": 1,
                "Priority": 1,
                "IdleTimeout": 60,
                "HardTimeout": 600,
                "Importance": 3,
                "Flags": ["send_flow_rem"],
                "Filters": [
                    {"Type": "ct_state", "Value": "+new+trk"},
                    {"Type": "tcp"},
                    {"Type": "tp_dst", "Value": "0x10", "Mask": "0xfff0"},
                ],
                "Actions": ["ct(commit,zone=5,nat(src=1.1.1.1))"],
                "WriteActions": ["output:1", "set_queue:3"],
                "GotoTable": 3,
            },
        ),
        (
            " table=4, packet_type=(1,0x894f) actions=drop",
            {
                "Cookie": "0x0",
                "Table": 4,
                "Priority": 32768,
                "Filters": [{"Type": "packet_type", "Value": "(1,0x894f)"}],
                "Actions": ["drop"],
            },
        ),
    ],
)
def test_a_rule(line: str, keys: dict[str, Any]) -> None:
    rule = read_rule(line)
    assert rule
    assert rule.metadata == keys


def test_a_rule_is_known_by_table_priority_and_match_and_its_counts_are_volatile() -> None:
    rules = [read_rule(f"{HEAD}priority=1,ip actions={actions}") for actions in ("drop", "NORMAL")]
    assert rules[0] == rules[1]
    assert rules[0]
    fact = rule_fact("host/h", "u", rules[0], {"RxPackets": 1})
    assert fact.tid == "host/h/ovs/u/rule/1/1/ip"
    assert fact.volatile == {"Metric": {"RxPackets": 3, "RxBytes": 180}, "LastUpdateMetric": {"RxPackets": 1}}
    assert "RxPackets" not in str(fact.metadata)


def test_a_group() -> None:
    group = read_group(
        " group_id=1,type=select,selection_method=hash,fields=ip_src,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:1,"
        "weight:3,watch_port:2,actions=set_field:9->reg1,output:2"
    )
    assert group
    assert group.metadata == {
        "GroupId": 1,
        "GroupType": "select",
        "Meta": "selection_method=hash,fields=ip_src",
        "Buckets": [
            {"Id": 0, "Actions": ["output:1"]},
            {"Id": 1, "Weight": 3, "WatchPort": 2, "Actions": ["set_field:9->reg1", "output:2"]},
        ],
    }


@pytest.mark.parametrize("line", ["", "OFPST_FLOW reply (OF1.5) (xid=0x2):", "NXST_GROUP_DESC reply (xid=0x2):"])
def test_other_lines_are_neither(line: str) -> None:
    assert (read_rule(line), read_group(line)) == (None, None)


def test_a_line_that_cannot_be_read_is_counted() -> None:
    chosen = _Chosen(read_rule, 10, lambda rule: rule.key)
    chosen.take([" table=x actions=drop", " table=1 actions=drop", " )((], actions=)"])
    assert ([rule.table for rule in chosen.found], chosen.malformed, chosen.count) == ([0, 1], 1, 2)
