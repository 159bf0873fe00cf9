"""From tshark's dissection to the flows that ought to be there: keys, identities and counts of Skydive's Flow JSON.

Nothing here reads what the product says: addresses, ports, numbers and places come from tshark, tracking IDs from
:mod:`support.identity`. What is ours is the grouping: which packets make one flow (design §4.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support import identity
from support.cases.base import Case
from support.dissect import Dissected, Layer
from support.identity import GRE, ICMP, ICMP6, SCTP, TCP, UDP

VLANS = 4
_RARP = 0x8035
_ON_LINK = ("arp", "eapol", "lldp", "llc", "pppoes")
TUNNELS = {"vxlan": "vxlan.vni", "geneve": "geneve.vni"}
_TAGS = {
    "vlan": (("vlan.id",), "vlan.etype"),
    "ieee8021ad": (("ieee8021ad.id", "ieee8021ad.svid", "ieee8021ad.cvid"), "ieee8021ah.etype"),  # two tags are one layer
}
_NOT_ETHERNET = {"sll": "sll.etype", "null": "", "user_dlt": ""}
_EXTENSIONS = {
    "ipv6.hopopts": "ipv6.hopopts.nxt",
    "ipv6.routing": "ipv6.routing.nxt",
    "ipv6.dstopts": "ipv6.dstopts.nxt",
    "ipv6.fraghdr": "ipv6.fraghdr.nxt",
    "ah": "ah.next_header",
    "shim6": "shim6.nxt",
}
_PORTS = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
# Community ID's pairs: https://github.com/corelight/community-id-spec
_PAIRS = {
    ICMP: ((8, 0), (10, 9), (13, 14), (15, 16), (17, 18)),
    ICMP6: ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)),
}
_ECHO = {ICMP: 8, ICMP6: 128}
_ERRORS = {ICMP: {3, 4, 5, 11, 12}, ICMP6: {1, 2, 3, 4}}


def counterpart(proto: int, kind: int) -> tuple[int, int] | None:
    """Counterpart of an ICMP type, and 1 if this one asks, 2 if it answers; None: it has none."""
    for ask, answer in _PAIRS[proto]:
        if kind in (ask, answer):
            return (answer, 1) if kind == ask else (ask, 2)
    return None


@dataclass
class Part:
    """One packet's share in one flow."""

    start: int
    end: int
    path: list[str] = field(default_factory=list)  # tshark's names
    mac: tuple[str, str] | None = None
    vlans: list[int] = field(default_factory=list)
    ethertype: int = 0
    label: int = 0
    family: int = 0  # 4, 6; 0: no network layer
    source: str = ""
    destination: str = ""
    proto: int = 0
    ttl: int = 0
    dscp: int = 0
    fragment: str = ""  # "", "first", "later"
    fragment_id: tuple[Any, ...] = ()
    kind: str = "plain"  # plain, fragment, tunnel, key, pair, echo, one-way
    ports: tuple[int, int] | None = None
    number: int = 0
    code: int = 0
    flags: set[str] = field(default_factory=set)
    asks: int = 0
    quoted: str = ""


class _Reader:
    """The flows of one packet, outermost first."""

    def __init__(self, packet: Dissected, case: Case) -> None:
        self.layers, self.end, self.case = list(packet.layers), packet.length, case
        self.parts: list[Part] = []

    def next(self, *names: str) -> Layer | None:
        """Take the next layer if it has one of these names and the program is to look into it."""
        if self.layers and self.layers[0].name in names and self.layers[0].name not in self.case.unread:
            return self.layers.pop(0)
        return None

    def peek(self) -> str:
        """Name of the next layer, if the program is to look into it."""
        return self.layers[0].name if self.layers and self.layers[0].name not in self.case.unread else ""

    def read(self) -> list[Part]:
        """All flows."""
        more = True
        while more and len(self.parts) < self.case.flows:
            more = self._one()
        return self.parts

    def _one(self) -> bool:
        first = not self.parts
        part = Part(0 if first or not self.layers else self.layers[0].pos, self.end)
        deep = self._link(part)
        network = None if not deep else self.next("ip", "ipv6") if self._is_network() else None
        if network:
            self.parts.append(part)
            self._network(network, part)
            self._transport(part)
            return self._tunnel(part)
        if part.mac or first:
            self.parts.append(part)
            if deep and self._labels(part):
                return bool(self.layers)
            part.path += [layer.name for layer in self.layers[:1] if layer.name in _ON_LINK and part.ethertype != _RARP]
            if arp := self.next("arp"):
                part.asks = {1: 1, 2: 2}.get(arp.number("arp.opcode"), 0)
        return False

    def _is_network(self) -> bool:
        """Whether tshark got as far as an address: not so where the header lies."""
        return bool({"ip.src", "ipv6.src"} & self.layers[0].fields.keys()) if self.peek() in ("ip", "ipv6") else False

    def _link(self, part: Part) -> bool:
        """Link header and tags; False: the program goes no deeper."""
        link = self.next("eth", *_NOT_ETHERNET)
        if link is None:
            return True
        if link.name == "eth":
            part.path.append("eth")
            part.mac = (link.fields["eth.src"], link.fields["eth.dst"])
            if "eth.type" not in link.fields:
                part.path += ["llc"] if self.peek() != "llc" else []
                return False
            part.ethertype = link.number("eth.type")
        elif _NOT_ETHERNET[link.name]:
            part.ethertype = link.number(_NOT_ETHERNET[link.name])
        while len(part.vlans) < VLANS and (tag := self.next(*_TAGS)):
            numbers, kind = _TAGS[tag.name]
            found = [tag.number(name) for name in numbers if name in tag.fields]
            part.path += ["vlan"] * len(found)
            part.vlans += found
            if kind not in tag.fields:
                part.ethertype = 0
                return False
            part.ethertype = tag.number(kind)
        return not self.next(*_TAGS)

    def _labels(self, part: Part) -> bool:
        found = False
        while label := self.next("mpls"):
            found, part.label = True, label.number("mpls.label")
        part.path += ["mpls"] if found else []
        return found

    def _network(self, layer: Layer, part: Part) -> None:
        part.path.append(layer.name)
        if layer.name == "ip":
            part.family, part.proto = 4, layer.number("ip.proto")
            # with a source route, tshark's ip.dst is the end of the route, and this the header's destination
            part.source, part.destination = layer.fields["ip.src"], layer.fields.get("ip.cur_rt", layer.fields["ip.dst"])
            part.ttl, part.dscp = layer.number("ip.ttl"), layer.number("ip.dsfield") >> 2
            offset, more = layer.number("ip.frag_offset"), layer.fields["ip.flags.mf"] in ("1", "True")
            part.fragment_id = (part.source, part.destination, part.proto, layer.fields["ip.id"])
            self.end = min(self.end, layer.pos + layer.number("ip.len"))
        else:
            part.family, part.proto = 6, layer.number("ipv6.nxt")
            part.source, part.destination = layer.fields["ipv6.src"], layer.fields["ipv6.dst"]
            part.ttl, part.dscp = layer.number("ipv6.hlim"), layer.number("ipv6.tclass") >> 2
            offset, more = 0, False
            if layer.number("ipv6.plen"):
                self.end = min(self.end, layer.pos + 40 + layer.number("ipv6.plen"))
        while extension := self.next(*_EXTENSIONS):
            part.path.append(extension.name)
            part.proto = extension.number(_EXTENSIONS[extension.name])
            if extension.name == "ipv6.fraghdr":
                offset, more = extension.number("ipv6.fraghdr.offset"), extension.fields["ipv6.fraghdr.more"] in ("1", "True")
                part.fragment_id = (part.source, part.destination, extension.fields["ipv6.fraghdr.ident"])
        part.fragment = "later" if offset else "first" if more else ""

    def _transport(self, part: Part) -> None:
        if part.fragment == "later":
            part.kind = "fragment"
            return
        name = _PORTS.get(part.proto, "")
        layer = self.next("icmp") if part.proto == ICMP and part.family == 4 else None
        layer = self.next("icmpv6") if part.proto == ICMP6 and part.family == 6 else layer
        if layer:
            self._icmp(layer, part)
        elif name and (layer := self.next(name)):
            part.path.append(name)
            part.ports = (layer.number(f"{name}.srcport"), layer.number(f"{name}.dstport"))
            if name == "tcp":
                part.flags = _flags(int(layer.fields.get("tcp.flags", "0"), 0))  # none in a quoted, cut packet
                part.asks = 0 if "SYN" not in part.flags else 2 if "ACK" in part.flags else 1
        elif part.proto == GRE and (layer := self.next("gre")):
            part.path.append("gre")
            if "gre.key" in layer.fields:
                part.kind, part.number = "key", layer.number("gre.key")
        elif self.peek() not in ("ip", "ipv6", "mpls"):
            part.path += [layer.name for layer in self.layers[:1]]

    @staticmethod
    def _icmp(layer: Layer, part: Part) -> None:
        name, proto = layer.name, part.proto
        kind = layer.number(f"{name}.type")
        part.path.append(name)
        part.code, pair = layer.number(f"{name}.code"), counterpart(proto, kind)
        if pair is None:
            part.kind, part.ports = "one-way", (kind, part.code)
            if kind in _ERRORS[proto]:
                part.quoted = _quoted_id(layer.quoted)
            return
        part.kind, part.ports, part.asks = "pair", (kind, pair[0]), pair[1]
        if "icmp.ident" in layer.fields:  # time stamp, information, address mask
            part.number = layer.number("icmp.ident")
        if _ECHO[proto] in (kind, pair[0]):
            part.kind = "echo"
            part.number = layer.number("icmp.ident" if proto == ICMP else "icmpv6.echo.identifier")

    def _tunnel(self, part: Part) -> bool:
        """Whether there is another flow inside."""
        outer = self.next(*TUNNELS) if part.proto == UDP and part.fragment != "later" else None
        if outer:
            assert part.ports
            part.path.append(outer.name)
            part.kind, part.ports, part.number = "tunnel", (0, part.ports[1]), outer.number(TUNNELS[outer.name])
        if self.next("erspan"):
            part.path.append("erspan")
        self._labels(part)
        part.label = 0
        return self.peek() in ("eth", "ip", "ipv6") and part.fragment != "later"


def _flags(bits: int) -> set[str]:
    return {name for bit, name in enumerate(("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")) if bits >> bit & 1}


def _quoted_id(layers: list[Layer]) -> str:
    """Tracking ID of the packet in an ICMP error; empty where there is too little of it."""
    if not layers:
        return ""
    found = _Reader(Dissected(1 << 16, 0, layers), Case("quoted", (), flows=1)).read()
    return tracking_id(found[0]) if found and found[0].family else ""


def parts_of(packet: Dissected, case: Case) -> list[Part]:
    """The flows that one packet is in, outermost first."""
    return _Reader(packet, case).read()


def tracking_id(part: Part) -> str:
    """By design §4.1."""
    if not part.family:
        source, destination = part.mac or ("00:00:00:00:00:00",) * 2
        return identity.link_id(source, destination, part.ethertype)
    ends = part.source, part.destination
    if part.kind == "tunnel":
        assert part.ports
        return identity.tunnel_id(*ends, part.ports[1], part.number)
    if part.kind == "key":
        return identity.gre_key_id(*ends, part.number)
    if part.kind == "echo":
        assert part.ports
        return identity.echo_id(part.proto, *ends, part.asks == 1, part.number)
    return identity.plain_id(part.proto, *ends, _public_ports(part))


def community_id(part: Part) -> str | None:
    """Community ID where it is defined."""
    if not part.family or part.kind == "tunnel":
        return None
    return identity.community_id(part.proto, part.source, part.destination, _public_ports(part))


def _public_ports(part: Part) -> tuple[int, int] | None:
    if part.ports and part.kind in ("pair", "echo"):
        return (part.ports[0], part.code)
    return part.ports
