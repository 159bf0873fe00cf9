"""Through tunnels: outer and inner flows where packets are wrapped, equal to tshark's reading of the same packets, and the
same conversation where they are not. VXLAN by the kernel; VXLAN, Geneve, GRE, ERSPAN, MPLS and 802.1ad by Open vSwitch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agentlab import Agent, StartAgent, assert_hooks_saw_what_the_interface_counted
from support.identity import ICMP, echo_id
from support.netlab import End, Net, until
from support.ovs import Switch
from support.watched import assert_agent_sees_what_tshark_sees, flows_at

IDENTIFIER = 0x7A7A


@dataclass(frozen=True)
class Host:
    """A host of the laboratory: where its packets are wrapped, and where they are not."""

    uplink: End
    inner: End


def talk(net: Net, hosts: tuple[Host, Host]) -> None:
    """Echoes, and one TCP connection with a line each way."""
    here, there = (host.inner for host in hosts)
    net.ping(here.netns, there.ip4, count=4, identifier=IDENTIFIER)
    server = net.spawn(there.netns, "nc", "-l", "-N", there.ip4, "7777")
    until(lambda: "7777" in net.run(there.netns, "ss", "-Htln"))
    assert net.run(here.netns, "nc", "-N", there.ip4, "7777", stdin="ping\n") == ""
    assert server.wait(10) == 0


def assert_one_conversation(agent: Agent, hosts: tuple[Host, Host], depth: str) -> None:
    """The echo has one tracking ID at all four points; at the uplinks it is inside what ``depth`` says."""
    here, there = hosts
    expected = echo_id(ICMP, here.inner.ip4, there.inner.ip4, True, IDENTIFIER)
    echoes = [flow for flow in agent.flows("icmp") if flow["ICMP"]["ID"] == IDENTIFIER]
    assert {flow["TrackingID"] for flow in echoes} == {expected}
    points = {(flow["Namespace"], flow["Interface"]): flow for flow in echoes}
    assert set(points) == {(end.netns, end.interface) for host in hosts for end in (host.uplink, host.inner)}
    for host in hosts:
        inner = points[host.uplink.netns, host.uplink.interface]
        assert not points[host.inner.netns, host.inner.interface]["ParentUUID"]
        parents = [flow for flow in flows_at(agent, host.uplink) if flow["UUID"] == inner["ParentUUID"]]
        assert (parents[0]["LayersPath"] if parents else inner["LayersPath"]) == depth
        assert inner["Metric"]["ABPackets"] == inner["Metric"]["BAPackets"] == 4


@pytest.mark.parametrize("port", [4789, 5555])
def test_vxlan_of_the_kernel(net: Net, start_agent: StartAgent, tmp_path: Path, port: int) -> None:
    """Port 5555 is learnt from the device."""
    uplinks = net.pair()
    hosts = []
    for number, (uplink, other) in enumerate(zip(uplinks, reversed(uplinks), strict=True), 1):
        inner = End(uplink.netns, net.name(f"x{number}"), f"192.168.7.{number}")
        kind = f"type vxlan id 42 remote {other.ip4} local {uplink.ip4} dstport {port} dev {uplink.interface}"
        net.ip(f"link add {inner.interface} {kind}", netns=inner.netns)
        net.ip(f"address add {inner.ip4}/24 dev {inner.interface}", netns=inner.netns)
        net.ip(f"link set {inner.interface} up", netns=inner.netns)
        hosts.append(Host(uplink, inner))
    here, there = hosts
    agent = start_agent()
    pcap = tmp_path / "uplink.pcap"

    with net.capture(here.uplink, pcap):
        talk(net, (here, there))

    assert_one_conversation(agent, (here, there), "Ethernet/IPv4/UDP/VXLAN")
    if port == 4789:  # at another port tshark does not look into it
        assert_agent_sees_what_tshark_sees(agent, here.uplink, pcap)
    for end in (here.uplink, here.inner, there.uplink, there.inner):
        assert_hooks_saw_what_the_interface_counted(agent, net, end)


@pytest.fixture
def switches(net: Net, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Switch, Host]]:
    """Two hosts with a switch each, their uplinks joined; nothing is in the switches yet."""
    uplinks = net.pair()
    made = []
    for number, uplink in enumerate(uplinks, 1):
        net.ip(f"address flush dev {uplink.interface}", netns=uplink.netns)
        net.run(uplink.netns, "ethtool", "-K", uplink.interface, "tx", "off")
        net.run(uplink.netns, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")  # the kernel's uplink answers for nobody
        inner = End(uplink.netns, net.name(f"i{number}"), f"192.168.7.{number}")
        made.append((Switch(net, uplink.netns, tmp_path_factory.mktemp("s") / "o"), Host(uplink, inner)))
    return made


def bring_up(net: Net, end: End, address: str) -> None:
    net.ip(f"address add {address}/24 dev {end.interface}", netns=end.netns)
    net.ip(f"link set {end.interface} mtu 1400 up", netns=end.netns)
    net.run(end.netns, "ethtool", "-K", end.interface, "tx", "off", check=False)


TUNNELS = {
    "vxlan": ("type=vxlan options:key=42", "Ethernet/IPv4/UDP/VXLAN"),
    "geneve": ("type=geneve options:key=43", "Ethernet/IPv4/UDP/Geneve"),
    "gre": ("type=gre", "Ethernet/IPv4/GRE"),
    "gre with a key": ("type=gre options:key=44 options:csum=true", "Ethernet/IPv4/GRE"),
    "erspan": ("type=erspan options:key=45 options:erspan_ver=1 options:erspan_idx=3", "Ethernet/IPv4/GRE/ERSPANII"),
}


@pytest.mark.parametrize("kind", TUNNELS)
def test_tunnels_of_open_vswitch(
    net: Net, start_agent: StartAgent, tmp_path: Path, switches: list[tuple[Switch, Host]], kind: str
) -> None:
    options, path = TUNNELS[kind]
    for number, (switch, host) in enumerate(switches, 1):
        outside = End(host.uplink.netns, net.name(f"p{number}"), f"10.0.0.{number}")
        switch.vsctl(f"add-br {outside.interface} -- set bridge {outside.interface} datapath_type=netdev")
        switch.vsctl(f"add-br {host.inner.interface} -- set bridge {host.inner.interface} datapath_type=netdev")
        bring_up(net, outside, outside.ip4)
        bring_up(net, host.inner, host.inner.ip4)
        switch.vsctl(f"add-port {outside.interface} {host.uplink.interface}")
        remote = f"options:remote_ip=10.0.0.{3 - number}"
        switch.vsctl(f"add-port {host.inner.interface} tun{number} -- set interface tun{number} {options} {remote}")
        switch.route("10.0.0.0/24", outside.interface)
    hosts = switches[0][1], switches[1][1]
    agent = start_agent(interfaces=tuple(end.interface for host in hosts for end in (host.uplink, host.inner)))
    pcap = tmp_path / "uplink.pcap"

    with net.capture(hosts[0].uplink, pcap):
        talk(net, hosts)

    assert_one_conversation(agent, hosts, path)
    assert_agent_sees_what_tshark_sees(agent, hosts[0].uplink, pcap)
    for host in hosts:
        assert_hooks_saw_what_the_interface_counted(agent, net, host.uplink)


RULES = {
    "mpls": (
        ("push_mpls:0x8847,set_field:100->mpls_label", "ip"),
        (("eth_type=0x8847", "pop_mpls:0x0800,LOCAL"),),
        "Ethernet/MPLS",
    ),
    "802.1ad": (
        ("push_vlan:0x8100,set_field:4106->vlan_vid,push_vlan:0x88a8,set_field:4116->vlan_vid", ""),
        (("dl_vlan=20", "pop_vlan,resubmit(1)"), ("dl_vlan=10", "pop_vlan,LOCAL")),
        "Ethernet/Dot1Q/Dot1Q/IPv4/ICMPv4",
    ),
}


@pytest.mark.parametrize("kind", RULES)
def test_tags_and_labels_of_open_vswitch(
    net: Net, start_agent: StartAgent, tmp_path: Path, switches: list[tuple[Switch, Host]], kind: str
) -> None:
    (push, only), arriving, path = RULES[kind]
    for switch, host in switches:
        bridge = host.inner.interface
        switch.vsctl("set Open_vSwitch . other_config:vlan-limit=2")
        switch.vsctl(f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev")
        bring_up(net, host.inner, host.inner.ip4)
        switch.vsctl(f"add-port {bridge} {host.uplink.interface} -- set interface {host.uplink.interface} ofport_request=1")
        plain = ["priority=1,in_port=LOCAL,actions=output:1", "priority=1,in_port=1,actions=LOCAL"] if only else []
        leaving = f"priority=5,in_port=LOCAL{f',{only}' if only else ''},actions={push},output:1"
        back = [f"priority=9,in_port=1{f',{match}' if match else ''},actions={actions}" for match, actions in arriving]
        switch.flows(bridge, leaving, *back, *plain)
    hosts = switches[0][1], switches[1][1]
    agent = start_agent(interfaces=tuple(end.interface for host in hosts for end in (host.uplink, host.inner)))
    pcap = tmp_path / "uplink.pcap"

    with net.capture(hosts[0].uplink, pcap):
        talk(net, hosts)

    assert_one_conversation(agent, hosts, path)
    assert_agent_sees_what_tshark_sees(agent, hosts[0].uplink, pcap)
    for host in hosts:
        assert_hooks_saw_what_the_interface_counted(agent, net, host.uplink)
