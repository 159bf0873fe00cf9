"""Everyday traffic between two namespaces: what the agent says of it is what tshark reads, and a connection is one record."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.agentlab import Agent, StartAgent
from support.identity import TCP, plain_id
from support.needs import tool
from support.netlab import End, Net, until
from support.watched import assert_agent_sees_what_tshark_sees, flows_at

CONNECT = """
import socket, struct, sys
here, there, port = sys.argv[1:4]
client = socket.socket()
client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
client.bind((here, 40000))
client.connect((there, int(port)))
client.sendall(b"x" * int(sys.argv[4]))
if sys.argv[5] == "reset":
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
client.close()
"""


def serve(net: Net, end: End, port: int) -> None:
    """A web server with one small page."""
    net.spawn(end.netns, sys.executable, "-m", "http.server", str(port), "--bind", end.ip4, "--directory", "/proc/self/ns")
    until(lambda: f":{port}" in net.run(end.netns, "ss", "-Htln"))


def connect(net: Net, left: End, right: End, *, size: int, port: int = 9000, end: str = "close") -> None:
    """Connect from port 40000 to a server that takes what comes."""
    server = net.spawn(right.netns, "nc", "-l", "-N", right.ip4, str(port))
    until(lambda: f":{port}" in net.run(right.netns, "ss", "-Htln"))
    net.run(left.netns, sys.executable, "-c", CONNECT, left.ip4, right.ip4, str(port), str(size), end)
    server.wait(10)


def test_web_dns_and_refused_connections_are_what_tshark_reads(net: Net, start_agent: StartAgent, tmp_path: Path) -> None:
    left, right = net.pair()
    net.spawn(
        right.netns, tool("dnsmasq", "dnsmasq-base"), "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts",
        f"--listen-address={right.ip4}",
        "--bind-interfaces", "--address=/example.test/192.0.2.7", "--pid-file=", "--user=root",
    )  # fmt: skip
    until(lambda: ":53" in net.run(right.netns, "ss", "-Huln"))
    serve(net, right, 8080)
    for end in (left, right):  # each packet as it is on the wire
        net.run(end.netns, "ethtool", "-K", end.interface, "tso", "off", "gso", "off", "gro", "off")
    agent = start_agent()
    pcap = tmp_path / "left.pcap"

    with net.capture(left, pcap):
        net.run(left.netns, "curl", "-s", f"http://{right.ip4}:8080/", check=False)
        net.run(left.netns, sys.executable, "-c", _ASK, right.ip4)
        net.run(left.netns, "nc", "-w", "1", "-z", right.ip4, "81", check=False)
        net.ping(left.netns, right.ip4)

    assert_agent_sees_what_tshark_sees(agent, left, pcap)
    named = {flow["Application"] for flow in flows_at(agent, left)}
    assert named >= {"HTTP", "DNS", "ICMPv4", "ARP"}
    [web] = agent.flows(f"tcp and port 8080 and Interface={left.interface}")
    assert web["Initiator"] == "A"
    assert web["Network"]["A"] == left.ip4
    assert {"SYN", "ACK", "FIN"} <= set(web["TCPMetric"]["ABFlags"].split("|"))
    assert 0 < web["Metric"]["RTT"] < 1e9
    begun, ended = web["TCPMetric"]["ABSynStart"], web["TCPMetric"]["ABFinStart"]
    tick = 10  # ms: all but a SYN's time is of the coarse clock, of 4 ms here, and may be a tick older
    assert web["Start"] - tick <= begun <= ended + tick
    assert ended <= web["Last"] + tick
    [refused] = agent.flows(f"tcp and port 81 and Interface={left.interface}")
    assert "RST" in refused["TCPMetric"]["BAFlags"]
    assert refused["FinishType"] == "TCP_RST" or refused["TCPMetric"]["BARstStart"] > 0


_ASK = """
import socket, sys
question = bytes.fromhex("123401000001000000000000076578616d706c6504746573740000010001")
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(5)
udp.sendto(question, (sys.argv[1], 53))
assert bytes([192, 0, 2, 7]) in udp.recv(512)
"""


def test_connection_that_ended_leaves_no_ghost(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent(flow__linger="300ms", flow__drain="100ms")

    connect(net, left, right, size=1000)

    until(lambda: agent.metrics().value("skytrail_flows_active", transport="tcp") == 0)
    time.sleep(0.5)  # a ghost would be a packet that comes late; none is to come
    metrics = agent.metrics()
    for end in (left, right):
        assert metrics.value("skytrail_flows_new_total", device=end.interface, transport="tcp") == 1
        assert metrics.value("skytrail_flows_ended_total", device=end.interface, finish="TCP_FIN") == 1


def test_new_syn_on_the_same_ports_begins_a_new_record(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent(flow__linger="60s")

    connect(net, left, right, size=100, end="reset")
    connect(net, left, right, size=5000, end="reset")

    expected = plain_id(TCP, left.ip4, right.ip4, (40000, 9000))
    for end in (left, right):

        def the_second(end: End = end) -> bool:
            [flow] = agent.wait_flows(1, f"tcp and port 40000 and Interface={end.interface}")
            assert flow["TrackingID"] == expected
            assert 5000 < flow["Metric"]["ABBytes"] < 5800
            return True

        until(the_second)
        metrics = agent.metrics()
        assert metrics.value("skytrail_flows_new_total", device=end.interface, transport="tcp") == 2
        assert metrics.value("skytrail_flows_ended_total", device=end.interface, finish="TCP_RST") == 1


def command(agent: Agent, *options: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "skytrail", "flows", *options, "--set", f"agent.listen=127.0.0.1:{agent.port}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=30)


def lines(agent: Agent, *options: str) -> list[dict[str, Any]]:
    done = command(agent, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_flows_command_filters_sorts_and_limits(net: Net, start_agent: StartAgent) -> None:
    left, right = net.pair()
    agent = start_agent(flow__linger="60s", flow__idle__other="60s")  # longer than a dozen commands take on a busy machine
    serve(net, right, 8080)
    net.run(left.netns, "curl", "-s", f"http://{right.ip4}:8080/", check=False)
    net.ping(left.netns, right.ip4, count=5)
    everything = agent.flows()
    web = [flow["UUID"] for flow in everything if flow.get("Transport", {}).get("B") == 8080]
    echoes = [flow["UUID"] for flow in everything if "ICMP" in flow]
    arp = [flow["UUID"] for flow in everything if flow["LayersPath"] == "Ethernet/ARP"]
    assert (len(web), len(echoes)) == (2, 2)
    assert arp

    for text, expected in (
        ("tcp and dst port 8080", web),
        ("icmp or tcp", web + echoes),
        (f"host {left.ip4} and not tcp", echoes),
        ("net 10.0.0.0/24 and proto 1", echoes),
        ("arp", arp),
        (f"Interface={left.interface} and icmp", [u for u in echoes if u in {f["UUID"] for f in flows_at(agent, left)}]),
        ("net 192.0.2.0/24", []),
    ):
        assert sorted(flow["UUID"] for flow in lines(agent, "--filter", text)) == sorted(expected), text
    by_bytes = [flow["Metric"]["ABBytes"] + flow["Metric"]["BABytes"] for flow in lines(agent)]
    assert by_bytes == sorted(by_bytes, reverse=True)
    # the kernel asks for its neighbour again after 5 s: packets may come between the questions
    before = max(flow["Last"] for flow in agent.flows())
    [last] = lines(agent, "--sort", "last", "--limit", "1")
    assert before <= last["Last"] <= max(flow["Last"] for flow in agent.flows())
    shown = command(agent, "--once", "--filter", "tcp").stdout
    assert shown.count(f"{right.ip4}:8080") == 2
    wrong = command(agent, "--filter", "prot tcp")
    assert wrong.returncode != 0
    assert wrong.stderr.count("\n") == 1
    assert "prot" in wrong.stderr
