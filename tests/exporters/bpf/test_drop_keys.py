"""A drop is found by the key that its flow has: the same frames, dropped for real and run through the flows program."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet
from support.capture import Captured
from support.droplab import Drops, cookie_of
from support.lab import Lab
from support.needs import root
from support.netlab import End, Net, in_netns, until

from exporters.bpf import drops
from exporters.drops.conversations import Conversations
from exporters.flows.ends import ends_of_flows

pytestmark = pytest.mark.kernel

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
FOUR, BACK = IP(src="192.0.2.1", dst="192.0.2.200"), IP(src="192.0.2.200", dst="192.0.2.1")
SIX, SIX_BACK = IPv6(src="2001:db8::1", dst="2001:db8::ff"), IPv6(src="2001:db8::ff", dst="2001:db8::1")
FRAMES: dict[str, Packet] = {
    "TCP": FOUR / TCP(sport=1025, dport=443),
    "TCP, back": BACK / TCP(sport=443, dport=1025),
    "TCP, to itself": IP(src="192.0.2.1", dst="192.0.2.1") / TCP(sport=9, dport=8),
    "UDP behind options": IP(src="192.0.2.1", dst="192.0.2.200", options=b"\x94\x04\0\0") / UDP(sport=5, dport=4),
    "SCTP": FOUR / SCTP(sport=7, dport=8),
    "ESP": IP(src="192.0.2.9", dst="192.0.2.8", proto=50) / bytes(16),
    "later fragment": IP(src="192.0.2.1", dst="192.0.2.200", frag=100, proto=17) / bytes(16),
    "echo request": FOUR / ICMP(type=8, id=0x1234),
    "echo reply": BACK / ICMP(type=0, id=0x1235),
    "time stamp": FOUR / ICMP(type=13, id=0x1234),
    "unreachable": BACK / ICMP(type=3, code=1) / FOUR / UDP(sport=3, dport=2),
    "TCP over IPv6": SIX / TCP(sport=1025, dport=443),
    "UDP over IPv6, back": SIX_BACK / UDP(sport=443, dport=1025),
    "UDP behind extension headers": SIX
    / IPv6ExtHdrHopByHop()
    / IPv6ExtHdrRouting()
    / IPv6ExtHdrDestOpt()
    / UDP(sport=1, dport=2),
    "first fragment over IPv6": SIX / IPv6ExtHdrFragment(offset=0, m=1, nh=17) / UDP(sport=3, dport=2) / bytes(8),
    "later fragment over IPv6": SIX / IPv6ExtHdrFragment(offset=100, nh=17, id=9) / bytes(16),
    "echo request over IPv6": SIX / ICMPv6EchoRequest(id=0x4321),
    "echo reply over IPv6": SIX_BACK / ICMPv6EchoReply(id=0x4322),
    "neighbour solicitation": IPv6(src="2001:db8::2", dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt="2001:db8::1"),
    "unreachable over IPv6": SIX_BACK / ICMPv6DestUnreach(code=4) / SIX / UDP(sport=3, dport=2),
}


@pytest.fixture
def pair() -> Iterator[tuple[Net, End, End]]:
    """Two ends of a link; the second one's device drops all that comes."""
    root()
    net = Net()
    try:
        a, b = net.pair()
        rules = f"""table netdev t {{
            counter n {{ }}
            chain c {{
                type filter hook ingress device {b.interface} priority 0
                counter name n drop
            }}
        }}
        """
        net.run(b.netns, "nft", "-f", "-", stdin=rules)
        yield net, a, b
    finally:
        net.close()


@pytest.fixture
def counted(pair: tuple[Net, End, End]) -> Iterator[Drops]:
    made = Drops()
    try:
        yield made
    finally:
        made.close()


def send(end: End, frame: bytes, linear: int = 0) -> None:
    """Send a frame; of a long one only ``linear`` bytes are in the skb's linear part (packet(7), PACKET_VNET_HDR)."""

    def write() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((end.interface, 0))
            if linear:
                sender.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
            sender.send((struct.pack("=BBHHHH", 0, 0, linear, 0, 0, 0) if linear else b"") + frame)

    in_netns(end.netns, write)


def dropped(net: Net, end: End, counted: Drops) -> drops.Reading:
    """The one drop at an end's device."""

    def look() -> drops.Reading | None:
        reading = counted.programs.read()
        mine = reading.places["netns"] == cookie_of(end.netns)
        if not mine.any():
            return None
        assert counted.reasons.drop(int(reading.places["reason"][mine][0])) == "NETFILTER_DROP"
        assert reading.counts[mine].tolist() == [1]
        assert reading.places["ifindex"][mine].tolist() == [net.link(end.netns, end.interface)["ifindex"]]
        chosen = np.flatnonzero(reading.keys["netns"] == cookie_of(end.netns))
        keys = reading.keys.view(f"V{drops.FLOW_KEY.itemsize}")[chosen].view(drops.FLOW_KEY)
        return drops.Reading(reading.places[mine], reading.counts[mine], keys, reading.flows[chosen])

    return until(look)


@pytest.mark.parametrize("name", FRAMES)
def test_drop_has_the_key_of_its_flow(name: str, pair: tuple[Net, End, End], counted: Drops, libbpf_lab: Lab) -> None:
    net, a, b = pair
    frame = bytes(ETHER / FRAMES[name])
    libbpf_lab.begin()
    libbpf_lab.count([Captured(frame, 1, 1)])
    flow = libbpf_lab.snapshot()
    assert len(flow.keys) == 1

    send(a, frame)

    reading = dropped(net, b, counted)
    table = Conversations()
    table.add(reading.keys, reading.flows, 0)
    owners, rows = table.find(ends_of_flows(flow.keys, flow.family))
    assert owners.tolist() == [0]
    there = [1, 0] if not flow.flows["reversed"][0] else [0, 1]
    assert rows["packets"].tolist() == [there]


@pytest.mark.parametrize(("kind", "back"), [("vxlan", False), ("vxlan", True), ("geneve", False)])
@pytest.mark.parametrize("six", [False, True])
def test_drop_in_a_tunnel_has_the_key_of_the_tunnels_flow(
    kind: str, back: bool, six: bool, pair: tuple[Net, End, End], counted: Drops, libbpf_lab: Lab
) -> None:
    net, a, b = pair
    outer = (SIX_BACK if back else SIX) if six else (BACK if back else FOUR)
    inner = ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=6, dport=7) / bytes(20)
    header = VXLAN(vni=0x123456, flags=8) if kind == "vxlan" else GENEVE(vni=0x123456, proto=0x6558)
    frame = bytes(ETHER / outer / UDP(sport=50_000, dport={"vxlan": 4789, "geneve": 6081}[kind], chksum=0) / header / inner)
    counted.programs.set_tunnel_ports({"vxlan": frozenset({4789}), "geneve": frozenset({6081})})
    libbpf_lab.begin()
    libbpf_lab.count([Captured(frame, 1, 1)])
    flow = libbpf_lab.snapshot()
    (tunnel,) = np.flatnonzero(flow.keys["port"][:, 1] != 7)

    send(a, frame)

    reading = dropped(net, b, counted)
    assert reading.keys["id"].tolist() == [0x123456]
    table = Conversations()
    table.add(reading.keys, reading.flows, 0)
    owners, rows = table.find(ends_of_flows(flow.keys, flow.family))
    assert owners.tolist() == [tunnel]
    assert rows["packets"].tolist() == [[0, 1] if flow.flows["reversed"][tunnel] else [1, 0]]


def test_headers_that_are_not_in_the_linear_part(pair: tuple[Net, End, End], counted: Drops) -> None:
    net, a, b = pair
    for end in (a, b):
        net.ip(f"link set {end.interface} mtu 9000", netns=end.netns)

    send(a, bytes(ETHER / SIX / IPv6ExtHdrDestOpt() / UDP(sport=77, dport=78) / bytes(6000)), linear=14)

    reading = dropped(net, b, counted)
    assert reading.keys["port"].tolist() == [[77, 78]]
    assert reading.keys["proto"].tolist() == [17]
