"""Two hosts on a switch: each routes for two workloads behind its bridge, and translates addresses to the outside."""

from __future__ import annotations

from itertools import permutations

from skytrail.lab.pieces import FORWARD, OFFLOADS, QUIET, addresses, bridge, workload
from skytrail.lab.plan import Acts, Cable, End, Family, Hop, Node, Place, Plan, Role, Segment, Way, Workload

_HOSTS = {"h1": 1, "h2": 2}
_OUTSIDE: dict[Family, str] = {4: "203.0.113.2", 6: "2001:db8:113::2"}

_PICTURE = """\
   h1  {h1}                       h2  {h2}
   ┌────────┐ ┌────────┐                     ┌────────┐ ┌────────┐
   │   a1   │ │   a2   │                     │   b1   │ │   b2   │
   └───┬────┘ └───┬────┘                     └───┬────┘ └───┬────┘
   ════╧══ br0 ═══╧═════                     ════╧══ br0 ═══╧═════
       router, NAT to outside                    router, NAT to outside
            │ eth0                                    │ eth0
   ═════════╧═════════════════ switch ════════════════╧══════════
                                 │
                              outside  203.0.113.2
"""


def two_hosts() -> Plan:
    """The plan."""
    workloads = [
        Workload(f"{'ab'[host - 1]}{n}", name, f"{'ab'[host - 1]}{n}", {4: f"10.10.{host}.{n}", 6: f"fd10:{host}::{n}"}, name)
        for name, host in _HOSTS.items()
        for n in (1, 2)
    ]
    outside = Workload("outside", "outside", "", _OUTSIDE, "outside")
    nodes = [
        *(Node(name, Role.HOST, tuple(_host(host, workloads)), position="a host") for name, host in _HOSTS.items()),
        Node("switch", Role.SWITCH, (*QUIET, *bridge("br0", ("h1", "h2", "outside"))), agent=False),
        Node("outside", Role.OUTSIDE, (*QUIET, *_server()), agent=False),
    ]
    cables = [Cable(End(name, "eth0"), End("switch", name)) for name in (*_HOSTS, "outside")]
    ways = [
        Way(source, destination, _hops(source, destination), translated="outside" in (source.name, destination.name))
        for source, destination in permutations([*workloads, outside], 2)
        if source.node != destination.node
    ]
    segments = [Segment(name, {4: f"10.10.{host}.0/24", 6: f"fd10:{host}::/64"}) for name, host in _HOSTS.items()]
    picture = _PICTURE.format(h1="10.10.1.0/24 ", h2="10.10.2.0/24 ")
    return Plan("two-hosts", tuple(nodes), tuple(cables), (*workloads, outside), tuple(segments), tuple(ways), picture)


def _host(host: int, workloads: list[Workload]) -> list[str]:
    other = 3 - host
    gateway: dict[Family, str] = {4: f"10.10.{host}.254", 6: f"fd10:{host}::fe"}
    lines = [*QUIET, FORWARD, *bridge("br0")]
    lines += addresses("br0", {family: f"{address}/{24 if family == 4 else 64}" for family, address in gateway.items()})
    lines += addresses("eth0", {4: f"192.168.77.{host}/24", 6: f"fd77::{host}/64"})
    lines += addresses("eth0", {4: f"203.0.113.{10 + host}/24", 6: f"2001:db8:113::{10 + host}/64"})
    lines += [
        f"ethtool -K eth0 {OFFLOADS} >/dev/null",
        f"ip route add 10.10.{other}.0/24 via 192.168.77.{other}",
        f"ip -6 route add fd10:{other}::/64 via fd77::{other}",
        "nft add table inet nat",
        "nft add chain inet nat postrouting '{ type nat hook postrouting priority srcnat; }'",
        "nft add rule inet nat postrouting oifname eth0 ip daddr 203.0.113.0/24 masquerade",
        "nft add rule inet nat postrouting oifname eth0 ip6 daddr 2001:db8:113::/64 masquerade",
    ]
    for one in workloads:
        if _HOSTS[one.node] == host:
            given = {family: f"{address}/{24 if family == 4 else 64}" for family, address in one.address.items()}
            lines += [*workload(one.name, given, gateway), f"ip link set {one.name} master br0"]
    return lines


def _server() -> list[str]:
    return [
        *addresses("eth0", {family: f"{address}/{24 if family == 4 else 64}" for family, address in _OUTSIDE.items()}),
        f"ethtool -K eth0 {OFFLOADS} >/dev/null",
    ]


def _hops(source: Workload, destination: Workload) -> tuple[Hop, ...]:
    hops = [Hop(source.place, Acts.END, "", "eth0")]
    if source.netns:
        hops += [Hop(Place(source.node), Acts.BRIDGE, source.name, "br0"), Hop(Place(source.node), Acts.ROUTE, "br0", "eth0")]
    hops.append(Hop(Place("switch"), Acts.BRIDGE, source.node, destination.node))
    if destination.netns:
        node = Place(destination.node)
        hops += [Hop(node, Acts.ROUTE, "eth0", "br0"), Hop(node, Acts.BRIDGE, "br0", destination.name)]
    return (*hops, Hop(destination.place, Acts.END, "eth0", ""))
