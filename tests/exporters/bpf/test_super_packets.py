"""Super-packets (GSO, GRO): they count as the packets that segmentation makes of them, headers and all.

The judge is the same payload cut by hand into packets that are counted one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from support import frames
from support.capture import Captured
from support.frames import ACK, GRE, IPIP, IPV6, PSH, SCTP, TCP, UDP
from support.lab import Lab

pytestmark = pytest.mark.kernel

A4, B4, A6, B6, C4, D4 = "10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "192.168.7.1", "192.168.7.2"
C6, D6 = "fd00:7::1", "fd00:7::2"
TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")
INNER = (b"\2\xaa\0\0\0\1", b"\2\xaa\0\0\0\2")


def _segment(payload: bytes) -> bytes:
    return frames.tcp(50000, 8080, ACK | PSH, payload, options=TIMESTAMPS)


def _tcp4(payload: bytes, source: str = A4, destination: str = B4) -> bytes:
    return frames.ip4(source, destination, TCP, _segment(payload))


def _tcp6(payload: bytes, source: str = A6, destination: str = B6) -> bytes:
    return frames.ip6(source, destination, TCP, _segment(payload))


def _in_vxlan(frame: bytes) -> bytes:
    return frames.ip4(A4, B4, UDP, frames.udp(49152, 4789, frames.vxlan(10, frame)))


def _inner(kind: int, packet: bytes) -> bytes:
    return frames.ethernet(kind, packet, *INNER)


def _extension(payload: bytes) -> bytes:
    return frames.ip6(A6, B6, 60, bytes([TCP, 1]) + bytes(14) + _segment(payload))


def _plain(make: Callable[[bytes], bytes], kind: int = frames.ETH_IP) -> Callable[[bytes], bytes]:
    return lambda payload: frames.ethernet(kind, make(payload))


FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "tcp-ipv4": _plain(_tcp4),
    "tcp-ipv6": _plain(_tcp6, frames.ETH_IP6),
    "tcp-ipv6-extension": _plain(_extension, frames.ETH_IP6),
    "tcp-vlan": lambda payload: frames.ethernet(frames.ETH_VLAN, frames.vlan(7, frames.ETH_IP, _tcp4(payload))),
    "tcp-qinq": lambda payload: frames.ethernet(
        frames.ETH_QINQ, frames.vlan(7, frames.ETH_VLAN, frames.vlan(8, frames.ETH_IP, _tcp4(payload)))
    ),
    "tcp-mpls": lambda payload: frames.ethernet(frames.ETH_MPLS, frames.mpls([16, 17], _tcp4(payload))),
    "udp": _plain(lambda payload: frames.ip4(A4, B4, UDP, frames.udp(40000, 9999, payload))),
    "udp-ipv6": _plain(lambda payload: frames.ip6(A6, B6, UDP, frames.udp(40000, 443, payload)), frames.ETH_IP6),
    "sctp": _plain(lambda payload: frames.ip4(A4, B4, SCTP, frames.sctp(5000, 5001, payload))),
    "tcp-in-vxlan": _plain(lambda payload: _in_vxlan(_inner(frames.ETH_IP, _tcp4(payload, C4, D4)))),
    "tcp6-in-vxlan": _plain(lambda payload: _in_vxlan(_inner(frames.ETH_IP6, _tcp6(payload, C6, D6)))),
    "udp-in-vxlan": _plain(
        lambda payload: _in_vxlan(_inner(frames.ETH_IP, frames.ip4(C4, D4, UDP, frames.udp(40000, 9999, payload))))
    ),
    "tcp-vlan-in-vxlan-in-vlan": lambda payload: frames.ethernet(
        frames.ETH_VLAN,
        frames.vlan(
            5, frames.ETH_IP, _in_vxlan(_inner(frames.ETH_VLAN, frames.vlan(6, frames.ETH_IP, _tcp4(payload, C4, D4))))
        ),
    ),
    "tcp-in-geneve": _plain(
        lambda payload: frames.ip4(
            A4,
            B4,
            UDP,
            frames.udp(49152, 6081, frames.geneve(9, 0x6558, _inner(frames.ETH_IP, _tcp4(payload, C4, D4)), bytes(8))),
        )
    ),
    "tcp-in-gre": _plain(lambda payload: frames.ip4(A4, B4, GRE, frames.gre(frames.ETH_IP, _tcp4(payload, C4, D4), 7))),
    "tcp-in-gretap": _plain(
        lambda payload: frames.ip4(A4, B4, GRE, frames.gre(0x6558, _inner(frames.ETH_IP, _tcp4(payload, C4, D4))))
    ),
    "tcp-in-ipip": _plain(lambda payload: frames.ip4(A4, B4, IPIP, _tcp4(payload, C4, D4))),
    "tcp-in-sit": _plain(lambda payload: frames.ip4(A4, B4, IPV6, _tcp6(payload, C6, D6))),
    "tcp-in-ip6tnl": _plain(lambda payload: frames.ip6(A6, B6, IPV6, _tcp6(payload, C6, D6)), frames.ETH_IP6),
    "tcp-in-ipip-in-vxlan": _plain(
        lambda payload: _in_vxlan(_inner(frames.ETH_IP, frames.ip4("10.1.0.1", "10.1.0.2", IPIP, _tcp4(payload, C4, D4))))
    ),
}


@dataclass(frozen=True)
class Split:
    """A payload of so many bytes in segments of so many."""

    payload: int
    size: int

    def pieces(self) -> list[bytes]:
        data = bytes(self.payload)
        return [data[at : at + self.size] for at in range(0, self.payload, self.size)]


SPLITS = (Split(14480, 1448), Split(14481, 1448), Split(60000, 1400), Split(2, 1), Split(1449, 1448))


def _counts(flows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(flow["TrackingID"], flow["Metric"]["ABPackets"], flow["Metric"]["ABBytes"]) for flow in flows]


def _by_hand(lab: Lab, make: Callable[[bytes], bytes], split: Split) -> list[tuple[Any, ...]]:
    lab.begin()
    lab.count([Captured(make(piece), 1) for piece in split.pieces()])
    return _counts(lab.flows())


def _super(lab: Lab, make: Callable[[bytes], bytes], split: Split, segments: int) -> list[dict[str, Any]]:
    lab.begin()
    lab.count([Captured(make(bytes(split.payload)), 1)], gso=(split.size, segments))
    return lab.flows()


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("name", FRAMES)
def test_a_super_packet_counts_as_its_segments(lab: Lab, name: str, split: Split) -> None:
    by_hand = _by_hand(lab, FRAMES[name], split)
    flows = _super(lab, FRAMES[name], split, len(split.pieces()))
    assert _counts(flows) == by_hand
    assert all(flow["Metric"]["ABSkbs"] == 1 for flow in flows)
    lab.assert_nothing_lost_silently()
    assert lab.tally()["seen"]["segments"].tolist() == [len(split.pieces()), 0]


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("name", ["tcp-ipv4", "tcp-ipv6", "tcp-vlan", "udp", "tcp-in-vxlan"])
def test_a_device_need_not_say_how_many_segments(libbpf_lab: Lab, name: str, split: Split) -> None:
    """A tap device gives the size alone (drivers/net/tun.c: gso_segs is left to be computed)."""
    by_hand = _by_hand(libbpf_lab, FRAMES[name], split)
    assert _counts(_super(libbpf_lab, FRAMES[name], split, 0)) == by_hand
    libbpf_lab.assert_nothing_lost_silently()


def test_a_super_packet_longer_than_ipv4_can_say_has_total_0(libbpf_lab: Lab) -> None:
    split = Split(140_000, 1400)
    by_hand = _by_hand(libbpf_lab, FRAMES["tcp-ipv4"], split)
    short = FRAMES["tcp-ipv4"](bytes(2000))
    head = short[:16] + b"\0\0" + short[18:]
    libbpf_lab.begin()
    libbpf_lab.count([Captured(head, 1, length=len(short) - 2000 + split.payload)], gso=(1400, 100))
    assert _counts(libbpf_lab.flows()) == by_hand
    libbpf_lab.assert_nothing_lost_silently()


def test_the_header_of_big_tcp_goes_with_segmentation(libbpf_lab: Lab) -> None:
    """Beyond 64 KiB IPv6 has a hop-by-hop header with the length (RFC 2675); no segment has it (ipv6_hopopt_jumbo_remove)."""
    split = Split(140_000, 1400)
    by_hand = _by_hand(libbpf_lab, FRAMES["tcp-ipv6"], split)
    segment = _segment(bytes(2000))
    jumbo = bytes([TCP, 0, 0xC2, 4]) + (8 + len(segment) - 2000 + split.payload).to_bytes(4, "big")
    packet = bytearray(frames.ip6(A6, B6, 0, jumbo + segment))
    packet[4:6] = bytes(2)
    head = frames.ethernet(frames.ETH_IP6, bytes(packet))
    libbpf_lab.begin()
    libbpf_lab.count([Captured(head, 1, length=len(head) - 2000 + split.payload)], gso=(1400, 100))
    assert _counts(libbpf_lab.flows()) == by_hand
    libbpf_lab.assert_nothing_lost_silently()


def test_super_packets_and_single_ones_add_up(libbpf_lab: Lab) -> None:
    make = FRAMES["tcp-in-vxlan"]
    libbpf_lab.begin()
    libbpf_lab.count([Captured(make(b"x" * 100), 1)])
    libbpf_lab.count([Captured(make(bytes(2896)), 1)], gso=(1448, 2))
    libbpf_lab.count([Captured(make(b""), 1)])
    outer, inner = libbpf_lab.flows()
    for flow in (outer, inner):
        assert (flow["Metric"]["ABPackets"], flow["Metric"]["ABSkbs"]) == (4, 3)
    headers = 14 + 20 + 8 + 8
    assert outer["Metric"]["ABBytes"] - inner["Metric"]["ABBytes"] == 4 * headers
    libbpf_lab.assert_nothing_lost_silently()
