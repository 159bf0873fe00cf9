"""ICMP and ICMPv6: every type of the program's tables, echo, errors and what they quote."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import GRE, Dot1Q
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

from support.cases.base import A4, A6, A_MAC, B4, B6, Case, case
from support.cases.link import back, there
from support.cases.network import v4, v6

_BODY = bytes(range(8, 40))


def _icmp4(kind: int, code: int = 0) -> Any:
    return v4(Raw(bytes([kind, code]) + b"\0\0\x12\x34\0\x05" + _BODY), proto=1)


def _icmp6(kind: int, code: int = 0) -> Any:
    return v6(Raw(bytes([kind, code]) + b"\0\0\x12\x34\0\x05" + _BODY), nh=58)


def _back4(kind: int) -> Any:
    return back() / IP(src=B4, dst=A4, proto=1) / Raw(bytes([kind, 0]) + b"\0\0\x12\x34\0\x05" + _BODY)


def _back6(kind: int) -> Any:
    return back() / IPv6(src=B6, dst=A6, nh=58) / Raw(bytes([kind, 0]) + b"\0\0\x12\x34\0\x05" + _BODY)


PAIRS4 = ((8, 0), (10, 9), (13, 14), (15, 16), (17, 18))
PAIRS6 = ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145))
ONE_WAY4 = (3, 4, 5, 11, 12, 40)
ONE_WAY6 = (1, 2, 3, 4, 132, 137, 143, 151, 200)

TYPE_CASES: list[Case] = [
    *(case(f"icmp-pair-{there_}-{back_}", _icmp4(there_), _back4(back_)) for there_, back_ in PAIRS4),
    *(case(f"icmpv6-pair-{there_}-{back_}", _icmp6(there_), _back6(back_)) for there_, back_ in PAIRS6),
    *(case(f"icmp-reply-alone-{back_}", _back4(back_)) for _, back_ in PAIRS4),
    *(case(f"icmpv6-reply-alone-{back_}", _back6(back_)) for _, back_ in PAIRS6),
    *(case(f"icmp-type-{kind}", _icmp4(kind, 1), _back4(kind)) for kind in ONE_WAY4),
    *(case(f"icmpv6-type-{kind}", _icmp6(kind, 1), _back6(kind)) for kind in ONE_WAY6),
]

ECHO_CASES: list[Case] = [
    case("timestamp-two-identifiers", v4(ICMP(type=13, id=1)), v4(ICMP(type=13, id=2)), back() / IP(src=B4, dst=A4) / ICMP(type=14, id=2)),
    case("echo-two-identifiers", v4(ICMP(id=1, seq=1)), v4(ICMP(id=2, seq=1)), back() / IP(src=B4, dst=A4) / ICMP(type=0, id=2, seq=1)),
    case("echo-reply-comes-first", back() / IP(src=B4, dst=A4) / ICMP(type=0, id=9, seq=1), v4(ICMP(id=9, seq=1))),
    case("echo-both-ask", v4(ICMP(id=5, seq=1)), back() / IP(src=B4, dst=A4) / ICMP(type=8, id=5, seq=1)),
    case("echo-in-a-vlan", there() / Dot1Q(vlan=6) / IP(src=A4, dst=B4) / ICMP(id=0xFFFF, seq=0xFFFF) / Raw(b"!" * 56)),
    case("echo-ipv6", v6(ICMPv6EchoRequest(id=0x1234, seq=1, data=b"abc")), back() / IPv6(src=B6, dst=A6) / ICMPv6EchoReply(id=0x1234, seq=1, data=b"abc")),
    case("echo-to-itself", there() / IP(src=A4, dst=A4) / ICMP(id=3, seq=1), there() / IP(src=A4, dst=A4) / ICMP(type=0, id=3, seq=1)),
    case("neighbour-discovery", v6(ICMPv6ND_NS(tgt=B6) / ICMPv6NDOptSrcLLAddr(lladdr=A_MAC)), back() / IPv6(src=B6, dst=A6) / ICMPv6ND_NA(tgt=B6)),
    case("router-discovery", there() / IPv6(src="fe80::1", dst="ff02::2") / ICMPv6ND_RS(), there() / IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_RA()),
]  # fmt: skip

_INNER = IP(src="192.168.9.1", dst="192.168.9.2") / UDP(sport=1, dport=2) / Raw(b"x" * 20)

# What router B says of packets that A sent to it.
QUOTED4: dict[str, Any] = {
    "tcp": IP(src=A4, dst=B4) / TCP(sport=50000, dport=80, seq=1),
    "udp": IP(src=A4, dst=B4) / UDP(sport=40000, dport=53) / Raw(b"abc"),
    "echo": IP(src=A4, dst=B4) / ICMP(id=0x4321, seq=1),
    "echo-reply": IP(src=A4, dst=B4) / ICMP(type=0, id=0x4321, seq=1),
    "sctp": IP(src=A4, dst=B4) / SCTP(sport=7, dport=8),
    "udp-with-options": IP(
        bytes(IP(src=A4, dst=B4, ihl=7, len=44, proto=17)) + b"\x01" * 8 + bytes(UDP(sport=40000, dport=53) / Raw(b"abcdefgh"))
    ),
    "other-protocol": IP(src=A4, dst=B4, proto=253) / Raw(b"12345678"),
    "timestamp": IP(src=A4, dst=B4) / ICMP(type=13, id=99),
    "gre": IP(src=A4, dst=B4) / GRE(proto=0x0800) / _INNER,
    "gre-key": IP(src=A4, dst=B4) / GRE(proto=0x0800, key_present=1, key=7) / _INNER,
    "gre-checksum-and-key": IP(src=A4, dst=B4) / GRE(proto=0x0800, chksum_present=1, key_present=1, key=8) / _INNER,
    "ipip": IP(src=A4, dst=B4) / _INNER,
}  # fmt: skip
QUOTED6: dict[str, Any] = {
    "tcp": IPv6(src=A6, dst=B6) / TCP(sport=50000, dport=80, seq=1),
    "udp": IPv6(src=A6, dst=B6) / UDP(sport=40000, dport=53) / Raw(b"abc"),
    "echo": IPv6(src=A6, dst=B6) / ICMPv6EchoRequest(id=0x4321, seq=1),
    "neighbour": IPv6(src=A6, dst=B6, hlim=255) / ICMPv6ND_NS(tgt=B6),
    "udp-behind-options": IPv6(src=A6, dst=B6) / IPv6ExtHdrDestOpt() / UDP(sport=40000, dport=53) / Raw(b"abc"),
    "udp-behind-three": IPv6(src=A6, dst=B6)
    / IPv6ExtHdrHopByHop()
    / IPv6ExtHdrDestOpt()
    / IPv6ExtHdrFragment(id=5)
    / UDP(sport=40000, dport=53),
}
_ERRORS4 = {"unreachable": ICMP(type=3, code=1), "port": ICMP(type=3, code=3), "too-big": ICMP(type=3, code=4, nexthopmtu=1400),
            "quench": ICMP(type=4), "redirect": ICMP(type=5, code=1, gw=B4), "ttl": ICMP(type=11), "parameter": ICMP(type=12)}  # fmt: skip
_ERRORS6 = {"unreachable": ICMPv6DestUnreach(code=4), "too-big": ICMPv6PacketTooBig(mtu=1300), "hops": ICMPv6TimeExceeded(), "parameter": ICMPv6ParamProblem()}  # fmt: skip

QUOTE_CASES: list[Case] = [
    *(case(f"quote-{name}", back() / IP(src=B4, dst=A4) / ICMP(type=11) / quoted) for name, quoted in QUOTED4.items()),
    *(case(f"error-{name}", back() / IP(src=B4, dst=A4) / error / QUOTED4["udp"]) for name, error in _ERRORS4.items()),
    *(case(f"quote-ipv6-{name}", back() / IPv6(src=B6, dst=A6) / ICMPv6TimeExceeded() / quoted) for name, quoted in QUOTED6.items()),
    *(case(f"error-ipv6-{name}", back() / IPv6(src=B6, dst=A6) / error / QUOTED6["udp"]) for name, error in _ERRORS6.items()),
    case("redirect-ipv6", back() / IPv6(src="fe80::1", dst=A6) / ICMPv6ND_Redirect(tgt=B6, dst=B6)),
    case("quote-cut-at-8-bytes", bytes(back() / IP(src=B4, dst=A4, len=56) / ICMP(type=3, code=3) / QUOTED4["tcp"])[: 14 + 56]),
]  # fmt: skip

CASES = TYPE_CASES + ECHO_CASES + QUOTE_CASES
