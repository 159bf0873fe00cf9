"""Routes that are chosen, against what the kernel says: ``ip route get``."""

from __future__ import annotations

import ipaddress
import json
import random
import subprocess
from pathlib import Path

import pytest
from support import pathlab
from support.netlab import Net

from topology.path.devices import Namespace
from topology.path.network import Network
from topology.path.packets import PROTOCOLS, Packet
from topology.path.routing import Chosen, Refused, Router

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

SEEDS, LOOKUPS, DEVICES = 12, 100, 3
TABLES = ("main", "100", "200")


class Draw:
    """Random routes, rules and packets in a small world: things meet often."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def network(self) -> str:
        length = self.random.choice([8, 12, 16, 20, 24, 32])
        address = f"10.{self.random.randrange(4)}.{self.random.choice([0, 16, 32])}.{self.random.randrange(4)}"
        return str(ipaddress.ip_network(f"{address}/{length}", strict=False))

    def address(self) -> str:
        return f"10.{self.random.randrange(4)}.{self.random.choice([0, 1, 16, 17, 32])}.{self.random.randrange(4)}"

    def gateway(self, device: int) -> str:
        return f"via 192.168.{device}.{self.random.randrange(2, 9)} dev d{device}"

    def route(self) -> str:
        table, metric = self.random.choice(TABLES), self.random.randrange(3)
        where = self.random.choice(["gateway"] * 5 + ["device", "blackhole", "unreachable", "prohibit", "throw", "multipath"])
        device, other = self.random.sample(range(DEVICES), 2)
        forms = {
            "gateway": f"{self.network()} {self.gateway(device)}",
            "device": f"{self.network()} dev d{device}",
            "multipath": f"{self.network()} nexthop {self.gateway(device)} nexthop {self.gateway(other)}",
        }
        return f"route add {forms.get(where) or f'{where} {self.network()}'} table {table} metric {metric}"

    def rule(self) -> str:
        match = self.random.choice(
            [
                f"from {self.network()}",
                f"to {self.network()}",
                f"not to {self.network()}",
                f"iif d{self.random.randrange(DEVICES)}",
                f"ipproto {self.random.choice(['tcp', 'udp'])} dport {self.random.choice(['80', '80-90'])}",
                "fwmark 7",
                "",
            ]
        )
        action = self.random.choice(
            [f"lookup {self.random.choice(TABLES)}"] * 4
            + ["lookup main suppress_prefixlength 16", "prohibit", "blackhole", "goto 32766"]
        )
        return f"rule add priority {self.random.randrange(1000, 30000)} {match} {action}"

    def packet(self) -> Packet:
        proto, port = self.random.choice([("tcp", 80), ("tcp", 85), ("udp", 80), ("tcp", 443)])
        src, dst = (ipaddress.ip_address(self.address()) for _ in range(2))
        return Packet(src, dst, PROTOCOLS[proto], port)


def by_kernel(netns: str, packet: Packet, device: str) -> tuple[str, str] | None:
    """Device and gateway; ``local`` for one that is its own; None for none."""
    proto = "tcp" if packet.proto == PROTOCOLS["tcp"] else "udp"
    words = f"-j -n {netns} route get {packet.dst} from {packet.src} iif {device} ipproto {proto} dport {packet.port}"
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True)
    if done.returncode:
        return None
    [found] = json.loads(done.stdout)
    if found.get("type") in ("local", "broadcast"):
        return "local", ""
    if found.get("type") in ("blackhole", "unreachable", "prohibit"):
        return None
    return found["dev"], found.get("gateway", "")


def by_us(router: Router, namespace: Namespace, packet: Packet, device: str) -> set[tuple[str, str]] | None:
    came_by = next(one for one in namespace.devices.values() if one.name == device)
    found = router.choose(packet, came_by=came_by)
    if isinstance(found, Refused):
        return None
    assert isinstance(found, Chosen)
    return {("local", "")} if found.ours else {(by.name, hop.ip) for hop, by in found.hops}


def world(net: Net, seed: int) -> str:
    """A router with random routes and rules."""
    draw, netns, others = Draw(seed), net.netns("r"), net.netns("o")
    net.run(netns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    for number in range(DEVICES):
        net.ip(f"link add d{number} netns {netns} type veth peer name p{number} netns {others}")
        net.ip(f"link set p{number} up", netns=others)
        for words in (f"link set d{number} up", f"address add 192.168.{number}.1/24 dev d{number}"):
            net.ip(words, netns=netns)
    net.ip("address add 10.3.32.3/32 dev d0", netns=netns)
    for _ in range(40):
        net.ip(draw.route(), netns=netns, check=False)  # some are there already
    for _ in range(8):
        net.ip(draw.rule(), netns=netns, check=False)
    return netns


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_route_of_any_packet_is_the_kernels(seed: int, net: Net, tmp_path: Path) -> None:
    netns, draw = world(net, seed), Draw(seed + 1000)
    [namespace] = [one for one in Network(pathlab.graph(net, tmp_path)).namespaces.values() if one.name == netns]
    router = Router(namespace)
    compared = 0
    for _ in range(LOOKUPS):
        packet, device = draw.packet(), f"d{draw.random.randrange(DEVICES)}"
        if packet.src is None or namespace.holds(packet.src):
            continue
        kernel, ours = by_kernel(netns, packet, device), by_us(router, namespace, packet, device)
        assert (kernel is None and ours is None) or (ours is not None and kernel in ours), (packet, device, kernel, ours)
        compared += 1
    assert compared > LOOKUPS / 2
