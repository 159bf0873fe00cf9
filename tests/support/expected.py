"""The Flow JSON that a case's packets ought to make, from the oracle's parts of each packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from support.cases.base import Case
from support.dissect import Dissected
from support.identity import ICMP, ICMP6, TCP
from support.oracle import Part, community_id, parts_of, tracking_id

_MS = 1_000_000
_TRANSPORTS = {6: "TCP", 17: "UDP", 132: "SCTP"}
# gopacket's words, which Skydive shows
_WORDS = {
    "eth": "Ethernet", "vlan": "Dot1Q", "llc": "LLC", "arp": "ARP", "lldp": "LinkLayerDiscovery", "eapol": "EAPOL",
    "pppoes": "PPPoE", "mpls": "MPLS", "ip": "IPv4", "ipv6": "IPv6", "tcp": "TCP", "udp": "UDP", "sctp": "SCTP",
    "icmp": "ICMPv4",
    "icmpv6": "ICMPv6", "gre": "GRE", "esp": "IPSecESP", "ah": "IPSecAH", "igmp": "IGMP", "ospf": "OSPF", "vrrp": "VRRP",
    "vxlan": "VXLAN", "geneve": "Geneve", "erspan": "ERSPANII", "ipv6.hopopts": "IPv6HopByHop", "ipv6.routing": "IPv6Routing",
    "ipv6.dstopts": "IPv6Destination", "ipv6.fraghdr": "IPv6Fragment", "shim6": "IPv6Extension",
}  # fmt: skip
_ORDER = ("IPv6HopByHop", "IPv6Destination", "IPv6Routing", "IPv6Fragment", "IPSecAH", "IPv6Extension")
_ICMP6_LAYERS = {128: "ICMPv6Echo", 129: "ICMPv6Echo", 133: "ICMPv6RouterSolicitation", 134: "ICMPv6RouterAdvertisement",
                 135: "ICMPv6NeighborSolicitation", 136: "ICMPv6NeighborAdvertisement", 137: "ICMPv6Redirect"}  # fmt: skip

JUDGED = (
    "LayersPath", "TrackingID", "L3TrackingID", "CommunityID", "QuotedTrackingID", "Initiator", "Link", "MPLSLabel", "Network",
    "Transport", "ICMP", "IPMetric", "Fragment", "Start", "Last",
)  # fmt: skip
"""Keys of the Flow JSON that are compared as they are; beside them the counts, the flags and the parent."""


@dataclass
class _Side:
    packets: int = 0
    bytes: int = 0
    ttl: int = 0
    dscp: int = 0
    flags: set[str] = field(default_factory=set)


@dataclass
class _Flow:
    first: Part
    parent: _Flow | None
    start: int
    last: int = 0
    ab: _Side = field(default_factory=_Side)
    ba: _Side = field(default_factory=_Side)
    fragments: int = 0
    initiator: str = ""

    def add(self, part: Part, time_ns: int, forward: bool) -> None:
        side = self.ab if forward else self.ba
        side.packets += 1
        side.bytes += part.end - part.start
        side.ttl, side.dscp = part.ttl, part.dscp
        side.flags |= part.flags
        self.last = time_ns
        self.fragments += bool(part.fragment)
        if part.asks and not self.initiator:
            self.initiator = "A" if (part.asks == 1) == forward else "B"


def expected_flows(case: Case, packets: Sequence[Dissected]) -> list[dict[str, Any]]:
    """The flows of one capture point, in the order in which they begin, outer before inner."""
    flows: dict[Any, _Flow] = {}
    firsts: dict[Any, Part] = {}
    for packet in packets:
        parent: _Flow | None = None
        for part in parts_of(packet, case):
            _join(part, firsts, id(parent))
            key = (id(parent), _vlan_number(part), tracking_id(part), part.label)
            flow = flows.get(key)
            if flow is None:
                flow = flows[key] = _Flow(part, parent, packet.time_ns)
            flow.add(part, packet.time_ns, _same_way(flow.first, part))
            parent = flow
    found = list(flows.values())
    return [_render(flow, None if flow.parent is None else found.index(flow.parent)) for flow in found]


def _join(part: Part, firsts: dict[Any, Part], parent: int) -> None:
    """A later fragment is of the flow of its first, if that came before."""
    key = (parent, *part.fragment_id)
    if part.fragment == "first":
        firsts[key] = part
    elif part.fragment == "later" and key in firsts:
        first = firsts[key]
        part.kind, part.ports, part.number, part.code, part.proto = (
            first.kind,
            first.ports,
            first.number,
            first.code,
            first.proto,
        )
        if part.kind == "echo":
            part.asks = first.asks  # for the tracking ID: a request has the request's type


def _vlan_number(part: Part) -> int:
    return sum(vlan << 12 * place for place, vlan in enumerate(part.vlans))


def _ends(part: Part) -> tuple[Any, Any]:
    if not part.family:
        return part.mac or ("", "")
    ports = part.ports if part.kind in ("plain", "pair", "echo") and part.ports else (0, 0)
    return (part.source, ports[0]), (part.destination, ports[1])


def _same_way(first: Part, part: Part) -> bool:
    return _ends(first) == _ends(part)


def _path(part: Part) -> str:
    words = [_WORDS[name] for name in part.path if name in _WORDS]
    extensions = sorted((word for word in set(words) if word in _ORDER), key=_ORDER.index)
    before = [word for word in words if word not in _ORDER]
    place = next((at for at, word in enumerate(before) if word in ("IPv4", "IPv6")), len(before) - 1) + 1
    middle = extensions + (["Fragment"] if part.family == 4 and part.fragment else [])
    after = before[place:]
    if part.kind in ("pair", "echo", "one-way") and part.proto == ICMP6 and part.ports and part.ports[0] in _ICMP6_LAYERS:
        after.append(_ICMP6_LAYERS[part.ports[0]])
    return "/".join(before[:place] + middle + after)


def _render(flow: _Flow, parent: int | None) -> dict[str, Any]:
    part, ab, ba = flow.first, flow.ab, flow.ba
    tracking = tracking_id(part)
    result: dict[str, Any] = {
        "parent": parent,
        "LayersPath": _path(part),
        "TrackingID": tracking,
        "L3TrackingID": tracking if part.family else "",
        "CommunityID": community_id(part),
        "QuotedTrackingID": part.quoted or None,
        "Initiator": flow.initiator or None,
        "Start": flow.start // _MS,
        "Last": flow.last // _MS,
        "counts": (ab.packets, ab.bytes, ba.packets, ba.bytes),
    }
    if part.mac or not part.family:
        source, destination = part.mac or ("00:00:00:00:00:00",) * 2
        result["Link"] = {"Protocol": "ETHERNET", "A": source, "B": destination, "ID": _vlan_number(part)}
    if part.label:
        result["MPLSLabel"] = part.label
    if part.family:
        result["Network"] = {
            "Protocol": f"IPV{part.family}", "A": part.source, "B": part.destination, "IPProtocol": part.proto,
            "ID": part.number if part.kind in ("tunnel", "key") else 0,
            "ATTL": ab.ttl, "BTTL": ba.ttl, "ADSCP": ab.dscp, "BDSCP": ba.dscp,
        }  # fmt: skip
        result |= _transport(flow)
    if flow.fragments:
        result["IPMetric"] = {"Fragments": flow.fragments}
    return {key: value for key, value in result.items() if value is not None}


def _transport(flow: _Flow) -> dict[str, Any]:
    part = flow.first
    if part.kind == "fragment":
        return {"Fragment": True}
    if part.ports is None:
        return {}
    if part.proto in (ICMP, ICMP6):
        return {"ICMP": {"Number": part.ports[0], "Code": part.code, "ID": part.number}}
    result: dict[str, Any] = {
        "Transport": {"Protocol": _TRANSPORTS[part.proto], "A": part.ports[0], "B": part.ports[1], "ID": 0}
    }
    if part.proto == TCP:
        result["flags"] = (flow.ab.flags, flow.ba.flags)
    return result


def judged(flows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The product's Flow JSON in the form of :func:`expected_flows`."""
    uuids = [flow["UUID"] for flow in flows]
    assert len(set(uuids)) == len(uuids)
    result = []
    for flow in flows:
        parent = flow["ParentUUID"]
        found = {key: flow[key] for key in JUDGED if key in flow}
        if "ICMP" in found:  # its Type is Skydive's word for the number
            found["ICMP"] = {key: found["ICMP"][key] for key in ("Number", "Code", "ID")}
        metric = flow["Metric"]
        found["parent"] = uuids.index(parent) if parent else None
        found["counts"] = tuple(metric[key] for key in ("ABPackets", "ABBytes", "BAPackets", "BABytes"))
        if "TCPMetric" in flow:
            found["flags"] = tuple(set(filter(None, flow["TCPMetric"][key].split("|"))) for key in ("ABFlags", "BAFlags"))
        result.append({key: value for key, value in found.items() if value is not None})
    return result
