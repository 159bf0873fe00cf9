"""Nothing is lost silently: what the hooks saw is what flows and named reasons say, to the packet and the byte."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from support.agentlab import Agent, Metrics, StartAgent, assert_hooks_saw_what_the_interface_counted
from support.needs import tool
from support.netlab import End, Net, until

PACKETS = 1_000_000
MANY_PORTS = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(2_000, 22_000):
    udp.sendto(b"hello", (sys.argv[1], port))
"""
ONE_FLOW = """
import os, socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], 7000))
udp.connect((sys.argv[2], 7001))
children = []
for cpu in sorted(os.sched_getaffinity(0)):
    if not (child := os.fork()):
        os.sched_setaffinity(0, {cpu})
        sent = 0
        while sent < int(sys.argv[3]):
            try:
                udp.send(b"x" * 100)
            except ConnectionRefusedError:
                continue  # an answer of before; nothing was sent
            sent += 1
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
print(len(children))
"""


def counters(net: Net, end: End) -> dict[str, int]:
    """The namespace's own protocol counters (nstat, absolute)."""
    found: dict[str, int] = json.loads(net.run(end.netns, "nstat", "-asz", "--json"))["kernel"]
    return found


def assert_all_is_accounted_for(agent: Agent, end: End) -> Metrics:
    """At one point: packets and bytes at the hooks = those of flows + those lost by name."""

    def equal() -> Metrics:
        metrics = agent.metrics()

        def value(name: str) -> float:
            return metrics.value(name, device=end.interface, netns=end.netns)

        seen = value("skytrail_capture_packets_total")
        assert seen == value("skytrail_flow_packets_total") + value("skytrail_flow_lost_packets_total")
        on_wire = value("skytrail_capture_bytes_total") + value("skytrail_capture_segment_header_bytes_total")
        assert on_wire == value("skytrail_flow_bytes_total") + value("skytrail_flow_lost_bytes_total")
        return metrics

    return until(equal)


def mixed_traffic(net: Net, left: End, right: End) -> None:
    """TCP in super-packets each way, small UDP packets, 20,000 conversations, fragments, echoes, refused connections."""
    tool("iperf3", "iperf3")
    server = net.spawn(right.netns, "iperf3", "-s", "--forceflush")
    assert server.stdout
    until(lambda: "listening" in server.stdout.readline())
    iperf = ("iperf3", "-c", right.ip4)
    net.run(left.netns, *iperf, "-n", "600M")
    net.run(left.netns, *iperf, "-n", "500M", "-R")
    net.run(left.netns, *iperf, "-u", "-b", "0", "-l", "64", "-k", "300K")
    net.run(left.netns, sys.executable, "-c", MANY_PORTS, right.ip4)
    net.ping(left.netns, right.ip4, count=10, size=4000)
    for port in (81, 82):
        net.run(left.netns, "nc", "-w", "1", "-z", right.ip4, str(port), check=False)


@pytest.mark.parametrize("max_flows", [262_144, 1_024])
def test_a_million_packets_are_accounted_for(net: Net, start_agent: StartAgent, max_flows: int) -> None:
    left, right = ends = net.pair()
    agent = start_agent(flow__max_flows=str(max_flows))

    mixed_traffic(net, left, right)

    for end in ends:
        assert_hooks_saw_what_the_interface_counted(agent, net, end)
        metrics = assert_all_is_accounted_for(agent, end)
        lost = metrics.by("skytrail_flow_lost_packets_total", "reason", device=end.interface)
        full = lost.pop("map_full")
        assert set(lost.values()) == {0.0}
        assert (full > 0) == (max_flows == 1_024)
        assert metrics.value("skytrail_capture_packets_total", device=end.interface) > PACKETS
    if max_flows != 1_024:
        metrics = agent.metrics()
        sent, answered = counters(net, left), counters(net, right)
        assert_flows_count_what_the_stacks_sent(metrics, left, sent, answered)
        assert_flows_count_what_the_stacks_sent(metrics, right, answered, sent)


def assert_flows_count_what_the_stacks_sent(metrics: Metrics, end: End, own: dict[str, int], other: dict[str, int]) -> None:
    """Segments out of this stack are transmitted here, those out of the other one received."""

    def packets(transport: str, direction: str) -> float:
        labels = {"device": end.interface, "transport": transport, "direction": direction}
        return metrics.value("skytrail_flow_packets_total", **labels)

    for stack, direction in ((own, "transmit"), (other, "receive")):
        # RFC 4022: tcpOutSegs leaves out what is only sent again
        assert packets("tcp", direction) == stack["TcpOutSegs"] + stack["TcpRetransSegs"]
        assert packets("udp", direction) == stack["UdpOutDatagrams"]
        # a fragmented echo of 4,000 bytes is one message in 3 packets, in each of 10 requests or replies
        assert packets("icmp", direction) == stack["IcmpOutMsgs"] + 20


def test_both_processors_on_one_flow_lose_no_count(net: Net, start_agent: StartAgent) -> None:
    left, right = ends = net.pair()
    agent = start_agent()
    each = 150_000

    senders = int(net.run(left.netns, sys.executable, "-c", ONE_FLOW, left.ip4, right.ip4, str(each)))

    flows = agent.wait_flows(2, "udp and port 7001")
    expected = senders * each
    for flow in flows:
        # 14 Ethernet, 20 IPv4, 8 UDP, 100
        assert (flow["Metric"]["ABPackets"], flow["Metric"]["ABBytes"]) == (expected, expected * 142)
    for end in ends:
        assert_hooks_saw_what_the_interface_counted(agent, net, end)
        assert_all_is_accounted_for(agent, end)


def test_flows_that_end_meanwhile_keep_their_counts(net: Net, start_agent: StartAgent) -> None:
    left, right = ends = net.pair()
    agent = start_agent(flow__idle__udp="200ms", flow__drain="100ms", flow__linger="100ms")

    net.run(left.netns, sys.executable, "-c", MANY_PORTS, right.ip4)

    gone: Callable[[], bool] = lambda: agent.metrics().value("skytrail_flows_active", transport="udp") == 0  # noqa: E731
    until(gone)
    for end in ends:
        assert_hooks_saw_what_the_interface_counted(agent, net, end)
        metrics = assert_all_is_accounted_for(agent, end)
        assert metrics.value("skytrail_flow_packets_total", device=end.interface, transport="udp") == 20_000
        assert metrics.value("skytrail_flows_ended_total", device=end.interface, transport="udp", finish="TIMEOUT") == 20_000
