"""From tshark's dissection to the flows that ought to be there: keys, identities and counts of Skydive's Flow JSON.

Nothing here reads what the product says: addresses, ports, numbers and places come from tshark, tracking IDs from
:mod:`support.identity`. What is ours is the grouping: which packets make one flow (design §4.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from support import identity
from support.cases import Case
from support.dissect import Dissected, Layer
from support.identity import GRE, ICMP, ICMP6, SCTP, TCP, UDP

VLANS = 4
TRANSPORTS = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
TUNNELS = {"vxlan": "vxlan.vni", "geneve": "geneve.vni"}
_TAGS = {"vlan": "vlan.id", "ieee8021ad": "ieee8021ad.id"}
_WITHIN_LINK = {"sll": "sll.etype", "null": "", "user_dlt": ""}
_EXTENSIONS = {
    "ipv6.hopopts": "ipv6.hopopts.nxt",
    "ipv6.routing": "ipv6.routing.nxt",
    "ipv6.dstopts": "ipv6.dstopts.nxt",
    "ipv6.fraghdr": "ipv6.fraghdr.nxt",
    "ah": "ah.next_header",
    "shim6": "shim6.next_header",
}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
# Community ID's pairs: https://github.com/corelight/community-id-spec
_PAIRS4 = ((8, 0), (10, 9), (13, 14), (15, 16), (17, 18))
_PAIRS6 = ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145))
COUNTERPARTS = {
    ICMP: {mine: other for pair in _PAIRS4 for mine, other in (pair, pair[::-1])},
    ICMP6: {mine: other for pair in _PAIRS6 for mine, other in (pair, pair[::-1])},
}
REQUESTS = {ICMP: {ask for ask, _ in _PAIRS4}, ICMP6: {ask for ask, _ in _PAIRS6}}
ERRORS = {ICMP: {3, 4, 5, 11, 12}, ICMP6: {1, 2, 3, 4}}


@dataclass
class Part:
    """One packet's share in one flow."""

    start: int
    end: int
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
    kind: str = "plain"  # plain, fragment, tunnel, key, icmp, echo, one-way
    ports: tuple[int, int] | None = None
    number: int = 0
    code: int = 0
    flags: int | None = None
    asks: int = 0
    quoted: str = ""


def parts_of(packet: Dissected, case: Case) -> list[Part]:
    """The flows that one packet is in, outermost first."""
    layers, end, parts = list(packet.layers), packet.length, []
    while layers and len(parts) < case.flows:
        part = Part(layers[0].pos if parts else 0, end)
        layers = _link(layers, part, case)
        if layers is None:
            parts.append(part)
            break
        if layers and layers[0].name == "mpls" and (part.mac or not parts):
            layers = _labels(layers, part)
            parts.append(part)
            continue
        layers, known = _network(layers, part, case)
        if not known:
            if part.mac or not parts:
                parts.append(part)
            break
        end = min(end, part.end if part.family == 0 else _network_end)
        parts.append(part)
    return parts
