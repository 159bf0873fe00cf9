"""Flows know whose they are: the processes at both ends, also of those that lived shortly, and how their sockets fared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab.containers import FOREVER, IMAGE, Dockerd, image
from support.agentlab import StartAgent
from support.netlab import Net, until

from exporters.bpf.sockets import cgroup_root

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]

SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], 5000), family=family, backlog=4096)
print("ready", flush=True)
while True:
    accepted, _ = server.accept()
    accepted.sendall(accepted.recv(100))
    accepted.recv(1)  # the client closes first: so its port is not given out again
    accepted.close()
"""
CONNECT = """
import socket, sys
for number in range(int(sys.argv[2])):
    with socket.create_connection((sys.argv[1], 5000)) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
"""


ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("10.0.0.2", 53))
print("ready", flush=True)
while True: server.sendto(*server.recvfrom(100))
"""


def serve(net: Net, netns: str, address: str) -> subprocess.Popen[str]:
    server = net.spawn(netns, sys.executable, "-c", SERVE, address)
    assert server.stdout
    assert server.stdout.readline() == "ready\n"
    return server


def whose(flow: dict[str, Any]) -> dict[str, int]:
    return {side: told["Pid"] for side, told in flow.get("Process", {}).items()}


def test_ten_thousand_short_connections_have_their_processes_latency_and_ends(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    net.run(left.netns, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535")
    agent = start_agent("--set", "flow.linger=600s", interfaces=(left.interface,))
    many = 10_000
    server = serve(net, right.netns, right.ip4)
    client = net.spawn(left.netns, sys.executable, "-c", CONNECT, right.ip4, str(many))
    assert client.wait(100) == 0
    until(lambda: len(agent.flows("tcp and port 5000")) == many, 30)
    until(lambda: all("AEnd" in flow["TCPMetric"] for flow in agent.flows("tcp and port 5000")))
    flows = agent.flows("tcp and port 5000")
    for flow in flows:
        assert whose(flow) == {"A": client.pid, "B": server.pid}
        told = flow["TCPMetric"]
        assert 0 < told["ConnectLatency"] < 10**9
        assert told["ConnectLatency"] > flow["Metric"].get("RTT", 0) / 2  # clocks are read at another place
        assert (told["AEnd"], told["BEnd"]) == ("closed", "closed")
        assert (told["ABRetransmits"], told["BARetransmits"]) == (0, 0)
    assert agent.metrics().value("skytrail_socket_events_lost_total") == 0


def test_of_two_servers_on_a_port_each_has_its_own_connections(start_agent: StartAgent, net: Net) -> None:
    """One listens on every IPv4 address, another process on every IPv6 address."""
    left, right = net.pair(ipv6=True)
    agent = start_agent("--set", "flow.linger=600s", interfaces=(left.interface,))
    servers = {right.ip4: serve(net, right.netns, "0.0.0.0"), right.ip6: serve(net, right.netns, "::")}
    for address in (right.ip4, right.ip6, right.ip4):
        net.run(left.netns, sys.executable, "-c", CONNECT, address, "1")
    until(lambda: len(agent.flows("tcp and port 5000")) == 3)

    def named() -> bool:
        for flow in agent.flows("tcp and port 5000"):
            assert whose(flow).get("B") == servers[flow["Network"]["B"]].pid
        return True

    until(named)


def test_an_end_that_is_elsewhere_is_nobodys_here(start_agent: StartAgent, net: Net) -> None:
    """Captured at the host's end of a pair: the process in the namespace is known by the packets that it sends."""
    left, right = net.pair(ipv6=True)
    agent = start_agent(interfaces=(right.interface,))
    server = serve(net, right.netns, right.ip6)
    net.run(left.netns, sys.executable, "-c", CONNECT, right.ip6, "1")
    [flow] = agent.wait_flows(1, "tcp and port 5000")
    assert whose(flow)["B"] == server.pid
    assert flow["Process"]["A"]["Name"].startswith("python")
    assert Path(flow["Process"]["B"]["Executable"]).samefile(sys.executable)


def test_datagrams_have_their_processes_too(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    agent = start_agent("--set", "flow.linger=600s", interfaces=(left.interface,))
    server = net.spawn(right.netns, sys.executable, "-c", ECHO)
    assert server.stdout
    server.stdout.readline()
    ask = "import os, socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('10.0.0.2', 53)); s.recv(9)"
    client = int(net.run(left.netns, sys.executable, "-c", f"{ask}; print(os.getpid())"))
    [flow] = agent.wait_flows(1, "udp and port 53")
    assert whose(flow) == {"A": client, "B": server.pid}
    net.ping(left.netns, right.ip4)
    [echo] = agent.wait_flows(1, "icmp")
    assert (echo["Process"]["A"]["Name"], "B" in echo["Process"]) == ("ping", False)  # the kernel answers


def test_without_iterators_a_flow_has_its_processes_from_the_next_pass_on(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    sources = "--set", "sockets.source=sock_diag", "--set", "sockets.interval=1s"
    agent = start_agent(*sources, "--set", "flow.linger=600s", interfaces=(left.interface,))
    server = net.spawn(right.netns, sys.executable, "-c", SERVE, right.ip4)
    assert server.stdout
    assert server.stdout.readline() == "ready\n"
    client = net.spawn(left.netns, sys.executable, "-c", STAY, right.ip4)
    until(lambda: [whose(flow) for flow in agent.flows("tcp and port 5000")] == [{"A": client.pid, "B": server.pid}])
    [flow] = agent.flows("tcp and port 5000")
    assert flow["Process"]["A"]["Name"] == Path(f"/proc/{client.pid}/comm").read_text().strip()
    assert (flow["TCPMetric"]["ABRetransmits"], "ConnectLatency" in flow["TCPMetric"]) == (0, False)


STAY = """
import socket, sys
client = socket.create_connection((sys.argv[1], 5000))
client.sendall(b"hello")
client.recv(100)
input()
"""


@pytest.mark.parametrize(("command", "end"), [("", "refused"), ("drop", "timeout")])
def test_a_connection_that_never_was_says_why(start_agent: StartAgent, net: Net, command: str, end: str) -> None:
    left, right = net.pair()
    if command:
        net.run(left.netns, "sysctl", "-qw", "net.ipv4.tcp_syn_retries=1", "net.ipv4.tcp_syn_linear_timeouts=0", check=False)
        net.run(right.netns, "nft", "add table ip t; add chain ip t c { type filter hook input priority 0 ; }")
        net.run(right.netns, "nft", "add rule ip t c tcp dport 5000 drop")
    agent = start_agent("--set", "flow.linger=600s", interfaces=(left.interface,))
    net.run(left.netns, "bash", "-c", f"exec 3<>/dev/tcp/{right.ip4}/5000", check=False)
    [flow] = agent.wait_flows(1, "tcp and port 5000")
    until(lambda: agent.flows("tcp and port 5000")[0]["TCPMetric"].get("AEnd") == end)
    [flow] = agent.flows("tcp and port 5000")
    assert flow["Process"]["A"]["Name"] == "bash"
    assert flow["TCPMetric"]["ConnectLatency"] > 0
    if command:
        assert flow["TCPMetric"]["ABRetransmits"] == 1


def test_a_flow_of_a_tunnel_has_no_process_and_what_it_carries_has(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    for end, other, host in ((left, right, 1), (right, left, 2)):
        net.ip(f"link add vx type vxlan id 7 remote {other.ip4} dstport 4789 dev {end.interface}", netns=end.netns)
        net.ip(f"address add 10.7.0.{host}/24 dev vx", netns=end.netns)
        net.ip("link set vx up", netns=end.netns)
    agent = start_agent("--set", "flow.linger=600s", interfaces=(left.interface,))
    server = serve(net, right.netns, "10.7.0.2")
    net.run(left.netns, sys.executable, "-c", CONNECT, "10.7.0.2", "1")
    [inner] = agent.wait_flows(1, "tcp and port 5000")
    [outer] = agent.flows("udp and port 4789")
    assert inner["ParentUUID"] == outer["UUID"]
    assert "Process" not in outer
    assert whose(inner) == {"A": inner["Process"]["A"]["Pid"], "B": server.pid}


def test_a_process_in_a_container_is_known_with_it(start_agent: StartAgent, net: Net, tmp_path: Path) -> None:
    left, right = net.pair()
    daemons = net.netns("d")
    with Dockerd(tmp_path / "docker", daemons) as docker:
        docker.load(image(tmp_path / "box.tar"))
        agent = start_agent(
            "--set", f"containers.docker={docker.socket}", "--set", "flow.linger=600s", interfaces=(left.interface,)
        )
        name = net.name("web")
        docker.run("run", "-d", "--name", name, "--network", "none", IMAGE, *FOREVER)
        pid = int(docker.inspect(name)["State"]["Pid"])
        # the container's process has the server: it is opened in the other namespace and handed on by its cgroup
        server = serve(net, right.netns, right.ip4)
        Path(cgroup_of_process(pid), "cgroup.procs").write_text(str(server.pid))
        client = net.run(left.netns, sys.executable, "-c", CONNECT, right.ip4, "1")
        assert client == ""
        [flow] = agent.wait_flows(1, "tcp and port 5000")
        until(lambda: "Name" in agent.flows("tcp and port 5000")[0].get("Container", {}).get("B", {}))
        [flow] = agent.flows("tcp and port 5000")
        told = flow["Container"]["B"]
        assert (told["ID"], told["Name"], told["Image"]) == (docker.inspect(name)["Id"], name, IMAGE)
        assert told["Runtime"] == "docker"
        assert "A" not in flow["Container"]


def cgroup_of_process(pid: int) -> str:
    """The folder of a process's control group, of version 2."""
    [path] = [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")]
    root = cgroup_root()
    assert root is not None
    return root + path


def test_packets_that_die_are_told_of_on_their_flow(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    net.run(right.netns, "nft", "add table ip t; add chain ip t c { type filter hook input priority 0 ; }")
    net.run(right.netns, "nft", "add rule ip t c udp dport 9 counter drop")
    agent = start_agent("--set", "flow.linger=600s", interfaces=(left.interface,))
    net.run(left.netns, "bash", "-c", f"for i in 1 2 3 4 5; do echo x >/dev/udp/{right.ip4}/9; done")
    flows = agent.wait_flows(5, "udp and port 9")  # each from a port of its own
    until(lambda: all(flow.get("Drops") for flow in agent.flows("udp and port 9")))
    assert [flow["Drops"] for flow in agent.flows("udp and port 9")] == [{"NETFILTER_DROP": {"AB": 1, "BA": 0}}] * len(flows)
    where = {"device": right.interface, "netns": right.netns, "reason": "NETFILTER_DROP"}
    assert agent.metrics().value("skytrail_packets_dropped_total", **where) == 5
