"""A fabric: two racks of hosts, routers between them, two tenants over VXLAN, a gateway that translates to the outside.

The tenant *red* runs in VXLAN over IPv4, *blue* over IPv6. On each host Open vSwitch keeps the tenants apart by VLANs; each
VLAN leads to a bridge of the kernel's with the tenant's tunnel. Two cables join each leaf to the spine: what goes up takes the
first, what comes down the second, so that ways there and back differ.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

from skytrail.lab.pieces import FORWARD, OFFLOADS, QUIET, addresses, bridge, translating, workload
from skytrail.lab.plan import (
    Acts,
    Cable,
    End,
    Family,
    Hop,
    Node,
    Place,
    Plan,
    Role,
    Route,
    Segment,
    Translator,
    Tunnel,
    Way,
    Workload,
)

UNDERLAY_MTU = 1600  # 1500 and the headers of VXLAN over IPv6

_OUTSIDE: dict[Family, str] = {4: "203.0.113.2", 6: "2001:db8:113::2"}


class _Machine(NamedTuple):
    """What stands in a rack: number of its rack, of its port at the leaf, and of its workloads (0: none)."""

    name: str
    rack: int
    port: int
    number: int

    def address(self, family: Family) -> str:
        """Of its end of the cable to the leaf."""
        return f"10.{self.rack}.{self.port}.2" if family == 4 else f"fd00:{self.rack}:{self.port}::2"

    def leaf(self, family: Family) -> str:
        """Of the leaf's end."""
        return f"10.{self.rack}.{self.port}.1" if family == 4 else f"fd00:{self.rack}:{self.port}::1"


_MACHINES = (_Machine("h1", 1, 1, 1), _Machine("h2", 1, 2, 2), _Machine("h3", 2, 1, 3), _Machine("gw", 2, 2, 0))
_RACKS = (1, 2)
_BY_NAME = {machine.name: machine for machine in _MACHINES}

_ROUTES: dict[Place, tuple[Route, ...]] = {
    **{Place(one.name): (Route("10.0.0.0/8", one.leaf(4)), Route("fd00::/16", one.leaf(6))) for one in _MACHINES},
    **{
        Place(f"leaf{rack}"): (Route("10.0.0.0/8", f"10.9.{rack}1.1"), Route("fd00::/16", f"fd00:9:{rack}1::1"))
        for rack in _RACKS
    },
    Place("spine"): tuple(
        route
        for rack in _RACKS
        for route in (Route(f"10.{rack}.0.0/16", f"10.9.{rack}2.2"), Route(f"fd00:{rack}::/32", f"fd00:9:{rack}2::2"))
    ),
}
_ONE_WAY = frozenset(one for rack in _RACKS for one in ((Place(f"leaf{rack}"), "up2"), (Place("spine"), f"down{rack}1")))
_TRANSLATOR = Translator("eth1", ("oifname eth1 masquerade",))

SEGMENTS = (
    Segment("red", {4: "172.16.10.0/24", 6: "fdaa:10::/64"}, vni=10, carrier=4),
    Segment("blue", {4: "172.16.20.0/24", 6: "fdaa:20::/64"}, vni=20, carrier=6),
)
_SEGMENT = {segment.name: segment for segment in SEGMENTS}

_PICTURE = """\
                              ┌───────┐
                              │ spine │
                              └┬┬───┬┬┘
                   up1, up2 ┌──┘│   │└──┐ up1, up2
                         ┌──┴───┴┐ ┌┴───┴──┐
                         │ leaf1 │ │ leaf2 │
                         └┬─────┬┘ └┬─────┬┘
                ┌─────────┘     │   │     └─────────┐
             h1 │            h2 │   │ h3            │ gw: router, NAT
         ┌──────┴─────┐ ┌───────┴┐ ┌┴───────┐ ┌─────┴─────┐
   red   │ red1       │ │ red2   │ │ red3   │ │ 172.16.10.254   VXLAN 10 over IPv4
   blue  │ blue1      │ │ blue2  │ │ blue3  │ │ 172.16.20.254   VXLAN 20 over IPv6
         └────────────┘ └────────┘ └────────┘ └─────┬─────┘
                                                 outside  203.0.113.2
   on each host: workload ─ br-int (Open vSwitch, VLAN) ─ t10|p10 ─ br10 ─ vxlan10 ─ eth0
"""


def fabric() -> Plan:
    """The plan."""
    workloads = [
        Workload(
            f"{segment.name}{machine.number}",
            machine.name,
            f"{segment.name}{machine.number}",
            {family: _inside(segment, family, str(machine.number)) for family in segment.prefix},
            segment.name,
        )
        for machine in _MACHINES
        if machine.number
        for segment in SEGMENTS
    ]
    outside = Workload("outside", "outside", "", _OUTSIDE, "outside")
    nodes = [
        *(_host(machine, workloads) for machine in _MACHINES if machine.number),
        _gateway(_BY_NAME["gw"]),
        *(Node(f"leaf{rack}", Role.ROUTER, tuple(_leaf(rack)), position="a router of hosts") for rack in _RACKS),
        Node("spine", Role.ROUTER, tuple(_spine()), position="a router of leaves"),
        Node("outside", Role.OUTSIDE, (*QUIET, *_addresses("eth0", _OUTSIDE, 24)), agent=False),
    ]
    cables = [
        *(Cable(End(one.name, "eth0"), End(f"leaf{one.rack}", f"swp{one.port}"), UNDERLAY_MTU) for one in _MACHINES),
        *(Cable(End(f"leaf{rack}", f"up{n}"), End("spine", f"down{rack}{n}"), UNDERLAY_MTU) for rack in _RACKS for n in (1, 2)),
        Cable(End("gw", "eth1"), End("outside", "eth0")),
    ]
    ways = [
        _way(source, destination)
        for source, destination in permutations([*workloads, outside], 2)
        if source.node != destination.node and (source.segment == destination.segment or outside in (source, destination))
    ]
    tools = {"ovs-vswitchd": "openvswitch-switch", "ovs-vsctl": "openvswitch-switch"}
    return Plan(
        "fabric",
        tuple(nodes),
        tuple(cables),
        (*workloads, outside),
        SEGMENTS,
        tuple(ways),
        _PICTURE,
        _ROUTES,
        {"gw": _TRANSLATOR},
        _ONE_WAY,
        tools,
    )


def _inside(segment: Segment, family: Family, last: str) -> str:
    """An address of a segment."""
    net = segment.prefix[family].partition("/")[0]
    return net.removesuffix("0") + last if family == 4 else net + last


def _gateway_of(segment: Segment) -> dict[Family, str]:
    return {family: _inside(segment, family, "254" if family == 4 else "fe") for family in segment.prefix}


def _addresses(interface: str, given: dict[Family, str], length: int) -> list[str]:
    """Lines for an interface of a cable: ``length`` is IPv4's; IPv6 has 64."""
    full: dict[Family, str] = {family: f"{address}/{length if family == 4 else 64}" for family, address in given.items()}
    return [*addresses(interface, full), f"ethtool -K {interface} {OFFLOADS} >/dev/null"]


def tunnel(machine: str, segment: str, vni: int) -> list[str]:
    """Lines that make a segment's tunnel on a machine: to all others, which are learnt from what they send."""
    own, of = _BY_NAME[machine], _SEGMENT[segment]
    name = f"vxlan{of.vni}"
    lines = [f"ip link add {name} mtu 1500 type vxlan id {vni} local {own.address(of.carrier)} dstport 4789 ttl 64"]
    lines += [
        f"bridge fdb append 00:00:00:00:00:00 dev {name} dst {other.address(of.carrier)}" for other in _MACHINES if other != own
    ]
    return [*lines, f"ethtool -K {name} {OFFLOADS} >/dev/null", f"ip link set {name} master br{of.vni} up"]


def _uplink(machine: _Machine) -> list[str]:
    """Lines for the cable to the leaf, and the tunnels."""
    lines = _addresses("eth0", {4: machine.address(4), 6: machine.address(6)}, 24)
    lines += [route.command for route in _ROUTES[Place(machine.name)]]
    for segment in SEGMENTS:
        lines += [*bridge(f"br{segment.vni}"), *tunnel(machine.name, segment.name, segment.vni)]
    return lines


def _host(machine: _Machine, workloads: list[Workload]) -> Node:
    lines = [*QUIET, *_uplink(machine), "ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev"]
    for segment in SEGMENTS:
        vlan = segment.vni
        lines += [
            f"ip link add t{vlan} type veth peer name p{vlan}",
            f"ethtool -K t{vlan} {OFFLOADS} >/dev/null",
            f"ethtool -K p{vlan} {OFFLOADS} >/dev/null",
            f"ip link set t{vlan} up",
            f"ip link set p{vlan} master br{vlan} up",
            f"ovs-vsctl add-port br-int t{vlan} tag={vlan}",
        ]
    for one in workloads:
        if one.node == machine.name:
            segment = _SEGMENT[one.segment]
            given = {family: f"{address}/{24 if family == 4 else 64}" for family, address in one.address.items()}
            lines += workload(one.name, given, _gateway_of(segment))
            lines.append(f"ovs-vsctl add-port br-int {one.name} tag={segment.vni}")
    return Node(machine.name, Role.HOST, tuple(lines), switch=True, position=f"a host in rack {machine.rack}")


def _gateway(machine: _Machine) -> Node:
    lines = [*QUIET, FORWARD, *_uplink(machine)]
    for segment in SEGMENTS:
        given = {family: f"{address}/{24 if family == 4 else 64}" for family, address in _gateway_of(segment).items()}
        lines.append(f"ip link set br{segment.vni} address 02:00:00:00:{segment.vni:02x}:fe")  # whatever ports it has
        lines += addresses(f"br{segment.vni}", given)
    lines += _addresses("eth1", {4: "203.0.113.1", 6: "2001:db8:113::1"}, 24)
    lines += translating(_TRANSLATOR)
    return Node(machine.name, Role.GATEWAY, tuple(lines), position=f"the gateway, in rack {machine.rack}")


def _leaf(rack: int) -> list[str]:
    lines = [*QUIET, FORWARD]
    for machine in _MACHINES:
        if machine.rack == rack:
            lines += _addresses(f"swp{machine.port}", {4: machine.leaf(4), 6: machine.leaf(6)}, 24)
    for n in (1, 2):
        lines += _addresses(f"up{n}", {4: f"10.9.{rack}{n}.2", 6: f"fd00:9:{rack}{n}::2"}, 24)
    return [*lines, *(route.command for route in _ROUTES[Place(f"leaf{rack}")])]


def _spine() -> list[str]:
    lines = [*QUIET, FORWARD]
    for rack in _RACKS:
        for n in (1, 2):
            lines += _addresses(f"down{rack}{n}", {4: f"10.9.{rack}{n}.1", 6: f"fd00:9:{rack}{n}::1"}, 24)
    return [*lines, *(route.command for route in _ROUTES[Place("spine")])]


def _way(source: Workload, destination: Workload) -> Way:
    """By the segment of the one that has a tunnel; to and from the outside over the gateway."""
    segment = _SEGMENT[(source if source.netns else destination).segment]
    first, last = _BY_NAME.get(source.node, _BY_NAME["gw"]), _BY_NAME.get(destination.node, _BY_NAME["gw"])
    hops = [Hop(source.place, Acts.END, "", "eth0"), *_begin(source, segment)]
    hops += _underlay(first, last)
    hops += [*_arrive(destination, segment), Hop(destination.place, Acts.END, "eth0", "")]
    tunnelled = Tunnel(segment.carrier, first.address(segment.carrier), last.address(segment.carrier), segment.vni)
    return Way(source, destination, tuple(hops), tunnelled, translated=not (source.netns and destination.netns))


def _begin(source: Workload, segment: Segment) -> list[Hop]:
    vni = segment.vni
    if not source.netns:
        gateway = Place("gw")
        return [Hop(gateway, Acts.ROUTE, "eth1", f"br{vni}"), Hop(gateway, Acts.TUNNEL, f"vxlan{vni}", "eth0", outer=True)]
    node = Place(source.node)
    return [
        Hop(node, Acts.SWITCH, source.name, f"t{vni}"),
        Hop(node, Acts.BRIDGE, f"p{vni}", f"vxlan{vni}"),
        Hop(node, Acts.TUNNEL, f"vxlan{vni}", "eth0", outer=True),
    ]


def _underlay(first: _Machine, last: _Machine) -> list[Hop]:
    leaf = Place(f"leaf{first.rack}")
    if first.rack == last.rack:
        return [Hop(leaf, Acts.ROUTE, f"swp{first.port}", f"swp{last.port}", outer=True)]
    return [
        Hop(leaf, Acts.ROUTE, f"swp{first.port}", "up1", outer=True),
        Hop(Place("spine"), Acts.ROUTE, f"down{first.rack}1", f"down{last.rack}2", outer=True),
        Hop(Place(f"leaf{last.rack}"), Acts.ROUTE, "up2", f"swp{last.port}", outer=True),
    ]


def _arrive(destination: Workload, segment: Segment) -> list[Hop]:
    vni = segment.vni
    if not destination.netns:
        gateway = Place("gw")
        return [Hop(gateway, Acts.TUNNEL, "eth0", f"vxlan{vni}", outer=True), Hop(gateway, Acts.ROUTE, f"br{vni}", "eth1")]
    node = Place(destination.node)
    return [
        Hop(node, Acts.TUNNEL, "eth0", f"vxlan{vni}", outer=True),
        Hop(node, Acts.BRIDGE, f"vxlan{vni}", f"p{vni}"),
        Hop(node, Acts.SWITCH, f"t{vni}", destination.name),
    ]
