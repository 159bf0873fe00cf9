"""Network layer: IPv4 with options and lies, IPv6 with extension headers, fragments of both."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption_LSRR,
    IPOption_Router_Alert,
    IPOption_RR,
    IPOption_Timestamp,
    fragment,
)
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
    Pad1,
    PadN,
    RouterAlert,
    fragment6,
)
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import GRE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from support.cases.base import A4, A6, B4, B6, C4, D4, Case, case
from support.cases.link import ask, back, there

DATA = Raw(bytes(range(256)) * 12)


def v4(*payload: Any, **fields: Any) -> Any:
    """IPv4 from A to B in Ethernet, given scapy's fields."""
    result = there() / IP(src=A4, dst=B4, **fields)
    for layer in payload:
        result = result / layer
    return result


def v6(*payload: Any, **fields: Any) -> Any:
    """IPv6 from A to B in Ethernet."""
    result = there() / IPv6(src=A6, dst=B6, **fields)
    for layer in payload:
        result = result / layer
    return result


def _authentication(following: int, icv: int = 12) -> Any:
    """An authentication header (RFC 4302): its length counts words, less two."""
    return Raw(bytes([following, (12 + icv) // 4 - 2]) + bytes(5) + b"\x09" + bytes(3) + b"\x01" + bytes(icv))


_UDP = UDP(sport=40000, dport=9999) / Raw(b"payload")
_TCP = TCP(sport=50000, dport=8080, flags="A") / Raw(b"payload")


def _patched(packet: Any, offset: int, data: bytes) -> bytes:
    frame = bytearray(bytes(packet))
    frame[offset : offset + len(data)] = data
    return bytes(frame)


IP4_CASES: list[Case] = [
    case("ipv4-record-route", v4(_UDP, options=[IPOption_RR(routers=["0.0.0.0"] * 9, pointer=4)])),
    case("ipv4-timestamp", v4(_UDP, options=[IPOption_Timestamp(flg=0)])),
    case("ipv4-source-route", v4(_TCP, options=[IPOption_LSRR(routers=[C4, D4])])),
    case("ipv4-router-alert", v4(ICMP(id=3, seq=4), options=[IPOption_Router_Alert()])),
    case("ipv4-all-40-bytes-of-options", v4(_UDP, options=[IPOption_RR(length=39, routers=["0.0.0.0"] * 9)])),
    case("ipv4-header-too-short", _patched(v4(_UDP), 14, b"\x44")),
    case("ipv4-header-beyond-total", _patched(v4(_UDP), 14, b"\x4f")),
    case("ipv4-total-below-header", _patched(v4(_UDP), 16, b"\x00\x13")),
    case("ipv4-total-beyond-frame", _patched(v4(_UDP), 16, b"\x05\x00")),
    case("ipv4-total-below-frame", _patched(v4(_UDP, Raw(b"trailer" * 4)), 16, b"\x00\x1e")),
    # a capture of a super-packet: it is longer than 16 bits can say
    case("ipv4-total-0", _patched(v4(_TCP), 16, b"\x00\x00")),
    case("ipv4-version-5", _patched(v4(_UDP), 14, b"\x55")),
    # IPv6 under the type of IPv4: hosts drop it
    case("ipv4-version-6", _patched(v4(_UDP), 14, b"\x65"), unread="ip"),
    case("ipv4-ttl-and-dscp-each-way", v4(_UDP, ttl=1, tos=0xB8),
         back() / IP(src=B4, dst=A4, ttl=255, tos=0x03) / UDP(sport=9999, dport=40000)),
    case("ipv4-evil-bit", v4(_UDP, flags=4)),
    case("ipv4-dont-fragment", v4(_UDP, flags="DF", id=0)),
    case("ipv4-unassigned-protocol", v4(Raw(b"?" * 20), proto=253), back() / IP(src=B4, dst=A4, proto=253) / Raw(b"!" * 20)),
    case("ipv4-same-address-twice", there() / IP(src=A4, dst=A4) / UDP(sport=7777, dport=6666),
         there() / IP(src=A4, dst=A4) / UDP(sport=6666, dport=7777)),
    case("ipv4-authentication", v4(_authentication(6, 12), _TCP, proto=51)),
    case("ipv4-authentication-of-udp", v4(_authentication(17, 20), _UDP, proto=51)),
    case("ipv4-esp", v4(ESP(spi=0x100, seq=5, data=b"secret" * 8)), back() / IP(src=B4, dst=A4) / ESP(spi=0x200, seq=5, data=b"x" * 40)),
]  # fmt: skip

_OPTIONS = [PadN(optdata=b"\0" * 4)]
_CHAIN = IPv6ExtHdrHopByHop(options=[RouterAlert()]) / IPv6ExtHdrDestOpt(options=_OPTIONS) / IPv6ExtHdrRouting(addresses=[A6])


def _many(count: int) -> Any:
    result = IPv6ExtHdrDestOpt(options=_OPTIONS)
    for _ in range(count - 1):
        result = result / IPv6ExtHdrDestOpt(options=_OPTIONS)
    return result


def _raw_extension(number: int) -> Any:
    """An extension header that scapy has no class for, 16 bytes; UDP behind shim6, nothing behind the others."""
    if number == 140:
        return Raw(bytes([17, 1, 0x80]) + bytes(13) + bytes(_UDP))
    return Raw(bytes([59, 1, 0, 0]) + bytes(12) if number == 135 else bytes([59, 4, 1, 0x11]) + bytes(36))


# fixed bytes: hop-by-hop, destination options, routing, authentication, destination options, TCP
_LONG_CHAIN = bytes.fromhex(
    "3c00 0502 0000 01002b00 0104 0000 00003302 0001 0000 0000 20010db8000000000000000000000001"
    "3c04 0000 0000 0001 0000 0002 0000000000000000000000000600 0104 0000 0000"
)  # fmt: skip


IP6_CASES: list[Case] = [
    case("ipv6-hop-by-hop", v6(IPv6ExtHdrHopByHop(options=[RouterAlert()]), _UDP)),
    case("ipv6-destination-options", v6(IPv6ExtHdrDestOpt(options=_OPTIONS), _UDP)),
    case("ipv6-long-destination-options", v6(IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=30, optdata=b"o" * 200)]), _TCP)),
    case("ipv6-routing-0", v6(IPv6ExtHdrRouting(addresses=[A6, B6]), _UDP)),
    case("ipv6-segment-routing", v6(IPv6ExtHdrSegmentRouting(addresses=[B6, A6], segleft=0), _TCP)),
    case("ipv6-atomic-fragment", v6(IPv6ExtHdrFragment(id=77), _UDP)),
    case("ipv6-authentication", v6(_authentication(17, 12), _UDP, nh=51)),
    case("ipv6-authentication-of-tcp", v6(_authentication(6, 16), _TCP, nh=51)),
    case("ipv6-esp", v6(ESP(spi=0x100, seq=5, data=b"secret" * 8))),
    case("ipv6-mobility", v6(_raw_extension(135), nh=135)),
    case("ipv6-host-identity", v6(_raw_extension(139), nh=139)),
    case("ipv6-shim6", v6(_raw_extension(140), nh=140)),
    case("ipv6-no-next-header", v6(nh=59)),
    case("ipv6-chain", v6(_CHAIN, _UDP)),
    case("ipv6-chain-with-authentication", v6(Raw(_LONG_CHAIN + bytes(_TCP)), nh=0)),
    case("ipv6-hop-by-hop-twice", v6(IPv6ExtHdrHopByHop(options=[Pad1()]) / IPv6ExtHdrHopByHop(options=[Pad1()]), _UDP)),
    case("ipv6-8-extensions", v6(_many(8), _UDP)),
    case("ipv6-both-ways", v6(_UDP, tc=0x88, hlim=3), back() / IPv6(src=B6, dst=A6, tc=0x10, hlim=200) / UDP(sport=9999, dport=40000)),
    case("ipv6-flow-label", v6(_UDP, fl=0xABCDE)),
    case("ipv6-payload-beyond-frame", _patched(v6(_UDP), 18, b"\x01\x00")),
    case("ipv6-payload-below-frame", _patched(v6(_UDP, Raw(b"trailer" * 3)), 18, b"\x00\x09")),
    case("ipv6-version-4", _patched(v6(_UDP), 14, b"\x40")),
    case("ipv6-unassigned-protocol", v6(Raw(b"?" * 20), nh=253)),
    case("ipv6-same-address-twice", there() / IPv6(src=A6, dst=A6) / UDP(sport=7777, dport=6666),
         there() / IPv6(src=A6, dst=A6) / UDP(sport=6666, dport=7777)),
    case("ipv6-differs-in-low-half", there() / IPv6(src=B6, dst=A6) / _UDP, there() / IPv6(src=A6, dst=B6) / UDP(sport=9999, dport=40000)),
    case("ipv6-differs-in-high-half", there() / IPv6(src="fd00::1", dst="2001::1") / _UDP),
]  # fmt: skip


def _fragments(packet: Any, size: int = 1200) -> list[Any]:
    return list(fragment(packet, fragsize=size))


def _fragments6(*payload: Any, size: int = 1280) -> list[Any]:
    packet = IPv6(src=A6, dst=B6)
    for layer in payload:
        packet = packet / layer
    return [there() / part for part in fragment6(packet, size)]


_UDP_PARTS = _fragments(v4(UDP(sport=40000, dport=9999), DATA, id=100))
_TCP_PARTS = _fragments(v4(TCP(sport=50000, dport=8080, flags="A"), DATA, id=101))
_ECHO_PARTS = _fragments(v4(ICMP(id=0x77, seq=1), DATA, id=102))
_GRE_PARTS = _fragments(v4(GRE(key_present=1, key=7, proto=0x0800), IP(src=C4, dst=D4), UDP(sport=1, dport=2), DATA, id=103))
_VXLAN_PARTS = _fragments(v4(UDP(sport=49152, dport=4789), VXLAN(vni=10, flags=8), ask(), DATA, id=104))
_AH_PARTS = _fragments(v4(_authentication(17, 12), UDP(sport=40000, dport=9999), DATA, proto=51, id=105))
_IPIP_PARTS = _fragments(v4(IP(src=C4, dst=D4), UDP(sport=1, dport=2), DATA, id=107))
_UNREACHABLE_PARTS = _fragments(v4(ICMP(type=3, code=13), IP(src=B4, dst=A4), UDP(sport=9, dport=8), DATA, id=108))
_OTHER_ID = _fragments(v4(UDP(sport=40001, dport=9998), DATA, id=106))
_UDP6_PARTS = _fragments6(IPv6ExtHdrFragment(id=1000), UDP(sport=40000, dport=9999), DATA)
_ECHO6_PARTS = _fragments6(IPv6ExtHdrFragment(id=1001), ICMPv6EchoRequest(id=5, seq=6), DATA)
_OPTIONS6_PARTS = _fragments6(
    IPv6ExtHdrFragment(id=1002), IPv6ExtHdrDestOpt(options=_OPTIONS), UDP(sport=40000, dport=9999), DATA
)
_HOPS6_PARTS = _fragments6(
    IPv6ExtHdrHopByHop(options=[RouterAlert()]), IPv6ExtHdrFragment(id=1003), TCP(sport=50000, dport=8080), DATA
)

FRAGMENT_CASES: list[Case] = [
    case("fragments-udp", *_UDP_PARTS),
    case("fragments-tcp", *_TCP_PARTS),
    case("fragments-echo", *_ECHO_PARTS),
    case("fragments-icmp-error", *_UNREACHABLE_PARTS),
    case("fragments-gre-key", *_GRE_PARTS),
    case("fragments-vxlan", *_VXLAN_PARTS),
    case("fragments-ipip", *_IPIP_PARTS),
    case("fragments-authentication", *_AH_PARTS),
    case("fragments-later-ones-swapped", _UDP_PARTS[0], *reversed(_UDP_PARTS[1:])),
    case("fragments-first-comes-last", *_UDP_PARTS[1:], _UDP_PARTS[0]),
    case("fragments-first-in-the-middle", _UDP_PARTS[1], _UDP_PARTS[0], *_UDP_PARTS[2:]),
    case("fragments-without-first", *_UDP_PARTS[1:]),
    case("fragments-icmp-without-first", *_ECHO_PARTS[1:]),
    case("fragments-gre-without-first", *_GRE_PARTS[1:]),
    case("fragments-two-interleaved", *(part for pair in zip(_UDP_PARTS, _OTHER_ID, strict=True) for part in pair)),
    case("fragments-of-8-bytes", *_fragments(v4(UDP(sport=40000, dport=9999), Raw(b"z" * 64), id=109), 8)),
    case("fragments-in-a-tunnel", *(v4(inner[IP]) for inner in _fragments(there() / IP(src=C4, dst=D4, id=9) / UDP(sport=5, dport=6) / DATA))),
    case("fragments-ipv6-udp", *_UDP6_PARTS),
    case("fragments-ipv6-echo", *_ECHO6_PARTS),
    case("fragments-ipv6-without-first", *_UDP6_PARTS[1:]),
    case("fragments-ipv6-first-comes-last", *_UDP6_PARTS[1:], _UDP6_PARTS[0]),
    case("fragments-ipv6-options-behind-the-fragment-header", *_OPTIONS6_PARTS),
    case("fragments-ipv6-hop-by-hop-before", *_HOPS6_PARTS),
]  # fmt: skip

CASES = IP4_CASES + IP6_CASES + FRAGMENT_CASES
