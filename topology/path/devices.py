"""What the graph says of interfaces and namespaces, as typed values. Pure.

Keys are Skydive's. What a walk needs and an element says in another shape than ours (of a file, of a rule) is passed over.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

Prefix: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

_REMEMBERED = 1 << 16

BROADCAST = "ff:ff:ff:ff:ff:ff"

_KEYS = {
    "ip": "IP",
    "mac": "MAC",
    "mtu": "MTU",
    "id": "ID",
    "vni": "VNI",
    "vrf": "VRF",
    "vxlan": "VXLAN",
    "pvid": "PVID",
    "fdb": "FDB",
    "ipv4": "IPV4",
    "ipv6": "IPV6",
    "if_index": "IfIndex",
    "link_netns_id": "LinkNetNsID",
    "link_netns_name": "LinkNetNsName",
    "ikey": "IKey",
    "okey": "OKey",
    "udp_encap": "UDPEncap",
    "ipvlan_mode": "IPVlanMode",
    "rp_filter": "RPFilter",
    "encap_type": "EncapType",
}


def _key(name: str) -> str:
    return _KEYS.get(name) or "".join(word.capitalize() for word in name.split("_"))


class _Read(msgspec.Struct, frozen=True, gc=False, rename=_key):
    pass


class NextHop(_Read, frozen=True, gc=False):
    """Where a route leads: a gateway, or none on a network of the interface's own."""

    ip: str = ""
    if_index: int = 0
    priority: int = 0
    weight: int = 1


class Route(_Read, frozen=True, gc=False):
    """Routes to one prefix. ``type`` is said of those that are not unicast."""

    prefix: str
    type: str = ""
    next_hops: tuple[NextHop, ...] = ()


class Table(_Read, frozen=True, gc=False):
    """A routing table's routes through one interface; ``src`` is the address that packets of our own leave with."""

    id: int
    src: str = ""
    routes: tuple[Route, ...] = ()


class Entry(_Read, frozen=True, gc=False):
    """A neighbour, or a forwarding entry."""

    mac: str = ""
    ip: str = ""
    state: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    vlan: int = 0
    vni: int | None = None


class Vlans(_Read, frozen=True, gc=False):
    """VLANs that a bridge port, or the bridge itself, takes part in: one, or those up to ``end``."""

    id: int
    end: int = 0
    pvid: bool = False
    untagged: bool = False


class Bridge(_Read, frozen=True, gc=False):
    """A bridge's own data."""

    vlan_filtering: bool = False


class BridgePort(_Read, frozen=True, gc=False):
    """A bridge port's data."""

    state: str = "forwarding"
    hairpin: bool = False
    unicast_flood: bool = True
    broadcast_flood: bool = True
    isolated: bool = False


class Tunnel(_Read, frozen=True, gc=False):
    """Data of a VXLAN, Geneve or IP tunnel device."""

    id: int | None = None
    local: str = ""
    remote: str = ""
    group: str = ""
    link: int = 0
    port: int = 0
    ikey: int | None = None
    okey: int | None = None
    o_flags: tuple[str, ...] = ()
    encap_limit: int | None = None
    collect_metadata: bool = False
    udp_encap: str = ""
    in_of_rules: bool = False  # Open vSwitch: rules of OpenFlow take any number
    out_of_rules: bool = False  # … and give each packet its own


class Bond(_Read, frozen=True, gc=False):
    """A bond's data."""

    active_slave: int = 0


class BondSlave(_Read, frozen=True, gc=False):
    """A bond member's data."""

    state: str = "ACTIVE"
    mii_status: str = "UP"


class Vrf(_Read, frozen=True, gc=False):
    """A VRF's data."""

    table: int = 0


class NetConf(_Read, frozen=True, gc=False):
    """What a namespace's sysctls make of packets that come in by an interface."""

    forwarding: bool = True
    rp_filter: str = ""
    proxy_neigh: bool = False


class NetConfs(_Read, frozen=True, gc=False):
    """For both families."""

    ipv4: NetConf = msgspec.field(default=NetConf(), name="IPv4")
    ipv6: NetConf = msgspec.field(default=NetConf(), name="IPv6")

    def of(self, address: Address) -> NetConf:
        """That of an address's family."""
        return self.ipv4 if address.version == 4 else self.ipv6


class Data(_Read, frozen=True, gc=False):
    """An interface's keys that a path depends on."""

    name: str
    type: str
    if_index: int
    of_port: int = 0
    mac: str = ""
    mtu: int = 0
    state: str = ""
    group: int = 0
    encap_type: str = ""
    link_flags: tuple[str, ...] | None = None
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    master_index: int = 0
    link_netns_id: int | None = None
    link_netns_name: str = ""
    vlan: int = 0
    macvlan_mode: str = ""
    ipvlan_mode: str = ""
    bond_mode: str = ""
    bond: Bond = Bond()
    bond_slave: BondSlave = BondSlave()
    bridge: Bridge = Bridge()
    bridge_port: BridgePort = BridgePort()
    bridge_vlans: tuple[Vlans, ...] = ()
    vrf: Vrf = Vrf()
    vxlan: Tunnel | None = None
    geneve: Tunnel | None = None
    tunnel: Tunnel | None = None
    routing_tables: tuple[Table, ...] = ()
    routes_left_out: int = 0
    neighbors: tuple[Entry, ...] = ()
    fdb: tuple[Entry, ...] = ()
    net_conf: NetConfs = NetConfs()

    @property
    def tunnel_data(self) -> Tunnel | None:
        """Of whichever kind of tunnel it is the end."""
        return self.vxlan or self.geneve or self.tunnel


class Rule(_Read, frozen=True, gc=False):
    """A rule of policy routing."""

    family: int
    priority: int = 0
    action: str = "lookup"
    table: int = 0
    src: str = ""
    dst: str = ""
    inverted: bool = False
    iif: str = ""
    oif: str = ""
    fwmark: int = 0
    fwmask: int = 0
    tos: int = 0
    goto: int = 0
    suppress_prefixlength: int | None = None
    suppress_ifgroup: int | None = None
    l3mdev: bool = False
    uids: tuple[int, ...] = ()
    ip_protocol: int = 0
    sports: tuple[int, ...] = ()
    dports: tuple[int, ...] = ()


class Owner(_Read, frozen=True, gc=False):
    """What a host's or a namespace's node says. Its tables are the routes that lead through no interface."""

    name: str
    type: str
    rules: tuple[Rule, ...] = ()
    routing_tables: tuple[Table, ...] = ()
    routes_left_out: int = 0


@dataclass(slots=True, eq=False)
class Namespace:
    """A network namespace, or the host's own.

    Attributes:
        id: of its node.
        tid: of its node.
        host: Name of the host.
        owner: what its node says.
        devices: by ifindex.
    """

    id: str
    tid: str
    host: str
    owner: Owner
    devices: dict[int, Device] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Empty for the host's own."""
        return "" if self.owner.type == "host" else self.owner.name

    def __str__(self) -> str:
        return f"{self.name} on {self.host}" if self.name else self.host

    def holds(self, address: Address) -> bool:
        """Whether one of its interfaces has the address."""
        return any(address in device.addresses for device in self.devices.values())


@dataclass(slots=True, eq=False)
class Device:
    """An interface.

    Attributes:
        id: of its node.
        tid: of its node.
        namespace: that it is in.
        data: what its node says.
        addresses: that it has, and the length of their prefixes.
    """

    id: str
    tid: str
    namespace: Namespace
    data: Data
    addresses: dict[Address, int]

    @property
    def name(self) -> str:
        """Its name."""
        return self.data.name

    @property
    def master(self) -> Device | None:
        """The bridge, bond … that it is a port of."""
        return self.namespace.devices.get(self.data.master_index) if self.data.master_index else None

    @property
    def ports(self) -> Iterator[Device]:
        """Those whose master it is."""
        index = self.data.if_index
        return (one for one in self.namespace.devices.values() if one.data.master_index == index)

    @property
    def failure(self) -> str:
        """Why it carries no packets; empty: it does, as far as the graph tells."""
        flags = self.data.link_flags
        if flags is None:
            return "is down" if self.data.state == "DOWN" else ""
        if "UP" not in flags:
            return "is down"
        return "has no carrier" if "NO-CARRIER" in flags and "LOWER_UP" not in flags else ""

    @property
    def tunnel(self) -> Tunnel | None:
        """Its data, if it is the end of a tunnel."""
        return self.data.tunnel_data

    def __str__(self) -> str:
        return f"{self.name} in {self.namespace}"


def parse_addresses(cidrs: tuple[str, ...]) -> Iterator[tuple[Address, int]]:
    """Addresses and their prefixes' lengths; what is none is passed over."""
    return (found for cidr in cidrs if (found := _cidr(cidr)) is not None)


@functools.lru_cache(_REMEMBERED)
def _cidr(cidr: str) -> tuple[Address, int] | None:
    text, _, length = cidr.partition("/")
    address = parse_address(text)
    if address is None:
        return None
    known = length.isascii() and length.isdecimal() and len(length) < 4
    return address, min(int(length), address.max_prefixlen) if known else address.max_prefixlen


@functools.lru_cache(_REMEMBERED)
def parse_address(text: str) -> Address | None:
    """An address; None for none."""
    try:
        return ipaddress.ip_address(text) if text else None
    except ValueError:
        return None


@functools.lru_cache(_REMEMBERED)
def parse_network(cidr: str) -> Prefix | None:
    """The network that an address with a prefix length is in; None: it is none."""
    try:
        return ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return None
