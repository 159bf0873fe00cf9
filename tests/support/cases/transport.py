"""Transport: TCP with options and flags, UDP and its lies, SCTP, ICMP and ICMPv6 of all types, and others."""

from __future__ import annotations

from typing import Any

from scapy.contrib.ospf import OSPF_Hdr, OSPF_Hello
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit
from scapy.layers.vrrp import VRRP
from scapy.packet import Raw

from support.cases.base import A4, A6, B4, B6, C4, Case, case
from support.cases.link import back, there
from support.cases.network import v4, v6

_OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
FLAGS = "FSRPAUEC"


def tcp(flags: str, *, reverse: bool = False, **fields: Any) -> Any:
    """A segment of one connection, A:50000 to B:8080."""
    if reverse:
        return back() / IP(src=B4, dst=A4) / TCP(sport=8080, dport=50000, flags=flags, **fields)
    return v4(TCP(sport=50000, dport=8080, flags=flags, **fields))


_CONNECTION = (
    tcp("S", seq=100, options=_OPTIONS),
    tcp("SA", reverse=True, seq=300, ack=101, options=_OPTIONS),
    tcp("A", seq=101, ack=301),
    tcp("PA", seq=101, ack=301) / Raw(b"GET / HTTP/1.0\r\n\r\n"),
    tcp("PA", reverse=True, seq=301, ack=119) / Raw(b"HTTP/1.0 200 OK\r\n\r\n"),
    tcp("FA", reverse=True, seq=320, ack=119),
    tcp("FA", seq=119, ack=321),
    tcp("A", reverse=True, seq=321, ack=120),
)
_SACK = [("NOP", None), ("NOP", None), ("SAck", (1, 2, 3, 4, 5, 6, 7, 8))]

TCP_CASES: list[Case] = [
    case("tcp-connection", *_CONNECTION),
    *(case(f"tcp-flag-{flag}", tcp(flag)) for flag in FLAGS),
    case("tcp-no-flags", tcp("")),
    case("tcp-all-flags", tcp(FLAGS)),
    case("tcp-flags-each-way", tcp("S"), tcp("SAE", reverse=True), tcp("AU"), tcp("R", reverse=True)),
    case("tcp-40-bytes-of-options", tcp("A", options=_SACK)),
    case("tcp-offset-beyond-packet", tcp("A", dataofs=15)),
    case("tcp-ipv6", v6(TCP(sport=50000, dport=8443, flags="S")), back() / IPv6(src=B6, dst=A6) / TCP(sport=8443, dport=50000, flags="RA")),
    case("tcp-first-seen-is-the-answer", tcp("SA", reverse=True, seq=1, ack=2), tcp("A", seq=2, ack=2)),
    case("tcp-port-0", v4(TCP(sport=0, dport=0, flags="S"))),
]  # fmt: skip

UDP_CASES: list[Case] = [
    case("udp-empty", v4(UDP(sport=40000, dport=9999))),
    case("udp-length-0", v4(UDP(sport=40000, dport=9999, len=0) / Raw(b"x" * 20))),
    case("udp-length-short", v4(UDP(sport=40000, dport=9999, len=9) / Raw(b"x" * 20))),
    case("udp-length-long", v4(UDP(sport=40000, dport=9999, len=900) / Raw(b"x" * 20))),
    case("udp-length-below-header", v4(UDP(sport=40000, dport=9999, len=3) / Raw(b"x" * 20))),
    case("udp-ports-equal", v4(UDP(sport=9999, dport=9999)), back() / IP(src=B4, dst=A4) / UDP(sport=9999, dport=9999)),
    case("udp-port-0", v4(UDP(sport=0, dport=0) / Raw(b"0"))),
    case("udp-ipv6", v6(UDP(sport=40000, dport=9999) / Raw(b"payload"))),
    case("udp-to-a-group", there() / IP(src=A4, dst="239.1.2.3", ttl=1) / UDP(sport=9999, dport=9999)),
]

_IGMP = IP(src=A4, dst="224.0.0.22", ttl=1, proto=2)

OTHER_CASES: list[Case] = [
    case("sctp-init", v4(SCTP(sport=36412, dport=36413) / SCTPChunkInit()),
         back() / IP(src=B4, dst=A4) / SCTP(sport=36413, dport=36412) / SCTPChunkData(data=b"d" * 12)),
    case("sctp-ipv6", v6(SCTP(sport=5000, dport=5001) / SCTPChunkData(data=b"abc"))),
    case("igmp", there() / _IGMP / Raw(bytes.fromhex("1600 08fd e0010101"))),
    case("ospf", there() / IP(src=A4, dst="224.0.0.5", ttl=1) / OSPF_Hdr(src=A4) / OSPF_Hello()),
    case("vrrp", there() / IP(src=A4, dst="224.0.0.18", ttl=255) / VRRP(vrid=1, addrlist=[C4])),
    case("udp-lite", v4(Raw(bytes(UDP(sport=1, dport=2) / Raw(b"lite"))), proto=136)),
    case("icmpv6-over-ipv4", v4(Raw(bytes.fromhex("800000000001000141414141")), proto=58)),
    case("icmp-over-ipv6", v6(Raw(bytes.fromhex("080000000001000141414141")), nh=1)),
]  # fmt: skip

CASES = TCP_CASES + UDP_CASES + OTHER_CASES
