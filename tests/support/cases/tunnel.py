"""Tunnels: VXLAN, Geneve, GRE and what goes in it, IP in IP, and tunnels in tunnels."""

from __future__ import annotations

import struct
from typing import Any

from scapy.contrib.geneve import GENEVE
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, PadN
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from support.cases.base import A4, A6, B4, B6, C4, C6, D4, D6, Case, case
from support.cases.link import back, there
from support.cases.network import v4, v6

IN_A, IN_B = "02:aa:00:00:00:01", "02:aa:00:00:00:02"


def inner(*tags: Any) -> Any:
    """An inner frame, C to D."""
    result = Ether(src=IN_A, dst=IN_B)
    for tag in tags:
        result = result / tag
    return result / IP(src=C4, dst=D4, ttl=33, tos=0x48) / TCP(sport=33333, dport=8080, flags="PA") / Raw(b"inside" * 5)


def inner_back() -> Any:
    """Its answer, D to C."""
    return Ether(src=IN_B, dst=IN_A) / IP(src=D4, dst=C4, ttl=44) / TCP(sport=8080, dport=33333, flags="A")


IN4 = IP(src=C4, dst=D4, ttl=20) / UDP(sport=5555, dport=6666) / Raw(b"inner four")
IN6 = IPv6(src=C6, dst=D6, hlim=21) / UDP(sport=5555, dport=6666) / Raw(b"inner six")
IN_ARP = Ether(src=IN_A, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=IN_A, psrc=C4, pdst=D4)


def vxlan(*payload: Any, port: int = 4789, sport: int = 49152, vni: int = 10, flags: int = 8, reverse: bool = False) -> Any:
    """VXLAN from A to B, or back."""
    outer = back() / IP(src=B4, dst=A4) if reverse else v4()
    result = outer / UDP(sport=sport, dport=port) / VXLAN(vni=vni, flags=flags)
    for layer in payload:
        result = result / layer
    return result


VXLAN_CASES: list[Case] = [
    case("vxlan", vxlan(inner())),
    case("vxlan-both-ways", vxlan(inner()), vxlan(inner_back(), sport=50001, reverse=True)),
    case("vxlan-source-port-is-entropy", vxlan(inner(), sport=50000), vxlan(inner(), sport=60000), vxlan(IN_ARP, sport=61000)),
    case("vxlan-two-networks", vxlan(inner(), vni=10), vxlan(inner(), vni=0xFFFFFF)),
    case("vxlan-vni-0", vxlan(inner(), vni=0)),
    # RFC 7348: without the I flag the VNI is not valid, the packet is discarded: tshark looks into it all the same
    case("vxlan-without-i-flag", vxlan(inner(), flags=0), unread="vxlan"),
    case("vxlan-linux-port", vxlan(inner(), port=8472)),
    case("vxlan-vlan-inside", vxlan(inner(Dot1Q(vlan=9)))),
    case("vxlan-vlan-outside", there() / Dot1Q(vlan=8) / IP(src=A4, dst=B4) / UDP(sport=49152, dport=4789) / VXLAN(vni=10, flags=8) / inner()),
    case("vxlan-arp-inside", vxlan(IN_ARP)),
    case("vxlan-ipv6-inside", vxlan(Ether(src=IN_A, dst=IN_B) / IN6)),
    case("vxlan-over-ipv6", v6(UDP(sport=49152, dport=4789) / VXLAN(vni=77, flags=8) / inner())),
    case("vxlan-padding-inside", vxlan(bytes(Ether(src=IN_A, dst=IN_B) / IN4) + bytes(6))),
    case("vxlan-unknown-type-inside", vxlan(Ether(src=IN_A, dst=IN_B, type=0x88B5) / Raw(b"?" * 46))),
    case("vxlan-source-port-is-the-tunnels", vxlan(inner(), sport=4789)),
    # a host's ordinary port may be any number: only the destination's tells a tunnel; tshark takes either
    case("udp-from-the-tunnel-port", v4(UDP(sport=4789, dport=40000) / Raw(b"no tunnel, an answer to one")), unread="vxlan"),
]  # fmt: skip


def geneve(*payload: Any, proto: int = 0x6558, options: bytes = b"", flags: int = 0, version: int = 0, vni: int = 20) -> Any:
    """Geneve from A to B, its header by hand."""
    head = struct.pack("!BBHI", version << 6 | len(options) // 4, flags, proto, vni << 8) + options
    return v4(UDP(sport=49153, dport=6081) / Raw(head + b"".join(bytes(layer) for layer in payload)))


_OPTION = struct.pack("!HBB", 0x0102, 0x80, 1) + b"data"

GENEVE_CASES: list[Case] = [
    case("geneve", v4(UDP(sport=49153, dport=6081) / GENEVE(vni=20) / inner())),
    case("geneve-with-options", geneve(inner(), options=_OPTION * 2)),
    case("geneve-with-252-bytes-of-options", geneve(inner(), options=_OPTION * 31 + struct.pack("!HBB", 0x0102, 1, 0))),
    case("geneve-critical-flag", geneve(inner(), options=_OPTION, flags=0x40)),
    # RFC 8926: a control message carries no packet; tshark 4.0 does not know
    case("geneve-control", geneve(inner(), flags=0x80), flows=1),
    case("geneve-ipv4-inside", geneve(IN4, proto=0x0800)),
    case("geneve-ipv6-inside", geneve(IN6, proto=0x86DD)),
    case("geneve-arp-inside", geneve(IN_ARP)),
    case("geneve-unknown-payload", geneve(b"?" * 30, proto=0x88B5)),
    case("geneve-over-ipv6", v6(UDP(sport=49153, dport=6081) / GENEVE(vni=21) / inner())),
]


def gre(
    proto: int,
    *payload: Any,
    checksum: bool = False,
    routing: bytes = b"",
    key: int | None = None,
    sequence: bool = False,
    version: int = 0,
) -> Any:
    """GRE from A to B, its flag words by hand (RFC 2784, 2890, 1701)."""
    flags = checksum << 15 | bool(routing) << 14 | (key is not None) << 13 | sequence << 12 | version
    head = struct.pack("!HH", flags, proto)
    head += bytes(4) if checksum or routing else b""
    head += b"" if key is None else struct.pack("!I", key)
    head += struct.pack("!I", 1) if sequence else b""
    return v4(Raw(head + routing + b"".join(bytes(layer) for layer in payload)), proto=47)


_ROUTE = struct.pack("!HBB", 0x0800, 0, 4) + bytes([10, 0, 0, 9])
_ERSPAN2 = struct.pack("!II", 0x10000000 | 5 << 16 | 9, 7)
_PPTP = struct.pack("!HHHHI", 0x3001, 0x880B, 4, 99, 1) + b"\xff\x03\x00\x21"


def _erspan3(more: bool) -> bytes:
    head = struct.pack("!III", 0x20000000 | 5 << 16 | 9, 1234, int(more))
    return head + (struct.pack("!II", 0, 0) if more else b"")


GRE_CASES: list[Case] = [
    case("gre", gre(0x0800, IN4)),
    case("gre-ipv6-inside", gre(0x86DD, IN6)),
    case("gre-checksum", gre(0x0800, IN4, checksum=True)),
    case("gre-key", gre(0x0800, IN4, key=7)),
    case("gre-key-0", gre(0x0800, IN4, key=0)),
    case("gre-two-keys", gre(0x0800, IN4, key=7), gre(0x0800, IN4, key=8)),
    case("gre-sequence", gre(0x0800, IN4, sequence=True)),
    case("gre-checksum-key-sequence", gre(0x0800, IN4, checksum=True, key=0xFFFFFFFF, sequence=True)),
    case("gre-key-sequence-ipv6", gre(0x86DD, IN6, key=3, sequence=True)),
    case("gre-routing", gre(0x0800, IN4, routing=_ROUTE + bytes(4))),
    case("gre-all-words", gre(0x0800, IN4, checksum=True, routing=_ROUTE + bytes(4), key=5, sequence=True)),
    case("gre-version-1", v4(Raw(_PPTP) / IN4, proto=47), unread="gre"),
    case("gre-keepalive", gre(0)),
    case("gre-unknown-payload", gre(0x88B5, b"?" * 20)),
    case("gre-over-ipv6", v6(Raw(struct.pack("!HHI", 0x2000, 0x0800, 9)) / IN4, nh=47)),
    case("gretap", gre(0x6558, inner())),
    case("gretap-key-vlan", gre(0x6558, inner(Dot1Q(vlan=15)), key=15)),
    case("gretap-arp", gre(0x6558, IN_ARP)),
    case("gretap-both-ways", gre(0x6558, inner(), key=1), back() / IP(src=B4, dst=A4, proto=47) / Raw(struct.pack("!HHI", 0x2000, 0x6558, 1)) / inner_back()),
    case("erspan-1", gre(0x88BE, inner())),
    case("erspan-2", gre(0x88BE, _ERSPAN2, inner(), sequence=True)),
    case("erspan-3", gre(0x22EB, _erspan3(more=False), inner(), sequence=True)),
    case("erspan-3-with-subheader", gre(0x22EB, _erspan3(more=True), inner(), sequence=True)),
    case("mpls-in-gre", gre(0x8847, MPLS(label=100, s=0, ttl=3), MPLS(label=101, s=1, ttl=3), IN4)),
    case("mpls-in-gre-ipv6", gre(0x8847, MPLS(label=101, s=1, ttl=3), IN6, key=6)),
    case("mpls-in-gre-pseudowire", gre(0x8847, MPLS(label=2001, s=1, ttl=3), bytes(4), inner())),
    case("mpls-in-ip", v4(Raw(bytes(MPLS(label=101, s=1, ttl=3)) + bytes(IN4)), proto=137)),
]  # fmt: skip

_LIMIT = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])

IP_CASES: list[Case] = [
    case("ipip", v4(IN4), back() / IP(src=B4, dst=A4) / IP(src=D4, dst=C4) / UDP(sport=6666, dport=5555)),
    case("sit", v4(IN6)),
    case("ip6tnl-4in6", v6(IN4)),
    case("ip6tnl-6in6", v6(IN6)),
    case("ip6tnl-encapsulation-limit", v6(_LIMIT, IN4)),
    case("ipip-echo", v4(IP(src=C4, dst=D4) / ICMP(id=8, seq=1))),
    case("ipip-options-inside", v4(IP(bytes(IP(src=C4, dst=D4, ihl=6, len=36, proto=17)) + b"\x01" * 4 + bytes(UDP(sport=1, dport=2) / Raw(b"1234"))))),
    case("ipip-garbage-inside", v4(Raw(b"\x99" * 30), proto=4)),
    case("sit-garbage-inside", v4(Raw(b"\x11" * 50), proto=41)),
]  # fmt: skip

NESTED_CASES: list[Case] = [
    case("two-levels-vxlan-ipip", vxlan(Ether(src=IN_A, dst=IN_B) / IP(src="10.1.0.1", dst="10.1.0.2") / IN4)),
    case("two-levels-gre-vxlan", gre(0x0800, IP(src="10.1.0.1", dst="10.1.0.2") / UDP(sport=50000, dport=4789) / VXLAN(vni=3, flags=8) / inner())),
    case("two-levels-vxlan-in-vxlan", vxlan(Ether(src=IN_A, dst=IN_B) / IP(src="10.1.0.1", dst="10.1.0.2") / UDP(sport=50000, dport=4789) / VXLAN(vni=3, flags=8) / inner())),
    case("two-levels-sit-in-gre", gre(0x0800, IP(src="10.1.0.1", dst="10.1.0.2") / IN6, key=4)),
    case("three-levels-ip", v4(IP(src="10.1.0.1", dst="10.1.0.2") / IP(src="10.2.0.1", dst="10.2.0.2") / IN4)),
    case("three-levels-mixed", vxlan(Ether(src=IN_A, dst=IN_B) / IPv6(src=A6, dst=B6) / IP(src="10.2.0.1", dst="10.2.0.2") / IN6)),
    # five flows deep: the program looks into four
    case("five-levels", v4(IP(src="10.1.0.1", dst="10.1.0.2") / IP(src="10.2.0.1", dst="10.2.0.2") / IP(src="10.3.0.1", dst="10.3.0.2") / IN4)),
    case("same-inner-in-two-tunnels", v4(IN4), gre(0x0800, IN4), vxlan(Ether(src=IN_A, dst=IN_B) / IN4)),
]  # fmt: skip

CASES = VXLAN_CASES + GENEVE_CASES + GRE_CASES + IP_CASES + NESTED_CASES
