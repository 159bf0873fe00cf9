"""Two hosts on a switch: each routes for two workloads behind its bridge, and translates addresses to the outside."""

from __future__ import annotations

from itertools import permutations

from skytrail.lab.pieces import FORWARD, OFFLOADS, QUIET, addresses, bridge, translating, workload
from skytrail.lab.plan import Acts, Cable, End, Family, Hop, Node, Place, Plan, Role, Route, Segment, Translator, Way, Workload

_HOSTS = {"h1": 1, "h2": 2}
_OUTSIDE: dict[Family, str] = {4: "203.0.113.2", 6: "2001:db8:113::2"}

_TRANSLATOR = Translator(
    "eth0",
    (
        "oifname eth0 ip daddr 203.0.113.0/24 masquerade",
        "oifname eth0 ip6 daddr 2001:db8:113::/64 masquerade",
    ),
)

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
    routes = {Place(name): _routes(host) for name, host in _HOSTS.items()}
    routes |= {one.place: tuple(Route("default", way) for way in _gateway(_HOSTS[one.node]).values()) for one in workloads}
    return Plan(
        "two-hosts",
        tuple(nodes),
        tuple(cables),
        (*workloads, outside),
        tuple(segments),
        tuple(ways),
        _PICTURE.format(h1="10.10.1.0/24 ", h2="10.10.2.0/24 "),
        routes,
        dict.fromkeys(_HOSTS, _TRANSLATOR),
    )


def _host(host: int, workloads: list[Workload]) -> list[str]:
    gateway = _gateway(host)
    lines = [*QUIET, FORWARD, *bridge("br0")]
    lines += addresses("br0", {family: f"{address}/{24 if family == 4 else 64}" for family, address in gateway.items()})
    lines += addresses("eth0", {4: f"192.168.77.{host}/24", 6: f"fd77::{host}/64"})
    lines += addresses("eth0", {4: f"203.0.113.{10 + host}/24", 6: f"2001:db8:113::{10 + host}/64"})
    lines += [
        f"ethtool -K eth0 {OFFLOADS} >/dev/null",
        *(route.command for route in _routes(host)),
        *translating(_TRANSLATOR),
    ]
    for one in workloads:
        if _HOSTS[one.node] == host:
            given = {family: f"{address}/{24 if family == 4 else 64}" for family, address in one.address.items()}
            lines += [*workload(one.name, given, gateway), f"ip link set {one.name} master br0"]
    return lines


def _gateway(host: int) -> dict[Family, str]:
    return {4: f"10.10.{host}.254", 6: f"fd10:{host}::fe"}


def _routes(host: int) -> tuple[Route, ...]:
    other = 3 - host
    return (Route(f"10.10.{other}.0/24", f"192.168.77.{other}"), Route(f"fd10:{other}::/64", f"fd77::{other}"))


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
