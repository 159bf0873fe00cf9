"""Hostile input: no byte string makes the program fail, and each packet is on a flow or has a reason."""

from __future__ import annotations

import random
import struct

import pytest
from support import frames
from support.capture import Captured
from support.cases import ALL
from support.frames import GRE, IPIP, TCP, UDP
from support.lab import Lab

pytestmark = pytest.mark.kernel

SEED = 20240229
KNOWN_LINKS = (0, 1, 101, 113, 276)

# every 8th packet of a capture is long: the interesting bytes are its first ones
HEADERS = 200


def _seen(lab: Lab, packets: list[Captured]) -> None:
    lab.begin()
    lab.count(packets)
    lab.assert_nothing_lost_silently()
    tally = lab.tally()
    assert tally["seen"]["skbs"].sum() == len(packets)
    assert tally["seen"]["bytes"].sum() == sum(packet.length or len(packet.data) for packet in packets)
    assert not tally["lost"]["skbs"].any()


@pytest.mark.parametrize("link", KNOWN_LINKS)
def test_frames_cut_at_every_byte(lab: Lab, link: int) -> None:
    """As a short packet, and as a capture of a longer one."""
    packets = []
    for case in ALL:
        if case.link != link:
            continue
        for data in case.frames():
            for end in range(1, min(len(data), HEADERS)):
                packets.append(Captured(data[:end], 1, link))
                packets.append(Captured(data[:end], 1, link, len(data)))
    assert len(packets) > 300
    _seen(lab, packets)


def test_a_packet_of_no_ip_version_on_a_link_without_ethernet_is_on_a_link_layer_flow(lab: Lab) -> None:
    packets = [Captured(data, 1, 101) for data in (bytes(40), b"\xff" * 40, b"\x10", b"\x45\0")]
    _seen(lab, packets)
    flows = lab.flows()
    assert not [flow for flow in flows if "Network" in flow]
    assert sum(flow["Metric"]["ABPackets"] for flow in flows) == len(packets)
    assert sum(flow["Metric"]["ABBytes"] for flow in flows) == sum(len(packet.data) for packet in packets)
    assert not lab.tally()["lost"]["skbs"].any()


@pytest.mark.parametrize("value", [0, 1, 0x7F, 0xFF])
def test_every_byte_of_every_header_lies(lab: Lab, value: int) -> None:
    """Each length, count, type and flag of each header is among them."""
    packets = []
    for case in ALL:
        for data in case.frames():
            for at in range(min(len(data), 120)):
                changed = data[:at] + bytes([value]) + data[at + 1 :]
                packets.append(Captured(changed, 1, case.link))
    _seen(lab, packets)


@pytest.mark.parametrize("value", [0, 1, 0xFFFF])
def test_every_pair_of_bytes_lies(libbpf_lab: Lab, value: int) -> None:
    packets = []
    for case in ALL:
        data = case.frames()[0]
        packets += [
            Captured(data[:at] + struct.pack("!H", value) + data[at + 2 :], 1, case.link)
            for at in range(min(len(data) - 1, 120))
        ]
    _seen(libbpf_lab, packets)


def test_random_bytes(lab: Lab) -> None:
    random.seed(SEED)
    packets = []
    for _ in range(20_000):
        data = random.randbytes(random.choice((1, 13, 14, 20, 34, 60, 120, 400)))
        packets.append(Captured(data, 1, random.choice(KNOWN_LINKS), random.choice((0, len(data) + 900))))
    _seen(lab, packets)


def test_random_bytes_behind_good_headers(lab: Lab) -> None:
    """So that they come to the parsers of the deeper headers."""
    random.seed(SEED + 1)
    packets = []
    for _ in range(10_000):
        kind = random.choice((0x0800, 0x86DD, 0x8100, 0x88A8, 0x8847, 0x0806, 0x6558))
        rest = random.randbytes(random.randint(0, 120))
        proto = random.choice((0, 1, 4, 6, 17, 41, 43, 44, 47, 51, 58, 60, 132, 135, 137, 139, 140))
        choice = random.random()
        if choice < 0.3:
            kind, rest = 0x0800, frames.ip4("10.0.0.1", "10.0.0.2", proto, rest)
        elif choice < 0.6:
            kind, rest = 0x86DD, frames.ip6("2001:db8::1", "2001:db8::2", proto, rest)
        elif choice < 0.8:
            port = random.choice((4789, 6081))
            kind, rest = 0x0800, frames.ip4("10.0.0.1", "10.0.0.2", UDP, frames.udp(1, port, b"\x08" + rest))
        packets.append(Captured(frames.ethernet(kind, rest), 1))
    _seen(lab, packets)


def test_mutated_frames(lab: Lab) -> None:
    """Good packets with several bytes changed, doubled or taken away."""
    random.seed(SEED + 2)
    originals = [(data, case.link) for case in ALL for data in case.frames()]
    packets = []
    for _ in range(20_000):
        data, link = random.choice(originals)
        changed = bytearray(data[:HEADERS])
        for _ in range(random.randint(1, 6)):
            at = random.randrange(len(changed))
            what = random.random()
            if what < 0.6:
                changed[at] = random.choice((0, 1, 4, 6, 0x11, 0x2F, 0x45, 0x60, 0x7F, 0x80, 0xFF, random.randrange(256)))
            elif what < 0.8:
                changed[at:at] = changed[at : at + 8]
            elif len(changed) > 8:
                del changed[at : at + random.randint(1, 4)]
        packets.append(Captured(bytes(changed), 1, link))
    _seen(lab, packets)


def _ip(proto: int, payload: bytes) -> bytes:
    return frames.ip4("10.0.0.1", "10.0.0.2", proto, payload)


def _ip6(proto: int, payload: bytes) -> bytes:
    return frames.ip6("2001:db8::1", "2001:db8::2", proto, payload)


def _nested(times: int, proto: int) -> bytes:
    packet = _ip(UDP, frames.udp(1, 2))
    for _ in range(times):
        packet = _ip(proto, packet if proto == IPIP else frames.gre(0x0800, packet))
    return packet


def _vxlan_in_vxlan(times: int) -> bytes:
    packet = _ip(UDP, frames.udp(1, 2))
    for _ in range(times):
        packet = _ip(UDP, frames.udp(1, 4789, frames.vxlan(1, frames.ethernet(0x0800, packet))))
    return packet


LOOPS: dict[str, bytes] = {
    "hop-by-hop-for-ever": frames.ethernet(0x86DD, _ip6(0, b"\0\0\1\4\0\0\0\0" * 180)),
    "destination-options-for-ever": frames.ethernet(0x86DD, _ip6(60, b"\x3c\0\1\4\0\0\0\0" * 180)),
    "longest-extensions": frames.ethernet(0x86DD, _ip6(60, b"\x3c\xff" + bytes(1000))),
    "fragment-headers-for-ever": frames.ethernet(0x86DD, _ip6(44, b"\x2c\0\0\0\0\0\0\1" * 150)),
    "authentication-for-ever": frames.ethernet(0x86DD, _ip6(51, b"\x33\0" + bytes(6) + b"\x33\0" * 400)),
    "authentication-in-ipv4-for-ever": frames.ethernet(0x0800, _ip(51, b"\x33\x01" * 600)),
    "longest-authentication": frames.ethernet(0x0800, _ip(51, b"\x04\xff" + bytes(1100))),
    "300-vlan-tags": frames.ethernet(0x8100, b"\0\1\x81\0" * 300),
    "label-stack-without-a-bottom": frames.ethernet(0x8847, b"\0\1\0\x40" * 300),
    "9-labels": frames.ethernet(0x8847, frames.mpls(list(range(16, 25)), _ip(UDP, frames.udp(1, 2)))),
    "50-ip-in-ip": frames.ethernet(0x0800, _nested(50, IPIP)),
    "40-gre-in-gre": frames.ethernet(0x0800, _nested(40, GRE)),
    "20-vxlan-in-vxlan": frames.ethernet(0x0800, _vxlan_in_vxlan(20)),
    "source-routes-for-ever": frames.ethernet(0x0800, _ip(GRE, struct.pack("!HHI", 0x4000, 0x0800, 0) + b"\x08\0\0\0" * 200)),
    "longest-source-routes": frames.ethernet(0x0800, _ip(GRE, struct.pack("!HHI", 0x4000, 0x0800, 0) + b"\x08\0\0\xff" * 300)),
    "longest-geneve-options": frames.ethernet(0x0800, _ip(UDP, frames.udp(1, 6081, b"\x3f\0\x65\x58\0\0\1\0" + bytes(20)))),
    "mpls-in-gre-in-mpls": frames.ethernet(
        0x8847,
        frames.mpls([16], _ip(GRE, frames.gre(0x8847, frames.mpls([17], _ip(GRE, frames.gre(0x8847, b"\0\1\1\1" * 9)))))),
    ),
    "tcp-offset-below-5": frames.ethernet(0x0800, _ip(TCP, frames.tcp(1, 2)[:12] + b"\x10" + frames.tcp(1, 2)[13:])),
    "9-extensions": frames.ethernet(0x86DD, _ip6(60, b"\x3c\0\1\4\0\0\0\0" * 8 + b"\x11\0\1\4\0\0\0\0" + frames.udp(1, 2))),
}


@pytest.mark.parametrize("name", LOOPS)
def test_header_loops_end(lab: Lab, name: str) -> None:
    """At the program's bounds the packet is still on a flow; inside is not looked into further."""
    _seen(lab, [Captured(LOOPS[name], 1)] * 3)
    assert not lab.tally()["lost"]["skbs"].any()
    flows = lab.flows()
    assert 1 <= len(flows) <= 4
    assert flows[0]["Metric"]["ABPackets"] == 3
    assert flows[0]["Metric"]["ABBytes"] == 3 * len(LOOPS[name])


@pytest.mark.parametrize("gso", [(1, 65535), (65535, 1), (1, 0), (0xFFFF, 0), (1448, 65535)])
def test_lies_about_segments(libbpf_lab: Lab, gso: tuple[int, int]) -> None:
    libbpf_lab.begin()
    libbpf_lab.count([Captured(data, 1, case.link) for case in ALL for data in case.frames()], gso=gso)
    libbpf_lab.assert_nothing_lost_silently()
