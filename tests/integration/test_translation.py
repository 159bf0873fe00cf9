"""Conversations through address translation: each side is linked to the other, for TCP, UDP and ping, IPv4 and IPv6."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from support import identity
from support.agentlab import Agent, StartAgent
from support.frames import TCP, UDP
from support.netlab import End, Net, until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]

SERVE = """
import json, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], 8080), family=family, backlog=4096)
print("ready", flush=True)
seen = {}
for _ in range(int(sys.argv[2])):
    accepted, peer = server.accept()
    seen[accepted.recv(100).decode()] = peer[1]
    accepted.sendall(b"hello")
    accepted.recv(1)
    accepted.close()
print(json.dumps(seen), flush=True)
"""
CONNECT = """
import socket, sys
for number in range(int(sys.argv[2])):
    with socket.create_connection((sys.argv[1], 80)) as client:
        client.sendall(str(client.getsockname()[1]).encode())
        assert client.recv(100) == b"hello"
"""
KEEP = """
import socket, sys
client = socket.create_connection((sys.argv[1], 80))
client.send(b"0")
print(client.getsockname()[1], flush=True)
input()
client.send(b"x")
input()
"""
LISTEN = """
import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind((sys.argv[1], 5353))
print("ready", flush=True)
print(listener.recvfrom(9)[1][1], flush=True)
"""
SEND = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind((sys.argv[1], 4000))
sender.sendto(b"x", (sys.argv[2], 53))
"""
RULES = """
table ip nat {{
    chain before {{
        type nat hook prerouting priority dstnat
        ip daddr 10.0.1.1 tcp dport 80 dnat to 10.0.2.2:8080
        ip daddr 10.0.1.1 udp dport 53 dnat to 10.0.2.2:5353
    }}
    chain after {{
        type nat hook postrouting priority srcnat
        oifname {out} masquerade fully-random
    }}
}}
table ip6 nat {{
    chain before {{
        type nat hook prerouting priority dstnat
        ip6 daddr 2001:db8:1::1 tcp dport 80 dnat to [2001:db8:2::2]:8080
    }}
}}
"""


@dataclass(frozen=True)
class Router:
    """A client, a router that translates, a server."""

    client: End
    inside: End
    outside: End
    server: End


@pytest.fixture
def router(net: Net) -> Router:
    names = [net.netns(suffix, ipv6=True) for suffix in "crs"]
    ends = [
        End(names[where], net.name(name), f"10.0.{link}.{host}", f"2001:db8:{link}::{host}")
        for where, name, link, host in ((0, "c", 1, 2), (1, "i", 1, 1), (1, "o", 2, 1), (2, "s", 2, 2))
    ]
    made = Router(*ends)
    net.veth(made.client, made.inside)
    net.veth(made.outside, made.server)
    for host, gateway in ((made.client, made.inside), (made.server, made.outside)):
        net.ip("route add default via", gateway.ip4, netns=host.netns)
        net.ip("-6 route add default via", gateway.ip6, netns=host.netns)
    net.run(names[1], "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    net.run(names[1], "nft", "-f", "-", stdin=RULES.format(out=made.outside.interface))
    return made


def talk(net: Net, router: Router, address: str, many: int, before: str = "") -> dict[int, int]:
    """Make connections; gives the port that the server saw for each port of the client."""
    server = net.spawn(router.server.netns, sys.executable, "-c", SERVE, before or router.server.ip4, str(many))
    assert server.stdout
    assert server.stdout.readline() == "ready\n"
    net.run(router.client.netns, sys.executable, "-c", CONNECT, address, str(many))
    return {int(ours): theirs for ours, theirs in json.loads(server.stdout.readline()).items()}


def by_tracking(agent: Agent, end: End, filter: str) -> dict[str, dict[str, Any]]:  # noqa: A002 - as in the URL
    return {
        flow["TrackingID"]: flow
        for flow in agent.flows(filter)
        if (flow["Namespace"], flow["Interface"]) == (end.netns, end.interface)
    }


def test_a_thousand_connections_are_linked_at_both_sides(start_agent: StartAgent, net: Net, router: Router) -> None:
    many = 1_000
    ends = (router.client, router.inside, router.outside, router.server)
    agent = start_agent("--set", "flow.linger=600s", interfaces=tuple(end.interface for end in ends))
    seen = talk(net, router, router.inside.ip4, many)
    assert len(seen) == len(set(seen.values())) == many
    assert sum(ours != theirs for ours, theirs in seen.items()) > many / 2  # ports are translated too
    expected = {
        identity.plain_id(TCP, router.client.ip4, router.inside.ip4, (ours, 80)): identity.plain_id(
            TCP, router.outside.ip4, router.server.ip4, (theirs, 8080)
        )
        for ours, theirs in seen.items()
    }
    for end in ends[:2]:
        until(lambda end=end: len(by_tracking(agent, end, "tcp")) == many, 30)
        before = by_tracking(agent, end, "tcp")
        assert {name: flow["NATTrackingID"] for name, flow in before.items()} == expected
        for flow in before.values():
            assert flow["NAT"].keys() == {"To"}
    for end in ends[2:]:
        until(lambda end=end: len(by_tracking(agent, end, "tcp")) == many, 30)
        after = by_tracking(agent, end, "tcp")
        assert {flow["NATTrackingID"]: name for name, flow in after.items()} == expected
        for flow in after.values():
            assert flow["NAT"].keys() == {"From"}
    ours, theirs = next(iter(seen.items()))
    flow = before[identity.plain_id(TCP, router.client.ip4, router.inside.ip4, (ours, 80))]
    assert flow["NAT"]["To"] == {
        "TrackingID": flow["NATTrackingID"],
        "Kind": "snat+dnat",
        "Namespace": router.inside.netns,
        "Source": f"{router.outside.ip4}:{theirs}",
        "Destination": f"{router.server.ip4}:8080",
    }
    metrics = agent.metrics()
    assert metrics.by("skytrail_conntrack_translated_total", "kind", netns=router.inside.netns) == {"snat+dnat": many}
    assert metrics.value("skytrail_conntrack_translations", netns=router.inside.netns) == many
    counted = net.run(router.inside.netns, "cat", "/proc/sys/net/netfilter/nf_conntrack_count")
    assert metrics.value("skytrail_conntrack_entries", netns=router.inside.netns) == int(counted)
    assert metrics.value("skytrail_conntrack_resyncs_total") == 0


def test_what_began_before_the_agent_is_linked(start_agent: StartAgent, net: Net, router: Router) -> None:
    seen = talk(net, router, router.inside.ip4, 1)  # in TIME_WAIT, as conntrack has it too
    server = net.spawn(router.server.netns, sys.executable, "-c", SERVE, router.server.ip4, "1")
    assert server.stdout
    assert server.stdout.readline() == "ready\n"
    client = net.spawn(router.client.netns, sys.executable, "-c", KEEP, router.inside.ip4)
    assert client.stdout
    assert client.stdin
    port = int(client.stdout.readline())
    assert port not in seen
    agent = start_agent(interfaces=(router.client.interface,))
    client.stdin.write("\n")
    client.stdin.flush()
    (flow,) = agent.wait_flows(1, f"tcp and port {port}")
    assert flow["NAT"]["To"]["Destination"] == f"{router.server.ip4}:8080"


def test_udp_ping_and_ipv6_are_linked_too(start_agent: StartAgent, net: Net, router: Router) -> None:
    agent = start_agent("--set", "flow.linger=600s", interfaces=(router.client.interface, router.server.interface))
    net.ping(router.client.netns, router.server.ip4, identifier=4321)
    talk(net, router, router.inside.ip6, 1, router.server.ip6)
    code = "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], int(sys.argv[2])));"
    listener = net.spawn(
        router.server.netns,
        sys.executable,
        "-c",
        f"{code} print('ready', flush=True); print(s.recvfrom(9)[1][1])",
        router.server.ip4,
        "5353",
    )
    assert listener.stdout
    assert listener.stdout.readline() == "ready\n"
    net.run(
        router.client.netns,
        sys.executable,
        "-c",
        f"{code} s.sendto(b'x', (sys.argv[3], 53))",
        router.client.ip4,
        "4000",
        router.inside.ip4,
    )
    port = int(listener.stdout.readline())
    expected = {
        identity.plain_id(UDP, router.client.ip4, router.inside.ip4, (4000, 53)): identity.plain_id(
            UDP, router.outside.ip4, router.server.ip4, (port, 5353)
        )
    }
    for filter_, kinds in (("udp", "snat+dnat"), ("icmp", "snat"), ("ip6 and tcp", "dnat")):

        def both(filter_: str = filter_) -> bool:
            return bool(by_tracking(agent, router.client, filter_)) and bool(by_tracking(agent, router.server, filter_))

        until(both)
        (before,) = by_tracking(agent, router.client, filter_).values()
        (after,) = by_tracking(agent, router.server, filter_).values()
        assert before["NAT"]["To"]["Kind"] == after["NAT"]["From"]["Kind"] == kinds
        assert before["NATTrackingID"] == after["TrackingID"]
        assert after["NATTrackingID"] == before["TrackingID"]
        assert filter_ != "udp" or expected == {before["TrackingID"]: after["TrackingID"]}


def test_a_namespace_that_is_gone_is_not_held(start_agent: StartAgent, net: Net, router: Router) -> None:
    """No socket of ours is in it."""
    agent = start_agent(interfaces=(router.client.interface,))
    talk(net, router, router.inside.ip4, 1)
    until(lambda: agent.metrics().value("skytrail_conntrack_translations", netns=router.inside.netns) == 1)
    net.ip("netns del", router.inside.netns)
    peers = [(router.client.netns, router.client.interface), (router.server.netns, router.server.interface)]

    def gone() -> bool:  # the ends in the namespace take their peers with them
        return all(not net.ip(f"link show {name}", netns=netns, check=False) for netns, name in peers)

    until(gone)
    until(lambda: not agent.metrics().by("skytrail_conntrack_translated_total", "netns", netns=router.inside.netns))
