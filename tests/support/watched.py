"""What a running agent says of an interface, against tshark's reading of what tcpdump caught there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scapy.utils import PcapReader

from support.agentlab import Agent
from support.capture import Captured
from support.cases.base import Case
from support.dissect import dissect
from support.expected import expected_flows, judged
from support.netlab import End, until


def flows_at(agent: Agent, end: End) -> list[dict[str, Any]]:
    return [flow for flow in agent.flows() if (flow["Namespace"], flow["Interface"]) == (end.netns, end.interface)]


def by_identity(flows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """By tracking ID of a flow and of its parent; without times, which tcpdump takes a little later."""
    result = {}
    for flow in flows:
        parent = "" if flow["parent"] is None else flows[flow["parent"]]["TrackingID"]
        key = flow["TrackingID"], parent
        assert key not in result, f"two records of one conversation: {key}"
        result[key] = {name: value for name, value in flow.items() if name not in ("Start", "Last", "parent")}
    return result


def assert_agent_sees_what_tshark_sees(agent: Agent, end: End, pcap: Path) -> None:
    packets = [Captured(bytes(packet), int(packet.time * 1_000_000_000)) for packet in PcapReader(str(pcap))]
    assert packets
    read = dissect(packets, pcap.parent)
    expected = expected_flows(Case("captured", ()), read)

    def equal() -> bool:
        ours, theirs = (
            by_identity([{"parent": None, **flow} for flow in flows]) for flows in (judged(flows_at(agent, end)), expected)
        )
        for key in ours.keys() | theirs.keys():
            assert ours.get(key) == theirs.get(key), f"we see {ours.get(key)}, tshark {theirs.get(key)}"
        return True

    until(equal, 5.0)
