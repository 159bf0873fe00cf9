"""Each protocol and combination that the program understands: our flows against what tshark says of the same packets."""

from __future__ import annotations

import pytest
from support import frames
from support.capture import Captured
from support.cases import ALL, Case
from support.dissect import Dissected
from support.expected import expected_flows, judged
from support.lab import Lab

from exporters.bpf import layout

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_flows_are_what_tshark_sees(
    lab: Lab, case: Case, packets: dict[str, list[Captured]], dissections: dict[str, list[Dissected]]
) -> None:
    lab.begin()
    lab.count(packets[case.name])
    lab.assert_nothing_lost_silently()
    assert judged(lab.flows()) == expected_flows(case, dissections[case.name])


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_truncated_capture_counts_true_lengths(
    libbpf_lab: Lab, case: Case, packets: dict[str, list[Captured]], dissections: dict[str, list[Dissected]]
) -> None:
    """A snap length that keeps the headers, as tcpdump -s 160 does: nothing but the payload is missing."""
    layers = [layer for packet in dissections[case.name] for layer in packet.layers]
    headers = max(part.pos for layer in layers for part in (layer, *layer.quoted)) + 60
    cut = [Captured(packet.data[:headers], packet.time_ns, packet.link, len(packet.data)) for packet in packets[case.name]]
    libbpf_lab.begin()
    libbpf_lab.count(cut)
    libbpf_lab.assert_nothing_lost_silently()
    assert judged(libbpf_lab.flows()) == expected_flows(case, dissections[case.name])


EXAMPLES = {
    "8c5af2be29fb6f446d4a53c26774216d": frames.ip("10.0.0.1", "10.0.0.2", frames.TCP, frames.tcp(50000, 80)),
    "457294469c90213654d7748261b23369": frames.ip("10.0.0.2", "10.0.0.1", frames.UDP, frames.udp(53, 40000)),
    "617a97b9f906af88ba4db249605f377e": frames.ip("2001:db8::1", "2001:db8::2", frames.TCP, frames.tcp(50000, 443)),
    "5e915ab6f860c63fad8fcad9ccb99a88": frames.ip("10.0.0.1", "10.0.0.2", frames.ICMP, frames.echo(True, 0x1234)),
    "47d1c1222dfced19ca84a514e77ac596": frames.ip("2001:db8::1", "2001:db8::2", frames.ICMP6, b"\x87" + bytes(23)),
    "2478e5c83e482498e5df01d638c8f8ea": frames.ip("10.0.0.2", "10.0.0.1", frames.ICMP, b"\x03\x01" + bytes(34)),
    "b4c6bcd7c312829c77792fa70d224404": frames.ip("10.0.0.1", "10.0.0.2", frames.GRE, frames.gre(0, b"", 7)),
    "a78f676392dec0085203afdd053d0905": frames.ip(
        "10.0.0.1", "10.0.0.2", frames.UDP, frames.udp(50000, 4789, frames.vxlan(10, b""))
    ),
    "2f465a41ccb2b88060590ba7fa5dacd8": (0x0806, b"\0\1\x08\0\6\4\0\1" + bytes(20)),
}
"""The examples of the definition of tracking IDs (design §4.1)."""


@pytest.mark.parametrize("tracking", EXAMPLES)
def test_tracking_ids_are_those_of_the_definition(lab: Lab, tracking: str) -> None:
    kind, packet = EXAMPLES[tracking]
    frame = frames.ethernet(kind, packet, b"\2\0\0\0\0\1", b"\xff" * 6)
    lab.begin()
    lab.count([Captured(frame, 1)])
    assert [flow["TrackingID"] for flow in lab.flows()] == [tracking]


def test_a_frame_without_a_network_layer_has_no_ttl_of_the_packet_before(lab: Lab) -> None:
    """The program's memory is used again for each packet, on each processor."""
    arp, labels = frames.ethernet(*EXAMPLES["2f465a41ccb2b88060590ba7fa5dacd8"]), frames.mpls([77], b"")
    lab.begin()
    for frame in (arp, frames.ethernet(0x8847, labels)):
        kind, packet = frames.ip("10.0.0.1", "10.0.0.2", frames.UDP, frames.udp(7, 8), ttl=99, dscp=46)
        lab.count([Captured(frames.ethernet(kind, packet), 1), Captured(frame, 1)])
    snapshot = lab.snapshot()
    link = (snapshot.keys["tags"] & layout.KIND_MASK) == layout.KIND_LINK
    assert link.tolist() == [False, True, True]
    assert snapshot.flows["ttl"][link].tolist() == snapshot.flows["dscp"][link].tolist() == [[0, 0], [0, 0]]
    assert max(snapshot.flows["ttl"][~link].tolist()[0]) == 99
