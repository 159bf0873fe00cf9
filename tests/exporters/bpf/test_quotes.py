"""ICMP errors about packets in tunnels, which tshark reads no further than their UDP header."""

from __future__ import annotations

import pytest
from support import frames, identity
from support.capture import Captured
from support.frames import Tunnel
from support.lab import Lab

pytestmark = pytest.mark.kernel

ENDS4, ENDS6 = ("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")


def error(quoted: bytes, *, six: bool) -> bytes:
    """Time exceeded, from the second end."""
    ends = ENDS6 if six else ENDS4
    proto, kind = (frames.ICMP6, 3) if six else (frames.ICMP, 11)
    return frames.ethernet(*frames.ip(ends[1], ends[0], proto, bytes([kind, 0]) + bytes(6) + quoted))


@pytest.mark.parametrize(("kind", "port"), [("vxlan", 4789), ("geneve", 6081)])
@pytest.mark.parametrize("ends", [ENDS4, ENDS6])
def test_outer_packet_of_a_tunnel_is_known_by_its_vni(libbpf_lab: Lab, kind: str, port: int, ends: tuple[str, str]) -> None:
    inner = frames.ip("192.168.9.1", "192.168.9.2", frames.UDP, frames.udp(1, 2))
    _, outer = frames.carry(Tunnel(kind, ends, 10), *inner, 40000)
    libbpf_lab.begin()
    libbpf_lab.count([Captured(error(outer, six=":" in ends[0]), 0)])

    [flow] = libbpf_lab.flows()

    assert flow["QuotedTrackingID"] == identity.tunnel_id(*ends, port, 10)


@pytest.mark.parametrize("size", [28, 35])
def test_too_little_of_a_tunnel_is_a_plain_conversation(libbpf_lab: Lab, size: int) -> None:
    """RFC 792 asks for 8 bytes behind the header: no VNI in them."""
    _, outer = frames.carry(Tunnel("vxlan", ENDS4, 10), *frames.ip(*ENDS4, frames.UDP, frames.udp(1, 2)), 40000)
    libbpf_lab.begin()
    libbpf_lab.count([Captured(error(outer[:size], six=False), 0)])

    [flow] = libbpf_lab.flows()

    assert flow["QuotedTrackingID"] == identity.plain_id(identity.UDP, *ENDS4, (40000, 4789))


def test_what_cannot_be_told_is_left_out(libbpf_lab: Lab) -> None:
    later = frames.ip4(*ENDS4, frames.UDP, frames.udp(1, 2))
    later = later[:6] + b"\0\x10" + later[8:]
    libbpf_lab.begin()
    libbpf_lab.count([Captured(error(part, six=False), 0) for part in (later, later[:10], b"")])

    assert [flow.get("QuotedTrackingID") for flow in libbpf_lab.flows()] == [None]
