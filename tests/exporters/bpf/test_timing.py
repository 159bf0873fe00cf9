"""What the program measures: round trips, first SYN, ends, who began. Times are the capture's, so they are exact."""

from __future__ import annotations

from typing import Any

import pytest
from support import frames
from support.capture import Captured
from support.frames import ACK, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP
from support.lab import Lab

pytestmark = pytest.mark.kernel

MS = 1_000_000
START = 1_700_000_000_123_456_789
A4, B4, A6, B6 = "10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"


class Wire:
    """Packets between A (port 50000) and B (8080), each at its ns after the start."""

    def __init__(self, six: bool = False, ends: tuple[str, str] | None = None) -> None:
        self.packets: list[Captured] = []
        self.ends = ends or ((A6, B6) if six else (A4, B4))

    def tcp(self, at: int, flags: int, *, back: bool = False, seq: int = 0, ack: int = 0, ttl: int = 64) -> Wire:
        ends, ports = (self.ends[::-1], (8080, 50000)) if back else (self.ends, (50000, 8080))
        return self._add(at, frames.ip(*ends, TCP, frames.tcp(*ports, flags, seq=seq, ack=ack), ttl=ttl))

    def echo(self, at: int, sequence: int, *, back: bool = False, identifier: int = 0x77) -> Wire:
        six = ":" in self.ends[0]
        ends = self.ends[::-1] if back else self.ends
        return self._add(at, frames.ip(*ends, ICMP6 if six else ICMP, frames.echo(not back, identifier, sequence, six=six)))

    def _add(self, at: int, packet: tuple[int, bytes]) -> Wire:
        self.packets.append(Captured(frames.ethernet(*packet), START + at))
        return self

    def handshake(self, *, syn_ack: int = 5 * MS, ack: int = 7 * MS) -> Wire:
        return (
            self.tcp(0, SYN, seq=100)
            .tcp(syn_ack, SYN | ACK, back=True, seq=900, ack=101, ttl=60)
            .tcp(ack, ACK, seq=101, ack=901)
        )

    def flows(self, lab: Lab) -> list[dict[str, Any]]:
        lab.begin()
        lab.count(self.packets)
        lab.assert_nothing_lost_silently()
        return lab.flows()

    def flow(self, lab: Lab) -> dict[str, Any]:
        (flow,) = self.flows(lab)
        return flow


@pytest.mark.parametrize("six", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("ends", [(0, 1), (1, 0)], ids=["low-asks", "high-asks"])
def test_handshake_gives_both_round_trips(lab: Lab, six: bool, ends: tuple[int, int]) -> None:
    pair = (A6, B6) if six else (A4, B4)
    flow = Wire(ends=(pair[ends[0]], pair[ends[1]])).handshake(syn_ack=5_000_017, ack=7_000_020).flow(lab)
    assert flow["Metric"]["RTT"] == 5_000_017
    assert flow["TCPMetric"]["SynAckRTT"] == 2_000_003
    assert flow["Initiator"] == "A"
    first = START // MS
    tcp = flow["TCPMetric"]
    assert (tcp["ABSynStart"], tcp["BASynStart"]) == (first, (START + 5_000_017) // MS)
    assert (tcp["ABSynTTL"], tcp["BASynTTL"]) == (64, 60)


def test_data_after_the_handshake_does_not_change_the_round_trips(lab: Lab) -> None:
    wire = Wire().handshake().tcp(50 * MS, PSH | ACK, seq=101, ack=901).tcp(90 * MS, ACK, back=True, seq=901, ack=102)
    flow = wire.flow(lab)
    assert (flow["Metric"]["RTT"], flow["TCPMetric"]["SynAckRTT"]) == (5 * MS, 2 * MS)


def test_the_last_ack_may_carry_data(lab: Lab) -> None:
    flow = (
        Wire()
        .tcp(0, SYN, seq=100)
        .tcp(5 * MS, SYN | ACK, back=True, seq=900, ack=101)
        .tcp(9 * MS, PSH | ACK, seq=101, ack=901)
        .flow(lab)
    )
    assert flow["TCPMetric"]["SynAckRTT"] == 4 * MS


def test_sequence_numbers_may_wrap(lab: Lab) -> None:
    top = 2**32 - 1
    wire = Wire().tcp(0, SYN, seq=top).tcp(3 * MS, SYN | ACK, back=True, seq=top, ack=0).tcp(4 * MS, ACK, seq=0, ack=0)
    flow = wire.flow(lab)
    assert (flow["Metric"]["RTT"], flow["TCPMetric"]["SynAckRTT"]) == (3 * MS, MS)


@pytest.mark.parametrize(
    "wire",
    [
        Wire().tcp(0, SYN, seq=100).tcp(1000 * MS, SYN, seq=100).tcp(1005 * MS, SYN | ACK, back=True, seq=900, ack=101),
        Wire().tcp(0, SYN, seq=100).tcp(5 * MS, SYN | ACK, back=True, seq=900, ack=77),
        Wire().tcp(0, SYN, seq=100).tcp(5 * MS, ACK, back=True, seq=900, ack=101),
        Wire().tcp(0, SYN | ACK, back=True, seq=900, ack=101).tcp(5 * MS, ACK, seq=101, ack=901),
        Wire().tcp(0, SYN, seq=100).tcp(5 * MS, SYN, back=True, seq=900),
    ],
    ids=["repeated-syn", "wrong-acknowledgement", "no-syn-ack", "syn-not-seen", "both-open"],
)
def test_no_round_trip_is_made_up(lab: Lab, wire: Wire) -> None:
    flow = wire.flow(lab)
    assert "RTT" not in flow["Metric"]
    assert "SynAckRTT" not in flow["TCPMetric"]


@pytest.mark.parametrize(
    "last",
    [
        {"flags": ACK, "seq": 101, "ack": 900},
        {"flags": ACK, "seq": 101, "ack": 901, "back": True},
        {"flags": PSH, "seq": 101, "ack": 901},
    ],
    ids=["wrong-number", "wrong-side", "no-ack-flag"],
)
def test_only_the_ack_of_the_syn_ack_ends_the_second_round_trip(lab: Lab, last: dict[str, Any]) -> None:
    wire = Wire().tcp(0, SYN, seq=100).tcp(5 * MS, SYN | ACK, back=True, seq=900, ack=101).tcp(9 * MS, **last)
    flow = wire.flow(lab)
    assert flow["Metric"]["RTT"] == 5 * MS
    assert "SynAckRTT" not in flow["TCPMetric"]


def test_a_repeated_syn_ack_keeps_the_first_round_trip_alone(lab: Lab) -> None:
    """The first SYN-ACK answers the only SYN; which of two SYN-ACKs the ACK is for, nobody knows."""
    wire = Wire().tcp(0, SYN, seq=100)
    for at in (5 * MS, 1005 * MS):
        wire.tcp(at, SYN | ACK, back=True, seq=900, ack=101)
    flow = wire.tcp(1010 * MS, ACK, seq=101, ack=901).flow(lab)
    assert flow["Metric"]["RTT"] == 5 * MS
    assert "SynAckRTT" not in flow["TCPMetric"]


@pytest.mark.parametrize("six", [False, True], ids=["icmp", "icmpv6"])
def test_echo_round_trip_is_the_last_answered_one(lab: Lab, six: bool) -> None:
    wire = Wire(six).echo(0, 1).echo(3 * MS, 1, back=True).echo(1000 * MS, 2).echo(1000 * MS + 42, 2, back=True)
    flow = wire.flow(lab)
    assert flow["Metric"]["RTT"] == 42
    assert flow["Initiator"] == "A"


def test_a_lost_echo_reply_is_not_taken_for_the_next(lab: Lab) -> None:
    lost = Wire().echo(0, 1).echo(1000 * MS, 2).echo(1004 * MS, 2, back=True)
    assert lost.flow(lab)["Metric"]["RTT"] == 4 * MS
    late = Wire().echo(0, 1).echo(1000 * MS, 2).echo(1004 * MS, 1, back=True)
    assert "RTT" not in late.flow(lab)["Metric"]


def test_an_echo_reply_counts_once(lab: Lab) -> None:
    wire = Wire().echo(0, 1).echo(3 * MS, 1, back=True).echo(9 * MS, 1, back=True)
    assert wire.flow(lab)["Metric"]["RTT"] == 3 * MS


def test_echo_with_identifier_and_sequence_0_is_timed(lab: Lab) -> None:
    wire = Wire().echo(0, 0, identifier=0).echo(3 * MS, 0, back=True, identifier=0)
    assert wire.flow(lab)["Metric"]["RTT"] == 3 * MS


@pytest.mark.parametrize(
    ("wire", "initiator"),
    [
        (Wire().tcp(0, SYN | ACK, back=True, ack=1).tcp(1, ACK), "B"),
        (Wire().tcp(0, SYN).tcp(1, RST | ACK, back=True), "A"),
        (Wire().tcp(0, ACK, back=True).tcp(1, SYN), "B"),
        (Wire().tcp(0, ACK).tcp(1, PSH | ACK, back=True), None),
        (Wire().echo(0, 1, back=True), "B"),
        (Wire().echo(0, 1), "A"),
    ],
    ids=["answer-first", "syn-first", "data-before-syn", "no-syn", "echo-reply-first", "echo-first"],
)
def test_initiator_is_who_opened_whoever_was_seen_first(lab: Lab, wire: Wire, initiator: str | None) -> None:
    assert wire.flow(lab).get("Initiator") == initiator


def test_fin_each_way_ends_the_flow(lab: Lab) -> None:
    one = Wire().handshake().tcp(20 * MS, FIN | ACK, seq=101, ack=901)
    flow = one.flow(lab)
    assert flow["FinishType"] == "NOT_FINISHED"
    assert flow["TCPMetric"]["ABFinStart"] == (START // MS) + 20
    assert "BAFinStart" not in flow["TCPMetric"]
    both = one.tcp(31 * MS, FIN | ACK, back=True, seq=901, ack=102)
    flow = both.flow(lab)
    assert flow["FinishType"] == "TCP_FIN"
    assert flow["TCPMetric"]["BAFinStart"] == (START // MS) + 31


@pytest.mark.parametrize("back", [False, True])
def test_reset_ends_the_flow(lab: Lab, back: bool) -> None:
    flow = Wire().handshake().tcp(20 * MS, RST, back=back, seq=101).flow(lab)
    assert flow["FinishType"] == "TCP_RST"
    assert flow["TCPMetric"]["BARstStart" if back else "ABRstStart"] == (START // MS) + 20


def test_packets_behind_the_end_stay_on_the_ended_flow(lab: Lab) -> None:
    wire = Wire().handshake().tcp(10 * MS, FIN | ACK, seq=101, ack=901).tcp(11 * MS, FIN | ACK, back=True, seq=901, ack=102)
    flow = wire.tcp(12 * MS, ACK, seq=102, ack=902).tcp(13 * MS, RST, back=True).flow(lab)
    assert flow["Metric"]["ABPackets"] + flow["Metric"]["BAPackets"] == 7
    assert flow["FinishType"] == "TCP_RST"


def test_a_syn_behind_the_end_begins_a_new_record(lab: Lab) -> None:
    wire = Wire().handshake().tcp(10 * MS, RST | ACK, seq=101, ack=901)
    wire.tcp(500 * MS, SYN, seq=5000).tcp(502 * MS, SYN | ACK, back=True, seq=7000, ack=5001)
    old, new = wire.flows(lab)
    assert old["TrackingID"] == new["TrackingID"]
    assert old["UUID"] != new["UUID"]
    assert (old["Metric"]["ABPackets"], old["Metric"]["BAPackets"]) == (3, 1)
    assert (new["Metric"]["ABPackets"], new["Metric"]["BAPackets"]) == (1, 1)
    assert (old["Metric"]["RTT"], new["Metric"]["RTT"]) == (5 * MS, 2 * MS)
    assert (old["FinishType"], new["FinishType"]) == ("TCP_RST", "NOT_FINISHED")
    assert new["Start"] == (START + 500 * MS) // MS


def test_inner_connections_are_timed_too(lab: Lab) -> None:
    wire = Wire().handshake()
    packets = []
    for packet, (source, destination) in zip(wire.packets, ((A4, B4), (B4, A4), (A4, B4)), strict=True):
        outer = frames.ip4(source, destination, frames.UDP, frames.udp(50000, 4789, frames.vxlan(7, packet.data)))
        packets.append(Captured(frames.ethernet(frames.ETH_IP, outer), packet.time_ns))
    lab.begin()
    lab.count(packets)
    outer_flow, inner = lab.flows()
    assert (inner["Metric"]["RTT"], inner["TCPMetric"]["SynAckRTT"], inner["Initiator"]) == (5 * MS, 2 * MS, "A")
    assert "RTT" not in outer_flow["Metric"]
