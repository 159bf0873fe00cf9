"""The first thing that must work: a ping between two namespaces is one conversation, seen at both ends."""

from __future__ import annotations

import re

import pytest
from support.agentlab import StartAgent, assert_hooks_saw_what_the_interface_counted
from support.identity import ICMP, ICMP6, echo_id
from support.netlab import Net

IDENTIFIER = 0x1234
PUBLISHED = "5e915ab6f860c63fad8fcad9ccb99a88"  # design §4.1: echo 10.0.0.1 <-> 10.0.0.2, id 0x1234


@pytest.mark.parametrize(
    ("loader", "attach"),
    [("libbpf", "tcx"), ("libbpf", "tc"), ("libbpf", "socket"), ("bcc", "tcx"), ("bcc", "tc"), ("bcc", "socket")],
)
def test_ping_is_one_conversation_at_both_ends(
    net: Net,
    start_agent: StartAgent,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    loader: str,
    attach: str,
) -> None:
    if loader == "bcc":
        for name, value in request.getfixturevalue("bcc_headers").items():
            monkeypatch.setenv(name, value)
    left, right = net.pair()
    agent = start_agent("--bpf-loader", loader, "--attach", attach)
    assert agent.status()["loader"] == loader
    assert agent.points() == {(end.netns, end.interface): attach for end in (left, right)}

    said = net.ping(left.netns, right.ip4, count=5, identifier=IDENTIFIER)

    slowest = float(re.search(r"= [\d.]+/[\d.]+/([\d.]+)", said)[1]) * 1e6  # ns
    flows = agent.wait_flows(2, "icmp")
    assert {(flow["Namespace"], flow["Interface"]) for flow in flows} == {(e.netns, e.interface) for e in (left, right)}
    assert {flow["TrackingID"] for flow in flows} == {PUBLISHED} == {echo_id(ICMP, left.ip4, right.ip4, True, IDENTIFIER)}
    assert len({flow["UUID"] for flow in flows}) == len({flow["NodeTID"] for flow in flows}) == 2
    for flow in flows:
        assert flow["LayersPath"] == "Ethernet/IPv4/ICMPv4"
        assert (flow["Network"]["A"], flow["Network"]["B"]) == (left.ip4, right.ip4)
        assert (flow["Link"]["A"], flow["Link"]["B"]) == (net.mac(left), net.mac(right))
        assert flow["ICMP"] == {"Type": "ECHO", "Number": 8, "Code": 0, "ID": IDENTIFIER}
        assert flow["Initiator"] == "A"
        # 14 Ethernet, 20 IPv4, 8 ICMP, 56 payload
        expected = {"ABPackets": 5, "ABBytes": 5 * 98, "BAPackets": 5, "BABytes": 5 * 98}
        assert expected.items() <= flow["Metric"].items()
        assert 0 < flow["Metric"]["RTT"] < slowest
    first, second = sorted(flows, key=lambda flow: flow["FirstMonotonic"])
    assert (first["Namespace"], second["Namespace"]) == (left.netns, right.netns)
    assert first["Seen"] == {"AB": "egress", "BA": "ingress"}
    assert second["Seen"] == {"AB": "ingress", "BA": "egress"}
    for end in (left, right):
        assert_hooks_saw_what_the_interface_counted(agent, net, end)


def test_ping_by_ipv6_shows_the_echo_and_its_neighbour_discovery(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair(ipv6=True)
    agent = start_agent()

    net.ping(left.netns, right.ip6, count=4, identifier=7)

    flows = [flow for flow in agent.flows("icmp6") if flow["ICMP"]["Number"] == 128]
    assert {flow["Interface"] for flow in flows} == {left.interface, right.interface}
    assert {flow["TrackingID"] for flow in flows} == {echo_id(ICMP6, left.ip6, right.ip6, True, 7)}
    for flow in flows:
        # 14 Ethernet, 40 IPv6, 8 ICMPv6, 56 payload
        expected = {"ABPackets": 4, "ABBytes": 4 * 118, "BAPackets": 4, "BABytes": 4 * 118}
        assert expected.items() <= flow["Metric"].items()
    asked = [flow for flow in agent.flows("icmp6") if flow["ICMP"]["Number"] == 135]
    assert any(flow["Network"]["A"] == left.ip6 and flow["ICMP"]["Type"] == "NEIGHBOR" for flow in asked)


def test_hosts_namespace_alone_is_captured_by_default(net: Net, start_agent: StartAgent) -> None:
    inside = net.netns("a")
    ours, theirs = net.name("vh"), net.name("va")
    net.ip(f"link add {ours} type veth peer name {theirs} netns {inside}")
    net.ip(f"address add 10.9.0.2/24 dev {theirs}", netns=inside)
    net.ip(f"link set {theirs} up", netns=inside)
    net.ip(f"link set {ours} addrgenmode none up")

    agent = start_agent(flow__netns="host")

    assert agent.points() == {("", ours): "tcx"}
