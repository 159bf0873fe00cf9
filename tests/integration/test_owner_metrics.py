"""Metrics of flows by owner, and ends that only receive: against what the programs themselves sent and got."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.agentlab import Agent, StartAgent
from support.netlab import End, Net, until

from exporters.bpf.sockets import cgroup_root

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

UDP_HEADERS = 14 + 20 + 8
BYTES, PACKETS, FLOWS = "skytrail_owner_flow_bytes_total", "skytrail_owner_flow_packets_total", "skytrail_owner_flows_total"
SOON = ("--set", "sockets.interval=1s")

NAMED = "import socket, sys; open('/proc/self/comm', 'w').write(sys.argv[1])\n"
# what it got: datagrams and bytes, printed when the last one came; answers each with so many bytes
SINK = (
    NAMED
    + """
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[2], 514))
print("ready", flush=True)
count = size = 0
while True:
    data, sender = server.recvfrom(65536)
    if int(sys.argv[3]):
        server.sendto(bytes(int(sys.argv[3])), sender)
    count, size = count + 1, size + len(data)
    if data[:4] == b"last":
        print(count, size, flush=True)
"""
)
SEND = (
    NAMED
    + """
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect((sys.argv[2], 514))
sizes = [100 + 7 * number for number in range(int(sys.argv[3]))]
for size in sizes:
    client.send((b"last" if size is sizes[-1] else b"") + bytes(size - 4 * (size is sizes[-1])))
print(len(sizes), sum(sizes))
"""
)
SERVE = (
    NAMED
    + """
server = socket.create_server((sys.argv[2], 5000), backlog=100)
print("ready", flush=True)
while True:
    accepted, _ = server.accept()
    while accepted.recv(65536):
        pass
    accepted.sendall(bytes(50_000))
    accepted.close()
"""
)
FETCH = (
    NAMED
    + """
for _ in range(int(sys.argv[3])):
    with socket.create_connection((sys.argv[2], 5000)) as client:
        client.sendall(bytes(200_000))
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
"""
)


class Program:
    """A server under a name of its own."""

    def __init__(self, net: Net, netns: str, code: str, *arguments: str) -> None:
        self._process = net.spawn(netns, sys.executable, "-c", code, *arguments)
        self.pid = self._process.pid
        assert self.line() == "ready"

    def line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def told(agent: Agent, name: str, end: End, **labels: str) -> dict[tuple[str, str, str], float]:
    """Values by direction, kind and name of the owner."""
    found: dict[tuple[str, str, str], float] = {}
    for sample in agent.metrics().samples:
        of = sample.labels
        if sample.name == name and (of["device"], of["netns"]) == (end.interface, end.netns) and labels.items() <= of.items():
            key = of.get("direction", ""), of["owner_kind"], of["owner"]
            found[key] = found.get(key, 0) + sample.value
    return found


def whose(flow: dict[str, Any]) -> dict[str, int]:
    return {side: process["Pid"] for side, process in flow.get("Process", {}).items()}


def test_programs_are_told_of_by_what_they_sent_and_got(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    agent = start_agent(*SOON, interfaces=(left.interface,))
    server = Program(net, right.netns, SINK, "logger", right.ip4, "30")
    # short-lived, all of one name
    sent = [net.run(left.netns, sys.executable, "-c", SEND, "app", right.ip4, str(number)) for number in (1, 20, 7)]
    totals = [sum(int(text.split()[part]) for text in sent) for part in (0, 1)]
    packets, size = totals
    assert [server.line() for _ in sent][-1] == f"{packets} {size}"
    wire, answers = size + packets * UDP_HEADERS, packets * (30 + UDP_HEADERS)
    expected = {
        ("transmit", "process", "app"): wire,
        ("receive", "process", "logger"): wire,
        ("transmit", "process", "logger"): answers,
        ("receive", "process", "app"): answers,
    }
    assert until(lambda: told(agent, BYTES, left) == expected or None)
    assert told(agent, PACKETS, left) == dict.fromkeys(expected, packets)
    assert told(agent, FLOWS, left) == {("", "process", "app"): 3, ("", "process", "logger"): 3}


def test_the_sums_by_owner_are_those_of_the_flows(start_agent: StartAgent, net: Net) -> None:
    """At the sender's own interface, of TCP and UDP: each packet has a sender, and a receiver too, as both are here."""
    left, right = net.pair()
    agent = start_agent(*SOON, interfaces=(left.interface,))
    Program(net, right.netns, SERVE, "web", right.ip4)
    Program(net, right.netns, SINK, "logger", right.ip4, "1")
    for name, count in (("fetch", 30), ("fetch", 1), ("browse", 5)):
        net.run(left.netns, sys.executable, "-c", FETCH, name, right.ip4, str(count))
    net.run(left.netns, sys.executable, "-c", SEND, "app", right.ip4, "50")
    net.ping(left.netns, right.ip4)

    def equal() -> bool:
        metrics = agent.metrics()
        for transport in ("tcp", "udp"):
            for what in ("bytes", "packets"):
                labels = {"device": left.interface, "transport": transport}
                flows = metrics.value(f"skytrail_flow_{what}_total", **labels)
                for direction in ("transmit", "receive"):
                    owned = metrics.value(f"skytrail_owner_flow_{what}_total", direction=direction, **labels)
                    assert owned == flows > 0
        return True

    until(equal)
    size = told(agent, BYTES, left, transport="tcp")
    assert set(size) == {(way, "process", name) for way in ("transmit", "receive") for name in ("fetch", "browse", "web")}
    for name, count in (("fetch", 31), ("browse", 5)):
        assert 200_000 * count < size["transmit", "process", name] < 220_000 * count
        assert 50_000 * count < size["receive", "process", name] < 70_000 * count
    assert told(agent, FLOWS, left, transport="tcp") == {
        ("", "process", "fetch"): 31, ("", "process", "browse"): 5, ("", "process", "web"): 36,
    }  # fmt: skip
    ping = told(agent, PACKETS, left, transport="icmp")
    assert ping == {("transmit", "process", "ping"): 3, ("receive", "process", "ping"): 3}  # the kernel answers


@pytest.mark.parametrize("address", ["10.0.0.2", "0.0.0.0", "::"])
def test_a_server_that_never_answers_is_known_where_it_is(start_agent: StartAgent, net: Net, address: str) -> None:
    left, right = net.pair(ipv6=True)
    agent = start_agent(*SOON, interfaces=(left.interface, right.interface))
    server = Program(net, right.netns, SINK, "logger", address, "0")
    packets, size = map(int, net.run(left.netns, sys.executable, "-c", SEND, "app", right.ip4, "9").split())
    assert server.line() == f"{packets} {size}"
    wire = size + packets * UDP_HEADERS
    until(lambda: told(agent, BYTES, right, transport="udp").get(("receive", "process", "logger")) == wire, 15)
    assert told(agent, BYTES, right, transport="udp")["transmit", "process", "app"] == wire

    def named() -> bool:
        flows = {flow["Interface"]: flow for flow in agent.flows("udp and port 514")}
        assert whose(flows[right.interface]).get("B") == server.pid
        assert flows[right.interface]["Process"]["A"]["Name"] == "app"
        assert set(whose(flows[left.interface])) == {"A"}  # where the server is not, it is not known
        return True

    until(named)


def test_what_a_router_passes_on_is_not_its_own(start_agent: StartAgent, net: Net) -> None:
    """A server listens on the router's every address and port 514; packets go to another host's, and to its own."""
    left, near = net.pair("a", "r")
    far = End(near.netns, net.name("vf"), "10.1.0.1")
    right = End(net.netns("b"), net.name("vb"), "10.1.0.2")
    net.veth(far, right)
    net.run(near.netns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    net.ip(f"route add default via {near.ip4}", netns=left.netns)
    net.ip(f"route add default via {far.ip4}", netns=right.netns)
    agent = start_agent(*SOON, interfaces=(near.interface,))
    router = Program(net, near.netns, SINK, "dnsmasq", "0.0.0.0", "0")
    beyond = Program(net, right.netns, SINK, "logger", "0.0.0.0", "0")
    for destination, server in ((right.ip4, beyond), (far.ip4, router)):
        assert net.run(left.netns, sys.executable, "-c", SEND, "app", destination, "5").strip() == server.line()

    def named() -> bool:
        flows = {flow["Network"]["B"]: flow for flow in agent.flows("udp and port 514")}
        assert whose(flows[far.ip4]).get("B") == router.pid
        assert set(whose(flows[right.ip4])) == {"A"}
        return True

    until(named)
    until(lambda: told(agent, PACKETS, near).get(("receive", "process", "dnsmasq")) == 5, 15)
    assert told(agent, PACKETS, near)["transmit", "process", "app"] == 10


def test_what_a_translator_redirects_goes_to_who_gets_it(start_agent: StartAgent, net: Net) -> None:
    """Of two servers here one is bound where the packets say, the other where they are sent on to."""
    left, right = net.pair()
    rules = "table ip n {\nchain c {\ntype nat hook prerouting priority -100\nudp dport 514 redirect to :515\n}\n}\n"
    net.run(right.netns, "nft", "-f", "-", stdin=rules)
    agent = start_agent(*SOON, interfaces=(right.interface,))
    bound = Program(net, right.netns, SINK, "bound", right.ip4, "0")
    gets = Program(net, right.netns, SINK.replace("514", "515"), "gets", right.ip4, "0")
    assert net.run(left.netns, sys.executable, "-c", SEND, "app", right.ip4, "5").strip() == gets.line()
    until(lambda: whose(agent.wait_flows(1, "udp and port 514")[0]).get("B") == gets.pid)
    until(lambda: told(agent, PACKETS, right).get(("receive", "process", "gets")) == 5, 15)
    assert ("receive", "process", "bound") not in told(agent, PACKETS, right)
    assert bound.pid != gets.pid


@contextmanager
def group(path: str) -> Iterator[Path]:
    """A control group of version 2, removed with those above it that were made for it."""
    root = Path(cgroup_root() or "")
    made = []
    for part in (*reversed(Path(path).parents), Path(path)):
        if not (root / part).exists():
            (root / part).mkdir()
            made.append(root / part)
    try:
        yield root / path
    finally:
        for folder in reversed(made):
            folder.rmdir()


def test_pods_and_units_are_told_of_in_the_place_of_their_programs(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    pod = f"{os.getpid():08d}-0000-4000-8000-000000000001"
    unit = f"{net.name('u')}.service"
    agent = start_agent(*SOON, interfaces=(left.interface,))
    enter = "import os; open(sys.argv[4] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
    Program(net, right.netns, SERVE, "web", right.ip4)
    expected = {("", "unit", unit): 2, ("", "pod", pod): 2, ("", "process", "web"): 4}
    with group(f"kubepods/burstable/pod{pod}/{'c' * 64}") as of_pod, group(f"system.slice/{unit}") as of_unit:
        for folder in (of_pod, of_unit):
            net.run(left.netns, sys.executable, "-c", NAMED + enter + FETCH, "fetch", right.ip4, "2", str(folder))
        # the programs are gone before they are looked at; nobody tells the pod's name: after a while its UID is taken
        until(lambda: told(agent, FLOWS, left, transport="tcp") == expected, 30)


def test_series_leave_with_their_capture_point(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    agent = start_agent(*SOON, "--set", "flow.idle.udp=1s", "--set", "flow.idle.other=1s")
    Program(net, right.netns, SINK, "logger", right.ip4, "1")
    net.run(left.netns, sys.executable, "-c", SEND, "app", right.ip4, "3")
    until(lambda: told(agent, PACKETS, left).get(("transmit", "process", "app")) == 3)
    net.ip(f"link del {left.interface}", netns=left.netns)
    until(lambda: not told(agent, PACKETS, left), 20)


def test_more_owners_than_are_wanted_are_one(start_agent: StartAgent, net: Net) -> None:
    left, right = net.pair()
    agent = start_agent(*SOON, "--set", "prometheus.owners=2", interfaces=(left.interface,))
    Program(net, right.netns, SINK, "logger", right.ip4, "1")
    for number in range(4):
        net.run(left.netns, sys.executable, "-c", SEND, f"app{number}", right.ip4, "3")

    def enough() -> bool:
        found = told(agent, PACKETS, left)
        owners = {key[1:]: value for key, value in found.items() if key[0] == "transmit"}
        assert sum(owners.values()) == 2 * 4 * 3
        assert len(owners) == 3
        assert owners["", "overflow"] >= 2 * 3
        return True

    until(enough)
    assert agent.metrics().value("skytrail_series_capped_total", metric=BYTES) > 0
    status = json.loads(agent.get("/api/status"))
    assert status["flows"] > 0
