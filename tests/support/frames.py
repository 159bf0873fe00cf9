"""Frames by hand, from the standards: small functions that give bytes, for tests that make very many of them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from support.identity import address

ETH_IP, ETH_IP6, ETH_VLAN, ETH_QINQ, ETH_MPLS, ETH_BRIDGING = 0x0800, 0x86DD, 0x8100, 0x88A8, 0x8847, 0x6558
ICMP, IPIP, TCP, UDP, IPV6, GRE, ICMP6, SCTP = 1, 4, 6, 17, 41, 47, 58, 132
SYN, ACK, FIN, RST, PSH = 2, 16, 1, 4, 8


def ethernet(kind: int, payload: bytes, source: bytes = b"\2\0\0\0\0\x0a", destination: bytes = b"\2\0\0\0\0\x0b") -> bytes:
    """Ethernet II."""
    return destination + source + struct.pack("!H", kind) + payload


def vlan(number: int, kind: int, payload: bytes) -> bytes:
    """What stands behind the type 0x8100 or 0x88a8."""
    return struct.pack("!HH", number, kind) + payload


def mpls(labels: list[int], payload: bytes) -> bytes:
    """A label stack."""
    last = len(labels) - 1
    return b"".join(struct.pack("!I", label << 12 | (at == last) << 8 | 64) for at, label in enumerate(labels)) + payload


def ip4(
    source: str, destination: str, proto: int, payload: bytes, *, ttl: int = 64, dscp: int = 0, total: int | None = None
) -> bytes:
    """IPv4 without options or checksum."""
    length = 20 + len(payload) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x45, dscp << 2, length, 1, 0, ttl, proto, 0)
    return head + address(source) + address(destination) + payload


def ip6(
    source: str, destination: str, proto: int, payload: bytes, *, ttl: int = 64, dscp: int = 0, total: int | None = None
) -> bytes:
    """IPv6."""
    length = len(payload) if total is None else total
    head = struct.pack("!IHBB", 6 << 28 | dscp << 22, length, proto, ttl)
    return head + address(source) + address(destination) + payload


def ip(source: str, destination: str, proto: int, payload: bytes, *, ttl: int = 64, dscp: int = 0) -> tuple[int, bytes]:
    """Either, by the addresses: EtherType and packet."""
    if ":" in source:
        return ETH_IP6, ip6(source, destination, proto, payload, ttl=ttl, dscp=dscp)
    return ETH_IP, ip4(source, destination, proto, payload, ttl=ttl, dscp=dscp)


def tcp(
    source: int, destination: int, flags: int = ACK, payload: bytes = b"", *, seq: int = 0, ack: int = 0, options: bytes = b""
) -> bytes:
    """TCP without a checksum."""
    head = struct.pack("!HHIIBBHHH", source, destination, seq, ack, (5 + len(options) // 4) << 4, flags, 1000, 0, 0)
    return head + options + payload


def udp(source: int, destination: int, payload: bytes = b"") -> bytes:
    """UDP without a checksum."""
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def sctp(source: int, destination: int, payload: bytes = b"") -> bytes:
    """SCTP's common header."""
    return struct.pack("!HHII", source, destination, 1, 0) + payload


def echo(request: bool, identifier: int, sequence: int = 1, payload: bytes = b"", *, six: bool = False) -> bytes:
    """ICMP or ICMPv6 echo."""
    kind = (128 if request else 129) if six else (8 if request else 0)
    return struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + payload


def vxlan(vni: int, frame: bytes) -> bytes:
    """VXLAN header and an inner frame."""
    return struct.pack("!II", 0x08000000, vni << 8) + frame


def geneve(vni: int, kind: int, payload: bytes, options: bytes = b"") -> bytes:
    """Geneve header and what it carries."""
    return struct.pack("!BBHI", len(options) // 4, 0, kind, vni << 8) + options + payload


def gre(kind: int, payload: bytes, key: int | None = None) -> bytes:
    """GRE header and what it carries."""
    return struct.pack("!HH", 0 if key is None else 0x2000, kind) + (b"" if key is None else struct.pack("!I", key)) + payload


@dataclass(frozen=True)
class Tunnel:
    """One way to carry an Ethernet frame or an IP packet from one end to another.

    Attributes:
        kind: vxlan, geneve, geneve-ip, gre, gre-key, gretap, gretap-key, ip, or a link's: vlan, qinq, mpls.
        ends: addresses of the tunnel.
        number: VNI, key, VLAN id or label.
    """

    kind: str
    ends: tuple[str, str] = ("", "")
    number: int = 0

    def swapped(self) -> Tunnel:
        """The same, with its ends swapped."""
        return replace(self, ends=self.ends[::-1])


def carry(tunnel: Tunnel, kind: int, packet: bytes, entropy: int) -> tuple[int, bytes]:
    """Put an IP packet (``kind``: its EtherType) into a tunnel; gives EtherType and packet of what comes out.

    ``entropy``: source port of UDP tunnels. Link kinds are of :func:`on_link`.
    """
    inner = ethernet(kind, packet, b"\2\xaa\0\0\0\1", b"\2\xaa\0\0\0\2")
    if tunnel.kind == "vxlan":
        proto, payload = UDP, udp(entropy, 4789, vxlan(tunnel.number, inner))
    elif tunnel.kind == "geneve":
        proto, payload = UDP, udp(entropy, 6081, geneve(tunnel.number, ETH_BRIDGING, inner, b"\1\2\3\1data"))
    elif tunnel.kind == "geneve-ip":
        proto, payload = UDP, udp(entropy, 6081, geneve(tunnel.number, kind, packet))
    elif tunnel.kind.startswith("gre"):
        key = tunnel.number if tunnel.kind.endswith("key") else None
        proto, payload = GRE, gre(ETH_BRIDGING, inner, key) if "tap" in tunnel.kind else gre(kind, packet, key)
    else:
        proto, payload = (IPIP if kind == ETH_IP else IPV6), packet
    return ip(*tunnel.ends, proto, payload)


def on_link(links: list[Tunnel], kind: int, packet: bytes, *, back: bool = False) -> bytes:
    """An Ethernet frame from A to B (``back``: B to A), behind tags or labels, outermost first."""
    for link in reversed(links):
        if link.kind == "mpls":
            kind, packet = ETH_MPLS, mpls([link.number, link.number + 1], packet)
        else:
            kind, packet = (ETH_VLAN if link.kind == "vlan" else ETH_QINQ), vlan(link.number, kind, packet)
    ends = (b"\2\0\0\0\0\x0b", b"\2\0\0\0\0\x0a")
    return ethernet(kind, packet, *(ends if back else ends[::-1]))
