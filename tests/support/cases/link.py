"""Link layer: Ethernet II, 802.3, VLAN tags, MPLS, ARP, and captures without Ethernet."""

from __future__ import annotations

from typing import Any

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, LLC, SNAP, STP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether, Loopback
from scapy.packet import Raw

from support.cases.base import A4, A6, A_MAC, B4, B6, B_MAC, COOKED, COOKED2, LOOP, NULL, RAW, Case, case

USER0, BSD_RAW, OPENBSD_RAW, ONLY_IPV4, ONLY_IPV6 = 147, 12, 14, 228, 229


def there(kind: int | None = None) -> Any:
    """Ethernet header from A to B."""
    return Ether(src=A_MAC, dst=B_MAC) if kind is None else Ether(src=A_MAC, dst=B_MAC, type=kind)


def back() -> Any:
    """Ethernet header from B to A."""
    return Ether(src=B_MAC, dst=A_MAC)


def ask(*tags: Any) -> Any:
    """A datagram from A to B behind link headers."""
    return _stack(there(), *tags, IP(src=A4, dst=B4, ttl=63, tos=0x28), UDP(sport=40000, dport=9999), Raw(b"question"))


def answer(*tags: Any) -> Any:
    """Its answer."""
    return _stack(back(), *tags, IP(src=B4, dst=A4, ttl=61), UDP(sport=9999, dport=40000), Raw(b"the answer"))


def _stack(*layers: Any) -> Any:
    result = layers[0]
    for layer in layers[1:]:
        result = result / layer
    return result


def _tags(count: int, first: int = 100) -> list[Any]:
    return [Dot1Q(vlan=first + number) for number in range(count)]


def _labels(count: int) -> list[Any]:
    return [MPLS(label=1000 + number, s=int(number == count - 1), ttl=64) for number in range(count)]


def _mpls(count: int, *inner: Any, kind: int = 0x8847) -> Any:
    # the bottom label says nothing of what follows: join as bytes
    return bytes(_stack(there(kind), *_labels(count))) + b"".join(bytes(layer) for layer in inner)


def _pseudowire(*inner: Any) -> Any:
    """Ethernet in MPLS; the bottom label tells tshark whether there is a control word (support.dissect)."""
    label = 2001 if inner[0] is _CONTROL_WORD else 2002
    return bytes(there(0x8847) / MPLS(label=16, s=0, ttl=9) / MPLS(label=label, s=1, ttl=9)) + b"".join(map(bytes, inner))


_IP4 = IP(src=A4, dst=B4) / TCP(sport=50000, dport=8080, flags="PA") / Raw(b"x" * 30)
_IP6 = IPv6(src=A6, dst=B6, hlim=60, tc=0xB8) / ICMPv6EchoRequest(id=7, seq=1, data=b"abc")
_CONTROL_WORD = bytes(4)
_ARP = ARP(op="who-has", hwsrc=A_MAC, psrc=A4, pdst=B4)

ETHERNET_CASES: list[Case] = [
    case("ethernet-both-ways", ask(), answer()),
    case("ethernet-unknown-type", there(0x88B5) / Raw(b"experimental, local" * 3)),
    case("ethernet-lldp", there(0x88CC) / Raw(bytes.fromhex("0207040200000000010403076574683006020078 0000".replace(" ", "")))),
    case("ethernet-eapol", there(0x888E) / Raw(bytes.fromhex("01010000"))),
    case("ethernet-pppoe", there(0x8864) / Raw(bytes.fromhex("11000001002a0021")) / _IP4, unread="pppoes"),
    case("802.3-spanning-tree", Dot3(src=A_MAC, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP()),
    case("802.3-snap-ip", Dot3(src=A_MAC, dst=B_MAC) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(code=0x0800) / _IP4),
    case("802.3-ipx", Dot3(src=A_MAC, dst=B_MAC) / Raw(b"\xff\xff\x00\x22" + bytes(30))),
    case("ethernet-padded", bytes(there() / IP(src=A4, dst=B4) / UDP(sport=40001, dport=9999)) + bytes(18)),
    case("ethernet-header-alone", bytes(there(0x0800))),
    case("ethernet-same-macs-two-types", there(0x88B5) / Raw(b"1" * 46), there(0x88B6) / Raw(b"2" * 46)),
    case("arp-request", Ether(src=A_MAC, dst="ff:ff:ff:ff:ff:ff") / _ARP),
    case("arp-reply", back() / ARP(op="is-at", hwsrc=B_MAC, psrc=B4, hwdst=A_MAC, pdst=A4)),
    case("arp-unicast-both-ways", there() / _ARP, back() / ARP(op="is-at", hwsrc=B_MAC, psrc=B4, hwdst=A_MAC, pdst=A4)),
    case("arp-in-a-vlan", Ether(src=A_MAC, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=5) / _ARP),
    case("rarp", Ether(src=A_MAC, dst="ff:ff:ff:ff:ff:ff", type=0x8035) / ARP(op=3, hwsrc=A_MAC, hwdst=A_MAC)),
]

VLAN_CASES: list[Case] = [
    *(case(f"vlan-{count}-tags", ask(*_tags(count)), answer(*_tags(count))) for count in (1, 2, 3, 4)),
    # 802.1Q nests without bound, the program reads four tags: the fifth makes it a link-layer flow
    case("vlan-5-tags", ask(*_tags(5)), answer(*_tags(5))),
    case("vlan-802.1ad", ask(Dot1AD(vlan=200)), answer(Dot1AD(vlan=200))),
    case("vlan-qinq", ask(Dot1AD(vlan=200), Dot1Q(vlan=7)), answer(Dot1AD(vlan=200), Dot1Q(vlan=7))),
    case("vlan-mixed", ask(Dot1AD(vlan=4094), Dot1AD(vlan=1), Dot1Q(vlan=4095), Dot1Q(vlan=2))),
    case("vlan-0x9100", bytes(ask(Dot1Q(vlan=9), Dot1Q(vlan=8))).replace(b"\x81\x00", b"\x91\x00", 1)),
    case("vlan-priority-tag", ask(Dot1Q(vlan=0, prio=5)), answer()),
    case("vlan-priority-and-dei-are-no-id", ask(Dot1Q(vlan=33, prio=7, dei=1)), answer(Dot1Q(vlan=33))),
    case("vlan-of-each-way-differ", ask(Dot1Q(vlan=10)), answer(Dot1Q(vlan=20))),
    case("vlan-ipv6", there() / Dot1Q(vlan=12) / _IP6),
    case("vlan-802.3", there() / Dot1Q(vlan=12, type=40) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP()),
    case("vlan-unknown-type", there() / Dot1Q(vlan=12, type=0x88B5) / Raw(b"?" * 40)),
]

MPLS_CASES: list[Case] = [
    *(case(f"mpls-{count}-labels-ipv4", _mpls(count, _IP4)) for count in range(1, 9)),
    *(case(f"mpls-{count}-labels-ipv6", _mpls(count, _IP6)) for count in (1, 3, 8)),
    case("mpls-multicast", _mpls(2, _IP4, kind=0x8848)),
    case("mpls-in-a-vlan", there() / Dot1Q(vlan=3, type=0x8847) / MPLS(label=17, s=1, ttl=9) / _IP4),
    case("mpls-pseudowire-control-word", _pseudowire(_CONTROL_WORD, ask())),
    case("mpls-pseudowire-plain", _pseudowire(ask())),
    # a MAC whose first four bits are no IP version, and none that the control word has
    case("mpls-pseudowire-plain-other-mac", _pseudowire(Ether(src=A_MAC, dst="a2:00:00:00:00:0b") / _IP4)),
    case("mpls-pseudowire-vlan-ipv6", _pseudowire(_CONTROL_WORD, there() / Dot1Q(vlan=77) / _IP6)),
    case("mpls-pseudowire-arp", _pseudowire(_CONTROL_WORD, Ether(src=A_MAC, dst="ff:ff:ff:ff:ff:ff") / _ARP)),
    # RFC 5586: the first four bits are 1: a message about the path, not a packet in it
    case("mpls-associated-channel", _mpls(1, bytes.fromhex("10000021"), _IP4), unread="pwach"),
    case(
        "mpls-both-ways",
        _mpls(1, _IP4),
        bytes(back() / MPLS(label=55, s=1, ttl=3)) + bytes(IP(src=B4, dst=A4) / TCP(sport=8080, dport=50000, flags="A")),
    ),
]

CAPTURE_CASES: list[Case] = [
    case("raw-ipv4", _IP4, IP(src=B4, dst=A4) / TCP(sport=8080, dport=50000, flags="A"), link=RAW),
    case("raw-ipv6", _IP6, link=RAW),
    case("raw-bsd", _IP4, link=BSD_RAW),
    case("raw-openbsd", _IP6, link=OPENBSD_RAW),
    case("raw-only-ipv4", _IP4, link=ONLY_IPV4),
    case("raw-only-ipv6", _IP6, link=ONLY_IPV6),
    case("cooked", CookedLinux(src=bytes.fromhex("02000000000a"), lladdrlen=6, proto=0x0800) / _IP4, link=COOKED),
    case("cooked-ipv6", CookedLinux(src=bytes.fromhex("02000000000a"), lladdrlen=6, proto=0x86DD) / _IP6, link=COOKED),
    case("cooked-vlan", CookedLinux(lladdrlen=6, proto=0x8100) / Dot1Q(vlan=44, type=0x0800) / _IP4, link=COOKED),
    case("cooked-arp", CookedLinux(src=bytes.fromhex("02000000000a"), lladdrlen=6, proto=0x0806) / _ARP, link=COOKED),
    case("cooked-v2", CookedLinuxV2(proto=0x0800, ifindex=3, lladdrlen=6) / _IP4, link=COOKED2),
    case("cooked-v2-ipv6", CookedLinuxV2(proto=0x86DD, ifindex=3, lladdrlen=6) / _IP6, link=COOKED2),
    case("null-ipv4", bytes(Loopback(type=2)) + bytes(_IP4), link=NULL),
    *(case(f"null-ipv6-{family}", family.to_bytes(4, "little") + bytes(_IP6), link=NULL) for family in (24, 28, 30)),
    case("loop-ipv4", (2).to_bytes(4, "big") + bytes(_IP4), link=LOOP),
    case("loop-ipv6", (24).to_bytes(4, "big") + bytes(_IP6), link=LOOP),
    case("link-type-not-known", b"anything at all, but no header that we know", link=USER0),
    case(
        "raw-echo-both-ways", IP(src=A4, dst=B4) / ICMP(id=9, seq=1), IP(src=B4, dst=A4) / ICMP(type=0, id=9, seq=1), link=RAW
    ),
]

CASES = ETHERNET_CASES + VLAN_CASES + MPLS_CASES + CAPTURE_CASES
