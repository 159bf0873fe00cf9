"""Interfaces are followed as they come, go, are renamed and move; each is counted in its own name and namespace."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import frames
from support.agentlab import Agent, StartAgent, assert_hooks_saw_what_the_interface_counted
from support.foreign import held_ids
from support.identity import UDP, plain_id
from support.netlab import End, Net, in_netns, unnamed_netns, until

_TUNSETIFF, _IFF_TUN, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0001, 0x0002, 0x1000  # uapi/linux/if_tun.h


def _tuntap(name: str, flag: int) -> int:
    """Make a tun or tap device; it lives as long as the descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flag | _IFF_NO_PI))
    return descriptor


def test_interface_that_comes_is_captured_at_once(net: Net, start_agent: StartAgent) -> None:
    agent = start_agent()
    assert agent.points() == {}

    left, right = net.pair()

    for end in (left, right):
        agent.wait_point(end.netns, end.interface)
    net.ping(left.netns, right.ip4)
    agent.wait_flows(2, "icmp")


def test_interface_that_goes_is_let_go_and_its_series_disappear(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent(flow__idle__other="200ms", flow__drain="100ms")
    net.ping(left.netns, right.ip4)
    agent.wait_flows(2, "icmp")
    assert agent.metrics().value("skytrail_flow_packets_total", device=left.interface) > 0

    net.ip(f"link del {left.interface}", netns=left.netns)

    until(lambda: agent.points() == {}, 1.0)
    until(lambda: not [s for s in agent.metrics().samples if left.interface in s.labels.values()], 5.0)
    net.veth(left, right)
    for end in (left, right):
        agent.wait_point(end.netns, end.interface)


def test_names_that_are_no_utf8_are_told_as_far_as_they_can_be(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    odd = os.fsencode(net.name("x")) + b"\xff"
    subprocess.run([b"ip", b"-n", left.netns.encode(), b"link", b"set", left.interface.encode(), b"down"], check=True)
    subprocess.run([b"ip", b"-n", left.netns.encode(), b"link", b"set", left.interface.encode(), b"name", odd], check=True)
    subprocess.run([b"ip", b"-n", left.netns.encode(), b"link", b"set", odd, b"up"], check=True)
    agent = start_agent()
    shown = f"{net.name('x')}\\xff"
    agent.wait_point(left.netns, shown)
    net.ping(right.netns, left.ip4)
    assert {flow["Interface"] for flow in agent.wait_flows(2, "icmp")} == {shown, right.interface}
    assert agent.metrics().value("skytrail_flow_packets_total", device=shown, transport="icmp") == 6
    assert agent.metrics().value("skytrail_collector_success", collector="interfaces") == 1


def test_renamed_interface_goes_on_under_its_new_name(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent()
    net.ping(left.netns, right.ip4, identifier=5)
    [before] = [flow for flow in agent.wait_flows(2, "icmp") if flow["Interface"] == left.interface]
    renamed = End(left.netns, net.name("new"), left.ip4)

    net.ip(f"link set {left.interface} name {renamed.interface}", netns=left.netns)

    agent.wait_point(renamed.netns, renamed.interface)
    net.ping(left.netns, right.ip4, identifier=5)
    [after] = [flow for flow in agent.wait_flows(2, "icmp") if flow["Interface"] == renamed.interface]
    assert (after["UUID"], after["NodeTID"]) == (before["UUID"], before["NodeTID"])
    assert after["Metric"]["ABPackets"] == 2 * before["Metric"]["ABPackets"] == 6
    assert (left.netns, left.interface) not in agent.points()
    assert_hooks_saw_what_the_interface_counted(agent, net, renamed)


@pytest.mark.parametrize("attach", ["tcx", "tc", "socket"])
def test_interface_that_moves_to_another_namespace_is_followed(net: Net, start_agent: StartAgent, attach: str) -> None:
    left, right = net.pair()
    elsewhere = net.netns("c")
    agent = start_agent("--attach", attach)
    assert agent.points()[left.netns, left.interface] == attach

    net.ip(f"link set {left.interface} netns {elsewhere}", netns=left.netns)
    net.ip(f"address add {left.ip4}/24 dev {left.interface}", netns=elsewhere)
    net.ip(f"link set {left.interface} up", netns=elsewhere)

    agent.wait_point(elsewhere, left.interface)
    assert (left.netns, left.interface) not in agent.points()
    net.ping(elsewhere, right.ip4)
    flows = agent.wait_flows(2, "icmp")
    assert {flow["Namespace"] for flow in flows} == {elsewhere, right.netns}
    assert len({flow["TrackingID"] for flow in flows}) == 1


def test_same_index_in_two_namespaces_stays_apart(net: Net, start_agent: StartAgent) -> None:
    ends = [End(net.netns(f"n{number}"), net.name(f"v{number}"), f"10.0.{number // 2}.{number % 2 + 1}") for number in range(4)]
    for left, right in (ends[:2], ends[2:]):
        peer = f"peer name {right.interface} index 77 netns {right.netns}"
        net.ip(f"link add {left.interface} index 77 netns {left.netns} type veth", peer)
        for end in (left, right):
            net.ip(f"address add {end.ip4}/24 dev {end.interface}", netns=end.netns)
            net.ip(f"link set {end.interface} up", netns=end.netns)
    agent = start_agent()

    net.ping(ends[0].netns, ends[1].ip4, count=2)
    net.ping(ends[2].netns, ends[3].ip4, count=5)

    flows = agent.wait_flows(4, "icmp")
    counted = {(flow["Namespace"], flow["Interface"]): flow["Metric"]["ABPackets"] for flow in flows}
    assert counted == {(end.netns, end.interface): count for end, count in zip(ends, (2, 2, 5, 5), strict=True)}
    assert len({flow["NodeTID"] for flow in flows}) == 4
    for end in ends:
        assert_hooks_saw_what_the_interface_counted(agent, net, end)


def test_interfaces_that_found_no_room_are_captured_when_others_have_gone(net: Net, start_agent: StartAgent) -> None:
    """No packet passes at all: numbers of what has gone come free all the same."""
    namespace, most = net.netns("a"), 15  # and number 0
    pairs = [(net.name(f"x{number}"), net.name(f"y{number}")) for number in range(9)]

    def make(first: str, second: str) -> None:
        net.ip(f"link add {first} type veth peer name {second}", netns=namespace)
        for name in (first, second):
            net.ip(f"link set {name} up", netns=namespace)

    agent = start_agent(flow__max_points="16")
    for pair in pairs[:-1]:
        make(*pair)
    until(lambda: len(agent.points()) == most, 5.0)
    assert "there are 15 capture points already; raise flow.max_points" in agent.status()["failures"][0]

    net.ip(f"link del {pairs[0][0]}", netns=namespace)
    until(lambda: len(agent.points()) == 14, 5.0)
    assert agent.status()["failures"] == []
    net.ip(f"link del {pairs[1][0]}", netns=namespace)
    make(*pairs[-1])
    until(lambda: set(agent.points()) == {(namespace, name) for pair in pairs[2:] for name in pair}, 5.0)
    assert agent.status()["failures"] == []


def test_namespaces_that_come_and_go_quickly_leave_nothing(net: Net, start_agent: StartAgent) -> None:
    """The kernel gives the number of a dead namespace to the next one, before anybody has read of the death."""
    agent = start_agent()
    stay = net.netns("s")
    net.ip(f"link add {net.name('a')} type veth peer name {net.name('b')}", netns=stay)
    net.ip(f"link set {net.name('a')} up", netns=stay)
    agent.wait_point(stay, net.name("a"))
    pid = agent.process.pid
    links, files = held_ids(pid, "link"), len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for number in range(60):
        name = net.name(f"t{number % 7}")
        commands = [
            f"netns add {name}",
            f"-n {name} link add {net.name('x')} type veth peer name {net.name('y')}",
            f"-n {name} link set {net.name('x')} up",
            f"-n {name} link set {net.name('y')} up",
            f"netns del {name}",
        ]
        for command in commands:
            net.ip(command)

    until(lambda: set(agent.points()) == {(stay, net.name("a"))}, 20.0)
    until(lambda: held_ids(pid, "link") == links, 5.0)
    until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) <= files + 2, 5.0)
    assert agent.status()["failures"] == []
    assert json.loads(agent.get("/readyz"))["ready"]
    last = net.netns("last")
    net.ip(f"link add {net.name('x')} type veth peer name {net.name('y')}", netns=last)
    net.ip(f"link set {net.name('x')} up", netns=last)
    agent.wait_point(last, net.name("x"))


def test_namespace_without_a_name_is_captured_too(net: Net, start_agent: StartAgent) -> None:
    agent = start_agent()
    left = End(net.netns("a"), net.name("va"), "10.0.0.1")
    process = unnamed_netns()
    try:
        inside = net.name("vb")
        net.ip(f"link add {left.interface} netns {left.netns} type veth peer name {inside} netns {process.pid}")
        inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
        net.run("", "nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", "link", "set", inside, "up")

        agent.wait_point(f"inode:{inode}", inside, 5.0)
    finally:
        process.kill()
        process.wait()
    until(lambda: inside not in {name for _, name in agent.points()}, 5.0)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (("{p}v*", "!{p}vb"), {"va"}),
        (("~{p}v[ab]$",), {"va", "vb"}),
        (("{p}va",), {"va"}),
        (("type:veth", "!{p}va"), {"vb"}),
    ],
)
def test_interfaces_are_chosen_by_glob_expression_and_type(
    net: Net, start_agent: StartAgent, chosen: tuple[str, ...], expected: set[str]
) -> None:
    net.pair()

    agent = start_agent(interfaces=tuple(pattern.format(p=net.prefix) for pattern in chosen))

    found = {name.removeprefix(net.prefix) for _, name in agent.points(net.prefix)}
    assert found == expected


def test_loopback_is_captured_only_when_it_is_named(net: Net, start_agent: StartAgent) -> None:
    left, _ = net.pair()

    every = start_agent(interfaces=("*",))
    assert (left.netns, left.interface) in every.points()
    assert not [name for _, name in every.points() if name == "lo"]
    every.stop()

    named = start_agent(interfaces=("lo",))
    assert (left.netns, "lo") in named.points()
    net.ping(left.netns, "127.0.0.1", count=4, identifier=77)
    [flow] = [flow for flow in named.wait_flows(1, "icmp and Namespace=" + left.netns) if flow["ICMP"]["ID"] == 77]
    assert (flow["Metric"]["ABPackets"], flow["Metric"]["BAPackets"]) == (4, 4)


@pytest.fixture
def tun(net: Net) -> Iterator[tuple[End, int]]:
    """A tun device, and the descriptor at which a program reads and writes its packets."""
    end = End(net.netns("t"), net.name("tun"), "10.7.0.1")
    descriptor = in_netns(end.netns, lambda: _tuntap(end.interface, _IFF_TUN))
    net.ip(f"address add {end.ip4}/24 dev {end.interface}", netns=end.netns)
    net.ip(f"link set {end.interface} up", netns=end.netns)
    yield end, descriptor
    os.close(descriptor)


def test_interface_without_an_ethernet_header_counts_from_the_ip_header_on(
    tun: tuple[End, int], net: Net, start_agent: StartAgent
) -> None:
    end, descriptor = tun
    agent = start_agent()
    packet = frames.ip4("10.7.0.9", "10.7.0.1", UDP, frames.udp(5000, 6000, b"hello"))

    for _ in range(3):
        os.write(descriptor, packet)

    [flow] = agent.wait_flows(1, "udp and port 6000")
    assert flow["LayersPath"] == "IPv4/UDP"
    assert "Link" not in flow
    assert flow["TrackingID"] == plain_id(UDP, "10.7.0.9", "10.7.0.1", (5000, 6000))
    assert (flow["Metric"]["ABPackets"], flow["Metric"]["ABBytes"]) == (3, 3 * (20 + 8 + 5))
    assert_hooks_saw_what_the_interface_counted(agent, net, end)


def test_agents_in_two_namespaces_of_a_host_name_their_devices_apart(net: Net, tmp_path: Path) -> None:
    """Each tells of its own namespace without a name, but by the TID of the namespace as seen from outside."""
    left, right = (End(net.netns(suffix), "eth0", f"10.0.0.{host}") for host, suffix in ((1, "a"), (2, "b")))
    net.veth(left, right)
    tids = []
    for end in (left, right):
        agent = Agent(tmp_path / end.netns, ["--interfaces", "eth0"], netns=end.netns)
        try:
            agent.start(ready=False)
            asked = "curl", "-s", f"{agent.url}/api/status"
            until(lambda at=end.netns, words=asked: "eth0" in net.run(at, *words, check=False), 15.0)
            [point] = json.loads(net.run(end.netns, *asked))["capture_points"]
        finally:
            agent.close()
        assert (point["interface"], point["namespace"]) == ("eth0", "")
        tids.append(point["tid"])

    assert [tid.rpartition("/netns/")[2] for tid in tids] == [f"name/{end.netns}/link/veth/eth0" for end in (left, right)]


def test_an_interface_of_the_same_name_with_another_link_layer_is_counted_as_what_it_is(
    net: Net, start_agent: StartAgent
) -> None:
    end, agent = End(net.netns("t"), net.name("tun"), "10.7.0.1"), start_agent()
    packet = frames.ip4("10.7.0.9", "10.7.0.1", UDP, frames.udp(5000, 6000, b"hello"))
    for flag, sent, layers in (
        (_IFF_TUN, packet, "IPv4/UDP"),
        (_IFF_TAP, frames.ethernet(frames.ETH_IP, packet), "Ethernet/IPv4/UDP"),
        (_IFF_TUN, packet, "IPv4/UDP"),
    ):
        descriptor = in_netns(end.netns, lambda flag=flag: _tuntap(end.interface, flag))
        net.ip(f"address add {end.ip4}/24 dev {end.interface}", netns=end.netns)
        net.ip(f"link set {end.interface} up", netns=end.netns)
        agent.wait_point(end.netns, end.interface)
        os.write(descriptor, sent)
        until(lambda layers=layers: agent.flows(f"udp and port 6000 and LayersPath={layers}"), 5.0)
        os.close(descriptor)
        until(lambda: agent.points() == {}, 5.0)


def test_what_found_no_room_and_left_is_no_failure_any_more(net: Net, start_agent: StartAgent) -> None:
    namespace, elsewhere = net.netns("a"), net.netns("b")
    agent = start_agent("--interfaces", "z*", flow__max_points="16")
    for number in range(16):
        net.ip(f"link add z{number} type ifb", netns=namespace)
        net.ip(f"link set z{number} up", netns=namespace)
    until(lambda: len(agent.points()) == 15 and len(agent.status()["failures"]) == 1, 5.0)

    net.ip(f"link set z15 netns {elsewhere}", netns=namespace)
    net.ip("link del z15", netns=elsewhere)
    until(lambda: agent.status()["failures"] == [], 5.0)

    net.ip("link add z16 type ifb", netns=namespace)
    net.ip("link set z16 up", netns=namespace)
    until(lambda: len(agent.status()["failures"]) == 1, 5.0)
    net.ip("link set z16 down", netns=namespace)
    net.ip("link set z16 name other", netns=namespace)
    until(lambda: agent.status()["failures"] == [], 5.0)
    net.ip("link del z0", netns=namespace)
    net.ip("link add z17 type ifb", netns=namespace)
    net.ip("link set z17 up", netns=namespace)
    agent.wait_point(namespace, "z17", 5.0)
    assert (namespace, "other") not in agent.points()
